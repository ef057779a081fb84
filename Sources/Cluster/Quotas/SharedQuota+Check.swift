// What could make limits wrong without anybody noticing is asked once of each primary, by the loop that speaks for its
// node, as soon as there is a connection.

import Core

/// The replies to a ``StoreCheck`` so far.
struct StoreInquiry {
  var replies: [StoreReply]
  var missing: Int
}

extension SharedQuota {
  /// Questions that may wait behind a busy moment of the store, in nanoseconds.
  private static var checkTime: Int64 { 1_000_000_000 }

  /// Sends the questions to a primary that has not been asked yet.
  func checkStore(_ index: Int) {
    guard beats != nil, primaries[index].inquiry == nil else { return }
    let count = check.commands.count
    primaries[index].inquiry = StoreInquiry(replies: [StoreReply](repeating: .other, count: count), missing: count)
    for (number, command) in check.commands.enumerated() {
      let admission = client.send(
        slot: slot(ofPrimary: index), tag: Self.tag(.check, number, generation: UInt32(index)), within: Self.checkTime
      ) {
        RedisCommand.append(command, to: $0)
      }
      if admission != .accepted { checkAnswered(Self.tag(.check, number, generation: UInt32(index)), .other) }
    }
  }

  /// One of the questions is answered, or will not be; behind the last one the owner is told what there is to say. Where
  /// most went unanswered, the next connection asks again.
  func checkAnswered(_ tag: UInt64, _ reply: StoreReply) {
    let (number, index) = (Int(UInt32(truncatingIfNeeded: tag)), Int(tag >> 32 & 0xff_ffff))
    guard var inquiry = primaries[index].inquiry else { return }
    inquiry.replies[number] = reply
    inquiry.missing -= 1
    primaries[index].inquiry = inquiry
    guard inquiry.missing == 0 else { return }
    if inquiry.replies.filter({ $0 == .other }).count * 2 > inquiry.replies.count {
      primaries[index].inquiry = nil
    } else {
      onRemarks(check.judge(inquiry.replies))
    }
  }
}
