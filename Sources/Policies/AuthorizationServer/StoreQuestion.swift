import Core
import Pipeline

/// Something that the store which limits share is asked, by a policy that runs where the limits of the exchange itself
/// have been decided already and are held.
enum StoreQuestion {
  /// What the store says.
  enum Finding: Sendable {
    /// There was room: it is used for the first time.
    case first
    /// There was none: it was used before.
    case again
    /// The store is asked and calls the exchange's ticket: ``resume(_:_:)`` says the rest.
    case waiting
    /// The store cannot be asked.
    case unknown
  }

  /// Assertions of clients, each of which is good once (RFC 7523 section 3): forgotten when none of them can be good
  /// any more.
  static func use(assertion name: String, _ exchange: inout Exchange, _ services: Services) -> Finding {
    let bytes = Array(name.utf8)
    let seconds = ClientAuthentication.longestAssertion + 2 * ClientAuthentication.leeway
    let (zero, key) = (WallTime(microseconds: 0), QuotaKey(configured: "oauth2-server", "assertion"))
    return ask(
      QuotaLevel(
        key: key.combined(with: services.key(ofChosen: RawSpan(bytes))),
        rule: .rate(interval: seconds * 1_000_000_000, burst: 1), cost: 1,
        period: CivilPeriod(start: zero, end: zero), terms: LimitTerms(mode: .exact, outage: .closed)),
      &exchange, services)
  }

  /// Takes what the level says, or with `peeking` only looks whether it could be taken.
  static func ask(
    _ level: QuotaLevel, peeking: Bool = false, _ exchange: inout Exchange, _ services: Services
  ) -> Finding {
    let parked = ParkedQuestion()
    parked.question.append(level)
    exchange.parkedQuestion = parked
    let now = services.world.now
    let civil = services.civilTime(now: now)
    if peeking {
      services.quota.peek(&parked.question, ticket: exchange.ticket, now: now, civil: civil)
    } else {
      services.quota.decide(&parked.question, ticket: exchange.ticket, now: now, civil: civil)
    }
    return conclude(&exchange, parked)
  }

  /// The store has answered, or has not.
  static func resume(_ exchange: inout Exchange, _ services: Services) -> Finding {
    guard let parked = exchange.parkedQuestion else { return .unknown }
    services.quota.collect(&parked.question, ticket: exchange.ticket)
    return conclude(&exchange, parked)
  }

  private static func conclude(_ exchange: inout Exchange, _ parked: ParkedQuestion) -> Finding {
    let decision = parked.question.decision
    if decision == .waiting { return .waiting }
    exchange.parkedQuestion = nil
    switch decision {
    case .admitted: return .first
    case .denied: return .again
    case .none, .waiting, .unavailable, .stale: return .unknown
    }
  }
}
