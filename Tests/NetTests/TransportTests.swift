import Core
import Crypto
import Simulation
import Testing

@testable import Net

@Suite struct TransportTests {
  static func server(
    _ version: TLSServerSettings.Version = .tls12, resumes: Bool = true
  ) throws -> TLSServerContext {
    var settings = TLSServerSettings(credentials: [
      try TLSCredential(certificate: TestCertificates.server, key: TestCertificates.serverKey)
    ])
    (settings.minimumVersion, settings.resumes, settings.protocols) = (version, resumes, ["http/1.1"])
    return try TLSServerContext(settings)
  }

  static func client(_ most: TLSServerSettings.Version = .tls13) throws -> TLSClientContext {
    var settings = TLSClientSettings()
    settings.authorities = try TLSAuthorities(certificates: TestCertificates.authority)
    settings.maximumVersion = most
    return try TLSClientContext(settings)
  }

  private func start(
    _ world: SimulatedWorld, _ limits: HandshakeLimits = HandshakeLimits()
  ) throws -> SimulatedNode<SecureEcho> {
    let context = try Self.server()
    return try world.start { try SecureEcho($0, context, limits) }
  }

  @Test(
    "What a client sends comes back, on any network, and the end in good order",
    arguments: [(Conditions.calm, 300_000), (.rough, 60_000), (.harsh, 3_000)],
    [TLSServerSettings.Version.tls12, .tls13])
  func echoes(network: (Conditions, Int), version: TLSServerSettings.Version) throws {
    for seed in UInt64(1)...5 {
      let world = SimulatedWorld(seed: seed, network.0)
      let node = try start(world)
      let context = try Self.client(version)
      let sent = (0..<network.1).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 2) }
      let clients = try (0..<3).map { _ in try SecureClient(world, context) }
      for client in clients { client.send(sent) }
      #expect(world.run(within: .seconds(120)) { clients.allSatisfy { $0.received.count == sent.count } })
      for client in clients { #expect(client.bytes == sent && client.fault == nil) }
      #expect(node.handler.outcomes.all == ["full", "full", "full"])
      for client in clients { client.peer.close() }
      world.settle()
      #expect(node.loop.openSockets == 1)
    }
  }

  @Test("A client that reads nothing holds up nobody, and is held up itself")
  func slowReader() throws {
    var conditions = Conditions.calm
    conditions.capacityBytes = 20_000
    let world = SimulatedWorld(seed: 3, conditions)
    let node = try start(world)
    let context = try Self.client()
    let slow = try SecureClient(world, context)
    world.run(within: .seconds(5)) { slow.tls.isEstablished }
    slow.peer.isReading = false
    slow.send([UInt8](repeating: 1, count: 1_000_000))
    world.run(for: .seconds(2))
    // It cannot send what nobody sends back.
    #expect(slow.peer.unsentCount > 500_000)
    let other = try SecureClient(world, context)
    other.send([1, 2, 3])
    #expect(world.run(within: .seconds(5)) { other.bytes == [1, 2, 3] })
    slow.peer.isReading = true
    #expect(world.run(within: .seconds(60)) { slow.received.count == 1_000_000 })
    #expect(node.handler.openConnections == 2)
  }

  @Test("A client that takes nothing of what waits for it loses its connection", arguments: [false, true])
  func unreadAnswer(readsOnce: Bool) throws {
    var conditions = Conditions.calm
    conditions.capacityBytes = 20_000
    let world = SimulatedWorld(seed: 4, conditions)
    let node = try start(world)
    let transport = node.handler.world
    let slow = try SecureClient(world, try Self.client())
    world.run(within: .seconds(5)) { slow.tls.isEstablished }
    slow.peer.isReading = false
    slow.send([UInt8](repeating: 1, count: 60_000))
    #expect(world.run(within: .seconds(5)) { transport.slots[0].unsent != nil })
    world.run(for: .seconds(50))
    if readsOnce {
      // Whoever takes some of it has the whole time again.
      slow.peer.isReading = true
      world.run(within: .seconds(1)) { !slow.received.isEmpty }
      slow.peer.isReading = false
      world.run(for: .seconds(50))
    }
    #expect(node.handler.openConnections == 1 && transport.slots[0].unsent != nil)
    #expect(world.run(within: .seconds(15)) { node.handler.openConnections == 0 })
    #expect(transport.slots[0].state == .free && node.loop.openSockets == 1)
  }

  @Test("A flood of handshakes is taken a few a turn")
  func flood() throws {
    let world = SimulatedWorld(seed: 4, .calm)
    let node = try start(world)
    let context = try Self.client()
    let clients = try (0..<100).map { _ in try SecureClient(world, context) }
    #expect(world.run(within: .seconds(10)) { clients.allSatisfy(\.tls.isEstablished) })
    #expect(world.run(within: .seconds(10)) { node.handler.outcomes.all.count == 100 })
    #expect(node.handler.outcomes.mostInTurn <= 8)
  }

  @Test("Where handshakes are slow a turn ends with the one that takes it too far, and every turn goes on with one")
  func slowHandshakes() throws {
    for (pace, most) in [(Int64(100_000), 8), (700_000, 3), (50_000_000, 1)] {
      let world = SimulatedWorld(seed: 4, .calm)
      let node = try start(world)
      var nanoseconds: Int64 = 0
      node.handler.world.stopwatch = {
        nanoseconds += pace
        return Instant(nanoseconds: nanoseconds)
      }
      let context = try Self.client()
      let clients = try (0..<50).map { _ in try SecureClient(world, context) }
      #expect(world.run(within: .seconds(10)) { clients.allSatisfy(\.tls.isEstablished) })
      #expect(world.run(within: .seconds(10)) { node.handler.outcomes.all.count == 50 })
      #expect(node.handler.outcomes.mostInTurn == most)
    }
  }

  @Test("A handshake that does not come to its end is given up")
  func timesOut() throws {
    var limits = HandshakeLimits()
    limits.timeout = 2_000_000_000
    let world = SimulatedWorld(seed: 5)
    let node = try start(world, limits)
    let silent = world.connect(to: SecureEcho.port)
    let half = world.connect(to: SecureEcho.port)
    half.send([22, 3, 1, 2, 0, 1, 0])
    world.run(for: .milliseconds(1900))
    #expect(node.handler.openConnections == 2)
    world.run(for: .milliseconds(300))
    #expect(node.handler.openConnections == 0)
    #expect(node.handler.outcomes.all == ["timedOut", "timedOut"])
    #expect(silent.isOver && half.isOver)
  }

  @Test("A first message is taken up to its limit")
  func tooLarge() throws {
    var limits = HandshakeLimits()
    limits.helloBytes = 2_000
    let world = SimulatedWorld(seed: 6, .calm)
    let node = try start(world, limits)
    let peer = world.connect(to: SecureEcho.port)
    // A ClientHello of 60,000 bytes in records of 1,000.
    peer.send([22, 3, 1, 3, 232, 1, 0, 234, 96] + [UInt8](repeating: 0, count: 996))
    for _ in 0..<10 { peer.send([22, 3, 1, 3, 232] + [UInt8](repeating: 0, count: 1_000)) }
    world.run(for: .seconds(1))
    #expect(node.handler.outcomes.all == ["tooLarge"])
    #expect(peer.isOver && node.loop.openSockets == 1)
  }

  @Test(
    "What is no TLS, or leaves, is told apart",
    arguments: [("GET / HTTP/1.1\r\n\r\n", "failed(Crypto.TLSHandshakeFailure.notTLS)"), ("", "abandoned")])
  func refusals(text: String, outcome: String) throws {
    for seed in UInt64(1)...20 {
      let world = SimulatedWorld(seed: seed)
      let node = try start(world)
      let peer = world.connect(to: SecureEcho.port)
      if !text.isEmpty { peer.send(text) }
      peer.endSending()
      world.settle()
      #expect(node.handler.outcomes.all == [outcome])
      #expect(node.loop.openSockets == 1)
    }
  }

  @Test("A record that was changed on its way ends the connection")
  func tampered() throws {
    let world = SimulatedWorld(seed: 7, .calm)
    let node = try start(world)
    let client = try SecureClient(world, try Self.client())
    world.run(within: .seconds(5)) { client.tls.isEstablished && node.handler.outcomes.all.count == 1 }
    client.peer.send([23, 3, 3, 0, 40] + [UInt8](repeating: 9, count: 40))
    world.settle()
    #expect(node.handler.openConnections == 0 && client.bytes.isEmpty)
  }

  @Test("Slots and descriptors are used again, whoever ends a connection and however")
  func descriptorsAreUsedAgain() throws {
    let world = SimulatedWorld(seed: 8)
    let node = try start(world)
    let context = try Self.client()
    for round in 0..<30 {
      let client = try SecureClient(world, context)
      client.send([UInt8(round)])
      #expect(world.run(within: .seconds(10)) { client.bytes == [UInt8(round)] })
      if round % 3 == 0 { client.peer.reset() } else { client.peer.close() }
      world.settle()
    }
    #expect(node.loop.openSockets == 1)
  }

  @Test("What a peer has this end answer, and does not take, has a limit")
  func answersNobodyTakes() throws {
    var conditions = Conditions.calm
    conditions.capacityBytes = 20_000
    let world = SimulatedWorld(seed: 9, conditions)
    let node = try start(world)
    let client = try SecureClient(world, try Self.client())
    world.run(within: .seconds(5)) { client.tls.isEstablished && node.handler.outcomes.all.count == 1 }
    client.peer.isReading = false
    client.send([UInt8](repeating: 1, count: 200_000))
    world.run(for: .seconds(2))
    let transport = node.handler.world
    let before = try #require(transport.slots[0].unsent).count
    let answer = [UInt8](repeating: 0, count: 27)
    for _ in 0..<100 {
      transport.outgoing.append(answer)
      transport.sendOutgoing(0)
    }
    #expect(transport.slots[0].state == .open && transport.slots[0].unsent?.count == before + 2_700)
    for _ in 0..<10_000 where transport.slots[0].state == .open {
      transport.outgoing.append(answer)
      transport.sendOutgoing(0)
    }
    #expect(transport.slots[0].state == .failed && transport.slots[0].unsent == nil && transport.outgoing.isEmpty)
  }
}
