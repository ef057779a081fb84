import Core
import HTTP
import Pipeline

// Limits as those see them who report on them: what there is, and how it stands for somebody. Never part of a request
// that is being limited.

/// One limit of a `rate-limit` policy, in words and numbers.
public struct LimitOutline: Sendable {
  /// The name in the fields `RateLimit` and `RateLimit-Policy`.
  public let name: String
  /// The policy: its name in the configuration, or `ROUTE/rate-limit` for one in place.
  public let policy: String
  /// What is counted, as the configuration says it; several parts are joined with `+`.
  public let subjects: String
  /// The rule, with its numbers.
  public let rule: LimitRule
  /// The window, the usual length of the period, or how long a rate takes to refill; nil for concurrency.
  public let seconds: Int64?
  /// Units that one request takes.
  public let cost: Int64
  /// How a shared store keeps it.
  public let terms: LimitTerms
  /// Tells the counters of different limits apart; see ``QuotaKey``.
  public let identity: QuotaKey
  /// Whether each route has a counter of its own.
  public let isPerRoute: Bool
  /// Whether each key of a consumer has a counter of its own.
  public let isPerKey: Bool

  init(_ level: LimitLevel) {
    name = level.name
    policy = level.policy
    subjects = level.subjects
    rule = level.rule
    seconds = level.nominalSeconds
    cost = level.cost
    terms = level.terms
    identity = level.identity
    isPerRoute = level.parts.contains { $0.plainSubject == .route }
    isPerKey = level.parts.contains { $0.plainSubject == .key }
  }
}

/// Somebody for whom it is asked how limits stand, and of whom not everything need be known.
public struct LimitCandidate {
  /// What would be known of a request.
  public var caller: Caller
  /// Whether ``Caller/client`` means anything.
  public var isAddressKnown: Bool
  /// A request whose fields count; nil where there is none.
  public var request: RequestHead?

  /// Somebody of whom this is known.
  public init(_ caller: Caller, isAddressKnown: Bool, request: RequestHead?) {
    self.caller = caller
    self.isAddressKnown = isAddressKnown
    self.request = request
  }
}

extension RateLimit {
  /// All limits, in the order in which a question has them.
  public var outlines: [LimitOutline] { levels.map { LimitOutline($0) } }

  /// What a request of `candidate` would ask about the limit at `index`; nil where too little is known of it to say which
  /// counter that is.
  public func question(
    at index: Int, for candidate: LimitCandidate, _ services: Services, _ civil: WallTime
  ) -> QuotaLevel? {
    let level = levels[index]
    guard level.parts.allSatisfy({ $0.isKnown(candidate, services) }) else { return nil }
    return level.question(candidate.caller, candidate.request, services, civil)
  }
}
