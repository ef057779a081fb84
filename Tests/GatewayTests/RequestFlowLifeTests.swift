import Core
import HTTP
import Pipeline
import Simulation
import Synchronization
import Testing

@testable import Gateway

/// Waits for its ticket, strikes a field out, and counts how often it was ended.
private final class Parking: RequestHook, EndHook {
  let tickets = Mutex<[UInt64]>([])
  let ends = Atomic<Int>(0)
  let waitsAgain: Bool

  init(waitsAgain: Bool = false) { self.waitsAgain = waitsAgain }

  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    if let index = request.firstIndex(of: .authorization) { request.drop(index) }
    let ticket = exchange.ticket
    tickets.withLock { $0.append(ticket) }
    return .wait
  }

  func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard waitsAgain, tickets.withLock({ $0.count }) == 1 else { return .next }
    let ticket = exchange.ticket
    tickets.withLock { $0.append(ticket) }
    return .wait
  }

  func onEnd(_ exchange: inout Exchange, _ services: Services) { ends.wrappingAdd(1, ordering: .relaxed) }
}

@Suite("Token")
struct TokenTests {
  @Test("a connection to the store is told from every other one, and from its own former life")
  func store() {
    var seen: Set<UInt64> = [
      .max, Token(.client, 0, generation: 0).rawValue, Token(.server, -1, generation: .max).rawValue,
    ]
    for client in 0..<2 {
      for link in [0, 1, 255, 1 << 24 - 1] {
        for generation: UInt32 in [0, 1, 0x3fff_ffff] {
          let token = Token.store(client: client, link: link, generation: generation)
          #expect(token.kind == .store)
          #expect(seen.insert(token.rawValue).inserted)
        }
      }
    }
  }
}

@Suite("RequestFlow: drain, reload, parking")
struct RequestFlowLifeTests {
  // MARK: Parking

  @Test("A request that nobody resumes ends with 504, and its policies have given back what they held")
  func neverResumed() throws {
    let policy = Parking()
    let bench = try FlowBench(FlowSetup(chain: [policy]))
    let origin = bench.origin()
    let client = bench.client(get("/"))
    bench.world.run(for: .milliseconds(4900))
    #expect(client.responses.isEmpty)
    bench.world.run(for: .milliseconds(200))
    #expect(client.statuses == [504])
    #expect(origin.requests.isEmpty)
    #expect(policy.ends.load(ordering: .relaxed) == 1)
    bench.resume(policy.tickets.withLock { $0[0] })
    client.peer.close()
    bench.expectRest()
  }

  @Test("A client that leaves while its request is parked is forgotten, and its ticket means nothing to the next")
  func leftWhileParked() throws {
    let policy = Parking()
    let bench = try FlowBench(FlowSetup(chain: [policy]))
    bench.origin()
    let client = bench.client(get("/"))
    bench.world.settle()
    client.peer.reset()
    bench.world.settle()
    #expect(policy.ends.load(ordering: .relaxed) == 1)
    let next = bench.client(get("/next"))
    bench.world.settle()
    let tickets = policy.tickets.withLock { $0 }
    #expect(tickets.count == 2 && tickets[0] != tickets[1])
    bench.resume(tickets[0])
    bench.world.settle()
    #expect(next.responses.isEmpty)
    bench.resume(tickets[1])
    bench.world.run { next.statuses == [200] }
    #expect(next.statuses == [200])
    next.peer.close()
    bench.expectRest()
  }

  @Test(
    "A parked request goes on where it stopped, with its body, without the fields that were struck out",
    arguments: [UInt64](1...4))
  func resumed(seed: UInt64) throws {
    let policy = Parking(waitsAgain: true)
    let bench = try FlowBench(FlowSetup(chain: [policy]), seed: seed)
    let origin = bench.origin { connection, request in
      connection.peer.after(.seconds(8)) { _ in Origin.echo(connection, request) }
    }
    let body = String(repeating: "x", count: 100_000)
    let client = bench.client(post("/parked", body, "Authorization: Basic c2VjcmV0\r\nX-Other: 1\r\n"))
    bench.world.run(for: .seconds(1))
    // Others use the loop's head in the meantime.
    let other = bench.client("BROKEN\r\n\r\n")
    bench.world.run(for: .seconds(1))
    #expect(other.statuses == [400])
    for count in 1...2 {
      bench.resume(policy.tickets.withLock { $0[count - 1] })
      bench.world.run(for: .seconds(1))
      #expect(policy.tickets.withLock { $0.count } == 2)
    }
    bench.world.run(within: .seconds(20)) { !client.responses.isEmpty }
    #expect(client.responses.map(\.text) == ["POST /parked \(body)"])
    #expect(origin.requests.first?["authorization"] == nil)
    #expect(origin.requests.first?["x-other"] == "1")
    client.peer.close()
    other.peer.close()
    bench.expectRest()
  }

  // MARK: Drain

