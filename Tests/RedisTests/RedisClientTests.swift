import Core
import Simulation
import Testing

@testable import Cluster

private func text(_ redis: FakeRedis) -> AddressText { .socket(redis.address) }

private func bulks(_ words: [String]) -> String { "*\(words.count)\r\n" + words.map(FakeRedis.bulk).joined() }

/// Three sentinels that say what a test wants.
private final class FakeSentinels {
  var primary: FakeRedis
  var replicas: [FakeRedis]
  var epoch = 5
  let servers: [FakeRedis]

  init(_ world: SimulatedWorld, primary: FakeRedis, replicas: [FakeRedis]) {
    self.primary = primary
    self.replicas = replicas
    servers = (0..<3).map { FakeRedis(world, port: 26_379 + $0) }
    for server in servers {
      server.answer = { [unowned self] command in
        switch command.prefix(2) {
        case ["ROLE"]: return "*2\r\n$8\r\nsentinel\r\n*0\r\n"
        case ["SENTINEL", "MASTER"]:
          return bulks(fields(self.primary) + ["config-epoch", "\(self.epoch)", "flags", "master"])
        case ["SENTINEL", "SLAVES"]:
          return "*\(self.replicas.count)\r\n" + self.replicas.map { bulks(fields($0)) }.joined()
        default: return nil
        }
      }
    }
    func fields(_ redis: FakeRedis) -> [String] {
      ["name", "x", "ip", "10.0.0.1", "port", "\(redis.address.port ?? 0)"]
    }
  }

  var store: RedisStore { .sentinel(RedisSentinels(name: "m", addresses: servers.map(text))) }
}

@Suite("Redis client")
struct RedisClientTests {
  // MARK: Sentinel

  private func group(_ seed: UInt64) throws -> (
    SimulatedWorld, FakeRedis, FakeRedis, FakeSentinels, SimulatedNode<ClientOwner>
  ) {
    let world = SimulatedWorld(seed: seed)
    let first = FakeRedis(world, port: 7001)
    let second = FakeRedis(world, port: 7002)
    second.role = "slave"
    let sentinels = FakeSentinels(world, primary: first, replicas: [second])
    let node = try world.start { try ClientOwner($0, sentinels.store) }
    #expect(world.run(within: .seconds(1)) { node.handler.ups == 1 })
    node.handler.increment(1, "n")
    node.loop.poke()
    world.run(for: .milliseconds(20))
    #expect(node.handler.outcomes == [.reply(1, ":1")] && first.counters["n"] == 1)
    return (world, first, second, sentinels, node)
  }

  @Test(
    "A promoted replica is found by its role, long before the sentinels say so",
    arguments: 1...10 as ClosedRange<UInt64>)
  func promotion(seed: UInt64) throws {
    let (world, first, second, sentinels, node) = try group(seed)
    first.die()
    world.run(for: .milliseconds(600))
    #expect(!node.handler.client.isUp(0))
    second.role = "master"
    second.replicationID = String(repeating: "b", count: 40)
    #expect(world.run(within: .milliseconds(250)) { node.handler.ups == 2 })
    #expect(node.handler.client.identity(of: 0)?.replicationID == second.replicationID)
    node.handler.increment(2, "n")
    node.loop.poke()
    world.run(for: .milliseconds(20))
    #expect(second.counters["n"] == 1 && node.handler.outcomes.last == .reply(2, ":1"))
    // The old one comes back and takes itself for the primary, and the sentinels have not heard yet: nothing changes.
    first.start()
    world.run(for: .seconds(3))
    #expect(node.handler.ups == 2)
    sentinels.primary = second
    sentinels.replicas = [first]
    sentinels.epoch = 6
    world.run(for: .seconds(3))
    #expect(node.handler.ups == 2 && node.handler.client.isUp(0))
    withExtendedLifetime(sentinels) {}
  }

  @Test("A decision of the sentinels moves the client although the old primary lives")
  func decision() throws {
    let (world, first, second, sentinels, node) = try group(3)
    second.role = "master"
    sentinels.primary = second
    sentinels.replicas = [first]
    sentinels.epoch = 6
    #expect(world.run(within: .seconds(2)) { node.handler.ups == 2 })
    node.handler.increment(2, "n")
    node.loop.poke()
    world.run(for: .milliseconds(20))
    #expect(second.counters["n"] == 1 && first.counters["n"] == 1)
  }

  @Test(
    "A frozen primary is left for the replica that was promoted, and may go on if none was", arguments: [true, false])
  func frozen(isPromoted: Bool) throws {
    let (world, first, second, sentinels, node) = try group(6)
    world.freeze(first.address)
    node.handler.increment(2, "n", within: 10_000_000)
    node.loop.poke()
    world.run(for: .milliseconds(300))
    #expect(node.handler.outcomes.last == .expired(2) && node.handler.client.isSilent(0))
    if isPromoted {
      second.role = "master"
      #expect(world.run(within: .milliseconds(250)) { node.handler.ups == 2 && node.handler.client.isUp(0) })
      #expect(!node.handler.client.isSilent(0))
    } else {
      world.thaw(first.address)
      world.run(for: .milliseconds(50))
      #expect(node.handler.said.last == .late(2, ":2") && node.handler.ups == 1)
      let asked = second.commands.count
      world.run(for: .seconds(2))
      #expect(second.commands.count == asked)
    }
    withExtendedLifetime(sentinels) {}
  }

