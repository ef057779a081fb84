// The part of a loop's turn that concerns the store which nodes share: first what it said is taken in and the requests
// that waited for it go on, last the turn's questions are sent together.

import Cluster
import Core

extension RequestFlow {
  /// A turn with a shared store.
  mutating func endTurn(_ sharedQuota: SharedQuota) -> Instant {
    sharedQuota.work()
    // Before anything is sent, so that requests which go on now leave with this turn.
    while let ticket = sharedQuota.nextAnswered() { resume(ticket: ticket) }
    while let ticket = sharedQuota.nextKnown() { resume(ticket: ticket) }
    let next = endOwnTurn()
    // The last turn: what is held for the cluster goes back while there still is a connection.
    if drain.isOver { sharedQuota.stop() }
    let noted = quotaNotes.step(sharedQuota, metrics, now: loop.now)
    return min(min(next, noted), sharedQuota.flush())
  }
}

/// Takes over what a shared quota says of itself, now and then: to add it up takes time, and metrics may be a moment old.
struct QuotaNotes {
  /// How old they may be, in nanoseconds.
  private static let pace: Int64 = 200_000_000

  private var dueAt = Instant.never
  private var latest = SharedQuotaStatistics()

  /// Part of every turn; returns when there may be news to note. A loop that sleeps is woken once more after something has
  /// happened, and not again.
  mutating func step(_ quota: SharedQuota, _ metrics: LoopMetrics, now: Instant) -> Instant {
    if dueAt == .never {
      dueAt = now.advanced(byNanoseconds: Self.pace)
    } else if dueAt <= now {
      let statistics = quota.statistics
      dueAt = statistics == latest ? .never : now.advanced(byNanoseconds: Self.pace)
      latest = statistics
      metrics.note(statistics)
    }
    return dueAt
  }
}
