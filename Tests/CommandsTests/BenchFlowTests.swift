import Core
import Simulation
import Testing

@testable import Commands

@Suite("BenchFlow")
struct BenchFlowTests {
  @Test("Without a server nothing is measured, and the reason is known")
  func refused() throws {
    let rig = try BenchRig(seed: 1, .calm, "-c", "4", "-d", "1s")
    let result = rig.run(stopAfter: .seconds(1))
    #expect(rig.log.ready?.open == 0 && rig.log.ready?.failure == .refused)
    #expect(result.total.completed == 0 && result.status == .failed)
  }

  @Test(
    "A closed loop of so many requests ends with exactly so many responses, on any network",
    arguments: [Conditions.calm, .rough, .harsh], [1, 7])
  func count(conditions: Conditions, seed: Int) throws {
    let rig = try BenchRig(seed: UInt64(seed), conditions, "-n", "200", "-c", "8")
    try rig.serve(.fixed(300))
    let result = rig.run()
    #expect(rig.log.isFinished)
    #expect(result.total.completed == 200 && result.total.started == 200 && result.total.failed == 0)
    #expect(result.total.statuses[200] == 200)
  }

  @Test(
    "Every framing is read to its end", arguments: ["/bytes/0", "/bytes/100000", "/chunked/70000", "/status/204", "/"])
  func framings(target: String) throws {
    var rig = try BenchRig(seed: 3, .rough, "-n", "40", "-c", "3")
    rig.ask(target)
    try rig.serve(EchoSettings())
    let result = rig.run()
    #expect(result.total.completed == 40 && result.total.failed == 0 && result.total.reconnections == 0)
  }

  @Test("A response that ends with its connection is complete, and a new connection follows")
  func untilClose() throws {
    var rig = try BenchRig(seed: 3, .rough, "-n", "12", "-c", "3")
    rig.plan.requests = [
      BenchRequest(beforeKey: Array("GET /chunked/5000 HTTP/1.0\r\nHost: a\r\n\r\n".utf8), afterKey: [])
    ]
    try rig.serve(EchoSettings())
    let result = rig.run()
    #expect(result.total.completed == 12 && result.total.failed == 0)
    #expect(result.total.reconnections >= 9)
  }

  @Test("A body that is cut short is a failure and never a response")
  func truncated() throws {
    var rig = try BenchRig(seed: 4, .rough, "-n", "20", "-c", "2")
    rig.ask("/close")
    try rig.serve(EchoSettings())
    let result = rig.run()
    #expect(result.total.completed == 0)
    #expect(result.total.failed(.broken) == 20)
  }

  @Test("A response that takes too long is given up when its time is over")
  func timeouts() throws {
    var rig = try BenchRig(seed: 5, .calm, "-n", "6", "-c", "2", "--timeout", "200ms")
    rig.ask("/delay/5000")
    try rig.serve(EchoSettings())
    let result = rig.run()
    #expect(result.total.failed(.timeout) == 6 && result.total.completed == 0)
    #expect(result.elapsedSeconds > 0.59 && result.elapsedSeconds < 1)
  }

  @Test("Without keep-alive every request has a connection of its own, whose opening counts")
  func noKeepAlive() throws {
    let rig = try BenchRig(seed: 6, .calm, "-n", "30", "-c", "3", "--no-keepalive")
    try rig.serve(.fixed(10))
    let result = rig.run()
    #expect(result.total.completed == 30 && result.total.failed == 0)
    #expect(result.total.connect.count == 30)
    // One way takes 50 µs: there and back for the connection, and again for the request.
    #expect(result.total.latency.minimum >= 200_000)
  }

  @Test("Pipelined requests are answered in full", arguments: [Conditions.calm, .harsh])
  func pipelined(conditions: Conditions) throws {
    let rig = try BenchRig(seed: 7, conditions, "-n", "90", "-c", "2", "--pipeline", "8")
    try rig.serve(.fixed(20))
    let result = rig.run()
    #expect(result.total.completed == 90 && result.total.failed == 0)
  }

  @Test("An open loop sends exactly what is due, and on time")
  func openLoop() throws {
    let rig = try BenchRig(seed: 8, .calm, "-R", "2000", "-c", "16", "-d", "2s", "-w", "500ms")
    try rig.serve(.fixed(20))
    let result = rig.run()
    #expect(result.planned == 4000 && result.total.started == 4000 && result.total.completed == 4000)
    #expect(result.verdict == .held && result.status == .done)
    // The simulated loop wakes up to the millisecond, as one with ordinary time limits does.
    #expect(result.total.lag.maximum < 1_000_000)
    #expect(result.total.waited == 0)
    #expect(result.total.latency.maximum < 1_300_000)
    // A request due at the turn of a second may be counted on either side of it.
    #expect(result.seconds.count == 2 && result.seconds.allSatisfy { (1999...2001).contains($0.started) })
  }

