import Core
import Foundation
import Net
import Pipeline
import Testing

@testable import Cluster

@Suite("Sole leases on a real Redis", .serialized)
struct SoleLeaseTests {
  private let hour: Int64 = 3_600_000_000

  @Test("A quiet counter of one node alone is asked for some units at a time, called in when others want them")
  func soleLeases() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(2, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let asked = question(level(.window(limit: 320, lengthMicroseconds: hour), mode: .leased))
    var remaining: [Int64] = []
    // Slower than what is leased for its pace. A lease of 2, of 4, of 8, of 16 and of 20, which is a sixteenth.
    for _ in 0..<60 {
      let answer = try rig.decide(0, asked)
      #expect(answer.decision == .admitted)
      remaining.append(answer[0].remaining)
      try rig.run(milliseconds: 55)
    }
    #expect(remaining == (0..<60).map { 319 - Int64($0) })
    let calls = rig.quotas[0].statistics.calls
    #expect(calls >= 2 && calls <= 9, "\(calls) calls")
    #expect(rig.quotas[0].statistics.heldUnits > 0)
    // The other one wants all that is left, and leases nothing beside the first.
    var admitted = 60
    let end = Clock.monotonic().advanced(byNanoseconds: 20_000_000_000)
    while admitted < 320 && Clock.monotonic() < end {
      if try rig.decide(1, asked).decision == .admitted { admitted += 1 } else { try rig.run(milliseconds: 2) }
    }
    #expect(admitted == 320)
    #expect(try rig.decide(0, asked).decision == .denied && rig.decide(1, asked).decision == .denied)
    #expect(rig.quotas[0].statistics.heldUnits == 0 && rig.quotas[1].statistics.recalls > 0)
  }

  @Test("What is held for long is not spent when the store has been silent for a second, or has been opened anew")
  func soleLeasesEnd() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(1, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let asked = question(level(.window(limit: 320, lengthMicroseconds: hour), mode: .leased))
    for _ in 0..<10 {
      #expect(try rig.decide(0, asked).decision == .admitted)
      try rig.run(milliseconds: 55)
    }
    let held = rig.quotas[0].statistics.heldUnits
    #expect(held > 0)
    try rig.run(milliseconds: 1100)
    // Held still, but first the store has to say that it is the same.
    #expect(rig.quotas[0].statistics.heldUnits == held)
    #expect(try rig.decide(0, asked).source == .exact)
    #expect(try rig.decide(0, asked).source == .leased)
    #expect(rig.quotas[0].statistics.heldUnits == held - 1)
    redis.kill()
    try rig.run { rig.quotas[0].primaries[0].breaker.state == .open }
    try redis.start()
    #expect(try rig.open())
    try rig.run(milliseconds: 1100)
    #expect(try rig.decide(0, asked).source == .exact)
    #expect(try rig.decide(0, asked).source == .exact)
    var admitted: Int64 = 14
    for _ in 0..<400 where try rig.decide(0, asked).decision == .admitted { admitted += 1 }
    #expect(admitted <= 320 && admitted >= 320 - Int64(held))
  }
}
