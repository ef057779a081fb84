import Core

/// Lets something be used once in the whole cluster: the number of a proof, a code, a signature. It asks the same store as limits
/// do, under a limit of one in a lifetime, so that whatever they promise while nodes and stores fail is promised here too.
///
/// It asks beside the limits of the exchange itself, which stay as they are.
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
    ParkedQuestion.ask(level(name, services), peeking: exchange.isShadow, &exchange, services)
  }

  /// Whether a name was used, which this does not do.
  public func look(_ name: RawSpan, _ exchange: inout Exchange, _ services: Services) -> Finding {
    ParkedQuestion.ask(level(name, services), peeking: true, &exchange, services)
  }

  private func level(_ name: RawSpan, _ services: Services) -> QuotaLevel {
    let zero = WallTime(microseconds: 0)
    return QuotaLevel(
      key: identity.combined(with: services.key(ofChosen: name)), rule: rule, cost: 1,
      period: CivilPeriod(start: zero, end: zero), terms: terms)
  }

  /// The store has answered, or has not.
  public func resume(_ exchange: inout Exchange, _ services: Services) -> Finding {
    ParkedQuestion.resume(&exchange, services)
  }
}
