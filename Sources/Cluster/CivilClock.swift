import Core

/// Civil time that never goes backwards.
///
/// Windows that have begun must not begin again because somebody set the clock. Where the wall clock is set back, this one
/// goes on at half speed until it has been caught up, instead of standing still for as long as the step was wide.
struct CivilClock {
  private var lastNow = Instant(nanoseconds: 0)
  private var lastCivil = WallTime(microseconds: .min)

  /// The civil time at the monotonic moment `now`, while the wall clock shows `wall`.
  @inline(__always)
  mutating func advance(now: Instant, wall: WallTime) -> WallTime {
    // Most requests come in a turn of the loop that has brought others before.
    now == lastNow && wall <= lastCivil ? lastCivil : move(now, wall)
  }

  private mutating func move(_ now: Instant, _ wall: WallTime) -> WallTime {
    let elapsed = max(0, now.nanoseconds(since: lastNow))
    if lastCivil.microseconds == .min {
      lastCivil = wall
    } else {
      lastCivil = max(wall, WallTime(microseconds: lastCivil.microseconds &+ elapsed / 2000))
    }
    lastNow = max(now, lastNow)
    return lastCivil
  }
}
