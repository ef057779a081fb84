/// What calls with classes and fields have in common.
extension LaneModel {
  /// Kinds of counters, as they are numbered in calls.
  enum Kind: Int64 {
    case generation = 1
    case window
    case sliding
    case calendar
  }

  struct Ring: Equatable {
    var newest: Int64 = 0
    var used = [Int64](repeating: 0, count: 10)

    init() {}

    init(_ bytes: [UInt8]) {
      newest = LaneModel.numbers(Array(bytes[..<8]))[0]
      used = (0..<10).map { Int64(LaneModel.word(bytes[8 + $0 * 4..<12 + $0 * 4])) }
    }

    var bytes: [UInt8] {
      LaneModel.bytes(newest) + used.flatMap { sum in (0..<4).map { UInt8(truncatingIfNeeded: sum >> (8 * $0)) } }
    }

    /// The units of step `number`.
    subscript(number: Int64) -> Int64 {
      get { number <= newest && number > newest - 10 ? used[Int((number % 10 + 10) % 10)] : 0 }
      set { used[Int((number % 10 + 10) % 10)] = newValue }
    }

    func sum(from oldest: Int64) -> Int64 {
      guard oldest <= newest else { return 0 }
      return (max(oldest, newest - 9)...newest).reduce(0) { $0 + self[$1] }
    }

    mutating func advance(to number: Int64) {
      guard number > newest else { return }
      let old = self
      newest = number
      for step in number - 9...number { self[step] = old[step] }
    }
  }

  struct Class {
    var kind: Kind
    var key: [UInt8]
    var before: [UInt8]?
    var period: Int64
    var start: Int64
    var end: Int64
    var expiry: Int64
    var scale: Int64
    /// Of generations the present moment in their units.
    var floor: Int64
    /// How far the running period is ahead of the guess.
    var ahead: Int64
    var isOver = false

    /// How far a debt goes.
    var most: Int64 {
      switch kind {
      case .generation: min(floor + period * scale, 1 << 53)
      case .sliding: Int64(UInt32.max)
      case .window, .calendar: 1 << 52
      }
    }
  }

  struct Policy {
    var classNumber: Int
    var unit: Int64
    var room: Int64
    var step: Int64
    var isLeased: Bool
  }

  struct Slot {
    var field: [UInt8]
    var policy: Policy
    /// What counts as taken at the moment.
    var value: Int64 = 0
    /// The same as it was read.
    var was: Int64 = 0
    var returned: Int64?
    var ring = Ring()
    /// Whether it came out of the hash before.
    var isMoved = false
    /// Whether more has changed than the value.
    var isDirty = false

    var isChanged: Bool { isDirty || value != was }
  }

  struct Batch {
    var now: Int64
    var node: [UInt8]
    var numbers: [Int64]
    /// Where the numbers behind classes and policies begin.
    var at = 2
    var classes: [Class] = []
    var policies: [Policy] = []
    var slots: [Slot] = []
    var hasReturns = false
    /// Notes about who asked for leases: hash, field, note.
    var askers: [(key: [UInt8], field: [UInt8], note: [UInt8])] = []
    /// Slots that refused and may be held by others.
    var short: [Int] = []

    func top(_ slot: Int) -> Int64 {
      classes[slots[slot].policy.classNumber].floor + slots[slot].policy.room
    }
  }

  /// Reads classes, policies and values; nil where the period was guessed wrongly.
  func open(_ keys: [[UInt8]], _ arguments: [[UInt8]], _ now: Int64, merges: Bool) -> Batch? {
    var batch = Batch(now: now, node: arguments[2], numbers: Self.numbers(arguments[3]))
    var (key, offset) = (1, 0)
    for _ in 0..<batch.numbers[0] {
      let header = Array(batch.numbers[batch.at..<batch.at + 5])
      batch.at += 5
      guard let found = locate(header, Array(keys[key...].prefix(3)), now, merges: merges) else { return nil }
      key += found.kind == .calendar ? 1 : 3
      batch.classes.append(found)
      for _ in 0..<header[4] {
        let numbers = batch.numbers[batch.at..<batch.at + 5].map { $0 }
        batch.at += 5
        let policy = Policy(
          classNumber: batch.classes.count - 1, unit: numbers[0], room: numbers[1], step: numbers[2],
          isLeased: numbers[3] != 0)
        batch.policies.append(policy)
        for _ in 0..<numbers[4] {
          batch.slots.append(Slot(field: Array(arguments[4][offset..<offset + 12]), policy: policy))
          offset += 12
        }
      }
    }
    for slot in batch.slots.indices { load(slot, &batch) }
    return batch
  }

  private func locate(_ header: [Int64], _ keys: [[UInt8]], _ now: Int64, merges: Bool) -> Class? {
    guard let kind = Kind(rawValue: header[0]) else { return nil }
    let (period, guess) = (header[1], header[2])
    if kind == .calendar {
      guard merges || (period..<guess).contains(now) else { return nil }
      return Class(
        kind: kind, key: keys[0], period: period, start: period, end: guess, expiry: guess + 60_000_000, scale: 0,
        floor: 0, ahead: 0, isOver: now >= guess)
    }
    var (index, isOver) = (now / period, false)
    if kind == .window && merges { (index, isOver) = (guess, index > guess) }
    let ahead = index - guess
    guard ahead <= 1 && ahead >= (kind == .window ? -1 : 0) else { return nil }
    let (start, end) = (index * period, (index + 1) * period)
    return Class(
      kind: kind, key: keys[Int(1 + ahead)], before: kind == .window ? nil : keys[Int(ahead)], period: period,
      start: start, end: end, expiry: end + (kind == .window ? min(period, 60_000_000) : period), scale: header[3],
      floor: kind == .generation ? (now - start) * header[3] : 0, ahead: ahead, isOver: isOver)
  }

