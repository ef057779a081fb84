import Core
import Crypto
import Net
import Simulation

/// Sends back what it receives over TLS: the smallest owner of a transport.
struct SecureEcho: EventHandler {
  typealias Message = Never

  static let port = SocketAddress.ip(IPAddress(v4: 0x0a00_0001), port: 443)
  static let mark = UInt64(4) << 61

  private struct Connection {
    var socket: Socket
    var buffer = ByteBuffer()
    var hasEnded = false
  }

  let world: Transport<SimulatedLoop>
  private let context: TLSServerContext
  private let listener: Socket
  private let limits: HandshakeLimits
  private var connections: [UInt64: Connection] = [:]
  private var nextToken: UInt64 = 1
  /// The outcomes of handshakes, in words.
  let outcomes = Outcomes()
  var isRunning: Bool { true }

  final class Outcomes {
    var all: [String] = []
    /// The most handshakes that one turn brought to an end.
    var mostInTurn = 0
    var inTurn = 0
  }

  init(_ loop: SimulatedLoop, _ context: TLSServerContext, _ limits: HandshakeLimits = HandshakeLimits()) throws {
    world = Transport(base: loop, tokenMark: Self.mark)
    self.context = context
    self.limits = limits
    listener = try world.listen(Self.port, ListenOptions(), token: 0)
    world.onHandshake = { [outcomes] in
      outcomes.all.append("\($0)")
      outcomes.inTurn += 1
    }
  }

  var openConnections: Int { connections.count }

  mutating func ready(token: UInt64, _ readiness: Readiness) {
    if token >> 61 == 4 {
      if let event = world.ready(token: token, readiness) { ready(token: event.token, event.readiness) }
    } else if token == 0 {
      accept()
    } else {
      advance(token)
    }
  }

  mutating func receive(_ message: Never) {}

  mutating func endTurn() -> Instant {
    while let event = world.nextEvent() { ready(token: event.token, event.readiness) }
    outcomes.mostInTurn = max(outcomes.mostInTurn, outcomes.inTurn)
    outcomes.inTurn = 0
    return world.endTurn()
  }

  private mutating func accept() {
    while case .accepted(let plain, _) = world.accept(listener) {
      let socket = world.adopt(plain)
      connections[nextToken] = Connection(socket: socket)
      do {
        try world.register(socket, token: nextToken)
        world.secure(socket, context, limits)
      } catch { fatalError("\(error)") }
      nextToken += 1
    }
  }

  private mutating func advance(_ token: UInt64) {
    guard var connection = connections[token] else { return }
    while true {
      if !connection.buffer.isEmpty {
        let buffer = connection.buffer
        switch world.send(connection.socket, buffer.bytes) {
        case .count(let count): buffer.consume(count)
        case .wouldBlock: break
        case .ended, .failed: return close(token, reset: true)
        }
        if !buffer.isEmpty { break }
      }
      if connection.hasEnded { return close(token, reset: false) }
      switch world.receive(connection.socket, into: connection.buffer, limit: 65_536) {
      case .count: continue
      case .wouldBlock:
        connections[token] = connection
        return
      case .ended: connection.hasEnded = true
      case .failed: return close(token, reset: true)
      }
    }
    connections[token] = connection
  }

  private mutating func close(_ token: UInt64, reset: Bool) {
    guard let connection = connections.removeValue(forKey: token) else { return }
    world.close(connection.socket, reset: reset)
  }
}

/// A client of ``SecureEcho``.
final class SecureClient {
  let peer: Peer
  let tls: TLSClient
  let received = ByteBuffer()
  private(set) var fault: TLSFault?
  private var waiting: [UInt8] = []

  init(_ world: SimulatedWorld, _ context: TLSClientContext, name: String = "server.test") throws {
    peer = world.connect(to: SecureEcho.port)
    tls = try TLSClient(context, name: name)
    peer.onChange = { [unowned self] _ in pump() }
    flush()
  }

  var bytes: [UInt8] { received.array }

  func send(_ bytes: [UInt8]) {
    waiting += bytes
    pump()
  }

  private func pump() {
    guard fault == nil else { return }
    let arrived = peer.take()
    do throws(TLSFault) {
      if !arrived.isEmpty { try tls.receive(RawSpan(arrived), into: received) }
      if tls.isEstablished, !tls.hasEnded, !waiting.isEmpty {
        try tls.send(RawSpan(waiting))
        waiting = []
      }
    } catch { fault = error }
    flush()
  }

  private func flush() {
    let outgoing = tls.outgoing
    guard !outgoing.isEmpty else { return }
    peer.send(outgoing.array)
    outgoing.removeAll()
  }
}
