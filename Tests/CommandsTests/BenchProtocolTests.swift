import Core
import Crypto
import Simulation
import Testing

@testable import Commands

@Suite("BenchFlow over HTTP/2")
struct BenchHTTP2Tests {
  @Test("Where nobody speaks HTTP/2 no connection counts as open")
  func notSpoken() throws {
    let rig = try BenchRig(seed: 1, .calm, "-c", "2", "-d", "1s", "--h2c")
    let server = rig.world.serve(BenchRig.place) { peer in
      if peer.take(through: "\r\n\r\n") != nil { peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") }
    }
    _ = server
    let result = rig.run(stopAfter: .seconds(1))
    #expect(rig.log.ready?.open == 0 && rig.log.ready?.failure == .reset)
    #expect(result.total.completed == 0 && result.status == .failed)
  }

  @Test(
    "A closed loop of so many requests ends with exactly so many responses, on any network",
    arguments: [Conditions.calm, .rough, .harsh], [1, 5])
  func count(conditions: Conditions, streams: Int) throws {
    let rig = try BenchRig(seed: 2, conditions, "-n", "200", "-c", "3", "--h2c", "--streams", "\(streams)")
    try rig.serve(.fixed(300))
    let result = rig.run()
    #expect(rig.log.ready?.open == 3)
    #expect(result.total.completed == 200 && result.total.started == 200 && result.total.failed == 0)
    #expect(result.total.statuses[200] == 200 && result.total.reconnections == 0)
  }

  @Test(
    "Every framing is read to its end", arguments: ["/bytes/0", "/bytes/100000", "/chunked/70000", "/status/204", "/"])
  func framings(target: String) throws {
    var rig = try BenchRig(seed: 3, .rough, "-n", "40", "-c", "2", "--h2c", "--streams", "3")
    rig.ask(target)
    let node = try rig.serve(EchoSettings())
    let result = rig.run()
    #expect(result.total.completed == 40 && result.total.failed == 0 && result.total.reconnections == 0)
    // Only the listener is left.
    #expect(node.loop.openSockets == 1)
  }

  @Test("All streams of a connection are used at a time, and no more")
  func concurrency() throws {
    let rig = try BenchRig(seed: 4, .calm, "-n", "40", "-c", "2", "--h2c", "--streams", "5")
    var settings = EchoSettings.fixed(10)
    settings.delayMilliseconds = 100
    try rig.serve(settings)
    let result = rig.run()
    #expect(result.total.completed == 40)
    // Four rounds of ten.
    #expect(result.elapsedSeconds > 0.4 && result.elapsedSeconds < 0.42)
  }

  @Test("A server that allows fewer streams gets fewer, on the connections there are")
  func fewerStreams() throws {
    let rig = try BenchRig(seed: 5, .calm, "-n", "40", "-c", "2", "--h2c", "--streams", "20")
    var settings = EchoSettings.fixed(10)
    settings.delayMilliseconds = 100
    let node = try rig.serve(settings, streams: 2)
    let result = rig.run()
    #expect(result.total.completed == 40 && result.total.failed == 0 && result.streams == 2)
    #expect(result.elapsedSeconds > 1 && result.total.reconnections == 0)
    #expect(node.handler.slots.count <= 2 + 4)
    #expect(result.warnings.contains { $0.contains("2 streams in place of 20") })
  }

  @Test("An open loop sends exactly what is due, and charges a server that stalls for it")
  func openLoop() throws {
    let rig = try BenchRig(seed: 9, .calm, "-R", "1000", "-c", "2", "-d", "4s", "--h2c", "--streams", "2")
    try rig.serve(.fixed(20))
    let result = rig.run { world in
      world.run(for: .seconds(1))
      world.freeze(BenchRig.place)
      world.run(for: .seconds(1))
      world.thaw(BenchRig.place)
    }
    #expect(result.planned == 4000 && result.total.started == 4000 && result.total.completed == 4000)
    #expect(result.total.waited > 900)
    #expect(result.total.latency.value(atPercentile: 88) > 400_000_000)
    #expect(result.total.latency.maximum > 950_000_000)
  }

  @Test("A stream that the server resets is an error of its own kind")
  func reset() throws {
    var rig = try BenchRig(seed: 6, .rough, "-n", "20", "-c", "1", "--h2c", "--streams", "2")
    rig.ask("/close")
    try rig.serve(EchoSettings())
    let result = rig.run()
    #expect(result.total.failed(.streamReset) == 20 && result.total.failed == 20 && result.total.completed == 0)
    #expect(result.total.reconnections == 0)
  }

  @Test("A stream that GOAWAY leaves out is an error of its own kind, and a new connection follows")
  func goAway() throws {
    let rig = try BenchRig(seed: 7, .calm, "-n", "6", "-c", "1", "--h2c")
    let settings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]
    let goAway: [UInt8] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    let server = rig.world.serve(BenchRig.place) { peer in
      // The preface comes with the client's settings, and its first request later.
      let received = peer.take()
      if received.starts(with: Array("PRI ".utf8)) {
        peer.send(settings)
      } else if HTTP2Frames.types(received).contains(1) {
        peer.send(goAway)
      }
    }
    _ = server
    let result = rig.run()
    #expect(result.total.failed(.goAway) == 6 && result.total.failed == 6)
    #expect(result.total.reconnections == 5)
  }

