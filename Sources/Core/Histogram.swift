/// How many values fell where, over a range of eight decades, with a relative error of at most 1/128.
///
/// The layout is log-linear, as HdrHistogram's: every power of two is cut into 128 equal buckets, and values below 256
/// have a bucket each. Recording is a shift, an addition and a store; it never allocates. Histograms of one process or
/// of many can be merged without loss, for all have the same buckets. 36 KiB each.
///
/// Values have no unit here; the callers record nanoseconds.
public struct Histogram: Equatable, Sendable {
  private var counts = ContiguousArray<UInt64>(repeating: 0, count: Histogram.bucketCount)
  /// How many values were recorded.
  public private(set) var count: UInt64 = 0
  /// The greatest value recorded, exactly; 0 where there is none.
  public private(set) var maximum: UInt64 = 0
  private var least: UInt64 = .max
  private var sum: Double = 0
  private var sumOfSquares: Double = 0

  /// An empty histogram.
  public init() {}

  /// The least value recorded, exactly; 0 where there is none.
  public var minimum: UInt64 { count == 0 ? 0 : least }

  /// The arithmetic mean of the values recorded, not of their buckets; 0 where there is none.
  public var mean: Double { count == 0 ? 0 : sum / Double(count) }

  /// The standard deviation of the values recorded; 0 where there are none.
  public var standardDeviation: Double {
    guard count > 0 else { return 0 }
    return max(0, sumOfSquares / Double(count) - mean * mean).squareRoot()
  }

  /// Counts `value`. What exceeds ``greatestValue`` is counted in the last bucket; ``maximum`` stays exact.
  @inline(__always)
  public mutating func record(_ value: UInt64) {
    counts[Self.bucket(of: value)] &+= 1
    count &+= 1
    if value > maximum { maximum = value }
    if value < least { least = value }
    let real = Double(value)
    sum += real
    sumOfSquares += real * real
  }

  /// Adds all that `other` has counted.
  public mutating func merge(_ other: Histogram) {
    guard other.count > 0 else { return }
    for bucket in 0..<Self.bucketCount { counts[bucket] &+= other.counts[bucket] }
    count &+= other.count
    maximum = max(maximum, other.maximum)
    least = min(least, other.least)
    sum += other.sum
    sumOfSquares += other.sumOfSquares
  }

  /// Forgets everything and keeps the storage.
  public mutating func removeAll() {
    guard count > 0 else { return }
    for bucket in 0..<Self.bucketCount { counts[bucket] = 0 }
    count = 0
    maximum = 0
    least = .max
    sum = 0
    sumOfSquares = 0
  }

  /// How many values fell into a bucket, for those who write all of them out.
  public func count(inBucket bucket: Int) -> UInt64 { counts[bucket] }

  /// The value that `percentile` per cent of the recorded ones do not exceed: the highest value of its bucket, hence
  /// never too low and at most 1/128 too high. 0 for an empty histogram; cost: one pass over the buckets.
  public func value(atPercentile percentile: Double) -> UInt64 {
    guard count > 0 else { return 0 }
    let rank = Self.rank(ofPercentile: percentile, among: count)
    var seen: UInt64 = 0
    for bucket in 0..<Self.bucketCount {
      seen &+= counts[bucket]
      if seen >= rank { return min(Self.upperBound(ofBucket: bucket), maximum) }
    }
    return maximum
  }

  /// The one-based position, in ascending order, of the value that ``value(atPercentile:)`` looks for.
  static func rank(ofPercentile percentile: Double, among count: UInt64) -> UInt64 {
    let share = min(max(percentile, 0), 100) / 100
    // 99.9 / 100 is not exact: without the small allowance the 999th of 1,000 values would be taken for the 1,000th.
    let position = (share * Double(count) - 1e-9 * Double(count)).rounded(.up)
    return min(max(UInt64(max(position, 1)), 1), count)
  }
}

// The layout, public so that whoever counts with atomics of its own can use the same buckets.
extension Histogram {
  /// The base-2 logarithm of how many buckets a power of two is cut into.
  public static let precisionBits = 7

  /// The greatest value with a bucket of its own kind: 2⁴² − 1, 73 minutes in nanoseconds.
  public static let greatestValue: UInt64 = 1 << 42 - 1

  /// How many buckets there are.
  public static let bucketCount = (42 - 1 - precisionBits) << precisionBits + 2 << precisionBits

  /// The bucket in which `value` is counted.
  @inlinable
  public static func bucket(of value: UInt64) -> Int {
    let value = min(value, 1 << 42 - 1)
    let shift = max(0, 63 &- 7 &- (value | 1).leadingZeroBitCount)
    return shift &<< 7 &+ Int(truncatingIfNeeded: value &>> UInt64(truncatingIfNeeded: shift))
  }

  /// The least value that `bucket` counts.
  public static func lowerBound(ofBucket bucket: Int) -> UInt64 {
    let shift = max(0, bucket >> precisionBits - 1)
    return UInt64(bucket - shift << precisionBits) << UInt64(shift)
  }

  /// The greatest value that `bucket` counts.
  public static func upperBound(ofBucket bucket: Int) -> UInt64 {
    let shift = max(0, bucket >> precisionBits - 1)
    return lowerBound(ofBucket: bucket) + (1 << UInt64(shift) - 1)
  }
}
