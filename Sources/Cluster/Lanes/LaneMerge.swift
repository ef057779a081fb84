import Core
import Pipeline

/// What a node last saw of a counter. After a failover the nodes raise the new primary's counters to what they saw, so
/// that nothing acknowledged is forgotten.
public struct LaneWatermark: Sendable, BitwiseCopyable {
  enum Value: Sendable, BitwiseCopyable {
    /// Units of the class since 1970: when the bucket would be full again.
    case rate(Int64)
    /// Of the period with this index (of a calendar: 0): what was taken, what was given back.
    case count(index: Int64, taken: Int64, returned: Int64)
    case ring(SlidingWindow.State)
  }

  /// A counter's name within its lane, for a table of what was seen: the later watermark of a name replaces the earlier.
  public struct Name: Hashable, Sendable, BitwiseCopyable {
    let field: LaneField
    let laneClass: LaneClass
  }

  /// The counter.
  public let name: Name
  let value: Value
}

extension LaneBatch {
  /// Tells of every counter in the answer how it stood at the end. Also where nothing was taken: it is what was seen.
  public func forEachWatermark(_ body: (LaneWatermark) -> Void) {
    for slot in slots {
      let laneClass = policies[slot.policy].laneClass
      let value: LaneWatermark.Value =
        switch laneClass.kind {
        case .generation: .rate(laneClass.start(at: moment) &* laneClass.scale &+ slot.value.number)
        case .window, .calendar:
          .count(
            index: laneClass.index(at: moment), taken: slot.value.number &+ slot.value.returned,
            returned: slot.value.returned)
        case .sliding: .ring(slot.value.ring)
        }
      body(LaneWatermark(name: LaneWatermark.Name(field: slot.field, laneClass: laneClass), value: value))
    }
  }
}

/// What the record of a lane says after it was opened or merged into.
public struct LaneRecord: Equatable, Sendable {
  /// The lane's time.
  public let now: WallTime
  /// The lane's epoch; it never comes again.
  public let epoch: Int64
  /// Until when decisions are refused at the latest; in the past where they are not.
  public let gate: WallTime
  /// Whether the lane had been open before, perhaps under another replication id; only `recover` tells.
  public let wasOpen: Bool
}

/// What Redis answered to a call that changes a lane as a whole.
public enum LaneRecordReply: Equatable, Sendable {
  /// It is done.
  case done(LaneRecord)
  /// The lane is open under another replication id, or not open: recover it first.
  case recover
  /// Another period runs than the clock said: encode again.
  case regenerate(now: WallTime)
  /// No answer that this library gives.
  case malformed

  /// Reads the answer to ``LaneMerge`` or ``LaneRecovery``.
  public init(_ bytes: RawSpan) {
    self = .malformed
    guard bytes.byteCount >= 9, let now = bytes.wholeDouble(at: 1) else { return }
    switch bytes.byte(at: 0) {
    case UInt8(ascii: "A"):
      guard bytes.byteCount == 25 || bytes.byteCount == 33, let epoch = bytes.wholeDouble(at: 9),
        let gate = bytes.wholeDouble(at: 17)
      else { return }
      self = .done(
        LaneRecord(
          now: WallTime(microseconds: now), epoch: epoch, gate: WallTime(microseconds: gate),
          wasOpen: bytes.wholeDouble(at: 25) == 1))
    case UInt8(ascii: "R"): self = .recover
    case UInt8(ascii: "G"): self = .regenerate(now: WallTime(microseconds: now))
    default: return
    }
  }
}

/// Opens a lane under the replication id of its primary. To be sent where ``LaneReply/recover(known:)`` was answered, after
/// the id was read anew: whoever opened a lane under an outdated id would only make the others open it again.
public struct LaneRecovery {
  /// Members that must merge before the gate opens; 0: it is open at once.
  public let members: Int
  /// Microseconds after which the gate opens by itself.
  public let gateMicroseconds: Int64
  /// The latest time of this lane that the node has seen, so that it never goes back.
  public let latest: WallTime

  /// An opening that waits for so many members so long.
  public init(members: Int, gateMicroseconds: Int64 = 500_000, latest: WallTime = WallTime(microseconds: 0)) {
    self.members = members
    self.gateMicroseconds = gateMicroseconds
    self.latest = latest
  }

  /// Writes the call, as one Redis command.
  public func encode(for caller: LaneCaller, _ map: LaneMap, lane: Int, into buffer: ByteBuffer) {
    let call = LaneCall(caller, keyCount: 1, argumentCount: 4, into: buffer)
    call.recordKey(map, lane)
    buffer.append("$7\r\nrecover\r\n")
    call.argument(caller.replicationID)
    call.argument(caller.node)
    call.argument([Double(members), Double(gateMicroseconds), Double(latest.microseconds)])
  }
}

