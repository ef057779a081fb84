import Core
import Pipeline

/// How an item wants to be decided.
public enum LaneMode: Equatable, Sendable {
  /// As often as there is room, up to its hits.
  case plain
  /// All its hits or none.
  case allOrNothing
  /// A slice of tokens to be spent later: as many hits as there is room, but at most half of that by equal shares among
  /// the nodes that asked within ten seconds, and at least one.
  case lease
  /// Such a slice for up to ``soleHolding``, where no other node asked for one within ten seconds or still holds one;
  /// otherwise nothing.
  case soleLease
  /// What has been used beyond a reservation: taken whatever room there is.
  case debt
  /// What was granted and not used: given back as far as it still counts.
  case credit(LaneGrant)

  /// How long tokens of a sole lease may be held, in nanoseconds.
  public static let soleHolding: Int64 = 60_000_000_000
}

/// When and in which epoch of its lane something was granted: what a credit must name.
public struct LaneGrant: Equatable, Sendable, BitwiseCopyable {
  /// Microseconds by the lane's clock, from the answer that granted.
  public let moment: Int64
  /// The lane's epoch in that answer: what was granted in an earlier one is not taken back.
  public let epoch: Int64

  /// A grant of that moment and epoch.
  public init(moment: Int64, epoch: Int64) {
    self.moment = moment
    self.epoch = epoch
  }
}

/// Where in a batch a question stands: its item, and how many hits of that item come before it.
public struct LanePlace: Equatable, Sendable, BitwiseCopyable {
  /// The number of the item, in the order of appending.
  public let item: Int
  /// Hits of the item before this one.
  public let position: Int64
}

/// Up to 128 items of one lane, decided by one call: collects them, writes the call, and reads its answer.
///
/// Equal plain items are merged: the answer says how many of an item's hits passed, and the first so many are those. Items
/// of equal levels are decided in the order in which they came; others perhaps not, which at one moment is an order as
/// good as any. Credits and debts come before everything else, leases behind it. A batch belongs to one loop and is used
/// again and again: `begin`, `append`…, `encode`, then `read`, and `answer` for each place.
public final class LaneBatch {
  /// The most items of a batch: Redis is busy with them for less than 0.1 ms.
  public static let capacity = 128
  static let classCapacity = 16
  static let policyCapacity = 64

  struct Item {
    var mode: LaneMode
    var hits: Int64
    var firstReference: Int
    var width: Int
    /// The next item of the same shape, −1 for none.
    var nextOfShape = -1
    /// Which levels of the question it holds.
    var levels: UInt8
    /// Its place in the call and in the answer.
    var order = 0
    var admitted: Int64 = 0
    var isHeldElsewhere = false
  }

  /// One level of an item: its counter, the policy, and what one hit takes.
  struct Reference {
    var slot: Int
    var policy: Int
    var cost: Int64
    /// The counter's value before the item, once answered.
    var before: Int64 = 0
  }

  struct Slot {
    var field: LaneField
    var policy: Int
    /// Its number in the call, from 1 on.
    var order = 0
    var value = SlotValue()
  }

  /// What all counters of the batch are named by.
  public let map: LaneMap
  /// The lane of all items.
  public private(set) var lane = 0
  var items: ContiguousArray<Item> = []
  var references: ContiguousArray<Reference> = []
  var slots: ContiguousArray<Slot> = []
  var policies: ContiguousArray<LanePolicy> = []
  var classes: ContiguousArray<LaneClass> = []
  /// The first and the last item of each shape.
  var shapes: ContiguousArray<(first: Int, last: Int)> = []
  /// Places of slots + 1 by the hash of their fields; 0 is empty.
  private var index = ContiguousArray<Int16>(repeating: 0, count: 2048)
  // What `encode` leaves for `read`.
  var itemOrder: ContiguousArray<Int> = []
  var slotOrder: ContiguousArray<Int> = []
  var policyNumbers: ContiguousArray<Int> = []
  var numbers: ContiguousArray<Double> = []
  var written: ContiguousArray<UInt16> = []
  var isWide = false
  /// The moment of the answer, microseconds by the lane's clock.
  public internal(set) var moment: Int64 = 0
  /// The lane's epoch in the answer.
  public internal(set) var epoch: Int64 = 0

  /// An empty batch of lane 0.
  public init(map: LaneMap) { self.map = map }

  /// How many items there are; equal ones are one.
  public var count: Int { items.count }
  /// Whether there is nothing to ask.
  public var isEmpty: Bool { items.isEmpty }

  /// What a credit of something granted by this batch's answer must name.
  public var grant: LaneGrant { LaneGrant(moment: moment, epoch: epoch) }

