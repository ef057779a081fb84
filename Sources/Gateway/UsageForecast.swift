import Core
import Pipeline

/// When a counter will be used up if it goes on as it has.
enum UsageForecast {
  /// How much of a period must have passed before it says anything about the rest: a hundredth.
  private static let shortest = 0.01

  /// Nanoseconds until `level`, which has been answered, is used up at the pace of its present period; nil where nothing
  /// says that it will be.
  ///
  /// The pace is what has been used since the period began, divided by the time since then; the forecast is what is left
  /// divided by the pace, and none where the period ends first. So there is one for fixed windows and calendar quotas, and
  /// only once a hundredth of the period and a second are over. A rate is refilled while it is used, a sliding window
  /// forgets as it counts, and slots come back: how they stand at one moment says nothing of the pace. What is used up
  /// now is used up in 0 ns.
  static func nanoseconds(_ level: QuotaLevel, at civil: WallTime) -> Int64? {
    if level.isDenied { return 0 }
    guard let period = period(of: level, at: civil) else { return nil }
    let elapsed = Double(civil.microseconds - period.start.microseconds)
    let left = Double(period.end.microseconds - civil.microseconds)
    let used = Double(level.rule.limit - level.remaining)
    guard used > 0, elapsed >= 1_000_000, elapsed >= (elapsed + left) * shortest else { return nil }
    let needed = Double(level.remaining) / used * elapsed
    return needed < left ? Int64(needed * 1000) : nil
  }

  private static func period(of level: QuotaLevel, at civil: WallTime) -> CivilPeriod? {
    switch level.rule {
    case .window(_, let length):
      let quotient = civil.microseconds / length
      let start = (civil.microseconds % length < 0 ? quotient - 1 : quotient) * length
      return CivilPeriod(start: WallTime(microseconds: start), end: WallTime(microseconds: start + length))
    case .calendar: return level.period
    case .rate, .sliding, .concurrency: return nil
    }
  }
}
