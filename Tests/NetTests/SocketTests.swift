import CLinux
import Core
import Glibc
import Testing

@testable import Net

private let anyPort = SocketAddress.ip(IPAddress(v4: 0x7f00_0001), port: 0)

extension EventLoop {
  /// Accepts one connection that a client has already completed.
  func acceptOne(_ listener: Socket) throws -> (Socket, SocketAddress) {
    guard case .accepted(let socket, let peer) = accept(listener) else { throw NetworkError.refused }
    return (socket, peer)
  }

  func send(_ socket: Socket, _ bytes: [UInt8]) -> TransferResult { send(socket, RawSpan(bytes)) }

  func send(_ socket: Socket, _ first: [UInt8], _ second: [UInt8]) -> TransferResult {
    send(socket, RawSpan(first), RawSpan(second))
  }
}

/// Waits for its first event, or for a moment.
private struct Waiter: EventHandler {
  enum Message: Sendable {}
  var deadline = Instant.never
  var world: EventLoop?
  var events: [(UInt64, Readiness)] = []
  var isRunning: Bool { events.isEmpty && world.map { $0.now < deadline } ?? true }
  mutating func ready(token: UInt64, _ readiness: Readiness) { events.append((token, readiness)) }
  mutating func receive(_ message: Message) {}
  mutating func endTurn() -> Instant { deadline }
}

