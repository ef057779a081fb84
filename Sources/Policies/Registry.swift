import Pipeline

/// All policies there are. Within a phase they run in the order of this list.
public enum Registry {
  /// One line a policy.
  public static let policies: [any Policy.Type] = [
    GRPCWeb.self,
    IPFilter.self,
    CORS.self,
    WebSocketLimits.self,
    BodyLimit.self,
    ApiKey.self,
    MTLS.self,
    MessageSignature.self,
    Basic.self,
    JWT.self,
    OAuth2Introspection.self,
    OIDCLogin.self,
    AnyOf.self,
    Access.self,
    ExternalAuth.self,
    UsagePlans.self,
    RateLimit.self,
    OAuth2Server.self,
    ClientCredentials.self,
    TokenExchange.self,
    IdentityToken.self,
    Headers.self,
    JWKS.self,
    Respond.self,
  ]

  /// The policy type with that name in the configuration.
  public static func type(named name: String) -> (any Policy.Type)? { policies.first { $0.name == name } }

  /// Makes the policy that `type` names from its options; nil where there is none of that name. What is wrong with the
  /// options is recorded in the reader, and the result must then not be used.
  public static func make(type name: String, options: inout OptionReader) -> ChainStep? {
    type(named: name).map { type in
      let policy = type.init(&options)
      let isShadow = readMode(type, &options) || policy.isShadow
      return ChainStep(policy, shadowName: isShadow ? options.instanceName : nil)
    }
  }

  private enum Mode: String, CaseIterable {
    case enforce, shadow
  }

  /// Policies that act on others than the exchange: they have tokens refreshed, and sessions ended.
  private static let actingTypes: [any Policy.Type] = [OIDCLogin.self, OAuth2Server.self]

  /// Whether the option `mode` puts a policy in shadow that does not read it itself.
  private static func readMode(_ type: any Policy.Type, _ options: inout OptionReader) -> Bool {
    guard !type.readsMode else { return false }
    let mode = options.choice(
      "mode", default: Mode.enforce,
      "Shadow: it decides, is logged and counted, and neither refuses nor changes anything.")
    if mode == .shadow, actingTypes.contains(where: { $0 == type }) {
      options.fail("what it does cannot be done in shadow", at: "mode", fix: "remove it")
    }
    return mode == .shadow
  }

  /// What the options of a policy are, in the order in which it reads them.
  public static func options(of type: any Policy.Type) -> [OptionDescription] {
    var reader = OptionReader(describing: type.name)
    _ = type.init(&reader)
    _ = readMode(type, &reader)
    return reader.descriptions
  }

  /// The chain of one route's policies, given in any order: sorted by phase and by the list above, those of one type in the
  /// order given, and all `rate-limit` policies that are in force joined, since all limits of a route are decided together;
  /// with the limits of each plan, where the route has plans.
  public static func chain(of steps: [ChainStep]) throws(ChainFault) -> PolicyChain {
    func rank(_ step: ChainStep) -> Int {
      let type = Swift.type(of: step.policy)
      let index = Self.policies.firstIndex { $0 == type } ?? Self.policies.count
      return Int(type.phase.rawValue) * 1000 + index
    }
    guard steps.count(where: { $0.shadowName != nil }) <= ShadowVerdicts.capacity else { throw .tooManyShadows }
    var sorted = steps.enumerated().sorted { (rank($0.element), $0.offset) < (rank($1.element), $1.offset) }
      .map(\.element)
    func isLimit(_ step: ChainStep) -> Bool {
      (step.policy is RateLimit || step.policy is UsagePlans) && step.shadowName == nil
    }
    let limits = sorted.filter(isLimit).compactMap { $0.policy as? RateLimit }
    let plans = sorted.filter(isLimit).compactMap { $0.policy as? UsagePlans }
    guard plans.count <= 1 else { throw .severalPlans }
    guard let first = sorted.firstIndex(where: isLimit) else { return PolicyChain(sorted) }
    sorted.removeAll(where: isLimit)
    if let plan = plans.first {
      guard let joined = limits.isEmpty ? plan : UsagePlans(joining: limits, plan) else { throw .tooManyLimits }
      sorted.insert(ChainStep(joined), at: first)
      return PolicyChain(sorted, limitNames: joined.limitNames)
    }
    guard let joined = limits.count == 1 ? limits[0] : RateLimit(joining: limits.map(\.group)) else {
      throw .tooManyLimits
    }
    sorted.insert(ChainStep(joined), at: first)
    return PolicyChain(sorted, limitNames: joined.levels.map(\.name))
  }

  /// Why policies cannot stand on one route.
  public enum ChainFault: Error, Equatable, Sendable {
    /// More limits than ``LimitQuestion/capacity``.
    case tooManyLimits
    /// More policies in shadow than ``ShadowVerdicts/capacity``.
    case tooManyShadows
    /// More than one policy `plan`: a caller has one plan.
    case severalPlans
  }
}
