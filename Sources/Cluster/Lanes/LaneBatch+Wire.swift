import Core
import Pipeline

// What a call of the decision library looks like. Numbers are little-endian doubles, all of one argument together.
//
//     FCALL gwrl_1 <keys> | EVALSHA <sha> <keys>
//     keys   the lane's record `m`; for each class the hashes before, at and behind the node's guess of the period, of a
//            calendar class the one
//     apply <replication id> <node, 8 bytes> <numbers> <fields, 12 bytes each> <places, 16 bits each>
//       numbers  classes, groups
//                a class: kind, period, guessed index, units a microsecond, policies (of a calendar: start for period,
//                end for index); behind it a policy: unit, room, step of a sliding window, whether leased, fields
//                a group: mode, hits, levels, items, first field or 0; behind it for each level: policy, cost; behind a
//                group of credits: moment and epoch of the grant
//       fields   those of the first policy, then those of the second …
//       places   for each item of each group the numbers of its levels' fields, from 1 on; not for groups whose items
//                have one level, one hit, and consecutive fields from the first on
//
// Answers are one string:
//
//     A or B   now, epoch; how often each item passed (8 bits each, 32 where any asked for more than 255); all values,
//              in the order of the fields; 16 bits for each field that refused while other nodes may hold tokens of it
//              A value: 8 bytes of a rate; 8 of a window or calendar (in B 16: taken and returned); 48 of a ring
//     R        now, and the replication id under which the lane is open, if it is: `recover` first
//     G        now: another period runs than was guessed
//     W        now, and when the gate opens by itself: members are merging what they have seen
//
//     recover <id> <node> <members, microseconds, latest moment seen>          A now, epoch, gate, whether it was open before
//     merge <id> <node> <numbers> <fields> <latest moment seen> <values>       A now, epoch, gate  (numbers: classes, done; as above)
//     slots <id> <node> <microseconds, whether to take back, limit, wanted …>  A now, epoch; granted, others' … (keys: `m`, hashes)
//     beat <id> <node> <life, generation acted on, silent, share (none, one, kept), loops, leaves> <name>
//              A now, generation, count, rank, loops, state (waits, listed, keeps what it was told, settles)  (key: the members' hash; the id does not matter)

extension LaneMode {
  var number: Double {
    switch self {
    case .plain: 0
    case .allOrNothing: 1
    case .lease: 2
    case .debt: 3
    case .credit: 4
    case .soleLease: 5
    }
  }

  var settles: Bool { rank == 0 }

  /// What comes first in a batch: what settles, then questions that somebody waits for, then leases of what is left.
  fileprivate var rank: Int {
    switch self {
    case .debt, .credit: 0
    case .plain, .allOrNothing: 1
    case .lease, .soleLease: 2
    }
  }
}

extension LaneBatch {
  /// Writes the call that decides the batch, as one Redis command. `clock` is the node's idea of the lane's time: where it
  /// names another period, Redis answers so.
  public func encode(for caller: LaneCaller, clock: WallTime, into buffer: ByteBuffer) {
    precondition(!items.isEmpty)
    let civil = clock.microseconds
    numbers.removeAll(keepingCapacity: true)
    written.removeAll(keepingCapacity: true)
    numbers.append(Double(classes.count))
    numbers.append(0)
    encodeClasses(civil)
    numbers[1] = Double(encodeGroups())
    let call = LaneCall(
      caller, keyCount: classes.reduce(1) { $0 + $1.keyCount }, argumentCount: 6, into: buffer)
    call.recordKey(map, lane)
    for laneClass in classes { call.classKeys(map, lane, laneClass, index: laneClass.index(at: civil)) }
    buffer.append("$5\r\napply\r\n")
    call.argument(caller.replicationID)
    call.argument(caller.node)
    call.argument(numbers)
    call.header(slotOrder.count * LaneField.byteCount)
    for slot in slotOrder { call.field(slots[slot].field) }
    buffer.append("\r\n")
    call.header(written.count * 2)
    for place in written { call.little(place) }
    buffer.append("\r\n")
  }

