// Places for requests: a connection that is idle, room for another one, or a place in the upstream's line.
//
// A line moves at the end of a turn, never in the middle of one: what frees a connection is some other exchange, and the
// loop's own buffers hold a part of its response at that moment.

import Core
import HTTP
import Pipeline
import Traffic

extension RequestFlow {
  /// How often lines are looked at while somebody waits: connections of other loops count against the same bound, and
  /// nobody tells when they close.
  private static var queuePace: Int64 { 50_000_000 }
  /// Endpoints that the first in a line asks for a place before the line waits on.
  private static var placesAsked: Int { 4 }

  private enum Place {
    case idle(Int32)
    case room
    case none
  }

  /// The station `connect`: an idle connection to the endpoint, a new one, or a place in the queue.
  @inline(__always)
  mutating func connect(_ exchange: Int32, _ upstream: LoopUpstream) {
    // First come, first served: nobody overtakes those who wait.
    guard pending.count(line: upstream.line) == 0 else { return enqueue(exchange, upstream) }
    go(to: takePlace(exchange, upstream), exchange, upstream)
  }

  @inline(__always)
  private mutating func go(to place: Place, _ exchange: Int32, _ upstream: LoopUpstream) {
    switch place {
    case .idle(let server):
      metrics.add(to: .upstreamConnectionsReused)
      use(server, for: exchange)
    case .room:
      guard let endpoint = exchanges[exchange].endpoint else { return }
      open(to: endpoint.with { $0 }, for: exchange, upstream)
    case .none: enqueue(exchange, upstream)
    }
  }

  /// Takes an idle connection to the exchange's endpoint, or the right to open one.
  @inline(__always)
  private mutating func takePlace(_ exchange: Int32, _ upstream: LoopUpstream) -> Place {
    guard let endpoint = exchanges[exchange].endpoint else { return .none }
    let id = endpoint.with { $0.id }
    let idle = pool.takeIdle(endpoint: id)
    if idle >= 0 { return .idle(idle) }
    guard pool.canOpen(endpoint: id, upstream.pool) else { return .none }
    if CircuitBreaker.acquire(.connection, upstream.plan.spec.breaker, upstream.plan.state) { return .room }
    // An idle connection to another endpoint must not keep this one waiting.
    guard closeOneIdle(of: upstream) else { return .none }
    return CircuitBreaker.acquire(.connection, upstream.plan.spec.breaker, upstream.plan.state) ? .room : .none
  }

  private mutating func closeOneIdle(of upstream: LoopUpstream) -> Bool {
    for endpoint in upstream.balancer.current.endpoints {
      let idle = pool.takeOldest(endpoint: endpoint.state.id)
      guard idle >= 0 else { continue }
      close(server: idle, reset: false)
      return true
    }
    return false
  }

  // MARK: The line

  private mutating func enqueue(_ exchange: Int32, _ upstream: LoopUpstream) {
    exchanges[exchange].stage = .pending
    guard CircuitBreaker.acquire(.pending, upstream.plan.spec.breaker, upstream.plan.state) else {
      return refuse(exchange, ProblemCatalogue.upstreamBusy)
    }
    metrics.add(to: .upstreamRequestsQueued)
    exchanges[exchange].isQueued = true
    let isIn = pending.append(exchange, line: upstream.line, limit: .max)
    precondition(isIn)
    // Another endpoint may have a place.
    noteRoom(upstream.line)
    queuesMoveAt = min(queuesMoveAt, loop.now.advanced(byNanoseconds: Self.queuePace))
    let client = exchanges[exchange].client
    guard client >= 0 else { return }
    let deadline = loop.now.advanced(byNanoseconds: exchanges[exchange].timeouts.response)
    exchanges[exchange].totalDeadline = min(exchanges[exchange].totalDeadline, deadline)
    setDeadline(client: client, after: exchanges[exchange].timeouts.response)
  }

  @inline(__always)
  mutating func leaveQueue(_ exchange: Int32) {
    guard exchanges[exchange].isQueued else { return }
    exchanges[exchange].isQueued = false
    pending.remove(exchange)
    exchanges[exchange].group?.with { CircuitBreaker.release(.pending, $0.plan.state) }
  }

  /// Whether a connection that lies idle here could keep another loop waiting, which cannot take it over.
  @inline(__always)
  func keepsOthersWaiting(_ exchange: Int32, _ line: Int32) -> Bool {
    guard hasSiblings, exchanges[exchange].group?.with({ $0.isAtBound }) == true else { return false }
    return pending.count(line: line) == 0
  }

  /// A connection of this upstream is free, or there is room for another: the line moves at the end of the turn.
  @inline(__always)
  mutating func noteRoom(_ line: Int32) {
    guard pending.count(line: line) > 0, !movingLines.contains(line) else { return }
    movingLines.append(line)
  }

  /// Lets everybody go who has a place, the longest waiting first.
  mutating func moveQueues() {
    if queuesMoveAt <= loop.now {
      queuesMoveAt = .never
      for line in 0..<Int32(lines.count) where pending.count(line: line) > 0 {
        noteRoom(line)
        queuesMoveAt = loop.now.advanced(byNanoseconds: Self.queuePace)
      }
    }
    while let line = movingLines.popLast() {
      while moveFirst(of: line) {}
    }
  }

  /// Lets the first of a line go; false where nobody waits or there is no place.
  private mutating func moveFirst(of line: Int32) -> Bool {
    let exchange = pending.first(line: line)
    guard exchange >= 0, let upstream = exchanges[exchange].group?.with({ $0 }) else { return false }
    let tried = exchanges[exchange].tried
    var place = Place.none
    var asked = 0
    while asked < Self.placesAsked, pickEndpoint(exchange, upstream) {
      asked += 1
      place = takePlace(exchange, upstream)
      guard case .none = place else { break }
      if let id = exchanges[exchange].endpoint?.with({ $0.id }) { exchanges[exchange].tried.insert(id) }
    }
    exchanges[exchange].tried = tried
    if case .none = place {
      guard asked == 0 else { return false }
      leaveQueue(exchange)
      refuse(exchange, ProblemCatalogue.noUpstream)
      return true
    }
    leaveQueue(exchange)
    if let total = exchanges[exchange].route?.with({ $0.timeouts.total }) {
      exchanges[exchange].totalDeadline = min(
        exchanges[exchange].callDeadline, exchanges[exchange].exchange.startedAt.advanced(byNanoseconds: total))
    }
    go(to: place, exchange, upstream)
    return true
  }
}
