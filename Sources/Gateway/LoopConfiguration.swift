import Core
import Crypto
import Pipeline
import Traffic

/// A blueprint as one loop uses it: the blueprint itself, and the loop's own services and balancers for it. Exchanges
/// hold on to the one they began under, so a reload never changes the rules in the middle of a request.
final class LoopConfiguration {
  /// How many exchanges go by it. Counted by hand, since that is all that keeps a configuration which has been replaced.
  var users = 0
  let blueprint: Blueprint
  let shared: BlueprintShared
  let services: Services
  let names: AccessNames
  /// The loop's view of each upstream, by its index in the blueprint.
  let upstreams: ContiguousArray<LoopUpstream>
  /// The metrics series of limits, in the order of their names.
  let limitSeries: ContiguousArray<Int32>
  /// The metrics series of policies in shadow, in the order of their names.
  let shadowSeries: ContiguousArray<Int32>
  /// Whether there are tenants whose callers are counted.
  let countsTenants: Bool
  private let routeSeries: ContiguousArray<Int32>
  private let firstLimits: ContiguousArray<Int32>
  private let firstShadows: ContiguousArray<Int32>
  private let firstKeys: ContiguousArray<Int32>

  /// The blueprint for one loop; `lines` numbers upstreams by name, new ones are added.
  init(_ blueprint: Blueprint, _ shared: BlueprintShared, _ services: Services, lines: inout [String: Int32]) {
    self.blueprint = blueprint
    self.shared = shared
    self.services = services
    names = shared.names
    routeSeries = shared.routeSeries
    limitSeries = shared.limitSeries
    firstLimits = shared.firstLimits
    shadowSeries = shared.shadowSeries
    firstShadows = shared.firstShadows
    firstKeys = shared.firstKeys
    countsTenants = !shared.tenantSeries.isEmpty
    var upstreams: ContiguousArray<LoopUpstream> = []
    for plan in shared.upstreams {
      let line = lines[plan.spec.name] ?? Int32(lines.count)
      lines[plan.spec.name] = line
      upstreams.append(LoopUpstream(plan, line: line, random: services.world.random()))
    }
    self.upstreams = upstreams
  }

  /// The metrics series of a route; −1 stands for none.
  func series(ofRoute index: Int32) -> Int32 { index >= 0 ? routeSeries[Int(index)] : Metrics.noRoute }

  /// The metrics series of the tenant that a known caller belongs to; −1 for a caller of none.
  func tenantSeries(ofConsumer consumer: Int32, _ identity: Identity?) -> Int32 {
    var tenant: String?
    if consumer >= 0 {
      let series = consumer < Services.firstOwnConsumer ? shared.consumerTenants[Int(consumer)] : -1
      if series >= 0 { return series }
      if consumer >= Services.firstOwnConsumer { tenant = services.consumer(consumer).tenant }
    }
    guard let tenant = tenant ?? identity?.tenant else { return -1 }
    return shared.tenantSeries[tenant] ?? Metrics.otherTenant
  }

  /// The index of a route's first limit among the names of limits.
  @inline(__always)
  func firstLimit(ofRoute index: Int32) -> Int32 { index >= 0 ? firstLimits[Int(index)] : -1 }

  /// The index of a route's first policy in shadow among the names of those.
  @inline(never)
  func firstShadow(ofRoute index: Int32) -> Int32 { index >= 0 ? firstShadows[Int(index)] : -1 }

  /// The index of a consumer's key among the names of keys; `Exchange.issuedKeyMark` for one that the cluster has made.
  @inline(__always)
  func logIndex(ofKey key: Int32, of consumer: Int32) -> Int32 {
    key >= 0 && consumer >= 0 ? firstKeys[Int(consumer)] + key : min(key, -1)
  }
}

/// What loops derive from a blueprint and can share: made once for all of them.
public final class BlueprintShared: Sendable {
  let names: AccessNames
  let routeSeries: ContiguousArray<Int32>
  let limitSeries: ContiguousArray<Int32>
  let firstLimits: ContiguousArray<Int32>
  let shadowSeries: ContiguousArray<Int32>
  let firstShadows: ContiguousArray<Int32>
  let firstKeys: ContiguousArray<Int32>
  /// The metrics series of tenants, and of the tenant of each consumer, −1 for none.
  let tenantSeries: [String: Int32]
  let consumerTenants: ContiguousArray<Int32>
  let routeNames: RouteNames
  let upstreams: ContiguousArray<UpstreamPlan>
  let nodeName: String

  /// Derives names and series from `blueprint`; `upstreams` are its upstreams with the endpoints they have now. The node
  /// is called `nodeName` where it answers for itself.
  public init(
    _ blueprint: Blueprint, upstreams: ContiguousArray<UpstreamPlan>, metrics: Metrics, nodeName: String = "node"
  ) {
    self.nodeName = nodeName
    self.upstreams = upstreams
    let routes = blueprint.routes.map(\.id)
    let consumers = blueprint.keyRing.consumers
    let limitNames = blueprint.routes.flatMap(\.chain.limitNames)
    let shadowNames = blueprint.routes.flatMap(\.chain.shadowNames)
    limitSeries = metrics.policySeries(limitNames)
    shadowSeries = metrics.shadowSeries(shadowNames)
    names = AccessNames(
      routes: routes, consumers: consumers.map(\.id), keys: consumers.flatMap { $0.keys.map(\.id) },
      limits: limitNames, shadows: shadowNames, tenants: consumers.map(\.tenant))
    let tenants = Dictionary(zip(blueprint.tenants, metrics.tenantSeries(blueprint.tenants))) { first, _ in first }
    tenantSeries = tenants
    consumerTenants = ContiguousArray(consumers.map { $0.tenant.flatMap { tenants[$0] } ?? -1 })
    routeSeries = metrics.routeSeries(routes)
    routeNames = RouteNames(routes)
    firstLimits = Self.starts(blueprint.routes.map(\.chain.limitNames.count))
    firstShadows = Self.starts(blueprint.routes.map(\.chain.shadowNames.count))
    firstKeys = Self.starts(consumers.map(\.keys.count))
  }

  /// Where each of several runs of so many begins, one behind the other.
  private static func starts(_ counts: [Int]) -> ContiguousArray<Int32> {
    var next: Int32 = 0
    return ContiguousArray(
      counts.map { count in
        defer { next += Int32(count) }
        return next
      })
  }
}

extension Services {
  /// What the policies of `blueprint` borrow on one loop.
  convenience init(
    world: any World, quota: any Quota, _ blueprint: Blueprint, _ shared: BlueprintShared, _ hasher: SHA256,
    _ facts: LoopFacts?, _ fetches: LoopFetches?, _ node: NodeShared
  ) {
    self.init(
      world: world, quota: quota, keyRing: blueprint.keyRing, routes: shared.routeNames, hasher: hasher,
      nodeName: shared.nodeName, facts: facts, fetches: fetches?.desk, issuers: fetches?.issuers,
      passwords: fetches?.passwords, records: fetches?.records, secrets: node.secrets(blueprint))
  }
}
