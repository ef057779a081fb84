import Core
import Simulation
import Testing

@testable import Gateway

@Suite("RequestFlow: tunnels")
struct RequestFlowTunnelTests {
  private static let upgrade = get("/ws", "Connection: Upgrade\r\nUpgrade: mirror\r\n")
  private static let accept = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: mirror\r\n\r\n"

  /// An origin that accepts the upgrade, says `greeting`, and then does what the test says with its peer.
  private func origin(_ bench: FlowBench, greeting: String = "") -> Origin {
    let origin = bench.origin { connection, _ in connection.send(Self.accept + greeting) }
    origin.closesWithGateway = false
    origin.acceptsUpgrades = true
    return origin
  }

  private func open(_ bench: FlowBench, _ origin: Origin) -> (client: FlowClient, server: Origin.Connection) {
    let client = bench.client(Self.upgrade)
    bench.world.run { client.statuses == [101] }
    return (client, origin.connections[0])
  }

  @Test("An upgrade that nobody asked for is a broken response")
  func unasked() throws {
    let bench = try FlowBench()
    _ = origin(bench)
    #expect(try bench.exchange(get("/")).status == 502)
    bench.expectRest()
  }

  @Test("An upgrade that the upstream does not want is an ordinary exchange")
  func declined() throws {
    let bench = try FlowBench()
    bench.origin()
    let client = bench.client(Self.upgrade + get("/after"))
    bench.world.run { client.responses.count == 2 }
    #expect(client.responses.map(\.text) == ["GET /ws ", "GET /after "])
    client.peer.close()
    bench.expectRest()
  }

  @Test("Bytes pass both ways, also those that come right behind the heads", arguments: [UInt64](1...8))
  func bothWays(seed: UInt64) throws {
    let bench = try FlowBench(seed: seed, seed % 2 == 0 ? .harsh : .rough)
    let origin = origin(bench, greeting: "hello")
    let client = bench.client(Self.upgrade + "early")
    bench.world.run { client.reader.tunnel.count == 5 && origin.connections.first?.tunnelText == "early" }
    #expect(String(decoding: client.reader.tunnel, as: UTF8.self) == "hello")
    #expect(origin.requests.first?["upgrade"] == "mirror")
    #expect(origin.requests.first?["connection"] == "upgrade")
    client.send(" more")
    origin.connections[0].send(" world")
    bench.world.run { client.reader.tunnel.count == 11 && origin.connections[0].tunnelText.count == 10 }
    #expect(origin.connections[0].tunnelText == "early more")
    client.peer.close()
    origin.connections[0].close()
    bench.expectRest()
  }

  @Test("When the client ends its direction the upstream learns it and can still answer", arguments: [UInt64](1...12))
  func clientEndsFirst(seed: UInt64) throws {
    let bench = try FlowBench(seed: seed, seed % 2 == 0 ? .harsh : .rough)
    let origin = origin(bench)
    let (client, server) = open(bench, origin)
    client.send("last words")
    client.peer.endSending()
    bench.world.run(within: .seconds(5)) { server.peer.hasEnded }
    #expect(server.tunnelText == "last words" && server.peer.hasEnded)
    let answer = String(repeating: "answer", count: 1000)
    server.send(answer)
    server.peer.endSending()
    bench.world.run(within: .seconds(5)) { client.peer.isOver }
    #expect(client.reader.tunnel == Array(answer.utf8))
    #expect(client.peer.hasEnded && !client.peer.wasReset && !server.peer.wasReset)
    bench.expectRest()
  }

  @Test("When the upstream ends its direction the client learns it and can still answer", arguments: [UInt64](1...12))
  func upstreamEndsFirst(seed: UInt64) throws {
    let bench = try FlowBench(seed: seed, seed % 2 == 0 ? .harsh : .rough)
    let origin = origin(bench)
    let (client, server) = open(bench, origin)
    server.send("last words")
    server.peer.endSending()
    bench.world.run(within: .seconds(5)) { client.peer.hasEnded }
    #expect(client.reader.tunnel == Array("last words".utf8) && client.peer.hasEnded)
    let answer = String(repeating: "answer", count: 3000)
    client.send(answer)
    client.peer.endSending()
    bench.world.run(within: .seconds(5)) { server.peer.isOver }
    #expect(server.tunnelText == answer)
    #expect(server.peer.hasEnded && !server.peer.wasReset && !client.peer.wasReset)
    bench.expectRest()
  }

