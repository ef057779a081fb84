import CLinux
import Core

/// Writes the parts of one line of JSON into memory that was measured beforehand: no part asks for room, each is a few
/// stores. Every method checks that it stays inside the memory.
@safe
struct AccessLogLine: ~Copyable {
  /// Bytes that a store may reach behind the text it adds.
  static let slack = 32

  private let base: UnsafeMutableRawPointer
  private let capacity: Int
  private(set) var count = 0

  /// A line at the front of `memory`, which must outlive it.
  init(_ memory: UnsafeMutableRawBufferPointer) {
    guard let base = memory.baseAddress else { fatalError("no memory for a line") }
    unsafe self.base = base
    capacity = memory.count
  }

  /// Where `count` more bytes go, and ``slack`` behind them.
  @inline(__always)
  private mutating func take(_ count: Int) -> UnsafeMutableRawPointer {
    precondition(count >= 0 && capacity &- self.count >= count &+ Self.slack)
    let place = unsafe base + self.count
    self.count &+= count
    return unsafe place
  }

  /// Text that is JSON already.
  @inline(__always)
  mutating func literal(_ text: StaticString) {
    let count = text.utf8CodeUnitCount
    unsafe take(count).copyMemory(from: text.utf8Start, byteCount: count)
  }

  /// Text that needs no escapes.
  @inline(__always)
  mutating func plain(_ bytes: RawSpan) {
    let place = unsafe take(bytes.byteCount)
    unsafe bytes.withUnsafeBytes { source in
      if let start = source.baseAddress { unsafe place.copyMemory(from: start, byteCount: source.count) }
    }
  }

  /// Eight bytes, `offset` behind what is there, to be counted by ``skip(_:)``.
  @inline(__always)
  func word(_ word: UInt64, at offset: Int) {
    precondition(offset >= 0 && offset &+ 8 <= capacity &- count)
    unsafe base.storeBytes(of: word, toByteOffset: count &+ offset, as: UInt64.self)
  }

  /// Counts bytes that are there already.
  @inline(__always)
  mutating func skip(_ count: Int) { _ = unsafe take(count) }

  @inline(__always)
  mutating func byte(_ byte: UInt8) { unsafe take(1).storeBytes(of: byte, as: UInt8.self) }

  /// A number in decimal; negative ones as 0.
  @inline(__always)
  mutating func decimal(_ value: Int64) {
    var rest = UInt64(truncatingIfNeeded: max(value, 0))
    if rest < 10 { return byte(UInt8(truncatingIfNeeded: 48 &+ rest)) }
    var digits = 2
    var bound: UInt64 = 100
    while rest >= bound && digits < 19 {
      digits &+= 1
      bound &*= 10
    }
    let place = unsafe take(digits)
    while rest >= 10 {
      digits &-= 2
      let quotient = rest / 100
      unsafe place.storeBytes(of: Self.pair(rest &- quotient &* 100), toByteOffset: digits, as: UInt16.self)
      rest = quotient
    }
    if digits == 1 { unsafe place.storeBytes(of: UInt8(truncatingIfNeeded: 48 &+ rest), as: UInt8.self) }
  }

  /// Six digits.
  @inline(__always)
  mutating func microseconds(_ value: Int64) {
    let value = UInt64(truncatingIfNeeded: value)
    let place = unsafe take(6)
    unsafe place.storeBytes(of: Self.pair(value / 10_000), as: UInt16.self)
    unsafe place.storeBytes(of: Self.pair(value / 100 % 100), toByteOffset: 2, as: UInt16.self)
    unsafe place.storeBytes(of: Self.pair(value % 100), toByteOffset: 4, as: UInt16.self)
  }

  /// Two decimal digits of a number below 100, as they lie in memory.
  @inline(__always)
  private static func pair(_ value: UInt64) -> UInt16 {
    let tens = (value &* 103) >> 10
    return UInt16(truncatingIfNeeded: 0x3030 &+ tens &+ (value &- tens &* 10) << 8).littleEndian
  }

  /// Sixteen hexadecimal digits.
  @inline(__always)
  mutating func hexadecimal(_ value: UInt64) {
    let place = unsafe take(16)
    unsafe place.storeBytes(of: Self.digits(UInt32(truncatingIfNeeded: value >> 32)), as: UInt64.self)
    unsafe place.storeBytes(of: Self.digits(UInt32(truncatingIfNeeded: value)), toByteOffset: 8, as: UInt64.self)
  }

