import Core
import Simulation
import Testing

private let port = SocketAddress.ip(IPAddress(v4: 0x0a00_0001), port: 80)

@Suite struct SimulatedWorldTests {
  private func echo(_ world: SimulatedWorld) throws -> SimulatedNode<EchoServer> {
    try world.start { loop in try EchoServer(loop, port) }
  }

  @Test("A connection to nobody is refused, one to a silent network times out")
  func noListener() {
    let world = SimulatedWorld(seed: 1)
    let refused = world.connect(to: port)
    world.settle()
    #expect(refused.failure == .refused)
    #expect(!refused.isConnected)
    world.ignore(port)
    let ignored = world.connect(to: port)
    world.run(for: .seconds(126))
    #expect(ignored.failure == nil)
    world.run(for: .seconds(2))
    #expect(ignored.failure == .timedOut)
  }

  @Test(
    "An echo returns every byte and ends, on any network",
    arguments: [(Conditions.calm, 200_000), (.rough, 20_000), (.harsh, 2_000)], [UInt64](1...10))
  func echoes(network: (Conditions, Int), seed: UInt64) throws {
    let world = SimulatedWorld(seed: seed, network.0)
    let node = try echo(world)
    let sent = (0..<network.1).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 2) }
    let peers = (0..<3).map { _ in world.connect(to: port) }
    for peer in peers {
      peer.send(sent)
      peer.endSending()
    }
    #expect(world.settle())
    for peer in peers {
      #expect(peer.received == sent)
      #expect(peer.hasEnded && !peer.wasReset)
    }
    #expect(node.loop.openSockets == 1)
  }

  @Test("Equal seeds make equal traces, other seeds other ones")
  func reproducible() throws {
    func run(_ seed: UInt64) throws -> (UInt64, [String]) {
      let world = SimulatedWorld(seed: seed)
      world.isTracing = true
      _ = try echo(world)
      for count in [10, 5_000, 300] { world.connect(to: port).send([UInt8](repeating: 1, count: count)) }
      world.settle()
      return (world.fingerprint, world.trace)
    }
    let first = try run(7)
    let second = try run(7)
    #expect(first.0 == second.0)
    #expect(first.1 == second.1)
    #expect(try run(8).0 != first.0)
  }

  @Test("A peer that does not read halts the sender within its buffers, and reading lets it go on")
  func backPressure() throws {
    let world = SimulatedWorld(seed: 3)
    _ = try echo(world)
    let peer = world.connect(to: port)
    peer.isReading = false
    peer.send([UInt8](repeating: 5, count: 1 << 18))
    peer.endSending()
    world.settle()
    #expect(peer.received.isEmpty)
    #expect(peer.unsentCount > 1 << 15)
    peer.isReading = true
    world.settle()
    #expect(peer.received.count == 1 << 18)
    #expect(peer.hasEnded)
  }

  @Test("A reset by the peer reaches the node, which lets the connection go")
  func peerResets() throws {
    let world = SimulatedWorld(seed: 4)
    let node = try echo(world)
    let peer = world.connect(to: port)
    peer.send([1, 2, 3])
    world.run(until: { peer.received.count == 3 })
    peer.reset()
    world.settle()
    #expect(node.loop.openSockets == 1)
    #expect(node.isRunning)
  }

  @Test("Resets by the network are survived", arguments: [UInt64](1...20))
  func networkResets(seed: UInt64) throws {
    var conditions = Conditions.rough
    conditions.resetChance = 0.02
    let world = SimulatedWorld(seed: seed, conditions)
    let node = try echo(world)
    let peers = (0..<10).map { _ in world.connect(to: port, sending: String(repeating: "x", count: 20_000)) }
    for peer in peers { peer.after(.seconds(1)) { $0.endSending() } }
    #expect(world.settle())
    #expect(peers.contains { $0.wasReset })
    #expect(node.loop.openSockets == 1)
  }

  @Test("Without descriptors accepting pauses and goes on without spinning")
  func exhausted() throws {
    let world = SimulatedWorld(seed: 5)
    let node = try echo(world)
    node.loop.descriptorLimit = 2
    let first = world.connect(to: port, sending: "a")
    world.run(until: { first.text == "a" })
    let second = world.connect(to: port, sending: "b")
    world.run(for: .seconds(1))
    #expect(second.isConnected && second.text.isEmpty)
    #expect(node.handler.wasExhausted)
    #expect(node.loop.turnCount < 300)
    first.endSending()
    #expect(world.run(until: { second.text == "b" }))
  }

  @Test("A frozen link holds what was sent and loses nothing")
  func frozenLink() throws {
    let world = SimulatedWorld(seed: 6)
    _ = try echo(world)
    let peer = world.connect(to: port, sending: "before")
    world.run(until: { peer.text == "before" })
    world.freeze(port)
    peer.send(" after")
    world.run(for: .seconds(10))
    #expect(peer.text == "before")
    world.thaw(port)
    world.settle()
    #expect(peer.text == "before after")
  }

  @Test("A killed node resets or ends its connections, and its port is free again")
  func killed() throws {
    let world = SimulatedWorld(seed: 8)
    let node = try echo(world)
    let peer = world.connect(to: port, sending: "x")
    world.run(until: { peer.text == "x" })
    node.kill()
    world.settle()
    #expect(peer.isOver)
    let late = world.connect(to: port)
    world.settle()
    #expect(late.failure == .refused)
  }

  @Test("A message reaches the handler, and a handler that is done frees what it had open")
  func message() throws {
    let world = SimulatedWorld(seed: 9)
    let node = try echo(world)
    world.settle()
    node.send(.stop)
    world.settle()
    #expect(!node.isRunning)
    #expect(node.loop.openSockets == 0)
  }
}

