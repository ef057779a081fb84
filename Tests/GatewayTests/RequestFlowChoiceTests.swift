import Core
import Simulation
import Testing

@testable import Gateway

@Suite("RequestFlow: mirrors, splits and hashes")
struct RequestFlowChoiceTests {
  private static let mirror = FlowSetup(route: "upstream: \"main\", mirror: { upstream: \"other\" }")

  @Test(
    "A mirror that is dead, silent, broken or slow costs the client nothing",
    arguments: ["dead", "silent", "garbage", "reset", "endless"])
  func badMirror(kind: String) throws {
    let bench = try FlowBench(Self.mirror)
    bench.origin()
    if kind != "dead" {
      bench.otherOrigin { connection, _ in
        switch kind {
        case "garbage": connection.send("SSH-2.0-x\r\n\r\n")
        case "reset": connection.peer.reset()
        case "endless": connection.send("HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "x", count: 200_000))
        default: break
        }
      }
    }
    let client = bench.client()
    for number in 1...5 {
      client.send(get("/\(number)"))
      bench.world.run(within: .milliseconds(50)) { client.responses.count == number }
    }
    #expect(client.responses.map(\.text) == (1...5).map { "GET /\($0) " })
    client.peer.close()
    // What the mirror holds up ends by its own time limits.
    bench.world.run(for: .seconds(70))
    bench.expectRest()
  }

  @Test("A mirror that breaks off inside its head is let go at once", arguments: [UInt64](1...6))
  func brokenMirror(seed: UInt64) throws {
    let bench = try FlowBench(Self.mirror, seed: seed, .calm)
    bench.origin()
    bench.otherOrigin { connection, _ in
      connection.send("HTTP/1.1 200 OK\r\nContent-")
      connection.close()
    }
    _ = try bench.exchange(get("/"))
    bench.world.run(for: .seconds(1))
    bench.expectRest()
  }

  @Test("A mirror gets a copy of the whole request, and its answer goes nowhere", arguments: [UInt64](1...4))
  func mirrored(seed: UInt64) throws {
    let bench = try FlowBench(Self.mirror, seed: seed)
    let origin = bench.origin()
    let other = bench.otherOrigin { connection, _ in connection.reply("from the mirror", status: "500 No") }
    let client = bench.client(get("/a") + post("/b", "body"))
    bench.world.run { client.responses.count == 2 && other.requests.count == 2 }
    #expect(client.responses.map(\.text) == ["GET /a ", "POST /b body"])
    #expect(other.targets.sorted() == ["/a", "/b"])
    #expect(other.requests.first { $0.target == "/b" }?.text == "body")
    #expect(
      other.requests.first?["x-request-id"]
        == origin.requests.first { $0.target == other.requests[0].target }?["x-request-id"])
    client.peer.close()
    bench.expectRest()
  }

  @Test("A share of nothing is never mirrored")
  func unmirrored() throws {
    let bench = try FlowBench(FlowSetup(route: "upstream: \"main\", mirror: { upstream: \"other\", percent: 0 }"))
    bench.origin()
    let other = bench.otherOrigin()
    for _ in 0..<20 { _ = try bench.exchange(get("/")) }
    #expect(other.requests.isEmpty)
    bench.expectRest()
  }

  @Test("A split shares requests out by weight; with sticky, equal keys go the same way")
  func split() throws {
    let split = "upstream: [{ upstream: \"main\", weight: 3 }, { upstream: \"other\", weight: 1 }]"
    for isSticky in [false, true] {
      let bench = try FlowBench(FlowSetup(route: split + (isSticky ? ", sticky: \"header:X-User\"" : "")))
      let (main, other) = (bench.origin(), bench.otherOrigin())
      for number in 0..<200 { _ = try bench.exchange(get("/", "X-User: \(number % 40)\r\n")) }
      #expect((20...90).contains(other.requests.count))
      let (left, right) = (Set(main.requests.map { $0["x-user"] }), Set(other.requests.map { $0["x-user"] }))
      #expect(left.isDisjoint(with: right) == isSticky)
      bench.expectRest()
    }
  }

  @Test("Requests of which a rule holds go to its upstream, the others to those without a rule")
  func rules() throws {
    let choice = """
      upstream: [{ upstream: "main" }, { upstream: "other", when: "method == 'POST'" },
        { upstream: "main", when: "path == '/b'" }, { upstream: "other", when: "claim.tier == 'gold'" }]
      """
    let bench = try FlowBench(FlowSetup(route: choice))
    let (main, other) = (bench.origin(), bench.otherOrigin())
    for text in [get("/a"), post("/a", "x"), get("/b"), post("/b", "x")] { _ = try bench.exchange(text) }
    #expect(main.requests.map(\.target) == ["/a", "/b"] && other.requests.map(\.target) == ["/a", "/b"])
    bench.expectRest()
  }

  @Test(
    "Consistent hashing sends equal keys to the same endpoint, and different ones to all",
    arguments: [("header:X-User", "X-User: "), ("cookie:sid", "Cookie: a=b; sid=")])
  func hash(by: String, field: String) throws {
    let bench = try FlowBench(FlowSetup(endpoints: 3, upstream: "balance: { by: \"\(by)\" }"))
    let origins = (1...3).map { bench.origin($0) { connection, request in connection.reply("") } }
    for number in 0..<90 { _ = try bench.exchange(get("/\(number % 30)", "\(field)user\(number % 30)\r\n")) }
    #expect(origins.allSatisfy { !$0.requests.isEmpty })
    let targets = origins.map { Set($0.targets) }
    #expect(targets[0].isDisjoint(with: targets[1]) && targets[1].isDisjoint(with: targets[2]))
    #expect(targets[0].isDisjoint(with: targets[2]))
    bench.expectRest()
  }
}
