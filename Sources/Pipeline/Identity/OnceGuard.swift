import Core

/// Lets something be used once in the whole cluster: the number of a proof, a code, a signature. It asks the same store as limits
/// do, under a limit of one in a lifetime, so that whatever they promise while nodes and stores fail is promised here too.
///
/// For policies that say who calls: those run before an exchange has limits of its own, which takes the same place.
public struct OnceGuard: Sendable {
  /// What is known of a name.
  public enum Finding: Sendable {
    /// It is used for the first time.
    case first
    /// It was used before, within its lifetime.
    case again
    /// The store is asked, and calls the exchange's ticket: ``OnceGuard/resume(_:_:)`` says the rest.
    case waiting
    /// The store cannot be asked.
    case unknown
  }

  private let identity: QuotaKey
  private let rule: LimitRule
  private let terms: LimitTerms

  /// A guard of names for one purpose, remembered for so many seconds, 1 or more. While the store cannot be asked `outage`
  /// holds: closed finds everything ``Finding/unknown``, local lets each node see to what it is shown itself.
  public init(purpose: String, lifetimeSeconds: Int64, outage: OutageRule = .closed) {
    identity = QuotaKey(configured: "once", purpose)
    rule = LimitRule.rate(interval: lifetimeSeconds * 1_000_000_000, burst: 1)
    terms = LimitTerms(mode: .exact, outage: outage)
  }

  /// Uses a name, which clients may choose.
  public func use(_ name: RawSpan, _ exchange: inout Exchange, _ services: Services) -> Finding {
    // Who only watches uses nothing up.
    if exchange.isShadow { return look(name, &exchange, services) }
    ask(name, &exchange, services)
    let now = services.world.now
    services.quota.decide(
      &exchange.limits, ticket: exchange.ticket, now: now, civil: services.civilTime(now: now))
    return conclude(&exchange)
  }

  /// Whether a name was used, which this does not do.
  public func look(_ name: RawSpan, _ exchange: inout Exchange, _ services: Services) -> Finding {
    ask(name, &exchange, services)
    let now = services.world.now
    services.quota.peek(&exchange.limits, ticket: exchange.ticket, now: now, civil: services.civilTime(now: now))
    return conclude(&exchange)
  }

  private func ask(_ name: RawSpan, _ exchange: inout Exchange, _ services: Services) {
    let zero = WallTime(microseconds: 0)
    exchange.limits.removeAll()
    exchange.limits.append(
      QuotaLevel(
        key: identity.combined(with: services.key(ofChosen: name)), rule: rule, cost: 1,
        period: CivilPeriod(start: zero, end: zero), terms: terms))
  }

  /// The store has answered, or has not.
  public func resume(_ exchange: inout Exchange, _ services: Services) -> Finding {
    services.quota.collect(&exchange.limits, ticket: exchange.ticket)
    return conclude(&exchange)
  }

  private func conclude(_ exchange: inout Exchange) -> Finding {
    let decision = exchange.limits.decision
    if decision == .waiting { return .waiting }
    exchange.limits.removeAll()
    switch decision {
    case .admitted: return .first
    case .denied: return .again
    case .none, .waiting, .unavailable, .stale: return .unknown
    }
  }
}
