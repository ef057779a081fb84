import Core
import Testing

@testable import Cluster

@Suite("Members on a real Redis", .serialized)
struct MemberTests {
  private static let limits: [Int64] = [1, 5, 12, 100, 1_000_003]

  @Test("Shares never sum to more than the limit, whatever fails, and to all of it when nothing does any more")
  func sums() throws {
    let redis = try RedisServer()
    for seed in 1...60 as ClosedRange<UInt64> {
      let rig = try MemberRig(redis: redis, seed: seed)
      for step in 0..<80 {
        try act(rig)
        for _ in 0..<4 {
          try rig.pass(rig.random.number(1...3) * 100_000)
          for limit in Self.limits {
            try #require(rig.used(of: limit) <= limit, "seed \(seed) step \(step) limit \(limit)")
          }
        }
      }
      try settle(rig, "seed \(seed)")
    }
  }

  private func act(_ rig: MemberRig) throws {
    switch rig.random.number(0...29) {
    case 0...5: if rig.nodes.count < 8 { rig.join() }
    case 6: rig.crash()
    case 7: try rig.leave()
    case 8...9: rig.stop(rig.random.number(0...80) * 100_000)
    case 10...11: rig.disconnect()
    case 12: rig.freeze(rig.random.number(1...200) * 100_000)
    case 13...15: try rig.copyAll()
    case 16: try rig.failOver()
    default: break
    }
  }

