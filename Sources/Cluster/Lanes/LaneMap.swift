import Core
import Crypto
import Pipeline

/// The name of a counter within its lane: 96 bits of a keyed hash.
struct LaneField: Hashable, Sendable, BitwiseCopyable {
  var low: UInt64
  var high: UInt32

  static let byteCount = 12
}

/// Where counters lie: which lane, and by which names. Nodes that share a Redis must agree on all of it.
public struct LaneMap: Sendable {
  /// The most lanes there can be.
  public static let maximumLaneCount = 4096

  /// How many lanes there are, a power of two.
  public let laneCount: Int
  private let secret: SipKey
  /// Of each lane, what all its keys begin with: `sluice:<cluster>:{rl:<lane>}:`.
  private let prefixes: ContiguousArray<[UInt8]>

  /// The lanes of `cluster`, spread by `secret`; nil unless `laneCount` is a power of two within bounds.
  public init?(cluster: String, laneCount: Int, secret: SipKey) {
    guard laneCount > 0, laneCount <= Self.maximumLaneCount, laneCount & (laneCount - 1) == 0 else { return nil }
    self.laneCount = laneCount
    self.secret = secret
    prefixes = ContiguousArray((0..<laneCount).map { Array("sluice:\(cluster):{rl:\($0)}:".utf8) })
  }

  /// The lane of all counters of `owner`: see ``QuotaLevel/owner``. Levels of one lane are decided in one call.
  @inline(__always)
  public func lane(of owner: UInt16) -> Int { Int(owner) & (laneCount &- 1) }

  /// What the keys of `lane` begin with: for finding the slot of a Redis Cluster.
  public func prefix(of lane: Int) -> [UInt8] { prefixes[lane] }

  /// The field of a level's counter. A sliding window's depends on its length, since steps of different lengths do not mix.
  func field(of level: borrowing QuotaLevel) -> LaneField {
    var high = level.key.high
    if case .sliding(_, let length) = level.rule { high &+= UInt64(bitPattern: length) }
    let hash = secret.hash(level.key.low, high)
    return LaneField(low: hash.low, high: UInt32(truncatingIfNeeded: hash.high))
  }
}

/// A kind of counters and the period by which their hashes change.
struct LaneClass: Hashable, Sendable, BitwiseCopyable {
  enum Kind: UInt8, Sendable {
    case generation = 1
    case window = 2
    case sliding = 3
    case calendar = 4
  }

  var kind: Kind
  /// Microseconds; of a calendar period its first moment.
  var period: Int64
  /// Of a calendar period the first moment behind it, otherwise 0.
  var end: Int64 = 0

  /// Below this a number keeps every unit in a double.
  static let exactBound: Int64 = 1 << 53
  /// The largest number that counts go to: half of it for what was taken, half for what was given back.
  static let largestCount: Int64 = 1 << 52

  /// Units of a generation's values in a microsecond: nanoseconds where a generation of them is exact in a double,
  /// microseconds where it is not. 0 for other kinds.
  var scale: Int64 { kind != .generation ? 0 : period <= Self.longestFine ? 1000 : 1 }

  /// 2,097,152 seconds: the longest generation that is counted in nanoseconds.
  private static let longestFine: Int64 = 64_000_000 << 15

  /// The period of hashes whose values matter for at most `span` microseconds: 64 seconds, or eight times that as often
  /// as it takes, so that the limits of a cluster share few hashes; 285 years where nothing else is enough.
  static func generation(spanning span: Int64) -> Int64 {
    var period: Int64 = 64_000_000
    while period < span && period < 64_000_000 << 24 { period <<= 3 }
    return period < span ? exactBound : period
  }

  /// The number of the period around `civil`; 0 for calendars.
  func index(at civil: Int64) -> Int64 { kind == .calendar ? 0 : max(0, civil) / period }

  /// How many hashes are named: the one before, the running one, the next; of a calendar only the running one.
  var keyCount: Int { kind == .calendar ? 1 : 3 }

  /// The first moment of the period around `civil`.
  func start(at civil: Int64) -> Int64 { kind == .calendar ? period : index(at: civil) &* period }
}

/// A rule in the library's numbers.
struct LanePolicy: Hashable, Sendable, BitwiseCopyable {
  var laneClass: LaneClass
  /// What one unit of cost is worth.
  var unit: Int64
  /// What there is room for in an untouched counter.
  var room: Int64
  /// Microseconds of a sliding window's step, otherwise 0.
  var step: Int64 = 0
  /// Whether nodes may hold tokens of it on lease, so that a denial asks who does.
  var isLeased: Bool

  /// The policy of a level; nil for concurrency, which has calls of its own.
  init?(_ level: borrowing QuotaLevel, isLeased: Bool) {
    self.isLeased = isLeased
    switch level.rule {
    case .rate(let interval, let burst):
      let tolerance = burst.multipliedOrClamped(by: interval)
      // Twice: room for as much debt as there is tolerance.
      let period = LaneClass.generation(spanning: (tolerance / 500).addingOrClamped(2))
      laneClass = LaneClass(kind: .generation, period: period)
      if laneClass.scale == 1000 {
        unit = interval
        room = tolerance
      } else {
        // Whoever made the rule sees to whole microseconds; rounded up it never admits more.
        unit = interval / 1000 + (interval % 1000 > 0 ? 1 : 0)
        room = min(burst.multipliedOrClamped(by: unit), 1 << 52)
      }
    case .window(let limit, let length):
      laneClass = LaneClass(kind: .window, period: min(length, LaneClass.exactBound))
      unit = 1
      room = min(limit, LaneClass.largestCount)
    case .sliding(let limit, let length):
      step = min(length, LaneClass.exactBound).advanced(by: 8) / 9
      laneClass = LaneClass(kind: .sliding, period: LaneClass.generation(spanning: step.multipliedOrClamped(by: 10)))
      unit = 1
      room = min(limit, Int64(UInt32.max))
    case .calendar(let limit):
      laneClass = LaneClass(
        kind: .calendar, period: level.period.start.microseconds, end: level.period.end.microseconds)
      unit = 1
      room = min(limit, LaneClass.largestCount)
    case .concurrency: return nil
    }
  }
}

extension Int64 {
  func addingOrClamped(_ other: Int64) -> Int64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? (other > 0 ? .max : .min) : sum
  }
}
