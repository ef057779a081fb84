import Core
import Simulation
import Testing

@testable import Gateway

@Suite("RequestFlow: bodies")
struct RequestFlowBodiesTests {
  private static let megabyte = String(repeating: "0123456789abcdef", count: 1 << 16)

  // MARK: Limits

  @Test(
    "A body beyond the route's limit is refused, with a length at once, in chunks as soon as it is beyond",
    arguments: [
      post("/", String(repeating: "x", count: 101)),
      postChunks("/", "65\r\n" + String(repeating: "x", count: 101) + "\r\n0\r\n\r\n"),
      postChunks("/", String(repeating: "1\r\nx\r\n", count: 101) + "0\r\n\r\n"),
    ], [UInt64](1...3))
  func tooLarge(request: String, seed: UInt64) throws {
    let bench = try FlowBench(FlowSetup(route: "upstream: \"main\", limits: { body: \"100B\" }"), seed: seed)
    let origin = bench.origin()
    let client = bench.client(request + get("/next"))
    bench.world.run(for: .seconds(10))
    #expect(client.statuses == [413])
    #expect(client.responses.first?["connection"] == "close")
    #expect(client.peer.hasEnded && !client.peer.wasReset)
    #expect(origin.requests.isEmpty)
    client.peer.close()
    bench.expectRest()
  }

  @Test(
    "An answer of the gateway's own to a request whose body is broken or still to come closes the connection",
    arguments: [
      "POST /local HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhalf", postChunks("/local", "3\r\nab"),
      postChunks("/local", "zz\r\n"), postChunks("/local", "3\r\nabcd\r\n0\r\n\r\n"),
    ])
  func unreadBody(request: String) throws {
    let bench = try FlowBench(FlowSetup(routes: RequestFlowMessagesTests.local), .calm)
    let client = bench.client(request)
    bench.world.run(for: .milliseconds(100))
    if !client.peer.isOver { client.send(get("/local")) }
    bench.world.run(for: .seconds(8))
    #expect(client.statuses == [200])
    #expect(client.responses.first?["connection"] == "close")
    client.peer.close()
    bench.expectRest()
  }

  @Test("A body that came whole with a request that is answered at once is skipped, and the next request served")
  func skippedBody() throws {
    let bench = try FlowBench(FlowSetup(routes: RequestFlowMessagesTests.local), .calm)
    bench.origin()
    let client = bench.client(
      post("/local", get("/evil")) + postChunks("/local", "3\r\nabc\r\n0\r\nT: 1\r\n\r\n") + get("/next"))
    bench.world.run { client.responses.count == 3 }
    #expect(client.responses.map(\.text) == ["here", "here", "GET /next "])
    client.peer.close()
    bench.expectRest()
  }

  @Test(
    "A body of exactly the limit passes",
    arguments: [
      post("/", String(repeating: "x", count: 100)),
      postChunks("/", String(repeating: "1\r\nx\r\n", count: 100) + "0\r\n\r\n"),
    ])
  func atTheLimit(request: String) throws {
    let bench = try FlowBench(FlowSetup(route: "upstream: \"main\", limits: { body: \"100B\" }"))
    bench.origin { connection, request in connection.reply("\(request.body.count)") }
    #expect(try bench.exchange(request).text == "100")
    bench.expectRest()
  }

  @Test(
    "Chunks that are none are refused and nothing of what follows is served, also when the request is on its way already",
    arguments: [
      "zz\r\n", "5\r\nhelloX\r\n", "-1\r\n", "5\nhello\r\n", "0\r\nbad field\r\n\r\n", "fffffffffffffffff\r\n",
    ],
    [UInt64](1...3))
  func badChunks(chunks: String, seed: UInt64) throws {
    let bench = try FlowBench(seed: seed)
    let origin = bench.origin()
    let client = bench.client(postChunks("/", "3\r\nabc\r\n"))
    bench.world.run(for: .milliseconds(20))
    client.send(chunks + get("/evil"))
    bench.world.run(for: .seconds(8))
    #expect(client.statuses == [400])
    #expect(origin.requests.isEmpty)
    #expect(try bench.exchange(get("/good")).status == 200)
    client.peer.close()
    bench.expectRest()
  }

  // MARK: Back-pressure