  /// Heals everything and waits until nothing moves: a life to settle, another to miss somebody, some beats to agree.
  private func settle(_ rig: MemberRig, _ text: String) throws {
    rig.heal()
    if rig.nodes.isEmpty { rig.join() }
    for _ in 0..<80 {
      try rig.pass(200_000)
      for limit in Self.limits { try #require(rig.used(of: limit) <= limit, "\(text) limit \(limit)") }
    }
    for limit in Self.limits { try #require(rig.used(of: limit) == limit, "\(text) limit \(limit)") }
    let standings = rig.nodes.values.compactMap(\.beat.standing)
    #expect(standings.allSatisfy { $0.isListed && $0.count == rig.nodes.count && $0.participants == 2 * $0.count })
    #expect(Set(standings.map(\.rank)) == Set(0..<rig.nodes.count))
  }

  /// So many nodes, all listed.
  private func calm(_ redis: RedisServer, _ count: Int) throws -> MemberRig {
    let rig = try MemberRig(redis: redis, seed: 7, isCalm: true)
    for _ in 0..<count { rig.join() }
    try rig.pass(10_000_000)
    try #require(rig.used(of: 100) == 100)
    return rig
  }

  @Test("A joiner waits until all others count it")
  func joiner() throws {
    let rig = try calm(RedisServer(), 3)
    let others = Set(rig.nodes.keys)
    rig.join()
    let joiner = try #require(rig.nodes.keys.first { !others.contains($0) })
    try rig.pass(100_000)
    #expect(rig.nodes[joiner]?.beat.standing?.count == 4)
    var waited = 0
    while rig.nodes[joiner]?.beat.share(of: 100) == 0, waited < 50 {
      #expect(rig.used(of: 100) <= 100)
      try rig.pass(100_000)
      waited += 1
    }
    #expect(waited < 50)
    #expect(rig.nodes.values.allSatisfy { $0.beat.share(of: 100) == 25 })
  }

  @Test("Who leaves is gone at once, who dies after a life")
  func leaver() throws {
    let rig = try calm(RedisServer(), 4)
    try rig.leave()
    try rig.pass(1_200_000)
    #expect(rig.nodes.values.allSatisfy { $0.beat.standing?.count == 3 } && rig.used(of: 100) == 100)
    rig.crash()
    try rig.pass(3_500_000)
    #expect(rig.nodes.values.allSatisfy { $0.beat.standing?.count == 3 })
    try rig.pass(3_000_000)
    #expect(rig.nodes.values.allSatisfy { $0.beat.standing?.count == 2 } && rig.used(of: 100) == 100)
  }

  @Test("Nobody loses a share because Redis stood still, or because a failover lost the hash")
  func outages() throws {
    let rig = try calm(RedisServer(), 3)
    rig.freeze(60_000_000)
    for outage in 0..<2 {
      for _ in 0..<350 {
        try rig.pass(200_000)
        try #require(rig.used(of: 100) == 100)
      }
      if outage == 0 { try rig.failOver() }
    }
  }

  @Test("A primary that lacks what nodes were told is found out before any share grows")
  func oldPrimary() throws {
    let rig = try calm(RedisServer(), 2)
    let old = try #require(rig.nodes.keys.first)
    try rig.copyAll()
    rig.join()
    try rig.pass(10_000_000)
    #expect(rig.nodes.values.allSatisfy { $0.beat.standing?.count == 3 })
    try rig.failOver(toOld: true)
    rig.isolate(old, 1_500_000)
    for _ in 0..<150 {
      try rig.pass(100_000)
      try #require(rig.used(of: 100) <= 100)
    }
    #expect(rig.used(of: 100) == 100)
  }

  @Test("Who comes back to a primary that does not know that he was dropped has to be counted anew")
  func returns() throws {
    let rig = try calm(RedisServer(), 3)
    try rig.copyAll()
    let stopped = try #require(rig.nodes.keys.min())
    rig.stop(stopped, 8_000_000)
    try rig.pass(7_900_000)
    #expect(rig.nodes.values.count { $0.beat.standing?.count == 2 } == 2)
    try rig.failOver(toOld: true)
    rig.isolate(stopped, 1_500_000)
    for _ in 0..<150 {
      try rig.pass(100_000)
      try #require(rig.used(of: 100) <= 100)
    }
    #expect(rig.used(of: 100) == 100)
  }

  @Test("A joiner that is alone waits as well, since a failover could make it unknown")
  func alone() throws {
    let rig = try calm(RedisServer(), 1)
    try rig.leave()
    rig.join()
    try rig.pass(2_000_000)
    #expect(rig.used(of: 100) == 0)
    try rig.pass(2_000_000)
    #expect(rig.used(of: 100) == 100)
  }

  @Test("A node that was stopped for so long that it forgot its share has none")
  func forgets() throws {
    let rig = try calm(RedisServer(), 1)
    var beat = try #require(rig.nodes.values.first).beat
    #expect(beat.share(of: 7) == 7)
    beat.forget()
    #expect(beat.share(of: 7) == 0)
  }

  @Test("Names are cut at whole characters, and other answers are refused")
  func details() throws {
    let redis = try RedisServer()
    try redis.ask("FUNCTION", "LOAD", LaneLibrary.current.functionSource)
    var beat = MemberBeat(cluster: "c", node: 1, participants: 3, name: String(repeating: "\u{e9}", count: 40))
    let buffer = ByteBuffer()
    beat.encode(for: LaneRig.caller(), clock: 0, into: buffer)
    let answer = try redis.send([(0..<buffer.count).map { buffer[$0] }])[0].bytes
    guard case .settling(_, let told) = beat.read(RawSpan(answer)) else {
      Issue.record("\(answer)")
      return
    }
    #expect(told.count == 1 && told.participants == 3 && !told.isListed && beat.standing == nil)
    let entries = try redis.ask("HVALS", "sluice:c:{members}:m").list.map(\.bytes)
    let name = Array(String(repeating: "\u{e9}", count: 32).utf8)
    #expect(entries.contains { $0.count == 56 + 64 && $0.suffix(64).elementsEqual(name) })
    for other in [Array(answer.dropLast()), Array("R".utf8) + answer.dropFirst()] {
      let reply = beat.read(RawSpan(other))
      #expect(reply == .malformed)
    }
  }
}

@Suite("What a node knows of the others") struct NodeQuotaTests {
  @Test("A store that has lost its list does not make a node forget how many there were a moment ago")
  func participants() {
    let (node, second) = (NodeQuota(loops: 2), Int64(1_000_000_000))
    node.noteParticipants(8, at: 100 * second)
    node.noteParticipants(2, at: 101 * second)
    #expect(node.participants == 8)
    for moment in 102...112 { node.noteParticipants(2, at: Int64(moment) * second) }
    #expect(node.participants == 2)
  }
}
