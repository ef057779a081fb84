// The leaves of matching: words of eight bytes out of a span, a hash over them, and percent-decoding.
//
// A path segment is hashed and compared by the octets that it stands for, so a literal matches however a client chose to
// encode it (RFC 3986 section 6.2.2.2), and `%2F` stays inside its segment. The fast loop takes eight bytes at a time and
// gives up at the first percent sign; the slow one decodes and must feed the very same words to the hash.

/// A multiply-and-fold hash. It is fixed, not seeded: only the configuration puts keys into the tables that use it, and
/// consistent hashing needs every node to agree.
struct WordHash {
  var state: UInt64

  @inline(__always)
  init(seed: UInt64 = 0) { state = seed ^ 0x9e37_79b9_7f4a_7c15 }

  @inline(__always)
  mutating func mix(_ word: UInt64) {
    let (high, low) = (state ^ word).multipliedFullWidth(by: 0xd6e8_feb8_6659_fd93)
    state = high ^ low
  }
}

/// A hash of bytes that is the same on every node and in every run: for affinity and ``HashRing``, not for hash tables
/// whose keys an attacker chooses.
public enum StableHash {
  /// The hash of `bytes`; linear in their number.
  public static func of(_ bytes: RawSpan, seed: UInt64 = 0) -> UInt64 {
    var hash = WordHash(seed: seed &+ UInt64(bytes.byteCount))
    var at = 0
    while at &+ 8 <= bytes.byteCount {
      hash.mix(loadWord(bytes, at))
      at &+= 8
    }
    hash.mix(loadWord(bytes, at))
    hash.mix(0x2545_f491_4f6c_dd1d)
    return hash.state
  }

  /// The hash of an address, equal for equal addresses.
  public static func of(high: UInt64, low: UInt64, seed: UInt64 = 0) -> UInt64 {
    var hash = WordHash(seed: seed)
    hash.mix(high)
    hash.mix(low)
    hash.mix(0x2545_f491_4f6c_dd1d)
    return hash.state
  }
}

/// The byte at `offset`.
@inline(__always)
func byte(_ bytes: RawSpan, _ offset: Int) -> UInt8 {
  // The offset is checked; the call counts as unsafe only because its type is generic.
  unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
}

/// Eight bytes from `offset`, little-endian; what lies behind the end is zero.
@inline(__always)
func loadWord(_ bytes: RawSpan, _ offset: Int) -> UInt64 {
  let left = bytes.byteCount &- offset
  if left >= 8 && offset >= 0 {
    // In bounds as just checked, and every bit pattern is a UInt64.
    return UInt64(littleEndian: unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt64.self))
  }
  return loadTail(bytes, offset, left)
}

/// The last `left` (below 8) bytes as a word.
@inline(__always)
func loadTail(_ bytes: RawSpan, _ offset: Int, _ left: Int) -> UInt64 {
  if left <= 0 { return 0 }
  if bytes.byteCount < 8 { return loadShort(bytes, offset) }
  let start = bytes.byteCount &- 8
  // Ends where the span ends, which has eight bytes or more.
  let word = UInt64(littleEndian: unsafe bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: start, as: UInt64.self))
  return word &>> UInt64((8 &- left) &* 8)
}

/// What stands from `offset` on in a span of less than eight bytes, as a word.
@inline(never)
func loadShort(_ bytes: RawSpan, _ offset: Int) -> UInt64 {
  var word: UInt64 = 0
  var index = bytes.byteCount &- 1
  while index >= offset {
    word = word << 8 | UInt64(byte(bytes, index))
    index &-= 1
  }
  return word
}

