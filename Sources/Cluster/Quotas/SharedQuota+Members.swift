// How many share: one loop of each node tells the store once a second that the node lives, and hears who else does. What
// follows from it, the node's share of each limit while the store is away, is the node's and lies where all its loops see.

import Core
import Pipeline

extension SharedQuota {
  /// Before the next beat is written, so that no answer is read too late.
  private static var beatTime: Int64 { MemberBeat.interval * 9 / 10 }

  /// Beats, if this loop does that for its node and it is time.
  func beatIfDue(_ moment: Int64) {
    guard beats != nil, beatAt <= moment else { return }
    if node.wasStopped(at: moment) {
      beats?.forget()
      node.standing = nil
    }
    node.noteBeat(moment)
    beatAt = moment + MemberBeat.interval
    sendBeat(moment, isLeaving: false)
  }

  func sendBeat(_ moment: Int64, isLeaving: Bool) {
    guard var members = beats, let number = client.primary(of: memberSlot),
      let caller = primaries[primaryIndex(number)].caller
    else { return }
    beatNumber &+= 1
    let tag = Self.tag(.beat, 0, generation: beatNumber)
    _ = client.send(slot: memberSlot, tag: tag, within: Self.beatTime) {
      members.encode(for: caller, clock: moment, isLeaving: isLeaving, into: $0)
    }
    beats = members
  }

  func beatAnswered(_ tag: UInt64, _ reply: borrowing RedisReply) {
    guard tag == Self.tag(.beat, 0, generation: beatNumber), reply.error == nil else { return }
    switch beats?.read(reply.value.bytes) {
    case .standing(_, let told)?, .keeping(_, let told)?, .settling(_, let told)?:
      node.noteParticipants(told.participants, at: clock())
    case .malformed?, nil: break
    }
    node.standing = beats?.standing
  }
}
