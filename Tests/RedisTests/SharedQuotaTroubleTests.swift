import Core
import Foundation
import Net
import Pipeline
import Testing

@testable import Cluster

@Suite("Shared quota in trouble", .serialized)
struct SharedQuotaTroubleTests {
  private let hour: Int64 = 3_600_000_000

  @Test("Questions that waited since the node itself was stopped are asked, not decided without the store")
  func stalls() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(2, RedisServer(address: .socket(redis.socket))) { $0.deadline = 200_000_000 }
    #expect(try rig.open())
    let asked = question(level(.window(limit: 10, lengthMicroseconds: hour)))
    for _ in 0..<10 { #expect(try rig.decide(1, asked).decision == .admitted) }
    redis.freeze()
    // The first is under way, and so the second waits for it.
    let first = rig.ask(0, asked)
    try rig.run(milliseconds: 1)
    let second = rig.ask(0, asked)
    var wasStopped = false
    let areAnswered = try rig.run {
      if !wasStopped {
        wasStopped = true
        redis.thaw()
        Thread.sleep(forTimeInterval: 0.4)
      }
      return rig.answers[second]?.decision != .waiting
    }
    #expect(areAnswered)
    for ticket in [first, second] {
      let answer = try #require(rig.answers[ticket])
      #expect(answer.decision == .denied && !answer.source.isDegraded)
    }
  }

  @Test("Slots that were to be given back are not used while nobody knows whether they were")
  func slotsGivenBack() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(2, RedisServer(address: .socket(redis.socket))) { $0.deadline = 50_000_000 }
    #expect(try rig.open())
    let asked = question(level(.concurrency(limit: 8), outage: .closed))
    for var one in try take(rig, 0, asked) { rig.quotas[0].release(&one, now: rig.loop.now) }
    // The first renewal asks for as many as there were, the second for none. It is not answered.
    try rig.run(milliseconds: 1500)
    redis.freeze()
    try rig.run(milliseconds: 700)
    redis.thaw()
    let others = try take(rig, 1, asked)
    let mine = try take(rig, 0, asked)
    #expect(others.count > 4 && others.count + mine.count <= 8)
  }

  @Test("Slots that a node took while the store was away count as soon as it is back")
  func slotsTakenAlone() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(2, RedisServer(address: .socket(redis.socket))) { $0.deadline = 50_000_000 }
    #expect(try rig.open())
    let asked = question(level(.concurrency(limit: 8)))
    redis.freeze()
    let alone = try take(rig, 0, asked)
    #expect(alone.count == 4)
    redis.thaw()
    #expect(try rig.run { rig.quotas.allSatisfy { $0.primaries[0].breaker.state == .closed } })
    try rig.run(milliseconds: 50)
    let others = try take(rig, 1, asked)
    #expect(3...4 ~= others.count)
    // And when they end, nothing is left of them: neither there nor of the node's share.
    for var one in alone { rig.quotas[0].release(&one, now: rig.loop.now) }
    for var one in others { rig.quotas[1].release(&one, now: rig.loop.now) }
    try rig.run(milliseconds: 3500)
    #expect(rig.quotas.allSatisfy { $0.slotHolders.isEmpty })
    redis.freeze()
    #expect(try take(rig, 0, asked).count == 4)
    redis.thaw()
  }

  @Test("Lanes that a flushed store has lost are opened again for slots too")
  func slotsOfAFlushedStore() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(1, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let asked = question(level(.concurrency(limit: 8), outage: .closed))
    #expect(try rig.decide(0, asked).decision == .admitted)
    let link = try RealLink(RedisServer(address: .socket(redis.socket)))
    #expect(try link.run { $0.ups == [1] })
    _ = link.owner.link.send(tag: 1, within: 1_000_000_000) { RedisCommand.append(["FLUSHALL"], to: $0) }
    #expect(try link.run { $0.outcomes.count == 1 })
    #expect(try rig.run(milliseconds: 3000) { rig.quotas[0].lanes.contains { $0.state != .open } })
    #expect(try rig.open())
    #expect(try take(rig, 0, asked).count > 4)
  }

  @Test("What was leased under a window of another length is neither spent nor given back under the new one")
  func otherWindow() throws {
    let redis = try RealRedis()
    let rig = try QuotaRig(2, RedisServer(address: .socket(redis.socket)))
    #expect(try rig.open())
    let short = question(level(.window(limit: 4000, lengthMicroseconds: hour), mode: .leased))
    let long = question(level(.window(limit: 100, lengthMicroseconds: 2 * hour), mode: .leased))
    for _ in 0..<40 where rig.quotas[0].statistics.heldUnits < 20 {
      for _ in 0..<10 { _ = try rig.decide(0, short) }
      try rig.run(milliseconds: 5)
    }
    #expect(rig.quotas[0].statistics.heldUnits >= 20)
    var admitted = 0
    for _ in 0..<300 {
      for part in 0..<2 where try rig.decide(part, long).decision == .admitted { admitted += 1 }
    }
    #expect(admitted <= 100 && admitted >= 50)
  }

  /// Takes as many slots as there are, as one who asks again and again.
  private func take(_ rig: QuotaRig, _ part: Int, _ asked: LimitQuestion) throws -> [LimitQuestion] {
    var taken: [LimitQuestion] = []
    for _ in 0..<40 {
      let answer = try rig.decide(part, asked)
      if answer.decision == .admitted { taken.append(answer) } else { try rig.run(milliseconds: 6) }
    }
    return taken
  }
}
