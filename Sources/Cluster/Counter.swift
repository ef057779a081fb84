import Pipeline

/// What a counter remembers, by the kind of its limit.
enum CounterState: Sendable, BitwiseCopyable {
  case rate(GCRA.State)
  case period(PeriodCounter.State)
  case sliding(SlidingWindow.State)
  case slots(Int64)

  /// A counter that nothing has been taken from.
  @inline(__always)
  init(for rule: LimitRule) {
    switch rule {
    case .rate: self = .rate(0)
    case .window, .calendar: self = .period(PeriodCounter.State())
    case .sliding: self = .sliding(SlidingWindow.State())
    case .concurrency: self = .slots(0)
    }
  }
}

/// The clocks that a decision is made by.
struct DecisionTime: Sendable {
  /// Monotonic nanoseconds.
  var now: Int64
  /// Microseconds since 1970, never backwards.
  var civil: Int64
}

/// When a counter may be forgotten, on the clock that its limit goes by.
struct Expiry: Sendable, BitwiseCopyable {
  var isCivil: Bool
  var moment: Int64

  /// Of a counter in use for as long as somebody holds it.
  static let held = Expiry(isCivil: false, moment: .max)

  /// Nanoseconds from `time` on, 0 if it is over, `Int64.max` only for what is held.
  func distance(from time: DecisionTime) -> Int64 {
    if moment == .max { return .max }
    if isCivil { return max(0, moment.subtractingOrClamped(time.civil)).multipliedOrClamped(by: 1000) }
    return max(0, moment.subtractingOrClamped(time.now))
  }
}

extension Int64 {
  func subtractingOrClamped(_ other: Int64) -> Int64 {
    let (difference, overflow) = subtractingReportingOverflow(other)
    return overflow ? (other > 0 ? .min : .max) : difference
  }
}

/// The rules of one level applied to one counter: pure, so that a model of a shared store can run the same code.
extension QuotaLevel {
  /// How much longer than a period its counter is kept: a loop whose turn began just before the boundary may still ask
  /// about the period that has ended, and must find what was used in it.
  static let graceMicroseconds: Int64 = 60_000_000

  private var calendarCounter: PeriodCounter {
    PeriodCounter(limit: rule.limit, start: period.start.microseconds, end: period.end.microseconds)
  }

  /// Units that `state` has left; a state of another kind counts as untouched.
  @inline(__always)
  func room(_ state: CounterState, _ time: DecisionTime) -> Int64 {
    switch (rule, state) {
    case (.rate(let interval, let burst), .rate(let state)):
      GCRA(interval: interval, burst: burst).room(state, now: time.now)
    case (.window(let limit, let length), .period(let state)):
      FixedWindow(limit: limit, length: length).counter(at: time.civil).room(state)
    case (.sliding(let limit, let length), .sliding(let state)):
      SlidingWindow(limit: limit, length: length).room(state, civil: time.civil)
    case (.calendar, .period(let state)): calendarCounter.room(state)
    case (.concurrency(let limit), .slots(let used)): max(0, limit &- used)
    default: rule.limit
    }
  }

  /// Takes the level's cost from `state`, which must have room for it. Returns when the counter may be forgotten.
  @inline(__always)
  func take(from state: inout CounterState, _ time: DecisionTime) -> Expiry {
    switch (rule, state) {
    case (.rate(let interval, let burst), .rate(var value)):
      GCRA(interval: interval, burst: burst).take(cost, from: &value, now: time.now)
      state = .rate(value)
      return Expiry(isCivil: false, moment: value)
    case (.window(let limit, let length), .period(var value)):
      let counter = FixedWindow(limit: limit, length: length).counter(at: time.civil)
      counter.take(cost, from: &value)
      state = .period(value)
      return Expiry(isCivil: true, moment: value.start &+ length)
    case (.sliding(let limit, let length), .sliding(var value)):
      let window = SlidingWindow(limit: limit, length: length)
      window.take(cost, from: &value, civil: time.civil)
      state = .sliding(value)
      return Expiry(isCivil: true, moment: window.end(value))
    case (.calendar, .period(var value)):
      calendarCounter.take(cost, from: &value)
      state = .period(value)
      return Expiry(isCivil: true, moment: period.end.microseconds &+ Self.graceMicroseconds)
    case (.concurrency, .slots(let used)):
      state = .slots(used &+ 1)
      return .held
    default:
      state = CounterState(for: rule)
      return take(from: &state, time)
    }
  }

  /// Nanoseconds until `state` has room for the level's cost; `Int64.max` if never.
  func wait(_ state: CounterState, _ time: DecisionTime) -> Int64 {
    switch (rule, state) {
    case (.rate(let interval, let burst), .rate(let state)):
      return GCRA(interval: interval, burst: burst).wait(for: cost, state, now: time.now)
    case (.window(let limit, let length), .period):
      return FixedWindow(limit: limit, length: length).counter(at: time.civil).wait(for: cost, civil: time.civil)
    case (.sliding(let limit, let length), .sliding(let state)):
      return SlidingWindow(limit: limit, length: length).wait(for: cost, state, civil: time.civil)
    case (.calendar, .period): return calendarCounter.wait(for: cost, civil: time.civil)
    case (.concurrency, _): return Self.slotWaitNanoseconds
    default: return .max
    }
  }

  /// Nobody knows when a running exchange ends; a second is what `Retry-After` can say at the least.
  private static let slotWaitNanoseconds: Int64 = 1_000_000_000

  /// Nanoseconds until `state` is as good as new.
  @inline(__always)
  func restoration(_ state: CounterState, _ time: DecisionTime) -> Int64 {
    switch (rule, state) {
    case (.rate(let interval, let burst), .rate(let state)):
      return GCRA(interval: interval, burst: burst).restoration(state, now: time.now)
    case (.window(let limit, let length), .period):
      return FixedWindow(limit: limit, length: length).counter(at: time.civil).restoration(civil: time.civil)
    case (.sliding(let limit, let length), .sliding(let state)):
      return SlidingWindow(limit: limit, length: length).restoration(state, civil: time.civil)
    case (.calendar, .period): return calendarCounter.restoration(civil: time.civil)
    default: return 0
    }
  }
}
