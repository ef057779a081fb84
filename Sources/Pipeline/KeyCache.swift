import Core
import Crypto

/// Keys that a loop has seen to be somebody's, so that the next request with one needs no SHA-256.
///
/// It holds neither keys nor digests but 128-bit hashes under a key that never leaves the process (SipHash): nobody who does
/// not know it can find a text with a given hash, and two texts with one hash turn up with a probability of 2⁻¹²⁸. Unknown
/// keys leave no trace here, so guessing gains and displaces nothing. Whether a key is valid *now* is asked each time.
@safe
final class KeyCache {
  private struct Slot {
    var low: UInt64 = 0
    var high: UInt64 = 0
    /// −1 for an empty slot.
    var entry: Int32 = -1
  }

  /// Slots that one hash may be in.
  private static let ways = 4
  /// The most slots, 384 KiB a loop.
  private static let maximumCount = 16_384

  private let count: Int
  // Owned: allocated in `init`, freed in `deinit`, never handed out. A stored array would cost an exclusivity check a
  // look-up.
  private let slots: UnsafeMutablePointer<Slot>

  /// A cache for a ring of so many keys.
  init(keyCount: Int) {
    var count = Self.ways
    while count < keyCount * 4 && count < Self.maximumCount { count *= 2 }
    self.count = count
    unsafe slots = UnsafeMutablePointer<Slot>.allocate(capacity: count)
    unsafe slots.initialize(repeating: Slot(), count: count)
  }

  deinit { unsafe slots.deallocate() }

  @inline(__always)
  private func firstSlot(_ low: UInt64) -> Int { Int(truncatingIfNeeded: low) & (count &- Self.ways) }

  /// What was remembered for a hash, or −1.
  @inline(__always)
  func find(_ hash: (low: UInt64, high: UInt64)) -> Int32 {
    let first = firstSlot(hash.low)
    for index in first..<(first &+ Self.ways) {
      // `firstSlot` leaves `ways` slots behind it.
      let slot = unsafe slots[index]
      if slot.low == hash.low && slot.high == hash.high && slot.entry >= 0 { return slot.entry }
    }
    return -1
  }

  /// Remembers the entry of a known key: in an empty slot, or in the place of another.
  func remember(_ hash: (low: UInt64, high: UInt64), _ entry: Int32) {
    let first = firstSlot(hash.low)
    var place = first &+ Int(truncatingIfNeeded: hash.high >> 62)
    for index in first..<(first &+ Self.ways) where unsafe slots[index].entry < 0 {
      place = index
      break
    }
    unsafe slots[place] = Slot(low: hash.low, high: hash.high, entry: entry)
  }
}
