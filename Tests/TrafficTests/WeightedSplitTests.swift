import Core
import Testing

@testable import Traffic

@Suite("WeightedSplit")
struct WeightedSplitTests {
  private func split(_ weights: [UInt32], salt: String = "route") -> WeightedSplit? {
    WeightedSplit(weights.enumerated().map { .init(upstream: Int32($0.offset), weight: $0.element) }, salt: salt)
  }

  @Test("A split without weight is refused", arguments: [[], [0], [0, 0]] as [[UInt32]])
  func refused(weights: [UInt32]) {
    #expect(split(weights) == nil)
  }

  @Test("Shares come close to the weights, drawn or sticky, and nothing goes to weight 0", arguments: [true, false])
  func shares(isSticky: Bool) throws {
    let split = try #require(self.split([90, 0, 10]))
    var generator = SeededGenerator(seed: 5)
    var counts = [0, 0, 0]
    for _ in 0..<20_000 {
      let bits = generator.next()
      counts[Int(isSticky ? split.pick(stickyHash: bits) : split.pick(random: bits))] += 1
    }
    #expect(counts[1] == 0)
    #expect((1_800...2_200).contains(counts[2]), "\(counts)")
    #expect(split.upstreams == [0, 2])
  }

  @Test("A key stays where it is, and a shift of the weights moves only the share that was shifted")
  func sticky() throws {
    let before = try #require(split([90, 10]))
    let after = try #require(split([80, 20]))
    var moved = 0
    for key in 0..<10_000 as Range<UInt64> {
      let hash = StableHash.of(high: key, low: 0)
      #expect(before.pick(stickyHash: hash) == before.pick(stickyHash: hash))
      if before.pick(stickyHash: hash) != after.pick(stickyHash: hash) { moved += 1 }
    }
    #expect((800...1_200).contains(moved))
  }

  @Test("Routes do not all choose the same consumers first")
  func salt() throws {
    let one = try #require(split([50, 50], salt: "a"))
    let two = try #require(split([50, 50], salt: "b"))
    let agreeing = (0..<10_000 as Range<UInt64>).count { one.pick(stickyHash: $0) == two.pick(stickyHash: $0) }
    #expect((4_500...5_500).contains(agreeing))
  }

  @Test(
    "A mirror takes its percentage",
    arguments: [(-1.0, 0...0), (0, 0...0), (10, 800...1_200), (100, 10_000...10_000), (300, 10_000...10_000)])
  func mirror(percent: Double, expected: ClosedRange<Int>) {
    var generator = SeededGenerator(seed: 9)
    let mirror = Mirror(upstream: 0, percent: percent)
    #expect(expected.contains((0..<10_000).count { _ in mirror.selects(random: generator.next()) }))
  }
}
