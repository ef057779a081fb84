import Core
import Simulation
import Testing
import Traffic

@testable import Gateway

@Suite("RequestFlow: retries and choices")
struct RequestFlowRetryTests {
  private static let noEjection = "ejection: { consecutiveFailures: 0 }, "

  // MARK: Attempts that fail

  @Test("With nobody at any endpoint the client learns it at once", arguments: [0.0, 1.0])
  func refused(immediately: Double) throws {
    var conditions = Conditions.rough
    conditions.immediateRefusalChance = immediately
    let bench = try FlowBench(FlowSetup(endpoints: 2), conditions)
    let response = try bench.exchange(get("/"))
    #expect(response.status == 502)
    #expect(!response.text.contains("10.0.1"))
    bench.expectRest()
  }

  @Test("Nobody answering the connection attempt in time is a 504")
  func connectTimeout() throws {
    let bench = try FlowBench(FlowSetup(upstream: "timeouts: { connect: \"2s\" }, retries: { attempts: 0 }"))
    bench.world.ignore(FlowBench.endpoint(1))
    let client = bench.client(get("/"))
    bench.world.run(for: .milliseconds(1900))
    #expect(client.responses.isEmpty)
    bench.world.run(for: .milliseconds(200))
    #expect(client.statuses == [504])
    client.peer.close()
    bench.expectRest()
  }

  @Test("No response in time is a 504, and an idempotent request is not repeated for it unless that is asked for")
  func responseTimeout() throws {
    let bench = try FlowBench(FlowSetup(endpoints: 2, upstream: "timeouts: { response: \"3s\" }"))
    let silent = (1...2).map { bench.origin($0) { _, _ in } }
    let client = bench.client(get("/"))
    bench.world.run(for: .milliseconds(2900))
    #expect(client.responses.isEmpty)
    bench.world.run(for: .milliseconds(200))
    #expect(client.statuses == [504])
    #expect(silent.reduce(0) { $0 + $1.requests.count } == 1)
    client.peer.close()
    bench.expectRest()
  }

  @Test("A request that nobody may repeat is not repeated once a byte of it was sent", arguments: [UInt64](1...4))
  func nonIdempotent(seed: UInt64) throws {
    let bench = try FlowBench(FlowSetup(endpoints: 3, upstream: "retries: { attempts: 3 }"), seed: seed)
    let origins = (1...3).map { number in bench.origin(number) { connection, _ in connection.peer.reset() } }
    #expect(try bench.exchange(post("/", "x")).status == 502)
    #expect(origins.reduce(0) { $0 + $1.requests.count } == 1)
    bench.expectRest()
  }