/// The high bit of each byte that is zero; exact up to the lowest one.
@inline(__always)
func zeroBytes(_ word: UInt64) -> UInt64 { (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080 }

/// The word with only its first `count` (0...8) bytes.
@inline(__always)
func firstBytes(_ word: UInt64, _ count: Int) -> UInt64 {
  count >= 8 ? word : word & ((1 &<< UInt64(count &* 8)) &- 1)
}

/// The word with its ASCII capitals made small.
@inline(__always)
func lowercased(_ word: UInt64) -> UInt64 {
  let ascii = word & 0x7f7f_7f7f_7f7f_7f7f
  let fromA = ascii &+ 0x3f3f_3f3f_3f3f_3f3f
  let aboveZ = ascii &+ 0x2525_2525_2525_2525
  let capitals = (fromA ^ aboveZ) & ~word & 0x8080_8080_8080_8080
  return word | capitals >> 2
}

/// Whether `count` bytes are equal; the right span must have eight more behind them.
@inline(__always)
func equalPadded(_ left: RawSpan, _ leftStart: Int, _ right: RawSpan, _ rightStart: Int, _ count: Int) -> Bool {
  precondition(rightStart >= 0 && count >= 0 && rightStart &+ count &+ 8 <= right.byteCount)
  var done = 0
  while done < count {
    // In bounds by the precondition, since a word begins before the last of the bytes.
    let word = unsafe right.unsafeLoadUnaligned(fromUncheckedByteOffset: rightStart &+ done, as: UInt64.self)
    let difference = UInt64(littleEndian: word) ^ loadWord(left, leftStart &+ done)
    if firstBytes(difference, count &- done) != 0 { return false }
    done &+= 8
  }
  return true
}

/// Whether two runs of the same length are equal.
@inline(__always)
func equalBytes(_ left: RawSpan, _ leftStart: Int, _ right: RawSpan, _ rightStart: Int, _ count: Int) -> Bool {
  var done = 0
  while done < count {
    let width = count &- done
    let a = firstBytes(loadWord(left, leftStart &+ done), width)
    let b = firstBytes(loadWord(right, rightStart &+ done), width)
    if a != b { return false }
    done &+= 8
  }
  return true
}

/// A segment of a path: where it ends, the hash of what it stands for, and whether it has percent signs.
struct Segment {
  var end: Int
  var hash: UInt64
  var isEncoded: Bool
}

/// Reads the segment that begins at `start`: up to the next slash or the end.
@inline(__always)
func scanSegment(_ path: RawSpan, from start: Int) -> Segment {
  var hash = WordHash()
  var at = start
  while true {
    let word = loadWord(path, at)
    let slashes = zeroBytes(word ^ 0x2f2f_2f2f_2f2f_2f2f)
    let width = min(slashes.trailingZeroBitCount &>> 3, path.byteCount &- at)
    let percents = zeroBytes(word ^ 0x2525_2525_2525_2525)
    if percents.trailingZeroBitCount &>> 3 < width { return scanEncodedSegment(path, from: start) }
    hash.mix(firstBytes(word, width))
    if width < 8 { return Segment(end: at &+ width, hash: hash.state, isEncoded: false) }
    at &+= 8
  }
}

/// The same for a segment with percent signs in it, byte by byte.
@inline(never)
func scanEncodedSegment(_ path: RawSpan, from start: Int) -> Segment {
  var hash = WordHash()
  var word: UInt64 = 0
  var filled: UInt64 = 0
  var at = start
  while at < path.byteCount, byte(path, at) != UInt8(ascii: "/") {
    let (value, width) = decodedByte(path, at)
    word |= UInt64(value) &<< (filled &* 8)
    filled &+= 1
    at &+= width
    if filled == 8 {
      hash.mix(word)
      word = 0
      filled = 0
    }
  }
  hash.mix(word)
  return Segment(end: at, hash: hash.state, isEncoded: true)
}

/// The octet that stands at `offset` and how many bytes spell it: 3 for a percent triplet, else 1.
@inline(__always)
func decodedByte(_ bytes: RawSpan, _ offset: Int) -> (value: UInt8, width: Int) {
  let first = byte(bytes, offset)
  guard first == UInt8(ascii: "%"), offset &+ 2 < bytes.byteCount,
    let high = hexadecimalValue(byte(bytes, offset &+ 1)), let low = hexadecimalValue(byte(bytes, offset &+ 2))
  else { return (first, 1) }
  return (high << 4 | low, 3)
}

/// What a hexadecimal digit is worth, nil for other bytes.
@inline(__always)
func hexadecimalValue(_ digit: UInt8) -> UInt8? {
  switch digit {
  case 0x30...0x39: digit &- 0x30
  case 0x41...0x46: digit &- 0x37
  case 0x61...0x66: digit &- 0x57
  default: nil
  }
}

/// Whether `bytes[start..<end]`, decoded, is `text[textStart..<textStart + textCount]`. With `plusIsSpace` a plus sign
/// stands for a space, as in queries.
@inline(never)
func equalDecoded(
  _ bytes: RawSpan, _ start: Int, _ end: Int, _ text: RawSpan, _ textStart: Int, _ textCount: Int,
  plusIsSpace: Bool = false
) -> Bool {
  var at = start
  var matched = 0
  while at < end {
    if matched == textCount { return false }
    var (value, width) = decodedByte(bytes, at)
    if plusIsSpace, width == 1, value == UInt8(ascii: "+") { value = UInt8(ascii: " ") }
    if value != byte(text, textStart &+ matched) { return false }
    matched &+= 1
    at &+= width
  }
  return matched == textCount
}
