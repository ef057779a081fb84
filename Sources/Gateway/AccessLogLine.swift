import CLinux
import Core
import HTTP

/// Writes the parts of one line of JSON into memory that was measured beforehand: no part asks for room, each is a few
/// stores.
///
/// There are two kinds of parts. Those whose size the code alone decides (literals, numbers, identifiers) add up to
/// ``fixedBytes`` at most, so they are not checked one by one except in debug builds. Those of any length (names, texts
/// from outside) are checked: each must end ``fixedBytes`` before the memory does.
@safe
struct AccessLogLine: ~Copyable {
  /// Room for all parts of fixed size: 25 members with their names, numbers and quotation marks, and eight limits.
  static let fixedBytes = 2_048
  /// Bytes that a store may reach behind the part it adds.
  static let slack = 64
  /// The most bytes that escaping makes of one.
  static let growth = 6

  /// The memory that a line needs whose parts of any length have at most `bytes`.
  static func room(for bytes: Int) -> Int { bytes &+ 2 &* fixedBytes &+ slack }

  private let base: UnsafeMutableRawPointer
  /// Where no part of any length may reach.
  private let limit: UnsafeMutableRawPointer
  private var cursor: UnsafeMutableRawPointer

  /// A line at the front of `memory`, which must outlive it.
  init(_ memory: UnsafeMutableRawBufferPointer) {
    guard let base = memory.baseAddress, memory.count >= Self.room(for: 0) else {
      preconditionFailure("a line needs at least room(for: 0) bytes")
    }
    unsafe self.base = base
    unsafe limit = base + (memory.count - Self.fixedBytes - Self.slack)
    unsafe cursor = base
  }

  /// How many bytes there are.
  var count: Int { unsafe cursor - base }

  /// Where the next `count` bytes go, of a part of fixed size.
  @inline(__always)
  private mutating func take(_ count: Int) -> UnsafeMutableRawPointer {
    let place = unsafe cursor
    unsafe cursor = place + count
    unsafe assert(cursor <= limit + Self.fixedBytes)
    return unsafe place
  }

  /// Where the next `count` bytes go, of a part of any length.
  @inline(__always)
  private mutating func takeChecked(_ count: Int) -> UnsafeMutableRawPointer {
    unsafe precondition(count >= 0 && limit - cursor >= count)
    return unsafe take(count)
  }

  /// A constant that is JSON already.
  @inline(__always)
  mutating func literal(_ text: StaticString) {
    let count = text.utf8CodeUnitCount
    unsafe take(count).copyMemory(from: text.utf8Start, byteCount: count)
  }

  /// Text of the code's own that is JSON already.
  mutating func plain(_ text: StaticString) {
    let count = text.utf8CodeUnitCount
    unsafe takeChecked(count).copyMemory(from: text.utf8Start, byteCount: count)
  }

  /// Text that is JSON already: `count` bytes of `bytes`, which must hold sixteen more behind them.
  @inline(__always)
  mutating func plain(_ bytes: RawSpan, from start: Int, count: Int) {
    precondition(start >= 0 && count >= 0 && bytes.byteCount &- start >= count &+ 16)
    let place = unsafe takeChecked(count)
    unsafe bytes.withUnsafeBytes { source in
      guard let text = source.baseAddress else { return }
      let from = unsafe text + start
      var offset = 0
      repeat {
        // At most fifteen bytes beyond the text, which there are on both sides.
        let block = unsafe from.loadUnaligned(fromByteOffset: offset, as: SIMD16<UInt8>.self)
        unsafe place.storeBytes(of: block, toByteOffset: offset, as: SIMD16<UInt8>.self)
        offset &+= 16
      } while offset < count
    }
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
    let value = UInt64(truncatingIfNeeded: max(value, 0))
    if value >= DecimalDigits.bound { return longDecimal(value) }
    let (digits, count) = DecimalDigits.significant(value)
    unsafe take(count).storeBytes(of: digits.littleEndian, as: UInt64.self)
  }

  @inline(never)
  private mutating func longDecimal(_ value: UInt64) {
    decimal(Int64(value / DecimalDigits.bound))
    unsafe take(8).storeBytes(of: DecimalDigits.eight(value % DecimalDigits.bound).littleEndian, as: UInt64.self)
  }

  /// Six digits of a number below a million.
  @inline(__always)
  mutating func microseconds(_ value: Int64) {
    unsafe take(6).storeBytes(
      of: (DecimalDigits.eight(UInt64(truncatingIfNeeded: value)) &>> 16).littleEndian, as: UInt64.self)
  }

  /// The sixteen hexadecimal digits of a number.
  @inline(__always)
  mutating func hexadecimal(_ value: UInt64) {
    unsafe sluice_hexadecimal16(value, take(16).assumingMemoryBound(to: UInt8.self))
  }
}

// MARK: - Foreign text

extension AccessLogLine {
  /// Text from outside, at most its first `limit` bytes, escaped where JSON or a terminal would misread it.
  @inline(__always)
  mutating func text(_ bytes: RawSpan, _ range: ByteRange, limit: Int) {
    let count = min(Int(range.count), limit)
    if !copyWhole(bytes, from: Int(range.start), count: count) {
      escape(bytes.extracting(Int(range.start)..<(Int(range.start) &+ count)))
    }
  }

  /// Copies text that needs no escapes, sixteen bytes at a time; otherwise adds nothing.
  @inline(__always)
  private mutating func copyWhole(_ bytes: RawSpan, from start: Int, count: Int) -> Bool {
    precondition(start >= 0 && count >= 0 && bytes.byteCount &- start >= count)
    let place = unsafe takeChecked(count).assumingMemoryBound(to: UInt8.self)
    let isWhole = unsafe bytes.withUnsafeBytes { source in
      guard count > 0, let text = source.baseAddress else { return true }
      var from = unsafe text.assumingMemoryBound(to: UInt8.self) + start
      if source.count &- start < (count &+ 15) & ~15 {
        // Whole blocks cannot be read so near the end; behind the copy they can.
        unsafe place.update(from: from, count: count)
        unsafe from = UnsafePointer(place)
      }
      var stops: UInt32 = 0
      var offset = 0
      while count &- offset > 16 {
        stops |= unsafe sluice_json_copy16(from + offset, place + offset)
        offset &+= 16
      }
      let beyond = UInt32(truncatingIfNeeded: 16 &- (count &- offset))
      stops |= unsafe sluice_json_copy16(from + offset, place + offset) & 0xffff &>> beyond
      return stops == 0
    }
    if !isWhole { unsafe cursor = UnsafeMutableRawPointer(place) }
    return isWhole
  }

  /// One byte; RawSpan checks the offset.
  @inline(__always)
  fileprivate static func byte(of bytes: RawSpan, at offset: Int) -> UInt8 {
    unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }

  @inline(never)
  private mutating func escape(_ bytes: RawSpan) {
    unsafe precondition(limit - cursor >= bytes.byteCount &* Self.growth)
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
        for index in 0..<length { byte(Self.byte(of: bytes, at: offset &+ index)) }
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
