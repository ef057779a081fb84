import Core
import Foundation
import ModelRedis
import Pipeline
import Simulation
import Testing

@testable import Cluster
@testable import Gateway

/// The gateway under clients of every temper, with limits in a Redis that everything happens to.
@Suite("RequestFlow: soak with a store")
struct StoreSoakTests {
  private static let store = SocketAddress.ip(IPAddress(v4: 0x0a00_0009), port: 6379)
  /// From 1 on: ten, or as many as `SLUICE_SEEDS` says.
  private static let seeds =
    1...max(1, ProcessInfo.processInfo.environment["SLUICE_SEEDS"].flatMap { UInt64($0) } ?? 10)
  private static let policies = """
    policies: [{ type: "rate-limit", limits: [
      { per: "ip", concurrency: 2 }, { per: "ip", rate: "40/s", burst: 5 }, { per: "route", window: "60/1s" }] }],
    """

  @Test(
    "Whatever happens to the store, every request ends once, what looks complete is right, and nothing is left",
    arguments: seeds)
  func soak(seed: UInt64) throws {
    var redis: ModelRedis?
    let node = NodeQuota(loops: 1)
    let soak = try Soak(
      // Where a stream is cut into single bytes nothing would ever arrive.
      seed: seed, resetChance: seed % 4 == 3 ? 0.001 : 0, policies: Self.policies,
      prepare: { redis = ModelRedis($0, at: Self.store, seed: seed) },
      store: { loop in
        let settings = SharedQuotaSettings(
          store: .single(RedisServer(address: .socket(Self.store))), cluster: "t", keys: ClusterKeys(secret: [1]),
          clientName: "n")
        let quota = try SharedQuota(settings, world: loop, node: node, clock: { loop.bootNanoseconds }) {
          Token.store(client: $0, link: $1, generation: $2).rawValue
        }
        quota.start()
        return quota
      })
    let model = try #require(redis)
    var random = SeededGenerator(seed: seed)
    // Nodes know how many share.
    soak.bench.world.run(for: .seconds(7))
    for _ in 0..<25 {
      for _ in 0..<8 { soak.arrive() }
      happen(to: model, &random)
      soak.bench.world.run(for: .milliseconds(40))
    }
    model.thaw()
    if !model.isAlive { model.restartEmpty() }
    soak.bench.world.run(for: .seconds(10))
    soak.leave()
    soak.bench.world.run(for: .seconds(60))
    soak.judge()
    #expect(soak.completeCount > 100 && soak.refusedCount > 10, "\(soak.completeCount) and \(soak.refusedCount)")
    soak.bench.expectRest()
    let shared = soak.bench.node.handler.sharedQuota
    let quota = try #require(shared)
    #expect(quota.waiters.count == 0 && quota.turns.count == quota.freeTurns.count)
    #expect(quota.slotHolders.isEmpty && quota.holders.isEmpty && quota.owing.isEmpty)
    #expect(model.unknownCommands == [] && model.scriptFailures == [])
  }

  private func happen(to redis: ModelRedis, _ random: inout SeededGenerator) {
    switch random.number(in: 0...11) as Int {
    case 0: redis.freeze()
    case 1, 2: redis.thaw()
    case 3: redis.cutConnections()
    case 4: redis.forgetScripts()
    case 5: redis.crash()
    case 6: if !redis.isAlive { redis.promoteReplica() }
    case 7: if !redis.isAlive { redis.restartEmpty() }
    default: break
    }
  }
}