  /// Writes classes and policies, and numbers the slots in their order.
  private func encodeClasses(_ civil: Int64) {
    var bySlot = ContiguousArray<Int>(repeating: 0, count: policies.count)
    for slot in slots { bySlot[slot.policy] += 1 }
    var next = ContiguousArray<Int>(repeating: 0, count: policies.count)
    var total = 0
    policyNumbers.removeAll(keepingCapacity: true)
    policyNumbers.append(contentsOf: repeatElement(0, count: policies.count))
    var ordinal = 0
    for laneClass in classes {
      let start = numbers.count
      numbers.append(Double(laneClass.kind.rawValue))
      numbers.append(Double(laneClass.period))
      numbers.append(Double(laneClass.kind == .calendar ? laneClass.end : laneClass.index(at: civil)))
      numbers.append(Double(laneClass.scale))
      numbers.append(0)
      for policy in policies.indices where policies[policy].laneClass == laneClass {
        ordinal += 1
        policyNumbers[policy] = ordinal
        numbers[start + 4] += 1
        numbers.append(Double(policies[policy].unit))
        numbers.append(Double(policies[policy].room))
        numbers.append(Double(policies[policy].step))
        numbers.append(policies[policy].isLeased ? 1 : 0)
        numbers.append(Double(bySlot[policy]))
        next[policy] = total
        total += bySlot[policy]
      }
    }
    slotOrder.removeAll(keepingCapacity: true)
    slotOrder.append(contentsOf: repeatElement(0, count: slots.count))
    for slot in slots.indices {
      let place = next[slots[slot].policy]
      next[slots[slot].policy] += 1
      slotOrder[place] = slot
      slots[slot].order = place + 1
    }
  }

  /// Writes the groups and returns how many: by rank, and as they first appeared.
  private func encodeGroups() -> Int {
    itemOrder.removeAll(keepingCapacity: true)
    isWide = false
    var count = 0
    for rank in 0...2 {
      for chain in shapes where items[chain.first].mode.rank == rank {
        var item = chain.first
        var singles = 0
        while item >= 0 {
          if items[item].hits == 1 && items[item].mode.number < 2 {
            singles += 1
          } else {
            encodeGroup(item, singles: 0)
            count += 1
          }
          item = items[item].nextOfShape
        }
        if singles > 0 {
          encodeGroup(chain.first, singles: singles)
          count += 1
        }
      }
    }
    return count
  }

  /// Writes a group of one item, or of all items with one hit in the chain that begins with `first`.
  private func encodeGroup(_ first: Int, singles: Int) {
    let (mode, width, hits) = (items[first].mode, items[first].width, singles > 0 ? 1 : items[first].hits)
    isWide = isWide || hits > 255
    numbers.append(mode.number)
    numbers.append(Double(hits))
    numbers.append(Double(width))
    numbers.append(Double(max(singles, 1)))
    numbers.append(0)
    let consecutive = numbers.count - 1
    for level in items[first].firstReference..<items[first].firstReference + width {
      numbers.append(Double(policyNumbers[references[level].policy]))
      numbers.append(Double(references[level].cost))
    }
    if case .credit(let grant) = mode {
      numbers.append(Double(grant.moment))
      numbers.append(Double(grant.epoch))
    }
    let start = written.count
    var item = first
    while item >= 0 {
      if singles == 0 || items[item].hits == 1 {
        items[item].order = itemOrder.count
        itemOrder.append(item)
        for level in items[item].firstReference..<items[item].firstReference + width {
          written.append(UInt16(slots[references[level].slot].order))
        }
      }
      item = singles == 0 ? -1 : items[item].nextOfShape
    }
    if width == 1 && singles > 0 {
      for place in start..<written.count where written[place] != written[start] &+ UInt16(place - start) { return }
      numbers[consecutive] = Double(written[start])
      written.removeSubrange(start...)
    }
  }
}
