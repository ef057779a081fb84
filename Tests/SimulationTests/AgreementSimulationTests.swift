// Nodes that agree on who leads and who is there, while everything goes wrong. How to run a seed again is told in Seeds.swift.

import Core
import Simulation
import Testing

@testable import Cluster

@Suite("Agreement in a simulated cluster")
struct AgreementSimulationTests {
  @Test("One node leads, nobody who has been succeeded writes, and all agree in the end")
  func agrees() throws {
    try Seeds.run(floor: 800, seconds: 0) { seed in try Self.run(seed).problems }
  }

  /// To the byte it is not: what is sealed is sealed under a random number each time.
  @Test("A seed means the same run every time", arguments: [2, 5] as [UInt64])
  func repeats(seed: UInt64) throws {
    let (first, second) = (try Self.run(seed), try Self.run(seed))
    #expect(first.events == second.events && first.leadTimes == second.leadTimes && first.summary == second.summary)
  }

  /// The cluster of a seed, behind all that happened to it.
  static func run(_ seed: UInt64) throws -> AgentCluster {
    var random = SeededGenerator(seed: seed)
    var conditions = random.chance(0.2) ? Conditions.rough : .calm
    conditions.latency = .microseconds(20) ... .microseconds(random.number(in: 60...2000))
    let cluster = try AgentCluster(
      seed: seed, nodes: random.number(in: 1...5), conditions, lag: .milliseconds(random.number(in: 0...100)))
    let kinds = (0..<random.number(in: 0...3)).map { _ in
      ClusterFault.allCases[random.number(in: 0...(ClusterFault.allCases.count - 1))]
    }
    cluster.world.run(for: .milliseconds(random.number(in: 0...3000)))
    let end = cluster.world.now + .seconds(random.number(in: 5...25))
    cluster.revoke(every: .milliseconds(random.number(in: 50...2000)), until: end)
    cluster.propose(every: .milliseconds(random.number(in: 100...3000)), until: end)
    while cluster.world.now < end {
      cluster.world.run(for: .milliseconds(random.number(in: 20...4000)))
      if !kinds.isEmpty {
        try cluster.happen(kinds[random.number(in: 0...(kinds.count - 1))], longest: random.chance(0.3) ? 4000 : 500)
      }
    }
    // Faults last sixteen seconds at the most; a dead node is off the list five seconds after its last sign of life.
    cluster.world.run(for: .seconds(30))
    cluster.checkLeads(until: cluster.world.now)
    cluster.checkAgreement()
    cluster.checkFacts()
    cluster.checkRevisions()
    if Seeds.single != nil { print((cluster.events + cluster.problems + [cluster.summary]).joined(separator: "\n")) }
    return cluster
  }
}
