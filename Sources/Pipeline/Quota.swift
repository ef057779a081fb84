import Core
import Crypto

// What a limit is and how it is asked about. `Policies` fills in levels, a `Quota` decides them: the embedded one of a
// single node at once, a shared one perhaps later. All of it is plain data inside the exchange, so that a question can be
// parked, merged with its equals and answered without an allocation.

/// Decides limits. One object a loop; what loops share lies behind it.
public protocol Quota: AnyObject {
  /// The key for subjects that clients choose freely; the same on all loops that share counters.
  var subjectKey: SipKey { get }

  /// The civil time by which windows and calendars are cut: never backwards, and the same for all who share counters as
  /// far as the implementation can know.
  func civilTime(now: Instant, wall: WallTime) -> WallTime

  /// Decides all undecided levels of `question` together, all or none: a denial changes nothing anywhere. Fills in each
  /// level's `remaining` and `resetNanoseconds`, and ``LimitQuestion/decision``.
  ///
  /// After ``LimitDecision/waiting`` the answer comes through `ticket`, with the levels filled in as if at once.
  func decide(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime)

  /// As ``decide(_:ticket:now:civil:)``, except that nothing is taken, whatever the answer.
  func peek(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime)

  /// Fills in `question`, which was answered with ``LimitDecision/waiting``, now that `ticket` has been called. Harmless
  /// where it was decided already.
  func collect(_ question: inout LimitQuestion, ticket: UInt64)

  /// Gives back the slots of concurrency limits that `question` holds. Harmless where it holds none.
  func release(_ question: inout LimitQuestion, now: Instant)
}

/// A 128-bit name of a limit, of a subject, or of one counter (a limit and a subject together). Equal inputs give equal
/// names on every node; different ones collide with a probability of 2⁻¹²⁸.
public struct QuotaKey: Hashable, Sendable, BitwiseCopyable {
  /// The first half.
  public let low: UInt64
  /// The second half.
  public let high: UInt64

  /// The name with these halves.
  @inlinable
  public init(low: UInt64, high: UInt64) {
    self.low = low
    self.high = high
  }

  /// The name of something that a configuration, not a client, named. Two parts never run together.
  public init(configured parts: String...) {
    var bytes: [UInt8] = []
    for part in parts {
      bytes += Array(part.utf8)
      bytes.append(0xff)
    }
    self.init(chosen: RawSpan(bytes), key: Self.configuredKey)
  }

  /// The name of a usage plan.
  public init(plan name: String) { self.init(configured: "plan", name) }

  /// No secret is needed: whoever writes the configuration may collide with himself.
  static var configuredKey: SipKey { SipKey(low: 0x736c_7569_6365_2e71, high: 0x756f_7461_2e6b_6579) }

  /// The name of what a client chose, with the `key` that keeps it from colliding on purpose.
  @inlinable
  public init(chosen bytes: RawSpan, key: SipKey) {
    let hash = key.hash(bytes)
    self.init(low: hash.low, high: hash.high)
  }

  /// The name of an address.
  @inlinable
  public init(_ address: IPAddress, key: SipKey) {
    let hash = key.hash(address.low, address.high)
    self.init(low: hash.low, high: hash.high)
  }

  /// The name of both together; the order matters. Both must be hashes already: this only mixes them.
  @inlinable
  @inline(__always)
  public func combined(with other: QuotaKey) -> QuotaKey {
    let first = (low ^ 0x9e37_79b9_7f4a_7c15).multipliedFullWidth(by: other.low ^ high)
    let second = (high ^ 0xc2b2_ae3d_27d4_eb4f).multipliedFullWidth(by: other.high ^ (low << 32 | low >> 32))
    return QuotaKey(
      low: first.low ^ second.high ^ other.high, high: second.low ^ first.high ^ (other.low << 17 | other.low >> 47))
  }
}

/// What a limit allows. Every number has been checked by whoever made it.
public enum LimitRule: Equatable, Sendable, BitwiseCopyable {
  /// Generic cell rate algorithm: one unit every interval (1 or more), and `burst` units at once (1 or more). The product
  /// of both is below 2⁶² nanoseconds. Any span of time w admits at most burst + w / interval.
  case rate(intervalNanoseconds: Int64, burst: Int64)
  /// `limit` units in each window of so many microseconds, counted from 1970.
  case window(limit: Int64, lengthMicroseconds: Int64)
  /// `limit` units, at most 2³² − 1, in any span of so many microseconds.
  case sliding(limit: Int64, lengthMicroseconds: Int64)
  /// `limit` units in the calendar period that a level carries.
  case calendar(limit: Int64)
  /// `limit` exchanges at the same time; the cost is always 1.
  case concurrency(limit: Int64)