  @Test("Parts of the run that have figures of their own are as long as asked")
  func interval() throws {
    let rig = try BenchRig(seed: 8, .calm, "-R", "2000", "-c", "16", "-d", "950ms", "--interval", "100ms")
    try rig.serve(.fixed(20))
    let result = rig.run()
    #expect(result.seconds.count == 10 && result.seconds.dropLast().allSatisfy { (199...201).contains($0.started) })
    #expect(result.seconds.last?.nanoseconds == 50_000_000)
  }

  @Test("A server that stalls is charged for every request that was due meanwhile")
  func coordinatedOmission() throws {
    let rig = try BenchRig(seed: 9, .calm, "-R", "1000", "-c", "4", "-d", "4s")
    try rig.serve(.fixed(20))
    let result = rig.run { world in
      world.run(for: .seconds(1))
      world.freeze(BenchRig.place)
      world.run(for: .seconds(1))
      world.thaw(BenchRig.place)
    }
    // One second of silence at 1,000 a second: some 1,000 requests waited up to a second, 500 of them half of it.
    let latency = result.total.latency
    #expect(result.total.waited > 900)
    #expect(latency.value(atPercentile: 75.5) > 5_000_000)
    #expect(latency.value(atPercentile: 88) > 400_000_000)
    #expect(latency.maximum > 950_000_000)
    #expect(result.total.started == 4000)
  }

  @Test("A rate beyond the server is not held, and the server is named as the reason")
  func beyondServer() throws {
    var rig = try BenchRig(seed: 10, .calm, "-R", "1000", "-c", "2", "-d", "2s")
    rig.ask("/delay/10")
    try rig.serve(EchoSettings())
    let result = rig.run()
    #expect(result.verdict == .serverTooSlow && result.status == .failed)
    #expect(result.neverSent > 1000)
    #expect(result.warnings.contains { $0.contains("was not held") })
  }

  @Test("Keys and URLs are taken in turn")
  func inTurn() throws {
    var rig = try BenchRig(seed: 11, .calm, "-n", "12", "-c", "1")
    let shape = BenchRequestShape(keyField: "X-API-Key: ")
    rig.plan.targets = ["/a", "/b", "/c"].map {
      BenchTarget(url: $0, place: BenchPlace(BenchRig.place), authority: "a", target: $0)
    }
    rig.plan.requests = rig.plan.targets.map { shape.request(for: $0.authority, target: $0.target) }
    rig.plan.keys = [Array("k1".utf8), Array("k2".utf8)]
    let seen = Seen()
    let server = rig.world.serve(BenchRig.place) { peer in
      while let head = peer.take(through: "\r\n\r\n") {
        seen.heads.append(head)
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
      }
    }
    _ = server
    _ = rig.run()
    #expect(seen.heads.count == 12)
    for (number, head) in seen.heads.enumerated() {
      #expect(head.hasPrefix("GET /\(["a", "b", "c"][number % 3]) HTTP/1.1\r\nHost: a\r\n"))
      #expect(head.hasSuffix("X-API-Key: k\(number % 2 + 1)\r\n\r\n"))
    }
  }

  @Test("An early stop still has a result, of what had been measured by then")
  func stopped() throws {
    let rig = try BenchRig(seed: 12, .calm, "-c", "4", "-d", "60s")
    try rig.serve(.fixed(20))
    let result = rig.run(stopAfter: .milliseconds(1505))
    #expect(rig.log.isFinished)
    #expect(result.elapsedSeconds > 1.4 && result.elapsedSeconds < 1.6)
    #expect(result.seconds.count == 2 && result.total.completed > 1000)
    #expect(result.total.completed == result.total.started)
  }

  @Test(
    "What is no HTTP is a failure of its own kind",
    arguments: ["HTTP/1.1 2000 OK\r\n\r\n", "hello\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
  func malformed(answer: String) throws {
    let rig = try BenchRig(seed: 13, .calm, "-n", "4", "-c", "1")
    let server = rig.world.serve(BenchRig.place) { peer in
      while peer.take(through: "\r\n\r\n") != nil { peer.send(answer) }
    }
    _ = server
    let result = rig.run()
    #expect(result.total.failed(.malformed) == 4 && result.total.completed == 0)
  }
}

/// What a scripted server has received.
final class Seen {
  var heads: [String] = []
}
