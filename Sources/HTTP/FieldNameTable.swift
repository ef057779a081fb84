import CLinux
import Core

// Known field names are found by a hash over their length and last four bytes, which is made so that each of them has a
// slot of its own, and confirmed sixteen bytes at a time with 0x20 OR-ed into every byte. That fold is exact here: a
// letter of the table can only come from that letter in either case, and '-' or a digit only from itself or from a
// control byte, which no name that is looked up holds. A name that is found is therefore a token, and nobody has to look
// at its bytes again.
//
// A name of less than four bytes is hashed with what stands before it, and that is always the end of a line.

/// The table behind ``FieldName/of(_:)``, immutable and shared.
struct FieldNameTable: Sendable {
  static let shared = FieldNameTable()

  /// No known name is longer, in bytes.
  static let longest = 32
  /// Bytes of the table; it lies at a multiple of ``alignment``.
  static let byteCount = multiplierOffset + 16
  static let alignment = 16

  /// Bytes of one entry, which a raw value is the index of: the first sixteen bytes of the name and its colon, and the last of the name, folded;
  /// then a bit for each of the first sixteen that is not compared, and its length, 32 bits each.
  private static let entryBytes = 64
  private static let lastOffset = 16
  private static let absentOffset = 32
  private static let countOffset = 36
  private static let entryCount = 64
  /// Raw values of names by hash, 0 where a slot is free.
  private static let slotsOffset = entryCount * entryBytes
  /// A power of two, so large that a multiplier without collisions is soon found.
  private static let slotCount = 512
  private static let multiplierOffset = slotsOffset + slotCount

  private static let fold: UInt32 = 0x2020_2020
  private static let lineEnd: [UInt8] = [0, 0, 13, 10]

  /// The table's bytes, in vectors for the sake of their alignment.
  private let memory: ContiguousArray<SIMD16<UInt8>>

  private init() {
    precondition(FieldName.allCases.count <= Self.entryCount)
    var bytes = [UInt8](repeating: 0, count: Self.byteCount)
    Self.store(.max, at: Self.countOffset, in: &bytes)
    var keys: [(name: FieldName, key: UInt32)] = []
    for name in FieldName.allCases where name != .other {
      let text = Array("\(name.canonical)".utf8)
      let count = text.count
      precondition(count > 0 && count <= Self.longest)
      let entry = Int(name.rawValue) * Self.entryBytes
      let line = text + [UInt8(ascii: ":")]
      let compared = min(line.count, 16)
      for index in 0..<compared { bytes[entry + index] = line[index] | 0x20 }
      if count > 16 {
        for index in 0..<16 { bytes[entry + Self.lastOffset + index] = text[count - 16 + index] | 0x20 }
      }
      Self.store(0xffff & ~((1 &<< UInt32(compared)) &- 1), at: entry + Self.absentOffset, in: &bytes)
      Self.store(UInt32(count), at: entry + Self.countOffset, in: &bytes)
      let tail = (Self.lineEnd + text).suffix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      keys.append((name, Self.key(tail: tail, count: count)))
    }
    // Names of the same length and ending would never get slots of their own; the table would have to learn more.
    precondition(Set(keys.map(\.key)).count == keys.count)
    var multiplier: UInt32 = 0x9e37_79b1
    while Set(keys.map { Self.slot($0.key, multiplier) }).count < keys.count { multiplier &+= 0x3c6e_f362 }
    Self.store(multiplier, at: Self.multiplierOffset, in: &bytes)
    for (name, key) in keys { bytes[Self.slotsOffset + Self.slot(key, multiplier)] = name.rawValue }
    memory = ContiguousArray(
      stride(from: 0, to: Self.byteCount, by: 16).map { start in
        SIMD16(bytes[start..<start + 16])
      })
  }

