import Core

/// When the requests of an open loop are due: evenly spaced, all threads together, however late the answers are.
///
/// A moment is computed from the request's number, never from the one before, so nothing accumulates: neither rounding
/// nor the lag of a busy machine.
struct BenchSchedule: Sendable {
  /// When request 0 of all threads is due.
  let start: Instant
  /// Nanoseconds between two requests of the whole run.
  let intervalNanoseconds: Double
  /// The number of this thread, and how many there are: it takes every `stride`-th request.
  let offset: UInt64
  let stride: UInt64

  init(start: Instant, rate: Double, offset: Int = 0, stride: Int = 1) {
    precondition(rate > 0 && stride > 0 && offset >= 0 && offset < stride)
    self.start = start
    intervalNanoseconds = 1e9 / rate
    self.offset = UInt64(offset)
    self.stride = UInt64(stride)
  }

  /// When the `index`-th request of this thread is due.
  @inline(__always)
  func due(_ index: UInt64) -> Instant {
    let nanoseconds = Double(offset &+ index &* stride) * intervalNanoseconds
    return nanoseconds < 9e18 ? start.advanced(byNanoseconds: Int64(nanoseconds)) : .never
  }

  /// How many requests of this thread are due before `moment`.
  func count(before moment: Instant) -> UInt64 {
    let elapsed = moment.nanoseconds(since: start)
    if elapsed <= 0 { return 0 }
    // The estimate may be off by one to either side; `due` decides.
    var count = UInt64(max(0, (Double(elapsed) / intervalNanoseconds - Double(offset)) / Double(stride)))
    while due(count) < moment { count += 1 }
    while count > 0, due(count - 1) >= moment { count -= 1 }
    return count
  }
}
