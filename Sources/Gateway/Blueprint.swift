// The configuration, validated and compiled.
//
// One pass over the file makes everything that loops need: settings as plain numbers, routes as a table, policies as
// chains. The text and its tree are gone afterwards. Whatever is wrong is collected on the way; a file with errors makes
// no blueprint, so that nothing half configured ever runs. The same code, run in describing mode, lists all options:
// `sluice schema` is written from that.

import Cluster
import Core
import Crypto
import Pipeline
import Traffic

/// A whole configuration. Immutable; loops swap it as one.
public final class Blueprint: Sendable {
  /// What it has of the node's own.
  public let own: NodeSections
  /// Which route takes a request; its indexes are those of ``routes``.
  public let table: RouteTable
  /// What the routes do.
  public let routes: ContiguousArray<RoutePlan>
  /// The upstreams; routes name them by index.
  public let upstreams: ContiguousArray<UpstreamSpec>
  /// The tenants, with their bounds.
  let tenantSpecs: [TenantSpec]
  /// The consumers and their keys.
  public let keyRing: KeyRing
  /// Whether it is a router's: all requests go to nodes, which decide.
  public let isRouter: Bool
  /// The limits of all routes, for those who ask how they stand.
  let usage: UsageCatalogue
  /// The route by which they ask.
  let usageRoute: RoutePlan
  /// SHA-256 of the text that it was read from: two blueprints with one digest are alike, but for their secrets.
  public let digest: Digest

  init(
    _ own: NodeSections, _ shared: ClusterSections, table: RouteTable, routes: ContiguousArray<RoutePlan>,
    keyRing: KeyRing, digest: Digest, isRouter: Bool
  ) {
    self.own = own
    self.isRouter = isRouter
    self.table = table
    self.routes = routes
    upstreams = shared.upstreams
    tenantSpecs = shared.tenants.all
    self.keyRing = keyRing
    usage = UsageCatalogue(routes)
    usageRoute = RoutePlan(usage: usage)
    self.digest = digest
  }

  /// The same with other sections of the node's own, and other TLS to upstreams, which differ in nothing that routes were
  /// compiled from.
  init(_ other: Blueprint, own: NodeSections, upstreams: ContiguousArray<UpstreamSpec>) {
    self.own = own
    self.upstreams = upstreams
    (table, routes, tenantSpecs) = (other.table, other.routes, other.tenantSpecs)
    (keyRing, isRouter, usage, usageRoute) = (other.keyRing, other.isRouter, other.usage, other.usageRoute)
    digest = other.digest
  }
}

extension Blueprint {
  /// The tenants' names.
  public var tenants: [String] { tenantSpecs.map(\.id) }
  /// The node itself.
  public var node: NodeSettings { own.node }
  /// Where clients connect; at least one.
  public var listeners: [ListenerSettings] { own.listeners }
  /// Where the access log goes.
  public var accessLog: AccessLogSettings { own.accessLog }
  /// The admin port; nil for none.
  public var admin: AdminSettings? { own.admin }
  /// Where limits are counted.
  public var store: StoreSettings { own.store }
  /// Whom the node counts together with.
  public var cluster: ClusterSettings { own.cluster }
}

// MARK: Reading

extension Blueprint {
  /// Reads a configuration file. Every mistake in it is reported, in the order of the file; there is a blueprint exactly
  /// if none of the diagnostics is an error. `secrets` is asked for what `{ env: … }` and `{ file: … }` refer to.
  ///
  /// Linear in the length of the text but for the route table; 10,000 routes take a fraction of a second.
  public static func read(text: [UInt8], secrets: @escaping SecretResolver)
    -> (blueprint: Blueprint?, diagnostics: [Diagnostic])
  {
    read(text: text, secrets: secrets, toleratesMissingSecrets: false)
  }

  /// With `toleratesMissingSecrets` the blueprint has holes and must not run: see ``BlueprintCheck``.
  static func read(text: [UInt8], secrets: @escaping SecretResolver, toleratesMissingSecrets: Bool)
    -> (blueprint: Blueprint?, diagnostics: [Diagnostic])
  {
    read(text, secrets, isTolerant: toleratesMissingSecrets) { options in
      let file = BlueprintFile(&options)
      return (file.own, file.shared)
    }
  }

  /// Reads a revision for a node with these sections of its own. The text may be a whole file, whose sections that are a
  /// node's own are left aside. `secrets` is asked for what it refers to, and for nothing else.
  public static func read(_ own: NodeSections, revision text: [UInt8], secrets: @escaping SecretResolver)
    -> (blueprint: Blueprint?, diagnostics: [Diagnostic])
  {
    read(own, revision: text, secrets: secrets, toleratesMissingSecrets: false)
  }

  /// See ``read(text:secrets:toleratesMissingSecrets:)``.
  static func read(
    _ own: NodeSections, revision text: [UInt8], secrets: @escaping SecretResolver, toleratesMissingSecrets: Bool
  ) -> (blueprint: Blueprint?, diagnostics: [Diagnostic]) {
    read(text, secrets, isTolerant: toleratesMissingSecrets) { options in
      _ = options.optionalString("$schema", BlueprintFile.schemaHelp)
      options.ignore(NodeSections.names)
      return (own, ClusterSections(&options, limits: own.node.limits))
    }
  }

  /// Reads what `sections` makes of a text.
  static func read(
    _ text: [UInt8], _ secrets: @escaping SecretResolver, isTolerant: Bool, isRouter: Bool = false,
    _ sections: (inout OptionReader) -> (NodeSections, ClusterSections)
  ) -> (blueprint: Blueprint?, diagnostics: [Diagnostic]) {
    let session = OptionSession(text: text, secrets: secrets, toleratesMissingSecrets: isTolerant)
    typealias Sections = (own: NodeSections, shared: ClusterSections, table: RouteTable?)
    let read: Sections? = session.readDocument(text) { options in
      let (own, shared) = sections(&options)
      options.finish()
      let table = shared.buildTable(options)
      shared.warn(options)
      return (own, shared, table)
    }
    guard session.errorCount == 0, let read, let table = read.table, let keyRing = read.shared.consumers.keyRing()
    else { return (nil, session.diagnostics) }
    var routes: ContiguousArray<RoutePlan> = []
    routes.reserveCapacity(read.shared.routes.count)
    for draft in read.shared.routes { routes.append(RoutePlan(draft)) }
    let digest = SHA256().digest(of: RawSpan(text))
    let blueprint = Blueprint(
      read.own, read.shared, table: table, routes: routes, keyRing: keyRing, digest: digest, isRouter: isRouter)
    return (blueprint, session.diagnostics)
  }
}
