import Core
import Pipeline

/// Slots of concurrency limits for a node, on lease: how many it wants of each limit in sum. Asking twice does no harm.
///
/// A node may begin as many exchanges as it holds slots, until the lease ends by its own clock, counted from before it
/// asked; slots of a node that died come back when its lease ends. A node gets at most half of what is free by equal
/// shares, so it asks again for more, and never asks for fewer than it uses.
public struct LaneSlots {
  /// The most limits of one call.
  public static let capacity = 128
  private let map: LaneMap
  private let lane: Int
  private var limits: ContiguousArray<(field: LaneField, limit: Int64, wanted: Int64)> = []

  /// Nothing yet, of `lane`.
  public init(map: LaneMap, lane: Int) {
    self.map = map
    self.lane = lane
  }

  /// Asks for `wanted` slots of a level with a concurrency rule, 0 to give all back. False where it is full.
  public mutating func append(_ level: borrowing QuotaLevel, wanted: Int64) -> Bool {
    guard limits.count < Self.capacity, case .concurrency(let limit) = level.rule else { return false }
    limits.append((map.field(of: level), min(limit, LaneClass.largestCount), min(wanted, LaneClass.largestCount)))
    return true
  }

  /// Writes the call, as one Redis command. `isHolding`: after a failover, to take back what is held, whatever there is.
  public func encode(for caller: LaneCaller, leaseMicroseconds: Int64, isHolding: Bool = false, into buffer: ByteBuffer)
  {
    let call = LaneCall(caller, keyCount: 1 + limits.count, argumentCount: 4, into: buffer)
    call.recordKey(map, lane)
    var numbers: ContiguousArray = [Double(leaseMicroseconds), isHolding ? 1 : 0]
    let prefix = map.prefix(of: lane)
    for (field, limit, wanted) in limits {
      call.header(prefix.count + 26)
      buffer.append(prefix)
      buffer.append("k:")
      buffer.append(hexadecimal: field.low, minimumDigits: 16)
      buffer.append(hexadecimal: UInt64(field.high), minimumDigits: 8)
      buffer.append("\r\n")
      numbers.append(Double(limit))
      numbers.append(Double(wanted))
    }
    buffer.append("$5\r\nslots\r\n")
    call.argument(caller.replicationID)
    call.argument(caller.node)
    call.argument(numbers)
  }

  /// Reads the answer to what was encoded.
  public func read(_ bytes: RawSpan) -> LaneSlotsReply {
    guard bytes.byteCount >= 9, let now = bytes.wholeDouble(at: 1) else { return .malformed }
    switch bytes.byte(at: 0) {
    case UInt8(ascii: "A"):
      guard bytes.byteCount == 17 + limits.count * 16 else { return .malformed }
      var grants: [LaneSlotsReply.Grant] = []
      for position in limits.indices {
        guard let granted = bytes.wholeDouble(at: 17 + position * 16),
          let others = bytes.wholeDouble(at: 25 + position * 16)
        else { return .malformed }
        grants.append(LaneSlotsReply.Grant(slots: granted, others: others))
      }
      return .granted(now: WallTime(microseconds: now), grants)
    case UInt8(ascii: "R"): return .recover
    case UInt8(ascii: "W"):
      guard let until = bytes.wholeDouble(at: 9) else { return .malformed }
      return .gated(until: WallTime(microseconds: until))
    default: return .malformed
    }
  }
}

/// What Redis answered to a node that asked for slots.
public enum LaneSlotsReply: Equatable, Sendable {
  /// Slots of one limit.
  public struct Grant: Equatable, Sendable {
    /// What the node holds now, in sum.
    public let slots: Int64
    /// What other nodes hold.
    public let others: Int64
  }

  /// In the order of appending.
  case granted(now: WallTime, [Grant])
  /// As ``LaneReply/recover(known:)``.
  case recover
  /// As ``LaneReply/gated(now:until:)``.
  case gated(until: WallTime)
  /// No answer that this library gives.
  case malformed
}
