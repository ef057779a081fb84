import Core
import Simulation
import Testing

@testable import Commands

@Suite("EchoFlow")
struct EchoTests {
  private let world: SimulatedWorld

  init() { world = SimulatedWorld(seed: 5, .rough) }

  private func serve(_ words: String...) throws -> SimulatedNode<EchoFlow<SimulatedLoop>> {
    let settings = try EchoCommand.settings(Arguments(words, options: Verb.echo.options))
    return try world.start("echo") { loop in
      let listener = try loop.listen(BenchRig.place, ListenOptions(), token: EchoFlow<SimulatedLoop>.listenerToken)
      return EchoFlow(settings, world: loop, listener: listener)
    }
  }

  private func ask(_ text: String) -> Peer {
    let peer = world.connect(to: BenchRig.place)
    peer.send(text)
    world.settle()
    return peer
  }

  @Test(
    "A path that asks for the impossible is refused",
    arguments: [
      "/status/99", "/status/600", "/status/x", "/delay/-1", "/delay/99999999999", "/bytes/", "/bytes/1e3", "/events/0",
    ])
  func refusals(path: String) throws {
    let node = try serve()
    let peer = ask("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(peer.text.hasPrefix("HTTP/1.1 400 ") && peer.hasEnded)
    #expect(node.loop.openSockets == 1)
  }

  @Test("What is no request is refused with its own status, and the connection ends")
  func malformed() throws {
    let node = try serve()
    #expect(ask("GET / HTTP/1.1\nHost: a\r\n\r\n").text.hasPrefix("HTTP/1.1 400 "))
    #expect(ask("GET / HTTP/3.0\r\nHost: a\r\n\r\n").text.hasPrefix("HTTP/1.1 505 "))
    #expect(node.loop.openSockets == 1)
  }

  @Test("A request is described as it came, its body counted, and the connection kept")
  func description() throws {
    let node = try serve()
    let peer = ask(
      "POST /a?b=c HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: \"2\"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    let body = peer.text.split(separator: "\r\n\r\n").last.map { Array($0.utf8) } ?? []
    let root = try #require(JSONDocument.parse(body, dialect: .strict).document?.root)
    #expect(root["method"]?.string == "POST" && root["target"]?.string == "/a?b=c" && root["bodyBytes"]?.integer == 3)
    #expect(root["fields"]?["x-a"]?.string == "1, \"2\"")
    #expect(!peer.hasEnded && node.loop.openSockets == 2)
  }

  @Test("Pipelined requests are answered in order")
  func pipelined() throws {
    _ = try serve("--plain")
    let peer = ask(
      "GET /status/201 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
        + "GET /bytes/7 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    let statuses = peer.text.split(separator: "HTTP/1.1 ").map { $0.prefix(3) }
    #expect(statuses == ["201", "200", "200", "200"])
    #expect(peer.text.hasSuffix("\r\n\r\nabcdefg") && peer.hasEnded)
  }

  @Test("A body comes back byte for byte, however it is framed", arguments: [true, false], [0, 1, 70_000])
  func echoes(isChunked: Bool, count: Int) throws {
    _ = try serve()
    let body = (0..<count).map { UInt8(97 + $0 % 26) }
    let peer = world.connect(to: BenchRig.place)
    if isChunked {
      peer.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
      for start in stride(from: 0, to: count, by: 999) {
        let part = body[start..<min(start + 999, count)]
        peer.send("\(String(part.count, radix: 16))\r\n")
        peer.send(Array(part))
        peer.send("\r\n")
      }
      peer.send("0\r\n\r\n")
    } else {
      peer.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(count)\r\nConnection: close\r\n\r\n")
      peer.send(body)
    }
    world.settle()
    #expect(peer.hasEnded)
    let marker = Array("\r\n\r\n".utf8)
    let head = try #require((0..<peer.received.count).first { peer.received[$0...].starts(with: marker) })
    let received = Array(peer.received[(head + 4)...])
    if isChunked {
      let letters = received.filter { (97...122).contains($0) || $0 == 13 }
      #expect(received.suffix(5) == Array("0\r\n\r\n".utf8)[...])
      #expect(letters.count >= count)
    } else {
      #expect(received == body)
    }
  }

  @Test("A client that does not read stops what is made up for it, and loses nothing")
  func backPressure() throws {
    let node = try serve()
    let peer = world.connect(to: BenchRig.place)
    peer.isReading = false
    peer.send("GET /bytes/5000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    world.settle()
    #expect(node.handler.outboxes.allSatisfy { ($0?.count ?? 0) <= 2 * EchoFlow<SimulatedLoop>.blockBytes })
    #expect(node.handler.slots[0].produceLeft > 4_000_000)
    peer.isReading = true
    world.settle()
    #expect(peer.hasEnded && peer.receivedCount > 5_000_000)
  }

  @Test("Delayed answers come when they should, and events one by one")
  func time() throws {
    _ = try serve()
    let late = ask("GET /delay/500 HTTP/1.1\r\nHost: a\r\n\r\n")
    let events = ask("GET /events/100 HTTP/1.1\r\nHost: a\r\n\r\n")
    world.run(for: .milliseconds(400))
    #expect(late.text.isEmpty)
    world.run(for: .milliseconds(120))
    #expect(late.text.hasPrefix("HTTP/1.1 200 "))
    #expect(events.text.contains("data: tick 5\n") && !events.text.contains("data: tick 7\n"))
  }

  @Test("A WebSocket gets its frames back unmasked, a pong for a ping, and a close for a close", arguments: 1...4)
  func webSocket(seed: UInt64) throws {
    let world = SimulatedWorld(seed: seed, .harsh)
    _ = try world.start("echo") { loop in
      let listener = try loop.listen(BenchRig.place, ListenOptions(), token: EchoFlow<SimulatedLoop>.listenerToken)
      return EchoFlow(EchoSettings(), world: loop, listener: listener)
    }
    let peer = world.connect(to: BenchRig.place)
    peer.send(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    world.settle()
    let head = try #require(peer.take(through: "\r\n\r\n"))
    // The example of RFC 6455 section 1.3.
    #expect(head.hasPrefix("HTTP/1.1 101 ") && head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"))
    let mask: [UInt8] = [0x37, 0xfa, 0x21, 0x3d]
    func frame(_ first: UInt8, _ payload: [UInt8]) -> [UInt8] {
      let length: [UInt8] =
        payload.count < 126
        ? [128 | UInt8(payload.count)] : [254, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
      return [first] + length + mask + payload.enumerated().map { $0.element ^ mask[$0.offset % 4] }
    }
    let long = [UInt8](repeating: 7, count: 300)
    for part in [
      frame(0x81, Array("Hello".utf8)), frame(0x89, [1]), frame(0x8a, [9]), frame(0x02, long), frame(0x80, []),
      frame(0x88, [3, 232]),
    ] {
      peer.send(part)
    }
    world.settle()
    let answer: [UInt8] =
      [0x81, 5] + Array("Hello".utf8) + [0x8a, 1, 1] + [0x02, 126, 1, 44] + long + [0x80, 0, 0x88, 2, 3, 232]
    #expect(peer.received == answer)
    #expect(peer.hasEnded)
  }

  @Test(
    "A frame that breaks the protocol ends the WebSocket with a Close frame that says so",
    arguments: [
      [0x81, 1], [0xc1, 0x80, 0, 0, 0, 0], [0x83, 0x80, 0, 0, 0, 0], [0x8b, 0x80, 0, 0, 0, 0],
      // A ping in parts, and one that is too long.
      [0x09, 0x80, 0, 0, 0, 0], [0x89, 0xfe, 0, 126, 0, 0, 0, 0],
      // A continuation of nothing, and a message within one.
      [0x80, 0x80, 0, 0, 0, 0], [0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0],
      // Lengths of more bytes than they take, and of the highest bit.
      [0x82, 0xfe, 0, 125, 0, 0, 0, 0], [0x82, 0xff, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0],
      [0x82, 0xff, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      // Close with one byte, and with statuses that are never sent.
      [0x88, 0x81, 0, 0, 0, 0, 3], [0x88, 0x82, 0, 0, 0, 0, 3, 237], [0x88, 0x82, 0, 0, 0, 0, 0, 1],
    ] as [[UInt8]])
  func brokenFrames(bytes: [UInt8]) {
    var frames = EchoFrames()
    let output = ByteBuffer()
    #expect(frames.next(RawSpan(bytes), into: output, limit: 100) == .end(consumed: bytes.count))
    #expect(Array(output.bytes.array.suffix(4)) == [0x88, 2, 0x03, 0xea])
  }

  @Test("A message in parts, with a ping between them, comes back as it came")
  func parts() {
    var frames = EchoFrames()
    let output = ByteBuffer()
    let bytes: [UInt8] =
      [0x01, 0x81, 0, 0, 0, 0, 65, 0x89, 0x80, 0, 0, 0, 0, 0x80, 0x81, 0, 0, 0, 0, 66, 0x88, 0x82, 1, 0, 0, 0, 2, 232]
    var consumed = 0
    for end in 1...bytes.count where end < bytes.count - 1 {
      // Bytes come one by one: what is not consumed is shown again.
      let part = Array(bytes[consumed..<end])
      guard case .incomplete(let count) = frames.next(RawSpan(part), into: output, limit: 100) else {
        Issue.record("ended at \(end)")
        return
      }
      consumed += count
    }
    let rest = Array(bytes[consumed...])
    #expect(frames.next(RawSpan(rest), into: output, limit: 100) == .end(consumed: rest.count))
    #expect(output.bytes.array == [0x01, 1, 65, 0x8a, 0, 0x80, 1, 66, 0x88, 2, 3, 232])
  }

  @Test("Whoever asks for HTTP/2 by an Upgrade is answered in HTTP/1.1")
  func ignoresUpgrade() throws {
    _ = try serve("--plain")
    let peer = ask(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    )
    #expect(peer.text.hasPrefix("HTTP/1.1 200 OK\r\n") && peer.text.hasSuffix("\r\n\r\nok\n") && !peer.hasEnded)
  }

  @Test("A connection may begin like one of HTTP/2 and still be none, byte by byte")
  func nearlyHTTP2() throws {
    _ = try serve("--plain")
    let peer = world.connect(to: BenchRig.place)
    for byte in "PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n".utf8 {
      peer.send([byte])
      world.settle()
    }
    #expect(peer.text.hasPrefix("HTTP/1.1 200 OK\r\n"))
    let broken = ask("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
    #expect(broken.text.hasPrefix("HTTP/1.1 ") && broken.hasEnded)
  }

  @Test("Without a certificate a client of TLS is sent away")
  func noTLS() throws {
    let node = try serve()
    let peer = world.connect(to: BenchRig.place)
    peer.send([22, 3, 1, 0, 200, 1, 0, 0, 196] + [UInt8](repeating: 13, count: 196))
    world.settle()
    #expect(peer.text.hasPrefix("HTTP/1.1 400 ") && peer.hasEnded && node.loop.openSockets == 1)
  }

  @Test(
    "A certificate needs its key, and the other way round",
    arguments: [
      (["--tls-cert", "/x"], "--tls-key"), (["--tls-key", "/x"], "--tls-cert"),
      (["--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"], "/nonexistent"),
      (["--tls-cert", "/dev/null", "--tls-key", "/dev/null"], "no certificate"),
    ])
  func tlsOptions(words: [String], fragment: String) throws {
    do {
      _ = try EchoCommand.settings(Arguments(words, options: Verb.echo.options))
      Issue.record("accepted \(words)")
    } catch {
      #expect(error.message.contains(fragment), "\(error.message)")
    }
  }

  @Test("Asked to end, it finishes what is under way, drops what is idle, and is gone")
  func ends() throws {
    let node = try serve()
    let idle = ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    let running = ask("GET /delay/300 HTTP/1.1\r\nHost: a\r\n\r\n")
    node.send(.stop)
    world.settle()
    #expect(idle.hasEnded && !running.hasEnded)
    world.run(for: .seconds(1))
    #expect(running.text.contains("Connection: close\r\n") && running.hasEnded)
    #expect(!node.isRunning && node.loop.openSockets == 0)
  }
}