  /// Eight hexadecimal digits as they lie in memory: every nibble spread to a byte of its own, then all eight made
  /// letters at once.
  @inline(__always)
  private static func digits(_ value: UInt32) -> UInt64 {
    var lanes = UInt64(value.byteSwapped)
    lanes = (lanes | lanes << 16) & 0x0000_ffff_0000_ffff
    lanes = (lanes | lanes << 8) & 0x00ff_00ff_00ff_00ff
    let nibbles = (lanes >> 4) & 0x000f_000f_000f_000f | (lanes & 0x000f_000f_000f_000f) << 8
    let letters = ((nibbles &+ 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101
    return (nibbles &+ 0x3030_3030_3030_3030 &+ letters &* 39).littleEndian
  }

  /// An IPv4 address, or another one by way of `scratch`.
  @inline(__always)
  mutating func address(_ address: IPAddress, scratch: ByteBuffer) {
    guard address.isV4 else {
      scratch.removeAll()
      address.append(to: scratch)
      return plain(scratch.bytes)
    }
    let bits = address.v4
    octet(bits >> 24)
    byte(UInt8(ascii: "."))
    octet(bits >> 16 & 255)
    byte(UInt8(ascii: "."))
    octet(bits >> 8 & 255)
    byte(UInt8(ascii: "."))
    octet(bits & 255)
  }

  @inline(__always)
  private mutating func octet(_ value: UInt32) {
    let hundreds = value / 100
    let rest = UInt64(value &- hundreds &* 100)
    if hundreds > 0 { byte(UInt8(truncatingIfNeeded: 48 &+ hundreds)) }
    if value < 10 { return byte(UInt8(truncatingIfNeeded: 48 &+ rest)) }
    unsafe take(2).storeBytes(of: Self.pair(rest), as: UInt16.self)
  }
}

// MARK: - Foreign text

extension AccessLogLine {
  /// The most bytes that escaping makes of one.
  static let growth = 6

  /// Text from outside, at most its first `limit` bytes, escaped where JSON or a terminal would misread it.
  @inline(__always)
  mutating func text(_ bytes: RawSpan, limit: Int) {
    let bytes = bytes.byteCount > limit ? bytes.extracting(0..<limit) : bytes
    if !copyWhole(bytes) { escape(bytes) }
  }

  /// Copies text that needs no escapes, sixteen bytes at a time, the last ones overlapping; otherwise adds nothing.
  @inline(__always)
  private mutating func copyWhole(_ bytes: RawSpan) -> Bool {
    let total = bytes.byteCount
    precondition(capacity &- count >= total &+ Self.slack)
    if total < 16 { return copyShort(bytes) }
    let last = total &- 16
    var offset = 0
    repeat {
      offset = min(offset, last)
      if !copyPair(bytes, offset, offset &+ 8) { return false }
      offset &+= 16
    } while offset < total
    count &+= total
    return true
  }

  @inline(__always)
  private mutating func copyShort(_ bytes: RawSpan) -> Bool {
    let total = bytes.byteCount
    if total >= 8 {
      guard copyPair(bytes, 0, total &- 8) else { return false }
    } else {
      let place = unsafe base + count
      for offset in 0..<total {
        let byte = Self.byte(of: bytes, at: offset)
        if byte < 0x20 || byte >= 0x7f || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return false }
        unsafe place.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
      }
    }
    count &+= total
    return true
  }

  /// Copies eight bytes from each of two offsets if none of them needs an escape; the caller has checked the room.
  @inline(__always)
  private func copyPair(_ bytes: RawSpan, _ first: Int, _ second: Int) -> Bool {
    // Checked by RawSpan; any eight bytes are a number.
    let low = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: first, as: UInt64.self)
    let high = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: second, as: UInt64.self)
    if sluice_json_stop16(low, high) != 0 { return false }
    let place = unsafe base + count
    unsafe place.storeBytes(of: low, toByteOffset: first, as: UInt64.self)
    unsafe place.storeBytes(of: high, toByteOffset: second, as: UInt64.self)
    return true
  }

  /// One byte; RawSpan checks the offset.
  @inline(__always)
  fileprivate static func byte(of bytes: RawSpan, at offset: Int) -> UInt8 {
    unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }

  @inline(never)
  private mutating func escape(_ bytes: RawSpan) {
    var offset = 0
    while offset < bytes.byteCount {
      let first = Self.byte(of: bytes, at: offset)
      if first < 0x80 {
        escapeASCII(first)
        offset &+= 1
        continue
      }
      let length = UTF8Sequence.length(in: bytes, at: offset)
      switch length {
      case 0:
        literal("\\ufffd")
        offset &+= 1
      case 2 where first == 0xc2 && Self.byte(of: bytes, at: offset &+ 1) < 0xa0:
        // The second set of control characters: a terminal may obey them.
        escapeControl(Self.byte(of: bytes, at: offset &+ 1))
        offset &+= 2
      default:
        plain(bytes.extracting(offset..<(offset &+ length)))
        offset &+= length
      }
    }
  }

  private mutating func escapeASCII(_ character: UInt8) {
    switch character {
    case UInt8(ascii: "\""): literal("\\\"")
    case UInt8(ascii: "\\"): literal("\\\\")
    case UInt8(ascii: "\n"): literal("\\n")
    case UInt8(ascii: "\r"): literal("\\r")
    case UInt8(ascii: "\t"): literal("\\t")
    case 0..<0x20, 0x7f: escapeControl(character)
    default: byte(character)
    }
  }

  private mutating func escapeControl(_ character: UInt8) {
    literal("\\u00")
    for nibble in [character >> 4, character & 15] { byte(nibble < 10 ? 48 &+ nibble : 87 &+ nibble) }
  }
}

/// Well-formed UTF-8 as table 3-7 of the Unicode standard has it.
enum UTF8Sequence {
  /// The length, 2 to 4, of the sequence at `offset`; 0 where there is none that is well-formed.
  static func length(in bytes: RawSpan, at offset: Int) -> Int {
    func byte(_ index: Int) -> UInt8 {
      offset + index < bytes.byteCount ? AccessLogLine.byte(of: bytes, at: offset + index) : 0
    }
    func continues(_ index: Int) -> Bool { byte(index) & 0xc0 == 0x80 }
    let second: ClosedRange<UInt8>
    switch byte(0) {
    case 0xc2...0xdf: return continues(1) ? 2 : 0
    case 0xe0: second = 0xa0...0xbf
    case 0xed: second = 0x80...0x9f
    case 0xe1...0xef: second = 0x80...0xbf
    case 0xf0: second = 0x90...0xbf
    case 0xf1...0xf3: second = 0x80...0xbf
    case 0xf4: second = 0x80...0x8f
    default: return 0
    }
    guard second.contains(byte(1)), continues(2) else { return 0 }
    if byte(0) < 0xf0 { return 3 }
    return continues(3) ? 4 : 0
  }
}
