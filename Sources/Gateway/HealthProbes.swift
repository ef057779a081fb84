// Active health checks: one short request an interval to every endpoint that has them, from the control loop, so that a
// node asks once however many loops it has.

import Core
import HTTP
import Net
import Traffic

/// The checks of all endpoints of a configuration, and their connections.
struct HealthProbes {
  /// Bytes of an answer that are read in search of its head.
  private static let answerLimit = 16_384

  /// Of connections whose checks have time limits of their own.
  private static let limits = StreamLimits(connect: 10_000_000_000, idle: 60_000_000_000)

  private struct Probe {
    var check: HealthCheck
    let endpoint: Endpoint
    let tls: UpstreamTLS?
    let speaksHTTP2: Bool
    let request: [UInt8]
    /// Whether the answer is one of gRPC.
    let isCall: Bool
    var socket = Socket.none
    var generation: UInt32 = 0
    var isConnected = false
    let answer = ByteBuffer()
  }

  private let world: Transport<AnyWorld>
  private var probes: [Probe] = []
  private var nextGeneration: UInt32 = 0
  private let head = ResponseHead()
  /// Endpoints that were found to be unwell since ``takeUnwell()`` was last called, by id.
  private var unwell: [Int32] = []
  /// When a check is due or an answer overdue.
  private(set) var nextDeadline = Instant.never

  init(world: any World) {
    self.world = Transport(base: AnyWorld(world), tokenMark: Token(.transport, 0, generation: 0).rawValue)
  }

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
            endpoint: endpoint, tls: plan.spec.tls, speaksHTTP2: plan.spec.speaksHTTP2,
            request: Self.request(spec, endpoint), isCall: spec.grpcService != nil))
      }
    }
    advance()
  }

  private static func request(_ spec: HealthSpec, _ endpoint: Endpoint) -> [UInt8] {
    let buffer = ByteBuffer()
    if spec.grpcService == nil {
      buffer.append("GET ")
      buffer.append(utf8: spec.path)
    } else {
      buffer.append("POST ")
      buffer.append(GRPCHealth.path)
    }
    buffer.append(" HTTP/1.1\r\nHost: ")
    if let host = spec.host { buffer.append(utf8: host) } else { endpoint.appendAuthority(to: buffer) }
    buffer.append("\r\nUser-Agent: sluice-health\r\nConnection: close\r\n")
    guard let service = spec.grpcService else {
      buffer.append("\r\n")
      return buffer.array
    }
    let question = GRPCHealth.question(service: service)
    buffer.append("Content-Type: application/grpc\r\nTE: trailers\r\nContent-Length: ")
    buffer.append(decimal: UInt64(question.count))
    buffer.append("\r\n\r\n")
    buffer.append(question)
    return buffer.array
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
      let endpoint = probes[index].endpoint
      if probes[index].speaksHTTP2 {
        let security = probes[index].tls.map {
          StreamSecurity($0.context, name: $0.name(of: endpoint), resumption: $0.resumption(of: endpoint))
        }
        probes[index].socket = try world.connectStream(
          to: endpoint.state.address, endpoint: endpoint.state.id, token: token.rawValue, security, Self.limits)
        if world.isEstablished(probes[index].socket) { ready(token) }
      } else if let tls = probes[index].tls {
        probes[index].socket = try world.connect(
          to: endpoint.state.address, token: token.rawValue, tls.context, name: tls.name(of: endpoint),
          resumption: tls.resumption(of: endpoint))
      } else {
        probes[index].socket = try world.connect(to: endpoint.state.address, token: token.rawValue)
      }
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
  mutating func ready(_ token: Token, _ readiness: Readiness) {
    guard token.kind == .transport else { return ready(token) }
    if let event = world.ready(token: token.rawValue, readiness) { ready(Token(rawValue: event.token)) }
  }

  /// Does what no event tells of; returns when to be called again.
  mutating func endTurn() -> Instant {
    while let event = world.nextEvent() { ready(Token(rawValue: event.token)) }
    return world.endTurn()
  }

  private mutating func ready(_ token: Token) {
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
    case .complete(let count):
      if probes[index].isCall { return readCall(index, behind: count) }
      let status = head.status
      judge(index) { check, now, _ in check.answered(status: status, now: now) }
      hangUp(index)
      advance()
    }
  }

  /// Reads the answer of a call, which is good where both its status and its message are; waits for the rest where there is
  /// one to come.
  private mutating func readCall(_ index: Int, behind headCount: Int) {
    let answer = probes[index].answer
    guard answer.count <= Self.answerLimit else { return fail(index) }
    var body = BodyReader(head.framing(for: .post))
    var (offset, isFine) = (headCount, false)
    let message = ByteBuffer()
    while !body.isComplete {
      let rest = answer.bytes.extracting(offset..<answer.count)
      switch body.next(rest) {
      case .data(let skip, let count):
        message.append(rest.extracting(skip..<skip + count))
        offset += skip + count
      case .trailer(let field, let consumed):
        if let field, rest.extracting(field.name.offsets).array == Self.statusField {
          isFine = rest.extracting(field.value.offsets).array == Self.okStatus
        }
        offset += consumed
      case .end(let consumed): offset += consumed
      case .incomplete: return
      case .malformed: return fail(index)
      }
    }
    let isGood = isFine && head.status == 200 && GRPCHealth.isServing(message.bytes)
    judge(index) { check, now, _ in check.answered(isGood: isGood, now: now) }
    hangUp(index)
    advance()
  }

  private static let statusField = Array("grpc-status".utf8)
  private static let okStatus = Array("0".utf8)

  private mutating func fail(_ index: Int) {
    judge(index) { check, now, _ in check.failed(now: now) }
    hangUp(index)
    advance()
  }
}
