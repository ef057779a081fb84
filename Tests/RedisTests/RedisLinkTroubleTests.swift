import Core
import Simulation
import Testing

@testable import Cluster

@Suite("Redis link in trouble")
struct RedisLinkTroubleTests {
  private static let functionLibrary = RedisLibrary(
    name: "lib_1", source: "#!lua name=lib_1\nreturn 1", scripts: ["return 1", "return 2"])

  private func linked(
    _ world: SimulatedWorld, _ redis: FakeRedis, library: RedisLibrary? = nil
  ) -> SimulatedNode<LinkOwner> {
    let settings = RedisLinkSettings(clientName: "test", library: library)
    let node = world.start { LinkOwner($0, redis.redis, settings) }
    node.handler.link.start()
    #expect(world.run(within: .seconds(1)) { node.handler.ups == [1] })
    return node
  }

  // MARK: Deadlines

  @Test("A command whose time is up is given up, and its late reply is no other command's")
  func lateReplies() {
    let world = SimulatedWorld(seed: 1, .calm)
    let redis = FakeRedis(world)
    let node = linked(world, redis)
    redis.deliver = { peer, text in peer.after(.milliseconds(text == ":1\r\n" ? 30 : 31)) { $0.send(text) } }
    node.handler.send(1, "INCR", "n", within: 10_000_000)
    node.handler.send(2, "INCR", "n", within: 50_000_000)
    node.loop.poke()
    world.run(for: .milliseconds(60))
    #expect(
      node.handler.said.dropFirst() == [
        .expired(1), .silent, .responsive, .late(1, ":1"), .reply(2, ":2"),
      ])
  }

  @Test("A command that could not be sent in time is taken back and never runs")
  func takenBack() {
    var conditions = Conditions.calm
    conditions.capacityBytes = 4096
    let world = SimulatedWorld(seed: 1, conditions)
    let redis = FakeRedis(world)
    let node = linked(world, redis)
    redis.server?.peers.last?.isReading = false
    let value = String(repeating: "v", count: 3000)
    node.handler.send(1, "SET", "k", value)
    node.handler.send(2, "SET", "k", value)
    node.handler.send(3, "INCR", "n")
    node.handler.send(4, "INCR", "n", within: 1_000_000_000)
    node.loop.poke()
    world.run(for: .milliseconds(30))
    // The second has left in part: it must be completed.
    #expect(node.handler.outcomes == [.expired(1), .expired(2), .lost(3, mayHaveRun: false)])
    redis.server?.peers.last?.isReading = true
    world.run(for: .milliseconds(20))
    #expect(redis.count("SET") == 2 && redis.count("INCR") == 1)
    #expect(node.handler.outcomes.last == .reply(4, ":1") && node.handler.downs.isEmpty)
  }

  @Test("A slow server that answers others is not silent")
  func slowIsNotSilent() {
    let world = SimulatedWorld(seed: 1, .calm)
    let redis = FakeRedis(world)
    let node = linked(world, redis)
    redis.deliver = { peer, text in
      peer.send(String(text.prefix(2)))
      peer.after(.milliseconds(15)) { $0.send(String(text.dropFirst(2))) }
    }
    node.handler.send(1, "INCR", "n", within: 10_000_000)
    node.loop.poke()
    world.run(for: .milliseconds(60))
    #expect(node.handler.said.dropFirst() == [.expired(1), .late(1, ":1")])
  }

  @Test("A frozen server is silent after one deadline, given up after three seconds, and back as soon as it goes on")
  func frozenServer() {
    let world = SimulatedWorld(seed: 2)
    let redis = FakeRedis(world)
    let node = linked(world, redis)
    world.freeze(redis.address)
    node.handler.send(1, "INCR", "n")
    node.loop.poke()
    world.run(for: .milliseconds(12))
    #expect(node.handler.said.dropFirst() == [.expired(1), .silent])
    world.run(for: .seconds(20))
    // An expired command is not lost as well.
    #expect(node.handler.outcomes == [.expired(1)] && node.handler.downs.first == .silent)
    world.thaw(redis.address)
    #expect(world.run(within: .milliseconds(500)) { node.handler.ups.count == 2 })
  }

  @Test("A server that has gone while nobody asked is found out within seconds")
  func idleProbe() {
    let world = SimulatedWorld(seed: 2)
    let redis = FakeRedis(world)
    let node = linked(world, redis)
    world.run(for: .seconds(21))
    #expect(redis.count("PING") == 4 && node.handler.downs.isEmpty)
    world.freeze(redis.address)
    world.run(for: .seconds(10))
    #expect(node.handler.downs.first == .silent)
  }

  // MARK: Channels

  @Test("A connection that listens is up when every channel is confirmed, hears messages, and takes no commands")
  func listens() {
    let world = SimulatedWorld(seed: 9, .harsh)
    let redis = FakeRedis(world)
    let confirmation = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
    let message = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"
    redis.answer = { command in
      if command[0] == "PING" { return "*2\r\n$4\r\npong\r\n$0\r\n\r\n" }
      return command == ["SUBSCRIBE", "c", "d"] ? confirmation + message + confirmation + message : nil
    }
    var settings = RedisLinkSettings(clientName: "test")
    settings.channels = ["c", "d"]
    let node = world.start { LinkOwner($0, redis.redis, settings) }
    node.handler.link.start()
    world.run(for: .seconds(1))
    let heard = Said.message("[\"message\", \"c\", \"hi\"]")
    #expect(node.handler.said == [heard, .up(1), heard])
    #expect(node.handler.send(1, "INCR", "n") == .down)
    world.run(for: .seconds(20))
    #expect(node.handler.downs.isEmpty && redis.count("PING") > 2)
  }

  @Test("A channel that must not be listened to is a refusal of the connection")
  func refusedChannel() {
    let world = SimulatedWorld(seed: 9)
    let redis = FakeRedis(world)
    redis.answer = {
      $0[0] == "SUBSCRIBE" ? "-NOPERM this user has no permissions to access one of the channels\r\n" : nil
    }
    var settings = RedisLinkSettings(clientName: "test")
    settings.channels = ["c"]
    let node = world.start { LinkOwner($0, redis.redis, settings) }
    node.handler.link.start()
    world.run(for: .milliseconds(100))
    #expect(node.handler.ups.isEmpty && node.handler.downs.first == .refused(.notPermitted))
  }

  // MARK: Changes of role

  @Test(
    "A server that stops being a primary is left when it has answered what is under way",
    arguments: [
      ("-READONLY You can't write against a read only replica.\r\n", RedisFault.notPrimary),
      ("-LOADING Redis is loading the dataset in memory\r\n", .loading),
      ("-NOAUTH Authentication required.\r\n", .refused(.unauthenticated)),
    ])
  func demoted(text: String, fault: RedisFault) {
    let world = SimulatedWorld(seed: 3)
    let redis = FakeRedis(world)
    let node = linked(world, redis)
    redis.answer = { $0[0] == "INCR" ? text : nil }
    for tag in 1...3 as ClosedRange<UInt64> { node.handler.send(tag, "INCR", "n") }
    node.loop.poke()
    world.run(for: .milliseconds(15))
    let refusal = text.dropLast()
    #expect(node.handler.outcomes == (1...3).map { .reply($0, String(refusal)) })
    #expect(node.handler.downs == [fault])
  }

  @Test("A replica is refused, and taken as soon as it is the primary")
  func promoted() {
    let world = SimulatedWorld(seed: 4)
    let redis = FakeRedis(world)
    redis.role = "slave"
    let node = world.start { LinkOwner($0, redis.redis) }
    node.handler.link.start()
    world.run(for: .seconds(1))
    #expect(node.handler.ups.isEmpty && node.handler.downs.allSatisfy { $0 == RedisFault.notPrimary })
    redis.role = "master"
    #expect(world.run(within: .seconds(1)) { node.handler.ups == [1] })
  }

  // MARK: The library

  @Test("The library is loaded before the first command, and only where it is missing", arguments: [false, true])
  func loads(exists: Bool) {
    let world = SimulatedWorld(seed: 5)
    let redis = FakeRedis(world)
    if exists { redis.libraries = ["lib_1"] }
    let node = linked(world, redis, library: Self.functionLibrary)
    node.handler.send(1, "FCALL", "apply", "0")
    node.loop.poke()
    world.run(for: .milliseconds(10))
    #expect(node.handler.outcomes == [.reply(1, ":1")] && redis.count("FUNCTION") == 1)
    #expect(node.handler.link.identity.dialect == .functions)
  }

  @Test(
    "Without functions there are scripts",
    arguments: [
      ("6.2.7", ""), ("7.0.1", "-NOPERM this user has no permissions to run the 'function|load' command\r\n"),
      ("7.0.1", "-ERR unknown command 'FUNCTION', with args beginning with: 'LOAD' \r\n"),
    ])
  func scripts(version: String, refusal: String) {
    let world = SimulatedWorld(seed: 6)
    let redis = FakeRedis(world)
    redis.version = version
    redis.answer = { $0[0] == "FUNCTION" ? refusal : nil }
    let node = linked(world, redis, library: Self.functionLibrary)
    #expect(node.handler.link.identity.dialect == .scripts)
    #expect(redis.count("SCRIPT") == 2 && redis.count("FUNCTION") == (refusal.isEmpty ? 0 : 1))
  }

  @Test(
    "A library that is gone is loaded once, and everything refused for want of it runs exactly once",
    arguments: [("7.0.1", "FCALL"), ("6.2.1", "EVALSHA")], 1...10 as ClosedRange<UInt64>)
  func flushed(server: (version: String, call: String), seed: UInt64) {
    let world = SimulatedWorld(seed: seed)
    let redis = FakeRedis(world)
    redis.version = server.version
    let node = linked(world, redis, library: Self.functionLibrary)
    for round in 0..<3 as Range<UInt64> {
      redis.libraries = []
      let loads = redis.count("FUNCTION") + redis.count("SCRIPT")
      for tag in 0..<20 as Range<UInt64> { node.handler.send(round * 20 + tag, server.call, "apply", "0", "\(tag)") }
      node.loop.poke()
      world.run(for: .milliseconds(9))
      let more = redis.count("FUNCTION") + redis.count("SCRIPT") - loads
      #expect(more == (server.call == "FCALL" ? 1 : 2))
    }
    let replies = node.handler.said.compactMap { if case .reply(let tag, let text) = $0 { (tag, text) } else { nil } }
    #expect(replies.count == 60 && Set(replies.map(\.0)) == Set(0..<60))
    // Each ran once: the counter has gone from 1 to 60.
    #expect(Set(replies.map(\.1)) == Set((1...60).map { ":\($0)" }) && redis.counters["calls"] == 60)
  }

  @Test("A library that cannot be loaded leaves its callers with commands that have not run")
  func unloadable() {
    let world = SimulatedWorld(seed: 7)
    let redis = FakeRedis(world)
    let node = linked(world, redis, library: Self.functionLibrary)
    redis.libraries = []
    redis.answer = { $0[0] == "FUNCTION" ? "-OOM command not allowed when used memory > 'maxmemory'.\r\n" : nil }
    node.handler.send(1, "FCALL", "apply", "0")
    node.loop.poke()
    world.run(for: .milliseconds(9))
    #expect(node.handler.outcomes == [.lost(1, mayHaveRun: false)] && redis.counters["calls"] == nil)
  }

  @Test("A server that never has the library gets its refusal through, and is not asked for ever")
  func neverLoaded() {
    let world = SimulatedWorld(seed: 7)
    let redis = FakeRedis(world)
    let node = linked(world, redis, library: Self.functionLibrary)
    redis.answer = { $0[0] == "FCALL" ? "-ERR Function not found\r\n" : nil }
    node.handler.send(1, "FCALL", "apply", "0")
    node.loop.poke()
    world.run(for: .seconds(1))
    #expect(node.handler.outcomes == [.reply(1, "-ERR Function not found")])
    #expect(redis.count("FCALL") == 2 && redis.count("FUNCTION") <= 3)
  }

  @Test("Whoever waits for the library is not kept waiting beyond his time")
  func slowLoad() {
    let world = SimulatedWorld(seed: 8)
    let redis = FakeRedis(world)
    let node = linked(world, redis, library: Self.functionLibrary)
    redis.libraries = []
    redis.answer = { $0[0] == "FUNCTION" ? "" : nil }
    node.handler.send(1, "FCALL", "apply", "0", within: 10_000_000)
    node.handler.send(2, "FCALL", "apply", "0", within: 30_000_000)
    node.loop.poke()
    world.run(for: .milliseconds(12))
    #expect(node.handler.outcomes == [.lost(1, mayHaveRun: false)])
    world.run(for: .milliseconds(20))
    #expect(node.handler.outcomes == [.lost(1, mayHaveRun: false), .lost(2, mayHaveRun: false)])
  }
}
