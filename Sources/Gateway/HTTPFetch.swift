import Core
import Crypto
import HTTP
import Pipeline

/// One request from the control loop, on a connection of its own; the whole answer is kept. It is bounded in size by
/// itself, and in time by its owner.
struct HTTPFetch {
  /// How far it has come.
  enum Progress: Equatable {
    case running
    case ended(FetchOutcome)
    /// Nobody answers at this address: another one may be tried.
    case unreachable(String)

    static func failed(_ reason: String) -> Progress { .ended(.failed(reason)) }
  }

  /// How a server is spoken TLS to.
  struct Security {
    let context: TLSClientContext
    /// What its certificate must be good for.
    let name: String
  }

  /// Bytes that are received for one answer, encryption and framing included.
  private static let receivedLimit = 1 << 20
  /// Bytes asked of the network at once.
  private static let piece = 16_384

  private let world: any World
  private let socket: Socket
  private let message: [UInt8]
  private let security: Security?
  private var tls: TLSClient?
  private(set) var isConnected = false
  /// The server takes nothing more; what it has said before may still be there.
  private var isDeaf = false
  private var sent = 0
  private var received = 0
  private let arriving = ByteBuffer()
  private let input = ByteBuffer()
  private var reader: FetchReader

  /// Begins to send `message`, whole, head and body; it must say `Connection: close`.
  init(
    _ world: any World, to address: SocketAddress, token: UInt64, _ message: [UInt8], method: Method,
    _ security: Security? = nil
  ) throws(NetworkError) {
    self.world = world
    self.message = message
    self.security = security
    reader = FetchReader(method)
    socket = try world.connect(to: address, token: token)
  }

  /// The socket's connection is let go, whatever has become of it.
  func close() { world.close(socket, reset: true) }

  /// Goes on after an event of the socket. `head` is anybody's, and may hold anything.
  mutating func ready(_ head: ResponseHead) -> Progress {
    if !isConnected {
      if let fault = world.connectFailure(socket) { return .unreachable("no connection: \(fault)") }
      isConnected = true
      do throws(TLSFault) {
        tls = try security.map { security throws(TLSFault) in try TLSClient(security.context, name: security.name) }
      } catch { return .failed(error.message) }
    }
    do throws(TLSFault) {
      try send()
      return try receive(head)
    } catch { return .failed(error.message) }
  }

  private mutating func send() throws(TLSFault) {
    guard let tls else {
      let message = message
      while !isDeaf, sent < message.count {
        guard let count = put(RawSpan(message).extracting(droppingFirst: sent)) else { return }
        sent += count
      }
      return
    }
    while !isDeaf {
      if tls.outgoing.isEmpty {
        guard tls.isEstablished, sent < message.count else { return }
        try tls.send(RawSpan(message))
        sent = message.count
      }
      guard let count = put(tls.outgoing.bytes) else { return }
      tls.outgoing.consume(count)
    }
  }

  /// Sends what the network takes of `bytes`; nil for nothing.
  private mutating func put(_ bytes: RawSpan) -> Int? {
    switch world.send(socket, bytes) {
    case .count(let count): return count
    case .wouldBlock: return nil
    case .ended, .failed:
      isDeaf = true
      return nil
    }
  }

  private mutating func receive(_ head: ResponseHead) throws(TLSFault) -> Progress {
    while true {
      switch world.receive(socket, into: tls == nil ? input : arriving, limit: Self.piece) {
      case .count(let count):
        received += count
        guard received <= Self.receivedLimit else { return .ended(FetchReader.tooLong) }
        if let tls {
          try tls.receive(arriving.bytes, into: input)
          arriving.removeAll()
          try send()
        }
        if let outcome = reader.read(input, head, atEnd: tls?.hasEnded ?? false) { return .ended(outcome) }
      case .wouldBlock: return .running
      case .ended:
        // An end that TLS knows nothing of may be anybody's doing.
        return .ended(reader.read(input, head, atEnd: tls == nil) ?? FetchReader.cutOff)
      case .failed: return .failed("the connection broke")
      }
    }
  }
}
