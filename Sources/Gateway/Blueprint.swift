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
  /// The node itself.
  public let node: NodeSettings
  /// Where clients connect; at least one.
  public let listeners: [ListenerSettings]
  /// Where the access log goes.
  public let accessLog: AccessLogSettings
  /// The admin port; nil for none.
  public let admin: AdminSettings?
  /// Where limits are counted.
  public let store: StoreSettings
  /// Whom the node counts together with.
  public let cluster: ClusterSettings
  /// Which route takes a request; its indexes are those of ``routes``.
  public let table: RouteTable
  /// What the routes do.
  public let routes: ContiguousArray<RoutePlan>
  /// The upstreams; routes name them by index.
  public let upstreams: ContiguousArray<UpstreamSpec>
  /// The tenants' names.
  public let tenants: [String]
  /// The consumers and their keys.
  public let keyRing: KeyRing
  /// The limits of all routes, for those who ask how they stand.
  let usage: UsageCatalogue
  /// The route by which they ask.
  let usageRoute: RoutePlan
  /// SHA-256 of the text that it was read from: two blueprints with one digest are alike, but for their secrets.
  public let digest: Digest

  init(_ file: BlueprintFile, table: RouteTable, routes: ContiguousArray<RoutePlan>, keyRing: KeyRing, digest: Digest) {
    node = file.node
    listeners = file.listeners
    accessLog = file.accessLog
    admin = file.admin
    store = file.store
    cluster = file.cluster
    self.table = table
    self.routes = routes
    upstreams = file.upstreams
    tenants = file.consumers.tenants
    self.keyRing = keyRing
    usage = UsageCatalogue(routes)
    usageRoute = RoutePlan(usage: usage)
    self.digest = digest
  }

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
    let session = OptionSession(text: text, secrets: secrets, toleratesMissingSecrets: toleratesMissingSecrets)
    let outcome = JSONDocument.parse(text)
    for fault in outcome.faults { session.record(fault) }
    guard let document = outcome.document else { return (nil, session.diagnostics) }
    var options = OptionReader(document.root, session: session)
    guard !options.isUnreadable else { return (nil, session.diagnostics) }
    let file = BlueprintFile(&options)
    options.finish()
    let table = file.buildTable(options)
    file.warn(options)
    guard session.errorCount == 0, let table, let keyRing = file.consumers.keyRing() else {
      return (nil, session.diagnostics)
    }
    var routes: ContiguousArray<RoutePlan> = []
    routes.reserveCapacity(file.routes.count)
    for draft in file.routes { routes.append(RoutePlan(draft)) }
    let digest = SHA256().digest(of: RawSpan(text))
    return (
      Blueprint(file, table: table, routes: routes, keyRing: keyRing, digest: digest), session.diagnostics
    )
  }
}
