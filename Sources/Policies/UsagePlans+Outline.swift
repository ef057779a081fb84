import Core
import Pipeline

// Plans as those see them who report on them. Never part of a request that is being limited.

/// One plan of a policy.
public struct PlanPlace: Sendable {
  /// The policy.
  public let policy: UsagePlans
  /// The plan's index among the policy's.
  public let index: Int

  /// What the plan is called.
  public var name: String { policy.plans[index].name }
  /// What it costs; nil where nothing is said of that.
  public var price: PlanPrice? { policy.plans[index].price }
  /// The limit that counts the requests of a month, as ``LimitOutline/identity`` has it; nil where none does.
  public var metered: QuotaKey? { policy.plans[index].metered?.identity }
}

/// Limits of a chain: those that hold for all callers, or those of one plan.
public struct ChainLimits: Sendable {
  /// What can be asked about them.
  public let limiter: RateLimit
  /// Their indexes among those of ``limiter``.
  public let indexes: Range<Int>
  /// The plan that they belong to; nil where they hold for all.
  public let plan: PlanPlace?
}

extension PolicyChain {
  /// All limits in force, in the order in which they are decided. Allocates freely.
  public var limits: [ChainLimits] {
    let plain = requestPolicies(of: RateLimit.self).map {
      ChainLimits(limiter: $0, indexes: $0.levels.indices, plan: nil)
    }
    return plain + requestPolicies(of: UsagePlans.self).flatMap(\.limits)
  }
}

extension UsagePlans {
  fileprivate var limits: [ChainLimits] {
    let shared = base?.levels.count ?? 0
    let common = base.map { [ChainLimits(limiter: $0, indexes: 0..<shared, plan: nil)] } ?? []
    return common
      + limiters.enumerated().compactMap { index, limiter in
        limiter.map {
          ChainLimits(
            limiter: $0, indexes: shared..<$0.levels.count, plan: PlanPlace(policy: self, index: index))
        }
      }
  }

  /// The plan of a caller; nil for none, and for one that the policy does not know.
  public func plan(of caller: Caller, _ services: Services) -> PlanPlace? {
    guard case .plan(let index) = choice(caller, services) else { return nil }
    return PlanPlace(policy: self, index: index)
  }

  /// What plan and rule make of a request, for operators.
  public struct Explanation: Sendable {
    /// The caller's plan; nil where it has none that is known.
    public let plan: String?
    /// How it is refused; nil where neither plan nor rule stand against it.
    public let problem: Problem?
    /// The rule of the plan, term by term; nil where it has none.
    public let rule: RuleExplanation?
  }

  /// Finds the plan of a caller, and explains its rule. Allocates freely.
  public func explain(_ caller: Caller, _ facts: borrowing RuleFacts, _ services: Services) -> Explanation {
    switch choice(caller, services) {
    case .none: return Explanation(plan: nil, problem: ProblemCatalogue.planRequired, rule: nil)
    case .unknown: return Explanation(plan: nil, problem: ProblemCatalogue.planUnknown, rule: nil)
    case .plan(let index):
      let rule = plans[index].allow?.explain(facts)
      return Explanation(
        plan: plans[index].name, problem: rule?.holds ?? true ? nil : ProblemCatalogue.planForbids, rule: rule)
    }
  }
}