  /// Forgets everything, for a batch of `lane`.
  public func begin(lane: Int) {
    precondition(lane >= 0 && lane < map.laneCount)
    self.lane = lane
    for slot in slots { clear(slot.field) }
    items.removeAll(keepingCapacity: true)
    references.removeAll(keepingCapacity: true)
    slots.removeAll(keepingCapacity: true)
    policies.removeAll(keepingCapacity: true)
    classes.removeAll(keepingCapacity: true)
    shapes.removeAll(keepingCapacity: true)
  }

  /// Adds the levels of `question` that `levels` has a bit for (concurrency is always left out), `hits` times each level's
  /// cost. Leased levels are those that nodes may hold tokens of. Returns its place, or nil where it does not fit: the
  /// batch is to be sent first. There must be a level left.
  public func append(
    _ question: borrowing LimitQuestion, levels: UInt8 = .max, hits: Int64 = 1, mode: LaneMode = .plain,
    leased: UInt8 = 0
  ) -> LanePlace? {
    precondition(hits >= 0 && hits <= Int64(UInt32.max))
    if items.count == Self.capacity { return nil }
    let firstReference = references.count
    var mask: UInt8 = 0
    for position in 0..<question.count where levels >> UInt8(position) & 1 == 1 {
      guard let policy = LanePolicy(question[position], isLeased: leased >> UInt8(position) & 1 == 1) else { continue }
      guard let policyNumber = number(of: policy),
        let slot = slot(of: map.field(of: question[position]), policyNumber)
      else {
        references.removeSubrange(firstReference...)
        return nil
      }
      references.append(Reference(slot: slot, policy: policyNumber, cost: question[position].cost))
      mask |= 1 << UInt8(position)
    }
    precondition(mask != 0, "an item without levels needs no decision")
    return place(
      Item(
        mode: mode, hits: hits, firstReference: firstReference, width: references.count - firstReference, levels: mask))
  }

  /// Merges the item, whose references stand last, with an equal one, or adds it.
  private func place(_ new: Item) -> LanePlace {
    var item = new
    let shape = shapes.indices.reversed().first { isAlike(items[shapes[$0].first], item) }
    if item.mode == .plain, let shape {
      var other = shapes[shape].first
      while other >= 0 {
        let sum = items[other].hits + item.hits
        if items[other].hits > 0 && item.hits > 0 && sum <= Int64(UInt32.max) && isEqual(items[other], item) {
          references.removeSubrange(item.firstReference...)
          let position = items[other].hits
          items[other].hits = sum
          return LanePlace(item: other, position: position)
        }
        other = items[other].nextOfShape
      }
    }
    item.nextOfShape = -1
    items.append(item)
    let number = items.count - 1
    if let shape {
      items[shapes[shape].last].nextOfShape = number
      shapes[shape].last = number
    } else {
      shapes.append((number, number))
    }
    return LanePlace(item: number, position: 0)
  }

  /// Whether both are decided by the same numbers, perhaps of different counters.
  private func isAlike(_ left: Item, _ right: Item) -> Bool {
    guard left.mode == right.mode && left.width == right.width else { return false }
    for level in 0..<left.width {
      let (a, b) = (references[left.firstReference + level], references[right.firstReference + level])
      if a.policy != b.policy || a.cost != b.cost { return false }
    }
    return true
  }

  /// Whether the answer to one is that to the other: the same counters, and at the same places of their questions, since
  /// an item remembers only one set of places.
  private func isEqual(_ left: Item, _ right: Item) -> Bool {
    if left.levels != right.levels { return false }
    for level in 0..<left.width
    where references[left.firstReference + level].slot != references[right.firstReference + level].slot {
      return false
    }
    return true
  }

  private func number(of policy: LanePolicy) -> Int? {
    if let known = policies.lastIndex(of: policy) { return known }
    guard policies.count < Self.policyCapacity else { return nil }
    if !classes.contains(policy.laneClass) {
      guard classes.count < Self.classCapacity else { return nil }
      classes.append(policy.laneClass)
    }
    policies.append(policy)
    return policies.count - 1
  }

  /// The slot of a counter, a new one if need be; nil where the batch has the counter under another policy.
  private func slot(of field: LaneField, _ policy: Int) -> Int? {
    let laneClass = policies[policy].laneClass
    var position = Self.home(field)
    while index[position] != 0 {
      let slot = Int(index[position]) - 1
      if slots[slot].field == field && policies[slots[slot].policy].laneClass == laneClass {
        return slots[slot].policy == policy ? slot : nil
      }
      position = (position + 1) & 2047
    }
    slots.append(Slot(field: field, policy: policy))
    index[position] = Int16(slots.count)
    return slots.count - 1
  }

  /// Empties the part of the index that `field` may lie in; only all fields together leave it consistent.
  private func clear(_ field: LaneField) {
    var position = Self.home(field)
    while index[position] != 0 {
      index[position] = 0
      position = (position + 1) & 2047
    }
  }

  private static func home(_ field: LaneField) -> Int { Int(truncatingIfNeeded: field.low) & 2047 }
}
