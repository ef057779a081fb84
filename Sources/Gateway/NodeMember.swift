// What a node says of itself to the members of its cluster, and what it tells metrics about them.

import Cluster
import Core
import Net

extension Node {
  /// Sees to it that `agent` says of the node what the node alone knows.
  func introduce(_ agent: StoreAgent, _ blueprint: Blueprint, _ world: any World) {
    let admin = blueprint.admin?.address.description
    let host = ProcessLimits.placement
    var meter = LoadMeter()
    agent.contribute { [self, weak agent] record in
      record.host = host
      if let sections = shared.own {
        record.listeners = sections.listeners.map(\.address.description)
        let own = blueprint.isRouter ? nil : sections.node.advertise ?? agent?.store.localAddress?.ip
        record.reach = blueprint.isRouter ? [] : Self.reach(sections.listeners, isProxied: false, by: own)
        record.reachProxied = blueprint.isRouter ? [] : Self.reach(sections.listeners, isProxied: true, by: own)
      }
      record.since = startedAt
      record.admin = admin
      record.isDraining = shared.isDraining
      record.isReady = shared.takesRequests
      record.connections = Int64(shared.ledger.total)
      record.requestsPerSecond = meter.rate(shared.metrics.requestsStarted, at: world.now)
    }
  }
}

extension Node {
  /// Where routers reach a node: those of its listeners that expect a PROXY header, or do not. What is passed on behind such
  /// a header is TLS as a rule, other requests are plain HTTP: listeners of that kind are named, and the others where there
  /// are none. One that is open on all addresses is reached by `own`.
  static func reach(_ listeners: [ListenerSettings], isProxied: Bool, by own: IPAddress?) -> [String] {
    let all = listeners.filter { $0.expectsProxyHeader == isProxied && $0.redirect == nil }
    let right = all.filter { ($0.tls != nil) == isProxied }
    return (right.isEmpty ? all : right).map { listener in
      guard case .ip(let ip, let port) = listener.address, ip.isUnspecified else { return listener.address.description }
      return SocketAddress.ip(own ?? IPAddress(v4: 0x7f00_0001), port: port).description
    }
  }
}

/// Turns a count that grows into a rate over the last few seconds.
struct LoadMeter {
  /// After this time what was before counts half, in nanoseconds.
  private static let memory: Double = 2_000_000_000

  private var count: UInt64 = 0
  private var countedAt: Instant?
  private var rate = 0.0

  /// The rate a second, rounded to tenths, now that `total` has been counted.
  mutating func rate(_ total: UInt64, at now: Instant) -> Double {
    defer { (count, countedAt) = (total, now) }
    guard let countedAt else { return 0 }
    let passed = Double(now.nanoseconds(since: countedAt))
    guard passed > 0 else { return rate }
    let weight = passed / (passed + Self.memory)
    rate += weight * (Double(total &- count) * 1e9 / passed - rate)
    return (rate * 10).rounded() / 10
  }
}

extension NodeFacts {
  /// The families about the cluster; none where the node has none.
  func writeCluster(_ text: MetricsText) {
    guard let cluster else { return }
    text.single("sluice_cluster_leader", .gauge, "Whether this node leads the cluster.", cluster.isLeader ? 1 : 0)
    text.single(
      "sluice_cluster_epoch", .gauge, "The epoch of the leader, as this node knows it.",
      UInt64(clamping: cluster.epoch))
    text.single("sluice_cluster_members", .gauge, "Members on the list that holds.", UInt64(clamping: cluster.members))
    text.single(
      "sluice_cluster_list_generation", .gauge, "The number of that list: it grows with every change.",
      UInt64(clamping: cluster.generation))
    text.single(
      "sluice_cluster_store_up", .gauge, "Whether the node reaches the store in which the cluster agrees.",
      cluster.isStoreUp ? 1 : 0)
    text.single(
      "sluice_cluster_store_microseconds", .gauge, "How long the node's last sign of life took to be answered.",
      UInt64(clamping: cluster.storeMicroseconds))
    text.single(
      "sluice_cluster_revision", .gauge, "The cluster's revision that is in force here; 0 for the node's own file.",
      UInt64(clamping: cluster.revision))
    text.single("sluice_revocations", .gauge, "Revocations that this node knows of.", UInt64(cluster.revocations))
    text.single("sluice_issued_keys", .gauge, "Keys of the cluster that this node knows of.", UInt64(cluster.keys))
    text.single(
      "sluice_facts_age_milliseconds", .gauge, "How old the node's knowledge of revocations and keys is.",
      UInt64(clamping: cluster.factAge))
    text.single(
      "sluice_stale_facts_requests_total", .counter, "Requests decided while a revocation may have been missed.",
      cluster.staleRequests)
  }
}
