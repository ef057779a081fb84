import Testing

@testable import Gateway

@Suite struct LatencyBucketsTests {
  @Test("a bound belongs to the bucket that it ends, and the next nanosecond to the next bucket")
  func bounds() {
    for index in 0..<(LatencyBuckets.count - 1) {
      let bound = Int64(LatencyBuckets.upperBound(of: index))
      #expect(LatencyBuckets.index(nanoseconds: bound) == index)
      #expect(LatencyBuckets.index(nanoseconds: bound + 1) == index + 1)
    }
  }

  @Test(
    "negative and huge durations fall into the outer buckets",
    arguments: [
      (Int64.min, 0), (-1, 0), (0, 0), (1, 0), (100_000_000_001, 64), (.max, 64),
    ])
  func extremes(nanoseconds: Int64, index: Int) {
    #expect(LatencyBuckets.index(nanoseconds: nanoseconds) == index)
  }
}
