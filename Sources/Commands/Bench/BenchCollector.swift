import Core

/// One second of a run, or whatever the plan's interval is, all threads together.
struct BenchSecond: Equatable, Sendable {
  /// Where it begins, in nanoseconds after the warm-up, and how long it is: the last one may be shorter.
  var startNanoseconds: Int64
  var nanoseconds: Int64
  var started: UInt64
  var completed: UInt64
  var failed: UInt64
  var receivedBytes: UInt64
  /// Latencies in nanoseconds.
  var p50: UInt64
  var p90: UInt64
  var p99: UInt64
  var maximum: UInt64
  /// The part of the second that the generating threads were at work, 0 to 1.
  var busyShare: Double

  /// Complete responses per second.
  var rate: Double { nanoseconds > 0 ? Double(completed) * 1e9 / Double(nanoseconds) : 0 }
}

/// Puts together what the threads report, each at its own pace.
struct BenchCollector: Sendable {
  private struct Pending {
    var tally = BenchTally()
    var nanoseconds: Int64 = 0
    var busyNanoseconds: Int64 = 0
    var reports = 0
  }

  private let threads: Int
  private let intervalNanoseconds: Int64
  private var pending: [Int: Pending] = [:]
  private var elapsed: [Int64]
  /// Everything that was counted.
  private(set) var total = BenchTally()
  /// Complete responses that came before the end.
  private(set) var completedInTime: UInt64 = 0
  private(set) var seconds: [BenchSecond] = []
  private(set) var planned: UInt64 = 0
  private(set) var unfinished = 0
  private(set) var busyNanoseconds: Int64 = 0
  private(set) var finishedThreads = 0

  /// For so many threads, which report once in every interval.
  init(threads: Int, intervalNanoseconds: Int64 = 1_000_000_000) {
    self.threads = threads
    self.intervalNanoseconds = intervalNanoseconds
    elapsed = Array(repeating: 0, count: threads)
  }

  /// How long requests were started and measured, by the thread that took longest.
  var elapsedNanoseconds: Int64 { elapsed.max() ?? 0 }

  /// The part of that time that the threads were at work, 0 to 1.
  var busyShare: Double {
    let whole = elapsed.reduce(0, +)
    return whole > 0 ? min(1, Double(busyNanoseconds) / Double(whole)) : 0
  }

  /// Takes a thread's second; returns it once all threads have reported theirs.
  mutating func add(thread: Int, second: Int, nanoseconds: Int64, busyNanoseconds busy: Int64, _ tally: BenchTally)
    -> BenchSecond?
  {
    elapsed[thread] += nanoseconds
    busyNanoseconds += busy
    completedInTime += tally.completed
    total.merge(tally)
    var entry = pending.removeValue(forKey: second) ?? Pending()
    entry.tally.merge(tally)
    entry.nanoseconds = max(entry.nanoseconds, nanoseconds)
    entry.busyNanoseconds += busy
    entry.reports += 1
    if entry.reports < threads {
      pending[second] = entry
      return nil
    }
    return append(second, entry)
  }

  /// Takes a thread's last words; true once all have spoken.
  mutating func finish(planned: UInt64, unfinished: Int, tail: BenchTally) -> Bool {
    total.merge(tail)
    self.planned += planned
    self.unfinished += unfinished
    finishedThreads += 1
    guard finishedThreads == threads else { return false }
    // Threads with a share of a number of requests end in different seconds.
    for (second, entry) in pending.sorted(by: { $0.key < $1.key }) { _ = append(second, entry) }
    pending = [:]
    return true
  }

  private mutating func append(_ second: Int, _ entry: Pending) -> BenchSecond {
    let latency = entry.tally.latency
    let whole = Double(entry.nanoseconds) * Double(threads)
    let result = BenchSecond(
      startNanoseconds: Int64(second) * intervalNanoseconds, nanoseconds: entry.nanoseconds,
      started: entry.tally.started, completed: entry.tally.completed, failed: entry.tally.failed,
      receivedBytes: entry.tally.receivedBytes,
      p50: latency.value(atPercentile: 50), p90: latency.value(atPercentile: 90),
      p99: latency.value(atPercentile: 99), maximum: latency.maximum,
      busyShare: whole > 0 ? min(1, Double(entry.busyNanoseconds) / whole) : 0)
    seconds.append(result)
    return result
  }
}
