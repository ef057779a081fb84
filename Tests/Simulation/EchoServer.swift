import Core

/// Sends back what it receives, with bounded memory, and ends its stream when the peer has ended. It is the smallest
/// complete handler: it pauses, resumes and comes back for what the edge will not repeat.
public struct EchoServer: EventHandler {
  /// What it understands.
  public enum Message: Sendable {
    /// To end at once.
    case stop
  }

  private static let listenerToken: UInt64 = 0
  private static let bufferLimit = 64 * 1024

  private struct Connection {
    var socket: Socket
    var buffer = ByteBuffer()
    var peerEnded = false
  }

  private let world: any World
  private let listener: Socket
  private var connections: [UInt64: Connection] = [:]
  private var nextToken: UInt64 = 1
  private var again: Set<UInt64> = []
  /// Whether it was not told to stop.
  public private(set) var isRunning = true
  /// Whether accepting had to pause.
  public private(set) var wasExhausted = false
  /// The most connections it had at once.
  public private(set) var mostConnections = 0
  private var acceptAgain: Instant = .never

  /// An echo at `address`.
  public init(_ world: any World, _ address: SocketAddress) throws(NetworkError) {
    self.world = world
    listener = try world.listen(address, ListenOptions(), token: Self.listenerToken)
  }

  /// Where it listens: the port that the kernel chose.
  public var address: SocketAddress? { world.localAddress(of: listener) }

  /// Moves bytes, or accepts.
  public mutating func ready(token: UInt64, _ readiness: Readiness) {
    if token == Self.listenerToken { acceptAll() } else { advance(token) }
  }

  /// Stops.
  public mutating func receive(_ message: Message) { isRunning = false }

  /// Comes back for what no edge will announce.
  public mutating func endTurn() -> Instant {
    if acceptAgain <= world.now { acceptAll() }
    let waiting = again
    again.removeAll()
    for token in waiting.sorted() { advance(token) }
    return again.isEmpty ? acceptAgain : world.now
  }

  private mutating func acceptAll() {
    acceptAgain = .never
    while true {
      switch world.accept(listener) {
      case .accepted(let socket, peer: _):
        guard (try? world.register(socket, token: nextToken)) != nil else {
          world.close(socket, reset: true)
          continue
        }
        connections[nextToken] = Connection(socket: socket)
        mostConnections = max(mostConnections, connections.count)
        nextToken += 1
      case .wouldBlock: return
      case .failed: continue
      case .exhausted:
        wasExhausted = true
        acceptAgain = world.now.advanced(byNanoseconds: 5_000_000)
        return
      }
    }
  }

  private mutating func advance(_ token: UInt64) {
    guard var connection = connections[token] else { return }
    if !connection.peerEnded, connection.buffer.count < Self.bufferLimit {
      let limit = Self.bufferLimit - connection.buffer.count
      switch world.receive(connection.socket, into: connection.buffer, limit: limit) {
      case .count(let count): if count == limit { again.insert(token) }
      case .wouldBlock: break
      case .ended: connection.peerEnded = true
      case .failed: return drop(token)
      }
    }
    if !connection.buffer.isEmpty {
      switch world.send(connection.socket, connection.buffer.bytes) {
      case .count(let count):
        connection.buffer.consume(count)
        again.insert(token)
      case .wouldBlock: break
      case .ended, .failed: return drop(token)
      }
    }
    if connection.peerEnded, connection.buffer.isEmpty {
      world.endSending(connection.socket)
      world.close(connection.socket, reset: false)
      connections[token] = nil
      return
    }
    connections[token] = connection
  }

  private mutating func drop(_ token: UInt64) {
    guard let connection = connections.removeValue(forKey: token) else { return }
    world.close(connection.socket, reset: false)
  }
}
