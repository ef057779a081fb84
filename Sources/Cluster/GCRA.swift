import Pipeline

/// The generic cell rate algorithm (ITU-T I.371): one number a counter, the theoretical arrival time.
///
/// The interval is a whole number of nanoseconds, rounded up by whoever made it, so a rate is never exceeded and falls
/// short by at most 1 ns an interval (0.1 % at one million a second). Any span of time w admits at most
/// `burst + w / interval` units. No product or sum overflows: `burst * interval` and every clock stay below 2⁶².
struct GCRA: Sendable {
  /// Nanoseconds for one unit, at least 1.
  let interval: Int64
  /// Units that can be had at once, at least 1.
  let burst: Int64

  /// When a bucket that no request had touched would be full again; 0 for a new counter.
  typealias State = Int64

  private var tolerance: Int64 { burst &* interval }

  /// Units that can be had at `now`.
  func room(_ state: State, now: Int64) -> Int64 {
    let debt = max(state, now) &- now
    if debt >= tolerance { return 0 }
    // Neither is negative, and without signs a division needs no check for overflow.
    return Int64(bitPattern: UInt64(bitPattern: tolerance &- debt) / UInt64(bitPattern: interval))
  }

  /// Takes `cost` units, for which there must be room.
  func take(_ cost: Int64, from state: inout State, now: Int64) { state = max(state, now) &+ cost &* interval }

  /// Nanoseconds until `cost` units can be had; `Int64.max` if never.
  func wait(for cost: Int64, _ state: State, now: Int64) -> Int64 {
    cost > burst ? .max : max(0, max(state, now) &+ cost &* interval &- tolerance &- now)
  }

  /// Nanoseconds until all units can be had.
  func restoration(_ state: State, now: Int64) -> Int64 { max(0, state &- now) }
}