  @Test("A response that takes too long is given up, and its connection is kept")
  func timeouts() throws {
    var rig = try BenchRig(seed: 5, .calm, "-n", "6", "-c", "1", "--timeout", "200ms", "--h2c", "--streams", "2")
    rig.ask("/delay/5000")
    try rig.serve(EchoSettings())
    let result = rig.run()
    #expect(result.total.failed(.timeout) == 6 && result.total.completed == 0 && result.total.reconnections == 0)
    #expect(result.elapsedSeconds > 0.59 && result.elapsedSeconds < 1)
  }
}

/// Frames of HTTP/2 as a scripted server sees them.
enum HTTP2Frames {
  /// The types of the frames that `bytes` consist of.
  static func types(_ bytes: [UInt8]) -> [UInt8] {
    var (types, index) = ([UInt8](), 0)
    while index + 9 <= bytes.count {
      types.append(bytes[index + 3])
      index += 9 + Int(bytes[index]) << 16 + Int(bytes[index + 1]) << 8 + Int(bytes[index + 2])
    }
    return types
  }
}

@Suite("BenchFlow over TLS")
struct BenchTLSTests {
  private func rig(
    _ words: String..., url: String = "https://server.test/", trusts: Bool = true
  ) throws -> BenchRig {
    try rig(.calm, words, url: url, trusts: trusts)
  }

  private func rig(
    _ conditions: Conditions, _ words: [String], url: String = "https://server.test/", trusts: Bool = true
  ) throws -> BenchRig {
    var rig = try BenchRig(seed: 3, conditions, words, url: url)
    guard trusts else { return rig }
    var settings = TLSClientSettings()
    settings.authorities = try TLSAuthorities(certificates: TestCertificates.authority)
    settings.protocols = [rig.plan.isMultiplexed ? "h2" : "http/1.1"]
    rig.plan.security = try TLSClientContext(settings)
    return rig
  }

  @Test("A certificate of nobody one knows, or for another name, is refused, and the reason said")
  func unverified() throws {
    for rig in [
      try rig("-c", "2", "-d", "1s", trusts: false), try rig("-c", "2", "-d", "1s", url: "https://other.test/"),
    ] {
      try rig.serve(.secured())
      let result = rig.run(stopAfter: .seconds(1))
      #expect(rig.log.ready?.open == 0)
      #expect(rig.log.ready?.fault?.contains("not good") == true)
      #expect(result.total.completed == 0 && result.total.handshakes.failed >= 2)
    }
    let careless = try rig("-n", "4", "-c", "2", "--insecure", url: "https://other.test/", trusts: false)
    try careless.serve(.secured())
    #expect(careless.run().total.completed == 4)
  }

  @Test("A new connection for every request means a handshake each, the first ones full and the others resumed")
  func handshakes() throws {
    let rig = try rig("-n", "30", "-c", "3", "--no-keepalive")
    try rig.serve(.secured())
    let total = rig.run().total
    #expect(total.completed == 30 && total.failed == 0)
    #expect(total.handshakes.full.count == 3)
    #expect(total.handshakes.resumed.count == 27 && total.handshakes.failed == 0)
    // One way takes 50 µs: there and back for the connection, and again for the handshake.
    #expect(total.handshakes.full.minimum >= 200_000 && total.handshakes.resumed.maximum < 2_000_000)
    // The request comes after them.
    #expect(total.latency.minimum >= 300_000)
  }

  @Test("Without resumption every handshake is full")
  func unresumed() throws {
    let rig = try rig("-n", "30", "-c", "3", "--no-keepalive", "--no-resume")
    try rig.serve(.secured())
    let total = rig.run().total
    #expect(total.completed == 30 && total.handshakes.full.count == 30 && total.handshakes.resumed.count == 0)
  }

  @Test("Handshakes of a warm-up are not counted")
  func warmup() throws {
    let rig = try rig("-R", "100", "-w", "1s", "-d", "500ms", "-c", "4", "--no-keepalive")
    try rig.serve(.secured())
    let total = rig.run().total
    #expect(total.completed == 50 && (49...51).contains(total.handshakes.completed))
  }

  @Test("Bodies come whole on any network", arguments: [[String](), ["--h2", "--streams", "3"]])
  func bodies(words: [String]) throws {
    for conditions in [Conditions.calm, .rough, .harsh] {
      var rig = try rig(conditions, ["-n", "20", "-c", "2"] + words)
      rig.ask("/bytes/70000")
      try rig.serve(.secured())
      let total = rig.run().total
      #expect(total.completed == 20 && total.failed == 0 && total.handshakes.full.count == 2)
      #expect(total.receivedBytes > 20 * 70_000)
    }
  }

  @Test("HTTP/2 that the server does not choose is an error")
  func notChosen() throws {
    let rig = try rig("-n", "20", "-c", "2", "--h2")
    try rig.serve(.secured(protocols: ["http/1.1"]))
    let result = rig.run(stopAfter: .seconds(1))
    #expect(rig.log.ready?.open == 0 && rig.log.ready?.fault != nil)
    #expect(result.total.completed == 0 && result.total.handshakes.failed >= 2)
  }
}
