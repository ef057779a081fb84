import Core
import Simulation
import Testing

@testable import Cluster

private let library = RedisLibrary(name: "lib_1", source: "#!lua name=lib_1\nreturn 1", scripts: ["return 1"])

private func withLibrary() -> RedisLinkSettings { RedisLinkSettings(clientName: "test", library: library) }

/// A link to `redis`, started.
private func linked(
  _ world: SimulatedWorld, _ redis: FakeRedis, _ settings: RedisLinkSettings = RedisLinkSettings(clientName: "test"),
  _ server: RedisServer? = nil
) -> SimulatedNode<LinkOwner> {
  let node = world.start { LinkOwner($0, server ?? redis.redis, settings) }
  node.handler.link.start()
  return node
}

/// Sends as soon as the link is up.
private func whenUp(_ node: SimulatedNode<LinkOwner>, _ action: @escaping (LinkOwner) -> Void) {
  node.handler.onSaid = { owner, said in if case .up = said { action(owner) } }
}

@Suite("Redis link")
struct RedisLinkTests {
  @Test(
    "Nobody listens: it says so, pauses, and is up soon after somebody does", arguments: 1...10 as ClosedRange<UInt64>)
  func comesUpLater(seed: UInt64) {
    let world = SimulatedWorld(seed: seed)
    let redis = FakeRedis(world)
    redis.die()
    let node = linked(world, redis)
    world.run(for: .seconds(2))
    #expect(node.handler.downs.count > 4 && node.handler.downs.allSatisfy { $0 == .connect(.refused) })
    // Pauses grow to half a second: not a hundred attempts.
    #expect(node.handler.downs.count < 40)
    redis.start()
    #expect(world.run(within: .seconds(1)) { node.handler.ups == [1] })
  }

  @Test("An address that swallows everything costs a second an attempt")
  func blackhole() {
    let world = SimulatedWorld(seed: 1)
    let redis = FakeRedis(world)
    world.ignore(redis.address)
    let node = linked(world, redis)
    world.run(for: .milliseconds(1_050))
    #expect(node.handler.said == [.down(.timedOut)])
  }

  @Test(
    "Refusals of the greeting are refusals of the connection",
    arguments: [
      (
        "AUTH", "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        RedisFault.refused(.wrongCredentials)
      ),
      ("ROLE", "-NOAUTH Authentication required.\r\n", .refused(.unauthenticated)),
      ("SELECT", "-ERR DB index is out of range\r\n", .refused(.other)),
      ("INFO", "-LOADING Redis is loading the dataset in memory\r\n", .loading),
      ("INFO", "-MASTERDOWN Link with MASTER is down\r\n", .notPrimary),
      ("ROLE", "!nonsense\r\n", .malformed),
      ("ROLE", "*900000000\r\n", .malformed),
    ])
  func refusedGreeting(name: String, text: String, fault: RedisFault) {
    let world = SimulatedWorld(seed: 3)
    let redis = FakeRedis(world)
    redis.answer = { $0[0] == name ? text : nil }
    let server = RedisServer(
      address: .socket(redis.address), database: 3, credentials: RedisCredentials(user: "u", password: "p"))
    let node = linked(world, redis, RedisLinkSettings(clientName: "test"), server)
    world.run(for: .milliseconds(200))
    #expect(node.handler.ups.isEmpty && node.handler.downs.first == fault)
  }

  @Test("Who may not ask what the server is, is served all the same")
  func ignorantGreeting() {
    let world = SimulatedWorld(seed: 3)
    let redis = FakeRedis(world)
    redis.answer = { ["ROLE", "INFO", "CLIENT"].contains($0[0]) ? "-NOPERM this user has no permissions\r\n" : nil }
    let node = linked(world, redis)
    #expect(world.run(within: .seconds(1)) { node.handler.ups == [1] })
    #expect(node.handler.link.identity.replicationID == "")
  }

