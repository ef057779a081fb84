import Core
import HTTP
import Pipeline
import Simulation
import Testing

@testable import Gateway

/// Knows callers for three seconds.
private final class Knowing: RequestHook {
  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    exchange.validUntil = WallTime(microseconds: services.world.wallTime.microseconds + 3_000_000)
    return .next
  }
}

@Suite("RequestFlow: WebSocket connections")
struct RequestFlowWebSocketTests {
  private static let upgrade = get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n")
  private static let accept = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"

  /// Frames of a server that do not end their message are plain ASCII.
  private func open(_ bench: FlowBench, greeting: String = "") -> (client: FlowClient, server: Origin.Connection) {
    let origin = bench.origin { connection, _ in
      connection.send(Self.accept + greeting)
    }
    origin.closesWithGateway = false
    origin.acceptsUpgrades = true
    let client = bench.client(Self.upgrade)
    bench.world.run { client.statuses == [101] }
    return (client, origin.connections[0])
  }

  @Test("Frames pass both ways, in pieces and behind the heads", arguments: [UInt64](1...6))
  func bothWays(seed: UInt64) throws {
    let bench = try FlowBench(seed: seed, seed % 2 == 0 ? .harsh : .rough)
    let (client, server) = open(bench, greeting: "\u{01}\u{05}hello")
    server.send("\u{00}\u{06} world")
    bench.world.run(within: .seconds(5)) { client.reader.tunnel.count == 15 }
    #expect(client.reader.tunnel == Array("\u{01}\u{05}hello\u{00}\u{06} world".utf8))
    client.peer.close()
    server.close()
    bench.expectRest()
  }

  @Test("A connection ends with a Close when its caller's token does, however busy it is")
  func expires() throws {
    let bench = try FlowBench(FlowSetup(chain: [Knowing()]))
    let (client, server) = open(bench)
    for number in 0..<5 {
      server.send(number == 0 ? "\u{01}\u{01}a" : "\u{00}\u{01}a")
      bench.world.run(for: .milliseconds(500))
    }
    let hasEnded = client.peer.hasEnded
    #expect(!hasEnded)
    bench.world.run(within: .seconds(1)) { client.peer.hasEnded && server.peer.hasEnded }
    #expect(client.reader.tunnel.suffix(4) == [0x88, 2, 0x03, 0xf0])
    client.peer.close()
    server.close()
    bench.expectRest()
  }

  @Test("A frame that is none ends the connection with a Close to both, behind what was whole")
  func malformed() throws {
    let bench = try FlowBench()
    let (client, server) = open(bench)
    server.send("\u{01}\u{02}ab")
    bench.world.run { client.reader.tunnel.count == 4 }
    // Clients must mask.
    client.send("\u{01}\u{02}ab")
    bench.world.run(within: .seconds(5)) { client.peer.hasEnded && server.peer.hasEnded }
    #expect(client.reader.tunnel == Array("\u{01}\u{02}ab".utf8) + [0x88, 2, 0x03, 0xea])
    let close = server.tunnel
    #expect(close.count == 8 && close.prefix(2) == [0x88, 0x82])
    #expect(close[6] ^ close[2] == 0x03 && close[7] ^ close[3] == 0xe9)
    client.peer.close()
    server.close()
    bench.expectRest()
  }

  @Test("In the middle of a server's frame the client gets no Close: it would be taken for payload")
  func middle() throws {
    let bench = try FlowBench()
    let (client, server) = open(bench)
    server.send("\u{01}\u{08}abc")
    bench.world.run { client.reader.tunnel.count == 5 }
    client.send("\u{01}\u{02}ab")
    bench.world.run(within: .seconds(5)) { client.peer.hasEnded }
    #expect(client.reader.tunnel == Array("\u{01}\u{08}abc".utf8))
    client.peer.close()
    server.close()
    bench.expectRest()
  }
}
