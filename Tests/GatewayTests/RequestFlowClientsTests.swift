import Core
import Simulation
import Testing

@testable import Gateway

@Suite("RequestFlow: clients")
struct RequestFlowClientsTests {
  private static let times =
    "timeouts: { head: \"2s\", body: \"3s\", send: \"4s\", idle: \"5s\", linger: \"1s\", rateGrace: \"2s\" }"

  // MARK: Time limits

  @Test("A head that does not come in time is answered with 408, however steadily it drips")
  func headTimeout() throws {
    let bench = try FlowBench(FlowSetup(node: Self.times))
    let client = bench.client("GET / HTTP/1.1\r\nHost: a\r\n")
    for _ in 0..<15 {
      bench.world.run(for: .milliseconds(100))
      client.send("X: y\r\n")
    }
    #expect(client.responses.isEmpty)
    bench.world.run(for: .milliseconds(600))
    #expect(client.statuses == [408])
    #expect(client.responses.first?["connection"] == "close")
    bench.world.run(for: .seconds(2))
    #expect(client.peer.isOver)
    bench.expectRest()
  }

  @Test("A body that stops is answered with 408, and its upstream connection closed")
  func bodyTimeout() throws {
    let bench = try FlowBench(FlowSetup(node: Self.times))
    let origin = bench.origin()
    let client = bench.client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome")
    bench.world.run(for: .milliseconds(2900))
    #expect(client.responses.isEmpty)
    bench.world.run(for: .milliseconds(300))
    #expect(client.statuses == [408])
    #expect(origin.connections.first?.peer.isOver == true)
    bench.world.run(for: .seconds(2))
    bench.expectRest()
  }

  @Test(
    "A body that drips below the minimum rate is answered with 408, one above it is let be",
    arguments: [(1, 408), (60, 200)])
  func slowBody(bytes: Int, status: Int) throws {
    let bench = try FlowBench(FlowSetup(node: Self.times + ", limits: { minimumReceiveRate: \"240B\" }"))
    bench.origin { connection, request in connection.reply("\(request.body.count)") }
    let client = bench.client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(bytes * 40)\r\n\r\n")
    for _ in 0..<40 where !client.peer.isOver && client.responses.isEmpty {
      client.send(String(repeating: "x", count: bytes))
      bench.world.run(for: .milliseconds(200))
    }
    #expect(client.statuses == [status])
    client.peer.close()
    bench.expectRest()
  }

  @Test("A client that takes nothing of its response is cut off, and so is its upstream")
  func sendTimeout() throws {
    let bench = try FlowBench(FlowSetup(node: Self.times))
    let origin = bench.origin { connection, _ in connection.reply(String(repeating: "x", count: 1 << 20)) }
    let client = bench.client()
    client.peer.isReading = false
    client.send(get("/"))
    bench.world.run(for: .milliseconds(3900))
    #expect(!client.peer.isOver)
    bench.world.run(for: .milliseconds(500))
    #expect(client.peer.wasReset && client.responses.isEmpty)
    #expect(origin.connections.first?.peer.isOver == true)
    bench.expectRest()
  }

  @Test("A connection without requests ends after its idle time", arguments: ["", get("/")])
  func idle(before: String) throws {
    let bench = try FlowBench(FlowSetup(node: Self.times))
    bench.origin()
    let client = bench.client(before)
    bench.world.run(for: .milliseconds(4900))
    #expect(!client.peer.isOver)
    bench.world.run(for: .milliseconds(200))
    #expect(client.peer.hasEnded && !client.peer.wasReset)
    bench.expectRest()
  }

  @Test(
    "The total time of a route ends a request that waits with 504, and a response that streams by a reset",
    arguments: [true, false])
  func total(streams: Bool) throws {
    let bench = try FlowBench(FlowSetup(route: "upstream: \"main\", timeouts: { total: \"1s\" }"), .harsh)
    bench.origin { connection, _ in
      guard streams else { return }
      connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
      for number in 1...40 { connection.peer.after(.milliseconds(100 * number)) { $0.send("1\r\nx\r\n") } }
    }
    let client = bench.client(get("/"))
    bench.world.run(for: .milliseconds(900))
    #expect(!client.peer.isOver)
    bench.world.run(for: .milliseconds(200))
    #expect(client.statuses == (streams ? [] : [504]))
    #expect(client.peer.wasReset == streams)
    client.peer.close()
    bench.expectRest()
  }

  // MARK: Pressure

  @Test(
    "When the node is full the slowest give way: heads that drip, then bodies that stop, before anybody who is idle")
  func shedding() throws {
    let bench = try FlowBench(FlowSetup(node: "limits: { connectionsPerNode: 4 }"))
    bench.origin()
    let idle = bench.client(get("/idle"))
    bench.world.run { idle.statuses == [200] }
    let slowloris = bench.client("GET / HTTP/1.1\r\nHost:")
    bench.world.settle()
    let stalled = bench.client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
    bench.world.settle()
    let quiet = bench.client()
    bench.world.settle()
    var late: [FlowClient] = []
    func arrive() {
      late.append(bench.client(get("/late")))
      bench.world.run(for: .milliseconds(20))
    }
    arrive()
    #expect(slowloris.peer.wasReset && !stalled.peer.isOver && !idle.peer.isOver && !quiet.peer.isOver)
    arrive()
    #expect(stalled.peer.wasReset && !idle.peer.isOver && !quiet.peer.isOver)
    arrive()
    #expect(late.allSatisfy { $0.statuses == [200] })
    #expect([idle, quiet].filter(\.peer.wasReset).count == 1)
    for client in late + [idle, quiet] { client.peer.close() }
    bench.expectRest()
  }

