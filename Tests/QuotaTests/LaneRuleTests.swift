import Core
import Crypto
import Pipeline
import Simulation
import Testing

@testable import Cluster

@Suite("Lane rules on a real Redis", .serialized)
struct LaneRuleTests {
  @Test("A denial changes no byte, an admission takes from all levels, and no window exceeds its limit")
  func allOrNone() throws {
    let redis = try RedisServer()
    for seed in 1...6 as ClosedRange<UInt64> {
      let rig = try LaneRig(redis: redis)
      try rig.open()
      var trace = LaneTrace(seed: seed)
      let batch = LaneBatch(map: rig.map)
      var (admitted, denied) = (0, 0)
      for _ in 0..<150 {
        rig.wall += abs(trace.step()) / 20
        let question = trace.question(at: rig.wall)
        let hits = trace.random.number(0...3) == 0 ? trace.random.number(2...9) : 1
        let mode: LaneMode = hits > 1 && trace.random.number(0...1) == 0 ? .allOrNothing : hits > 2 ? .lease : .plain
        let before = try peek(rig, batch, question)
        let kept = try dump(redis)
        batch.begin(lane: 0)
        let place = try #require(batch.append(question, hits: hits, mode: mode))
        try #require(try rig.decide(batch) == .answered)
        let count = batch.admitted(place.item)
        if count == 0 {
          denied += 1
          try #require(try dump(redis) == kept)
          continue
        }
        admitted += 1
        let after = try peek(rig, batch, question)
        for level in 0..<question.count {
          let text = "\(question[level].rule) cost \(question[level].cost) \(count) times"
          try #require(after[level].remaining == before[level].remaining - count * question[level].cost, "\(text)")
          try #require(after[level].remaining >= 0)
        }
      }
      #expect(admitted > 20 && denied > 20)
      try #require(rig.differences == [])
    }
  }

  /// How the levels stand, by asking for nothing.
  private func peek(_ rig: LaneRig, _ batch: LaneBatch, _ question: LimitQuestion) throws -> LimitQuestion {
    batch.begin(lane: 0)
    let place = try #require(batch.append(question, hits: 0))
    try #require(try rig.decide(batch) == .answered)
    var answer = question
    batch.answer(place, &answer)
    return answer
  }

  /// Every key and byte but the test's own clock.
  private func dump(_ redis: RedisServer) throws -> [String: RedisServer.Answer] {
    var all: [String: RedisServer.Answer] = [:]
    for key in try redis.ask("KEYS", "sluice:*").list.map({ String(decoding: $0.bytes, as: UTF8.self) }) {
      all[key] = try redis.ask("DUMP", key)
      all[key + " ends"] = try redis.ask("PEXPIRETIME", key)
    }
    return all
  }

  @Test("The script decides like the Function")
  func script() throws {
    let redis = try RedisServer()
    try redis.ask("FUNCTION", "LOAD", LaneLibrary.current.functionSource)
    try redis.ask("SCRIPT", "LOAD", LaneLibrary.current.scriptSource)
    let map = try #require(LaneMap(cluster: "t", laneCount: 1, secret: SipKey(low: 1, high: 2)))
    for dialect in [LaneDialect.script, .function] {
      let id = Array(String(repeating: dialect == .script ? "a" : "b", count: 40).utf8)
      let caller = try #require(LaneCaller(replicationID: id, node: 1, dialect: dialect))
      func send(_ encode: (ByteBuffer) -> Void) throws -> [UInt8] {
        let buffer = ByteBuffer()
        encode(buffer)
        return try redis.send([(0..<buffer.count).map { buffer[$0] }])[0].bytes
      }
      let opened = try send { LaneRecovery(members: 0).encode(for: caller, map, lane: 0, into: $0) }
      guard case .done(let record) = LaneRecordReply(RawSpan(opened)) else {
        Issue.record("\(opened)")
        return
      }
      let batch = LaneBatch(map: map)
      batch.begin(lane: 0)
      let limit = level(.window(limit: 3, lengthMicroseconds: 3_600_000_000), key: dialect == .script ? 1 : 2)
      for _ in 0..<5 { _ = batch.append(question(limit)) }
      let answer = try send { batch.encode(for: caller, clock: record.now, into: $0) }
      #expect(batch.read(RawSpan(answer)) == .answered)
      #expect(batch.admitted(0) == 3)
    }
  }
}
