import CLinux
import Core
import Glibc
import Simulation
import Synchronization
import Testing

@testable import Net

/// An echo server on its own thread and a blocking client beside it.
final class RunningEcho: Sendable {
  let address: SocketAddress
  private let mailbox: Mailbox<EchoServer.Message>
  private let thread: OSThread
  private let shared: Shared

  init(_ requested: SocketAddress = .ip(IPAddress(v4: 0x7f00_0001), port: 0)) throws {
    mailbox = try Mailbox()
    let shared = Shared(try WakeUp())
    self.shared = shared
    let mailbox = mailbox
    thread = OSThread.spawn(name: "echo") {
      do {
        let loop = try EventLoop()
        var server = try EchoServer(loop, requested)
        shared.state.withLock { $0.address = server.address }
        shared.started.signal()
        try loop.run(&server, mailbox: mailbox)
        shared.state.withLock { state in
          state.wasExhausted = server.wasExhausted
          state.mostConnections = server.mostConnections
          state.turns = loop.turnCount
        }
      } catch {
        shared.started.signal()
      }
    }
    shared.started.wait(milliseconds: -1)
    address = try #require(shared.state.withLock { $0.address })
  }

  struct Outcome {
    var address: SocketAddress?
    var wasExhausted = false
    var mostConnections = 0
    var turns: UInt64 = 0
  }

  private final class Shared: Sendable {
    let state = Mutex(Outcome())
    let started: WakeUp
    init(_ started: consuming WakeUp) { self.started = started }
  }

  /// Ends the server and says how it fared.
  @discardableResult
  func stop() -> Outcome {
    mailbox.send(.stop)
    thread.join()
    return shared.state.withLock { $0 }
  }
}

/// A blocking client.
final class Client: Sendable {
  let descriptor: Descriptor

  /// A client that has its descriptor and no connection yet.
  init(for address: SocketAddress) throws {
    let native = try #require(NativeAddress(address))
    descriptor = Descriptor(socket(native.family, Int32(SOCK_STREAM.rawValue), 0))
  }

  convenience init(_ address: SocketAddress) throws {
    try self.init(for: address)
    try connect(to: address)
  }

  func connect(to address: SocketAddress) throws {
    let native = try #require(NativeAddress(address))
    let code = unsafe native.withPointer { unsafe Glibc.connect(descriptor.number, $0, $1) }
    try #require(code == 0)
  }

  func send(_ bytes: [UInt8]) -> Int {
    unsafe bytes.withUnsafeBytes { unsafe Glibc.send(descriptor.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
  }

  func receive(_ limit: Int = 65536) -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: limit) { room, count in
      count = max(unsafe recv(descriptor.number, room.baseAddress, limit, 0), 0)
    }
  }

  /// Receives exactly `count` bytes, or fewer where the stream ends.
  func receive(exactly count: Int) -> [UInt8] {
    var all: [UInt8] = []
    while all.count < count {
      let block = receive(count - all.count)
      if block.isEmpty { break }
      all += block
    }
    return all
  }

  /// The error that is pending on the connection after a receive came back empty.
  func receiveError() -> Int32 {
    var byte: UInt8 = 0
    return unsafe recv(descriptor.number, &byte, 1, 0) < 0 ? errno : 0
  }

  /// Drops the connection with a reset when it is let go.
  func resetOnClose() {
    var immediately = linger(l_onoff: 1, l_linger: 0)
    _ = unsafe setsockopt(
      descriptor.number, SOL_SOCKET, SO_LINGER, &immediately, socklen_t(MemoryLayout<linger>.size))
  }

  func endSending() { _ = shutdown(descriptor.number, Int32(SHUT_WR)) }
}
