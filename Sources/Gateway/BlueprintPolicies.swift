import Pipeline
import Policies

/// A policy that a route uses.
struct PolicyUse {
  let step: ChainStep
  /// Whether it stands under `policies`.
  let isNamed: Bool
  /// Its `type`.
  let type: String
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

  /// Reads the section `policies`.
  mutating func read(_ options: inout OptionReader) {
    _ = options.map("policies", definition: "policy", "Policies with a name, for routes to share.") { name, policy in
      if let use = make(&policy, isNamed: true) { named[name] = use } else { broken.insert(name) }
      unused.insert(name)
      return ()
    }
  }

  /// Reads the option `policies` of a route: names, or policies in place.
  mutating func uses(_ options: inout OptionReader, route: String) -> [PolicyUse] {
    var types: [String: Int] = [:]
    let uses: [PolicyUse] = options.objects(
      "policies", shorthand: "name", definition: "policyUse",
      "Names from policies, or policies in place. They run in the order of their phases, whatever their order here."
    ) { policy in
      if policy.isShorthand { return find(&policy) }
      let type = policy.peek("type") ?? ""
      types[type, default: 0] += 1
      let number = types[type] ?? 1
      policy.instanceName = number == 1 ? "\(route)/\(type)" : "\(route)/\(type)-\(number)"
      return make(&policy, isNamed: false)
    }
    for (index, use) in uses.enumerated() where uses[..<index].contains(where: { $0.policy === use.policy }) {
      options.fail("one policy is named twice", at: "policies", fix: "name it once")
    }
    return uses
  }

  private mutating func find(_ options: inout OptionReader) -> PolicyUse? {
    let name = options.string("name", "The name of a policy.")
    if options.hasFailed("name") { return nil }
    unused.remove(name)
    if let use = named[name] { return use }
    guard !broken.contains(name) else { return nil }
    let isType = Registry.type(named: name) != nil
    options.fail(
      "there is no policy \"\(name)\"", at: "name",
      fix: isType
        ? "write { type: \"\(name)\", … } here, or give it a name under policies"
        : Suggestion.fix(name, among: named.keys.sorted(), otherwise: "add \"\(name)\" to policies"))
    return nil
  }

  private mutating func make(_ options: inout OptionReader, isNamed: Bool) -> PolicyUse? {
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
    return PolicyUse(step: step, isNamed: isNamed, type: type)
  }

  /// Whether one of these always answers by itself, so that a route needs no upstream.
  func answers(_ uses: [PolicyUse]) -> Bool {
    uses.contains { [Respond.name, JWKS.name, OAuth2Server.name].contains($0.type) && $0.step.shadowName == nil }
  }

  /// These policies in the order in which they run; a chain without any after an error.
  mutating func chain(of uses: [PolicyUse], _ options: inout OptionReader) -> PolicyChain {
    let policies = uses.map(\.policy)
    // Only named policies live as long as this directory: the identity of others may be used again.
    let key = uses.allSatisfy(\.isNamed) ? policies.map { ObjectIdentifier($0) } : nil
    if let key, let chain = chains[key] { return chain }
    do throws(Registry.ChainFault) {
      let chain = try Registry.chain(of: uses.map(\.step))
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