  /// From this tolerance on, twelve days in nanoseconds, intervals are whole microseconds.
  public static let coarseTolerance: Int64 = 1_048_575_000_000_000

  /// The rate of one unit in so many nanoseconds. A rate that remembers more than twelve days goes by whole microseconds,
  /// rounded up, in every store: shared counters are doubles, which keep no nanoseconds for so long.
  public static func rate(interval: Int64, burst: Int64) -> LimitRule {
    let (tolerance, overflow) = burst.multipliedReportingOverflow(by: interval)
    guard overflow || tolerance >= coarseTolerance else { return .rate(intervalNanoseconds: interval, burst: burst) }
    let coarse = (interval &+ 999) / 1000 &* 1000
    // The product stays below 2⁶²: a rate so coarse has no use for more at once.
    return .rate(intervalNanoseconds: coarse, burst: min(burst, ((1 << 62) - 1) / coarse))
  }

  /// The most that can be had at once.
  @inlinable
  public var limit: Int64 {
    switch self {
    case .rate(_, let burst): burst
    case .window(let limit, _), .sliding(let limit, _), .calendar(let limit), .concurrency(let limit): limit
    }
  }
}

/// How a limit is kept over several nodes.
public enum LimitMode: String, CaseIterable, Sendable, BitwiseCopyable {
  /// Leased where a node's own traffic makes it worth it, otherwise exact.
  case auto
  /// The shared store is asked about every request.
  case exact
  /// Nodes hold slices of tokens and admit from those.
  case leased
  /// As exact, and nobody is admitted before a replica of the store has what was taken: a store that is split in two then
  /// admits no more than one.
  case strict

  /// Whether nodes may hold tokens.
  public var isLeasable: Bool { self == .auto || self == .leased }
}

/// What holds for a limit while the shared store cannot be asked.
public enum OutageRule: String, CaseIterable, Sendable, BitwiseCopyable {
  /// Each node admits its share of the limit.
  case local
  /// Everything is admitted, and counted.
  case open
  /// Everything is refused.
  case closed
}

/// Who has decided a question.
public enum LimitSource: String, CaseIterable, Sendable, BitwiseCopyable {
  /// The node's own memory, where that is the store.
  case embedded
  /// The shared store.
  case exact
  /// A slice of tokens that this node holds.
  case leased
  /// What this node remembers of a limit that was used up.
  case denyCache = "denycache"
  /// This node's share, since the shared store could not be asked.
  case local
  /// Nobody: the shared store could not be asked, and the limit is set to admit then.
  case open
  /// Nobody: the shared store could not be asked, and the limit is set to refuse then.
  case closed

  /// Whether the shared store should have been asked and could not be.
  @inlinable
  public var isDegraded: Bool {
    @inline(__always) get { self == .local || self == .open || self == .closed }
  }
}

/// What a level asks of a shared store beyond its rule: a byte or two that every embedded store ignores.
public struct LimitTerms: Equatable, Sendable, BitwiseCopyable {
  /// How the limit is kept over several nodes.
  public var mode: LimitMode
  /// What holds while the store cannot be asked.
  public var outage: OutageRule

  /// These terms; by default those of a limit that says nothing.
  @inlinable
  public init(mode: LimitMode = .auto, outage: OutageRule = .local) {
    self.mode = mode
    self.outage = outage
  }
}

/// A stretch of civil time, from `start` to just before `end`.
public struct CivilPeriod: Equatable, Sendable, BitwiseCopyable {
  /// The first moment of it.
  public let start: WallTime
  /// The first moment after it.
  public let end: WallTime

  /// The period from `start` to just before `end`.
  @inlinable
  public init(start: WallTime, end: WallTime) {
    self.start = start
    self.end = end
  }
}

