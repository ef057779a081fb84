import Core

/// How a node tells the others that it lives, and learns how many live: the calls, and what it was told last.
///
/// A node beats once a second, by one call of the decision library to the hash ``key``; whoever has not for a life of five
/// seconds is dropped, and whoever leaves says so. What it is for: a node's share of each limit while Redis is out of
/// reach, and the number of members that a lane waits for after a failover (``MemberStanding/count``, as it was before).
///
/// The shares that nodes act on sum to no more than the limit, at every moment and whoever was told when; and to the whole
/// limit a few beats after the last change. So a joiner waits until all others count it, and a node may use its share only
/// as it was told last. The library's source says why that is enough. The bound: a node that hears nothing from a Redis
/// that others do hear is dropped after a life, and what it uses from then on comes on top of theirs.
///
/// There is no gate for failovers: the hash is rebuilt by the beats. A hash that is new, or that lacks what a node was told,
/// settles for a life first, and all keep the shares they had: N is never seen too small because some have not come back
/// yet. Members' time stands still while nobody beats, so nobody is missed because Redis was frozen.
///
/// One per node, however many loops it has. The owner calls; there is no I/O in it.
public struct MemberBeat: Sendable {
  /// Nanoseconds between beats.
  public static let interval: Int64 = 1_000_000_000
  /// Microseconds after which a node that does not beat counts as dead.
  public static let life: Int64 = 5_000_000
  /// The most bytes of a node's name; the rest is cut off.
  public static let nameByteLimit = 64

  /// The hash of the members, for finding the slot of a Redis Cluster.
  public let key: [UInt8]
  /// The node's number.
  public let node: UInt64
  private let participants: Int
  private let name: [UInt8]
  /// What the node acts on. Nil before it was told, or if that was forgotten.
  public private(set) var standing: MemberStanding?
  /// Where the node joins anew after a silence: what it was told before.
  private var kept: MemberStanding?
  /// When the last beat was written, and the last one that was answered.
  private var sent: Int64 = 0
  private var heard: Int64 = 0
  private var wasSilent = false

  /// Nanoseconds without an answer after which others may have taken the node for dead: a quarter less than a life, since a
  /// step of Redis's clock may shorten a life by so much.
  private static let doubtTime = life * 750

  /// The beats of a node in `cluster`: `node` is a random number of this process, `participants` how many loops it has,
  /// `name` what people call it.
  public init(cluster: String, node: UInt64, participants: Int, name: String) {
    key = Array("sluice:\(cluster):{members}:m".utf8)
    self.node = node
    self.participants = participants
    var name = name.unicodeScalars
    while name.reduce(0, { $0 + UTF8.width($1) }) > Self.nameByteLimit { name.removeLast() }
    self.name = Array(String(name).utf8)
  }

  /// Writes a beat, as one Redis command; with `isLeaving` the last one, which takes the node out. Of `caller` only library
  /// and dialect matter; `clock` is in nanoseconds and goes on while the machine sleeps. Once the next beat is written, an
  /// answer to this one must not be read any more.
  public mutating func encode(
    for caller: LaneCaller, clock: Int64, isLeaving: Bool = false, into buffer: ByteBuffer
  ) {
    sent = clock
    wasSilent = clock - heard > Self.doubtTime
    let call = LaneCall(caller, keyCount: 1, argumentCount: 5, into: buffer)
    call.argument(key)
    buffer.append("$4\r\nbeat\r\n")
    call.argument(caller.replicationID)
    call.argument(node)
    call.argument([
      Double(Self.life), Double(standing?.generation ?? 0), wasSilent ? 1 : 0,
      standing?.isListed != true ? 0 : wasSilent || kept != nil ? 2 : 1, Double(participants), isLeaving ? 1 : 0,
    ])
    call.argument(name)
  }

  /// Reads the answer to a beat, and from now on acts on it.
  public mutating func read(_ bytes: RawSpan) -> MemberReply {
    guard bytes.byteCount == 49, bytes.byte(at: 0) == UInt8(ascii: "A"),
      let now = bytes.wholeDouble(at: 1), let generation = bytes.wholeDouble(at: 9),
      let count = bytes.wholeDouble(at: 17), let rank = bytes.wholeDouble(at: 25),
      let participants = bytes.wholeDouble(at: 33), let state = bytes.wholeDouble(at: 41),
      generation > 0, participants >= 0, 0...3 ~= state, rank < count || state == 0
    else { return .malformed }
    let told = MemberStanding(
      generation: generation, count: Int(count), rank: Int(rank), participants: Int(participants),
      isListed: state == 1)
    heard = sent
    if standing?.isListed == true, state == 2 || state == 3 && wasSilent { kept = kept ?? standing }
    if state == 3 { return .settling(now: WallTime(microseconds: now), told) }
    if state != 2 { kept = nil }
    guard let kept else {
      standing = told
      return .standing(now: WallTime(microseconds: now), told)
    }
    let least = told.noMore(than: kept)
    standing = least
    return .keeping(now: WallTime(microseconds: now), least)
  }

  /// Gives the share up until the next answer: for a node that for a life did not even try to beat, since it was stopped.
  public mutating func forget() { (standing, kept) = (nil, nil) }

  /// The node's share of a limit while Redis is out of reach: nothing while it waits for the others to count it.
  public func share(of limit: Int64) -> Int64 { standing?.share(of: limit) ?? 0 }
}

/// Where a node stands among the members.
public struct MemberStanding: Equatable, Sendable {
  /// Grows with every change of the members.
  public let generation: Int64
  /// How many nodes live, those that wait included.
  public let count: Int
  /// The node's place among them in the order of numbers, from 0.
  public let rank: Int
  /// Loops of all of them.
  public let participants: Int
  /// Whether the node has a share: all others count it.
  public let isListed: Bool

  /// The node's share of `limit`: an equal part, and of the remainder one for each of the first.
  public func share(of limit: Int64) -> Int64 {
    guard isListed, count > 0, limit > 0 else { return 0 }
    return limit / Int64(count) + (Int64(rank) < limit % Int64(count) ? 1 : 0)
  }

  /// What gives no larger share of any limit than both.
  fileprivate func noMore(than other: MemberStanding) -> MemberStanding {
    MemberStanding(
      generation: generation, count: max(count, other.count), rank: max(rank, other.rank),
      participants: max(participants, other.participants), isListed: true)
  }
}

/// What Redis answered to a beat.
public enum MemberReply: Equatable, Sendable {
  /// This is what to act on.
  case standing(now: WallTime, MemberStanding)
  /// The node joins anew after a silence; until the others agree this is what to act on, no more than it had before.
  case keeping(now: WallTime, MemberStanding)
  /// The list is being rebuilt, and may still lack some: what was told before stays.
  case settling(now: WallTime, MemberStanding)
  /// No answer that this library gives.
  case malformed
}
