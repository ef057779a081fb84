import Cluster
import Core

/// What the Redis client promises, whatever a server says and whatever a configuration holds.
enum RedisTargets {
  /// Whatever is read as a URL is shown without its password, and read again as the same server without it.
  @Sendable
  static func url(_ bytes: RawSpan) {
    let text = String(decoding: bytes.array, as: UTF8.self)
    let server: RedisServer
    do throws(RedisURLFault) { server = try RedisURL.parse(text) } catch { return }
    precondition(RedisServer.databases.contains(server.database))
    var open = server
    open.credentials = nil
    guard let again = try? RedisURL.parse(server.description) else {
      preconditionFailure("what is shown cannot be read")
    }
    precondition(again == open, "a server changes when it is shown")
    _ = HashSlot.of(bytes)
    _ = RedisError(bytes)
  }

  /// However a stream of replies is cut, the same commands are answered, each once and in order; the rest is lost.
  @Sendable
  static func replies(_ bytes: RawSpan) {
    let whole = outcomes(of: bytes.array, step: max(bytes.byteCount, 1))
    for step in [1, 2, 7] { precondition(outcomes(of: bytes.array, step: step) == whole, "a cut changes a reply") }
  }

  private static let commands: UInt64 = 8

  /// What becomes of each of eight commands: a digest of its reply, or nil for none.
  private static func outcomes(of stream: [UInt8], step: Int) -> [UInt64?] {
    let world = OneSocketWorld()
    let server = RedisServer(address: .socket(.unix(path: "/s")))
    let link = RedisLink(server, RedisLinkSettings(clientName: "fuzz"), world: world) { UInt64($0) }
    link.start()
    world.incoming = Array("+OK\r\n*1\r\n$6\r\nmaster\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n".utf8)
    var result = [UInt64?](repeating: nil, count: Int(commands))
    var settled = 0
    precondition(link.ready(token: 1, [.writable]))
    _ = link.flush()
    precondition(link.ready(token: 1, [.readable]))
    guard case .up? = link.next() else { preconditionFailure("a good greeting is refused") }
    for tag in 0..<commands {
      precondition(link.send(tag: tag, within: 1_000) { RedisCommand.append(["PING"], to: $0) } == .accepted)
    }
    _ = link.flush()
    var offset = 0
    while offset <= stream.count, world.isOpen {
      let end = min(offset + step, stream.count)
      world.incoming = Array(stream[offset..<end])
      world.hasEnded = end == stream.count
      _ = link.ready(token: 1, world.hasEnded ? [.readable, .peerEnded] : [.readable])
      while let event = link.next() {
        switch consume event {
        case .reply(let tag, let reply, isLate: false):
          precondition(tag == UInt64(settled), "replies out of order")
          result[Int(tag)] = digest(reply.value)
          settled += 1
        case .lost(let tag, mayHaveRun: true):
          precondition(tag == UInt64(settled))
          settled += 1
        case .down: break
        default: preconditionFailure("nothing else can happen")
        }
      }
      offset += step
    }
    precondition(settled == commands, "a command without an outcome")
    return result
  }

  private static func digest(_ value: RedisValue) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    func mix(_ byte: UInt64) { hash = (hash ^ byte) &* 0x100_0000_01b3 }
    mix(UInt64(truncatingIfNeeded: value.integer ?? 0))
    let bytes = value.bytes
    for index in 0..<bytes.byteCount { mix(UInt64(bytes[byte: index])) }
    for index in 0..<value.count { mix(digest(value[index])) }
    return hash
  }
}

/// The least world that a link needs: one connection that takes everything and says what it is told to.
private final class OneSocketWorld: World {
  var incoming: [UInt8] = []
  var hasEnded = false
  var isOpen = false
  var now: Instant { Instant(nanoseconds: 1) }
  var wallTime: WallTime { WallTime(microseconds: 0) }
  var previousTurnNanoseconds: Int64 { 0 }

  func random() -> UInt64 { 4 }
  func listen(_ address: SocketAddress, _ options: ListenOptions, token: UInt64) throws(NetworkError) -> Socket {
    throw .notPermitted
  }
  func localAddress(of socket: Socket) -> SocketAddress? { nil }
  func accept(_ listener: Socket) -> AcceptResult { .failed }
  func connect(to address: SocketAddress, token: UInt64) throws(NetworkError) -> Socket {
    isOpen = true
    return Socket(descriptor: 3)
  }
  func connectFailure(_ socket: Socket) -> NetworkError? { nil }
  func register(_ socket: Socket, token: UInt64) throws(NetworkError) {}
  func receive(_ socket: Socket, into buffer: ByteBuffer, limit: Int) -> TransferResult {
    if incoming.isEmpty { return hasEnded ? .ended : .wouldBlock }
    let count = min(limit, incoming.count)
    buffer.append(Array(incoming[..<count]))
    incoming.removeFirst(count)
    return .count(count)
  }
  func send(_ socket: Socket, _ bytes: RawSpan) -> TransferResult { .count(bytes.byteCount) }
  func send(_ socket: Socket, _ first: RawSpan, _ second: RawSpan) -> TransferResult {
    .count(first.byteCount + second.byteCount)
  }
  func endSending(_ socket: Socket) {}
  func close(_ socket: Socket, reset: Bool) { if socket.descriptor >= 0 { isOpen = false } }
}
