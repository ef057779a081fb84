// Deadlines by the hundred thousand, where almost all of them move later before they come.
//
// A slot (a connection, say) is linked into the wheel once. While it is linked, a later deadline costs a comparison and
// nothing else: the owner keeps the true deadline, the wheel keeps the earliest it was told, and when that comes the
// owner looks at the truth and links the slot again. Rejected: a heap (a sift for every byte received) and an exact wheel
// (an unlink and a link for every byte received).
//
// The wheel is hierarchical: seven levels of 64 buckets, the first a millisecond wide, each further one 64 times wider
// than the last, 139 years in all. A bucket of a higher level is spread over lower ones when its beginning comes, so a
// slot moves six times at most.

/// Wakes up small numbered slots at the earliest moment each was scheduled for, to the millisecond and never early.
///
/// All operations are amortised constant. It belongs to one loop.
public struct TimerWheel: ~Copyable {
  // Not private: a type that a noncopyable generic is made of must be visible to whoever destroys it (a compiler of 6.3 ends
  // with an error of its own otherwise).
  @usableFromInline struct Node: BitwiseCopyable {
    /// The earliest deadline asked for since the slot was last idle, in nanoseconds; `Int64.max` while idle.
    var recorded: Int64 = .max
    var next: Int32 = -1
    /// The slot before, or the complement of the bucket for the first one.
    var previous: Int32 = -1
  }

  private static var levels: Int { 7 }
  private static var horizon: Int64 { (1 << 42) - 1 }
  private static var nanosecondsPerTick: Int64 { 1_000_000 }

  private var nodes = OwnedArray<Node>()
  private var heads = ContiguousArray<Int32>(repeating: -1, count: 7 * 64)
  /// A bit for each bucket of a level that is not empty.
  private var occupied: [7 of UInt64] = [7 of UInt64](repeating: 0)
  /// The last tick that was handed out; what it held is gone unless `pop(now:)` is under way.
  private var current: Int64

  /// How many slots are armed.
  public private(set) var armedCount = 0

  /// An empty wheel that never looks further back than `now`.
  public init(now: Instant) { current = Self.tick(notAfter: now) }

  private static func tick(notAfter instant: Instant) -> Int64 {
    min(max(instant.nanoseconds, 0) / nanosecondsPerTick, horizon)
  }

  private static func tick(notBefore nanoseconds: Int64) -> Int64 {
    let (whole, rest) = max(nanoseconds, 0).quotientAndRemainder(dividingBy: nanosecondsPerTick)
    return min(rest == 0 ? whole : whole + 1, horizon)
  }

  /// Makes sure that `slot` is popped at `deadline` at the latest, rounded up to the millisecond. Where it is already
  /// armed for an earlier moment nothing happens: the owner schedules it again when that comes. ``Instant/never`` arms
  /// nothing, and a deadline that has passed comes with the next millisecond. Slots are small numbers: the wheel keeps
  /// 16 bytes for every one up to the largest.
  @inline(__always)
  public mutating func schedule(_ slot: Int32, at deadline: Instant) {
    let index = Int(slot)
    if index < nodes.count && deadline.nanoseconds >= nodes[index].recorded { return }
    advance(index, to: deadline)
  }

  private mutating func advance(_ index: Int, to deadline: Instant) {
    if index >= nodes.count { grow(to: index) }
    let recorded = nodes[index].recorded
    if deadline.nanoseconds >= recorded { return }
    if recorded != .max { unlink(index) } else { armedCount &+= 1 }
    nodes[index].recorded = deadline.nanoseconds
    link(index, at: max(Self.tick(notBefore: deadline.nanoseconds), current + 1))
  }

  /// Forgets `slot`: it is not popped until it is scheduled again. Without effect on an idle slot.
  public mutating func cancel(_ slot: Int32) {
    let index = Int(slot)
    guard index < nodes.count, nodes[index].recorded != .max else { return }
    unlink(index)
    nodes[index].recorded = .max
    armedCount &-= 1
  }

  /// Takes a slot whose moment has come, in the order of their milliseconds; nil where none is left for `now`. The slot
  /// is idle afterwards. Slots may be scheduled and cancelled between calls.
  public mutating func pop(now: Instant) -> Int32? {
    let end = Self.tick(notAfter: now)
    while let bucket = earliestBucket() {
      let start = start(of: bucket)
      guard start <= end else { break }
      current = max(current, start)
      let head = Int(heads[bucket])
      if bucket < 64 {
        unlink(head)
        nodes[head].recorded = .max
        armedCount &-= 1
        return Int32(truncatingIfNeeded: head)
      }
      spread(bucket)
    }
    current = max(current, end)
    return nil
  }

  /// When ``pop(now:)`` should next be called: never later than the next slot's moment, at times earlier (the wheel may
  /// have to spread a coarse bucket); ``Instant/never`` for an empty wheel.
  public var nextDeadline: Instant {
    guard let bucket = earliestBucket() else { return .never }
    return Instant(nanoseconds: start(of: bucket) * Self.nanosecondsPerTick)
  }

  /// Buckets of a level lie behind the current one, and all buckets of a lower level before those of a higher one.
  private func earliestBucket() -> Int? {
    for level in 0..<Self.levels where occupied[level] != 0 {
      return level << 6 | occupied[level].trailingZeroBitCount
    }
    return nil
  }

  /// The first tick of a bucket: the digits of `current` above the bucket's level, the bucket's own, zeros below.
  private func start(of bucket: Int) -> Int64 {
    let shift = Int64(bucket >> 6) * 6
    return (current >> (shift + 6)) << (shift + 6) | Int64(bucket & 63) << shift
  }

  /// Distributes a bucket whose beginning is `current` over the levels below.
  private mutating func spread(_ bucket: Int) {
    var next = heads[bucket]
    heads[bucket] = -1
    occupied[bucket >> 6] &= ~(1 << UInt64(bucket & 63))
    while next >= 0 {
      let index = Int(next)
      next = nodes[index].next
      link(index, at: max(Self.tick(notBefore: nodes[index].recorded), current))
    }
  }

  /// The level is the highest digit (to the base of 64) in which `tick` and `current` differ.
  private mutating func link(_ index: Int, at tick: Int64) {
    let difference = UInt64(bitPattern: tick ^ current) | 63
    let level = (63 - difference.leadingZeroBitCount) / 6
    let position = Int(tick >> Int64(level * 6)) & 63
    let bucket = level << 6 | position
    let head = heads[bucket]
    nodes[index].next = head
    nodes[index].previous = ~Int32(truncatingIfNeeded: bucket)
    if head >= 0 { nodes[Int(head)].previous = Int32(truncatingIfNeeded: index) }
    heads[bucket] = Int32(truncatingIfNeeded: index)
    occupied[level] |= 1 << UInt64(position)
  }

  private mutating func unlink(_ index: Int) {
    let node = nodes[index]
    if node.next >= 0 { nodes[Int(node.next)].previous = node.previous }
    if node.previous >= 0 {
      nodes[Int(node.previous)].next = node.next
    } else {
      let bucket = Int(~node.previous)
      heads[bucket] = node.next
      if node.next < 0 { occupied[bucket >> 6] &= ~(1 << UInt64(bucket & 63)) }
    }
  }

  private mutating func grow(to index: Int) {
    let count = max(index + 1, nodes.count * 2, 64)
    while nodes.count < count { nodes.append(Node()) }
  }
}
