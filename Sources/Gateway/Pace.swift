import Core

/// Measures whether a client keeps a minimum rate while the gateway waits for nothing but it.
struct Pace {
  private var startedAt = Instant.never
  private var byteCount: Int64 = 0

  /// Notes that `count` bytes have moved. Whether the average is at least `minimum` bytes a second, once `grace`
  /// nanoseconds have passed since the first of them; a minimum of 0 always holds.
  mutating func holds(after count: Int, now: Instant, minimum: Int64, grace: Int64) -> Bool {
    if startedAt == .never { startedAt = now }
    byteCount += Int64(count)
    let elapsed = now.nanoseconds(since: startedAt)
    guard minimum > 0, elapsed > grace else { return true }
    return Double(byteCount) * 1e9 >= Double(minimum) * Double(elapsed)
  }
}
