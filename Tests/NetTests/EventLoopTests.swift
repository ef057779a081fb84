import Core
import Glibc
import Synchronization
import Testing

@testable import Net

/// An echo server on its own thread and a blocking client beside it.
final class RunningEcho: Sendable {
  let address: SocketAddress
  private let mailbox: Mailbox<EchoServer.Message>
  private let thread: OSThread

  init(_ requested: SocketAddress = .ip(IPAddress(v4: 0x7f00_0001), port: 0)) throws {
    mailbox = try Mailbox()
    let bound = Mutex<SocketAddress?>(nil)
    let ready = try WakeUp()
    let box = Shared(bound: bound, ready: ready)
    let mailbox = mailbox
    thread = OSThread.spawn(name: "echo") {
      do {
        let loop = try EventLoop()
        var server = try EchoServer(loop, requested)
        box.bound.withLock { $0 = server.address }
        box.ready.signal()
        try loop.run(&server, mailbox: mailbox)
      } catch {
        box.ready.signal()
      }
    }
    box.ready.wait(milliseconds: -1)
    address = try #require(box.bound.withLock { $0 })
  }

  private final class Shared: Sendable {
    let bound: Mutex<SocketAddress?>
    let ready: WakeUp
    init(bound: consuming Mutex<SocketAddress?>, ready: consuming WakeUp) {
      self.bound = bound
      self.ready = ready
    }
  }

  func stop() {
    mailbox.send(.stop)
    thread.join()
  }
}

/// A blocking client.
final class Client: Sendable {
  let descriptor: Descriptor

  init(_ address: SocketAddress) throws {
    let native = try #require(NativeAddress(address))
    let number = socket(native.family, Int32(SOCK_STREAM.rawValue), 0)
    descriptor = Descriptor(number)
    let code = unsafe native.withPointer { unsafe Glibc.connect(number, $0, $1) }
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

  func endSending() { _ = shutdown(descriptor.number, Int32(SHUT_WR)) }
}

@Suite(.serialized) struct EventLoopTests {
  @Test("Ten megabytes come back unchanged through short writes, and the half-closed stream ends")
  func largeEcho() throws {
    let echo = try RunningEcho()
    defer { echo.stop() }
    let client = try Client(echo.address)
    let number = client.descriptor.number
    let total = 10 << 20
    // Sent from a second thread: a client that only sends would fill every buffer on the way and stop.
    let sender = OSThread.spawn(name: "sender") {
      var sent = 0
      while sent < total {
        let block = (sent..<min(sent + 65_521, total)).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        let count = unsafe block.withUnsafeBytes {
          unsafe Glibc.send(number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard count > 0 else { return }
        sent += count
      }
      _ = shutdown(number, Int32(SHUT_WR))
    }
    var received = 0
    var isSame = true
    while true {
      let block = client.receive()
      if block.isEmpty { break }
      for byte in block {
        isSame = isSame && byte == UInt8(truncatingIfNeeded: received &* 31 >> 3)
        received += 1
      }
    }
    sender.join()
    #expect(received == total)
    #expect(isSame)
  }
}
