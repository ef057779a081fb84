// Losses of facts that random runs hardly ever bring about in this order.

import Core
import Simulation
import Testing

@testable import Cluster

@Suite("Facts that a store loses") struct FactLossTests {
  /// Nodes that have found each other.
  private func cluster(_ nodes: Int, lag: Duration = .milliseconds(300)) throws -> AgentCluster {
    var conditions = Conditions.calm
    conditions.latency = .microseconds(50) ... .microseconds(100)
    let cluster = try AgentCluster(seed: 1, nodes: nodes, conditions, lag: lag)
    cluster.world.run(for: .seconds(4))
    return cluster
  }

  private func holders(_ fact: Int, _ cluster: AgentCluster) -> Set<Int> { cluster.facts[fact].holders }

  @Test("One whose number in the log another one took after a failover, before anybody read it, comes back")
  func sameNumber() throws {
    let cluster = try cluster(3)
    for place in 1...2 { cluster.pause(place, for: .seconds(1), asleep: false) }
    let lost = cluster.revoke(at: 0)
    #expect(cluster.world.run(within: .seconds(1)) { cluster.facts[lost].stored != nil })
    cluster.pause(0, for: .seconds(3), asleep: false)
    cluster.redis.crash()
    cluster.failures.append((cluster.world.now, cluster.world.now + .seconds(4)))
    cluster.redis.promoteReplica()
    cluster.world.run(for: .milliseconds(1500))
    let next = cluster.revoke(at: 1)
    cluster.world.run(for: .milliseconds(500))
    #expect(holders(next, cluster) == [1, 2])
    #expect(holders(lost, cluster).isSubset(of: [0]))
    #expect(cluster.receipts == 0)
    cluster.world.run(for: .seconds(3))
    #expect(holders(lost, cluster) == [0, 1, 2] && holders(next, cluster) == [0, 1, 2])
    #expect(cluster.problems.isEmpty)
  }

  @Test("What a node knew three seconds before it was killed it knows again without the store")
  func restart() throws {
    let cluster = try cluster(2)
    let facts = (0..<20).map { _ in cluster.revoke(at: 1) }
    cluster.world.run(for: .milliseconds(3500))
    cluster.redis.crash()
    cluster.kill(0)
    try cluster.start(0)
    cluster.world.run(for: .milliseconds(100))
    #expect(facts.allSatisfy { holders($0, cluster).contains(2) })
  }
}
