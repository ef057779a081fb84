import Cluster
import Core
import Simulation
import Testing

@testable import Gateway

/// Clients and origins of every temper, drawn from a seed. Each response says which request it answers and how long it
/// is, so that a wrong, mixed up or shortened one cannot pass for a right one.
final class Soak {
  private struct Dice {
    var generator: SeededGenerator
    mutating func roll(_ sides: Int) -> Int { generator.number(in: 0...(sides - 1)) }
  }

  private struct Expected {
    var target: String
    var body: String
    var method: String
    var isLocal: Bool
  }

  private final class Visitor {
    let client: FlowClient
    var expected: [Expected] = []
    /// It broke the rules or left in the middle: only what is complete is judged.
    var isRude = false
    init(_ client: FlowClient) { self.client = client }
  }

  let bench: FlowBench
  private var dice: Dice
  private var visitors: [Visitor] = []
  private(set) var completeCount = 0
  private(set) var refusedCount = 0

  /// With `policies` of the main route, and what decides their limits.
  init(
    seed: UInt64, resetChance: Double, policies: String = "", isSecured: Bool = false,
    prepare: (SimulatedWorld) -> Void = { _ in },
    store: ((SimulatedLoop) throws -> SharedQuota)? = nil
  ) throws {
    dice = Dice(generator: SeededGenerator(seed: seed))
    var conditions = seed % 2 == 0 ? Conditions.harsh : .rough
    conditions.resetChance = resetChance
    bench = try FlowBench(
      FlowSetup(
        node: "timeouts: { head: \"2s\", body: \"2s\", send: \"3s\", idle: \"4s\", linger: \"1s\", tunnel: \"3s\" }, "
          + "limits: { connectionsPerNode: 150 }",
        listener: isSecured ? FlowSetup.secure : "",
        endpoints: 3,
        upstream: "limits: { connections: 12, pending: 40, idlePerEndpoint: 3, idleTimeout: \"3s\" }, "
          + "timeouts: { connect: \"500ms\", response: \"1500ms\", idle: \"2s\" }, retries: { attempts: 2, on: [\"reset\", \"connect-failure\", \"503\"] }",
        route:
          "\(policies) upstream: \"main\", limits: { body: \"50KiB\" }, mirror: { upstream: \"other\", percent: 20 }, timeouts: { total: \"6s\" }",
        routes: RequestFlowMessagesTests.local), seed: seed, conditions, prepare: prepare, store: store)
    if isSecured { bench.tls = try FlowBench.trusting() }
    for number in 1...3 { bench.origin(number) { [unowned self] in answer($0, $1) }.acceptsUpgrades = true }
    bench.otherOrigin { [unowned self] in answer($0, $1) }
  }

  /// The body of the right response: long for some targets.
  private static func content(_ method: String, _ target: String, _ body: String) -> String {
    let repeats = target.hasSuffix("7") ? 400 : 1
    return String(repeating: "\(method) \(target) \(body.utf8.count);", count: repeats)
  }

  // MARK: Origins

  private func answer(_ connection: Origin.Connection, _ request: WireMessage) {
    let delay = Duration.milliseconds(dice.roll(5) == 0 ? dice.roll(2500) : dice.roll(20))
    let mood = dice.roll(24)
    connection.peer.after(delay) { [weak self] _ in self?.reply(connection, request, mood) }
  }

  private func reply(_ connection: Origin.Connection, _ request: WireMessage, _ mood: Int) {
    let content = Self.content(request.method, request.target, request.text)
    let half = String(content.prefix(content.utf8.count / 2))
    if request.fields["upgrade"] != nil {
      connection.send("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello")
      if mood < 12 { connection.close() }
      return
    }
    switch mood {
    case 0: connection.peer.reset()
    case 1: connection.close()
    case 2:
      connection.send("HTTP/1.1 200 OK\r\nContent-Length: \(content.utf8.count)\r\n\r\n\(half)")
      connection.close()
    case 3:
      connection.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\(String(half.utf8.count, radix: 16))\r\n\(half)\r\n")
      connection.close()
    case 4: connection.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")
    case 5: break
    case 6: connection.reply("busy", status: "503 Service Unavailable")
    case 7:
      connection.reply(content)
      connection.send("surplus")
    case 8:
      connection.reply(content, "Connection: close\r\n")
      connection.close()
    case 9, 10, 11:
      var text = "HTTP/1.1 103 Hint\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      let rest = content.dropFirst(half.count)
      for part in [half, String(rest)] where !part.isEmpty {
        text += "\(String(part.utf8.count, radix: 16))\r\n\(part)\r\n"
      }
      connection.send(text + "0\r\nSum: 1\r\n\r\n")
    default: connection.reply(content)
    }
  }

  // MARK: Clients