/// Connects to a server, sends a greeting and keeps what comes back; waits at most a while.
private struct Caller: EventHandler {
  enum Message: Sendable {}
  let world: any World
  let deadline: Instant
  var socket = Socket.none
  var answer = ByteBuffer()
  var failure: NetworkError?
  var timedOut = false
  var isConnected = false
  var isRunning = true

  init(_ world: any World, _ address: SocketAddress) {
    self.world = world
    deadline = world.now + .seconds(2)
    do throws(NetworkError) {
      socket = try world.connect(to: address, token: 1)
    } catch {
      failure = error
    }
  }

  mutating func ready(token: UInt64, _ readiness: Readiness) {
    if !isConnected {
      guard readiness.contains(.writable) else { return }
      failure = world.connectFailure(socket)
      if failure != nil { return isRunning = false }
      isConnected = true
      let greeting: [UInt8] = Array("hello\r\n\r\n".utf8)
      var rest = RawSpan(greeting)
      while !rest.isEmpty {
        guard case .count(let count) = world.send(socket, rest) else { break }
        rest = rest.extracting(droppingFirst: count)
      }
    }
    switch world.receive(socket, into: answer, limit: 4096) {
    case .ended: isRunning = false
    case .failed(let error):
      failure = error
      isRunning = false
    case .count, .wouldBlock: break
    }
  }

  mutating func receive(_ message: Message) {}

  mutating func endTurn() -> Instant {
    if failure != nil { isRunning = false }
    if world.now >= deadline {
      timedOut = true
      isRunning = false
    }
    return deadline
  }
}

@Suite struct ScriptedServerTests {
  private var calmSends: Conditions {
    var conditions = Conditions.rough
    conditions.shortWriteChance = 0
    return conditions
  }

  @Test("Refusal reaches the caller in `connect` or by an event", arguments: [0.0, 1.0])
  func refused(immediately: Double) {
    var conditions = calmSends
    conditions.immediateRefusalChance = immediately
    let world = SimulatedWorld(seed: 1, conditions)
    let node = world.start { loop in Caller(loop, port) }
    world.settle()
    #expect(node.handler.failure == .refused)
  }

  @Test("A deadline passes where the server is silent", arguments: [true, false])
  func silent(isIgnored: Bool) {
    let world = SimulatedWorld(seed: 2, calmSends)
    if isIgnored { world.ignore(port) } else { world.serve(port) { _ in } }
    let node = world.start { loop in Caller(loop, port) }
    world.run(for: .seconds(1))
    #expect(node.isRunning)
    world.run(for: .seconds(2))
    #expect(node.handler.timedOut && !node.isRunning)
    #expect(node.loop.turnCount < 20)
  }

  @Test("A script sees what the node sent and answers, later if it likes", arguments: [UInt64](1...20))
  func answers(seed: UInt64) {
    let world = SimulatedWorld(seed: seed, calmSends)
    let server = world.serve(port) { peer in
      guard peer.take(through: "\r\n\r\n") != nil else { return }
      peer.after(.milliseconds(30)) { peer in
        peer.send("welcome")
        peer.close()
      }
    }
    let node = world.start { loop in Caller(loop, port) }
    world.settle()
    #expect(node.handler.answer.text == "welcome")
    #expect(node.handler.failure == nil)
    #expect(server.peers.count == 1)
  }

  @Test("A server can answer every head with the same text")
  func fixedAnswer() {
    let world = SimulatedWorld(seed: 3, calmSends)
    world.serve(port, answer: "fine")
    let node = world.start { loop in Caller(loop, port) }
    world.run(for: .seconds(1))
    #expect(node.handler.answer.text == "fine")
  }

  @Test("A server that resets is a failure for the caller")
  func resets() {
    let world = SimulatedWorld(seed: 4, calmSends)
    world.serve(port) { peer in
      if peer.receivedCount > 0 { peer.reset() }
    }
    let node = world.start { loop in Caller(loop, port) }
    world.settle()
    #expect(node.handler.failure == .reset)
  }
}
