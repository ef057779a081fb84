// What nodes have admitted, against what they may. Nobody knows when exactly something was decided, only that it was
// between question and answer: every check here finds fault only where no moment between them would make it right, so
// that a fault that is found is one.

import Pipeline

@testable import QuotaDriver

/// What the nodes of a fleet have done, all of them and all their lives.
struct FleetReport: CustomStringConvertible {
  private(set) var admitted: [JournalRecord] = []
  /// Which node each of them was.
  private(set) var slots: [Int] = []
  /// Moments at which the store was heard to have decided something.
  private(set) var decisions: [Int64] = []
  private(set) var sources: [LimitSource: Int] = [:]
  private(set) var numbers: [Int] = Array(repeating: 0, count: JournalLayout.headWords)
  private(set) var unavailable: [JournalRecord] = []
  var readyCount = 0

  mutating func add(_ record: JournalRecord, of slot: Int) {
    let source = LimitSource.allCases[Int(record.source)]
    switch record.kind {
    case .admitted:
      sources[source, default: 0] += 1
      admitted.append(record)
      slots.append(slot)
      if source == .exact { decisions.append(record.answered) }
    case .lease: decisions.append(record.answered)
    case .denied: if source == .exact { decisions.append(record.answered) }
    case .unavailable: unavailable.append(record)
    }
  }

  mutating func count(_ journal: Journal) {
    for number in [
      JournalNumber.decisions, .deniedFromMemory, .denied, .unavailable, .slow, .calls, .items, .recalls, .openings,
    ] {
      numbers[number.rawValue] += journal[number]
    }
    numbers[JournalNumber.slowest.rawValue] = max(numbers[JournalNumber.slowest.rawValue], journal[.slowest])
  }

  subscript(number: JournalNumber) -> Int { numbers[number.rawValue] }

  /// Calls of the store for each admitted request.
  var callsPerAdmitted: Double { Double(self[.calls]) / Double(max(1, admitted.count)) }

  var description: String {
    let sources = sources.map { "\($0.key.rawValue) \($0.value)" }.sorted().joined(separator: ", ")
    return "admitted \(admitted.count) (\(sources)), from memory denied \(self[.deniedFromMemory]), "
      + "else denied \(self[.denied]), unavailable \(self[.unavailable]), calls \(self[.calls]), "
      + "slowest \(self[.slowest]) µs, over 15 ms \(self[.slow]), breaker opened \(self[.openings])"
  }

  // MARK: Windows

  /// How often the windows of so many microseconds were used at least, in their order, of one key: whoever asked in one
  /// window and was answered in the next counts where there is room.
  func windows(of length: Int64, limit: Int, key: UInt16 = 0, without source: LimitSource? = nil) -> [Int] {
    var fixed: [Int64: Int] = [:]
    var loose: [(first: Int64, last: Int64)] = []
    for record in admitted where record.limit == key {
      if let source, LimitSource.allCases[Int(record.source)] == source { continue }
      let (first, last) = (record.asked / length, record.answered / length)
      if first == last { fixed[first, default: 0] += 1 } else { loose.append((first, last)) }
    }
    guard let begin = fixed.keys.min(), let end = fixed.keys.max() else { return [] }
    loose.sort { $0.last < $1.last }
    var counts: [Int] = []
    for window in begin...end {
      var count = fixed[window] ?? 0
      var rest: [(first: Int64, last: Int64)] = []
      for use in loose {
        if use.first <= window, count < limit || use.last <= window { count += 1 } else { rest.append(use) }
      }
      loose = rest
      counts.append(count)
    }
    return counts
  }

  // MARK: Any span of time

  /// Admissions that took no longer than `doubt` microseconds, by the moment of their answer.
  private func points(doubt: Int64) -> [Int64] {
    admitted.filter { $0.answered - $0.asked <= doubt }.map(\.answered).sorted()
  }

  /// By how many units a rate was exceeded at most, over all spans of time; not above 0 where it was not.
  func excess(overInterval nanoseconds: Int64, burst: Int64, doubt: Int64 = 2000) -> Double {
    // A bucket that leaks at the rate, and is never less than empty, holds the worst span that ends now.
    let rate = 1000 / Double(nanoseconds)
    var (level, last, worst) = (0.0, Int64.min, 0.0)
    for point in points(doubt: doubt) {
      if last != .min { level = max(0, level - Double(point - last) * rate) }
      last = point
      level += 1
      worst = max(worst, level)
    }
    // Each point may have been earlier by the doubt, and Redis counts whole microseconds.
    return worst - Double(burst) - Double(doubt + 2) * rate
  }

  /// The most that was surely admitted in any span of so many microseconds.
  func most(in length: Int64, doubt: Int64 = 2000) -> Int {
    let points = points(doubt: doubt)
    var (first, most) = (0, 0)
    for (index, point) in points.enumerated() {
      while points[first] <= point - length + doubt + 2 { first += 1 }
      most = max(most, index - first + 1)
    }
    return most
  }

  // MARK: Slots

  /// The most exchanges that ran at the same time. Those of `frozen` nodes do not count beyond the moment that it names.
  var mostRunning: Int {
    var changes: [(at: Int64, by: Int)] = []
    for record in admitted {
      changes.append((record.answered, 1))
      changes.append((record.ended == 0 ? .max : record.ended, -1))
    }
    changes.sort { ($0.at, $0.by) < ($1.at, $1.by) }
    var (running, most) = (0, 0)
    for change in changes {
      running += change.by
      most = max(most, running)
    }
    return most
  }

  /// How many exchanges ran at a moment.
  func running(at moment: Int64) -> Int {
    admitted.count { $0.answered <= moment && ($0.ended == 0 || $0.ended > moment) }
  }
}
