// T7: a primary goes on with one node while the others have another one promoted, and then is gone.

import Core
import Pipeline
import Simulation
import Testing

@testable import Cluster

@Suite("A split primary") struct SplitPrimaryTests {
  private static let promotion = Duration.milliseconds(1000)
  private static let writes = Duration.milliseconds(3000)
  private static let duration = Duration.seconds(9)

  private var calm: Conditions {
    var conditions = Conditions.calm
    conditions.latency = .microseconds(50) ... .microseconds(300)
    return conditions
  }

  /// Four nodes and a place that is cut off: the leader's, or another one's.
  private func split(theLeader: Bool, _ seed: UInt64) throws -> (cluster: AgentCluster, place: Int) {
    let cluster = try AgentCluster(seed: seed, nodes: 4, calm, lag: .milliseconds(100))
    cluster.world.run(for: .seconds(5))
    let place = (0..<4).first { leads($0, cluster) == theLeader }!
    cluster.split(place, promotion: Self.promotion, writes: Self.writes, for: Self.duration)
    return (cluster, place)
  }

  private func leads(_ number: Int, _ cluster: AgentCluster) -> Bool {
    cluster.agents[number].agent.leadership.isLeader(at: cluster.lives[number].loops[0].bootNanoseconds)
  }

  @Test("The former leader stops, another one leads under a higher epoch, and nothing of either is lost or goes back")
  func leader() throws {
    for seed: UInt64 in 1...8 {
      let (cluster, place) = try split(theLeader: true, seed)
      let epoch = cluster.agents[place].agent.leadership.epoch
      cluster.world.run(for: .milliseconds(500))
      let early = cluster.revoke(at: place)
      cluster.propose(at: place)
      cluster.world.run(for: .milliseconds(4500))
      let leaders = (0..<4).filter { leads($0, cluster) }
      #expect(leaders.count == 1 && leaders != [place])
      #expect(cluster.agents[leaders.first ?? 0].agent.leadership.epoch > epoch)
      let late = cluster.revoke(at: (place + 1) % 4)
      cluster.propose(at: (place + 1) % 4)
      cluster.world.run(for: .seconds(9))
      for fact in [early, late] { #expect(cluster.facts[fact].holders == [0, 1, 2, 3]) }
      cluster.checkAgreement()
      cluster.checkRevisions()
      #expect(cluster.problems.isEmpty, "seed \(seed)")
    }
  }

  @Test("A node that was cut off knows that it is: its facts are stale two seconds after the cut")
  func stale() throws {
    for (seed, isLeader) in zip(1...8 as ClosedRange<UInt64>, [true, false, true, false, true, false, true, false]) {
      let (cluster, place) = try split(theLeader: isLeader, seed)
      cluster.world.run(for: Self.promotion + .milliseconds(800))
      let fact = cluster.revoke(at: (place + 1) % 4)
      cluster.world.run(for: .milliseconds(205))
      let loop = LoopFacts(
        markKey: AgentCluster.secrets.factKey, clock: cluster.agents[place].verification,
        bootTime: { cluster.lives[place].loops[0].bootNanoseconds })
      #expect(loop.isStale, "seed \(seed)")
      cluster.world.run(for: .milliseconds(500))
      #expect(loop.isStale && cluster.facts[fact].holders.contains((place + 2) % 4), "seed \(seed)")
      cluster.world.run(for: Self.duration)
      #expect(!loop.isStale && cluster.facts[fact].holders.contains(place), "seed \(seed)")
      #expect(cluster.problems.isEmpty, "seed \(seed)")
    }
  }

  @Test(
    "Limits are exceeded by what the cut-off node was granted before its primary took no more writes",
    arguments: [LimitMode.auto, .exact, .leased])
  func limits(mode: LimitMode) throws {
    let limit = FleetLimit(
      name: "limit", rule: .window(limit: 100, lengthMicroseconds: 1_000_000),
      terms: LimitTerms(mode: mode, outage: .closed))
    for seed: UInt64 in 1...5 {
      let fleet = try Fleet(seed: seed, [limit], nodes: 4, calm, lag: .milliseconds(20))
      fleet.world.run(for: .seconds(7))
      fleet.offer(rate: 100)
      fleet.world.run(for: .seconds(2))
      let began = fleet.world.now
      fleet.split(0, promotion: Self.promotion, writes: Self.writes, for: Self.duration)
      fleet.world.run(for: Self.duration + .seconds(2))
      fleet.stopOffering()
      fleet.world.run(for: .seconds(4))
      // A slice is good for a second behind the last write.
      let end = began + Self.writes + .seconds(1)
      let healed = began + Self.duration
      let alone = fleet.records.filter { $0.life == 0 && $0.decision == .admitted }
      #expect(!alone.contains { $0.asked > end && $0.answered < healed }, "seed \(seed)")
      var windows: [Int64: (all: Int, alone: Int)] = [:]
      for record in fleet.records where record.decision == .admitted {
        // Only whole ones, by the store's clock.
        guard record.askedAt / 1_000_000 == record.answeredAt / 1_000_000 else { continue }
        windows[record.askedAt / 1_000_000, default: (0, 0)].all += 1
        if record.life == 0 { windows[record.askedAt / 1_000_000]?.alone += 1 }
      }
      #expect(windows.values.allSatisfy { $0.all <= 100 + $0.alone }, "seed \(seed)")
      let excess = windows.values.reduce(0) { $0 + max(0, $1.all - 100) }
      let granted = alone.count { $0.asked >= began && $0.asked <= end }
      #expect(excess <= granted, "seed \(seed): \(excess) of \(granted)")
      fleet.checkRest()
      #expect(fleet.check().isEmpty, "seed \(seed)")
    }
  }
}
