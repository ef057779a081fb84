// Usage plans: what a caller may do, how often, and at which price, under one name.
//
// A plan's limits are decided together with those of the route's `rate-limit` policies, all or none. Since that depends on
// the plan, a chain keeps one limiter for each plan, made with the chain: `Registry.chain(of:)` takes the `rate-limit`
// policies out and puts a copy of this policy in, whose limiters have their limits too. A request costs the look at what its
// caller's plan is called, and a comparison with each plan's name, on top of what its limits cost.

import Core
import HTTP
import Pipeline

/// Lets callers do what their usage plan includes, as often as it allows.
///
/// A caller has the plan of its consumer (`plan` under `consumers`, or of a key made with `sluice keys create --own --plan`);
/// one whose consumer has none has the plan that its token or session names (`claims.plan`); else `default` holds. Refuses
/// with 403 `plan-required` where there is no plan, `plan-unknown` where it is none of these, `plan-forbids` where its rule
/// does not hold, and by its limits as `rate-limit` does. What it costs is only told.
///
/// Limits behave as those of `rate-limit` while a shared store cannot be asked; see `onStoreFailure`.
public final class UsagePlans: Policy, RequestHook, EndHook {
  /// The name in the configuration.
  public static let name = "plan"
  /// After it is known who calls.
  public static let phase = Phase.admit
  /// What it does.
  public static let summary = "Gives callers the limits, the access and the price of their usage plan."

  /// The most plans of one policy: each is a limiter of every route that uses it.
  static let mostPlans = 32
  /// The longest name of a plan, in bytes.
  static let nameBytes = 64

  /// Its modes are more than one bit.
  public static let readsMode = true
  /// Whether it only watches.
  public let isShadow: Bool
  /// What the policy is called.
  public let instance: String

  let plans: ContiguousArray<UsagePlan>
  /// What each plan is called.
  private let keys: ContiguousArray<QuotaKey>
  /// The plan of callers without one; −1 for none.
  private let standard: Int
  /// The limits of the route that hold whatever the plan is; nil where there are none.
  let base: RateLimit?
  /// What decides the limits of each plan, those of the route among them; nil where there are none.
  let limiters: ContiguousArray<RateLimit?>
  /// Where the names of each plan's limits begin in ``limitNames``.
  private let firstNames: ContiguousArray<UInt16>
  /// What the limits are called, those of each plan one after the other.
  let limitNames: [String]

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    let instance = options.instanceName.isEmpty ? Self.name : options.instanceName
    self.instance = instance
    let kept = LimitTermsReader(&options)
    isShadow = kept.isShadow
    let zone = Access.zone(&options)
    let tellsClients = options.bool(
      "headers", default: true, "Whether clients are told by RateLimit-Policy, RateLimit and Retry-After.")
    // Those that could not be read too: that has been said.
    var names: [String] = []
    let plans = options.map("plans", "The plans by their names: what callers and claims call them.") { name, plan in
      names.append(name)
      return UsagePlan(name, &plan, instance, kept.terms, zone, tellsClients)
    }.map(\.value)
    if names.isEmpty, !options.isDescribing {
      options.fail("there are no plans", at: "plans", fix: "add plans: { free: { limits: [ … ] } }")
    } else if names.count > Self.mostPlans {
      options.fail("there are \(names.count) plans", at: "plans", fix: "keep at most \(Self.mostPlans) in one policy")
    }
    let standard = options.optionalString(
      "default", "The plan of callers who have none; left out, they are refused with 403 plan-required.")
    var index = -1
    if let standard, !options.isDescribing, !options.hasFailed("plans") {
      index = plans.firstIndex { $0.name == standard } ?? -1
      if !names.contains(standard) {
        options.fail(
          "there is no plan \"\(standard)\" here", at: "default",
          fix: Suggestion.fix(standard, among: names, otherwise: "add \"\(standard)\" to plans"))
      }
    }
    self.standard = index
    self.plans = ContiguousArray(plans.prefix(Self.mostPlans))
    keys = ContiguousArray(self.plans.map { QuotaKey(plan: $0.name) })
    base = nil
    limiters = ContiguousArray(self.plans.map { $0.group.levels.isEmpty ? nil : RateLimit(joining: [$0.group]) })
    (firstNames, limitNames) = Self.names(limiters)
  }

  /// The same plans on a route with these other limits; nil where a plan has too many together with them.
  init?(joining limits: [RateLimit], _ other: UsagePlans) {
    let groups = limits.map(\.group)
    var limiters: ContiguousArray<RateLimit?> = []
    for plan in other.plans {
      guard let joined = RateLimit(joining: groups + [plan.group]) else { return nil }
      limiters.append(joined.levels.isEmpty ? nil : joined)
    }
    (instance, isShadow, plans, keys, standard) = (other.instance, false, other.plans, other.keys, other.standard)
    base = groups.isEmpty ? nil : RateLimit(joining: groups)
    self.limiters = limiters
    (firstNames, limitNames) = Self.names(limiters)
  }

  private static func names(_ limiters: ContiguousArray<RateLimit?>) -> (first: ContiguousArray<UInt16>, all: [String])
  {
    var first: ContiguousArray<UInt16> = []
    var all: [String] = []
    for limiter in limiters {
      // At most 32 plans with eight limits each.
      first.append(UInt16(all.count))
      all += limiter?.levels.map(\.name) ?? []
    }
    return (first, all)
  }

  // MARK: A request

  /// Only slots are given back.
  public var hasWorkAtEnd: Bool { limiters.contains { $0?.hasWorkAtEnd ?? false } }

  /// Looks up the plan, asks its rule and its limits.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    let index: Int
    switch choice(Caller(&exchange), services) {
    case .plan(let found): index = found
    case .none: return .refuse(Refusal(ProblemCatalogue.planRequired))
    case .unknown: return .refuse(Refusal(ProblemCatalogue.planUnknown))
    }
    if let rule = plans[index].allow {
      let route = services.routes[exchange.route]
      guard rule.holds(RuleFacts(exchange, request, route: RawSpan(route), services)) else {
        return .refuse(Refusal(ProblemCatalogue.planForbids))
      }
    }
    guard let limiter = limiters[index] else { return .next }
    let verdict = limiter.onRequest(&exchange, request, services)
    exchange.limits.firstName = firstNames[index]
    return verdict
  }

  /// The quota has answered. Nobody has become somebody else meanwhile.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard case .plan(let index) = choice(Caller(&exchange), services), let limiter = limiters[index] else {
      return .refuse(Refusal(ProblemCatalogue.planRequired))
    }
    let verdict = limiter.onResume(&exchange, request, services)
    exchange.limits.firstName = firstNames[index]
    return verdict
  }

  /// Gives slots of concurrency limits back.
  public func onEnd(_ exchange: inout Exchange, _ services: Services) {
    services.quota.release(&exchange.limits, now: services.world.now)
  }

  // MARK: Plans of callers

  /// Which plan a caller has.
  public enum Choice: Equatable, Sendable {
    /// The one with this index.
    case plan(Int)
    /// None, and there is no default.
    case none
    /// One that the policy does not know.
    case unknown
  }

  /// Which plan a caller has. Linear in the plans, of which there are few.
  public func choice(_ caller: Caller, _ services: Services) -> Choice { choice(services.plan(of: caller)) }

  /// Which plan a caller has whose plan is called so; nil for one without.
  public func choice(_ key: QuotaKey?) -> Choice {
    guard let key else { return standard >= 0 ? .plan(standard) : .none }
    for index in keys.indices where keys[index] == key { return .plan(index) }
    return .unknown
  }

  /// What the plans are called, in the order of the configuration.
  public var planNames: [String] { plans.map(\.name) }

  /// The limits of the plan whose names begin at this place of the chain's, as ``LimitQuestion/firstName`` says.
  public func outlines(fromName first: UInt16) -> [LimitOutline] {
    let index = firstNames.indices.first { firstNames[$0] == first && limiters[$0] != nil }
    return index.flatMap { limiters[$0] }?.outlines ?? []
  }
}

