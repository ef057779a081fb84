import Core
import Traffic

/// One upstream as one loop sees it.
final class LoopUpstream {
  let plan: UpstreamPlan
  var balancer: Balancer
  /// Its line in the queue for connections; the same under every blueprint.
  let line: Int32
  /// Time limits in nanoseconds, where a route says nothing else.
  let timeouts: FlowTimeouts
  let pool: PoolLimits
  /// Whether endpoints are chosen by a hash of the request.
  let hashes: Bool
  private let state: UpstreamState
  private let maxConnections: Int
  /// The endpoints' addresses as the log shows them.
  private(set) var endpointNames: NameTable

  init(_ plan: UpstreamPlan, line: Int32, random: UInt64) {
    self.plan = plan
    self.line = line
    balancer = Balancer(plan, random: random)
    endpointNames = Self.names(of: plan.endpoints)
    pool = PoolLimits(plan.spec.pool)
    hashes = plan.spec.balance == .consistentHash
    state = plan.state
    maxConnections = plan.spec.breaker.maxConnections
    let limits = plan.spec.timeouts
    timeouts = FlowTimeouts(
      connect: limits.connect.wholeNanoseconds, response: limits.response.wholeNanoseconds,
      idle: limits.idle.wholeNanoseconds)
  }

  /// Whether all loops together have as many connections to it as they may.
  var isAtBound: Bool { Int(state.connections) >= maxConnections }

  /// Goes on with other endpoints.
  func adopt(_ endpoints: EndpointSet) {
    balancer.adopt(endpoints)
    endpointNames = Self.names(of: endpoints)
  }

  private static func names(of endpoints: EndpointSet) -> NameTable {
    NameTable(endpoints.endpoints.map { $0.state.address.description })
  }
}