  private static func store(_ value: UInt32, at offset: Int, in bytes: inout [UInt8]) {
    for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt32(8 * index)) }
  }

  @inline(__always)
  private static func key(tail: UInt32, count: Int) -> UInt32 {
    (tail | fold) &+ 8 &* UInt32(truncatingIfNeeded: count)
  }

  @inline(__always)
  private static func slot(_ key: UInt32, _ multiplier: UInt32) -> Int {
    Int(truncatingIfNeeded: (key &* multiplier) >> 23)
  }

  /// Writes the ``byteCount`` bytes of the table to `target`, so that whoever reads it all the time takes no reference.
  func copy(to target: UnsafeMutableRawPointer) {
    unsafe memory.withUnsafeBytes { unsafe target.copyMemory(from: $0.baseAddress!, byteCount: Self.byteCount) }
  }

  /// The raw value of the only known name that the name of `count` bytes at `name` may be, or 0 where there is none.
  ///
  /// `table` points to the bytes of a table. From four bytes before `name` to sixteen behind its first and last byte,
  /// memory must be readable, and a colon must stand behind it.
  @unsafe
  @inline(__always)
  static func candidate(_ name: UnsafePointer<UInt8>, count: Int, in table: UnsafeRawPointer) -> UInt8 {
    let tail = unsafe UInt32(littleEndian: UnsafeRawPointer(name + (count &- 4)).loadUnaligned(as: UInt32.self))
    let multiplier = unsafe UInt32(littleEndian: (table + multiplierOffset).load(as: UInt32.self))
    // 9 bits are below the count of slots; what they hold are raw values, which are below the count of entries.
    return unsafe table.load(
      fromByteOffset: slotsOffset &+ slot(key(tail: tail, count: count), multiplier), as: UInt8.self)
  }

  /// Whether the name at `name` is `candidate`, if it has at most 15 bytes; of longer ones this looks at the first 16.
  /// False for 0.
  @unsafe
  @inline(__always)
  static func isShort(_ candidate: UInt8, _ name: UnsafePointer<UInt8>, in table: UnsafeRawPointer) -> Bool {
    let entry = unsafe table + Int(candidate) &* entryBytes
    // The colon is part of the comparison, and so is the length. The entry behind free slots equals nothing.
    let absent = unsafe UInt32(littleEndian: (entry + absentOffset).load(as: UInt32.self))
    return unsafe sluice_folded_equal16(name, entry) | absent == 0xffff
  }

  /// The raw value of the name of `count` bytes at `name`, or 0; requirements as for ``candidate(_:count:in:)``.
  @unsafe
  static func find(_ name: UnsafePointer<UInt8>, count: Int, in table: UnsafeRawPointer) -> UInt8 {
    let found = unsafe candidate(name, count: count, in: table)
    guard unsafe isShort(found, name, in: table) else { return 0 }
    let entry = unsafe table + Int(found) &* entryBytes
    if unsafe UInt32(littleEndian: (entry + countOffset).load(as: UInt32.self)) != UInt32(truncatingIfNeeded: count) {
      return 0
    }
    if count > 16, unsafe sluice_folded_equal16(name + (count &- 16), entry + lastOffset) != 0xffff { return 0 }
    return found
  }

  /// The name with this spelling in any case, or `.other`.
  func find(_ name: RawSpan) -> FieldName {
    let count = name.byteCount
    guard count > 0, count <= Self.longest else { return .other }
    // A line's end, the name, its colon, and room for vectors that overshoot.
    var line = InlineArray<64, UInt8>(repeating: 0)
    for index in 0..<4 { line[index] = Self.lineEnd[index] }
    for index in 0..<count {
      let byte = name[byte: index]
      if byte < 0x20 { return .other }
      line[4 + index] = byte
    }
    line[4 + count] = UInt8(ascii: ":")
    let found = unsafe memory.withUnsafeBytes { table in
      // 4 + 32 bytes, the colon and 16 behind them fit the line.
      unsafe line.span.withUnsafeBufferPointer {
        unsafe Self.find($0.baseAddress! + 4, count: count, in: table.baseAddress!)
      }
    }
    return FieldName(rawValue: found) ?? .other
  }
}