/// One plan.
struct UsagePlan: Sendable {
  let name: String
  /// What must hold of its callers' requests; nil for nothing.
  let allow: AccessRule?
  /// What it costs; nil where nothing is said of that.
  let price: PlanPrice?
  /// Its own limits.
  let group: LimitGroup

  /// The limit that counts the requests of a month; nil where none does.
  var metered: LimitLevel? { group.levels.first(where: \.countsMonth) }

  /// Reads a plan of the policy `instance`; nil after an error.
  init?(
    _ name: String, _ options: inout OptionReader, _ instance: String, _ terms: LimitTerms, _ zone: TimeZoneTable,
    _ tellsClients: Bool
  ) {
    let owner = "\(instance):\(name)"
    var levels = options.objects(
      "limits", "Its limits, as those of rate-limit; they and the route's must all admit."
    ) { option in
      LimitLevel(&option, instance: owner, terms: terms)
    }
    allow = options.rule(
      "allow", "A rule as in the policy access: what else its callers ask for is refused.", zone: zone)
    price = options.object("price", "What it costs; told to those who ask how limits stand.") { PlanPrice(&$0) }
    for index in levels.indices { levels[index].distinguish(from: levels.prefix(index)) }
    self.name = name
    group = LimitGroup(levels: ContiguousArray(levels), tellsClients: tellsClients)
    if options.isDescribing { return }
    if levels.count > LimitQuestion.capacity {
      options.fail(
        "there are \(levels.count) limits", at: "limits", fix: "keep at most \(LimitQuestion.capacity) on one route")
      return nil
    }
    if name.utf8.count > UsagePlans.nameBytes || !LimitLevel.isName(name) {
      options.session.fail(
        "\"\(name)\" cannot be the name of a plan", at: options.place,
        fix: "use at most \(UsagePlans.nameBytes) letters, digits, \"-\", \"_\", \".\"")
      return nil
    }
    if let price, price.request != nil, metered == nil, !options.hasFailed("limits") {
      options.fail(
        "nothing counts the requests of a month", at: "price",
        fix: "add { per: \"consumer\", quota: \"1000000/month\" } to limits, or remove price.request")
    }
  }
}