  @Test("A client that ended its direction before the upgrade was accepted is still heard to have ended")
  func endsBeforeAcceptance() throws {
    let bench = try FlowBench()
    let origin = bench.origin { connection, _ in
      connection.peer.after(.milliseconds(50)) { _ in connection.send(Self.accept) }
    }
    origin.closesWithGateway = false
    origin.acceptsUpgrades = true
    let client = bench.client(Self.upgrade + "all of it")
    client.peer.endSending()
    bench.world.run(within: .seconds(5)) { origin.connections.first?.peer.hasEnded == true }
    #expect(origin.connections.first?.tunnelText == "all of it")
    #expect(origin.connections.first?.peer.hasEnded == true)
    origin.connections.first?.peer.close()
    bench.expectRest()
  }

  @Test("A side that does not read stops the other within bounded memory, either way", arguments: [true, false])
  func backPressure(clientReads: Bool) throws {
    let bench = try FlowBench()
    let origin = origin(bench)
    let (client, server) = open(bench, origin)
    let flood = [UInt8](repeating: 7, count: 1 << 20)
    let (sender, receiver) = clientReads ? (client.peer, server.peer) : (server.peer, client.peer)
    receiver.isReading = false
    sender.send(flood)
    bench.world.settle()
    let slot = client.slot(bench)
    #expect(bench.node.handler.exchanges[slot].toServer.count <= 2 << 16)
    #expect(bench.node.handler.exchanges[slot].toClient.count <= 2 << 16)
    #expect(sender.unsentCount > 1 << 18)
    receiver.isReading = true
    bench.world.run { (clientReads ? server.tunnel : client.reader.tunnel).count == flood.count }
    #expect((clientReads ? server.tunnel : client.reader.tunnel) == flood)
    client.peer.close()
    server.close()
    bench.expectRest()
  }

  @Test("A reset on either side tears the other down", arguments: [true, false])
  func reset(byClient: Bool) throws {
    let bench = try FlowBench()
    let origin = origin(bench)
    let (client, server) = open(bench, origin)
    if byClient { client.peer.reset() } else { server.peer.reset() }
    bench.world.settle()
    #expect((byClient ? server.peer : client.peer).wasReset)
    bench.expectRest()
  }

  @Test("A silent tunnel ends after its time limit, one that is used does not, and a route's total time does not count")
  func idle() throws {
    let bench = try FlowBench(
      FlowSetup(node: "timeouts: { tunnel: \"10s\" }", route: "upstream: \"main\", timeouts: { total: \"3s\" }"))
    let origin = origin(bench)
    let (client, server) = open(bench, origin)
    for _ in 0..<5 {
      bench.world.run(for: .seconds(6))
      server.send("x")
    }
    let turns = bench.node.loop.turnCount
    bench.world.run(for: .seconds(9))
    #expect(!client.peer.isOver && client.reader.tunnel.count == 5)
    #expect(bench.node.loop.turnCount - turns < 100)
    bench.world.run(for: .seconds(3))
    #expect(client.peer.isOver && server.peer.isOver)
    bench.expectRest()
  }
}

extension Origin.Connection {
  /// What came behind the request that was upgraded.
  var tunnel: [UInt8] { reader.tunnel }
  var tunnelText: String { String(decoding: tunnel, as: UTF8.self) }
}

extension FlowClient {
  /// The exchange of the gateway that serves this client.
  func slot(_ bench: FlowBench) -> Int32 {
    for index in bench.node.handler.clients.touchedIndexes
    where bench.node.handler.clients[index].state != .free
      && peer.address == .ip(bench.node.handler.clients[index].peer, port: bench.node.handler.clients[index].peerPort)
    {
      return bench.node.handler.clients[index].exchange
    }
    return -1
  }
}
