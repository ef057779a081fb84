import CLinux
import Core
import HTTP

/// Writes the parts of one line of JSON into memory that was measured beforehand: no part asks for room, each is a few
/// stores.
///
/// Parts that cannot be larger than what whoever made the memory reckoned with are not checked one by one except in
/// debug builds: literals, numbers and identifiers add up to ``fixedBytes`` at most, names are no longer than the longest
/// of their table, and texts from outside have limits that are reserved for in full (see ``room(for:)``). Parts of any
/// length are checked: each must end ``fixedBytes`` before the memory does. What is rare is a call that is given the
/// place to write at and returns the next one, so that the place stays in a register.
@safe
struct AccessLogLine: ~Copyable {
  /// Room for all parts of fixed size: 25 members with their names, numbers and quotation marks, and eight limits.
  static let fixedBytes = 2_048
  /// Bytes that a store may reach behind the part it adds.
  static let slack = 64
  /// The most bytes that escaping makes of one.
  static let growth = 6

  /// The memory that a line needs whose names, texts (times ``growth``) and parts of any length have at most `bytes`.
  @inline(__always)
  static func room(for bytes: Int) -> Int { bytes &+ 2 &* fixedBytes &+ slack }

  private let base: UnsafeMutableRawPointer
  /// Where no part of any length may reach.
  private let limit: UnsafeMutableRawPointer
  private var cursor: UnsafeMutableRawPointer

  /// A line at the front of `memory`, which must outlive it.
  @inline(__always)
  init(_ memory: UnsafeMutableRawBufferPointer) {
    guard let base = memory.baseAddress, memory.count >= Self.room(for: 0) else {
      preconditionFailure("a line needs at least room(for: 0) bytes")
    }
    unsafe self.base = base
    unsafe limit = base + (memory.count &- Self.fixedBytes &- Self.slack)
    unsafe cursor = base
  }

  /// How many bytes there are.
  @inline(__always)
  var count: Int { unsafe cursor - base }

  /// Where the next `count` bytes go.
  @inline(__always)
  private mutating func take(_ count: Int) -> UnsafeMutableRawPointer {
    let place = unsafe cursor
    unsafe cursor = place + count
    unsafe assert(count >= 0 && cursor <= limit + Self.fixedBytes)
    return unsafe place
  }

  /// A constant that is JSON already.
  @inline(__always)
  mutating func literal(_ text: StaticString) {
    let count = text.utf8CodeUnitCount
    unsafe take(count).copyMemory(from: text.utf8Start, byteCount: count)
  }

  /// Text of the code's own that is JSON already, of any length.
  @inline(__always)
  mutating func plain(_ text: StaticString) { unsafe cursor = Self.plain(text, at: cursor, before: limit) }

  @inline(never)
  private static func plain(
    _ text: StaticString, at place: UnsafeMutableRawPointer, before limit: UnsafeMutableRawPointer
  ) -> UnsafeMutableRawPointer {
    let count = text.utf8CodeUnitCount
    unsafe precondition(limit - place >= count)
    unsafe place.copyMemory(from: text.utf8Start, byteCount: count)
    return unsafe place + count
  }

  /// A name that is JSON already: `count` bytes from `start`, behind which there must be ``nameSlack`` more.
  @inline(__always)
  mutating func name(_ start: UnsafeRawPointer, count: Int) {
    let place = unsafe take(count)
    unsafe place.storeBytes(of: start.loadUnaligned(as: SIMD32<UInt8>.self), as: SIMD32<UInt8>.self)
    if count > 32 { unsafe Self.copy(start, to: place, count: count) }
  }

  /// Bytes that must be readable behind a name.
  static let nameSlack = 32

  @inline(never)
  private static func copy(_ start: UnsafeRawPointer, to place: UnsafeMutableRawPointer, count: Int) {
    unsafe place.copyMemory(from: start, byteCount: count)
  }

  /// The first `count` bytes of a vector.
  @inline(__always)
  mutating func prefix<Vector: BitwiseCopyable>(_ vector: Vector, count: Int) {
    assert(MemoryLayout<Vector>.size <= Self.slack && count <= MemoryLayout<Vector>.size)
    unsafe take(count).storeBytes(of: vector, as: Vector.self)
  }

  @inline(__always)
  mutating func byte(_ byte: UInt8) { unsafe take(1).storeBytes(of: byte, as: UInt8.self) }

