import Pipeline

/// What a loop knows of a counter that lies in a shared store. All moments are nanoseconds of the boot clock, which also
/// counts the time that a machine sleeps.
struct TrackedCounter {
  /// Tokens on lease: debited in the store, to be spent before ``end``.
  struct Slice {
    var tokens: Int64 = 0
    var end: Int64 = 0
    /// Of a sole lease, how far ``end`` may be put off as long as the store confirms the lane; otherwise the same.
    var last: Int64 = 0
    /// Whether the period of the limit is over with ``last``: nothing is given back then.
    var endsPeriod = false
    var grant = LaneGrant(moment: 0, epoch: 0)
  }

  /// The level as the store is asked about it, at a cost of one: see ``LeasePlan``.
  var level: QuotaLevel
  /// The rule as it was asked for; another one makes all that is remembered of denials void.
  var rule: LimitRule
  var plan: LeasePlan
  /// What a request takes.
  private(set) var cost: Int64
  private var isCalendar: Bool

  /// Until then whoever wants ``deniedCost`` or more is refused.
  var deniedUntil: Int64 = 0
  var deniedCost: Int64 = 0
  /// When that cost can be had, as far as is known.
  var deniedReset: Int64 = 0
  /// Denials in a row while others may have held tokens.
  var heldDenials: UInt8 = 0

  /// What is being spent, and what comes next: asked for before the first is used up, so that nobody waits.
  var slice = Slice()
  var nextSlice = Slice()
  /// Asked for by lease at all.
  var isLeasing = false
  /// A lease is on its way; and whether it is of another counter by now, and so of no use.
  var isAsking = false
  var isOutdated = false
  /// It is in the list of those that hold tokens.
  var isListed = false
  /// Sole leases.
  var sole = Sole()
  /// Until then the last tokens are handed out one by one.
  var exactUntil: Int64 = 0
  /// When it was last asked for.
  var lastUsed: Int64 = 0

  /// Units a second.
  var demand: Double = 0
  private var arrived: Int64 = 0
  private var arrivedSince: Int64 = 0

  /// How it stood when the store last said so, and when it will be as good as new.
  private(set) var remaining: Int64 = 0
  private(set) var restoredAt: Int64 = 0
  private(set) var isKnown = false
  /// When that was, and how many units a second everybody together took lately.
  private var notedAt: Int64 = 0
  private var pace: Double = 0
  private var pacedUsed: Int64 = 0
  private var pacedAt: Int64 = 0

  /// Units that were admitted without the store and that it must be told of, and until when that matters.
  var owed: Int64 = 0
  var owedUntil: Int64 = 0
  /// Whether what the store last said has been charged to the node's own share.
  var isShareBegun = false

  /// Slots of a concurrency limit.
  var slots = Slots()

  /// What is known of a quiet counter, for leases of it alone: see `SharedQuota+SoleLeases`.
  struct Sole {
    /// Units that were used within one lease lately, about.
    var units: Int64 = 0
    /// When the store was last asked about the counter, and from when on a sole lease may be asked for.
    var askedAt: Int64 = .min
    var from: Int64 = .min
    var isListed = false
  }

  /// Slots of a concurrency limit, as this loop holds them.
  struct Slots {
    /// Held on lease until ``end``, by this loop and by all others.
    var held: Int64 = 0
    var others: Int64 = 0
    var end: Int64 = 0
    /// In use, and the most that were since the last renewal.
    var used: Int64 = 0
    var peak: Int64 = 0
    /// Taken of the node's own share while the store was away.
    var alone: Int64 = 0
    /// Questions that wait for one.
    var waiting: Int64 = 0
    var isListed = false

    var isIdle: Bool { held == 0 && used == 0 && alone == 0 && waiting == 0 && !isListed }
  }

  init(_ level: QuotaLevel, moment: Int64) {
    rule = level.rule
    cost = level.cost
    isCalendar = level.isCalendar
    plan = LeasePlan(level)
    self.level = plan.level(level)
    arrivedSince = moment
    lastUsed = moment
  }

  var heldTokens: Int64 { slice.tokens + nextSlice.tokens }

  /// Whether it can be forgotten without harm to anybody.
  var isForgettable: Bool {
    !isAsking && !isListed && !sole.isListed && owed == 0 && slots.isIdle
  }

  /// The store has said how it stands.
  mutating func note(remaining: Int64, restoredAt: Int64, moment: Int64) {
    self.remaining = remaining
    self.restoredAt = restoredAt
    isKnown = true
    isShareBegun = false
    notedAt = moment
    let used = level.rule.limit - remaining
    let elapsed = moment - pacedAt
    if used < pacedUsed || elapsed > Self.memoryOfPace {
      (pacedUsed, pacedAt) = (used, moment)
    } else if elapsed >= Self.intervalOfPace {
      // More is believed at once, less only by and by.
      let latest = Double(used - pacedUsed) * 1e9 / Double(elapsed)
      pace = max(latest, pace + (latest - pace) / 4)
      (pacedUsed, pacedAt) = (used, moment)
    }
  }

  /// What everybody together has probably used of a window since the store last spoke of it, by the end of `moment`, when
  /// it fell silent; and what had been used by then.
  func probablyUsed(by moment: Int64) -> Int64 {
    // A window that is over, or one of which the store has spoken.
    let (known, since) = restoredAt > moment ? (max(0, level.rule.limit - remaining), notedAt) : (0, restoredAt)
    guard moment > since, moment - since <= Self.memoryOfPace else { return known }
    return min(level.rule.limit, known + Int64(pace * 1.5 * Double(moment - since) / 1e9))
  }

