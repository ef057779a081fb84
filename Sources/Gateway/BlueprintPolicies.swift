import Pipeline
import Policies

/// A policy that a route uses.
struct PolicyUse {
  let step: ChainStep
  /// Whether it stands under `policies`.
  let isNamed: Bool
  /// Its `type`.
  let type: String
  /// The tenant that it belongs to, where it stands under `policies`.
  var tenant: String?
  var policy: any Policy { step.policy }
}

/// The policies of a file: each one made once, however many routes use it.
struct PolicyDirectory {
  private var named: [String: PolicyUse] = [:]
  /// Names whose policy could not be made; that has been said, a route that uses them is not to blame.
  private var broken: Set<String> = []
  private(set) var unused: Set<String> = []
  /// What usage plans are called.
  private(set) var planNames: Set<String> = []
  /// Thousands of routes share a few combinations: the arrays of a chain are kept once.
  private var chains: [[ObjectIdentifier]: PolicyChain] = [:]
  /// What keeps callers of others off the routes of a tenant, made once for each.
  private var gates: [String: TenantGate] = [:]

  /// The names of those that have one.
  var names: [String] { named.keys.sorted() }

  /// What the option `tenant` of a policy with a name is for.
  static let ownerHelp = "The tenant that it belongs to; left out, it is everybody's but tenants'."

  /// Reads the section `policies`.
  mutating func read(_ options: inout OptionReader, _ tenants: TenantDirectory) {
    _ = options.map("policies", definition: "policy", "Policies with a name, for routes to share.") { name, policy in
      var owner: TenantSpec?
      if !TenantText.otherMeaning.contains(policy.peek("type") ?? "") {
        owner = policy.owner(tenants, Self.ownerHelp)
        owner?.check(policyName: name, policy)
      }
      if let use = make(&policy, isNamed: true, owner) { named[name] = use } else { broken.insert(name) }
      unused.insert(name)
      return ()
    }
  }

  /// Reads the option `policies` of a route: names, or policies in place.
  mutating func uses(_ options: inout OptionReader, route: String, _ tenant: TenantSpec?) -> [PolicyUse] {
    var types: [String: Int] = [:]
    let uses: [PolicyUse] = options.objects(
      "policies", shorthand: "name", definition: "policyUse",
      "Names from policies, or policies in place. They run in the order of their phases, whatever their order here."
    ) { policy in
      if policy.isShorthand { return find(&policy, tenant) }
      let type = policy.peek("type") ?? ""
      types[type, default: 0] += 1
      let number = types[type] ?? 1
      policy.instanceName = number == 1 ? "\(route)/\(type)" : "\(route)/\(type)-\(number)"
      return make(&policy, isNamed: false, tenant)
    }
    for (index, use) in uses.enumerated() where uses[..<index].contains(where: { $0.policy === use.policy }) {
      options.fail("one policy is named twice", at: "policies", fix: "name it once")
    }
    return uses
  }

  private mutating func find(_ options: inout OptionReader, _ tenant: TenantSpec?) -> PolicyUse? {
    let name = options.string("name", "The name of a policy.")
    if options.hasFailed("name") { return nil }
    unused.remove(name)
    if let use = named[name] {
      guard let objection = TenantSpec.objection(to: use, named: name, from: tenant) else { return use }
      options.fail(objection.message, at: "name", fix: objection.fix)
      return nil
    }
    guard !broken.contains(name) else { return nil }
    let isType = Registry.type(named: name) != nil
    options.fail(
      "there is no policy \"\(name)\"", at: "name",
      fix: isType
        ? "write { type: \"\(name)\", … } here, or give it a name under policies"
        : Suggestion.fix(name, among: named.keys.sorted(), otherwise: "add \"\(name)\" to policies"))
    return nil
  }

  private mutating func make(_ options: inout OptionReader, isNamed: Bool, _ tenant: TenantSpec?) -> PolicyUse? {
    let type = options.string("type", "Which policy it is.")
    guard !options.hasFailed("type") else {
      options.skipRest()
      return nil
    }
    guard let step = Registry.make(type: type, options: &options) else {
      let types = Registry.policies.map { $0.name }
      let list = types.map { "\"\($0)\"" }.joined(separator: ", ")
      options.fail(
        "there is no type of policy \"\(type)\"", at: "type",
        fix: Suggestion.fix(type, among: types, otherwise: "there are \(list)"))
      options.skipRest()
      return nil
    }
    if let plans = step.policy as? UsagePlans { planNames.formUnion(plans.planNames) }
    tenant?.check(step.policy, &options)
    return PolicyUse(step: step, isNamed: isNamed, type: type, tenant: isNamed ? tenant?.id : nil)
  }

  /// Whether one of these always answers by itself, so that a route needs no upstream.
  func answers(_ uses: [PolicyUse]) -> Bool {
    uses.contains { [Respond.name, JWKS.name, OAuth2Server.name].contains($0.type) && $0.step.shadowName == nil }
  }

  private mutating func gate(of tenant: TenantSpec) -> TenantGate {
    if let gate = gates[tenant.id] { return gate }
    let gate = TenantGate(tenant: tenant.id)
    gates[tenant.id] = gate
    return gate
  }

  /// These policies in the order in which they run, on a route of this tenant or of nobody; a chain without any after an
  /// error.
  mutating func chain(
    of uses: [PolicyUse], _ tenant: TenantSpec?, _ options: inout OptionReader
  ) -> PolicyChain {
    var steps = uses.map(\.step)
    if let tenant { steps.append(ChainStep(gate(of: tenant))) }
    let policies = steps.map(\.policy)
    // Only named policies live as long as this directory: the identity of others may be used again.
    let key = uses.allSatisfy(\.isNamed) ? policies.map { ObjectIdentifier($0) } : nil
    if let key, let chain = chains[key] { return chain }
    do throws(Registry.ChainFault) {
      let chain = try Registry.chain(of: steps)
      if let key { chains[key] = chain }
      return chain
    } catch {
      switch error {
      case .tooManyLimits:
        options.fail(
          "all rate-limit policies together, and a plan's limits, are more than \(LimitQuestion.capacity) limits",
          at: "policies",
          fix: "keep at most \(LimitQuestion.capacity) on one route")
      case .severalPlans:
        options.fail(
          "a route has one policy of the type plan, since a caller has one plan", at: "policies",
          fix: "keep one of them, or put the others in shadow")
      case .tooManyShadows:
        options.fail(
          "more than \(ShadowVerdicts.capacity) policies run in shadow", at: "policies",
          fix: "keep at most \(ShadowVerdicts.capacity) of them on one route")
      }
      return PolicyChain()
    }
  }
}