  /// Lets a visitor arrive and do whatever it does.
  func arrive() {
    let visitor = Visitor(bench.client(from: IPAddress(v4: 0xcb00_7100 + UInt32(dice.roll(200)))))
    visitors.append(visitor)
    let (client, peer) = (visitor.client, visitor.client.peer)
    switch dice.roll(12) {
    case 0:
      visitor.isRude = true
      client.send("GET / HTTP/1.1\r\nHost")
    case 1:
      visitor.isRude = true
      client.send(post("/", "x").dropLast(1) + "")
      peer.after(.milliseconds(dice.roll(3000))) { $0.reset() }
    case 2:
      visitor.isRude = true
      client.send(postChunks("/", "3\r\nabcd\r\n"))
    case 3:
      visitor.isRude = true
      client.send(get("/up", "Connection: upgrade\r\nUpgrade: x\r\n") + "early")
      peer.after(.milliseconds(dice.roll(2000))) { _ in client.endSending() }
    case 4:
      visitor.isRude = true
      request(visitor, dice.roll(100))
      peer.after(.milliseconds(dice.roll(100))) { $0.reset() }
    case 5:
      peer.isReading = false
      for _ in 0..<3 { request(visitor, 7) }
      peer.after(.milliseconds(dice.roll(1500))) { $0.isReading = true }
    case 6:
      for number in 0...dice.roll(10) { request(visitor, number) }
      client.endSending()
    default:
      for step in 0...dice.roll(4) {
        peer.after(.milliseconds(step * dice.roll(200))) { [self] peer in
          if !peer.isOver { request(visitor, dice.roll(1000)) }
        }
      }
    }
  }

  private func request(_ visitor: Visitor, _ number: Int) {
    let body = String(repeating: "b", count: dice.roll(4) == 0 ? dice.roll(8_000) : dice.roll(40))
    switch dice.roll(5) {
    case 0:
      visitor.expected.append(Expected(target: "/local", body: "", method: "GET", isLocal: true))
      visitor.client.send(get("/local"))
    case 1:
      visitor.expected.append(Expected(target: "/p\(number)", body: body, method: "POST", isLocal: false))
      visitor.client.send(post("/p\(number)", body))
    case 2:
      visitor.expected.append(Expected(target: "/c\(number)", body: body, method: "POST", isLocal: false))
      let chunk = body.isEmpty ? "" : "\(String(body.utf8.count, radix: 16))\r\n\(body)\r\n"
      visitor.client.send(postChunks("/c\(number)", chunk + "0\r\n\r\n"))
    default:
      visitor.expected.append(Expected(target: "/g\(number)", body: "", method: "GET", isLocal: false))
      visitor.client.send(get("/g\(number)"))
    }
  }

  // MARK: Judgement

  func judge() {
    for visitor in visitors {
      let client = visitor.client
      #expect(client.reader.fault == nil)
      if client.reader.isTruncated { #expect(client.peer.wasReset) }
      guard !visitor.isRude else { continue }
      #expect(client.responses.count <= visitor.expected.count)
      for (response, request) in zip(client.responses, visitor.expected) {
        completeCount += 1
        if request.isLocal {
          #expect(response.text == "here" || response.status == 503)
        } else if response.status == 200 {
          #expect(response.text == Self.content(request.method, request.target, request.body))
        } else {
          #expect([408, 429, 502, 503, 504].contains(response.status))
          if response.status == 429 { refusedCount += 1 }
        }
      }
    }
  }

  func leave() {
    for visitor in visitors where !visitor.client.peer.isOver { visitor.client.peer.close() }
  }
}

@Suite("RequestFlow: soak")
struct RequestFlowSoakTests {
  @Test(
    "Hundreds of clients and origins of every temper: what looks complete is right, and in the end nothing is left",
    arguments: [UInt64](1...8))
  func soak(seed: UInt64) throws {
    let soak = try Soak(seed: seed, resetChance: seed % 4 < 2 ? 0 : 0.002)
    for _ in 0..<25 {
      for _ in 0..<8 { soak.arrive() }
      soak.bench.world.run(for: .milliseconds(40))
    }
    soak.bench.world.run(for: .seconds(10))
    soak.leave()
    soak.bench.world.run(for: .seconds(60))
    soak.judge()
    #expect(soak.completeCount > 100)
    soak.bench.expectRest()
    #expect(soak.bench.node.handler.pool.totalCount == 0)
    #expect(soak.bench.node.loop.openSockets == 1)
  }

  @Test(
    "The same over TLS",
    arguments: [UInt64](11...16))
  func securedSoak(seed: UInt64) throws {
    let soak = try Soak(seed: seed, resetChance: seed % 4 < 2 ? 0 : 0.002, isSecured: true)
    for _ in 0..<25 {
      for _ in 0..<8 { soak.arrive() }
      soak.bench.world.run(for: .milliseconds(40))
    }
    soak.bench.world.run(for: .seconds(10))
    soak.leave()
    soak.bench.world.run(for: .seconds(60))
    soak.judge()
    #expect(soak.completeCount > 40)
    #expect(soak.bench.count(.handshakesFull) + soak.bench.count(.handshakesResumed) > 60)
    soak.bench.expectRest()
    #expect(soak.bench.node.loop.openSockets == 1)
  }

  @Test("The same seed makes the same run, to the byte")
  func reproducible() throws {
    func run() throws -> UInt64 {
      let soak = try Soak(seed: 99, resetChance: 0.001)
      for _ in 0..<50 { soak.arrive() }
      soak.bench.world.run(for: .seconds(3))
      return soak.bench.world.fingerprint
    }
    #expect(try run() == run())
  }
}
