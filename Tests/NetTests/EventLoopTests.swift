import CLinux
import Core
import Glibc
import Testing

@testable import Net

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

  @Test("A thousand connections are served at once")
  func manyConnections() throws {
    let echo = try RunningEcho()
    var clients: [Client] = []
    for _ in 0..<1000 { clients.append(try Client(echo.address)) }
    for (index, client) in clients.enumerated() { #expect(client.send(Array("hello \(index)".utf8)) > 0) }
    for (index, client) in clients.enumerated() {
      let expected = Array("hello \(index)".utf8)
      #expect(client.receive(exactly: expected.count) == expected)
    }
    #expect(echo.stop().mostConnections == 1000)
  }

  @Test("A peer that resets its connection takes nothing else down")
  func peerResets() throws {
    let echo = try RunningEcho()
    defer { echo.stop() }
    for _ in 0..<20 {
      let rude = try Client(echo.address)
      rude.resetOnClose()
      _ = rude.send([UInt8](repeating: 1, count: 100_000))
    }
    let polite = try Client(echo.address)
    _ = polite.send([1, 2, 3])
    #expect(polite.receive(exactly: 3) == [1, 2, 3])
  }

  @Test("Where descriptors run out accepting pauses, nothing spins, and it goes on when there are some again")
  func exhausted() async {
    await #expect(processExitsWith: .success) {
      let echo = try RunningEcho()
      let client = try Client(for: echo.address)
      var limit = rlimit(rlim_cur: 64, rlim_max: 64)
      _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      var fillers: [Int32] = []
      while true {
        let filler = dup(0)
        if filler < 0 { break }
        fillers.append(filler)
      }
      // None is left: the kernel completes the connection, the server cannot accept it.
      try client.connect(to: echo.address)
      _ = client.send([1, 2, 3])
      var waiting = pollfd(fd: client.descriptor.number, events: Int16(POLLIN), revents: 0)
      let early = unsafe poll(&waiting, 1, 100)
      for filler in fillers { _ = Glibc.close(filler) }
      let bytes = client.receive(exactly: 3)
      let outcome = echo.stop()
      try #require(early == 0 && bytes == [1, 2, 3] && outcome.wasExhausted && outcome.turns < 60)
    }
  }
}