  /// A number in decimal; negative ones as 0.
  @inline(__always)
  mutating func decimal(_ value: Int64) {
    // As unsigned numbers negative ones are large, so the small ones need no comparison with zero.
    let bits = UInt64(bitPattern: value)
    if bits < 1_000_000 { smallDecimal(bits) } else { unsafe cursor = Self.longDecimal(max(value, 0), at: cursor) }
  }

  /// A number below a million in decimal.
  @inline(__always)
  private mutating func smallDecimal(_ value: UInt64) {
    var last = value
    if value >= 1_000 {
      let upper = UInt64(UInt32(truncatingIfNeeded: value) / 1_000)
      last = value &- upper &* 1_000
      three(sluice_decimal_text(upper))
      unsafe take(3).storeBytes(of: UInt32(truncatingIfNeeded: sluice_decimal_text(last) &>> 32), as: UInt32.self)
    } else {
      three(sluice_decimal_text(last))
    }
  }

  /// The digits of a number below 1000 without leading zeros, and what counts them behind.
  @inline(__always)
  private mutating func three(_ text: UInt64) {
    let short = UInt32(truncatingIfNeeded: text)
    unsafe take(Int(short &>> 24)).storeBytes(of: short.littleEndian, as: UInt32.self)
  }

  @inline(never)
  private static func longDecimal(_ value: Int64, at place: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    let value = UInt64(value)
    if value < DecimalDigits.bound {
      let (digits, count) = DecimalDigits.significant(value)
      unsafe place.storeBytes(of: digits.littleEndian, as: UInt64.self)
      return unsafe place + count
    }
    let rest = unsafe longDecimal(Int64(value / DecimalDigits.bound), at: place)
    unsafe rest.storeBytes(of: DecimalDigits.eight(value % DecimalDigits.bound).littleEndian, as: UInt64.self)
    return unsafe rest + 8
  }

  /// The sixteen hexadecimal digits of a number.
  @inline(__always)
  mutating func hexadecimal(_ value: UInt64) {
    unsafe sluice_hexadecimal16(value, take(16).assumingMemoryBound(to: UInt8.self))
  }

  /// The 32 hexadecimal digits of two numbers.
  @inline(__always)
  mutating func hexadecimal(_ high: UInt64, _ low: UInt64) {
    unsafe sluice_hexadecimal32(high, low, take(32).assumingMemoryBound(to: UInt8.self))
  }
}

// MARK: - Foreign text

extension AccessLogLine {
  /// A name that does not stand ready, at most its first 128 bytes.
  mutating func name(_ text: String) {
    let bytes = Array(text.utf8.prefix(128))
    self.text(RawSpan(bytes), ByteRange(start: 0, count: UInt32(bytes.count)), limit: 128)
  }

  /// Text from outside, at most its first `bound` bytes (sixteen or more), escaped where JSON or a terminal would misread
  /// it. Fast where it is short, as most are.
  ///
  /// Copied in blocks of sixteen as long as nothing needs an escape; the last block may be read and written up to
  /// sixteen bytes beyond the text, which is why texts at the very end of `bytes` take the long way.
  @inline(__always)
  mutating func text(_ bytes: RawSpan, _ range: ByteRange, limit bound: Int) {
    let (start, count) = (Int(range.start), Int(range.count))
    if count <= 16, start &+ count <= bytes.byteCount &- 16 {
      // Not empty: there are sixteen bytes at least.
      let stops = unsafe bytes.withUnsafeBytes {
        unsafe Self.copyLast(count, $0.baseAddress.unsafelyUnwrapped + start, to: cursor)
      }
      if stops == 0 {
        _ = unsafe take(count)
        return
      }
    }
    unsafe cursor = Self.anyText(bytes, from: start, count: min(count, bound), at: cursor, before: limit)
  }

