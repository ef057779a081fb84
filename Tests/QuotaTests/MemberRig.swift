import Core
import Simulation

@testable import Cluster

/// Nodes that beat to a real Redis, whose clock the test sets, through everything that can go wrong: lost answers, stops,
/// crashes, a Redis that stands still, and primaries that know little or nothing. Counts in members' time how long each
/// node has been silent, and so knows which nodes still have a right to their share.
final class MemberRig {
  /// A node, and how the world treats it.
  struct Node {
    var beat: MemberBeat
    var nextBeat: Int64
    var stoppedUntil: Int64 = 0
    var isReachable = true
    /// The answer on its way, with the time of arrival.
    var answer: (at: Int64, bytes: [UInt8])?
    /// Members' time since a beat was last taken. Where it is longer than a life the node has lost its right, until it
    /// hears where it stands.
    var silence: Int64 = 0 { didSet { hasLostRight = hasLostRight || silence >= MemberBeat.life } }
    var hasLostRight = false
  }

  /// What a replica knows.
  private struct Copy {
    var dump: [UInt8]
    var clock: Int64?
    var time: Int64
    var silences: [UInt64: Int64]
  }

  let redis: RedisServer
  var random: Seeded
  private(set) var nodes: [UInt64: Node] = [:]
  /// True time in microseconds, and how far Redis's clock is off.
  private(set) var now = LaneRig.start
  private var skew: Int64 = 0
  private var frozenUntil: Int64 = 0
  private var lastClock: Int64?
  /// Members' time.
  private var time: Int64 = 0
  private var copy: Copy?
  private var isCalm: Bool
  /// Beats that Redis takes late, their connection being gone, so that no answer arrives.
  private var strays: [(at: Int64, command: [UInt8])] = []
  private static let key = "sluice:t:{members}:m"

  /// With `isCalm` no beat and no answer is lost or late.
  init(redis: RedisServer, seed: UInt64, isCalm: Bool = false) throws {
    self.redis = redis
    random = Seeded(state: seed)
    self.isCalm = isCalm
    try redis.ask("FLUSHALL")
    try redis.ask("FUNCTION", "LOAD", "REPLACE", LaneRig.onTestClock(LaneLibrary.current.functionSource))
  }

  func join(loops: Int = 2) {
    let id = random.next()
    nodes[id] = Node(
      beat: MemberBeat(cluster: "t", node: id, participants: loops, name: "node \(id % 100)"), nextBeat: now)
  }

  /// Lets time pass; nodes beat when it is time.
  func pass(_ microseconds: Int64) throws {
    let end = now + microseconds
    while now < end {
      now = min(end, now + 50_000)
      if now < frozenUntil { continue }
      for (at, command) in strays where at <= now { _ = try run(command) }
      strays.removeAll { $0.at <= now }
      for id in nodes.keys.sorted() where nodes[id]!.stoppedUntil <= now {
        receive(id)
        if nodes[id]!.nextBeat <= now {
          nodes[id]!.nextBeat = now + MemberBeat.interval / 1000 + random.number(-100_000...100_000)
          if nodes[id]!.isReachable { try beat(id) }
        }
      }
    }
  }

  private func receive(_ id: UInt64) {
    guard let answer = nodes[id]!.answer, answer.at <= now else { return }
    nodes[id]!.answer = nil
    switch nodes[id]!.beat.read(RawSpan(answer.bytes)) {
    case .standing(_, let told): if told.isListed { nodes[id]!.hasLostRight = nodes[id]!.silence >= MemberBeat.life }
    case .keeping, .settling: break
    case .malformed: preconditionFailure("the library said something else")
    }
  }

  private func command(_ id: UInt64, isLeaving: Bool = false) -> [UInt8] {
    let buffer = ByteBuffer()
    nodes[id]!.beat.encode(for: LaneRig.caller(), clock: now * 1000, isLeaving: isLeaving, into: buffer)
    return (0..<buffer.count).map { buffer[$0] }
  }

