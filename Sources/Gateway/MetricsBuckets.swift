// How latencies are sorted: nine equal steps a decade (10, 20, … 90, 100, 200, … µs), as in log-linear histograms to
// base ten. Bounds to base two would save two instructions and give Prometheus limits like 0.262144; nobody states an
// objective that way, and a bucket that does not end at the objective cannot answer it.

/// The buckets of every latency histogram: up to 10 µs, then nine a decade up to 100 s, then the rest.
public enum LatencyBuckets {
  /// How many buckets there are.
  public static let count = 65

  /// The bucket for a duration; a duration equal to a bound belongs to the bucket that ends there. Negative ones count as 0.
  @inline(__always)
  public static func index(nanoseconds: Int64) -> Int {
    let value = UInt64(truncatingIfNeeded: max(nanoseconds, 1) &- 1)
    if value < 10_000_000 {
      if value < 100_000 { return Int(truncatingIfNeeded: value / 10_000) }
      if value < 1_000_000 { return 9 &+ Int(truncatingIfNeeded: value / 100_000) }
      return 18 &+ Int(truncatingIfNeeded: value / 1_000_000)
    }
    if value < 100_000_000 { return 27 &+ Int(truncatingIfNeeded: value / 10_000_000) }
    if value < 1_000_000_000 { return 36 &+ Int(truncatingIfNeeded: value / 100_000_000) }
    if value < 10_000_000_000 { return 45 &+ Int(truncatingIfNeeded: value / 1_000_000_000) }
    return value < 100_000_000_000 ? 54 &+ Int(truncatingIfNeeded: value / 10_000_000_000) : 64
  }

  /// The largest duration, in nanoseconds, that belongs to a bucket; `UInt64.max` for the last one.
  public static func upperBound(of index: Int) -> UInt64 {
    precondition(index >= 0 && index < count)
    if index == count - 1 { return .max }
    if index == 0 { return 10_000 }
    var scale: UInt64 = 10_000
    for _ in 0..<((index - 1) / 9) { scale *= 10 }
    return scale * UInt64((index - 1) % 9 + 2)
  }

  /// Whether the exposition prints the bound of a bucket: 1, 2 and 5 of every decade, and the last.
  static func isExposed(_ index: Int) -> Bool {
    if index == 0 || index == count - 1 { return true }
    let digit = (index - 1) % 9 + 2
    return digit == 2 || digit == 5 || digit == 10
  }
}
