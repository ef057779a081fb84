// Active health checks: one short request an interval to every endpoint that has them, from the control loop, so that a
// node asks once however many loops it has.

import Core
import HTTP
import Traffic

/// The checks of all endpoints of a configuration, and their connections.
struct HealthProbes {
  /// Bytes of an answer that are read in search of its head.
  private static let answerLimit = 16_384

  private struct Probe {
    var check: HealthCheck
    let request: [UInt8]
    var socket = Socket.none
    var generation: UInt32 = 0
    var isConnected = false
    let answer = ByteBuffer()
  }

  private let world: any World
  private var probes: [Probe] = []
  private var nextGeneration: UInt32 = 0
  private let head = ResponseHead()
  /// Endpoints that were found to be unwell since ``takeUnwell()`` was last called, by id.
  private var unwell: [Int32] = []
  /// When a check is due or an answer overdue.
  private(set) var nextDeadline = Instant.never

  init(world: any World) { self.world = world }

  /// Goes on with the endpoints of another configuration. Checks begin anew; what is known of an endpoint stays known.
  mutating func replace(with upstreams: ContiguousArray<UpstreamPlan>) {
    for index in probes.indices { hangUp(index) }
    probes = []
    for plan in upstreams {
      guard let spec = plan.spec.health else { continue }
      for endpoint in plan.endpoints.endpoints {
        probes.append(
          Probe(
            check: HealthCheck(spec, endpoint.state, now: world.now, random: world.random()),
            request: Self.request(spec, endpoint)))
      }
    }
    advance()
  }

  private static func request(_ spec: HealthSpec, _ endpoint: Endpoint) -> [UInt8] {
    let buffer = ByteBuffer()
    buffer.append("GET ")
    buffer.append(utf8: spec.path)
    buffer.append(" HTTP/1.1\r\nHost: ")
    if let host = spec.host { buffer.append(utf8: host) } else { endpoint.appendAuthority(to: buffer) }
    buffer.append("\r\nUser-Agent: sluice-health\r\nConnection: close\r\n\r\n")
    return (0..<buffer.count).map { buffer[$0] }
  }

  /// Does what is due: asks, and gives up what takes too long.
  mutating func advance() {
    nextDeadline = .never
    for index in probes.indices {
      var isSettled = false
      while !isSettled {
        let action = judge(index) { $0.advance(now: $1, random: $2) }
        switch action {
        case .wait(let until):
          nextDeadline = min(nextDeadline, until)
          isSettled = true
        case .probe: ask(index)
        case .abandon: hangUp(index)
        }
      }
    }
  }

  /// The endpoints that were found to be unwell since the last call, by id.
  mutating func takeUnwell() -> [Int32] {
    defer { unwell = [] }
    return unwell
  }

  /// Tells a check something, and notes what it makes of its endpoint.
  private mutating func judge<T>(_ index: Int, _ tell: (inout HealthCheck, Instant, UInt64) -> T) -> T {
    let endpoint = probes[index].check.endpoint
    let wasUnwell = endpoint.health == .unhealthy
    defer { if !wasUnwell, endpoint.health == .unhealthy { unwell.append(endpoint.id) } }
    return tell(&probes[index].check, world.now, world.random())
  }

  private mutating func ask(_ index: Int) {
    nextGeneration &+= 1
    probes[index].generation = nextGeneration
    let token = Token(.server, Int32(index), generation: nextGeneration)
    do throws(NetworkError) {
      probes[index].socket = try world.connect(
        to: probes[index].check.endpoint.address, token: token.rawValue)
    } catch {
      judge(index) { check, now, _ in check.failed(now: now) }
    }
  }

  private mutating func hangUp(_ index: Int) {
    guard probes[index].socket != .none else { return }
    world.close(probes[index].socket, reset: true)
    probes[index].socket = .none
    probes[index].isConnected = false
    probes[index].answer.removeAll()
  }

  /// An event of a check's connection.
  mutating func ready(_ token: Token) {
    let index = Int(token.index)
    guard probes.indices.contains(index), probes[index].socket != .none,
      token.matches(generation: probes[index].generation)
    else { return }
    if !probes[index].isConnected {
      probes[index].isConnected = true
      let request = probes[index].request
      guard world.connectFailure(probes[index].socket) == nil,
        case .count(let count) = world.send(probes[index].socket, RawSpan(request)),
        count == request.count
      else { return fail(index) }
    }
    switch world.receive(probes[index].socket, into: probes[index].answer, limit: Self.answerLimit) {
    case .wouldBlock: return
    case .ended, .failed: return fail(index)
    case .count: read(index)
    }
  }

  private mutating func read(_ index: Int) {
    switch head.parse(probes[index].answer, limits: HeadLimits(headBytes: Self.answerLimit)) {
    case .incomplete: return
    case .refused: fail(index)
    case .complete:
      let status = head.status
      judge(index) { check, now, _ in check.answered(status: status, now: now) }
      hangUp(index)
      advance()
    }
  }

  private mutating func fail(_ index: Int) {
    judge(index) { check, now, _ in check.failed(now: now) }
    hangUp(index)
    advance()
  }
}
