import Core
import Pipeline

/// Whether callers who are known by now are revoked, and what to do where the node may not know: a part of every policy that
/// says who it is.
struct RevocationGate: Sendable {
  /// What is known of a caller.
  enum Finding {
    /// It may pass.
    case clear
    case revoked
    /// It is not known yet, or cannot be known: this is the answer.
    case decided(Verdict)
  }

  private let rule: StaleRule

  init(_ options: inout OptionReader) {
    rule = options.choice(
      "onStaleRevocations", default: .open,
      "What happens to known callers while the node has not heard of the cluster's revocations for two seconds: open "
        + "lets them pass with Sluice-Degraded: revocations, closed answers 503, ask asks the store.")
  }

  /// Looks the caller of an exchange up; `facts` are those of `services`.
  @inline(__always)
  func judge(_ exchange: inout Exchange, _ services: Services, _ facts: LoopFacts) -> Finding {
    if facts.hasRevocations, facts.holds(services.marks(&exchange, facts), at: services.world.wallTime) {
      return .revoked
    }
    return facts.isStale ? judgeStale(&exchange, services, facts) : .clear
  }

  @inline(never)
  private func judgeStale(_ exchange: inout Exchange, _ services: Services, _ facts: LoopFacts) -> Finding {
    facts.countStale()
    switch rule {
    case .open:
      exchange.responseFields.append("Sluice-Degraded: revocations\r\n")
      return .clear
    case .ask:
      let isAsked = facts.desk?.ask(services.marks(&exchange, facts), ticket: exchange.ticket) ?? false
      return .decided(isAsked ? .wait : Self.stale)
    case .closed: return .decided(Self.stale)
    }
  }

  /// The answer where something has to be known of which the store is not asked, and this node may have missed it; nil where
  /// that may be gone by which it knows.
  func refusalWhileStale(_ services: Services) -> Verdict? {
    rule != .open && services.facts?.isStale ?? false ? Self.stale : nil
  }

  /// The store has answered, or has not.
  func resume(_ exchange: inout Exchange, _ services: Services) -> Finding {
    switch services.facts?.desk?.answer(ticket: exchange.ticket) {
    case .revoked: .revoked
    case .clear: .clear
    case .unknown, nil: .decided(Self.stale)
    }
  }

  private static var stale: Verdict { .refuse(Refusal(ProblemCatalogue.revocationsStale, retryAfterSeconds: 1)) }
}