/// What a node has seen of up to 128 counters of a lane, to be merged. Merging twice, or in another order, does no harm.
public struct LaneMerge {
  /// The most watermarks of one call.
  public static let capacity = 128
  private let map: LaneMap
  private let lane: Int
  private var watermarks: ContiguousArray<LaneWatermark> = []
  private var classes: ContiguousArray<LaneClass> = []

  /// Nothing yet, of `lane`.
  public init(map: LaneMap, lane: Int) {
    self.map = map
    self.lane = lane
  }

  /// Whether there is nothing to merge; a last call without watermarks is right too.
  public var isEmpty: Bool { watermarks.isEmpty }

  /// Adds a watermark; false where it is full. No name may stand twice.
  public mutating func append(_ watermark: LaneWatermark) -> Bool {
    guard watermarks.count < Self.capacity else { return false }
    if !classes.contains(watermark.name.laneClass) {
      guard classes.count < LaneBatch.classCapacity else { return false }
      classes.append(watermark.name.laneClass)
    }
    watermarks.append(watermark)
    return true
  }

  /// Writes the call, as one Redis command. `isLast`: the node has merged all it has seen of the lane. `latest`: the latest
  /// time of this lane that it has seen. What is over by `clock` is left out.
  public func encode(
    for caller: LaneCaller, isLast: Bool, clock: WallTime, latest: WallTime, into buffer: ByteBuffer
  ) {
    let civil = max(clock.microseconds, latest.microseconds)
    var numbers: ContiguousArray<Double> = [0, isLast ? 1 : 0]
    var named: ContiguousArray<(LaneClass, Int64)> = []
    var kept: ContiguousArray<LaneWatermark> = []
    for laneClass in classes {
      // Counts of a window go into that very window, so each index is a class of its own.
      for index in indices(of: laneClass, at: civil) {
        let these = watermarks.filter { $0.name.laneClass == laneClass && $0.matters(in: index, at: civil) }
        if these.isEmpty { continue }
        named.append((laneClass, index))
        kept.append(contentsOf: these)
        numbers[0] += 1
        numbers.append(contentsOf: [
          Double(laneClass.kind.rawValue), Double(laneClass.period),
          Double(laneClass.kind == .calendar ? laneClass.end : index), Double(laneClass.scale), 1,
          0, 0, 1, 0, Double(these.count),
        ])
      }
    }
    let call = LaneCall(
      caller, keyCount: named.reduce(1) { $0 + $1.0.keyCount }, argumentCount: 7, into: buffer)
    call.recordKey(map, lane)
    for (laneClass, index) in named { call.classKeys(map, lane, laneClass, index: index) }
    buffer.append("$5\r\nmerge\r\n")
    call.argument(caller.replicationID)
    call.argument(caller.node)
    call.argument(numbers)
    call.header(kept.count * LaneField.byteCount)
    for watermark in kept { call.field(watermark.name.field) }
    buffer.append("\r\n")
    call.argument([Double(latest.microseconds)])
    call.header(kept.reduce(0) { $0 + $1.byteCount })
    for watermark in kept { watermark.write(to: call, at: civil) }
    buffer.append("\r\n")
  }

  private func indices(of laneClass: LaneClass, at civil: Int64) -> [Int64] {
    guard laneClass.kind == .window else { return [laneClass.index(at: civil)] }
    var found: [Int64] = []
    for watermark in watermarks where watermark.name.laneClass == laneClass {
      if case .count(let index, _, _) = watermark.value, !found.contains(index) { found.append(index) }
    }
    return found
  }
}

extension LaneWatermark {
  var byteCount: Int {
    switch value {
    case .rate: 8
    case .count: 16
    case .ring: 48
    }
  }

  /// Whether it belongs to the period `index` of its class and can still matter.
  func matters(in index: Int64, at civil: Int64) -> Bool {
    switch value {
    case .rate(let moment): moment > name.laneClass.start(at: civil) &* name.laneClass.scale
    case .count(let own, let taken, _): own == index && taken > 0
    case .ring(let ring): ring.newest >= 0
    }
  }

  func write(to call: LaneCall, at civil: Int64) {
    switch value {
    case .rate(let moment):
      call.little(Double(moment &- name.laneClass.start(at: civil) &* name.laneClass.scale).bitPattern)
    case .count(_, let taken, let returned):
      call.little(Double(taken).bitPattern)
      call.little(Double(returned).bitPattern)
    case .ring(let ring):
      call.little(Double(ring.newest).bitPattern)
      for place in 0..<10 { call.little(ring.used[place]) }
    }
  }
}