/// One counter that a request must pass: what is counted, by which rule, and, once decided, how it stands.
public struct QuotaLevel: Sendable, BitwiseCopyable {
  /// The counter. It does not depend on the limit's numbers: a limit that is raised keeps what has been used.
  public let key: QuotaKey
  /// The rule, with the numbers in force now.
  public let rule: LimitRule
  /// Units that this request takes, 1 to 2³¹.
  public let cost: Int64
  /// For ``LimitRule/calendar(limit:)`` the current period by ``Quota/civilTime(now:wall:)``.
  public let period: CivilPeriod
  /// How a shared store is to keep it.
  public let terms: LimitTerms
  /// Counters of one owner lie together in a shared store and are decided in one step.
  public let owner: UInt16
  /// Units left after the decision.
  public var remaining: Int64 = 0
  /// Nanoseconds: for a level that denied, until it would admit the same cost (`Int64.max`: never); otherwise until
  /// it is as good as new.
  public var resetNanoseconds: Int64 = 0
  /// Whether this level alone would have refused.
  public var isDenied = false
  /// Whether a slot is held that must be released.
  public var isHeld = false

  /// A level that is not decided yet. Without an `owner` it is its own.
  @inlinable
  public init(
    key: QuotaKey, rule: LimitRule, cost: Int64, period: CivilPeriod, terms: LimitTerms = LimitTerms(),
    owner: UInt16? = nil
  ) {
    self.key = key
    self.rule = rule
    self.cost = cost
    self.period = period
    self.terms = terms
    self.owner = owner ?? UInt16(truncatingIfNeeded: key.low)
  }
}

/// How a question stands.
public enum LimitDecision: UInt8, Sendable, BitwiseCopyable {
  /// Nothing was asked.
  case none
  /// All levels admitted, and all have been debited.
  case admitted
  /// At least one level refused, and nothing has changed anywhere.
  case denied
  /// The answer is on its way.
  case waiting
  /// Nobody could say, and the limit is set to refuse then.
  case unavailable
  /// The calendar period of a level was over before the store could be asked: ask again with the present one.
  case stale
}

/// All levels of one exchange and how they were decided: the question to a ``Quota``, its answer, and afterwards the
/// report for the log and the metrics.
public struct LimitQuestion: Sendable, BitwiseCopyable {
  /// The most levels that one route can have.
  public static let capacity = 8

  private var levels: InlineArray<8, QuotaLevel>
  /// How many levels there are.
  public private(set) var count = 0
  /// The level that ``findBinding()`` found, or −1.
  private var binding = -1
  /// How it was decided.
  public var decision = LimitDecision.none
  /// Who decided it.
  public var source = LimitSource.embedded
  /// Where the names of the levels begin among those of the chain: 0 where all callers have the same.
  public var firstName: UInt16 = 0

  /// A question about nothing.
  public init() {
    let zero = CivilPeriod(start: WallTime(microseconds: 0), end: WallTime(microseconds: 0))
    let level = QuotaLevel(key: QuotaKey(low: 0, high: 0), rule: .concurrency(limit: 0), cost: 0, period: zero)
    levels = InlineArray(repeating: level)
  }

  /// Adds a level; there must be room for it.
  @inline(__always)
  public mutating func append(_ level: QuotaLevel) {
    levels[count] = level
    count &+= 1
  }

  /// Forgets all levels.
  public mutating func removeAll() {
    count = 0
    binding = -1
    decision = .none
    source = .embedded
    firstName = 0
  }

  /// The level at `index`, in the order of the route's limits.
  public subscript(index: Int) -> QuotaLevel {
    @inline(__always) get {
      precondition(index < count)
      return levels[index]
    }
    @inline(__always) _modify {
      precondition(index < count)
      yield &levels[index]
    }
  }

  /// The level that ``findBinding()`` found; nil before, and where there are no levels.
  public var bindingIndex: Int? { binding < 0 ? nil : binding }

  /// Finds the level that matters most to the caller: of those that denied the one that takes longest, otherwise the one
  /// with the least left. It is kept, since reading a level anywhere but in place copies all of them.
  @inline(__always)
  public mutating func findBinding() {
    binding = count &- 1
    if count > 1 { compareLevels() }
  }

  private mutating func compareLevels() {
    var best = 0
    for index in 1..<count {
      let isDenied = levels[index].isDenied
      if isDenied != levels[best].isDenied {
        if isDenied { best = index }
      } else if isDenied
        ? levels[index].resetNanoseconds > levels[best].resetNanoseconds
        : levels[index].remaining < levels[best].remaining
      {
        best = index
      }
    }
    binding = best
  }
}
