import CLinux
import Core

/// The fields of one head as plain data, in memory reserved once: what request and response heads share.
///
/// Nothing here retains, allocates or branches on anything but the bytes while a head is parsed.
@safe
struct HeadTable: ~Copyable {
  /// What is known of the fields together.
  struct Summary: BitwiseCopyable {
    var fieldCount = 0
    /// A bit for each ``FieldName`` that occurs.
    var presence: UInt64 = 0
    /// A bit for each that occurs more than once.
    var repeated: UInt64 = 0
  }

  private let memory: UnsafeMutableRawPointer
  private let summary: UnsafeMutablePointer<Summary>
  private let fields: UnsafeMutablePointer<HeadField>
  /// For each name that is present, the index of its first field.
  private let first: UnsafeMutablePointer<UInt16>
  /// Copies of ``FieldNameTable`` and of the byte classes, so that reading them takes no reference.
  private let words: UnsafeMutablePointer<UInt64>
  private let slots: UnsafeMutablePointer<UInt8>
  private let classes: UnsafeMutablePointer<UInt8>

  init() {
    let names = FieldNameTable.shared
    let fieldBytes = MemoryLayout<HeadField>.stride * HeadLimits.maximumFieldCount
    let wordBytes = names.words.count * 8
    let total = 64 + fieldBytes + 128 + wordBytes + FieldNameTable.slotCount + 256
    unsafe memory = UnsafeMutableRawPointer.allocate(byteCount: total, alignment: 64)
    // The parts follow one another, each at a multiple of its alignment; all hold plain data.
    unsafe summary = memory.bindMemory(to: Summary.self, capacity: 1)
    unsafe summary.initialize(to: Summary())
    unsafe words = (memory + 64).bindMemory(to: UInt64.self, capacity: names.words.count)
    for (index, word) in names.words.enumerated() { unsafe (words + index).initialize(to: word) }
    unsafe first = (memory + 64 + wordBytes).bindMemory(to: UInt16.self, capacity: 64)
    unsafe first.initialize(repeating: 0, count: 64)
    unsafe slots = (memory + 192 + wordBytes).bindMemory(to: UInt8.self, capacity: FieldNameTable.slotCount)
    for (index, slot) in names.slots.enumerated() { unsafe (slots + index).initialize(to: slot) }
    unsafe classes = (memory + 192 + wordBytes + FieldNameTable.slotCount).bindMemory(to: UInt8.self, capacity: 256)
    for byte in 0..<256 { unsafe (classes + byte).initialize(to: ByteClass.of(UInt8(byte)).rawValue) }
    unsafe fields = (memory + 448 + wordBytes + FieldNameTable.slotCount)
      .bindMemory(to: HeadField.self, capacity: HeadLimits.maximumFieldCount)
  }

  deinit { unsafe memory.deallocate() }

  @inline(__always)
  var fieldCount: Int { unsafe summary.pointee.fieldCount }
  @inline(__always)
  var presence: UInt64 { unsafe summary.pointee.presence }
  @inline(__always)
  var repeated: UInt64 { unsafe summary.pointee.repeated }

  /// The bit of `name` in ``presence`` and ``repeated``.
  @inline(__always)
  static func bit(_ name: FieldName) -> UInt64 { 1 &<< UInt64(name.rawValue) }

  @inline(__always)
  func isPresent(_ name: FieldName) -> Bool { presence & Self.bit(name) != 0 }

  @inline(__always)
  func isRepeated(_ name: FieldName) -> Bool { repeated & Self.bit(name) != 0 }

  @inline(__always)
  subscript(index: Int) -> HeadField {
    precondition(index >= 0 && index < fieldCount)
    return unsafe fields[index]
  }

  @inline(__always)
  func drop(_ index: Int) {
    precondition(index >= 0 && index < fieldCount)
    unsafe fields[index].isDropped = true
  }

  /// Drops every field of a name that is present.
  func dropAll(_ name: FieldName) {
    var index = firstIndex(of: name)
    while let found = index {
      drop(found)
      index = nextIndex(of: name, after: found)
    }
  }

  /// The index of the first field called `name`; O(1).
  @inline(__always)
  func firstIndex(of name: FieldName) -> Int? {
    isPresent(name) ? Int(unsafe first[Int(name.rawValue & 63)]) : nil
  }

  /// The index of the next field called `name` behind `index`; O(1) where the name occurs once.
  @inline(__always)
  func nextIndex(of name: FieldName, after index: Int) -> Int? {
    guard isRepeated(name) else { return nil }
    var next = index &+ 1
    while next < fieldCount {
      if self[next].name == name { return next }
      next &+= 1
    }
    return nil
  }

  /// The index of the first field whose name, folded to lower case, is `name`.
  func firstIndex(named name: RawSpan, in bytes: RawSpan, after index: Int = -1) -> Int? {
    var next = index + 1
    search: while next < fieldCount {
      let field = self[next]
      next += 1
      guard Int(field.nameCount) == name.byteCount else { continue }
      for offset in 0..<name.byteCount {
        let found = bytes[byte: Int(field.nameStart) + offset]
        if (found >= 65 && found <= 90 ? found | 0x20 : found) != name[byte: offset] { continue search }
      }
      return next - 1
    }
    return nil
  }