  @Test("A full node whose connections all work refuses the next one, and serves those it has")
  func full() throws {
    let bench = try FlowBench(FlowSetup(node: "limits: { connectionsPerNode: 2 }"))
    var held: [(Origin.Connection, WireMessage)] = []
    bench.origin { held.append(($0, $1)) }
    let clients = (0..<2).map { bench.client(get("/\($0)")) }
    bench.world.run { held.count == 2 }
    let late = bench.client(get("/late"))
    bench.world.settle()
    #expect(late.peer.wasReset && late.responses.isEmpty)
    for (connection, request) in held { Origin.echo(connection, request) }
    bench.world.run { clients.allSatisfy { $0.statuses == [200] } }
    #expect(clients.allSatisfy { $0.statuses == [200] })
    for client in clients { client.peer.close() }
    bench.expectRest()
  }

  @Test("One address may have so many connections, others are not affected")
  func perAddress() throws {
    let bench = try FlowBench(FlowSetup(node: "limits: { connectionsPerAddress: 2 }"))
    bench.origin()
    let greedy = (0..<3).map { _ in bench.client() }
    bench.world.settle()
    #expect(greedy.filter(\.peer.wasReset).count == 1)
    let other = bench.client(get("/"), from: IPAddress(v4: 0xcb00_7102))
    bench.world.run { other.statuses == [200] }
    for client in greedy { client.peer.close() }
    bench.world.settle()
    #expect(try bench.exchange(get("/")).status == 200)
    other.peer.close()
    bench.expectRest()
  }

  @Test("Without descriptors accepting pauses, connections that make the node wait give way, and nothing spins")
  func descriptors() throws {
    let bench = try FlowBench(FlowSetup(routes: RequestFlowMessagesTests.local))
    bench.node.loop.descriptorLimit = 4
    let slow = (0..<3).map { _ in bench.client("GET /") }
    bench.world.settle()
    let late = bench.client(get("/local"))
    let turns = bench.node.loop.turnCount
    bench.world.run(within: .seconds(3)) { late.statuses == [200] }
    #expect(late.statuses == [200])
    #expect(bench.node.loop.turnCount - turns < 200)
    #expect(slow.contains { $0.peer.wasReset })
    for client in slow + [late] where !client.peer.wasReset { client.peer.close() }
    bench.expectRest()
  }

  // MARK: PROXY protocol

  @Test(
    "What is not a PROXY header is reset without an answer",
    arguments: [get("/"), "PROXY nonsense\r\n", "PROXY TCP4 1.2.3.4\r\n"])
  func notProxied(bytes: String) throws {
    let bench = try FlowBench(FlowSetup(listener: "proxyProtocol: true"))
    bench.origin()
    let client = bench.client(bytes)
    bench.world.run(for: .seconds(1))
    #expect(client.peer.wasReset && client.responses.isEmpty)
    bench.expectRest()
  }

  @Test("A PROXY header that does not come in time ends the connection")
  func proxyTimeout() throws {
    let bench = try FlowBench(FlowSetup(node: Self.times, listener: "proxyProtocol: true"))
    let client = bench.client("PROXY TCP4 ")
    bench.world.run(for: .milliseconds(2100))
    #expect(client.peer.isOver)
    bench.expectRest()
  }

  @Test(
    "A PROXY header names the client, in one piece or in many, with requests behind it or later",
    arguments: [UInt64](1...6), [true, false])
  func proxied(seed: UInt64, isAtOnce: Bool) throws {
    let bench = try FlowBench(
      FlowSetup(node: "limits: { connectionsPerAddress: 2 }", listener: "proxyProtocol: true"), seed: seed,
      seed % 2 == 0 ? .harsh : .rough)
    let origin = bench.origin()
    var clients: [FlowClient] = []
    for number in 1...3 {
      let client = bench.client("PROXY TCP4 198.51.100.7 10.0.0.1 4711 443\r\n" + (isAtOnce ? get("/\(number)") : ""))
      if !isAtOnce {
        bench.world.settle()
        if !client.peer.isOver { client.send(get("/\(number)")) }
      }
      bench.world.run(within: .seconds(1)) { client.statuses == [200] || client.peer.isOver }
      clients.append(client)
    }
    // The third is one too many of that address.
    #expect(clients.map(\.statuses) == [[200], [200], []])
    #expect(origin.requests.allSatisfy { $0["x-forwarded-for"] == "198.51.100.7" })
    for client in clients where !client.peer.isOver { client.peer.close() }
    bench.expectRest()
  }
}
