import Core
import Pipeline
import Simulation

@testable import Cluster

/// Random limits and questions of every kind that lanes decide.
struct LaneTrace {
  var random: Seeded
  private let rules: [LimitRule]

  init(seed: UInt64) {
    random = Seeded(state: seed)
    var made = Seeded(state: seed &* 77)
    rules = (0..<24).map { _ in Self.rule(&made) }
  }

  /// One a day to ten million a second, windows of a millisecond to a month, limits of one to 2⁴⁰.
  private static func rule(_ random: inout Seeded) -> LimitRule {
    let sizes: [ClosedRange<Int64>] = [1...3, 1...100, 100...100_000, 1...1 << 31]
    let size = random.number(sizes[Int(random.number(0...3))])
    switch random.number(0...6) {
    case 0, 1:
      let intervals: [Int64] = [100, 333_334, 1_000_000, 999_999_937, 86_400_000_000_000]
      let interval = intervals[Int(random.number(0...4))]
      let burst = min(size, (1 << 62) / interval - 1)
      return .rate(interval: interval, burst: interval == 100 ? min(burst, 1 << 31) : burst / 2 + 1)
    case 2, 3:
      return .window(
        limit: size << random.number(0...9),
        lengthMicroseconds: [1000, 1_000_000, 60_000_000, 2_592_000_000_000][Int(random.number(0...3))])
    case 4, 5:
      return .sliding(
        limit: min(size, Int64(UInt32.max)),
        lengthMicroseconds: [9000, 1_000_000, 60_000_000, 86_400_000_000][Int(random.number(0...3))])
    default: return .calendar(limit: size << random.number(0...20))
    }
  }

  /// The day around `civil`.
  static func day(_ civil: Int64) -> CivilPeriod {
    let length: Int64 = 86_400_000_000
    return CivilPeriod(
      start: WallTime(microseconds: civil / length * length), end: WallTime(microseconds: (civil / length + 1) * length)
    )
  }

  /// A level of one of the rules, of one of a few counters.
  mutating func level(at civil: Int64, cost: Int64? = nil) -> QuotaLevel {
    let number = Int(random.number(0...Int64(rules.count - 1)))
    let most = max(1, min(rules[number].limit, 1 << 31))
    let costs: [ClosedRange<Int64>] = [1...1, 1...3, 1...max(1, most / 4), 1...1 << 31]
    let key = UInt64(number * 8) + UInt64(random.number(0...7))
    return named(
      rules[number], cost: cost ?? random.number(costs[Int(random.number(0...3))]), key: key, period: Self.day(civil))
  }

  private func named(_ rule: LimitRule, cost: Int64, key: UInt64, period: CivilPeriod) -> QuotaLevel {
    QuotaLevel(
      key: QuotaKey(low: key &* 0x9e37_79b9_7f4a_7c15, high: key &* 0xc2b2_ae3d_27d4_eb4f), rule: rule, cost: cost,
      period: period)
  }

  /// One to four levels, no counter twice.
  mutating func question(at civil: Int64) -> LimitQuestion {
    var question = LimitQuestion()
    var keys: Set<QuotaKey> = []
    for _ in 0..<random.number(1...4) {
      let level = level(at: civil)
      if keys.insert(level.key).inserted { question.append(level) }
    }
    return question
  }

  /// A step of the clock: mostly small, now and then over periods, at times back.
  mutating func step() -> Int64 {
    switch random.number(0...19) {
    case 0: random.number(0...200_000_000_000)
    case 1: -random.number(0...5_000_000)
    case 2: -random.number(0...90_000_000_000)
    case 3...6: random.number(0...90_000_000)
    case 7...10: random.number(0...2_000_000)
    default: random.number(0...2000)
    }
  }
}
