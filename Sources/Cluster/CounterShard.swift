import Pipeline

/// A part of the counters: an index by open addressing over entries that stay where they are.
///
/// Counters are spread over shards so that no growth copies more than one of them. Dead entries are found by a hand that
/// moves on by two with every new counter, so clearing up costs the one who makes the mess.
struct CounterShard: ~Copyable {
  /// Entries that are looked at to find the one to give up when the shard is full.
  private static let evictionSample = 16

  private var entries = CounterEntries()
  /// High half: the tag of the key; low half: the entry's place + 1. 0: empty.
  private var index = ContiguousArray<UInt64>(repeating: 0, count: 16)
  private var firstFree: Int32 = -1
  private var hand = 0
  /// Counters in use.
  private(set) var count = 0
  /// Counters that were given up although they still mattered, since the shard was full.
  private(set) var evictedCount = 0

  @inline(__always)
  private static func tag(_ key: QuotaKey) -> UInt64 { key.low >> 32 }

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
        if entries[place].key == key { return place }
      }
      position = (position &+ 1) & mask
    }
  }

  @inline(__always)
  func state(at place: Int) -> CounterState { entries[place].state }

  @inline(__always)
  mutating func take(_ level: QuotaLevel, at place: Int, _ time: DecisionTime) -> CounterState {
    var state = entries[place].state
    entries[place].expiry = level.take(from: &state, time)
    entries[place].state = state
    return state
  }

  /// Takes the cost of a rate from its counter, if that exists and has room; otherwise changes nothing.
  @inline(__always)
  mutating func takeRate(_ level: inout QuotaLevel, _ bucket: GCRA, now: Int64) -> Bool {
    let place = find(level.key)
    guard place >= 0, case .rate(var state) = entries[place].state else { return false }
    let room = bucket.room(state, now: now)
    guard room >= level.cost else { return false }
    bucket.take(level.cost, from: &state, now: now)
    entries[place].state = .rate(state)
    entries[place].expiry = Expiry(isCivil: false, moment: state)
    level.remaining = room &- level.cost
    level.resetNanoseconds = bucket.restoration(state, now: now)
    return true
  }

  /// Adds an untouched counter, of which there are to be `capacity` at most. Returns its place, or −1 where all are held.
  mutating func insert(_ level: QuotaLevel, capacity: Int, _ time: DecisionTime) -> Int {
    sweep(2, time)
    if count >= capacity && !evict(time) { return -1 }
    // Held, until the first unit is taken a moment later: it must not be swept before that.
    let entry = CounterEntry(key: level.key, expiry: .held, state: CounterState(for: level.rule))
    let place: Int
    if firstFree >= 0 {
      place = Int(firstFree)
      firstFree = entries[place].nextFree
      entries[place] = entry
    } else {
      place = entries.count
      entries.append(entry)
    }
    count &+= 1
    if count &* 4 > index.count &* 3 {
      grow()
    } else {
      link(place, Self.tag(level.key))
    }
    return place
  }

  /// Forgets the counter at `place`.
  mutating func remove(at place: Int) {
    unlink(place)
    entries[place].isFree = true
    entries[place].nextFree = firstFree
    firstFree = Int32(truncatingIfNeeded: place)
    count &-= 1
  }

  /// Forgets a counter that was added and never drawn on.
  mutating func removeUntouched(_ key: QuotaKey) {
    let place = find(key)
    guard place >= 0, entries[place].expiry.moment == .max else { return }
    if case .slots(let used) = entries[place].state, used > 0 { return }
    remove(at: place)
  }

  /// Gives one slot of a concurrency limit back.
  mutating func releaseSlot(_ key: QuotaKey) {
    let place = find(key)
    guard place >= 0, case .slots(let used) = entries[place].state else { return }
    if used > 1 {
      entries[place].state = .slots(used &- 1)
    } else {
      remove(at: place)
    }
  }

  /// Looks at the next `number` entries and forgets those that are dead.
  private mutating func sweep(_ number: Int, _ time: DecisionTime) {
    for _ in 0..<min(number, entries.count) {
      hand = hand &+ 1 < entries.count ? hand &+ 1 : 0
      if !entries[hand].isFree && entries[hand].expiry.distance(from: time) == 0 { remove(at: hand) }
    }
  }

  /// Gives up the counter that would soonest be dead, out of a sample; false where every counter is held.
  ///
  /// To refuse new callers instead would let an attacker with many addresses lock everybody else out. Giving up what ends
  /// soonest costs the least: the long quotas stay.
  private mutating func evict(_ time: DecisionTime) -> Bool {
    var best = -1
    var bestDistance = Int64.max
    var seen = 0
    while seen < entries.count && (seen < Self.evictionSample || best < 0) {
      hand = hand &+ 1 < entries.count ? hand &+ 1 : 0
      seen &+= 1
      if entries[hand].isFree { continue }
      let distance = entries[hand].expiry.distance(from: time)
      if distance < bestDistance {
        best = hand
        bestDistance = distance
      }
    }
    if best < 0 { return false }
    remove(at: best)
    if bestDistance > 0 { evictedCount &+= 1 }
    return true
  }

  private mutating func grow() {
    index = ContiguousArray(repeating: 0, count: index.count * 2)
    for place in 0..<entries.count where !entries[place].isFree { link(place, Self.tag(entries[place].key)) }
  }

  private mutating func link(_ place: Int, _ tag: UInt64) {
    let mask = index.count &- 1
    var position = Int(truncatingIfNeeded: tag) & mask
    while index[position] != 0 { position = (position &+ 1) & mask }
    index[position] = tag << 32 | UInt64(truncatingIfNeeded: place &+ 1)
  }

  /// Takes a place out of the index and moves up what was pushed behind it.
  private mutating func unlink(_ place: Int) {
    let mask = index.count &- 1
    var hole = Int(truncatingIfNeeded: Self.tag(entries[place].key)) & mask
    while Int(truncatingIfNeeded: index[hole] & 0xffff_ffff) != place &+ 1 { hole = (hole &+ 1) & mask }
    var position = hole
    while true {
      position = (position &+ 1) & mask
      let slot = index[position]
      if slot == 0 { break }
      let home = Int(truncatingIfNeeded: slot >> 32) & mask
      // It may move into the hole unless its home lies between the hole and itself.
      if (position &- home) & mask >= (position &- hole) & mask {
        index[hole] = slot
        hole = position
      }
    }
    index[hole] = 0
  }
}
