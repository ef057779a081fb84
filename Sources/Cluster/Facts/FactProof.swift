// Whether a look at the log has shown all there was. A primary that was cut off with some nodes answers for a while, as if
// the others had not promoted another one. So a look counts only once a replica has told that it has what that look made the
// primary write: a replica, which nobody had promoted when the look was sent. Replicas tell once a second, and when they are
// asked to; what they tell the next looks learn. A primary without replicas is alone, and its word counts.

/// A node's last looks at the log, and up to when they prove that nothing is missing. Moments are nanoseconds of its boot
/// clock.
struct FactProof {
  /// Between two looks that are remembered, in nanoseconds: others prove next to nothing more.
  private static let spacing: Int64 = 40_000_000
  /// Looks that are remembered: those of 2.5 s at least, older ones prove nothing of use.
  private static let capacity = 64
  /// Beyond this age of the proof, in nanoseconds, replicas are asked to tell. Far enough below ``LoopFacts/bound`` for what
  /// a busy machine adds, and for some questions that nobody answers.
  private static let hurryAge: Int64 = 500_000_000
  /// Between two such questions.
  private static let hurryPause: Int64 = 250_000_000

  /// How far the primary that answers a look has written, and its replicas have followed.
  struct Progress: Equatable {
    /// Bytes before those that the look made it write.
    let written: Int64
    /// Bytes that some replica has told to have; nil where none has told anything.
    let followed: Int64?

    init(written: Int64, followed: Int64?) { (self.written, self.followed) = (written, followed) }

    /// As a look tells them behind the head of the log.
    init?(_ items: [AgentReply]) {
      guard items.count >= 6, let written = items[4].number, let followed = items[5].number else { return nil }
      self.init(written: written, followed: followed < 0 ? nil : followed)
    }
  }

  private struct Look {
    let moment: Int64
    let written: Int64
  }

  /// Whether replicas may be asked to tell.
  var mayHurry = true
  private var looks: [Look] = []
  /// What the looks are about: one primary's epoch.
  private var epoch: Int64 = 0
  private var proven: Int64?
  private var hurriedAt: Int64?

  /// Takes in the answer to a look of an epoch, sent at `moment`; nil where the node lacks something of what the log has.
  /// Returns the newest moment of which it is proven that nothing is missing, where that is news.
  mutating func take(_ progress: Progress, of moment: Int64?, in epoch: Int64) -> Int64? {
    // Each primary counts its own bytes, and begins an epoch.
    if self.epoch != epoch { (looks, self.epoch, proven) = ([], epoch, nil) }
    guard let followed = progress.followed else {
      looks = []
      if let moment { proven = moment }
      return moment
    }
    let count = looks.prefix { $0.written < followed }.count
    let news = count > 0 ? looks[count - 1].moment : nil
    looks.removeFirst(count)
    if let news { proven = news }
    if let moment, looks.last.map({ moment - $0.moment >= Self.spacing }) ?? true {
      if looks.count == Self.capacity { looks.removeFirst() }
      looks.append(Look(moment: moment, written: progress.written))
    }
    return news
  }

  /// Whether replicas should be asked to tell now, of the look that was sent at `moment`; the next time a while later.
  mutating func takeHurry(_ moment: Int64) -> Bool {
    guard mayHurry, !looks.isEmpty, proven.map({ moment - $0 > Self.hurryAge }) ?? true,
      hurriedAt.map({ moment - $0 >= Self.hurryPause }) ?? true
    else { return false }
    hurriedAt = moment
    return true
  }
}
