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
    let next = endOwnTurn()
    // The last turn: what is held for the cluster goes back while there still is a connection.
    if drain.isOver { sharedQuota.stop() }
    return min(next, sharedQuota.flush())
  }
}
