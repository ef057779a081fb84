import Core
import Crypto

/// How far somebody is in the log of facts.
public struct FactPosition: Equatable, Sendable {
  /// A stretch of the log that nothing was lost of; 0 for none.
  public var epoch: Int64
  /// The number of an entry; 0 before the first.
  public var sequence: Int64
  /// SHA-1 of everything up to there, 40 hexadecimal digits; empty before the first entry.
  public var chain: [UInt8]

  /// Before everything.
  public static let none = FactPosition(epoch: 0, sequence: 0, chain: [])

  /// A place in the log.
  public init(epoch: Int64, sequence: Int64, chain: [UInt8]) {
    self.epoch = epoch
    self.sequence = sequence
    self.chain = chain
  }

  /// The place that the store tells of what it was given.
  init?(added reply: [AgentReply]) {
    guard reply.count == 4, let epoch = reply[0].number, let last = reply[1].number, let chain = reply[3].bytes else {
      return nil
    }
    self.init(epoch: epoch, sequence: last, chain: chain)
  }

  /// Whether whoever is here has the entry at `other` too.
  func covers(_ other: FactPosition) -> Bool { epoch == other.epoch && sequence >= other.sequence }

  /// The place behind this one, if `record` is the next entry.
  func next(_ record: [UInt8]) -> FactPosition {
    FactPosition(
      epoch: epoch, sequence: sequence + 1, chain: Self.hexadecimal(SHA1.digest(of: RawSpan(chain + record))))
  }

  private static func hexadecimal(_ bytes: [UInt8]) -> [UInt8] {
    let digits = Array("0123456789abcdef".utf8)
    return bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
  }
}

/// The last entries that a node has applied, without a gap: what it can give back to a log that has lost them.
struct FactHistory {
  /// How many are kept. What a failover loses is what was written in the last moments before it.
  static let capacity = 8192

  struct Entry {
    let sequence: Int64
    let chain: [UInt8]
    /// Empty where only the place in the log is known, not what led there.
    let record: [UInt8]
  }

  private var entries: ContiguousArray<Entry> = []
  private var next = 0

  /// Begins anew at a place of the log.
  mutating func restart(at position: FactPosition) {
    entries.removeAll()
    next = 0
    append(Entry(sequence: position.sequence, chain: position.chain, record: []))
  }

  mutating func append(_ entry: Entry) {
    if entries.count < Self.capacity {
      entries.append(entry)
    } else {
      entries[next] = entry
      next = (next + 1) % Self.capacity
    }
  }

  /// The records, in their order.
  var records: [[UInt8]] { (entries[next...] + entries[..<next]).map(\.record).filter { !$0.isEmpty } }

  /// Drops what is behind a place, and hands it out in its order.
  mutating func takeEntries(behind sequence: Int64) -> [Entry] {
    let ordered = entries[next...] + entries[..<next]
    let kept = ordered.filter { $0.sequence <= sequence }
    let taken = ordered.filter { $0.sequence > sequence }
    entries = ContiguousArray(kept)
    next = 0
    return Array(taken)
  }

  /// Whether the entry of this number had this chain here.
  func holds(_ sequence: Int64, _ chain: [UInt8]) -> Bool {
    let place = sequence - oldest
    guard place >= 0, place < entries.count else { return false }
    let entry = entries[(next + Int(place)) % entries.count]
    return entry.sequence == sequence && entry.chain == chain
  }

  var oldest: Int64 { entries.isEmpty ? 0 : entries[next % entries.count].sequence }
}