  @Test("A primary that was only restarted is taken again when a sentinel names it anew; without sentinels, at once")
  func restart() throws {
    let (world, first, _, sentinels, node) = try group(4)
    first.die()
    world.run(for: .milliseconds(300))
    first.start()
    #expect(world.run(within: .seconds(1)) { node.handler.ups == 2 })
    for server in sentinels.servers { server.die() }
    world.run(for: .milliseconds(100))
    first.die()
    world.run(for: .milliseconds(300))
    first.start()
    #expect(world.run(within: .seconds(1)) { node.handler.ups == 3 })
  }

  // MARK: Cluster

  /// Two nodes, half of the slots each.
  private func cluster(
    _ seed: UInt64
  ) throws -> (SimulatedWorld, [FakeRedis], SimulatedNode<ClientOwner>) {
    let world = SimulatedWorld(seed: seed)
    let nodes = [FakeRedis(world, port: 7001), FakeRedis(world, port: 7002)]
    for node in nodes {
      node.answer = { command in
        guard command.prefix(2) == ["CLUSTER", "SLOTS"] else { return nil }
        return
          "*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$0\r\n\r\n:7001\r\n*3\r\n:8192\r\n:16383\r\n*2\r\n$8\r\n10.0.0.1\r\n:7002\r\n"
      }
    }
    let node = try world.start { try ClientOwner($0, .cluster(RedisSeeds(addresses: [text(nodes[0])]))) }
    #expect(world.run(within: .seconds(1)) { node.handler.ups == 2 && node.handler.client.primary(of: 9000) != nil })
    return (world, nodes, node)
  }

  // In slot 12182.
  private let highKey = "foo"

  @Test("Each slot's commands go to its primary")
  func routing() throws {
    let (world, nodes, node) = try cluster(1)
    let low = (0..<100).map { "k\($0)" }.first { HashSlot.of($0) < 8192 } ?? ""
    node.handler.increment(1, low)
    node.handler.increment(2, highKey)
    node.loop.poke()
    world.run(for: .milliseconds(20))
    #expect(nodes[0].counters == [low: 1] && nodes[1].counters == [highKey: 1])
    #expect(node.handler.outcomes.count == 2)
  }

  @Test("MOVED and ASK are followed once each, with what is left of the time", arguments: 1...10 as ClosedRange<UInt64>)
  func redirections(seed: UInt64) throws {
    let (world, nodes, node) = try cluster(seed)
    let slot = HashSlot.of(highKey)
    let usual = nodes[1].answer
    nodes[1].answer = { $0[0] == "INCR" ? "-ASK \(slot) 10.0.0.1:7001\r\n" : usual?($0) }
    node.handler.increment(1, highKey)
    node.loop.poke()
    world.run(for: .milliseconds(20))
    #expect(node.handler.outcomes == [.reply(1, ":1")] && nodes[0].counters[highKey] == 1)
    #expect(nodes[0].commands.suffix(2).first == ["ASKING"])
    #expect(node.handler.client.primary(of: slot) != node.handler.client.primary(of: 0))
    nodes[1].answer = { $0[0] == "INCR" ? "-MOVED \(slot) :7001\r\n" : usual?($0) }
    node.handler.increment(2, highKey)
    node.loop.poke()
    world.run(for: .milliseconds(20))
    #expect(node.handler.outcomes.last == .reply(2, ":2") && nodes[0].counters[highKey] == 2)
    #expect(nodes[1].counters[highKey] == nil)
  }

  @Test("Nodes that send a command to and fro, or to nowhere, give it back as not run")
  func hopeless() throws {
    let (world, nodes, node) = try cluster(2)
    for (index, other) in [(0, 7002), (1, 7001)] {
      let usual = nodes[index].answer
      nodes[index].answer = { $0[0] == "INCR" ? "-MOVED 12182 10.0.0.1:\(other)\r\n" : usual?($0) }
    }
    node.handler.increment(1, highKey)
    node.loop.poke()
    world.run(for: .milliseconds(50))
    #expect(node.handler.outcomes.count == 1 && "\(node.handler.outcomes)".contains("-MOVED"))
    #expect(nodes.map { $0.count("INCR") }.reduce(0, +) == 6)
    nodes[1].answer = { $0[0] == "INCR" ? "-MOVED 12182 10.0.0.9:1\r\n" : nil }
    nodes[0].answer = nodes[1].answer
    node.handler.increment(2, highKey)
    node.loop.poke()
    world.run(for: .milliseconds(50))
    #expect(node.handler.outcomes.last == .lost(2, mayHaveRun: false))
  }

  @Test("A node that is gone makes the client ask who serves its slots now")
  func goneNode() throws {
    let (world, nodes, node) = try cluster(5)
    nodes[0].answer = { command in
      command.prefix(2) == ["CLUSTER", "SLOTS"]
        ? "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$8\r\n10.0.0.1\r\n:7001\r\n" : nil
    }
    nodes[1].die()
    #expect(
      world.run(within: .seconds(1)) { node.handler.client.primary(of: 9000) == node.handler.client.primary(of: 0) })
    node.handler.increment(1, highKey)
    node.loop.poke()
    world.run(for: .milliseconds(20))
    #expect(node.handler.outcomes.last == .reply(1, ":1") && nodes[0].counters[highKey] == 1)
  }
}