  private func load(_ number: Int, _ batch: inout Batch) {
    var slot = batch.slots[number]
    let from = batch.classes[slot.policy.classNumber]
    var bytes = hashes[from.key]?.fields[slot.field]
    if bytes == nil, let before = from.before, let earlier = hashes[before]?.fields[slot.field] {
      bytes = earlier
      slot.isMoved = true
    }
    switch from.kind {
    case .generation:
      let value = bytes.map { Self.numbers($0)[0] - (slot.isMoved ? from.period * from.scale : 0) } ?? 0
      slot.value = max(value, from.floor)
    case .window, .calendar:
      let numbers = bytes.map { Self.numbers($0) } ?? [0]
      if numbers.count > 1 {
        slot.returned = numbers[1]
        batch.hasReturns = true
      }
      slot.value = numbers[0] - (slot.returned ?? 0)
    case .sliding:
      slot.ring = bytes.map { Ring($0) } ?? Ring()
      slot.value = slot.ring.sum(from: batch.now / slot.policy.step - 9)
    }
    slot.was = slot.value
    batch.slots[number] = slot
  }

  /// Keeps what has changed and returns the values of a class for the answer, and whether anything has.
  mutating func save(_ classNumber: Int, _ batch: Batch) -> (values: [UInt8], isChanged: Bool) {
    let to = batch.classes[classNumber]
    var (values, isChanged, isNew) = ([UInt8](), false, hashes[to.key] == nil)
    for slot in batch.slots where slot.policy.classNumber == classNumber {
      var bytes = Self.bytes(slot.value + (slot.returned ?? 0))
      if to.kind == .sliding { bytes = slot.ring.bytes }
      let kept = slot.returned.map { bytes + Self.bytes($0) } ?? bytes
      values +=
        to.kind == .window || to.kind == .calendar
        ? batch.hasReturns ? bytes + Self.bytes(slot.returned ?? 0) : bytes : bytes
      guard slot.isChanged && !to.isOver else { continue }
      isChanged = true
      hashes[to.key, default: Hash()].fields[slot.field] = kept
      if isNew { hashes[to.key]?.expiry = to.expiry / 1000 + 1 }
      isNew = false
      if slot.isMoved, let before = to.before {
        hashes[before]?.fields[slot.field] = nil
        if hashes[before]?.fields.isEmpty == true { hashes[before] = nil }
      }
    }
    return (values, isChanged)
  }

  mutating func merge(_ keys: [[UInt8]], _ arguments: [[UInt8]], _ wall: Int64) -> [UInt8] {
    var now = now(records[keys[0]], wall)
    guard var record = records[keys[0]], record.id == arguments[1] else { return Self.closed(now, records[keys[0]]) }
    let seen = Self.numbers(arguments[5])[0]
    var isChanged = seen > now
    now = max(now, seen)
    guard var batch = open(keys, arguments, now, merges: true) else { return [UInt8(ascii: "G")] + Self.bytes(now) }
    var bytes = arguments[6][...]
    for slot in batch.slots.indices { raise(slot, &batch, &bytes) }
    for number in batch.classes.indices where save(number, batch).isChanged { isChanged = true }
    if batch.numbers[1] != 0 {
      if !record.merged.contains(arguments[2]) { record.merged.append(arguments[2]) }
      if record.merged.count >= record.members { record.gate = 0 }
      (record.now, record.wall) = (now, wall)
      records[keys[0]] = record
    } else if isChanged {
      remember(keys[0], now, wall)
    }
    return [UInt8(ascii: "A")] + [now, record.epoch, record.gate].flatMap { Self.bytes($0) }
  }

  /// Raises a counter to what was seen of it.
  private func raise(_ number: Int, _ batch: inout Batch, _ bytes: inout ArraySlice<UInt8>) {
    let old = batch.slots[number]
    let own = batch.classes[old.policy.classNumber]
    var slot = old
    switch own.kind {
    case .generation:
      let seen = Self.numbers(Array(bytes.prefix(8)))[0] - own.ahead * own.period * own.scale
      slot.value = max(slot.value, min(seen, own.most))
      bytes = bytes.dropFirst(8)
    case .window, .calendar:
      let seen = Self.numbers(Array(bytes.prefix(16)))
      let taken = max(slot.value + (slot.returned ?? 0), seen[0])
      let returned = max(slot.returned ?? 0, seen[1])
      if returned > 0 {
        slot.returned = returned
        batch.hasReturns = true
      }
      slot.value = taken - returned
      slot.isDirty = taken != old.value + (old.returned ?? 0) || returned != old.returned ?? 0
      bytes = bytes.dropFirst(16)
    case .sliding:
      let seen = Ring(Array(bytes.prefix(48)))
      slot.ring.advance(to: seen.newest)
      for step in slot.ring.newest - 9...slot.ring.newest { slot.ring[step] = max(slot.ring[step], seen[step]) }
      slot.isDirty = slot.ring != old.ring
      bytes = bytes.dropFirst(48)
    }
    batch.slots[number] = slot
  }
}
