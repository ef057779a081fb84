import Core
import Crypto
import Glibc

/// Keys that a loop has seen to be somebody's, so that the next request with one needs no SHA-256.
///
/// It holds neither keys nor digests but fingerprints under numbers that never leave the process: two runs of NH (Black et
/// al. 1999; RFC 4418 section 5.2) with 64-bit words, the second with its key shifted by two words. For any two texts of
/// one length the chance that their fingerprints are equal is at most 2⁻¹²⁸, whatever the texts; the length is compared
/// too. No fingerprint is ever shown and unknown keys leave no trace, so guessing gains nothing but one such chance a
/// guess, and displaces nobody. Whether a key is valid *now* is asked each time. SipHash costs five times as much.
@safe
final class KeyCache {
  /// What is remembered instead of a text.
  struct Fingerprint: Equatable, BitwiseCopyable {
    var first: UInt128 = 0
    var second: UInt128 = 0
    var byteCount: Int32
  }

  /// All zero where it is empty.
  private struct Slot: BitwiseCopyable {
    var fingerprint: Fingerprint
    /// The entry's index + 1; 0 for an empty slot.
    var place: Int32
  }

  /// The longest text that is remembered, in bytes.
  static let longestText = 512
  /// Slots that one fingerprint may be in.
  private static let ways = 4
  /// The most slots, 768 KiB a loop if all are used.
  private static let maximumCount = 16_384
  /// A word for each eight bytes, and two for the shift.
  private static let secretCount = longestText / 8 + 2

  /// How far the mixed fingerprint is shifted to be the number of a group of slots.
  private let shift: UInt64
  // Owned: allocated in `init`, freed in `deinit`, never handed out.
  private let slots: UnsafeMutablePointer<Slot>
  private let secret: UnsafeMutablePointer<UInt64>

  /// A cache for a ring of so many keys; `key` is one that nobody knows.
  init(keyCount: Int, key: SipKey) {
    var groups = 2
    while groups < keyCount && groups < Self.maximumCount / Self.ways { groups *= 2 }
    shift = UInt64(64 - groups.trailingZeroBitCount)
    // Cleared by the kernel as it is used: an idle cache takes no memory.
    // Made once a loop at its start, where Swift's own allocations would end the process likewise.
    guard let memory = unsafe calloc(groups * Self.ways, MemoryLayout<Slot>.stride) else { fatalError("out of memory") }
    unsafe slots = memory.bindMemory(to: Slot.self, capacity: groups * Self.ways)
    unsafe secret = UnsafeMutablePointer<UInt64>.allocate(capacity: Self.secretCount)
    let seed = key.hash(0x7320_6579_206b_6e6f, 0x6765_6e65_7261_7465)
    let generator = SipKey(low: seed.low, high: seed.high)
    for index in 0..<Self.secretCount {
      unsafe (secret + index).initialize(to: generator.hash(UInt64(index), 0).low)
    }
  }

  deinit {
    unsafe free(slots)
    unsafe secret.deallocate()
  }

  /// The fingerprint of a text of at most ``longestText`` bytes, some 20 instructions for every sixteen.
  @inline(__always)
  func fingerprint(of text: RawSpan) -> Fingerprint {
    let count = text.byteCount
    precondition(count <= Self.longestText)
    var result = Fingerprint(byteCount: Int32(truncatingIfNeeded: count))
    if count < 16 {
      let low = count < 8 ? Self.word(text, from: 0, to: count) : Self.word(text, at: 0)
      add(low, count < 8 ? 0 : Self.word(text, at: count &- 8), 0, to: &result)
      return result
    }
    var offset = 0
    while offset &+ 16 < count {
      add(Self.word(text, at: offset), Self.word(text, at: offset &+ 8), offset &>> 3, to: &result)
      offset &+= 16
    }
    // The last sixteen bytes, some of them for the second time perhaps: together they still say which text it is.
    add(Self.word(text, at: count &- 16), Self.word(text, at: count &- 8), offset &>> 3, to: &result)
    return result
  }

  /// Adds two words, the ones at `index` of the text.
  @inline(__always)
  private func add(_ low: UInt64, _ high: UInt64, _ index: Int, to result: inout Fingerprint) {
    // `index` is even and below `longestText` / 8, and there are two more.
    let keys = unsafe secret + index
    result.first &+= unsafe UInt128(low &+ keys[0]) &* UInt128(high &+ keys[1])
    result.second &+= unsafe UInt128(low &+ keys[2]) &* UInt128(high &+ keys[3])
  }

  /// Eight bytes; RawSpan checks the offset.
  @inline(__always)
  private static func word(_ text: RawSpan, at offset: Int) -> UInt64 {
    unsafe text.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
  }

  private static func word(_ text: RawSpan, from start: Int, to end: Int) -> UInt64 {
    (start..<end).reduce(UInt64(0)) { $0 << 8 | UInt64(text[byte: $1]) }
  }

  @inline(__always)
  private func firstSlot(_ fingerprint: Fingerprint) -> Int {
    let folded = fingerprint.first ^ fingerprint.first >> 64
    return Int(truncatingIfNeeded: (UInt64(truncatingIfNeeded: folded) &* 0x9e37_79b9_7f4a_7c15) &>> shift) &* Self.ways
  }

  /// What was remembered for a fingerprint, or −1.
  @inline(__always)
  func find(_ fingerprint: Fingerprint) -> Int32 {
    let first = firstSlot(fingerprint)
    for index in first..<(first &+ Self.ways) where unsafe slots[index].fingerprint == fingerprint {
      return unsafe slots[index].place &- 1
    }
    return -1
  }

  /// Remembers the entry of a known key: in an empty slot, or in the place of another.
  func remember(_ fingerprint: Fingerprint, _ entry: Int32) {
    let first = firstSlot(fingerprint)
    var place = first &+ Int(truncatingIfNeeded: fingerprint.second >> 64) & (Self.ways &- 1)
    for index in first..<(first &+ Self.ways) where unsafe slots[index].place == 0 {
      place = index
      break
    }
    unsafe slots[place] = Slot(fingerprint: fingerprint, place: entry &+ 1)
  }
}