  @Test("It says who it is, chooses its database, and learns the server's version and replication id")
  func greets() {
    let world = SimulatedWorld(seed: 4)
    let redis = FakeRedis(world)
    let server = RedisServer(
      address: .socket(redis.address), database: 3, credentials: RedisCredentials(user: "ops", password: "hush"))
    let node = linked(world, redis, RedisLinkSettings(clientName: "sluice-n1-0"), server)
    #expect(world.run(within: .seconds(1)) { node.handler.ups == [1] })
    #expect(
      redis.commands == [
        ["AUTH", "ops", "hush"], ["SELECT", "3"], ["CLIENT", "SETNAME", "sluice-n1-0"], ["ROLE"], ["INFO", "server"],
        ["INFO", "replication"], ["INFO", "persistence"],
      ])
    #expect(node.handler.link.identity.version == (7, 0) && node.handler.link.identity.isPrimary)
    #expect(node.handler.link.identity.replicationID == redis.replicationID)
  }

  @Test("A name is looked up by the owner; without an address there is no connection")
  func names() {
    let world = SimulatedWorld(seed: 5)
    let redis = FakeRedis(world)
    let node = linked(
      world, redis, RedisLinkSettings(clientName: "test"), RedisServer(address: .name(host: "redis.test", port: 6379)))
    var answers: [[IPAddress]?] = [nil, [], [IPAddress(v4: 0x0a00_0001)]]
    node.handler.onSaid = { owner, said in
      if case .lookUp("redis.test") = said { owner.link.resolved(answers.removeFirst()) }
    }
    #expect(world.run(within: .seconds(1)) { node.handler.ups == [1] })
    #expect(node.handler.downs == [.unknownHost, .unknownHost])
  }

  @Test("Replies find their commands however the streams are cut", arguments: 1...30 as ClosedRange<UInt64>)
  func order(seed: UInt64) {
    let world = SimulatedWorld(seed: seed, .harsh)
    let redis = FakeRedis(world)
    let node = linked(world, redis)
    whenUp(node) { owner in
      for tag in 0..<200 as Range<UInt64> { owner.send(tag, "INCR", "n", within: 60_000_000_000) }
    }
    #expect(world.run(within: .seconds(30)) { node.handler.outcomes.count == 200 })
    #expect(node.handler.outcomes == (0..<200).map { .reply($0, ":\($0 + 1)") })
  }

  @Test("A reply of any kind cut at each of its bytes is the same reply")
  func cutReplies() {
    let reply = "*6\r\n$5\r\na\r\nbc\r\n:-7\r\n+fine\r\n$-1\r\n*2\r\n$0\r\n\r\n*-1\r\n-ERR no\r\n"
    let expected = "[\"a\r\nbc\", :-7, +fine, nil, [\"\", nil], -ERR no]"
    for cut in 1..<reply.utf8.count {
      let world = SimulatedWorld(seed: UInt64(cut), .calm)
      let redis = FakeRedis(world)
      redis.answer = { $0[0] == "GET" ? reply : nil }
      redis.deliver = { peer, text in
        guard text == reply else { return peer.send(text) }
        let bytes = Array(text.utf8)
        peer.send(Array(bytes[..<cut]))
        peer.after(.milliseconds(3)) { $0.send(Array(bytes[cut...])) }
      }
      let node = linked(world, redis)
      whenUp(node) { $0.send(9, "GET", "x") }
      world.run(for: .milliseconds(50))
      #expect(node.handler.outcomes == [.reply(9, expected)])
    }
  }

  @Test("A connection that dies inside a reply loses each command once and runs none twice")
  func dyingReplies() {
    let first = ":1\r\n"
    for cut in 0...(first.utf8.count * 2) {
      let world = SimulatedWorld(seed: UInt64(cut + 1), .calm)
      let redis = FakeRedis(world)
      redis.deliver = { peer, text in
        guard text == ":2\r\n" else { return text.hasPrefix(":") ? () : peer.send(text) }
        peer.send(Array(Array((first + text).utf8)[..<cut]))
        peer.close()
      }
      let node = linked(world, redis)
      whenUp(node) { owner in
        guard owner.ups.count == 1 else { return }
        owner.send(1, "INCR", "n")
        owner.send(2, "INCR", "n")
      }
      world.run(for: .milliseconds(300))
      let answered = cut / first.utf8.count
      let expected: [Said] = (0..<2).map { index in
        index < answered ? .reply(UInt64(index + 1), ":\(index + 1)") : .lost(UInt64(index + 1), mayHaveRun: true)
      }
      #expect(node.handler.outcomes == expected)
      #expect(redis.count("INCR") == 2 && node.handler.ups == [1, 2] && node.handler.downs == [.closed])
    }
  }

  @Test("A reply that nobody asked for ends the connection")
  func unaskedReply() {
    let world = SimulatedWorld(seed: 8)
    let redis = FakeRedis(world)
    redis.answer = { $0 == ["INFO", "persistence"] ? redis.usual($0) + "+surprise\r\n" : nil }
    let node = linked(world, redis)
    world.run(for: .milliseconds(200))
    #expect(node.handler.downs.first == .malformed)
  }

  @Test("What has not left completely cannot have run, and the event says so")
  func unsentCommands() {
    var conditions = Conditions.calm
    conditions.capacityBytes = 4096
    let world = SimulatedWorld(seed: 9, conditions)
    let redis = FakeRedis(world)
    let node = linked(world, redis)
    whenUp(node) { owner in
      guard owner.ups.count == 1 else { return }
      redis.server?.peers.last?.isReading = false
      for tag in 1...4 as ClosedRange<UInt64> { owner.send(tag, "SET", "k", String(repeating: "v", count: 1500)) }
    }
    world.run(for: .milliseconds(5))
    redis.die()
    world.run(for: .milliseconds(5))
    #expect(
      node.handler.outcomes == [
        .lost(1, mayHaveRun: true), .lost(2, mayHaveRun: true), .lost(3, mayHaveRun: false),
        .lost(4, mayHaveRun: false),
      ])
    #expect(node.handler.send(5, "PING") == .down)
  }

  @Test("A queue that is full by count or by bytes takes nothing more, and then does again")
  func bounds() {
    let world = SimulatedWorld(seed: 10, .calm)
    let redis = FakeRedis(world)
    var settings = RedisLinkSettings(clientName: "test")
    settings.limits.commands = 3
    settings.limits.bytes = 200
    let node = linked(world, redis, settings)
    var admissions: [RedisAdmission] = []
    whenUp(node) { owner in
      admissions.append(owner.send(0, "SET", "k", String(repeating: "v", count: 300)))
      for tag in 1...4 as ClosedRange<UInt64> { admissions.append(owner.send(tag, "INCR", "n")) }
    }
    world.run(for: .milliseconds(20))
    #expect(admissions == [.full, .accepted, .accepted, .accepted, .full])
    #expect(node.handler.send(9, "INCR", "n") == .accepted)
  }
}
