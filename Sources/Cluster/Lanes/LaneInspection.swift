import Core
import Pipeline

/// One counter of a shared store as people look at it: where it lies, and how it stands. Plain data in, bytes out: the
/// owner sends what ``encode(_:for:into:)`` writes and hands the replies to ``read(_:_:)``. Nothing is changed.
public struct LaneInspection {
  /// What is known of the counter.
  public enum Outcome: Sendable {
    /// Nothing yet.
    case none
    /// How it stands: the level, answered.
    case answered(QuotaLevel)
    /// The lane is not open under this primary's replication id: no node has counted there since the last failover.
    case notOpen
    /// Nodes are merging after a failover, until this moment of the lane at the latest.
    case gated(until: WallTime)
    /// The clock named another period: inspect again by this one.
    case otherPeriod(now: WallTime)
    /// The store refused, or said what the decision library does not say.
    case failed
  }

  /// Somebody who holds slots of a concurrency limit, or asked for tokens on lease.
  public struct Holder: Equatable, Sendable {
    /// The loop's number.
    public let node: UInt64
    /// Slots; 0 for one who asked for tokens.
    public let slots: Int64
    /// When the slots end, or when it asked: a moment of the lane.
    public let moment: WallTime
  }

  /// The counter, unanswered.
  public let level: QuotaLevel
  /// Its lane.
  public let lane: Int
  /// Kind and period, in words.
  public let kind: String
  /// The hashes that it may lie in, the running one first; a concurrency limit has a hash of its own.
  public let keys: [String]
  /// Its field in them, in hexadecimal digits; empty for concurrency.
  public let field: String
  /// How it stands.
  public private(set) var outcome = Outcome.none
  /// The bytes in each of ``keys``; nil where there are none.
  public private(set) var values: [[UInt8]?]
  /// Who holds slots, or lately asked for tokens.
  public private(set) var holders: [Holder] = []

  /// The store's time, by which it looks.
  public let clock: WallTime
  private let fieldBytes: [UInt8]
  private let batch: LaneBatch
  private let place: LanePlace?

  /// The counter of `level` at the moment `clock` of the store.
  public init(map: LaneMap, level: QuotaLevel, clock: WallTime) {
    self.level = level
    self.clock = clock
    lane = map.lane(of: level.owner)
    batch = LaneBatch(map: map)
    batch.begin(lane: lane)
    let prefix = String(decoding: map.prefix(of: lane), as: UTF8.self)
    let name = map.field(of: level)
    fieldBytes =
      (0..<8).map { UInt8(truncatingIfNeeded: name.low >> ($0 * 8)) }
      + (0..<4).map { UInt8(truncatingIfNeeded: name.high >> ($0 * 8)) }
    guard let policy = LanePolicy(level, isLeased: false) else {
      kind = "slots"
      keys = [prefix + "k:" + Self.digits(name.low, 16) + Self.digits(UInt64(name.high), 8)]
      field = ""
      place = nil
      values = []
      return
    }
    let laneClass = policy.laneClass
    let index = laneClass.index(at: clock.microseconds)
    let count = laneClass.kind == .calendar ? 1 : 2
    keys = (0..<count).map { prefix + laneClass.hashName(index: index - Int64($0)) }
    field = fieldBytes.map { Self.digits(UInt64($0), 2) }.joined()
    values = Array(repeating: nil, count: count)
    kind =
      switch laneClass.kind {
      case .generation: "rate, in generations of \(Self.seconds(laneClass.period)) s"
      case .window: "fixed window of \(Self.seconds(laneClass.period)) s"
      case .sliding: "sliding window in steps of \(Self.seconds(policy.step)) s"
      case .calendar: "calendar period"
      }
    var question = LimitQuestion()
    question.append(level)
    place = batch.append(question, hits: 0)
  }

  /// What all keys of the lane begin with, for finding the slot of a Redis Cluster.
  public var prefix: [UInt8] { batch.map.prefix(of: lane) }

  /// How many commands there are.
  public var commandCount: Int { place == nil ? 1 : 2 + keys.count }

  /// Writes the command at `index`.
  public func encode(_ index: Int, for caller: LaneCaller, into buffer: ByteBuffer) {
    guard place != nil else {
      return RedisCommand.append(["HGETALL", keys[0]], to: buffer)
    }
    if index == 0 { return batch.encode(for: caller, clock: clock, into: buffer) }
    let isNote = index > keys.count
    let key = isNote ? keys[0] : keys[index - 1]
    RedisCommand.append(
      [Array("HGET".utf8), Array(key.utf8), fieldBytes + (isNote ? Array("n".utf8) : [])], to: buffer)
  }

  /// Reads the reply to the command at `index`.
  public mutating func read(_ index: Int, _ value: borrowing RedisValue) {
    guard place != nil else { return readSlots(value) }
    if index == 0 { return readAnswer(value) }
    guard value.kind == .bytes else { return }
    let bytes = value.bytes
    if index <= keys.count {
      values[index - 1] = (0..<bytes.byteCount).map { bytes.byte(at: $0) }
      return
    }
    for at in stride(from: 0, to: bytes.byteCount - 11, by: 12) {
      holders.append(
        Holder(
          node: bytes.word64(at: at), slots: 0,
          moment: WallTime(microseconds: Int64(bytes.word(at: at + 8)) * 1_000_000)))
    }
  }

  private mutating func readAnswer(_ value: borrowing RedisValue) {
    guard value.kind == .bytes, let place else { return outcome = .failed }
    switch batch.read(value.bytes) {
    case .answered:
      var question = LimitQuestion()
      question.append(level)
      batch.answer(place, &question)
      outcome = .answered(question[0])
    case .recover: outcome = .notOpen
    case .regenerate(let now): outcome = .otherPeriod(now: now)
    case .gated(_, let until): outcome = .gated(until: until)
    case .malformed: outcome = .failed
    }
  }

  private mutating func readSlots(_ value: borrowing RedisValue) {
    guard value.kind == .array else { return outcome = .failed }
    var question = level
    for index in stride(from: 0, to: value.count - 1, by: 2) {
      let (name, lease) = (value[index].bytes, value[index + 1].bytes)
      guard name.byteCount == 8, lease.byteCount == 16, let slots = lease.wholeDouble(at: 0),
        let end = lease.wholeDouble(at: 8)
      else { return outcome = .failed }
      holders.append(Holder(node: name.word64(at: 0), slots: slots, moment: WallTime(microseconds: end)))
    }
    let held = holders.reduce(0) { $1.moment > clock ? $0 + $1.slots : $0 }
    question.remaining = max(0, level.rule.limit - held)
    outcome = .answered(question)
  }

  private static func digits(_ number: UInt64, _ count: Int) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: max(0, count - digits.count)) + digits
  }

  private static func seconds(_ microseconds: Int64) -> String {
    let (whole, rest) = microseconds.quotientAndRemainder(dividingBy: 1_000_000)
    return rest == 0 ? "\(whole)" : "\(Double(microseconds) / 1_000_000)"
  }
}

extension RawSpan {
  /// The 64 bits at `offset`, which must lie within.
  func word64(at offset: Int) -> UInt64 { UInt64(word(at: offset)) | UInt64(word(at: offset + 4)) << 32 }
}
