import Pipeline
import Synchronization

/// The counters of one node, shared by all its loops and exact across them.
///
/// This breaks the rule that loops share only snapshots. Counters of one key are drawn on by every loop, and an exact limit
/// needs one order of decisions; messages between loops would cost 8 µs and a parked exchange instead of 33 ns. There is
/// one lock and not one for each shard, because levels of one question lie in different shards and are decided together:
/// with a single lock there is no order of locks to get wrong. It is held for some 50 ns, without a call into anything
/// else, and is the last lock taken by whoever takes it.
public final class CounterStore: Sendable {
  /// The most counters that a store keeps by default.
  public static let defaultCapacity = 1_000_000

  private let counters: Mutex<Counters>

  /// An empty store for at most `capacity` counters, at least 64. Full, it gives up those that would end soonest.
  public init(capacity: Int = CounterStore.defaultCapacity) {
    precondition(capacity >= 64)
    counters = Mutex(Counters(capacity: capacity))
  }

  /// Counters in use, and how many were given up while they still mattered. For metrics.
  public var statistics: (count: Int, evictedCount: Int) { counters.withLock { $0.statistics } }

  /// Decides `question`, all levels or none.
  @inline(__always)
  func decide(_ question: inout LimitQuestion, _ time: DecisionTime) {
    counters.withLock { $0.decide(&question, time) }
  }

  /// As ``decide(_:_:)``, but takes nothing.
  func peek(_ question: inout LimitQuestion, _ time: DecisionTime) {
    counters.withLock { $0.peek(&question, time) }
  }

  /// Takes as much of a level as is missing to `used` units, as far as there is room.
  func raise(_ level: QuotaLevel, to used: Int64, _ time: DecisionTime) {
    counters.withLock { counters in
      var question = LimitQuestion()
      question.append(level)
      counters.peek(&question, time)
      let room = question[0].remaining
      let missing = min(room, used - (level.rule.limit - room))
      guard missing > 0 else { return }
      question.removeAll()
      question.append(
        QuotaLevel(
          key: level.key, rule: level.rule, cost: missing, period: level.period, terms: level.terms, owner: level.owner)
      )
      counters.decide(&question, time)
    }
  }

  /// Gives back the slots that `question` holds.
  func release(_ question: inout LimitQuestion) {
    counters.withLock { $0.release(&question) }
  }
}

/// What the lock of a ``CounterStore`` guards.
private struct Counters: ~Copyable {
  private static let shardCount = 64
  // Not an array, whose every change would ask first whether it is shared; see `CounterEntries`.
  private var shards: InlineArray<64, CounterShard>
  private let shardCapacity: Int
  private var latest = DecisionTime(now: .min, civil: .min)

  init(capacity: Int) {
    shards = InlineArray { _ in CounterShard() }
    shardCapacity = capacity / Self.shardCount
  }

  var statistics: (count: Int, evictedCount: Int) {
    var sum = (0, 0)
    for index in shards.indices {
      sum.0 += shards[index].count
      sum.1 += shards[index].evictedCount
    }
    return sum
  }

  @inline(__always)
  private static func shard(_ key: QuotaKey) -> Int { Int(truncatingIfNeeded: key.high) & (shardCount &- 1) }

  @inline(__always)
  mutating func decide(_ question: inout LimitQuestion, _ asked: DecisionTime) {
    // Loops read their clocks once a turn, so a later caller may carry an earlier time. Decisions have one order, and so
    // must their times.
    latest.now = max(latest.now, asked.now)
    latest.civil = max(latest.civil, asked.civil)
    // The commonest question in one go: a single level that is a rate, has its counter and admits.
    if question.count == 1, case .rate(let interval, let burst) = question[0].rule,
      shards[Self.shard(question[0].key)].takeRate(
        &question[0], GCRA(interval: interval, burst: burst), now: latest.now)
    {
      question.decision = .admitted
      return
    }
    decideLevels(&question, latest)
  }

