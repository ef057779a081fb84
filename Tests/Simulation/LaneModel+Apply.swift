/// The decision of a batch.
extension LaneModel {
  struct Group {
    var mode: Int64
    var hits: Int64
    var items: Int
    var levels: [(policy: Int, cost: Int64)]
    var granted: Int64 = 0
    var epoch: Int64 = 0
    /// The slots of each item.
    var places: [[Int]] = []
  }

  mutating func apply(_ keys: [[UInt8]], _ arguments: [[UInt8]], _ wall: Int64) -> [UInt8] {
    let now = now(records[keys[0]], wall)
    guard let record = records[keys[0]], record.id == arguments[1] else { return Self.closed(now, records[keys[0]]) }
    if now < record.gate { return [UInt8(ascii: "W")] + Self.bytes(now) + Self.bytes(record.gate) }
    guard var batch = open(keys, arguments, now, merges: false) else { return [UInt8(ascii: "G")] + Self.bytes(now) }
    let groups = groups(&batch, arguments[5])
    var passed: [Int64] = []
    for group in groups {
      for places in group.places {
        switch group.mode {
        case 3: passed.append(owe(group, places, &batch))
        case 4: passed.append(group.epoch == record.epoch ? giveBack(group, places, &batch) : 0)
        default: passed.append(take(group, places, &batch))
        }
      }
    }
    var (values, isChanged) = ([UInt8](), false)
    for number in batch.classes.indices {
      let saved = save(number, batch)
      values += saved.values
      isChanged = isChanged || saved.isChanged
    }
    for asker in batch.askers { hashes[asker.key, default: Hash()].fields[asker.field] = asker.note }
    if isChanged { remember(keys[0], now, wall) }
    let isWide = groups.contains { $0.hits > 255 }
    let counts = passed.flatMap { count in (0..<(isWide ? 4 : 1)).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) } }
    return [UInt8(ascii: batch.hasReturns ? "B" : "A")] + Self.bytes(now) + Self.bytes(record.epoch) + counts + values
      + held(batch)
  }

  private func groups(_ batch: inout Batch, _ references: [UInt8]) -> [Group] {
    var offset = 0
    return (0..<batch.numbers[1]).map { _ in
      let header = Array(batch.numbers[batch.at..<batch.at + 5])
      batch.at += 5
      var group = Group(mode: header[0], hits: header[1], items: Int(header[3]), levels: [])
      for _ in 0..<header[2] {
        group.levels.append((Int(batch.numbers[batch.at]) - 1, batch.numbers[batch.at + 1]))
        batch.at += 2
      }
      if group.mode == 4 {
        (group.granted, group.epoch) = (batch.numbers[batch.at], batch.numbers[batch.at + 1])
        batch.at += 2
      }
      for item in 0..<group.items {
        if header[4] > 0 {
          group.places.append([Int(header[4]) - 1 + item])
          continue
        }
        group.places.append(
          group.levels.map { _ in
            offset += 2
            return Int(Self.word(references[offset - 2..<offset])) - 1
          })
      }
      return group
    }
  }

  private func need(_ batch: Batch, _ level: (policy: Int, cost: Int64)) -> Int64 {
    let (product, overflow) = batch.policies[level.policy].unit.multipliedReportingOverflow(by: level.cost)
    return overflow ? .max : product
  }

  /// As often as every level has room, up to `hits`; all levels or none.
  private func take(_ group: Group, _ places: [Int], _ batch: inout Batch) -> Int64 {
    let before = places.map { batch.slots[$0] }
    var (amount, tightest) = (group.hits, -1)
    var askers = batch.askers
    for (level, place) in places.enumerated() {
      let need = need(batch, group.levels[level])
      var room = max(0, batch.top(place) - batch.slots[place].value) / need
      if group.mode == 2 || group.mode == 5 {
        room = share(place, room, batch, isSole: group.mode == 5, &askers)
      }
      if room < amount { (amount, tightest) = (room, level) }
    }
    let isSingle = group.hits == 1 && group.mode < 2
    if group.mode == 1 && amount < group.hits { amount = 0 }
    for (level, place) in places.enumerated() where amount > 0 || isSingle && group.hits > 0 {
      let each = amount > 0 ? amount : 1
      let (more, overflow) = need(batch, group.levels[level]).multipliedReportingOverflow(by: each)
      if overflow || batch.slots[place].value + min(more, 1 << 60) > batch.top(place) {
        for (place, slot) in zip(places, before) { batch.slots[place] = slot }
        amount = 0
        if isSingle { tightest = level }
        break
      }
      batch.slots[place].value += more
      add(each * group.levels[level].cost, place, &batch)
    }
    if amount > 0 { batch.askers = askers }
    if amount < group.hits && tightest >= 0 && group.mode != 5
      && batch.policies[group.levels[tightest].policy].isLeased
    {
      batch.short.append(places[tightest])
    }
    return amount
  }

  /// Notes what was taken from a slot.
  private func add(_ units: Int64, _ place: Int, _ batch: inout Batch) {
    guard batch.classes[batch.slots[place].policy.classNumber].kind == .sliding else { return }
    let running = max(batch.now / batch.slots[place].policy.step, batch.slots[place].ring.newest)
    batch.slots[place].ring.advance(to: running)
    batch.slots[place].ring[running] += units
  }

  /// At most half, by equal shares of those who asked within ten seconds, and at least one; for a sole lease nothing
  /// beside other machines, and not the last one.
  private func share(
    _ place: Int, _ room: Int64, _ batch: Batch, isSole: Bool,
    _ askers: inout [(key: [UInt8], field: [UInt8], note: [UInt8])]
  ) -> Int64 {
    let key = batch.classes[batch.slots[place].policy.classNumber].key
    let field = batch.slots[place].field + [UInt8(ascii: "n")]
    let second = batch.now / 1_000_000
    let others = notes(key, field, batch).filter { $0.second + 10 >= second }.prefix(64)
    if isSole && others.contains(where: { $0.bytes[2..<8] != batch.node[2..<8] }) { return 0 }
    let own = batch.node + (0..<4).map { UInt8(truncatingIfNeeded: (isSole ? second + 60 : second) >> (8 * $0)) }
    askers.append((key, field, others.flatMap(\.bytes) + own))
    return room <= 0 ? 0 : max(isSole ? 0 : 1, room / Int64(2 * (others.count + 1)))
  }

  private func notes(_ key: [UInt8], _ field: [UInt8], _ batch: Batch) -> [(bytes: [UInt8], second: Int64)] {
    let all = hashes[key]?.fields[field] ?? []
    return stride(from: 0, to: all.count, by: 12).compactMap { at in
      guard Array(all[at..<at + 8]) != batch.node else { return nil }
      return (Array(all[at..<at + 12]), Int64(Self.word(all[at + 8..<at + 12])))
    }
  }

  private func owe(_ group: Group, _ places: [Int], _ batch: inout Batch) -> Int64 {
    for (level, place) in places.enumerated() {
      let old = batch.slots[place].value
      let most = batch.classes[batch.slots[place].policy.classNumber].most
      let (more, overflow) = need(batch, group.levels[level]).multipliedReportingOverflow(by: group.hits)
      let value = max(old, overflow ? most : min(old + min(more, 1 << 60), most))
      if value == old { continue }
      batch.slots[place].value = value
      add(value - old, place, &batch)
    }
    return group.hits
  }

  private func giveBack(_ group: Group, _ places: [Int], _ batch: inout Batch) -> Int64 {
    for (level, place) in places.enumerated() {
      var slot = batch.slots[place]
      let own = batch.classes[slot.policy.classNumber]
      let units = group.hits * group.levels[level].cost
      switch own.kind {
      case .generation:
        let (worth, overflow) = need(batch, group.levels[level]).multipliedReportingOverflow(by: group.hits)
        if overflow || worth >= 1 << 53 { continue }
        let rest = worth - max(0, batch.now - group.granted) * own.scale
        if rest > 0 { slot.value = max(slot.value - rest, own.floor) }
      case .sliding:
        let (step, running) = (group.granted / slot.policy.step, batch.now / slot.policy.step)
        guard step <= slot.ring.newest, step > slot.ring.newest - 10, step >= running - 9 else { continue }
        let back = min(units, slot.ring[step])
        slot.ring[step] -= back
        slot.value -= back
        slot.was -= back
        slot.isDirty = true
      case .window, .calendar:
        let back = min(units, slot.value)
        let returned = (slot.returned ?? 0) + back
        guard own.start <= group.granted, group.granted < own.end, back > 0, returned <= 1 << 52 else { continue }
        slot.value -= back
        slot.returned = returned
        slot.isDirty = true
        batch.hasReturns = true
      }
      batch.slots[place] = slot
    }
    return group.hits
  }

  /// The places that refused while somebody else asked within two seconds, in the order of refusing.
  private func held(_ batch: Batch) -> [UInt8] {
    var seen: Set<Int> = []
    return batch.short.flatMap { place -> [UInt8] in
      guard seen.insert(place).inserted else { return [] }
      let key = batch.classes[batch.slots[place].policy.classNumber].key
      let others = notes(key, batch.slots[place].field + [UInt8(ascii: "n")], batch)
        .filter { $0.second + 10 >= batch.now / 1_000_000 }.prefix(64)
      guard others.contains(where: { $0.second + 2 >= batch.now / 1_000_000 }) else { return [] }
      return [UInt8(truncatingIfNeeded: place + 1), UInt8(truncatingIfNeeded: (place + 1) >> 8)]
    }
  }
}