  /// The same of text that holds no byte which needs an escape.
  @inline(__always)
  mutating func safeText(_ bytes: RawSpan, _ range: ByteRange, limit bound: Int) {
    let (start, count) = (Int(range.start), Int(range.count))
    if count <= 16, start &+ count <= bytes.byteCount &- 16 {
      // Both have sixteen bytes there.
      unsafe cursor.storeBytes(
        of: bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: start, as: SIMD16<UInt8>.self), as: SIMD16<UInt8>.self)
      _ = unsafe take(count)
      return
    }
    unsafe cursor = Self.anyText(bytes, from: start, count: min(count, bound), at: cursor, before: limit)
  }

  /// The same as ``text(_:_:limit:)``, fast for text of any length.
  @inline(__always)
  mutating func longText(_ bytes: RawSpan, _ range: ByteRange, limit bound: Int) {
    let (start, count) = (Int(range.start), min(Int(range.count), bound))
    unsafe cursor = Self.longText(bytes, from: start, count: count, at: cursor, before: limit)
  }

  @inline(never)
  private static func anyText(
    _ bytes: RawSpan, from start: Int, count: Int, at place: UnsafeMutableRawPointer,
    before limit: UnsafeMutableRawPointer
  ) -> UnsafeMutableRawPointer {
    unsafe longText(bytes, from: start, count: count, at: place, before: limit)
  }

  @inline(__always)
  private static func longText(
    _ bytes: RawSpan, from start: Int, count: Int, at place: UnsafeMutableRawPointer,
    before limit: UnsafeMutableRawPointer
  ) -> UnsafeMutableRawPointer {
    if start &+ count <= bytes.byteCount &- 16 {
      // Not empty: there are sixteen bytes at least.
      let stops = unsafe bytes.withUnsafeBytes {
        unsafe copy(count, $0.baseAddress.unsafelyUnwrapped + start, to: place)
      }
      if stops == 0 { return unsafe place + count }
    }
    return unsafe escape(bytes.extracting(start..<(start &+ count)), at: place, before: limit)
  }

  /// Copies `count` bytes in blocks of sixteen, reading and writing up to sixteen bytes more. Not 0 where one of them
  /// needs an escape.
  @inline(__always)
  private static func copy(_ count: Int, _ text: UnsafeRawPointer, to place: UnsafeMutableRawPointer) -> UInt32 {
    var stops: UInt32 = 0
    var offset = 0
    while offset &+ 16 < count {
      stops |= unsafe sluice_json_copy16(
        (text + offset).assumingMemoryBound(to: UInt8.self), (place + offset).assumingMemoryBound(to: UInt8.self))
      offset &+= 16
    }
    return unsafe stops | copyLast(count &- offset, text + offset, to: place + offset)
  }

  /// The same for sixteen bytes at most.
  @inline(__always)
  private static func copyLast(_ count: Int, _ text: UnsafeRawPointer, to place: UnsafeMutableRawPointer) -> UInt32 {
    let stops = unsafe sluice_json_copy16(
      text.assumingMemoryBound(to: UInt8.self), place.assumingMemoryBound(to: UInt8.self))
    // The sixteen bits are moved until those behind the text have gone out at the top; the shift is modulo 32.
    return stops &<< UInt32(truncatingIfNeeded: 0 &- count)
  }

  /// Adds what may need escapes, of any length, byte by byte, and returns where the next part goes.
  @inline(never)
  private static func escape(
    _ bytes: RawSpan, at place: UnsafeMutableRawPointer, before limit: UnsafeMutableRawPointer
  ) -> UnsafeMutableRawPointer {
    unsafe precondition(limit - place >= bytes.byteCount &* Self.growth)
    var line = unsafe AccessLogLine(at: place, before: limit)
    var offset = 0
    while offset < bytes.byteCount {
      let first = Self.byte(of: bytes, at: offset)
      if first < 0x80 {
        line.escapeASCII(first)
        offset &+= 1
        continue
      }
      let length = UTF8Sequence.length(in: bytes, at: offset)
      switch length {
      case 0:
        line.literal("\\ufffd")
        offset &+= 1
      case 2 where first == 0xc2 && Self.byte(of: bytes, at: offset &+ 1) < 0xa0:
        // The second set of control characters: a terminal may obey them.
        line.escapeControl(Self.byte(of: bytes, at: offset &+ 1))
        offset &+= 2
      default:
        for index in 0..<length { line.byte(Self.byte(of: bytes, at: offset &+ index)) }
        offset &+= length
      }
    }
    return unsafe line.cursor
  }

  /// What is left of a line.
  private init(at place: UnsafeMutableRawPointer, before limit: UnsafeMutableRawPointer) {
    unsafe base = place
    unsafe self.limit = limit
    unsafe cursor = place
  }

  /// One byte; RawSpan checks the offset.
  @inline(__always)
  fileprivate static func byte(of bytes: RawSpan, at offset: Int) -> UInt8 {
    unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
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
