import Core
import Pipeline

/// What Redis answered to a batch.
public enum LaneReply: Equatable, Sendable {
  /// Decided: ask the batch for the answers.
  case answered
  /// The lane was opened under another replication id (nil: by nobody yet). Nothing has been decided.
  case recover(known: [UInt8]?)
  /// Another period runs than the clock said; the lane's time is given. Nothing has been decided: encode again.
  case regenerate(now: WallTime)
  /// Members are merging what they have seen, until then at the latest. Nothing has been decided.
  case gated(now: WallTime, until: WallTime)
  /// No answer that this library gives. It may have been decided.
  case malformed
}

/// A counter's value in an answer.
struct SlotValue {
  /// Of a rate units since its generation began, of windows and calendars what is taken at the moment.
  var number: Int64 = 0
  /// Of windows and calendars what was given back.
  var returned: Int64 = 0
  var ring = SlidingWindow.State()
}

extension LaneBatch {
  /// Reads the answer to what was encoded last. After ``LaneReply/answered`` the other verbs here tell what it says.
  public func read(_ bytes: RawSpan) -> LaneReply {
    guard bytes.byteCount >= 9, let now = bytes.wholeDouble(at: 1) else { return .malformed }
    switch bytes.byte(at: 0) {
    case UInt8(ascii: "A"): return readValues(bytes, now, countWidth: 8) ? .answered : .malformed
    case UInt8(ascii: "B"): return readValues(bytes, now, countWidth: 16) ? .answered : .malformed
    case UInt8(ascii: "G"): return .regenerate(now: WallTime(microseconds: now))
    case UInt8(ascii: "R"):
      if bytes.byteCount == 9 { return .recover(known: nil) }
      guard bytes.byteCount == 9 + LaneCaller.replicationIDBytes else { return .malformed }
      return .recover(known: (9..<bytes.byteCount).map { bytes.byte(at: $0) })
    case UInt8(ascii: "W"):
      guard bytes.byteCount == 17, let until = bytes.wholeDouble(at: 9) else { return .malformed }
      return .gated(now: WallTime(microseconds: now), until: WallTime(microseconds: until))
    default: return .malformed
    }
  }

  private func readValues(_ bytes: RawSpan, _ now: Int64, countWidth: Int) -> Bool {
    let width = isWide ? 4 : 1
    guard let epoch = bytes.wholeDouble(at: 9), bytes.byteCount >= 17 + itemOrder.count * width else { return false }
    for (order, item) in itemOrder.enumerated() {
      let passed = isWide ? Int64(bytes.word(at: 17 + order * 4)) : Int64(bytes.byte(at: 17 + order))
      guard passed <= items[item].hits else { return false }
      items[item].admitted = passed
      items[item].isHeldElsewhere = false
    }
    var offset = 17 + itemOrder.count * width
    for slot in slotOrder {
      let kind = policies[slots[slot].policy].laneClass.kind
      let size = kind == .generation ? 8 : kind == .sliding ? 48 : countWidth
      guard offset + size <= bytes.byteCount, let value = SlotValue(bytes, at: offset, kind, size) else { return false }
      slots[slot].value = value
      offset += size
    }
    guard (bytes.byteCount - offset) % 2 == 0 else { return false }
    var held: Set<Int> = []
    while offset < bytes.byteCount {
      let place = Int(bytes.byte(at: offset)) | Int(bytes.byte(at: offset + 1)) << 8
      guard place >= 1 && place <= slotOrder.count else { return false }
      held.insert(slotOrder[place - 1])
      offset += 2
    }
    moment = now
    self.epoch = epoch
    replay(held)
    return true
  }

  /// Finds each counter's value before each item: the values told are those behind all of them.
  private func replay(_ held: Set<Int>) {
    var values = ContiguousArray<Int64>()
    values.reserveCapacity(slots.count)
    for slot in slots {
      let policy = policies[slot.policy]
      switch policy.laneClass.kind {
      case .generation:
        // What lies in the past counts as now: so does the library.
        let floor = (moment &- policy.laneClass.start(at: moment)) &* policy.laneClass.scale
        values.append(max(slot.value.number, floor))
      case .window, .calendar: values.append(slot.value.number)
      case .sliding: values.append(slot.value.total(policy.step, moment))
      }
    }
    for item in itemOrder.reversed() {
      for level in items[item].firstReference..<items[item].firstReference + items[item].width {
        let reference = references[level]
        if !items[item].mode.settles {
          let need = reference.cost.multipliedOrClamped(by: policies[reference.policy].unit)
          values[reference.slot] &-= items[item].admitted.multipliedOrClamped(by: need)
        }
        references[level].before = values[reference.slot]
        if held.contains(reference.slot) && items[item].admitted < items[item].hits {
          items[item].isHeldElsewhere = true
        }
      }
    }
  }

  /// How many of an item's hits passed: with them its tokens were taken (or given back, of a credit).
  public func admitted(_ item: Int) -> Int64 { items[item].admitted }

  /// Whether an item was refused by a leased level of which other nodes may hold tokens: worth a recall.
  public func isHeldElsewhere(_ item: Int) -> Bool { items[item].isHeldElsewhere }

  /// Whether the hit at `place` passed.
  public func isAdmitted(_ place: LanePlace) -> Bool { place.position < items[place.item].admitted }

