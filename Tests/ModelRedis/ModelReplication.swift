import Core

/// What a primary knows of how far its replica has followed. The replica was in step when this began; it tells every second,
/// and when it is asked to.
final class ModelReplication {
  private static let period: Int64 = 1_000_000_000

  /// What the primary has written, in bytes of its own counting.
  private(set) var written: Int64 = 1
  private var followed: Int64 = 1
  private let began: Instant
  private var now: Instant
  /// What the replica has not told to have, and when it was written.
  private var writes: [(time: Instant, end: Int64)] = []
  private var questions: [Instant] = []
  private var isCut = false

  /// With a replica that is in step at `moment`.
  init(at moment: Instant) { (began, now) = (moment, moment) }

  /// Something of so many bytes was written.
  func write(_ count: Int, at moment: Instant) {
    written += Int64(count)
    writes.append((moment, written))
  }

  /// The replica is asked to tell.
  func ask(at moment: Instant) { if !isCut { questions.append(moment) } }

  /// How far a replica that is `lag` behind has told to have followed.
  func followed(at moment: Instant, lag: Duration) -> Int64 {
    guard !isCut else { return followed }
    now = max(now, moment)
    let told = now.nanoseconds(since: began) / Self.period
    var heard = began
    if told > 0 {
      heard = began.advanced(byNanoseconds: told * Self.period - lag.wholeNanoseconds)
    }
    // A question takes as long as any other byte.
    let asked = questions.prefix { $0.advanced(byNanoseconds: lag.wholeNanoseconds) <= now }
    heard = max(heard, asked.last ?? heard)
    questions.removeFirst(asked.count)
    let count = writes.prefix { $0.time <= heard }.count
    if count > 0 { followed = writes[count - 1].end }
    writes.removeFirst(count)
    return followed
  }

  /// Nothing of the replica arrives any more from `moment` on, and the primary does not know why.
  func cut(at moment: Instant, lag: Duration) {
    _ = followed(at: moment, lag: lag)
    isCut = true
    writes = []
  }
}
