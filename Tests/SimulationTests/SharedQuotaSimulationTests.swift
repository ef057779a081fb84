// Nodes that keep limits together while everything goes wrong: real parts of real nodes, the real decision library, and a
// network and a Redis that do what the seed says. How to run a seed again is told in Seeds.swift.

import Core
import Pipeline
import Simulation
import Testing

@testable import Cluster

@Suite("Shared limits in a simulated cluster")
struct SharedQuotaSimulationTests {
  @Test("Limits hold, every question is answered once and in time, and nothing is left behind")
  func holds() throws {
    try Seeds.run(floor: 1300, seconds: 0) { seed in try Self.run(seed).problems }
  }

  @Test("A seed means the same run every time", arguments: [3, 8, 12] as [UInt64])
  func repeats(seed: UInt64) throws {
    #expect(try Self.run(seed).world.fingerprint == Self.run(seed).world.fingerprint)
  }

  /// The fleet of a seed, behind all that happened to it.
  static func run(_ seed: UInt64) throws -> Fleet {
    var random = SeededGenerator(seed: seed)
    var conditions = random.chance(0.2) ? Conditions.rough : .calm
    conditions.latency = .microseconds(20) ... .microseconds(random.number(in: 60...600))
    let fleet = try Fleet(
      seed: seed, limits(&random), nodes: random.number(in: 1...4), conditions,
      lag: .milliseconds(random.number(in: 0...40)))
    // Nodes need a moment to hear of each other, and a life until they share what holds without the store.
    fleet.world.run(
      for: .milliseconds(random.chance(0.5) ? random.number(in: 2200...3000) : random.number(in: 6500...7000)))
    fleet.offer(rate: random.chance(0.3) ? random.number(in: 4...40) : random.number(in: 40...400))
    // Most seeds mix a few kinds of trouble; some have none.
    let kinds = (0..<random.number(in: 0...3)).map { _ in
      ClusterFault.allCases[random.number(in: 0...(ClusterFault.allCases.count - 1))]
    }
    let end = fleet.world.now + .milliseconds(random.number(in: 1500...3500))
    while fleet.world.now < end {
      fleet.world.run(for: .milliseconds(random.number(in: 20...1000)))
      if !kinds.isEmpty { try fleet.happen(kinds[random.number(in: 0...(kinds.count - 1))]) }
    }
    fleet.stopOffering()
    // All wounds heal within two seconds; what is held is given back within three more.
    fleet.world.run(for: .seconds(6))
    fleet.checkRest()
    _ = fleet.check()
    if Seeds.single != nil { print((fleet.events + fleet.problems).joined(separator: "\n"), fleet.summary) }
    return fleet
  }

  private static func limits(_ random: inout SeededGenerator) -> [FleetLimit] {
    let length: Int64 = random.number(in: 300...1000) * 1000
    let all: [LimitRule] = [
      .window(limit: random.number(in: 10...200), lengthMicroseconds: length),
      .window(limit: random.number(in: 50...400), lengthMicroseconds: 1_000_000),
      // Long enough for leases that outlast a failover.
      .window(limit: random.number(in: 64...600), lengthMicroseconds: 30_000_000),
      .rate(intervalNanoseconds: random.number(in: 2...20) * 1_000_000, burst: random.number(in: 1...300)),
      .sliding(limit: random.number(in: 10...200), lengthMicroseconds: length),
      .concurrency(limit: random.number(in: 1...20)),
    ]
    return (0..<random.number(in: 1...3)).map { index in
      FleetLimit(
        name: "limit \(index)", rule: all[random.number(in: 0...(all.count - 1))],
        terms: LimitTerms(
          mode: LimitMode.allCases[random.number(in: 0...2)], outage: random.chance(0.5) ? .closed : .local))
    }
  }
}

extension Fleet {
  var summary: String {
    var sources: [String: Int] = [:]
    for record in records { sources["\(record.decision) \(record.source)", default: 0] += 1 }
    return "\n\(limits.map { "\($0.name): \($0.rule) \($0.terms.mode) \($0.terms.outage)" }.joined(separator: "\n"))\n"
      + "\(lives.count) lives, \(records.count) questions: \(sources.sorted { $0.key < $1.key }), \(redis.commandCount) commands"
  }
}
