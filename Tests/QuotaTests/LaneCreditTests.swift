import Core
import Pipeline
import Simulation
import Testing

@testable import Cluster

@Suite("Lane credits")
struct LaneCreditTests {
  /// What was granted of one counter, and how much of it has been given back.
  struct Slice {
    let grant: LaneGrant
    let units: Int64
    var returned: Int64 = 0
  }

  /// Leases and exact questions of one counter, parts of the leases given back after a while. Returns all of it.
  private func history(_ rule: LimitRule, seed: UInt64, span: Int64) throws -> [Slice] {
    let rig = try LaneRig()
    try rig.open()
    var random = Seeded(state: seed)
    let batch = LaneBatch(map: rig.map)
    var slices: [Slice] = []
    for _ in 0..<400 {
      rig.wall += random.number(0...span / 10)
      batch.begin(lane: 0)
      let back = slices.indices.suffix(6).filter { _ in random.number(0...2) == 0 }
      var credits: [(item: Int, slice: Int, units: Int64)] = []
      for slice in back where slices[slice].returned < slices[slice].units {
        let units = random.number(1...slices[slice].units - slices[slice].returned)
        let place = try #require(
          batch.append(question(level(rule)), hits: units, mode: .credit(slices[slice].grant)))
        credits.append((place.item, slice, units))
      }
      let isLease = random.number(0...1) == 0
      let asked = try #require(
        batch.append(question(level(rule)), hits: isLease ? rule.limit : 1, mode: isLease ? .lease : .plain))
      try #require(try rig.decide(batch) == .answered)
      for credit in credits where batch.admitted(credit.item) > 0 { slices[credit.slice].returned += credit.units }
      if batch.admitted(asked.item) > 0 {
        slices.append(Slice(grant: batch.grant, units: batch.admitted(asked.item)))
      }
    }
    return slices
  }

  @Test(
    "A rate whose leases are given back never lets more be used than burst + span / interval in any span",
    arguments: 1...12 as ClosedRange<UInt64>)
  func rate(seed: UInt64) throws {
    let slices = try history(.rate(intervalNanoseconds: 10_000_000, burst: 40), seed: seed, span: 300_000)
    for first in slices.indices {
      var used: Int64 = 0
      for last in first..<slices.count {
        used += slices[last].units - slices[last].returned
        let span = (slices[last].grant.moment - slices[first].grant.moment) * 1000
        try #require(used <= 40 + span / 10_000_000)
      }
    }
    #expect(slices.contains { $0.returned > 0 })
  }

  @Test(
    "A window whose leases are given back lets its whole limit be used again, and never more",
    arguments: 1...6 as ClosedRange<UInt64>)
  func window(seed: UInt64) throws {
    let slices = try history(.window(limit: 100, lengthMicroseconds: 1_000_000), seed: seed, span: 200_000)
    var (used, granted) = ([Int64: Int64](), [Int64: Int64]())
    for slice in slices {
      used[slice.grant.moment / 1_000_000, default: 0] += slice.units - slice.returned
      granted[slice.grant.moment / 1_000_000, default: 0] += slice.units
    }
    #expect(used.values.allSatisfy { $0 <= 100 })
    #expect(granted.values.contains { $0 > 100 })
  }

  @Test(
    "A sliding window whose leases are given back never lets more than its limit be used in any span of its length",
    arguments: 1...6 as ClosedRange<UInt64>)
  func sliding(seed: UInt64) throws {
    let slices = try history(.sliding(limit: 60, lengthMicroseconds: 900_000), seed: seed, span: 300_000)
    for first in slices.indices {
      let inside = slices[first...].prefix { $0.grant.moment < slices[first].grant.moment + 900_000 }
      #expect(inside.reduce(0) { $0 + $1.units - $1.returned } <= 60)
    }
    #expect(slices.contains { $0.returned > 0 })
  }

  @Test("What was granted before a failover is not taken back after it")
  func epochs() throws {
    let rig = try LaneRig()
    try rig.open()
    let (batch, limit) = (LaneBatch(map: rig.map), level(.window(limit: 10, lengthMicroseconds: 60_000_000)))
    batch.begin(lane: 0)
    _ = batch.append(question(limit), hits: 10, mode: .allOrNothing)
    try #require(try rig.decide(batch) == .answered)
    let grant = batch.grant
    try rig.open(LaneRig.caller(id: "b"))
    batch.begin(lane: 0)
    let credit = try #require(batch.append(question(limit), hits: 10, mode: .credit(grant)))
    let more = try #require(batch.append(question(limit)))
    try #require(try rig.decide(batch, LaneRig.caller(id: "b")) == .answered)
    #expect(batch.admitted(credit.item) == 0)
    #expect(!batch.isAdmitted(more))
  }
}
