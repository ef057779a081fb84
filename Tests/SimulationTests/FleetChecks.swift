// What must hold of a fleet, whatever has happened to it. Nothing here knows how the product does it.

import Core
import Pipeline
import Simulation

@testable import Cluster

extension Fleet {
  /// How long an answer may take at the most, in nanoseconds: the deadline, a millisecond that the last sending gets, and
  /// what a loop's alarm may be late.
  private static let answerTime: Int64 = 10_000_000 + 1_000_000 + 2_000_000

  /// All that is wrong.
  func check() -> [String] {
    checkAnswers()
    for place in limits.indices { check(limits[place], place) }
    if !redis.unknownCommands.isEmpty { problems.append("the model does not know \(redis.unknownCommands)") }
    if !redis.scriptFailures.isEmpty { problems.append("scripts failed: \(redis.scriptFailures.prefix(2))") }
    return problems
  }

  // MARK: Answers

  /// Every question is answered once and in time, unless its node died or stood still.
  private func checkAnswers() {
    var late = 0
    for (ticket, record) in records.enumerated() {
      let life = lives[record.life]
      if record.decision == .waiting || record.decision == .none {
        if life.isAlive { problems.append("question \(ticket) of node \(record.life) is never answered") }
        continue
      }
      let time = record.answered.nanoseconds(since: record.asked)
      let stood = life.troubles.contains { $0.from <= record.answered && record.asked <= $0.to }
      if time > Self.answerTime, !stood {
        late += 1
        if late <= 2 {
          problems.append(
            "question \(ticket) of node \(record.life) about \(record.limits), asked at \(record.asked.nanoseconds / 1000) µs, "
              + "is \(record.decision) by \(record.source) after \(time / 1000) µs")
        }
      }
    }
  }

  // MARK: Limits

  private func check(_ limit: FleetLimit, _ place: Int) {
    let admitted = records.filter { $0.decision == .admitted && $0.limits.contains(place) }
    let isClosed = limit.terms.outage == .closed
    if isClosed, let wrong = admitted.first(where: { $0.limits.count == 1 && $0.source.isDegraded }) {
      problems.append("\(limit.name), which is closed, admits by \(wrong.source)")
    }
    // What a node admits on its own is another sum; where one of two limits was decided so, nobody can tell which.
    let counted = admitted.filter { isClosed || !$0.source.isDegraded }
    let uses = counted.map { Use(asked: $0.askedAt, answered: $0.answeredAt, units: 1) }
    switch limit.rule {
    case .window(let most, let length):
      guard clockSteps.isEmpty else { return checkSum(limit, most, length, counted.count) }
      for (window, excess) in UsageCheck.windows(
        uses, limit: most, length: length, room: { lost($0 * length, length, counted) })
      {
        problems.append("\(limit.name): window \(window) is \(excess) above \(most)")
      }
      let alone = admitted.filter { $0.source == .local && $0.limits.count == 1 }.map {
        Use(asked: $0.askedAt, answered: $0.answeredAt, units: 1)
      }
      for (window, excess) in UsageCheck.windows(alone, limit: most, length: length) where !hasTurnover {
        problems.append("\(limit.name): shares of window \(window) are \(excess) above \(most)")
      }
    case .rate(let interval, let burst):
      guard clockSteps.isEmpty, failures.isEmpty else { return }
      let excess = UsageCheck.rate(uses, intervalNanoseconds: interval, burst: burst)
      if excess > 0 { problems.append("\(limit.name): \(excess) above a burst of \(burst)") }
    case .sliding(let most, let length):
      guard clockSteps.isEmpty, failures.isEmpty else { return }
      let excess = UsageCheck.sliding(uses, limit: most, length: length)
      if excess > 0 { problems.append("\(limit.name): \(excess) above \(most)") }
    case .concurrency(let most): if isQuiet { checkRunning(limit, most, admitted) }
    case .calendar: break
    }
  }

  /// With a clock that was set nobody can say which window ran; but so many there were at the most.
  private func checkSum(_ limit: FleetLimit, _ most: Int64, _ length: Int64, _ count: Int) {
    let forward = clockSteps.reduce(world.now.nanoseconds / 1000) { $0 + max(0, $1.by) }
    let windows = forward / length + 2
    if Int64(count) > most * windows { problems.append("\(limit.name): \(count) in \(windows) windows of \(most)") }
  }

  /// Whether nodes came or went or could have been taken for dead: then the sum of their shares may be above a limit.
  private var hasTurnover: Bool { lives.count > current.count }

  /// Whether nothing has happened to the store or to the way there, nor to a node but its end.
  private var isQuiet: Bool {
    failures.isEmpty && clockSteps.isEmpty && lives.allSatisfy(\.troubles.isEmpty) && storeTroubles.isEmpty
  }

  /// What a store may have forgotten for good in a window: what those admitted who died around a failover, or could not be
  /// reached until it was over.
  private func lost(_ start: Int64, _ length: Int64, _ counted: [FleetRecord]) -> Int64 {
    guard !failures.isEmpty else { return 0 }
    let isLost = lives.map { life in
      failures.contains { failure in
        // A gate waits half a second; a slice lasts a second.
        let end = failure.to + .milliseconds(700)
        let begin = failure.from.advanced(byNanoseconds: -2_000_000_000)
        return life.ended > begin && life.ended < end
          || life.troubles.contains { $0.from <= end && failure.from <= $0.to + .milliseconds(100) }
      }
    }
    return Int64(
      counted.count { isLost[$0.life] && $0.answeredAt >= start && $0.askedAt < start + length })
  }

  /// Exchanges that run at the same time.
  private func checkRunning(_ limit: FleetLimit, _ most: Int64, _ admitted: [FleetRecord]) {
    var changes: [(at: Int64, by: Int)] = []
    for record in admitted where record.source != .local {
      changes.append((record.answered.nanoseconds, 1))
      // What has not been given back ends with its node.
      let end = min(record.released, lives[record.life].ended)
      changes.append((end.nanoseconds, -1))
    }
    changes.sort { ($0.at, $0.by) < ($1.at, $1.by) }
    var running = 0
    for change in changes {
      running += change.by
      if running > Int(most) { return problems.append("\(limit.name): \(running) run at \(change.at / 1000) µs") }
    }
  }

  // MARK: Rest

  /// What is left when nobody has asked for a while and everything is whole: nothing but the two connections of each loop.
  func checkRest() {
    for number in current where lives[number].isAlive {
      for node in nodes[number] {
        let quota = node.handler.quota
        var left: [String] = []
        if node.loop.openSockets != 2 { left.append("\(node.loop.openSockets) sockets") }
        if quota.waiters.count != 0 { left.append("\(quota.waiters.count) waiters") }
        if quota.turns.count != quota.freeTurns.count {
          left.append("\(quota.turns.count - quota.freeTurns.count) turns")
        }
        if !quota.holders.isEmpty { left.append("\(quota.holders.count) counters with tokens") }
        if !quota.owing.isEmpty { left.append("\(quota.owing.count) debts") }
        if !quota.slotHolders.isEmpty { left.append("\(quota.slotHolders.count) counters with slots") }
        if quota.statistics.openBreakers != 0 { left.append("an open breaker") }
        if quota.lanes.contains(where: { $0.state != .open }) { left.append("closed lanes") }
        if quota.lanes.contains(where: { $0.underWay != 0 || !$0.queue.isEmpty }) { left.append("lanes at work") }
        if !node.handler.open.isEmpty { left.append("\(node.handler.open.count) questions") }
        if !left.isEmpty { problems.append("\(node.loop.name) is left with \(left.joined(separator: ", "))") }
      }
    }
  }
}
