import Core
import Crypto

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
    /// The entry's index + 1; 0 for an empty slot, −1 for a key that the cluster has made.
    var place: Int32
  }

  /// What ``find(_:)`` answers for a key that the cluster has made: its text tells which.
  static let issuedMark: Int32 = -2

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
  private let pages: ZeroedPages
  private let slots: UnsafeMutablePointer<Slot>
  private let secret: UnsafeMutablePointer<UInt64>

  /// A cache for a ring of so many keys; `key` is one that nobody knows.
  init(keyCount: Int, key: SipKey) {
    var groups = 2
    while groups < keyCount && groups < Self.maximumCount / Self.ways { groups *= 2 }
    shift = UInt64(64 - groups.trailingZeroBitCount)
    // Cleared by the kernel as it is used: an idle cache takes no memory, and a new configuration no time for it.
    pages = ZeroedPages(byteCount: groups * Self.ways * MemoryLayout<Slot>.stride)
    unsafe slots = pages.start.bindMemory(to: Slot.self, capacity: groups * Self.ways)
    unsafe secret = UnsafeMutablePointer<UInt64>.allocate(capacity: Self.secretCount)
    let seed = key.hash(0x7320_6579_206b_6e6f, 0x6765_6e65_7261_7465)
    let generator = SipKey(low: seed.low, high: seed.high)
    for index in 0..<Self.secretCount {
      unsafe (secret + index).initialize(to: generator.hash(UInt64(index), 0).low)
    }
  }

  deinit {
    unsafe secret.deallocate()
  }

  /// The fingerprint of a text of at most ``longestText`` bytes, some 17 instructions for every sixteen.
  @inline(__always)
  func fingerprint(of text: RawSpan) -> Fingerprint {
    let count = text.byteCount
    precondition(count <= Self.longestText)
    var result = Fingerprint(byteCount: Int32(truncatingIfNeeded: count))
    // `keys` are read from `offset` on, which is below `longestText` where two words are read beside it: `secret` is two
    // words longer than that.
    let keys = UnsafeRawPointer(unsafe secret)
    guard count >= 16 else {
      unsafe Self.add(Self.words(ofShort: text), keys, to: &result)
      return result
    }
    return unsafe text.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return result }
      // Sixteen bytes are read only where they end within `count`.
      var offset = 0
      while offset &+ 16 < count {
        unsafe Self.add(Self.words(at: base + offset), keys + offset, to: &result)
        offset &+= 16
      }
      // The last sixteen bytes, some of them for the second time perhaps: together they still say which text it is.
      unsafe Self.add(Self.words(at: base + (count &- 16)), keys + offset, to: &result)
      return result
    }
  }

  /// Two words that a text of less than sixteen bytes is known by, together with its length.
  @inline(never)
  private static func words(ofShort text: RawSpan) -> (UInt64, UInt64) {
    let count = text.byteCount
    if count < 8 { return ((0..<count).reduce(0) { $0 << 8 | UInt64(text[byte: $1]) }, 0) }
    // RawSpan checks the offsets.
    return unsafe (
      text.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt64.self),
      text.unsafeLoadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
    )
  }

  @inline(__always)
  private static func words(at address: UnsafeRawPointer) -> (UInt64, UInt64) {
    unsafe (address.loadUnaligned(as: UInt64.self), address.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
  }

  /// Adds two words of a text; `keys` are the four that belong to their place.
  @inline(__always)
  private static func add(_ words: (UInt64, UInt64), _ keys: UnsafeRawPointer, to result: inout Fingerprint) {
    let first = unsafe (keys.load(as: UInt64.self), keys.load(fromByteOffset: 8, as: UInt64.self))
    let second = unsafe (keys.load(fromByteOffset: 16, as: UInt64.self), keys.load(fromByteOffset: 24, as: UInt64.self))
    result.first &+= UInt128(words.0 &+ first.0) &* UInt128(words.1 &+ first.1)
    result.second &+= UInt128(words.0 &+ second.0) &* UInt128(words.1 &+ second.1)
  }

  @inline(__always)
  private func firstSlot(_ fingerprint: Fingerprint) -> Int {
    let folded = fingerprint.first ^ fingerprint.first >> 64
    return Int(truncatingIfNeeded: (UInt64(truncatingIfNeeded: folded) &* 0x9e37_79b9_7f4a_7c15) &>> shift) &* Self.ways
  }

  /// What was remembered for a fingerprint, or −1.
  @inline(__always)
  func find(_ fingerprint: Fingerprint) -> Int32 {
    var slot = unsafe slots + firstSlot(fingerprint)
    for _ in 0..<Self.ways {
      if unsafe slot.pointee.fingerprint == fingerprint { return unsafe slot.pointee.place &- 1 }
      unsafe slot += 1
    }
    return -1
  }

  /// Forgets everything.
  func removeAll() {
    for index in 0..<(1 << (64 - Int(shift))) * Self.ways { unsafe slots[index].place = 0 }
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
