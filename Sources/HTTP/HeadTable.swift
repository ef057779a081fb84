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

  // One block of memory, its parts at fixed offsets, each at a multiple of its alignment; all hold plain data. The
  // tables are copies of `FieldNameTable`'s and of the byte classes, so that reading them takes no reference.
  private let memory: UnsafeMutableRawPointer

  private static let nameCount = 64
  private static let wordsOffset = 64
  private static let lastOffset = wordsOffset + nameCount * FieldNameTable.entryWords * 8
  private static let slotsOffset = lastOffset + nameCount * 2
  private static let classesOffset = slotsOffset + FieldNameTable.slotCount
  private static let fieldsOffset = classesOffset + 256
  private static let byteCount = fieldsOffset + HeadLimits.maximumFieldCount * 16

  @inline(__always)
  private var summary: UnsafeMutablePointer<Summary> { unsafe memory.assumingMemoryBound(to: Summary.self) }
  @inline(__always)
  private var words: UnsafeMutablePointer<UInt64> {
    unsafe (memory + Self.wordsOffset).assumingMemoryBound(to: UInt64.self)
  }
  /// For each name that is present, the index of its last field.
  @inline(__always)
  private var last: UnsafeMutablePointer<UInt16> {
    unsafe (memory + Self.lastOffset).assumingMemoryBound(to: UInt16.self)
  }
  @inline(__always)
  private var slots: UnsafeMutablePointer<UInt8> {
    unsafe (memory + Self.slotsOffset).assumingMemoryBound(to: UInt8.self)
  }
  @inline(__always)
  private var classes: UnsafeMutablePointer<UInt8> {
    unsafe (memory + Self.classesOffset).assumingMemoryBound(to: UInt8.self)
  }
  @inline(__always)
  private var fields: UnsafeMutablePointer<HeadField> {
    unsafe (memory + Self.fieldsOffset).assumingMemoryBound(to: HeadField.self)
  }

  init() {
    let names = FieldNameTable.shared
    precondition(MemoryLayout<HeadField>.stride == 16 && FieldName.allCases.count <= Self.nameCount)
    unsafe memory = UnsafeMutableRawPointer.allocate(byteCount: Self.byteCount, alignment: 64)
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.fieldsOffset)
    unsafe summary.initialize(to: Summary())
    for (index, word) in names.words.enumerated() { unsafe (words + index).initialize(to: word) }
    for (index, slot) in names.slots.enumerated() { unsafe (slots + index).initialize(to: slot) }
    for byte in 0..<256 { unsafe (classes + byte).initialize(to: ByteClass.of(UInt8(byte)).rawValue) }
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

  /// The index of the first field called `name`; O(1) unless it is repeated.
  @inline(__always)
  func firstIndex(of name: FieldName) -> Int? {
    if !isPresent(name) { return nil }
    return isRepeated(name) ? scanForIndex(of: name, from: 0) : Int(unsafe last[Int(name.rawValue & 63)])
  }

  /// The index of the next field called `name` behind `index`; O(1) where the name occurs once.
  @inline(__always)
  func nextIndex(of name: FieldName, after index: Int) -> Int? {
    isRepeated(name) ? scanForIndex(of: name, from: index &+ 1) : nil
  }

  private func scanForIndex(of name: FieldName, from start: Int) -> Int? {
    for index in start..<max(start, fieldCount) where self[index].name == name { return index }
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
  func scan(_ window: borrowing HeadWindow, from start: Int, _ cursor: LineCursor, limit: Int) -> Int {
    var cursor = cursor
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
      var isDropped = false
      if name == 0 {
        // Letters, digits and dashes make a token; only stranger names are looked at byte by byte.
        let clean = min(window.hostStop16(lineStart).trailingZeroBitCount, 16)
        if clean < colon &- lineStart || colon == lineStart {
          let fault = checkName(window, lineStart, upTo: colon)
          if fault < 0 { return fault }
        }
        let underscores = window.equal16(lineStart, 95)
        if underscores != 0 || colon &- lineStart > 16 { isDropped = isLookalike(window, lineStart, upTo: colon) }
      }
      // Nearly always one space stands before the value and none behind it.
      var valueStart = colon &+ 2
      let lead = window.word(colon &+ 1)
      if lead & 0xff != 32 || lead & 0xff00 <= 0x2000 { valueStart = skipBlanks(window, colon &+ 1) }
      var valueEnd = end
      if window.byte(end &- 1) <= 32 { valueEnd = dropBlanks(window, valueStart, end) }
      let bit: UInt64 = 1 &<< UInt64(name)
      unsafe last[Int(name & 63)] = UInt16(truncatingIfNeeded: count)
      repeated |= presence & bit
      presence |= bit
      // `count` is below `limit`, and that at most the reserved count; `name` is a raw value from the table.
      unsafe (fields + count).initialize(
        to: HeadField(
          nameStart: UInt32(truncatingIfNeeded: lineStart), valueStart: UInt32(truncatingIfNeeded: valueStart),
          valueCount: UInt32(truncatingIfNeeded: valueEnd &- valueStart),
          nameCount: UInt16(truncatingIfNeeded: colon &- lineStart),
          name: unsafeBitCast(name, to: FieldName.self), isDropped: isDropped))
      count &+= 1
      lineStart = end &+ 2
    }
  }

  /// The raw value of the known name at `start`, or 0; see ``FieldNameTable``.
  @inline(__always)
  private func find(_ window: borrowing HeadWindow, _ start: Int, count: Int) -> UInt8 {
    // The hash and the raw values in the table keep every index below the counts reserved.
    FieldNameTable.find(
      count: count, word: { window.word(start &+ $0) }, slots: { unsafe slots[$0] }, words: { unsafe words[$0] })
  }

  /// Whether an unknown name is a known one to whoever takes `_` for `-`, as CGI and its heirs do: `X_Forwarded_For` must
  /// not carry what `X-Forwarded-For` may not. nginx drops every name with an underscore; these are enough.
  @inline(never)
  private func isLookalike(_ window: borrowing HeadWindow, _ start: Int, upTo colon: Int) -> Bool {
    guard colon &- start <= FieldNameTable.longest else { return false }
    var name = InlineArray<32, UInt8>(repeating: 0)
    var hasUnderscore = false
    for index in start..<colon {
      let byte = window.byte(index)
      if byte == 95 { hasUnderscore = true }
      name[index &- start] = byte == 95 ? 45 : byte
    }
    guard hasUnderscore else { return false }
    // `name` outlives the span, and all of its bytes are initialised.
    return FieldName.of(unsafe name.span.bytes.extracting(0..<colon &- start)) != .other
  }

  /// The first byte from `start` on that is no space or tab; a CR ends every line.
  private func skipBlanks(_ window: borrowing HeadWindow, _ start: Int) -> Int {
    var index = start
    while case let byte = window.byte(index), byte == 32 || byte == 9 { index &+= 1 }
    return index
  }

  private func dropBlanks(_ window: borrowing HeadWindow, _ start: Int, _ end: Int) -> Int {
    var index = end
    while index > start, case let byte = window.byte(index &- 1), byte == 32 || byte == 9 { index &-= 1 }
    return index
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
