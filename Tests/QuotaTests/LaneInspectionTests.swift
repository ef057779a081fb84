import Core
import Crypto
import Pipeline
import Testing

@testable import Cluster

@Suite("Looking into a store", .serialized)
struct LaneInspectionTests {
  private let redis: RedisServer
  private let map = LaneMap(cluster: "t", laneCount: 4, secret: SipKey(low: 1, high: 2))!

  init() throws {
    redis = try RedisServer()
    try redis.ask("FUNCTION", "LOAD", LaneLibrary.current.functionSource)
  }

  private func send(_ encode: (ByteBuffer) -> Void) throws -> RedisServer.Answer {
    let buffer = ByteBuffer()
    encode(buffer)
    return try redis.send([(0..<buffer.count).map { buffer[$0] }])[0]
  }

  /// The store's time.
  private func clock() throws -> WallTime {
    let words = try redis.ask("TIME").list.map { String(decoding: $0.bytes, as: UTF8.self) }
    return WallTime(microseconds: Int64(words[0])! * 1_000_000 + Int64(words[1])!)
  }

  private func wire(_ answer: RedisServer.Answer) -> [UInt8] {
    switch answer {
    case .bytes(let bytes): Array("$\(bytes.count)\r\n".utf8) + bytes + Array("\r\n".utf8)
    case .list(let list): Array("*\(list.count)\r\n".utf8) + list.flatMap(wire)
    case .nothing: Array("$-1\r\n".utf8)
    default: Array("-ERR other\r\n".utf8)
    }
  }

  private func inspect(_ level: QuotaLevel) throws -> LaneInspection {
    var inspection = LaneInspection(map: map, level: level, clock: try clock())
    for index in 0..<inspection.commandCount {
      let answer = try send { inspection.encode(index, for: LaneRig.caller(9), into: $0) }
      var reader = RedisReader()
      let bytes = wire(answer)
      _ = reader.feed(RawSpan(bytes))
      guard case .reply(let reply) = reader.next() else { throw RedisServer.Failure(text: "no reply") }
      inspection.read(index, reply.value)
    }
    return inspection
  }

  private func open(_ lane: Int) throws {
    _ = try send { LaneRecovery(members: 0).encode(for: LaneRig.caller(), map, lane: lane, into: $0) }
  }

  /// Every key with all its bytes.
  private func dump() throws -> [String: RedisServer.Answer] {
    var all: [String: RedisServer.Answer] = [:]
    for key in try redis.ask("KEYS", "*").list.map({ String(decoding: $0.bytes, as: UTF8.self) }) {
      all[key] = try redis.ask("DUMP", key)
    }
    return all
  }

  private static let rules: [(LimitRule, String, String)] = [
    (.rate(intervalNanoseconds: 100_000_000_000, burst: 20), "rate, in generations of 4096 s", ":g4096:"),
    (.window(limit: 20, lengthMicroseconds: 3_600_000_000), "fixed window of 3600 s", ":w3600:"),
    (.sliding(limit: 20, lengthMicroseconds: 900_000_000), "sliding window in steps of 100 s", ":s4096:"),
    (.calendar(limit: 20), "calendar period", ":c:0-9000000000"),
  ]

  @Test("A counter is found where it lies, with what is left, and nothing is changed", arguments: 0..<4)
  func counters(index: Int) throws {
    let (rule, kind, part) = Self.rules[index]
    let period = CivilPeriod(
      start: WallTime(microseconds: 0), end: WallTime(microseconds: 9_000_000_000_000_000))
    let level = level(rule, key: 7, period: period)
    let closed = try inspect(level)
    guard case .notOpen = closed.outcome else {
      Issue.record("\(closed.outcome)")
      return
    }
    try open(closed.lane)
    let batch = LaneBatch(map: map)
    batch.begin(lane: closed.lane)
    _ = batch.append(question(level), hits: 3)
    let taken = try send { batch.encode(for: LaneRig.caller(), clock: closed.clock, into: $0) }
    #expect(batch.read(RawSpan(taken.bytes)) == .answered)
    let before = try dump()
    let found = try inspect(level)
    #expect(try dump() == before)
    guard case .answered(let answered) = found.outcome else {
      Issue.record("\(found.outcome)")
      return
    }
    #expect(answered.remaining == 17)
    #expect(found.kind == kind && found.keys[0].contains(part) && found.keys[0].hasPrefix("sluice:t:{rl:"))
    #expect(found.field.count == 24 && found.values[0]?.isEmpty == false && found.holders.isEmpty)
    #expect(try redis.ask("EXISTS", found.keys[0]).number == 1)
  }

  @Test("Of a concurrency limit it is told who holds how many slots, and until when")
  func slots() throws {
    let level = level(.concurrency(limit: 12), key: 3)
    var inspection = try inspect(level)
    try open(inspection.lane)
    for node in 1...2 as ClosedRange<UInt64> {
      var slots = LaneSlots(map: map, lane: inspection.lane)
      _ = slots.append(level, wanted: 2)
      _ = try send { slots.encode(for: LaneRig.caller(node), leaseMicroseconds: 60_000_000, into: $0) }
    }
    inspection = try inspect(level)
    guard case .answered(let answered) = inspection.outcome else {
      Issue.record("\(inspection.outcome)")
      return
    }
    #expect(answered.remaining == 8)
    #expect(inspection.holders.sorted { $0.node < $1.node }.map(\.slots) == [2, 2])
    #expect(inspection.holders.allSatisfy { $0.moment > inspection.clock })
    #expect(inspection.keys.count == 1 && inspection.keys[0].contains(":k:") && inspection.field.isEmpty)
  }

  @Test("Who asked for tokens on lease is told, with the second")
  func askers() throws {
    let level = level(.window(limit: 1000, lengthMicroseconds: 3_600_000_000), key: 5)
    var inspection = try inspect(level)
    try open(inspection.lane)
    let batch = LaneBatch(map: map)
    batch.begin(lane: inspection.lane)
    _ = batch.append(question(level), hits: 100, mode: .lease, leased: 1)
    _ = try send { batch.encode(for: LaneRig.caller(77), clock: inspection.clock, into: $0) }
    inspection = try inspect(level)
    #expect(inspection.holders.map(\.node) == [77] && inspection.holders.map(\.slots) == [0])
    let second = try #require(inspection.holders.first).moment.seconds
    #expect(abs(second - inspection.clock.seconds) <= 1)
  }
}