  @inline(__always)
  func isClass(_ byte: UInt8, _ wanted: ByteClass) -> Bool { unsafe classes[Int(byte)] & wanted.rawValue != 0 }

  /// Reads field lines from `start` up to the empty line. The result is the count of bytes up to and with that line, or
  /// negative as ``LineCursor`` has it.
  @inline(__always)
  func scan(_ window: borrowing HeadWindow, from start: Int, _ cursor: inout LineCursor, limit: Int) -> Int {
    var lineStart = start
    var count = 0
    var presence: UInt64 = 0
    var repeated: UInt64 = 0
    while true {
      let end = cursor.next(window, notBeyond: .max)
      if end < 0 { return end }
      if end == lineStart {
        unsafe summary.pointee = Summary(fieldCount: count, presence: presence, repeated: repeated)
        return end &+ 2
      }
      if count == limit { return LineCursor.refusal(.tooManyFields) }
      var colon = lineStart
      while true {
        let found = window.equal16(colon, 58)
        if found != 0 {
          colon &+= found.trailingZeroBitCount
          break
        }
        colon &+= 16
        if colon >= end { break }
      }
      if colon >= end { return LineCursor.refusal(lineWithoutColon(window, lineStart)) }
      let name = find(window, lineStart, count: colon &- lineStart)
      if name == 0 {
        let fault = checkName(window, lineStart, upTo: colon)
        if fault < 0 { return fault }
      }
      var valueStart = colon &+ 1
      // The byte at `end` is a CR, so both loops stop.
      while window.byte(valueStart) == 32 || window.byte(valueStart) == 9 { valueStart &+= 1 }
      var valueEnd = end
      while valueEnd > valueStart, window.byte(valueEnd &- 1) == 32 || window.byte(valueEnd &- 1) == 9 {
        valueEnd &-= 1
      }
      let bit: UInt64 = 1 &<< UInt64(name)
      if presence & bit == 0 { unsafe first[Int(name & 63)] = UInt16(truncatingIfNeeded: count) }
      repeated |= presence & bit
      presence |= bit
      // `count` is below `limit`, and that at most the reserved count; `name` is a raw value from the table.
      unsafe (fields + count).initialize(
        to: HeadField(
          nameStart: UInt32(truncatingIfNeeded: lineStart), valueStart: UInt32(truncatingIfNeeded: valueStart),
          valueCount: UInt32(truncatingIfNeeded: valueEnd &- valueStart),
          nameCount: UInt16(truncatingIfNeeded: colon &- lineStart),
          name: unsafeBitCast(name, to: FieldName.self), isDropped: false))
      count &+= 1
      lineStart = end &+ 2
    }
  }

  /// The raw value of the known name at `start`, or 0; see ``FieldNameTable``.
  @inline(__always)
  private func find(_ window: borrowing HeadWindow, _ start: Int, count: Int) -> UInt8 {
    if count > FieldNameTable.wordLimit * 8 || count == 0 { return 0 }
    var head = window.word(start)
    var last: UInt64 = 0
    if count > 8 {
      last = window.word(start &+ count &- 8)
    } else {
      head &= UInt64.max &>> UInt64(64 &- 8 &* count)
    }
    var slot = FieldNameTable.hash(count: count, first: head, last: last)
    while case let name = unsafe slots[slot], name != 0 {
      let entry = unsafe words + Int(name) &* FieldNameTable.entryWords
      if unsafe entry[12] == UInt64(count) {
        var differs = unsafe ((head | entry[0]) & entry[4]) ^ entry[8]
        var index = 1
        while index &* 8 < count {
          unsafe differs |= ((window.word(start &+ index &* 8) | entry[index]) & entry[index &+ 4]) ^ entry[index &+ 8]
          index &+= 1
        }
        if differs == 0 { return name }
      }
      slot = (slot &+ 1) & (FieldNameTable.slotCount &- 1)
    }
    return 0
  }

  /// 0 if the unknown name is a token, else the refusal.
  private func checkName(_ window: borrowing HeadWindow, _ start: Int, upTo colon: Int) -> Int {
    var index = start
    while index < colon, isClass(window.byte(index), .token) { index &+= 1 }
    if index == colon {
      return colon == start || colon &- start > Int(UInt16.max) ? LineCursor.refusal(.malformedFieldName) : 0
    }
    let byte = window.byte(index)
    if byte == 32 || byte == 9 {
      if index == start { return LineCursor.refusal(.lineFolding) }
      var rest = index
      while rest < colon, window.byte(rest) == 32 || window.byte(rest) == 9 { rest &+= 1 }
      if rest == colon { return LineCursor.refusal(.whitespaceBeforeColon) }
    }
    return LineCursor.refusal(.malformedFieldName)
  }

  private func lineWithoutColon(_ window: borrowing HeadWindow, _ start: Int) -> HTTPFault {
    window.byte(start) == 32 || window.byte(start) == 9 ? .lineFolding : .missingColon
  }
}
