// Limits for which a primary that was cut off together with some nodes must not count on its own: what it takes there is
// lost with it. So a batch with such questions is followed by WAIT on the same connection, and nobody is admitted before a
// replica has what was taken. That is no consensus: a replica that does not have it may be promoted all the same, which
// sentinels avoid as far as they know.

import Core
import Pipeline

extension SharedQuota {
  /// How long the server itself waits for a replica, in milliseconds: meanwhile it answers nothing else on this connection.
  private static var replicaTime: Int { 5 }
  /// How long nothing strict is asked after no replica has answered, in nanoseconds.
  private static var replicaPause: Int64 { 250_000_000 }

  /// Whether any of these levels of a waiter is strict, and the waiter takes something.
  func isStrict(_ place: Int32, _ levels: UInt8) -> Bool {
    if waiters[place].isPeek { return false }
    for index in 0..<waiters[place].question.count where levels >> UInt8(index) & 1 == 1 {
      if waiters[place].question[index].terms.mode == .strict { return true }
    }
    return false
  }

  /// Asks whether a replica has what the turn, which was sent a moment ago, has taken.
  func askReplica(_ turn: LaneTurn, _ number: Int) {
    let age = turn.oldest == .never ? 0 : world.now.nanoseconds(since: turn.oldest)
    let admission = client.send(
      slot: lanes[turn.batch.lane].slot, tag: Self.tag(.confirm, number, generation: turn.generation),
      within: max(1_000_000, settings.deadline - age)
    ) {
      RedisCommand.append(["WAIT", "1", "\(Self.replicaTime)"], to: $0)
    }
    turn.isDoubtful = admission != .accepted
  }

  /// Whether an entry that the store has answered has to wait for a replica: then it is kept.
  func mustBeConfirmed(_ entry: LaneTurn.Entry, _ turn: LaneTurn) -> Bool {
    guard turn.isStrict, entry.purpose == .waiter, turn.batch.isAdmitted(entry.place) else { return false }
    guard isStrict(entry.index, entry.levels) else { return false }
    if turn.isDoubtful {
      refuseUnconfirmed(entry, clock())
    } else {
      turn.unconfirmed.append(entry)
    }
    return true
  }

  /// So many replicas have what a turn has taken.
  func turnConfirmed(_ turn: LaneTurn, _ number: Int, replicas: Int64) {
    let moment = clock()
    if replicas == 0 { primaries[turn.primary].unconfirmedUntil = moment + Self.replicaPause }
    let entries = turn.unconfirmed
    // The batch itself has not been answered, and perhaps never will be.
    guard !entries.isEmpty else { return turn.isDoubtful = replicas == 0 }
    for entry in entries {
      if replicas > 0 { answer(entry, turn, moment) } else { refuseUnconfirmed(entry, moment) }
    }
    endTurn(number)
  }

  /// What was taken counts as used, since it may be.
  private func refuseUnconfirmed(_ entry: LaneTurn.Entry, _ moment: Int64) {
    counts.misses += 1
    waiters[entry.index].failed |= entry.levels
    waiters[entry.index].assumed |= entry.levels
    partAnswered(entry.index, moment)
  }
}
