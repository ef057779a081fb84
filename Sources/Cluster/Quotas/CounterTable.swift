import Pipeline

/// The counters that a loop has lately been asked about: an index by open addressing over entries that stay where they are.
///
/// It is bounded. To forget a counter costs a question to the store, never a decision; those that hold something are kept.
struct CounterTable {
  /// The most counters that are remembered.
  static let capacity = 65_536
  /// Entries that are looked at for one to forget.
  private static let sample = 32

  private(set) var entries: ContiguousArray<TrackedCounter> = []
  /// High half: a tag of the key; low half: the entry's place + 1. 0: empty.
  private var index = ContiguousArray<UInt64>(repeating: 0, count: 64)
  private var hand = 0

  @inline(__always)
  subscript(place: Int) -> TrackedCounter {
    _read { yield entries[place] }
    _modify { yield &entries[place] }
  }

  var count: Int { entries.count }

  @inline(__always)
  private static func tag(_ key: QuotaKey) -> UInt64 { key.high >> 32 }

  /// The place of a counter, or −1.
  @inline(__always)
  func find(_ key: QuotaKey) -> Int {
    let mask = index.count &- 1
    let tag = Self.tag(key)
    var position = Int(truncatingIfNeeded: tag) & mask
    while true {
      let slot = index[position]
      if slot == 0 { return -1 }
      if slot >> 32 == tag {
        let place = Int(truncatingIfNeeded: slot & 0xffff_ffff) &- 1
        if entries[place].level.key == key { return place }
      }
      position = (position &+ 1) & mask
    }
  }

  /// The place of a level's counter, which is remembered from now on; −1 where every place holds something.
  @inline(__always)
  mutating func place(of level: borrowing QuotaLevel, moment: Int64) -> Int {
    let place = find(level.key)
    guard place >= 0 else { return insert(copy level, moment) }
    entries[place].adopt(level)
    return place
  }

  @inline(never)
  private mutating func insert(_ level: QuotaLevel, _ moment: Int64) -> Int {
    if entries.count == Self.capacity {
      let place = leastUsed()
      guard place >= 0 else { return -1 }
      unlink(place)
      entries[place] = TrackedCounter(level, moment: moment)
      link(place)
      return place
    }
    entries.append(TrackedCounter(level, moment: moment))
    if entries.count * 2 > index.count {
      index = ContiguousArray(repeating: 0, count: index.count * 2)
      for place in entries.indices { link(place) }
    } else {
      link(entries.count - 1)
    }
    return entries.count - 1
  }

  /// Of a sample the counter that was not asked about for longest.
  private mutating func leastUsed() -> Int {
    var best = -1
    var seen = 0
    while seen < entries.count && (seen < Self.sample || best < 0) {
      hand = hand + 1 < entries.count ? hand + 1 : 0
      seen += 1
      guard entries[hand].isForgettable else { continue }
      if best < 0 || entries[hand].lastUsed < entries[best].lastUsed { best = hand }
    }
    return best
  }

  private mutating func link(_ place: Int) {
    let mask = index.count &- 1
    let tag = Self.tag(entries[place].level.key)
    var position = Int(truncatingIfNeeded: tag) & mask
    while index[position] != 0 { position = (position &+ 1) & mask }
    index[position] = tag << 32 | UInt64(place + 1)
  }

  /// Takes a place out of the index and moves up what was pushed behind it.
  private mutating func unlink(_ place: Int) {
    let mask = index.count &- 1
    var hole = Int(truncatingIfNeeded: Self.tag(entries[place].level.key)) & mask
    while Int(truncatingIfNeeded: index[hole] & 0xffff_ffff) != place + 1 { hole = (hole &+ 1) & mask }
    var position = hole
    while true {
      position = (position &+ 1) & mask
      let slot = index[position]
      if slot == 0 { break }
      let home = Int(truncatingIfNeeded: slot >> 32) & mask
      // It may move into the hole unless its home lies between the hole and itself.
      if hole <= position ? home > hole && home <= position : home > hole || home <= position { continue }
      index[hole] = slot
      hole = position
    }
    index[hole] = 0
  }
}
