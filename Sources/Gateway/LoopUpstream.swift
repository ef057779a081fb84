import Core
import Traffic

/// The endpoints of an upstream on one loop, and how many exchanges use them: counted by hand, since that is all that keeps
/// a set which has been replaced.
final class EndpointsInUse {
  let set: EndpointSet
  /// Their addresses as the log shows them.
  let names: NameTable
  var users = 0

  init(_ set: EndpointSet) {
    self.set = set
    names = NameTable(set.endpoints.map { $0.state.address.description })
  }

  /// The names of no endpoints, for requests that went to none.
  static let noNames = NameTable([])
}

/// One upstream as one loop sees it.
final class LoopUpstream {
  let plan: UpstreamPlan
  var balancer: Balancer
  /// The endpoints that the balancer chooses from.
  private(set) var endpoints: EndpointsInUse
  /// Earlier ones, as long as exchanges use them.
  private var former: [EndpointsInUse] = []
  /// Its endpoints are spoken to otherwise now: connections must not be used again.
  var isReplaced = false
  /// Its line in the queue for connections; the same under every blueprint.
  let line: Int32
  /// Time limits in nanoseconds, where a route says nothing else.
  let timeouts: FlowTimeouts
  let pool: PoolLimits
  /// Whether endpoints are chosen by a hash of the request.
  let hashes: Bool
  /// Whether endpoints are chosen by how quickly they answer.
  let measuresLatency: Bool
  /// Whether endpoints are spoken HTTP/2 to.
  let speaksHTTP2: Bool
  private let state: UpstreamState
  private let requestBounds: BreakerSpec
  private let maxConnections: Int

  init(_ plan: UpstreamPlan, line: Int32, random: UInt64) {
    self.plan = plan
    self.line = line
    balancer = Balancer(plan, random: random)
    endpoints = EndpointsInUse(plan.endpoints)
    pool = PoolLimits(plan.spec.pool)
    hashes = plan.spec.balance == .consistentHash
    measuresLatency = plan.spec.balance == .latency
    state = plan.state
    speaksHTTP2 = plan.spec.speaksHTTP2
    requestBounds = plan.spec.breaker
    maxConnections = plan.spec.breaker.maxConnections
    let limits = plan.spec.timeouts
    timeouts = FlowTimeouts(
      connect: limits.connect.wholeNanoseconds, response: limits.response.wholeNanoseconds,
      idle: limits.idle.wholeNanoseconds)
  }

  /// Counts one more request, unless that is one too many; ``endRequest()`` gives it back.
  @inline(__always)
  func beginRequest() -> Bool { CircuitBreaker.acquire(.request, requestBounds, state) }

  /// A request has ended.
  @inline(__always)
  func endRequest() { CircuitBreaker.release(.request, state) }

  /// Whether all loops together have as many connections to it as they may.
  var isAtBound: Bool { Int(state.connections) >= maxConnections }

  /// Goes on with other endpoints.
  func adopt(_ endpoints: EndpointSet) {
    balancer.adopt(endpoints)
    former.removeAll { $0.users == 0 }
    if self.endpoints.users > 0 { former.append(self.endpoints) }
    self.endpoints = EndpointsInUse(endpoints)
  }
}
