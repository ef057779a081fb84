import Testing

@testable import Core

@Suite("Histogram")
struct HistogramTests {
  /// A repeatable stream of values over many decades (xorshift64*).
  private static func values(_ count: Int, seed: UInt64) -> [UInt64] {
    var state = seed
    return (0..<count).map { _ in
      state ^= state >> 12
      state ^= state << 25
      state ^= state >> 27
      let bits = state &* 2_685_821_657_736_338_717
      return (bits >> 22) >> (bits & 31)
    }
  }

  @Test("An empty histogram answers 0 to every question")
  func empty() {
    let histogram = Histogram()
    #expect(histogram.value(atPercentile: 50) == 0)
    #expect(histogram.minimum == 0 && histogram.maximum == 0 && histogram.mean == 0)
    #expect(histogram.standardDeviation == 0)
  }

  @Test("A percentile is never below the sorted list's and at most 1/128 above", arguments: 1...12)
  func percentiles(seed: Int) {
    let values = Self.values(5000 + seed, seed: UInt64(seed)).sorted()
    var histogram = Histogram()
    for value in values { histogram.record(value) }
    for percentile in [0, 0.1, 1, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100] {
      let rank = Histogram.rank(ofPercentile: percentile, among: UInt64(values.count))
      let exact = values[Int(rank) - 1]
      let read = histogram.value(atPercentile: percentile)
      #expect(read >= exact)
      #expect(read <= exact + exact / 128, "p\(percentile): \(read) for \(exact)")
    }
  }

  @Test("The buckets tile the range without gap or overlap")
  func tiling() {
    var next: UInt64 = 0
    for bucket in 0..<Histogram.bucketCount {
      let low = Histogram.lowerBound(ofBucket: bucket)
      let high = Histogram.upperBound(ofBucket: bucket)
      #expect(low == next)
      #expect(Histogram.bucket(of: low) == bucket && Histogram.bucket(of: high) == bucket)
      #expect(high - low <= low / 128)
      next = high + 1
    }
    #expect(next == Histogram.greatestValue + 1)
  }

  @Test("A value beyond the range lands in the last bucket and stays exact as the maximum")
  func overflow() {
    var histogram = Histogram()
    histogram.record(.max)
    #expect(histogram.count(inBucket: Histogram.bucketCount - 1) == 1)
    #expect(histogram.maximum == .max)
  }

  @Test(
    "The nearest rank is exact where the percentile is not representable",
    arguments: [
      (99.9, 1000, 999), (99.99, 10_000, 9999), (50, 1, 1), (50, 4, 2), (0, 7, 1), (100, 7, 7), (99, 100, 99),
    ])
  func ranks(percentile: Double, count: Int, expected: Int) {
    #expect(Histogram.rank(ofPercentile: percentile, among: UInt64(count)) == UInt64(expected))
  }

  @Test("Merging two histograms equals recording all values in one")
  func merging() {
    let left = Self.values(3000, seed: 7)
    let right = Self.values(2000, seed: 9)
    var merged = Histogram()
    var other = Histogram()
    var whole = Histogram()
    for value in left { merged.record(value) }
    for value in right { other.record(value) }
    for value in left + right { whole.record(value) }
    merged.merge(other)
    #expect(merged.count == whole.count && merged.minimum == whole.minimum && merged.maximum == whole.maximum)
    #expect((0..<Histogram.bucketCount).allSatisfy { merged.count(inBucket: $0) == whole.count(inBucket: $0) })
    #expect(abs(merged.mean - whole.mean) <= whole.mean * 1e-9)
  }

  @Test("Mean and deviation are those of the values, not of their buckets")
  func moments() {
    var histogram = Histogram()
    for value: UInt64 in [1000, 1001, 1003] { histogram.record(value) }
    #expect(abs(histogram.mean - 1001.333) < 0.001)
    #expect(abs(histogram.standardDeviation - 1.247) < 0.01)
  }

  @Test("A cleared histogram equals a new one")
  func clearing() {
    var histogram = Histogram()
    for value in Self.values(100, seed: 3) { histogram.record(value) }
    histogram.removeAll()
    #expect(histogram == Histogram())
  }
}
