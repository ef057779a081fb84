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
  let memory: UnsafeMutableRawPointer

  private static let nameCount = 64
  /// Bytes of one field; those of all of them fit 16 bits.
  static let fieldBytes = 16
  static let namesOffset = 64
  static let lastOffset = namesOffset + FieldNameTable.byteCount
  private static let classesOffset = lastOffset + nameCount * 2
  static let fieldsOffset = classesOffset + 256
  private static let byteCount = fieldsOffset + HeadLimits.maximumFieldCount * fieldBytes

  @inline(__always)
  var summary: UnsafeMutablePointer<Summary> { unsafe memory.assumingMemoryBound(to: Summary.self) }
  /// For each name that is present, where its last field stands in ``fields``, in bytes.
  @inline(__always)
  var last: UnsafeMutablePointer<UInt16> {
    unsafe (memory + Self.lastOffset).assumingMemoryBound(to: UInt16.self)
  }
  @inline(__always)
  private var classes: UnsafeMutablePointer<UInt8> {
    unsafe (memory + Self.classesOffset).assumingMemoryBound(to: UInt8.self)
  }
  @inline(__always)
  var fields: UnsafeMutablePointer<HeadField> {
    unsafe (memory + Self.fieldsOffset).assumingMemoryBound(to: HeadField.self)
  }

  init() {
    precondition(MemoryLayout<HeadField>.stride == Self.fieldBytes && FieldName.allCases.count <= Self.nameCount)
    precondition(HeadLimits.maximumFieldCount * Self.fieldBytes <= Int(UInt16.max))
    precondition(Self.namesOffset % FieldNameTable.alignment == 0 && Self.fieldsOffset % 16 == 0)
    unsafe memory = UnsafeMutableRawPointer.allocate(byteCount: Self.byteCount, alignment: 64)
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.fieldsOffset)
    unsafe summary.initialize(to: Summary())
    unsafe FieldNameTable.shared.copy(to: memory + Self.namesOffset)
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
  static func bit(_ name: FieldName) -> UInt64 { FieldNameSet(name).rawValue }

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

  /// Drops every field of those names.
  @inline(__always)
  func dropAll(_ names: FieldNameSet) {
    if presence & names.rawValue != 0 { dropPresent(names) }
  }

  @inline(never)
  private func dropPresent(_ names: FieldNameSet) {
    for index in 0..<fieldCount where names.contains(FieldNameSet(self[index].name)) { drop(index) }
  }

  /// Appends the field lines that are not dropped, as they stand in `source`. Neighbouring lines go in one copy: the
  /// grammar has been checked, so a line is passed on as it came.
  @inline(never)
  func appendFields(from source: ByteBuffer, to target: ByteBuffer) {
    let bytes = source.bytes
    let count = fieldCount
    var index = 0
    while index < count {
      // Below the count of fields, which are initialised.
      let first = unsafe fields[index]
      index &+= 1
      if first.isDropped { continue }
      while index < count, unsafe !fields[index].isDropped { index &+= 1 }
      let end = unsafe fields[index &- 1].valueRange.end
      // Blanks behind the last value are not passed on.
      let isWhole = bytes.byteCount &- end >= 2 && bytes[byte: end] == 13
      let run = Int(first.nameStart)..<(isWhole ? end &+ 2 : end)
      target.append(bytes.extracting(run))
      if !isWhole { target.append("\r\n") }
    }
  }

  /// The index of the first field called `name`; O(1) unless it is repeated.
  @inline(__always)
  func firstIndex(of name: FieldName) -> Int? {
    if !isPresent(name) { return nil }
    if isRepeated(name) { return scanForIndex(of: name, from: 0) }
    return Int(unsafe last[Int(name.rawValue & 63)]) / Self.fieldBytes
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
}