  @Test("A draining node accepts nobody, finishes what runs, and says that connections close")
  func drains() throws {
    let bench = try FlowBench()
    bench.origin { connection, request in
      connection.peer.after(.seconds(2)) { _ in Origin.echo(connection, request) }
    }
    let running = bench.client(get("/running"))
    let idle = bench.client()
    bench.world.run(for: .milliseconds(100))
    bench.drain(seconds: 30)
    bench.world.run(for: .milliseconds(10))
    let late = bench.client(get("/late"))
    // Sent before anybody could know.
    idle.send(get("/just-in-time"))
    bench.world.run(for: .seconds(4))
    #expect(late.peer.failure == .refused)
    for client in [running, idle] {
      #expect(client.statuses == [200])
      #expect(client.responses.first?["connection"] == "close")
      #expect(client.peer.hasEnded && !client.peer.wasReset)
      client.peer.close()
    }
    bench.world.run(for: .milliseconds(100))
    #expect(!bench.node.isRunning)
    #expect(bench.node.loop.openSockets == 0)
  }

  @Test("An idle connection does not hold the drain up")
  func drainsIdle() throws {
    let bench = try FlowBench()
    bench.origin()
    let client = bench.client(get("/"))
    bench.world.run { client.statuses == [200] }
    bench.drain(seconds: 30)
    bench.world.run(for: .seconds(1))
    #expect(client.peer.hasEnded && !client.peer.wasReset)
    #expect(!bench.node.isRunning)
  }