/// Sockets of a loop that is driven by hand, against blocking clients.
@Suite struct SocketTests {
  private func pair(_ loop: EventLoop) throws -> (Socket, Client) {
    let listener = try loop.listen(anyPort, ListenOptions(), token: 1)
    defer { loop.close(listener, reset: false) }
    let client = try Client(try #require(loop.localAddress(of: listener)))
    return (try loop.acceptOne(listener).0, client)
  }

  @Test("A connection to a port that nobody listens on is refused, at once or with the first event")
  func refused() throws {
    let loop = try EventLoop()
    let listener = try loop.listen(anyPort, ListenOptions(), token: 1)
    let address = try #require(loop.localAddress(of: listener))
    loop.close(listener, reset: false)
    do throws(NetworkError) {
      let socket = try loop.connect(to: address, token: 7)
      var waiter = Waiter()
      try loop.run(&waiter, mailbox: Mailbox())
      #expect(waiter.events.first?.0 == 7)
      #expect(loop.connectFailure(socket) == .refused)
      loop.close(socket, reset: false)
    } catch {
      #expect(error == .refused)
    }
  }

  @Test("An address in use is refused where the port is not shared, and taken where it is")
  func addressInUse() throws {
    let loop = try EventLoop()
    let alone = try loop.listen(anyPort, ListenOptions(sharesPort: false), token: 1)
    let address = try #require(loop.localAddress(of: alone))
    #expect(throws: NetworkError.addressInUse) { _ = try loop.listen(address, ListenOptions(), token: 2) }
    let shared = try loop.listen(anyPort, ListenOptions(), token: 3)
    let other = try EventLoop()
    _ = try other.listen(try #require(loop.localAddress(of: shared)), ListenOptions(), token: 1)
  }

  @Test("A socket address that does not fit is refused")
  func unfitAddress() throws {
    let loop = try EventLoop()
    let path = String(repeating: "x", count: 108)
    #expect(throws: NetworkError.self) { _ = try loop.connect(to: .unix(path: path), token: 1) }
    #expect(throws: NetworkError.self) { _ = try loop.listen(.unix(path: ""), ListenOptions(), token: 1) }
  }

  @Test("Accepting from an empty queue would block")
  func emptyQueue() throws {
    let loop = try EventLoop()
    let listener = try loop.listen(anyPort, ListenOptions(), token: 1)
    guard case .wouldBlock = loop.accept(listener) else {
      Issue.record("something was accepted")
      return
    }
  }

  @Test("The accepted peer is the client's own address", arguments: ["127.0.0.1:0", "[::1]:0"])
  func peerAddress(text: String) throws {
    let loop = try EventLoop()
    let listener = try loop.listen(try #require(SocketAddress(text)), ListenOptions(), token: 1)
    let client = try Client(try #require(loop.localAddress(of: listener)))
    let (socket, peer) = try loop.acceptOne(listener)
    #expect(loop.localAddress(of: Socket(descriptor: client.descriptor.number)) == peer)
    loop.close(socket, reset: false)
  }

  @Test("Nothing to receive is not an end, and an end is not an error")
  func receiveOutcomes() throws {
    let loop = try EventLoop()
    let (socket, client) = try pair(loop)
    let buffer = ByteBuffer()
    #expect(loop.receive(socket, into: buffer, limit: 100) == .wouldBlock)
    _ = client.send([1, 2, 3])
    #expect(loop.receive(socket, into: buffer, limit: 2) == .count(2))
    #expect(loop.receive(socket, into: buffer, limit: 2) == .count(1))
    #expect(buffer.array == [1, 2, 3])
    client.endSending()
    #expect(loop.receive(socket, into: buffer, limit: 2) == .ended)
    #expect(loop.send(socket, [4, 5]) == .count(2))
    #expect(client.receive(exactly: 2) == [4, 5])
    loop.close(socket, reset: false)
  }

  @Test("Two spans arrive as one run of bytes, either of them may be empty")
  func twoSpans() throws {
    let loop = try EventLoop()
    let (socket, client) = try pair(loop)
    #expect(loop.send(socket, [1, 2], [3]) == .count(3))
    #expect(loop.send(socket, [], [4]) == .count(1))
    #expect(loop.send(socket, [5], []) == .count(1))
    #expect(client.receive(exactly: 5) == [1, 2, 3, 4, 5])
    loop.close(socket, reset: false)
  }

  @Test("A full socket takes a part, then nothing")
  func shortWrite() throws {
    let loop = try EventLoop()
    let (socket, client) = try pair(loop)
    let block = [UInt8](repeating: 9, count: 1 << 20)
    var sent = 0
    while case .count(let count) = loop.send(socket, block) { sent += count }
    #expect(sent > 0)
    #expect(loop.send(socket, block) == .wouldBlock)
    #expect(client.receive(exactly: sent).count == sent)
    loop.close(socket, reset: false)
  }

  @Test("A reset close reaches the peer as a reset, an orderly one as an end", arguments: [true, false])
  func resetClose(reset: Bool) throws {
    let loop = try EventLoop()
    let (socket, client) = try pair(loop)
    loop.close(socket, reset: reset)
    #expect(client.receiveError() == (reset ? ECONNRESET : 0))
  }

  @Test("Sending to a peer that reset is a failure, not a signal")
  func sendAfterReset() throws {
    let loop = try EventLoop()
    var (socket, client): (Socket, Client?) = try pair(loop)
    client?.resetOnClose()
    client = nil
    _ = loop.send(socket, [1])
    #expect(loop.send(socket, [1]) == .failed(.reset))
    loop.close(socket, reset: false)
    socket = .none
    loop.close(socket, reset: false)
  }

  @Test("Addresses survive the kernel's form", arguments: ["192.0.2.1:80", "[2001:db8::1]:65535", "unix:/tmp/a b"])
  func nativeForm(text: String) throws {
    let address = try #require(SocketAddress(text))
    #expect(NativeAddress(address)?.socketAddress == address)
  }
}

@Suite struct UnixSocketTests {
  /// A path that no other test uses.
  private func path(_ name: String) -> String { "/tmp/sluice-test-\(getpid())-\(name).sock" }

  private func mode(_ path: String) -> UInt32? {
    var status = stat()
    return unsafe lstat(path, &status) == 0 ? status.st_mode & 0o777 : nil
  }

  @Test("Something that is not a socket is never replaced")
  func notASocket() throws {
    let path = path("file")
    _ = Glibc.close(unsafe open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600))
    defer { _ = unsafe unlink(path) }
    let loop = try EventLoop()
    #expect(throws: NetworkError.addressInUse) { _ = try loop.listen(.unix(path: path), ListenOptions(), token: 1) }
    #expect(mode(path) == 0o600)
  }

  @Test("An unshared path on which somebody listens is refused")
  func inUse() throws {
    let path = path("alone")
    let loop = try EventLoop()
    let listener = try loop.listen(.unix(path: path), ListenOptions(sharesPort: false), token: 1)
    #expect(throws: NetworkError.addressInUse) {
      _ = try loop.listen(.unix(path: path), ListenOptions(sharesPort: false), token: 2)
    }
    loop.close(listener, reset: false)
    #expect(mode(path) == nil)
  }

  @Test("A path left behind is taken over, with the mode that was asked for")
  func stale() throws {
    let path = path("stale")
    do {
      let native = try #require(NativeAddress(.unix(path: path)))
      let dead = Descriptor(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
      let number = dead.number
      #expect(unsafe native.withPointer { unsafe bind(number, $0, $1) } == 0)
    }
    let loop = try EventLoop()
    let listener = try loop.listen(.unix(path: path), ListenOptions(sharesPort: false, mode: 0o620), token: 1)
    #expect(mode(path) == 0o620)
    let client = try Client(.unix(path: path))
    let (socket, peer) = try loop.acceptOne(listener)
    #expect(peer == .unix(path: path))
    #expect(loop.send(socket, [1]) == .count(1))
    #expect(client.receive(exactly: 1) == [1])
    loop.close(socket, reset: false)
  }

  @Test("Loops share a path, and the last one to leave removes it")
  func shared() throws {
    let path = path("shared")
    let first = try EventLoop()
    let second = try EventLoop()
    let one = try first.listen(.unix(path: path), ListenOptions(), token: 1)
    let two = try second.listen(.unix(path: path), ListenOptions(), token: 1)
    first.close(one, reset: false)
    let client = try Client(.unix(path: path))
    let (socket, _) = try second.acceptOne(two)
    second.close(socket, reset: false)
    #expect(client.receive() == [])
    second.close(two, reset: false)
    #expect(mode(path) == nil)
  }

  @Test("A loop that left a shared path is no longer woken for it")
  func leftLoop() throws {
    let path = path("left")
    let first = try EventLoop()
    let second = try EventLoop()
    let one = try first.listen(.unix(path: path), ListenOptions(), token: 1)
    let two = try second.listen(.unix(path: path), ListenOptions(), token: 2)
    first.close(one, reset: false)
    let client = try Client(.unix(path: path))
    var idle = Waiter(deadline: first.now + .milliseconds(5), world: first)
    try first.run(&idle, mailbox: Mailbox())
    #expect(idle.events.isEmpty)
    var waiter = Waiter()
    try second.run(&waiter, mailbox: Mailbox())
    #expect(waiter.events.first?.0 == 2)
    #expect(client.send([1]) == 1)
    second.close(two, reset: false)
  }

  @Test("A loop that ends leaves its paths")
  func loopEnds() throws {
    let path = path("ends")
    do {
      let loop = try EventLoop()
      _ = try loop.listen(.unix(path: path), ListenOptions(), token: 1)
    }
    #expect(mode(path) == nil)
  }

  @Test("An echo over a unix socket returns what it was sent")
  func echo() throws {
    let echo = try RunningEcho(.unix(path: path("echo")))
    defer { echo.stop() }
    let client = try Client(echo.address)
    let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0) }
    #expect(client.send(bytes) == bytes.count)
    client.endSending()
    #expect(client.receive(exactly: bytes.count + 1) == bytes)
  }
}