  @Test("Where nothing was sent any request is tried elsewhere", arguments: [UInt64](1...4))
  func connectFailure(seed: UInt64) throws {
    let bench = try FlowBench(FlowSetup(endpoints: 3, upstream: "retries: { attempts: 2 }"), seed: seed)
    bench.origin(2)
    for _ in 0..<6 { #expect(try bench.exchange(post("/", "x")).text == "POST / x") }
    bench.expectRest()
  }

  @Test(
    "A failed attempt is repeated at another endpoint for what the file names", arguments: ["reset", "503", "timeout"])
  func retriedElsewhere(kind: String) throws {
    let bench = try FlowBench(
      FlowSetup(
        endpoints: 2,
        upstream: Self.noEjection
          + "balance: \"round-robin\", timeouts: { response: \"1s\" }, retries: { on: [\"\(kind)\"] }"))
    let bad = bench.origin(1) { connection, _ in
      switch kind {
      case "reset": connection.peer.reset()
      case "503": connection.reply("busy", status: "503 Service Unavailable")
      default: break
      }
    }
    let good = bench.origin(2)
    for number in 0..<4 { #expect(try bench.exchange(get("/\(number)")).text == "GET /\(number) ") }
    #expect(bad.requests.count >= 1 && good.requests.count == 4)
    bench.expectRest()
  }

  @Test("Where no endpoint is left to try, the last upstream's own answer is passed on")
  func lastAnswer() throws {
    let bench = try FlowBench(FlowSetup(upstream: "retries: { on: [\"503\"], attempts: 3 }"))
    bench.origin { connection, _ in connection.reply("closed for today", status: "503 Service Unavailable") }
    let response = try bench.exchange(get("/"))
    #expect(response.status == 503 && response.text == "closed for today")
    bench.expectRest()
  }

  @Test("A body that was kept is sent again whole; one that was not is not", arguments: [(1000, 200), (300_000, 502)])
  func replay(length: Int, status: Int) throws {
    let bench = try FlowBench(
      FlowSetup(endpoints: 2, upstream: Self.noEjection + "balance: \"round-robin\", retries: { on: [\"reset\"] }"))
    for number in 1...2 {
      var isFirst = true
      bench.origin(number) { connection, request in
        if isFirst, number == 1 || length > 100_000 {
          isFirst = false
          connection.peer.reset()
        } else {
          connection.reply("\(request.body.count)")
        }
      }
    }
    let body = String(repeating: "b", count: length)
    for _ in 0..<2 {
      let response = try bench.exchange("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \(length)\r\n\r\n\(body)")
      #expect(response.status == status)
      if status == 200 { #expect(response.text == "\(length)") }
    }
    bench.expectRest()
  }

  @Test(
    "An endpoint that fails again and again is left alone for a while, and then tried again", arguments: [UInt64](1...4)
  )
  func ejected(seed: UInt64) throws {
    let bench = try FlowBench(
      FlowSetup(
        endpoints: 2,
        upstream:
          "balance: \"round-robin\", ejection: { consecutiveFailures: 2, baseTime: \"10s\" }, retries: { attempts: 1 }"),
      seed: seed)
    let bad = bench.origin(1) { connection, _ in connection.peer.reset() }
    bench.origin(2)
    for _ in 0..<20 { #expect(try bench.exchange(get("/")).status == 200) }
    #expect(bad.requests.count == 2)
    bench.world.run(for: .seconds(11))
    for _ in 0..<4 { #expect(try bench.exchange(get("/")).status == 200) }
    #expect(bad.requests.count > 2)
    bench.expectRest()
  }

  @Test("Retries run within their budget")
  func budget() throws {
    let bench = try FlowBench(
      FlowSetup(
        endpoints: 2,
        upstream: Self.noEjection
          + "retries: { on: [\"timeout\"], budgetPercent: 0, budgetMinimum: 2 }, timeouts: { response: \"1s\" }"))
    let origins = (1...2).map { bench.origin($0) { _, _ in } }
    let clients = (0..<10).map { bench.client(get("/\($0)")) }
    bench.world.run(for: .milliseconds(1500))
    #expect(origins.reduce(0) { $0 + $1.requests.count } == 12)
    bench.world.run(for: .seconds(3))
    #expect(clients.allSatisfy { $0.statuses == [504] })
    for client in clients { client.peer.close() }
    bench.expectRest()
  }

  // MARK: Bounds

  @Test("More requests than the breaker allows are refused, and the bound is free again afterwards")
  func requestBound() throws {
    let bench = try FlowBench(FlowSetup(upstream: "limits: { requests: 2 }"))
    var held: [(Origin.Connection, WireMessage)] = []
    bench.origin { held.append(($0, $1)) }
    let clients = (0..<3).map { bench.client(get("/\($0)")) }
    bench.world.run(for: .milliseconds(50))
    #expect(clients.flatMap(\.statuses) == [503])
    for (connection, request) in held { Origin.echo(connection, request) }
    bench.world.run(for: .milliseconds(50))
    #expect(clients.flatMap(\.statuses).sorted() == [200, 200, 503])
    for client in clients { client.peer.close() }
    bench.expectRest()
  }

  @Test("Requests beyond the connection bound wait their turn, first come, first served", arguments: [UInt64](1...4))
  func fifo(seed: UInt64) throws {
    let bench = try FlowBench(FlowSetup(upstream: "limits: { connections: 1, pending: 5 }"), seed: seed)
    let origin = bench.origin { connection, request in
      connection.peer.after(.milliseconds(10)) { _ in Origin.echo(connection, request) }
    }
    var clients: [FlowClient] = []
    for number in 0..<8 {
      clients.append(bench.client(get("/\(number)")))
      bench.world.run(for: .milliseconds(1))
    }
    bench.world.run(for: .seconds(1))
    #expect(origin.targets == (0..<6).map { "/\($0)" })
    #expect(clients.flatMap(\.statuses) == [200, 200, 200, 200, 200, 200, 503, 503])
    #expect(origin.connections.count == 1)
    for client in clients { client.peer.close() }
    bench.expectRest()
  }

  @Test("A request that waits for a connection too long gets 504, and nobody blames the endpoint")
  func pendingTimeout() throws {
    let bench = try FlowBench(
      FlowSetup(
        upstream: "limits: { connections: 1 }, timeouts: { response: \"2s\" }, ejection: { consecutiveFailures: 1 }"))
    bench.origin { connection, request in
      if request.target == "/slow" {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")
      } else {
        Origin.echo(connection, request)
      }
    }
    let slow = bench.client(get("/slow"))
    bench.world.run(for: .milliseconds(10))
    let waiting = bench.client(get("/waits"))
    bench.world.run(for: .milliseconds(2100))
    #expect(waiting.statuses == [504])
    #expect(bench.plans[0].endpoints.endpoints[0].state.failures == 0)
    slow.peer.reset()
    waiting.peer.close()
    bench.expectRest()
  }

  @Test("An idle connection to one endpoint does not keep a request for another waiting", arguments: [UInt64](1...6))
  func idleElsewhere(seed: UInt64) throws {
    let bench = try FlowBench(
      FlowSetup(endpoints: 3, upstream: "balance: \"round-robin\", limits: { connections: 1 }"), seed: seed)
    for number in 1...3 { bench.origin(number) }
    for number in 0..<6 {
      let client = bench.client(get("/\(number)"))
      bench.world.run(for: .seconds(1))
      #expect(client.statuses == [200])
      client.peer.close()
    }
    bench.expectRest()
  }

  @Test("Loops that share a bound do not starve each other with what lies idle", arguments: [UInt64](1...4))
  func severalLoops(seed: UInt64) throws {
    let bench = try FlowBench(FlowSetup(upstream: "limits: { connections: 1 }"), seed: seed, loops: 3)
    bench.origin { connection, request in
      connection.peer.after(.milliseconds(30)) { _ in Origin.echo(connection, request) }
    }
    let clients = (0..<12).map { bench.client(get("/\($0)")) }
    bench.world.run(for: .seconds(4))
    #expect(clients.allSatisfy { $0.statuses == [200] })
    #expect(bench.nodes.count { $0.handler.clients.count > 0 } > 1)
    for client in clients { client.peer.close() }
    bench.world.settle()
    #expect(bench.nodes.allSatisfy { $0.handler.exchanges.count == 0 && $0.handler.clients.count == 0 })
    #expect(Int(bench.state().connections) == bench.nodes.reduce(0) { $0 + $1.handler.servers.count })
  }

  @Test(
    "When an upstream dies everybody who waits for it learns it, and nobody else's response suffers",
    arguments: [UInt64](1...8))
  func queueOfTheDead(seed: UInt64) throws {
    var conditions = Conditions.rough
    conditions.immediateRefusalChance = seed % 2 == 0 ? 1 : 0
    let bench = try FlowBench(
      FlowSetup(upstream: Self.noEjection + "limits: { connections: 1, pending: 1000 }, retries: { attempts: 0 }"),
      seed: seed,
      conditions)
    let origin = bench.origin { connection, request in
      connection.peer.after(.milliseconds(50)) { _ in connection.reply("the last one", "Connection: close\r\n") }
    }
    let first = bench.client(get("/first"))
    bench.world.run(for: .milliseconds(10))
    let waiting = (0..<300).map { bench.client(get("/\($0)")) }
    bench.world.run(for: .milliseconds(20))
    #expect(bench.state().pending == 300)
    origin.server.close()
    bench.world.run(for: .seconds(1))
    #expect(first.responses.map(\.text) == ["the last one"])
    #expect(waiting.allSatisfy { $0.statuses == [502] })
    for client in waiting + [first] { client.peer.close() }
    bench.expectRest()
  }
}
