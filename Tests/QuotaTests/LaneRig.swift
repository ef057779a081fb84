import Core
import Crypto
import ModelRedis
import Pipeline
import Simulation

@testable import Cluster

/// What decides the calls of a test: the model, and beside it perhaps a real Redis with the library, whose clock the test
/// sets, and the simulation's Redis with the same; then every answer is compared.
final class LaneRig {
  var model = LaneModel()
  var wall: Int64
  let map = LaneMap(cluster: "t", laneCount: 2, secret: SipKey(low: 1, high: 2))!
  private let redis: RedisServer?
  private let simulated: ModelStore
  /// Calls that were answered differently, as sentences.
  private(set) var differences: [String] = []
  private(set) var callCount = 0
  /// How many answers began with which letter.
  private(set) var kinds: [Character: Int] = [:]

  /// In the next century, where no key ends by the real clock.
  static let start: Int64 = 4_200_000_000_123_457

  init(redis: RedisServer? = nil, wall: Int64 = LaneRig.start) throws {
    self.redis = redis
    self.wall = wall
    simulated = ModelStore { Self.start }
    _ = simulated.run(
      ["FUNCTION", "LOAD", Self.onTestClock(LaneLibrary.current.functionSource)].map { Array($0.utf8) })
    guard let redis else { return }
    try redis.ask("FLUSHALL")
    try redis.ask("FUNCTION", "LOAD", "REPLACE", Self.onTestClock(LaneLibrary.current.functionSource))
    try redis.ask("SCRIPT", "LOAD", LaneLibrary.current.scriptSource)
  }

  /// The library, with the key `clock` for a clock.
  static func onTestClock(_ source: String) -> String {
    let lines = source.split(separator: "\n", omittingEmptySubsequences: false)
    precondition(lines.count { $0.hasPrefix("local function wall()") } == 1)
    return lines.map {
      $0.hasPrefix("local function wall()")
        ? "local function wall() return tonumber(redis.call('GET', 'clock')) end" : $0
    }.joined(separator: "\n")
  }

  static func caller(_ node: UInt64 = 1, id: Character = "a") -> LaneCaller {
    LaneCaller(replicationID: Array(String(repeating: id, count: 40).utf8), node: node, dialect: .function)!
  }

  /// Sends what `encode` writes, and returns the answer.
  func call(_ encode: (ByteBuffer) -> Void) throws -> [UInt8] {
    let buffer = ByteBuffer()
    encode(buffer)
    let command = (0..<buffer.count).map { buffer[$0] }
    let parts = Self.parts(command)
    let keyCount = Int(String(decoding: parts[2], as: UTF8.self))!
    let answer = model.call(
      keys: Array(parts[3..<3 + keyCount]), arguments: Array(parts[(3 + keyCount)...]), wall: wall)
    callCount += 1
    kinds[Character(UnicodeScalar(answer[0])), default: 0] += 1
    if let redis {
      let clock = RedisServer.command([Array("SET".utf8), Array("clock".utf8), Array(String(wall).utf8)])
      let real = try redis.send([clock, command])[1]
      _ = simulated.run(Self.parts(clock))
      let reply = simulated.run(parts)
      if (real != .bytes(answer) || reply != .bytes(answer)) && differences.count < 5 {
        differences.append(
          "call \(callCount) \(String(decoding: parts[3 + keyCount], as: UTF8.self)): \(real) instead of \(answer), \(reply)"
        )
      }
    }
    return answer
  }

  /// Decides a batch, again where the period was guessed wrongly; nil where the lane is closed.
  func decide(_ batch: LaneBatch, _ caller: LaneCaller = LaneRig.caller(), guess: Int64? = nil) throws -> LaneReply {
    var clock = WallTime(microseconds: guess ?? wall)
    for _ in 0..<3 {
      let answer = try call { batch.encode(for: caller, clock: clock, into: $0) }
      let reply = batch.read(RawSpan(answer))
      guard case .regenerate(let now) = reply else { return reply }
      clock = now
    }
    return .malformed
  }

  func open(lane: Int = 0, _ caller: LaneCaller = LaneRig.caller(), members: Int = 0) throws {
    let recovery = LaneRecovery(members: members, gateMicroseconds: 500_000)
    _ = try call { recovery.encode(for: caller, map, lane: lane, into: $0) }
  }

  /// Compares all that is kept with what the model keeps.
  func compareKeys() throws {
    guard let redis else { return }
    var found: [[UInt8]: LaneModel.Hash] = [:]
    for key in try redis.ask("KEYS", "*").list.map(\.bytes) where key != Array("clock".utf8) {
      let name = String(decoding: key, as: UTF8.self)
      if name.hasSuffix(":m") {
        let record = try redis.ask("GET", name).bytes
        if record != model.recordBytes[key] { differences.append("\(name): \(record)") }
        continue
      }
      var hash = LaneModel.Hash()
      let all = try redis.ask("HGETALL", name).list.map(\.bytes)
      for place in stride(from: 0, to: all.count, by: 2) { hash.fields[all[place]] = all[place + 1] }
      hash.expiry = try redis.ask("PEXPIRETIME", name).number
      found[key] = hash
    }
    for key in Set(found.keys).union(model.hashes.keys) where found[key] != model.hashes[key] && differences.count < 5 {
      let name = String(decoding: key, as: UTF8.self)
      differences.append(
        "\(name): \(String(describing: found[key])) instead of \(String(describing: model.hashes[key]))")
    }
  }

  /// The arguments of a command.
  private static func parts(_ command: [UInt8]) -> [[UInt8]] {
    var (at, parts) = (0, [[UInt8]]())
    func line() -> Int {
      var number = 0
      at += 1
      while command[at] != 13 {
        number = number * 10 + Int(command[at] - 48)
        at += 1
      }
      at += 2
      return number
    }
    for _ in 0..<line() {
      let count = line()
      parts.append(Array(command[at..<at + count]))
      at += count + 2
    }
    precondition(at == command.count)
    return parts
  }
}
