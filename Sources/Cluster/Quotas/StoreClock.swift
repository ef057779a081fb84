import Core

/// The store's civil time, as far as a node can tell: only guesses hang on it (which period runs, and what clients are
/// told), never a decision.
///
/// Every answer tells the lane's time. It was read somewhere between sending and receiving; the shorter that took, the
/// better the estimate, so of the last few the quickest one counts.
struct StoreClock {
  /// Answers after which a better one need not be better any more.
  private static let memory = 64

  private var offset: Int64?
  private var bestTrip = Int64.max
  private var age = 0
  private var civil = CivilClock()
  /// The mean round trip, in nanoseconds.
  private(set) var trip: Double = 200_000

  /// An answer that was sent and received at these moments of the loop's clock told `moment`, in microseconds.
  mutating func note(_ moment: Int64, sent: Instant, received: Instant) {
    let trip = max(0, received.nanoseconds(since: sent))
    self.trip += (Double(trip) - self.trip) / 16
    age += 1
    guard trip <= bestTrip || age > Self.memory else { return }
    bestTrip = trip
    age = 0
    offset = moment &- (sent.nanoseconds &+ trip / 2) / 1000
  }

  /// The store has said that it is `moment`, against all estimates.
  mutating func set(_ moment: Int64, received: Instant) {
    bestTrip = .max
    age = 0
    offset = moment &- received.nanoseconds / 1000
  }

  /// The estimate at `now`, never backwards; `wall` where no answer has come yet.
  mutating func time(now: Instant, wall: WallTime) -> WallTime {
    civil.advance(now: now, wall: guess(now: now, wall: wall))
  }

  /// The estimate at `now`, even where that goes back.
  func guess(now: Instant, wall: WallTime) -> WallTime {
    offset.map { WallTime(microseconds: now.nanoseconds / 1000 &+ $0) } ?? wall
  }
}