  /// Fills in how the hit at `place` was decided, exactly as the embedded store would: `question` is what was appended
  /// there. Levels that were left out of the item are left alone.
  public func answer(_ place: LanePlace, _ question: inout LimitQuestion) {
    let item = items[place.item]
    let passes = place.position < item.admitted
    let time = DecisionTime(now: moment &* 1000, civil: moment)
    var reference = item.firstReference
    var isExplained = passes
    for level in 0..<question.count where item.levels >> UInt8(level) & 1 == 1 {
      var state = state(before: reference, hits: min(place.position, item.admitted))
      let room = question[level].room(state, time)
      question[level].isDenied = !passes && room < question[level].cost
      isExplained = isExplained || question[level].isDenied
      if passes {
        // Only a Redis that contradicts itself passes what there is no room for.
        if room >= question[level].cost { _ = question[level].take(from: &state, time) }
        question[level].remaining = max(0, room &- question[level].cost)
        question[level].resetNanoseconds = question[level].restoration(state, time)
      } else {
        question[level].remaining = room
        question[level].resetNanoseconds =
          question[level].isDenied ? question[level].wait(state, time) : question[level].restoration(state, time)
      }
      reference += 1
    }
    question.decision = passes ? .admitted : .denied
    if !isExplained { blameTightest(&question, item.levels) }
  }

  /// Not for want of room for one hit: it asked for several at once.
  private func blameTightest(_ question: inout LimitQuestion, _ levels: UInt8) {
    var tightest = -1
    for level in 0..<question.count where levels >> UInt8(level) & 1 == 1 {
      if tightest < 0 || question[level].remaining < question[tightest].remaining { tightest = level }
    }
    question[tightest].isDenied = true
  }

  /// The embedded store's state of a counter after `hits` hits of the item that `reference` belongs to.
  private func state(before reference: Int, hits: Int64) -> CounterState {
    let (reference, slot) = (references[reference], slots[references[reference].slot])
    let policy = policies[slot.policy]
    let value = reference.before &+ hits &* reference.cost &* policy.unit
    switch policy.laneClass.kind {
    case .generation: return .rate(policy.laneClass.nanoseconds(value, at: moment))
    case .window, .calendar:
      return .period(PeriodCounter.State(start: policy.laneClass.start(at: moment), used: value))
    case .sliding:
      var ring = slot.value.ring
      // What the running step holds beyond `value` was taken later.
      let later = slot.value.total(policy.step, moment) &- value
      if later > 0 {
        let place = Int(truncatingIfNeeded: ring.newest % 10)
        ring.used[place] -= UInt32(clamping: min(later, Int64(ring.used[place])))
        // Nor was its step begun before that.
        for _ in 0..<10 where ring.used[Int(truncatingIfNeeded: ring.newest % 10)] == 0 {
          ring.newest = max(0, ring.newest &- 1)
        }
      }
      return .sliding(ring)
    }
  }
}

extension LaneClass {
  /// A rate's value as nanoseconds since 1970; `moment` lies in the generation that the value counts from.
  func nanoseconds(_ value: Int64, at moment: Int64) -> Int64 {
    start(at: moment) &* 1000 &+ (scale == 1000 ? value : value.multipliedOrClamped(by: 1000))
  }
}

extension SlotValue {
  /// The value of `size` bytes at `offset`, of which there are so many; nil for what the library does not write.
  init?(_ bytes: RawSpan, at offset: Int, _ kind: LaneClass.Kind, _ size: Int) {
    guard let first = bytes.wholeDouble(at: offset) else { return nil }
    switch kind {
    case .generation: number = first
    case .window, .calendar:
      if size == 16 {
        guard let back = bytes.wholeDouble(at: offset + 8), back <= first else { return nil }
        returned = back
      }
      number = first &- returned
    case .sliding:
      ring.newest = first
      for step in 0..<10 { ring.used[step] = bytes.word(at: offset + 8 + step * 4) }
    }
  }

  /// The sum of a ring's steps that lie in the window at `moment`.
  func total(_ step: Int64, _ moment: Int64) -> Int64 {
    let oldest = max(moment / step, ring.newest) &- 9
    var sum: Int64 = 0
    for place in 0..<10 {
      let number = ring.newest &- (((ring.newest &- Int64(place)) % 10) &+ 10) % 10
      if number >= oldest { sum &+= Int64(ring.used[place]) }
    }
    return sum
  }
}

extension RawSpan {
  /// The byte at `offset`, which must lie within.
  func byte(at offset: Int) -> UInt8 {
    // The load checks the offset; it is marked since any type could be asked for.
    unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }

  /// The little-endian word at `offset`, which must lie within.
  func word(at offset: Int) -> UInt32 {
    unsafe UInt32(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }

  /// The double at `offset` as a whole number from 0 to 2⁵³; nil for any other, and behind the end.
  func wholeDouble(at offset: Int) -> Int64? {
    guard offset + 8 <= byteCount else { return nil }
    let bits = unsafe UInt64(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    let number = Double(bitPattern: bits)
    guard number >= 0 && number <= 0x1p53 && number == number.rounded(.towardZero) else { return nil }
    return Int64(number)
  }
}
