import Core
import Crypto
import Pipeline

@testable import Cluster

/// A generator with a seed, so that a failure can be repeated (SplitMix64).
struct Seeded: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
    return value ^ value >> 31
  }

  mutating func number(_ range: ClosedRange<Int64>) -> Int64 {
    range.lowerBound + Int64(next() % UInt64(range.upperBound - range.lowerBound + 1))
  }
}

/// Clocks that only a test moves; both begin somewhere in 2026.
struct HandClock {
  var now = Instant(nanoseconds: 5_000_000_000_000)
  var wall = WallTime(microseconds: 1_790_000_000_000_000)

  mutating func advance(microseconds: Int64) {
    now.nanoseconds += microseconds * 1000
    wall.microseconds += microseconds
  }

  var time: DecisionTime { DecisionTime(now: now.nanoseconds, civil: wall.microseconds) }
}

func level(_ rule: LimitRule, cost: Int64 = 1, key: UInt64 = 1, period: CivilPeriod? = nil) -> QuotaLevel {
  let nothing = WallTime(microseconds: 0)
  // Spread like the hashes that stand here otherwise.
  let name = QuotaKey(low: key &* 0x9e37_79b9_7f4a_7c15, high: key &* 0xc2b2_ae3d_27d4_eb4f)
  return QuotaLevel(key: name, rule: rule, cost: cost, period: period ?? CivilPeriod(start: nothing, end: nothing))
}

func question(_ levels: QuotaLevel...) -> LimitQuestion {
  var question = LimitQuestion()
  for level in levels { question.append(level) }
  return question
}

extension CounterStore {
  /// Decides these levels, and returns how.
  func ask(_ clock: HandClock, _ levels: QuotaLevel...) -> LimitQuestion {
    var question = LimitQuestion()
    for level in levels { question.append(level) }
    decide(&question, clock.time)
    question.findBinding()
    return question
  }
}
