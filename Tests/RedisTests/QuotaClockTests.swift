import Core
import Foundation
import Net
import Pipeline
import Testing

@testable import Cluster

/// T10 of the design: a Redis whose clock the test sets. Only the difference to the nodes' clocks matters to them.
@Suite("Quota safety and clocks", .serialized)
struct QuotaClockTests {
  private static let hour: Int64 = 3_600_000_000

  /// The library, on a clock that is off by what the key `offset` says, in microseconds. Keys end by Redis's own clock.
  private static let testLibrary = StoreLibrary(
    name: "gwrl_1",
    source: LaneLibrary.current.scriptSource
      .replacing(
        /local function wall\(\)[^\n]*/,
        with: """
          local shift = 0
          local function wall()
            local time = redis.call('TIME')
            shift = tonumber(redis.call('GET', 'offset') or 0)
            return time[1] * 1000000 + time[2] + shift
          end
          """
      )
      .replacing(
        "local function milliseconds(moment) ", with: "local function milliseconds(moment) moment = moment - shift "))

  private static let rules: [LimitRule] = [
    .window(limit: 60, lengthMicroseconds: hour), .sliding(limit: 60, lengthMicroseconds: hour),
    .rate(intervalNanoseconds: 100_000_000_000, burst: 60),
  ]

  @Test(
    "Nodes whose clocks are an hour off admit exactly the limit", arguments: [hour, -hour], [LimitMode.exact, .leased])
  func skew(offset: Int64, mode: LimitMode) throws {
    let redis = try RealRedis()
    try set(redis.socket, offset)
    let rig = try rig(3, .socket(redis.socket))
    #expect(try rig.open())
    for rule in Self.rules {
      // Leased, an hour's windows keep something back for what is spent late; all of it counts the same.
      let counts = try admitted(rig, rule, mode, rounds: 90)
      #expect(mode == .exact ? counts == 60 : counts <= 60 && counts >= 55)
    }
  }

  @Test("A clock that is set back by an hour gives nothing back", arguments: [LimitMode.exact, .leased])
  func back(mode: LimitMode) throws {
    let redis = try RealRedis()
    // A second into an hour, so that going back leads to another window.
    try set(redis.socket, Self.hour - Clock.civil().microseconds % Self.hour + 1_000_000)
    let rig = try rig(3, .socket(redis.socket))
    #expect(try rig.open())
    let before = try Self.rules.map { try admitted(rig, $0, mode, rounds: 90) }
    try set(redis.socket, Self.hour - Clock.civil().microseconds % Self.hour + 1_000_000 - Self.hour)
    let fresh = try self.rig(2, .socket(redis.socket))
    #expect(try fresh.open())
    try expectNothingBack(after: before, on: [rig, fresh], mode)
  }

  @Test(
    "A promoted primary whose clock is five seconds behind gives nothing back", arguments: [LimitMode.exact, .leased])
  func promoted(mode: LimitMode) throws {
    let redis = try RealRedis(usesPort: true)
    let replica = try RealRedis(usesPort: true, "--replicaof 127.0.0.1 \(redis.port) --replica-read-only no")
    let offset = Self.hour - Clock.civil().microseconds % Self.hour + 1_000_000
    try set(redis.socket, offset)
    let link = redis.folder.appending(path: "current")
    try FileManager.default.createSymbolicLink(at: link, withDestinationURL: URL(filePath: redis.path))
    let rig = try rig(3, .socket(.unix(path: link.path)))
    #expect(try rig.open())
    let before = try Self.rules.map { try admitted(rig, $0, mode, rounds: 90) }
    let isOffset = try FailoverGroup.poll(replica.socket, "GET", "offset") { $0.contains("\(offset)") }
    #expect(isOffset)
    try rig.run(milliseconds: 300)
    try set(replica.socket, offset - 5_000_000)
    redis.kill()
    #expect(try ask(replica.socket, "REPLICAOF", "NO", "ONE") == "+OK")
    try FileManager.default.removeItem(at: link)
    try FileManager.default.createSymbolicLink(at: link, withDestinationURL: URL(filePath: replica.path))
    #expect(try rig.run { rig.quotas.allSatisfy { $0.primaries[0].breaker.state == .open } })
    #expect(try rig.open())
    let fresh = try self.rig(2, .socket(replica.socket))
    #expect(try fresh.open())
    try expectNothingBack(after: before, on: [rig, fresh], mode)
  }

  // MARK: Helpers

  private func rig(_ count: Int, _ address: AddressText) throws -> QuotaRig {
    try QuotaRig(count, RedisServer(address: address)) {
      $0.laneLibrary = Self.testLibrary
      // On a busy machine nobody is to be refused for being late.
      $0.deadline = 1_000_000_000
    }
  }

  /// How many of so many questions, asked by the nodes in turn, are admitted.
  private func admitted(_ rig: QuotaRig, _ rule: LimitRule, _ mode: LimitMode, rounds: Int) throws -> Int {
    let asked = question(level(rule, "\(rule)", mode: mode, outage: .closed))
    var count = 0
    for round in 0..<rounds {
      let answer = try rig.decide(round % rig.quotas.count, asked)
      #expect(answer.decision != .unavailable)
      if answer.decision == .admitted { count += 1 }
    }
    return count
  }

  /// Whoever asks after the clock has gone back gets at most what was left: leased, that is what nodes hold and have not spent.
  private func expectNothingBack(after before: [Int], on rigs: [QuotaRig], _ mode: LimitMode) throws {
    for (rule, count) in zip(Self.rules, before) {
      #expect(mode == .exact ? count == 60 : (55...60).contains(count))
      var all = count
      for rig in rigs { all += try admitted(rig, rule, mode, rounds: 30) }
      #expect(all <= 60)
    }
  }

  private func set(_ address: SocketAddress, _ offset: Int64) throws {
    #expect(try ask(address, "SET", "offset", "\(offset)") == "+OK")
  }

  /// Asks a server something on a connection of its own.
  private func ask(_ address: SocketAddress, _ words: String...) throws -> String {
    var settings = RedisLinkSettings(clientName: "test")
    settings.needsPrimary = false
    let link = try RealLink(RedisServer(address: .socket(address)), settings)
    try link.run { $0.ups == [1] }
    _ = link.owner.link.send(tag: 1, within: 2_000_000_000) { RedisCommand.append(words, to: $0) }
    try link.run { !$0.outcomes.isEmpty }
    if case .reply(_, let text)? = link.owner.outcomes.last { return text }
    return ""
  }
}
