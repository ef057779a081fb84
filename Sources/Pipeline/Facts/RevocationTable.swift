/// Revocations with all they say, by open addressing: 16 bytes each, half of the places empty. A value; copies share their
/// storage until one of them is changed.
struct RevocationTable: Sendable {
  struct Slot: BitwiseCopyable {
    /// 0 for an empty place.
    var bits: UInt64 = 0
    var expires: UInt32 = 0
    var issuedBefore: UInt32 = 0

    var revocation: Revocation? {
      RevocationMark(bits: bits).map { Revocation($0, expires: expires, issuedBefore: issuedBefore) }
    }
  }

  private(set) var slots: ContiguousArray<Slot>
  private(set) var count = 0

  init(room: Int = 0) {
    var capacity = 8
    while capacity < room * 2 { capacity *= 2 }
    slots = ContiguousArray(repeating: Slot(), count: capacity)
  }

  /// The place of a mark; an empty one where there is no such mark.
  @inline(__always)
  func find(_ mark: RevocationMark) -> Slot {
    let mask = slots.count &- 1
    var place = Int(truncatingIfNeeded: mark.bits) & mask
    while true {
      let slot = slots[place]
      if slot.bits == mark.bits || slot.bits == 0 { return slot }
      place = (place &+ 1) & mask
    }
  }

  /// Adds a revocation, or makes the one that is there stronger; false where it was there as strong already.
  @discardableResult
  mutating func insert(_ revocation: Revocation) -> Bool {
    if (count + 1) * 2 > slots.count { grow() }
    let mask = slots.count - 1
    var place = Int(truncatingIfNeeded: revocation.mark.bits) & mask
    while slots[place].bits != 0 && slots[place].bits != revocation.mark.bits { place = (place + 1) & mask }
    let old = slots[place]
    let slot = Slot(
      bits: revocation.mark.bits, expires: max(old.expires, revocation.expires),
      issuedBefore: max(old.issuedBefore, revocation.issuedBefore))
    if old.bits == 0 {
      count += 1
    } else if slot.expires == old.expires && slot.issuedBefore == old.issuedBefore {
      return false
    }
    slots[place] = slot
    return true
  }

  private mutating func grow() {
    var larger = RevocationTable(room: slots.count)
    forEach { larger.insert($0) }
    self = larger
  }

  func forEach(_ body: (Revocation) -> Void) {
    for slot in slots { if let revocation = slot.revocation { body(revocation) } }
  }
}