  private func beat(_ id: UInt64) throws {
    let fate = isCalm ? 39 : random.number(0...39)
    nodes[id]!.answer = nil
    let command = command(id)
    // Lost on the way, taken late, taken with its answer lost, or with an answer that comes late.
    if fate == 0 { return }
    if fate == 1 { return strays.append((now + random.number(0...3_000_000), command)) }
    let bytes = try run(command)
    nodes[id]!.silence = 0
    if fate <= 3 { return }
    nodes[id]!.answer = (fate <= 8 ? now + random.number(0...1_500_000) : now, bytes)
    receive(id)
  }

  private func run(_ command: [UInt8]) throws -> [UInt8] {
    let clock = now + skew
    if let lastClock {
      let passed = min(max(0, clock - lastClock), MemberBeat.life / 4)
      time += passed
      for id in nodes.keys { nodes[id]!.silence += passed }
    }
    lastClock = clock
    let set = RedisServer.command([Array("SET".utf8), Array("clock".utf8), Array(String(clock).utf8)])
    return try redis.send([set, command])[1].bytes
  }

  /// A node that ends without a word.
  func crash() { if let id = pick() { nodes[id] = nil } }

  /// A node that ends properly.
  func leave() throws {
    guard let id = pick() else { return }
    if now >= frozenUntil { _ = try run(command(id, isLeaving: true)) }
    nodes[id] = nil
  }

  /// A node that stands still for a while.
  func stop(_ microseconds: Int64) { if let id = pick() { stop(id, microseconds) } }
  func stop(_ id: UInt64, _ microseconds: Int64) { nodes[id]!.stoppedUntil = now + microseconds }

  /// Only `id` goes on for this long.
  func isolate(_ id: UInt64, _ microseconds: Int64) {
    for other in nodes.keys where other != id { nodes[other]!.stoppedUntil = now + microseconds }
  }

  /// A node loses its connections for a while, or gets them back.
  func disconnect() {
    guard let id = pick() else { return }
    nodes[id]!.isReachable.toggle()
    nodes[id]!.answer = nil
  }

  /// Redis stands still.
  func freeze(_ microseconds: Int64) { frozenUntil = max(frozenUntil, now + microseconds) }

  /// A replica is this far and comes no further.
  func copyAll() throws {
    copy = Copy(
      dump: try redis.ask("DUMP", Self.key).bytes, clock: lastClock, time: time, silences: nodes.mapValues(\.silence))
  }

  /// The replica takes over, with a clock of its own. Without one all is forgotten. It is less than half a life behind,
  /// unless it may be `old`.
  func failOver(toOld isOld: Bool = false) throws {
    if let copy, !isOld, time - copy.time >= MemberBeat.life / 2 { try copyAll() }
    try redis.ask("DEL", Self.key)
    lastClock = nil
    if let copy, !copy.dump.isEmpty {
      let words = ["RESTORE", Self.key, "0"].map { Array($0.utf8) } + [copy.dump]
      _ = try redis.send([RedisServer.command(words)])
      lastClock = copy.clock
      for (id, silence) in copy.silences where nodes[id] != nil {
        nodes[id]!.silence = max(nodes[id]!.silence, silence)
      }
    }
    copy = nil
    strays = []
    for id in nodes.keys { nodes[id]!.answer = nil }
    skew = random.number(-3_000_000...3_000_000)
  }

  /// Everything works again from here on.
  func heal() {
    isCalm = true
    frozenUntil = 0
    for id in nodes.keys {
      nodes[id]!.isReachable = true
      nodes[id]!.stoppedUntil = 0
    }
  }

  private func pick() -> UInt64? {
    nodes.isEmpty ? nil : nodes.keys.sorted()[Int(random.number(0...Int64(nodes.count - 1)))]
  }

  /// What all nodes that still have a right to it may use of a limit.
  func used(of limit: Int64) -> Int64 {
    nodes.values.reduce(0) { $0 + ($1.hasLostRight ? 0 : $1.beat.share(of: limit)) }
  }
}
