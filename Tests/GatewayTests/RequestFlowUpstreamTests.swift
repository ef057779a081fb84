import Core
import Simulation
import Testing
import Traffic

@testable import Gateway

@Suite("RequestFlow: upstream connections")
struct RequestFlowUpstreamTests {
  // MARK: What upstreams do wrong

  @Test(
    "An upstream that fails before its response began is a 502, for a request that may not be repeated",
    arguments: [
      "", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\nContent-Le", "garbage\r\n\r\n", "HTTP/1.1 200 OK\nX: y\n\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    [true, false])
  func brokenHead(bytes: String, resets: Bool) throws {
    let bench = try FlowBench()
    bench.origin { connection, _ in
      connection.send(bytes)
      connection.peer.after(.milliseconds(5)) { if resets { $0.reset() } else { $0.close() } }
    }
    let response = try bench.exchange(post("/", "x"))
    #expect(response.status == 502)
    #expect(response["content-type"] == "application/problem+json")
    bench.expectRest()
  }

  @Test(
    "A response that breaks off never looks complete",
    arguments: [
      "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf of it",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nSum: 1\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    ], [UInt64](1...4))
  func brokenBody(bytes: String, seed: UInt64) throws {
    let bench = try FlowBench(seed: seed)
    bench.origin { connection, _ in
      connection.send(bytes)
      connection.close()
    }
    let client = bench.client(get("/"))
    let old = bench.client("GET / HTTP/1.0\r\n\r\n")
    bench.world.run(for: .seconds(1))
    for client in [client, old] {
      #expect(client.peer.wasReset && client.responses.isEmpty)
    }
    bench.expectRest()
  }

  @Test("What an upstream sends between two requests is nobody's response", arguments: [-20, 0, 1, 20])
  func surplusResponse(delay: Int) throws {
    var conditions = Conditions.calm
    conditions.turnDelay = .microseconds(50) ... .microseconds(50)
    let bench = try FlowBench(FlowSetup(), conditions)
    let origin = bench.origin()
    let client = bench.client(get("/1"))
    bench.world.run { client.responses.count == 1 }
    bench.world.run(for: .milliseconds(1))
    // Both arrive before the same turn, in this order. Once the request has been sent, nobody can tell.
    client.peer.after(.microseconds(max(0, -delay))) { _ in client.send(get("/2")) }
    client.peer.after(.microseconds(max(0, delay))) { _ in
      origin.connections[0].send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    }
    bench.world.run { client.responses.count == 2 }
    #expect(client.responses.last?.text == "GET /2 ")
    #expect(origin.connections.count == 2)
    client.peer.close()
    bench.expectRest()
  }

  @Test("A reset in a body without a length is not its end", arguments: [UInt64](1...4))
  func resetUntilClose(seed: UInt64) throws {
    let bench = try FlowBench(seed: seed)
    bench.origin { connection, _ in
      connection.send("HTTP/1.1 200 OK\r\n\r\npart")
      connection.peer.after(.milliseconds(10)) { $0.reset() }
    }
    let client = bench.client(get("/"))
    bench.world.run(for: .seconds(1))
    #expect(client.peer.wasReset && client.responses.isEmpty)
    bench.expectRest()
  }

  // MARK: Reuse

  @Test(
    "A connection whose next bytes cannot be trusted serves no second request",
    arguments: [
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\noksurplus",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ], [UInt64](1...4))
  func neverReused(response: String, seed: UInt64) throws {
    let bench = try FlowBench(seed: seed)
    let origin = bench.origin { connection, _ in connection.send(response) }
    for _ in 0..<3 {
      #expect(try bench.exchange(get("/")).text == "ok")
      bench.world.settle()
    }
    #expect(origin.connections.count == 3)
    #expect(origin.connections.allSatisfy { $0.reader.messages.count == 1 })
    bench.expectRest()
  }

  @Test(
    "An endpoint that once sent what nobody asked for gets a connection for every request",
    arguments: ["with the response", "between two requests"])
  func distrusted(moment: String) throws {
    let bench = try FlowBench()
    var surplus = moment == "with the response" ? "surplus" : ""
    let origin = bench.origin { connection, _ in
      connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + surplus)
      surplus = ""
    }
    #expect(try bench.exchange(get("/")).text == "ok")
    bench.world.settle()
    if moment == "between two requests" {
      origin.connections[0].send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
      bench.world.settle()
    }
    for count in 2...4 {
      #expect(try bench.exchange(get("/")).text == "ok")
      bench.world.settle()
      #expect(origin.connections.count == count)
    }
    #expect(bench.count(.upstreamBytesUnasked) == 1)
    bench.expectRest()
  }

  @Test(
    "A response before the request's end is passed on, and neither connection is used again", arguments: [UInt64](1...6)
  )
  func earlyResponse(seed: UInt64) throws {
    let bench = try FlowBench(seed: seed)
    let origin = bench.origin()
    origin.onChange = { connection in
      if connection.reader.partial != nil { connection.onceReply("enough", status: "403 Forbidden") }
    }
    let client = bench.client(
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + String(repeating: "x", count: 1000))
    bench.world.run { !client.responses.isEmpty }
    client.send(String(repeating: "y", count: 100_000))
    bench.world.run(for: .seconds(8))
    #expect(client.responses.map(\.text) == ["enough"])
    #expect(client.responses.first?["connection"] == "close")
    #expect(client.peer.isOver)
    #expect(origin.connections.first?.peer.isOver == true)
    #expect(bench.node.handler.pool.totalCount == 0)
    bench.expectRest()
  }

  @Test(
    "An upstream that answers and closes while the body still streams has its answer passed on",
    arguments: [UInt64](1...12))
  func earlyResponseThenClosed(seed: UInt64) throws {
    let bench = try FlowBench(seed: seed)
    let origin = bench.origin()
    origin.onChange = { connection in
      guard connection.reader.partial != nil else { return }
      connection.onceReply("too large", status: "413 Content Too Large")
      connection.close()
    }
    let client = bench.client(
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + String(repeating: "x", count: 200_000))
    bench.world.run { client.peer.isOver || !client.responses.isEmpty }
    #expect(client.responses.map(\.status) == [413])
    client.peer.close()
    bench.expectRest()
  }

  @Test("A connection that its upstream closes while idle is let go")
  func closedIdle() throws {
    let bench = try FlowBench()
    let origin = bench.origin()
    _ = try bench.exchange(get("/"))
    origin.connections[0].close()
    bench.world.settle()
    #expect(bench.node.handler.pool.totalCount == 0)
    #expect(try bench.exchange(get("/")).status == 200)
    bench.expectRest()
  }

  @Test("An idle connection is closed when its time is over")
  func idleTimeout() throws {
    let bench = try FlowBench(FlowSetup(upstream: "limits: { idleTimeout: \"5s\" }"))
    let origin = bench.origin()
    _ = try bench.exchange(get("/"))
    bench.world.run(for: .seconds(4))
    #expect(bench.node.handler.pool.idleCount == 1)
    bench.world.run(for: .seconds(2))
    #expect(bench.node.handler.pool.totalCount == 0)
    #expect(origin.connections.first?.peer.hasEnded == true)
  }

  @Test("A connection serves as many requests as its upstream allows, and no more")
  func requestsPerConnection() throws {
    let bench = try FlowBench(FlowSetup(upstream: "limits: { requestsPerConnection: 2 }"))
    let origin = bench.origin()
    for _ in 0..<5 { _ = try bench.exchange(get("/")) }
    #expect(origin.connections.map { $0.reader.messages.count } == [2, 2, 1])
    bench.expectRest()
  }

  @Test(
    "A pooled connection that turns out stale costs neither the client nor the endpoint anything",
    arguments: [UInt64](1...8))
  func stale(seed: UInt64) throws {
    let bench = try FlowBench(
      FlowSetup(upstream: "ejection: { consecutiveFailures: 1 }, retries: { attempts: 0 }"), seed: seed)
    let origin = bench.origin { connection, request in
      if connection.reader.messages.count > 1 { connection.peer.reset() } else { Origin.echo(connection, request) }
    }
    for number in 0..<3 { #expect(try bench.exchange(get("/\(number)")).text == "GET /\(number) ") }
    #expect(origin.connections.count == 3)
    #expect(bench.plans[0].endpoints.endpoints[0].state.failures == 0)
    bench.expectRest()
  }

  @Test("A request that may not be repeated is not, even on a stale connection")
  func stalePost() throws {
    let bench = try FlowBench()
    let origin = bench.origin { connection, request in
      if connection.reader.messages.count > 1 { connection.peer.reset() } else { Origin.echo(connection, request) }
    }
    #expect(try bench.exchange(post("/1", "a")).status == 200)
    #expect(try bench.exchange(post("/2", "b")).status == 502)
    #expect(origin.targets == ["/1", "/2"])
    bench.expectRest()
  }

  @Test("What an upstream says as soon as it is connected to is heard", arguments: [UInt64](1...8))
  func speaksFirst(seed: UInt64) throws {
    let bench = try FlowBench(FlowSetup(upstream: "retries: { attempts: 0 }"), seed: seed)
    bench.world.serve(FlowBench.endpoint(1)) { peer in
      guard peer.receivedCount == 0, !peer.isOver, peer.isReading else { return }
      peer.isReading = false
      peer.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
      peer.endSending()
    }
    let client = bench.client(get("/"))
    bench.world.run(within: .seconds(2)) { !client.responses.isEmpty }
    #expect([502, 503].contains(client.statuses.first))
    client.peer.close()
    bench.expectRest()
  }
}