  @inline(never)
  private mutating func decideLevels(_ question: inout LimitQuestion, _ time: DecisionTime) {
    var places = InlineArray<8, Int32>(repeating: -1)
    let (isDenied, isMissing) = compare(&question, time, &places)
    if isDenied {
      deny(&question, time, places)
    } else if isMissing && !insert(&question, time, &places) {
      question.decision = .unavailable
    } else {
      take(&question, time, places)
    }
  }

  mutating func peek(_ question: inout LimitQuestion, _ asked: DecisionTime) {
    var places = InlineArray<8, Int32>(repeating: -1)
    let time = DecisionTime(now: max(latest.now, asked.now), civil: max(latest.civil, asked.civil))
    let (isDenied, _) = compare(&question, time, &places)
    deny(&question, time, places)
    if !isDenied { question.decision = .admitted }
  }

  /// Finds the counters of all levels, and which of them have no room.
  private func compare(
    _ question: inout LimitQuestion, _ time: DecisionTime, _ places: inout InlineArray<8, Int32>
  ) -> (isDenied: Bool, isMissing: Bool) {
    var isDenied = false
    var isMissing = false
    for index in 0..<question.count {
      let shard = Self.shard(question[index].key)
      let place = shards[shard].find(question[index].key)
      places[index] = Int32(truncatingIfNeeded: place)
      if place < 0 { isMissing = true }
      let state = place < 0 ? CounterState(for: question[index].rule) : shards[shard].state(at: place)
      let room = question[index].room(state, time)
      question[index].remaining = room
      question[index].isDenied = room < question[index].cost
      if question[index].isDenied {
        isDenied = true
        question[index].resetNanoseconds = question[index].wait(state, time)
      }
    }
    return (isDenied, isMissing)
  }

  private mutating func take(_ question: inout LimitQuestion, _ time: DecisionTime, _ places: InlineArray<8, Int32>) {
    for index in 0..<question.count {
      let shard = Self.shard(question[index].key)
      let state = shards[shard].take(question[index], at: Int(places[index]), time)
      question[index].remaining &-= question[index].cost
      question[index].resetNanoseconds = question[index].restoration(state, time)
      if case .concurrency = question[index].rule { question[index].isHeld = true }
    }
    question.decision = .admitted
  }

  /// Says of the levels that would have admitted when they will be as good as new.
  private func deny(_ question: inout LimitQuestion, _ time: DecisionTime, _ places: InlineArray<8, Int32>) {
    for index in 0..<question.count where !question[index].isDenied && places[index] >= 0 {
      let state = shards[Self.shard(question[index].key)].state(at: Int(places[index]))
      question[index].resetNanoseconds = question[index].restoration(state, time)
    }
    question.decision = .denied
  }

  /// Adds the counters that are missing. Adding one may clear another away, one of this question even: therefore all
  /// places are looked up again until none is missing. An added one stays, so that takes as many rounds as there are
  /// levels at most. Returns false, and leaves nothing behind, where there is no room.
  private mutating func insert(
    _ question: inout LimitQuestion, _ time: DecisionTime, _ places: inout InlineArray<8, Int32>
  ) -> Bool {
    for _ in 0...question.count {
      var isComplete = true
      for index in 0..<question.count {
        let level = question[index]
        let shard = Self.shard(level.key)
        var place = shards[shard].find(level.key)
        if place < 0 {
          isComplete = false
          place = shards[shard].insert(level, capacity: shardCapacity, time)
          if place < 0 {
            for index in 0..<question.count {
              shards[Self.shard(question[index].key)].removeUntouched(question[index].key)
            }
            return false
          }
        }
        places[index] = Int32(truncatingIfNeeded: place)
      }
      if isComplete { return true }
    }
    preconditionFailure("counters that were added do not stay")
  }

  mutating func release(_ question: inout LimitQuestion) {
    for index in 0..<question.count where question[index].isHeld {
      shards[Self.shard(question[index].key)].releaseSlot(question[index].key)
      question[index].isHeld = false
    }
  }
}