  /// The pace counts between two words of the store that lie so far apart.
  private static let intervalOfPace: Int64 = 10_000_000
  private static let memoryOfPace: Int64 = 1_000_000_000

  /// The time over which demand is averaged.
  private static let memory: Double = 300_000_000
  /// Demand is looked at this often.
  private static let interval: Int64 = 50_000_000

  /// Somebody wants `cost` units.
  @inline(__always)
  mutating func want(_ cost: Int64, moment: Int64) {
    arrived &+= cost
    lastUsed = moment
    if moment &- arrivedSince >= Self.interval { updateDemand(moment) }
  }

  mutating func updateDemand(_ moment: Int64) {
    let elapsed = Double(max(1, moment - arrivedSince))
    demand += min(1, elapsed / Self.memory) * (Double(arrived) * 1e9 / elapsed - demand)
    arrived = 0
    arrivedSince = moment
  }

  /// Whether nothing has changed since the level was last asked for. Only of calendars does the period mean anything.
  @inline(__always)
  func isAdopted(_ asked: borrowing QuotaLevel) -> Bool {
    // Apart from each other, since what is borrowed cannot be captured by what may not be evaluated.
    if rule != asked.rule { return false }
    if level.terms != asked.terms { return false }
    return isCalendar ? level.period == asked.period : true
  }

  /// Takes note of the level as it is asked for now.
  @inline(__always)
  mutating func adopt(_ asked: borrowing QuotaLevel) {
    if !isAdopted(asked) { change(copy asked) }
  }

  @inline(never)
  private mutating func change(_ asked: QuotaLevel) {
    plan = LeasePlan(asked)
    let former = level
    level = plan.level(asked)
    cost = asked.cost
    isCalendar = asked.isCalendar
    if !Self.isSameCounter(former, level) {
      // What was granted was taken from another counter: to spend it or to give it back would be a gift to this one.
      (slice, nextSlice) = (Slice(), Slice())
      sole.units = 0
      isOutdated = isAsking
    }
    guard rule != asked.rule else { return }
    rule = asked.rule
    deniedUntil = 0
    exactUntil = 0
  }
}

extension TrackedCounter {
  /// Whether the store counts both by the same number: not where a window has become longer, or a unit worth more.
  private static func isSameCounter(_ one: QuotaLevel, _ other: QuotaLevel) -> Bool {
    guard let one = LanePolicy(one, isLeased: false), let other = LanePolicy(other, isLeased: false) else {
      return false
    }
    return one.laneClass == other.laneClass && one.unit == other.unit && one.step == other.step
  }
}

extension QuotaLevel {
  fileprivate var isCalendar: Bool {
    if case .calendar = rule { true } else { false }
  }
}

/// Whether and how a limit can be leased.
///
/// Tokens of a lease are debited when they are granted and spent up to ``span`` later. Within a window that ends before
/// the lease does nobody can tell; a limit over any span of time would be exceeded by what is spent late. So the store
/// counts such limits more strictly, for every node alike: a rate with a burst that is smaller by what comes back within
/// a lease, a sliding window that is longer by a lease.
struct LeasePlan: Equatable {
  /// The rule by which the store counts.
  let rule: LimitRule
  /// Whether nodes may hold tokens of it.
  let isLeasable: Bool
  /// The longest time that a token may be held, in nanoseconds.
  let span: Int64

  /// The longest lease, and what of a limit's own time it may be.
  static let longestSpan: Int64 = 1_000_000_000
  static let part: Int64 = 20
  /// Leases shorter than this cost more than they save.
  static let shortestSpan: Int64 = 5_000_000

  init(_ level: borrowing QuotaLevel) {
    self.init(level.rule, level.terms.mode, cost: level.cost)
  }

  init(_ rule: LimitRule, _ mode: LimitMode, cost: Int64) {
    let least: Int64 = mode == .auto ? 50 : 2
    self.rule =
      switch !mode.isLeasable || rule.limit < max(least, cost &* 2) ? nil : Self.stricter(rule, mode) {
      case nil: rule
      case let stricter?: stricter.limit >= cost &* 2 ? stricter : rule
      }
    span = Self.span(rule)
    isLeasable =
      switch rule {
      case .concurrency: false
      case .rate, .sliding: self.rule != rule
      case .window, .calendar: mode.isLeasable && rule.limit >= max(least, cost &* 2)
      }
  }

  private static func span(_ rule: LimitRule) -> Int64 {
    switch rule {
    case .rate(let interval, let burst): min(longestSpan, burst &* interval / part)
    case .sliding(_, let length): min(longestSpan, length.multipliedOrClamped(by: 1000) / part)
    case .window, .calendar, .concurrency: longestSpan
    }
  }

  /// The rule that leaves room for tokens that are spent late; nil where that would leave too little.
  private static func stricter(_ rule: LimitRule, _ mode: LimitMode) -> LimitRule? {
    let span = span(rule)
    guard span >= shortestSpan else { return nil }
    switch rule {
    case .rate(let interval, let burst):
      guard burst >= (mode == .auto ? 200 : 20) else { return nil }
      return .rate(intervalNanoseconds: interval, burst: burst - (span + interval - 1) / interval)
    case .sliding(let limit, let length): return .sliding(limit: limit, lengthMicroseconds: length + span / 1000)
    case .window, .calendar, .concurrency: return nil
    }
  }

  /// `level` as the store is asked about it on its own, at a cost of one.
  func level(_ level: borrowing QuotaLevel) -> QuotaLevel {
    QuotaLevel(
      key: level.key, rule: rule, cost: 1, period: level.period, terms: level.terms, owner: level.owner)
  }
}
