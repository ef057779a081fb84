import Core
import Pipeline
import Policies

/// A tenant as the configuration has it: who it is, and the bounds within which everything must lie that belongs to it.
///
/// Bounds hold for every route, upstream and policy that is marked with the tenant, whoever wrote it, so that no revision
/// breaks them. What a bound leaves out is closed, but for hosts, paths and groups: where none are given only those who are of
/// no tenant may mark such things with it.
struct TenantSpec: Equatable, Sendable {
  /// Its name.
  var id = ""
  /// The hosts of which its routes must name one; empty for any.
  var hosts: [TenantHost] = []
  /// The paths below which its routes must lie; empty for any.
  var paths: [TenantPath] = []
  /// What its upstreams may be.
  var endpoints: [TenantEndpoint] = []
  /// The types that its policies may have.
  var policies: Set<String> = []
  /// Upstreams and policies of nobody that its routes may use.
  var sharedUpstreams: [String] = []
  var sharedPolicies: [String] = []
  /// The groups that its consumers may be in.
  var groups: [String] = []

  /// What neither asks other services, nor reads files, nor speaks in the gateway's name.
  static let usualPolicies = [
    Access.name, ApiKey.name, BodyLimit.name, CORS.name, GRPCWeb.name, Headers.name, IPFilter.name, RateLimit.name,
    Respond.name, WebSocketLimits.name,
  ]

  /// What signs with keys that follow from the cluster's secret and a name that the policy chooses: two tenants who choose one
  /// name would have one key.
  static let gatewaysPolicies = [IdentityToken.name, OAuth2Server.name]

  /// The most entries of one bound.
  static let longestBound = 256

  /// Whether its own operator may give it routes.
  var hasPlace: Bool { !hosts.isEmpty || !paths.isEmpty }

  /// Reads one member of `tenants`.
  init(_ options: inout OptionReader) {
    id = options.identifier("The name that consumers, routes, upstreams and policies use.")
    hosts = options.valueList(
      "hosts", .tenantHost, "The hosts that its routes may match: names, or *.NAME for all below a name. Left out, any."
    ) { TenantHost($0) }
    paths = options.valueList(
      "paths", .tenantPath,
      "The paths that its routes may match: each stands for itself and all below. Left out, any. Routes must keep to hosts and "
        + "paths where both are given; its own operator needs one of them."
    ) { TenantPath($0) }
    endpoints = options.valueList(
      "endpoints", .tenantEndpoint,
      "What its upstreams may be: networks, addresses, names of hosts, each with a port or without, and unix:/paths. Loopback "
        + "and link-local addresses only where an entry lies within those."
    ) { TenantEndpoint($0) }
    policies = Set(
      options.valueList(
        "policies", OptionFormat("a type of policy", example: "rate-limit"), default: Self.usualPolicies,
        "The types that its policies may have. Those that ask other services, read files or sign only where they are named."
      ) { Registry.type(named: $0) == nil ? nil : $0 })
    for name in Self.gatewaysPolicies where policies.contains(name) {
      options.fail(
        "policies of type \"\(name)\" sign with keys of the cluster, and are no tenant's", at: "policies",
        fix: "write one that belongs to nobody, and share it with the tenant")
    }
    (sharedUpstreams, sharedPolicies) = options.section(
      "shared", "Which upstreams and policies that belong to nobody its routes may use."
    ) {
      (
        $0.stringList("upstreams", "Names from upstreams. Each is open to it as a whole, whatever the path."),
        $0.stringList("policies", "Names from policies.")
      )
    }
    groups = options.valueList(
      "groups", .identifier, "The groups that its own operator may put its consumers in."
    ) { OptionFormat.identifier($0) }
    for (name, count) in [
      ("hosts", hosts.count), ("paths", paths.count), ("endpoints", endpoints.count), ("groups", groups.count),
    ] where count > Self.longestBound {
      options.fail("these are too many", at: name, fix: "give at most \(Self.longestBound)")
    }
  }
}

/// The tenants of a file, by name.
struct TenantDirectory {
  private(set) var all: [TenantSpec] = []
  private var places: [String: Int] = [:]

  init() {}

  /// Their names, in the order of the file.
  var names: [String] { all.map(\.id) }

  /// Reads the section `tenants`.
  init(_ options: inout OptionReader) {
    var seen: Set<String> = []
    all = options.objects(
      "tenants", shorthand: "id", "Who consumers, routes, upstreams and policies belong to, and the bounds of each."
    ) { tenant in
      let spec = TenantSpec(&tenant)
      if !spec.id.isEmpty, !seen.insert(spec.id).inserted { tenant.failTwice("tenant", spec.id) }
      return spec
    }
    for (index, spec) in all.enumerated() { places[spec.id] = index }
  }

  /// The tenant of this name; nil where there is none.
  subscript(id: String) -> TenantSpec? { places[id].map { all[$0] } }

  /// The most pairs of tenants that are compared with each other.
  private static let mostPairs = 100_000

  /// Tenants whose routes may match the same requests: whichever is more specific would take the other's.
  private func warnOfOverlaps(_ options: OptionReader) {
    var left = Self.mostPairs
    for (index, tenant) in all.enumerated() where tenant.hasPlace {
      for other in all[..<index] where other.hasPlace {
        left -= 1
        if left == 0 { return }
        guard tenant.overlaps(other) else { continue }
        options.session.warn(
          "routes of the tenant \"\(tenant.id)\" may match what routes of \"\(other.id)\" may match",
          at: options.place(at: [.key("tenants"), .index(index)]), fix: "give them hosts or paths of their own")
      }
    }
  }

  /// Names that tenants may use and nobody has, and tenants that may take each other's requests.
  func warn(_ options: OptionReader, upstreams: [String], policies: [String]) {
    warnOfOverlaps(options)
    for (index, tenant) in all.enumerated() {
      let kinds = [("upstreams", tenant.sharedUpstreams, upstreams), ("policies", tenant.sharedPolicies, policies)]
      for (kind, names, known) in kinds {
        for name in names where !known.contains(name) {
          options.session.warn(
            "nothing under \(kind) is called \"\(name)\"",
            at: options.place(at: [.key("tenants"), .index(index), .key("shared"), .key(kind)]),
            fix: Suggestion.fix(name, among: known, otherwise: "remove it"))
        }
      }
    }
  }
}

extension OptionReader {
  /// The option `tenant`: to whom an object belongs. It must stand there as it is: who edits what belongs to a tenant must see
  /// it without asking for references.
  mutating func owner(_ tenants: TenantDirectory, _ help: String) -> TenantSpec? {
    if !isDescribing, has("tenant"), peek("tenant") == nil {
      fail("whose it is must stand here", at: "tenant", fix: "write the name itself, in quotation marks")
    }
    guard let id = optionalString("tenant", help), !isDescribing, !hasFailed("tenant") else { return nil }
    if let tenant = tenants[id] { return tenant }
    fail(
      "there is no tenant \"\(id)\"", at: "tenant",
      fix: Suggestion.fix(id, among: tenants.names, otherwise: "add { id: \"\(id)\" } to tenants"))
    return nil
  }
}
