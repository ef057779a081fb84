// What was admitted, against what may be. Nobody knows when exactly something was decided, only that it was between question
// and answer: every check here finds fault only where no moment between them would make it right, so that a fault that is
// found is one. All moments are microseconds of one clock, that of whoever counts.

/// Units that were admitted at a moment between question and answer.
public struct Use: Sendable {
  /// When it was asked for.
  public var asked: Int64
  /// When it was answered.
  public var answered: Int64
  /// How much.
  public var units: Int64

  /// Some units.
  public init(asked: Int64, answered: Int64, units: Int64) {
    (self.asked, self.answered, self.units) = (asked, answered, units)
  }
}

/// What limits of every kind have been exceeded by.
public enum UsageCheck {
  /// By how much windows of a length were exceeded, by the number of the window; those that were not are left out. `room` is
  /// what a window may hold beyond the limit.
  public static func windows(
    _ uses: [Use], limit: Int64, length: Int64, room: (_ window: Int64) -> Int64 = { _ in 0 }
  ) -> [(window: Int64, excess: Int64)] {
    var fixed: [Int64: Int64] = [:]
    var loose: [(first: Int64, last: Int64, units: Int64)] = []
    for use in uses {
      let (first, last) = (index(use.asked, length), index(use.answered, length))
      if first == last { fixed[first, default: 0] += use.units } else { loose.append((first, last, use.units)) }
    }
    // Whoever may be counted early is, as long as there is room: those with the earliest end first.
    loose.sort { $0.last < $1.last }
    let numbers = Array(fixed.keys) + loose.flatMap { [$0.first, $0.last] }
    guard let begin = numbers.min(), let end = numbers.max() else { return [] }
    var found: [(window: Int64, excess: Int64)] = []
    for window in begin...end {
      let most = limit + room(window)
      var count = fixed[window] ?? 0
      var rest: [(first: Int64, last: Int64, units: Int64)] = []
      for use in loose {
        if use.first <= window, use.last <= window || count + use.units <= most {
          count += use.units
        } else {
          rest.append(use)
        }
      }
      loose = rest
      if count > most { found.append((window, count - most)) }
    }
    return found
  }

  private static func index(_ moment: Int64, _ length: Int64) -> Int64 {
    (moment - ((moment % length) + length) % length) / length
  }

  /// By how many units a rate was exceeded at most, over all spans of time; 0 where it was not.
  public static func rate(_ uses: [Use], intervalNanoseconds: Int64, burst: Int64) -> Int64 {
    most(uses) { span, count in
      // Redis counts whole microseconds.
      count - burst - (span + 2) * 1000 / intervalNanoseconds
    }
  }

  /// By how many units a limit on any span of `length` was exceeded at most.
  public static func sliding(_ uses: [Use], limit: Int64, length: Int64) -> Int64 {
    most(uses) { span, count in span < length - 2 ? count - limit : 0 }
  }

  /// The largest that `excess` says of any span and the units that were surely admitted in it.
  private static func most(_ uses: [Use], _ excess: (_ span: Int64, _ count: Int64) -> Int64) -> Int64 {
    let inOrder = uses.sorted { $0.answered < $1.answered }
    var worst: Int64 = 0
    for start in Set(uses.map(\.asked)) {
      var count: Int64 = 0
      for use in inOrder where use.asked >= start {
        count += use.units
        worst = max(worst, excess(use.answered - start, count))
      }
    }
    return worst
  }
}