  @Test(
    "The drain ends in time, whatever still runs, and what is cut off looks cut off",
    arguments: ["request", "response", "tunnel", "head"])
  func drainEnds(kind: String) throws {
    let bench = try FlowBench()
    let origin = bench.origin { connection, _ in
      switch kind {
      case "response": connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
      case "tunnel": connection.send("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
      default: break
      }
    }
    origin.acceptsUpgrades = true
    origin.closesWithGateway = false
    let client = bench.client(
      kind == "head" ? "GET / HT" : get("/", kind == "tunnel" ? "Connection: upgrade\r\nUpgrade: x\r\n" : ""))
    bench.world.run(for: .milliseconds(100))
    bench.drain(seconds: 3)
    bench.world.run(for: .milliseconds(2900))
    #expect(bench.node.isRunning)
    bench.world.run(for: .milliseconds(200))
    #expect(!bench.node.isRunning)
    #expect(client.statuses == (kind == "tunnel" ? [101] : []))
    #expect(client.peer.isOver)
    #expect(client.peer.wasReset == (kind == "request" || kind == "response"))
    #expect(bench.node.loop.openSockets == 0)
  }

  @Test("A drain under load loses no response", arguments: [UInt64](1...6))
  func drainUnderLoad(seed: UInt64) throws {
    let bench = try FlowBench(seed: seed)
    bench.origin { connection, request in
      connection.peer.after(.milliseconds(Int(seed) * 3)) { _ in Origin.echo(connection, request) }
    }
    let clients = (0..<30).map { _ in bench.client() }
    var sent = Array(repeating: 0, count: clients.count)
    for (index, client) in clients.enumerated() {
      let change = client.peer.onChange
      client.peer.onChange = { peer in
        change?(peer)
        guard client.responses.count == sent[index], client.responses.last?["connection"] != "close", !peer.isOver
        else { return }
        sent[index] += 1
        peer.send(get("/\(sent[index])"))
      }
      sent[index] = 1
      client.send(get("/1"))
    }
    bench.world.run(for: .milliseconds(40))
    bench.drain(seconds: 10)
    bench.world.run(for: .seconds(11))
    #expect(!bench.node.isRunning)
    for (index, client) in clients.enumerated() {
      #expect(client.responses.map(\.text) == (0..<sent[index]).map { "GET /\($0 + 1) " })
      #expect(client.responses.last?["connection"] == "close")
    }
  }

  // MARK: Reload

  @Test(
    "A request ends under the configuration it began with, the next one on its connection takes the new one",
    arguments: [UInt64](1...4))
  func reload(seed: UInt64) throws {
    let bench = try FlowBench(
      FlowSetup(
        route: "upstream: \"main\", policies: [{ type: \"headers\", response: { set: { \"X-Rev\": \"1\" } } }]"),
      seed: seed)
    var held: [(Origin.Connection, WireMessage)] = []
    bench.origin { held.append(($0, $1)) }
    let other = bench.otherOrigin()
    let client = bench.client(post("/old", "whole"))
    let streaming = bench.client(postChunks("/old", "3\r\nabc\r\n"))
    bench.world.run { held.count == 1 }
    try bench.reload(
      FlowSetup(
        route: "upstream: \"other\", policies: [{ type: \"headers\", response: { set: { \"X-Rev\": \"2\" } } }]"))
    client.send(get("/new"))
    streaming.send("0\r\n\r\n" + get("/new"))
    bench.world.run { held.count == 2 }
    for (connection, request) in held { Origin.echo(connection, request) }
    bench.world.run { client.responses.count == 2 && streaming.responses.count == 2 }
    #expect(client.responses.map(\.text) == ["POST /old whole", "GET /new "])
    #expect(streaming.responses.map(\.text) == ["POST /old abc", "GET /new "])
    for client in [client, streaming] { #expect(client.responses.map { $0["x-rev"] } == ["1", "2"]) }
    #expect(other.targets == ["/new", "/new"])
    for client in [client, streaming] { client.peer.close() }
    bench.expectRest()
  }

  @Test("Requests that wait for a connection survive reload after reload")
  func reloadWithQueue() throws {
    let setup = FlowSetup(upstream: "limits: { connections: 1 }")
    let bench = try FlowBench(setup)
    bench.origin { connection, request in
      connection.peer.after(.milliseconds(20)) { _ in Origin.echo(connection, request) }
    }
    let clients = (0..<20).map { bench.client(get("/\($0)")) }
    for _ in 0..<30 {
      bench.world.run(for: .milliseconds(10))
      try bench.reload(setup)
    }
    bench.world.run(for: .seconds(1))
    #expect(clients.enumerated().allSatisfy { $1.responses.map(\.text) == ["GET /\($0) "] })
    for client in clients { client.peer.close() }
    bench.expectRest()
  }

  @Test("A reload closes idle connections to endpoints that are gone, opens new ports and closes old ones")
  func reloadPorts() throws {
    let bench = try FlowBench(FlowSetup(endpoints: 2, upstream: "balance: \"round-robin\""))
    let origins = (1...2).map { bench.origin($0) }
    for _ in 0..<2 { _ = try bench.exchange(get("/")) }
    #expect(bench.node.handler.pool.idleCount == 2)
    try bench.reload(FlowSetup())
    bench.world.settle()
    #expect(bench.node.handler.pool.idleCount == 1)
    #expect(origins[1].connections.allSatisfy { $0.peer.hasEnded })
    bench.expectRest()
  }

  // MARK: Slots

  /// What stays in a slot, since every request that looks at it has set it before.
  private static let kept: Set = [
    "generation", "decisionText", "timeouts", "captures", "attemptStartedAt", "remaining", "decoder",
  ]

  /// A value and everything in it, by path; what is kept on purpose is left out.
  private func fields(_ value: Any, _ path: String = "") -> [String: String] {
    if let buffer = value as? ByteBuffer { return [path: "\(buffer.count) bytes"] }
    let children = Mirror(reflecting: value).children.map { ($0.label ?? "_", $0.value) }
    guard !children.isEmpty else { return [path: "\(value)"] }
    var found: [String: String] = [:]
    for (label, child) in children where !Self.kept.contains(label) {
      found.merge(fields(child, path + "." + label)) { first, second in first + second }
    }
    return found
  }

  @Test("A slot that was used equals a fresh one, field by field", arguments: [UInt64](1...3))
  func slotHygiene(seed: UInt64) throws {
    let bench = try FlowBench(
      FlowSetup(
        node: "trustedProxies: [\"203.0.113.0/24\"]", endpoints: 2,
        upstream: "limits: { connections: 2 }, balance: { by: \"header:X\" }",
        route:
          "upstream: [{ upstream: \"main\" }, { upstream: \"other\" }], sticky: \"header:Y\", mirror: { upstream: \"other\" }, timeouts: { total: \"9s\" }"
      ),
      seed: seed, .harsh)
    bench.origin { connection, request in
      if request.fields["upgrade"] != nil {
        connection.send("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        connection.close()
      } else {
        connection.send("HTTP/1.1 103 Hint\r\n\r\n")
        Origin.echo(connection, request)
      }
    }
    let clients = (0..<12).map { number in
      switch number % 5 {
      case 0: bench.client(post("/\(number)", "body", "X: \(number)\r\nX-Request-Id: abc\r\nUser-Agent: u\r\n"))
      case 1: bench.client(postChunks("/\(number)", "1\r\nx\r\n0\r\nT: 1\r\n\r\n"))
      case 2: bench.client(get("/\(number)", "Connection: upgrade\r\nUpgrade: x\r\n"))
      case 3: bench.client("GET /\(number) HTTP/1.0\r\n\r\n")
      default: bench.client("BROKEN\r\n\r\n")
      }
    }
    bench.world.run(for: .seconds(3))
    for client in clients where !client.peer.isOver { client.peer.close() }
    bench.world.run(for: .seconds(10))
    #expect(bench.node.handler.exchanges.count == 0)
    #expect(bench.node.handler.exchanges.touchedIndexes.count > 3)
    var fresh = ExchangeSlot()
    // Buffers come into being on first use, and stay.
    for buffer in [
      fresh.exchange.head, fresh.exchange.requestFields, fresh.exchange.responseFields, fresh.exchange.replyBody,
    ] {
      #expect(buffer.isEmpty)
    }
    let expected = fields(fresh).filter { !$0.key.contains("Storage") }
    for index in bench.node.handler.exchanges.touchedIndexes {
      let slot = bench.node.handler.exchanges[index]
      let found = fields(slot).filter { !$0.key.contains("Storage") }
      for (path, value) in expected { #expect(found[path] == value, "\(path)") }
      #expect(found.count == expected.count)
      for (path, value) in fields(slot) where path.contains("Storage") && !value.hasPrefix("nil") {
        #expect(value == "0 bytes", "\(path)")
      }
    }
  }
}
