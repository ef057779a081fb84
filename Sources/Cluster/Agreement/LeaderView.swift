/// An epoch, and whose it is.
public struct EpochMark: Equatable, Sendable {
  /// The library counts with doubles; an epoch is about a number of milliseconds since 1970.
  private static let largest: Int64 = 1 << 52

  /// Grows with every leader.
  public let epoch: Int64
  /// The leader's id.
  public let owner: String

  /// No epoch at all.
  static let none = EpochMark()

  private init() { (epoch, owner) = (0, "") }

  /// The mark of a leader; nil where that can be none.
  public init?(epoch: Int64, owner: String) {
    guard 1...Self.largest ~= epoch, owner.utf8.count == 16, UInt64(owner, radix: 16) != nil else { return nil }
    (self.epoch, self.owner) = (epoch, owner)
  }
}

/// Who leads, as the store told last.
struct LeaderView: Equatable {
  /// Grows with every leader.
  var epoch: Int64 = 0
  /// The leader's id; empty where there is none.
  var owner = ""
  /// What people call the leader.
  var name = ""
  /// Counts renewals of an epoch.
  var serial: Int64 = 0
  /// Nanoseconds until the lease ends, from when this was said.
  var remaining: Int64 = 0
  /// When the epoch began, in microseconds since 1970 by the store's clock; 0 where that was not told.
  var since: Int64 = 0

  init() {}

  /// Reads the answer of a verb; nil for anything else.
  init?(_ reply: AgentReply) {
    let items = reply.items
    guard items.count == 6, let epoch = items[0].number, let owner = items[1].text, let serial = items[2].number,
      let remaining = items[3].number, let name = items[4].text, let since = items[5].number,
      0...(Int64.max / 1000) ~= remaining
    else { return nil }
    (self.epoch, self.owner, self.name, self.serial, self.since) = (epoch, owner, name, serial, since)
    self.remaining = remaining * 1000
  }

  /// Reads what is published of a leader; nil for anything else.
  init?(published bytes: [UInt8]) {
    let words = String(decoding: bytes, as: UTF8.self).split(separator: " ")
    guard words.count == 4, let epoch = Int64(words[0]), let serial = Int64(words[2]), let remaining = Int64(words[3]),
      0...(Int64.max / 1000) ~= remaining
    else { return nil }
    (self.epoch, self.serial) = (epoch, serial)
    owner = words[1] == "-" ? "" : String(words[1])
    self.remaining = remaining * 1000
  }

  /// Whether this is about a later moment of the lead than `other`.
  func isNewer(than other: LeaderView) -> Bool { (epoch, serial) > (other.epoch, other.serial) }
}
