import Core
import Foundation
import Net
import Pipeline
import Testing

@testable import Cluster

@Suite("Strict limits on a real Redis", .serialized)
struct StrictQuotaTests {
  private let hour: Int64 = 3_600_000_000

  private func rig(_ redis: RealRedis) throws -> QuotaRig {
    let rig = try QuotaRig(1, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    return rig
  }

  @Test("Who is admitted is known to a replica; where none answers nobody is, and others wait for nothing")
  func replicas() throws {
    let primary = try RealRedis(usesPort: true, "--repl-diskless-sync-delay 0")
    let replica = try RealRedis(usesPort: true, "--replicaof 127.0.0.1 \(primary.port)")
    #expect(try FailoverGroup.poll(primary.socket, "INFO", "replication") { $0.contains("state=online,offset=") })
    let rig = try rig(primary)
    let strict = question(level(.window(limit: 1000, lengthMicroseconds: hour), mode: .strict, outage: .closed))
    let other = question(level(.window(limit: 1000, lengthMicroseconds: hour), "other", outage: .closed))
    var admitted = 0
    // A new replica says for the first time within a second what it has; on a busy machine it may later take too long.
    for _ in 0..<600 where admitted < 30 {
      if try rig.decide(0, strict).decision == .admitted { admitted += 1 }
      try rig.run(milliseconds: 10)
    }
    #expect(admitted == 30)
    replica.freeze()
    try rig.run(milliseconds: 300)
    var refused = 0
    let calls = rig.quotas[0].statistics.calls
    for _ in 0..<20 {
      let answer = try rig.decide(0, strict)
      if answer.decision == .unavailable && answer.source == .closed { refused += 1 }
      if try rig.decide(0, other).decision == .admitted { admitted += 1 }
      try rig.run(milliseconds: 10)
    }
    #expect(refused == 20)
    // Nothing strict is asked again at once.
    #expect(rig.quotas[0].statistics.calls <= calls + 20 + 4)
    replica.thaw()
    var isBack = false
    for _ in 0..<200 where !isBack {
      try rig.run(milliseconds: 10)
      isBack = try rig.decide(0, strict).decision == .admitted
    }
    #expect(isBack)
  }

  @Test("Together with others in one call, only strict questions wait for a replica")
  func mixed() throws {
    let primary = try RealRedis()
    let rig = try rig(primary)
    let strict = question(
      level(.window(limit: 100, lengthMicroseconds: hour), mode: .strict, outage: .closed, owner: 1))
    let other = question(level(.window(limit: 100, lengthMicroseconds: hour), "other", outage: .closed, owner: 1))
    let tickets = [rig.ask(0, strict), rig.ask(0, other), rig.ask(0, strict), rig.ask(0, other)]
    #expect(try rig.settle())
    #expect(rig.quotas[0].statistics.calls == 1)
    #expect(tickets.map { rig.answers[$0]?.decision } == [.unavailable, .admitted, .unavailable, .admitted])
    // What is refused for want of a replica counts as used: somebody may have it.
    let left = try rig.decide(0, strict, peek: true)
    #expect(left[0].remaining == 98)
  }

  @Test("A limit that is used up is refused as such, replica or none")
  func denied() throws {
    let primary = try RealRedis()
    let rig = try rig(primary)
    let exact = question(level(.window(limit: 3, lengthMicroseconds: hour)))
    for _ in 0..<3 { #expect(try rig.decide(0, exact).decision == .admitted) }
    let strict = question(level(.window(limit: 3, lengthMicroseconds: hour), mode: .strict, outage: .closed))
    #expect(try rig.decide(0, strict).decision == .denied)
  }
}
