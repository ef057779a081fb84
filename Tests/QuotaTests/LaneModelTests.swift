import Core
import Foundation
import Pipeline
import Simulation
import Testing

@testable import Cluster

@Suite("Decision library", .serialized)
struct LaneModelTests {
  /// Items that the comparison makes: a tenth of what the design asks for, unless told otherwise.
  static let operations = ProcessInfo.processInfo.environment["SLUICE_LANE_OPERATIONS"].flatMap { Int($0) } ?? 100_000

  /// The nodes of a trace and what they remember.
  struct Nodes {
    var watermarks: [[LaneWatermark.Name: LaneWatermark]] = [[:], [:]]
    var grants: [(question: LimitQuestion, hits: Int64, grant: LaneGrant)] = []
    var id: Character = "a"
    var (admitted, refused) = (0, 0)
  }

  @Test("A real Redis answers and keeps what the model does, whatever is asked")
  func sameAsModel() throws {
    let redis = try RedisServer()
    var (operations, admitted, refused) = (0, 0, 0)
    var seed: UInt64 = 1
    var kinds: [Character: Int] = [:]
    while operations < Self.operations {
      let rig = try LaneRig(redis: redis)
      var (trace, nodes) = (LaneTrace(seed: seed), Nodes())
      for lane in 0...1 { try rig.open(lane: lane) }
      var calls = 0
      while calls < 200 && operations < Self.operations {
        rig.wall = max(LaneRig.start, rig.wall + trace.step())
        operations += try step(rig, &trace, &nodes)
        (admitted, refused) = (admitted + nodes.admitted, refused + nodes.refused)
        (nodes.admitted, nodes.refused) = (0, 0)
        calls += 1
        if !rig.differences.isEmpty { break }
      }
      try rig.compareKeys()
      try #require(rig.differences == [], "seed \(seed)")
      kinds.merge(rig.kinds, uniquingKeysWith: +)
      seed += 1
    }
    // The comparison says nothing about what never happens.
    #expect("ABGRW".allSatisfy { kinds[$0, default: 0] > 20 }, "\(kinds)")
    #expect(min(admitted, refused) > operations / 10, "\(admitted) admitted, \(refused) refused")
  }

  private func step(_ rig: LaneRig, _ trace: inout LaneTrace, _ nodes: inout Nodes) throws -> Int {
    let lane = Int(trace.random.number(0...1))
    // Two loops of one machine, and another machine.
    let caller = LaneRig.caller([1, 2, 1 << 20][Int(trace.random.number(0...2))], id: nodes.id)
    switch trace.random.number(0...24) {
    case 0:
      nodes.id = ["a", "b", "c"][Int(trace.random.number(0...2))]
      let recovery = LaneRecovery(
        members: Int(trace.random.number(0...2)),
        latest: WallTime(microseconds: rig.wall + trace.random.number(-9...9) * 1_000_000))
      _ = try rig.call { recovery.encode(for: LaneRig.caller(id: nodes.id), rig.map, lane: lane, into: $0) }
      return 1
    case 1, 2: return try merge(rig, &trace, nodes, lane, caller)
    case 3: return try slots(rig, &trace, lane, caller)
    default: return try apply(rig, &trace, &nodes, lane, caller)
    }
  }

  private func apply(
    _ rig: LaneRig, _ trace: inout LaneTrace, _ nodes: inout Nodes, _ lane: Int, _ caller: LaneCaller
  ) throws -> Int {
    let batch = LaneBatch(map: rig.map)
    batch.begin(lane: lane)
    var leases: [(LimitQuestion, Int)] = []
    let period = rig.wall + trace.random.number(-1...1) / 1 * (trace.random.number(0...30) == 0 ? 86_400_000_000 : 0)
    for _ in 0..<trace.random.number(1...120) {
      let question = trace.question(at: period)
      let hits =
        trace.random.number(0...5) > 0
        ? 1 : trace.random.number(0...[3, 300, 1 << 31][Int(trace.random.number(0...2))])
      var (mode, asked) = (LaneMode.plain, question)
      switch trace.random.number(0...15) {
      case 0: mode = .allOrNothing
      case 1, 2: mode = trace.random.number(0...3) == 0 ? .soleLease : .lease
      case 3: mode = trace.random.number(0...9) == 0 ? .debt : .plain
      case 4:
        guard let grant = nodes.grants.randomElement(using: &trace.random) else { break }
        (mode, asked) = (.credit(grant.grant), grant.question)
      default: break
      }
      guard let place = batch.append(asked, hits: hits, mode: mode, leased: trace.random.number(0...1) == 0 ? .max : 0)
      else { continue }
      if mode == .lease || mode == .soleLease { leases.append((question, place.item)) }
    }
    if batch.isEmpty { return 0 }
    guard try rig.decide(batch, caller, guess: rig.wall + trace.step() / 100) == .answered else { return batch.count }
    for item in 0..<batch.count {
      if batch.admitted(item) > 0 { nodes.admitted += 1 } else { nodes.refused += 1 }
    }
    batch.forEachWatermark { nodes.watermarks[lane][$0.name] = $0 }
    for (question, item) in leases where batch.admitted(item) > 0 {
      nodes.grants.append((question, batch.admitted(item), batch.grant))
    }
    if nodes.grants.count > 50 { nodes.grants.removeFirst(25) }
    return batch.count
  }

  private func merge(
    _ rig: LaneRig, _ trace: inout LaneTrace, _ nodes: Nodes, _ lane: Int, _ caller: LaneCaller
  ) throws -> Int {
    var merge = LaneMerge(map: rig.map, lane: lane)
    var count = 1
    // The order of a dictionary is another in each run: a seed must mean the same each time.
    let known = nodes.watermarks[lane].values.sorted {
      ($0.name.field.low, $0.byteCount) < ($1.name.field.low, $1.byteCount)
    }
    for watermark in known where trace.random.number(0...2) == 0 {
      count += merge.append(watermark) ? 1 : 0
    }
    let isLast = trace.random.number(0...1) == 0
    let latest = WallTime(microseconds: trace.random.number(0...1) * (rig.wall + 3_000_000))
    _ = try rig.call {
      merge.encode(for: caller, isLast: isLast, clock: WallTime(microseconds: rig.wall), latest: latest, into: $0)
    }
    return count
  }

  private func slots(_ rig: LaneRig, _ trace: inout LaneTrace, _ lane: Int, _ caller: LaneCaller) throws -> Int {
    var slots = LaneSlots(map: rig.map, lane: lane)
    for key in 1...trace.random.number(1...6) {
      let rule = LimitRule.concurrency(limit: trace.random.number(0...40))
      _ = slots.append(level(rule, key: UInt64(key)), wanted: trace.random.number(0...30))
    }
    let isHolding = trace.random.number(0...5) == 0
    let answer = try rig.call {
      slots.encode(for: caller, leaseMicroseconds: 3_000_000, isHolding: isHolding, into: $0)
    }
    #expect(slots.read(RawSpan(answer)) != .malformed)
    return 6
  }
}
