/// A question to the store of limits beside the exchange's own, which stays decided and held: for what policies ask that is
/// no limit of the exchange. It is kept by the exchange as long as the answer is on its way.
public final class ParkedQuestion {
  /// What is asked, and then how it was answered.
  public var question = LimitQuestion()

  /// A question about nothing.
  public init() {}

  /// Takes what the levels say, all of it or nothing; with `peeking` only looks whether it could be taken. Where that
  /// waits, ``resume(_:_:)`` says the rest.
  public static func ask(
    _ level: QuotaLevel, _ further: QuotaLevel? = nil, peeking: Bool = false, _ exchange: inout Exchange,
    _ services: Services
  ) -> OnceGuard.Finding {
    let parked = ParkedQuestion()
    parked.question.append(level)
    if let further { parked.question.append(further) }
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
  public static func resume(_ exchange: inout Exchange, _ services: Services) -> OnceGuard.Finding {
    guard let parked = exchange.parkedQuestion else { return .unknown }
    services.quota.collect(&parked.question, ticket: exchange.ticket)
    return conclude(&exchange, parked)
  }

  private static func conclude(_ exchange: inout Exchange, _ parked: ParkedQuestion) -> OnceGuard.Finding {
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