  @Test("A client that does not read stops the upstream within bounded memory", arguments: [true, false])
  func slowClient(isChunked: Bool) throws {
    let bench = try FlowBench()
    bench.origin { connection, _ in
      if isChunked {
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n\(Self.megabyte)\r\n0\r\n\r\n")
      } else {
        connection.reply(Self.megabyte)
      }
    }
    let client = bench.client()
    client.peer.isReading = false
    client.send(get("/"))
    bench.world.settle()
    let slot = client.slot(bench)
    #expect(bench.node.handler.exchanges[slot].toClient.count <= 66_000)
    #expect(bench.node.handler.exchanges[slot].serverInput.count <= 66_000)
    client.peer.isReading = true
    bench.world.run { !client.responses.isEmpty }
    #expect(client.responses.first?.text == Self.megabyte)
    client.peer.close()
    bench.expectRest()
  }

  @Test("An upstream that does not read stops the client within bounded memory", arguments: [true, false])
  func slowUpstream(isChunked: Bool) throws {
    let bench = try FlowBench()
    let origin = bench.origin { connection, request in connection.reply("\(request.body.count)") }
    origin.onChange = { if $0.reader.messages.isEmpty, $0.peer.receivedCount < 1000 { $0.peer.isReading = false } }
    let body = isChunked ? postChunks("/", "100000\r\n\(Self.megabyte)\r\n0\r\n\r\n") : post("/", Self.megabyte)
    let client = bench.client(body)
    bench.world.settle()
    let slot = client.slot(bench)
    #expect(bench.node.handler.exchanges[slot].toServer.count <= 2 * 66_000)
    #expect(bench.node.handler.exchanges[slot].clientInput.count <= 66_000)
    #expect(client.peer.unsentCount > 1 << 18)
    origin.onChange = nil
    origin.connections[0].peer.isReading = true
    bench.world.run { !client.responses.isEmpty }
    #expect(client.responses.first?.text == "\(1 << 20)")
    client.peer.close()
    bench.expectRest()
  }

  @Test("A body streams through before it is complete, event by event, both ways")
  func streaming() throws {
    let bench = try FlowBench()
    let origin = bench.origin { connection, _ in
      connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
    }
    let client = bench.client(postChunks("/", "3\r\none\r\n"))
    bench.world.run { origin.connections.first?.reader.partial?.body.count == 3 }
    client.send("3\r\ntwo\r\n")
    bench.world.run { origin.connections.first?.reader.partial?.body.count == 6 }
    #expect(origin.connections.first?.reader.partial?.text == "onetwo")
    client.send("0\r\n\r\n")
    bench.world.run { client.reader.partial?.text == "data: 1\n\n" }
    origin.connections[0].send("data: 2\n\n")
    bench.world.run { client.reader.partial?.text == "data: 1\n\ndata: 2\n\n" }
    #expect(client.reader.partial?.text == "data: 1\n\ndata: 2\n\n")
    client.peer.reset()
    bench.world.settle()
    #expect(origin.connections[0].peer.isOver)
    bench.expectRest()
  }

  @Test("Once the head has come, only the pauses of a response are limited")
  func pauses() throws {
    let bench = try FlowBench(FlowSetup(upstream: "timeouts: { response: \"2s\", idle: \"10s\" }"))
    bench.origin { connection, _ in connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n") }
    let client = bench.client(get("/"))
    bench.world.run(for: .milliseconds(9_900))
    #expect(client.reader.partial?.status == 200 && !client.peer.isOver)
    bench.world.run(for: .milliseconds(200))
    #expect(client.peer.wasReset && client.responses.isEmpty)
    bench.expectRest()
  }

  @Test("Large bodies arrive whole both ways on any network", arguments: [Conditions.calm, .rough], [UInt64](1...3))
  func large(conditions: Conditions, seed: UInt64) throws {
    let bench = try FlowBench(seed: seed, conditions)
    bench.origin { connection, request in connection.reply(request.text) }
    let text = String(Self.megabyte.prefix(300_000))
    #expect(try bench.exchange(post("/", text)).text == text)
    #expect(
      try bench.exchange(postChunks("/", "7530\r\n" + text.prefix(30_000) + "\r\n0\r\n\r\n")).text
        == text.prefix(30_000))
    bench.expectRest()
  }
}
