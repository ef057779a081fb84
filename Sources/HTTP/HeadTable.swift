import Core

/// The fields of one head as plain data, in memory reserved once: what request and response heads share.
///
/// Nothing here retains, allocates or branches on anything but the bytes while a head is parsed.
@safe
@usableFromInline
struct HeadTable: ~Copyable {
  /// What is known of the fields together.
  @usableFromInline
  struct Summary: BitwiseCopyable {
    @usableFromInline var fieldCount = 0
    /// A bit for each ``FieldName`` that occurs.
    @usableFromInline var presence: UInt64 = 0
    /// A bit for each that occurs more than once.
    @usableFromInline var repeated: UInt64 = 0
  }

  // One block of memory, its parts at fixed offsets, each at a multiple of its alignment; all hold plain data. The
  // tables are copies of `FieldNameTable`'s and of the byte classes, so that reading them takes no reference.
  @usableFromInline let memory: UnsafeMutableRawPointer

  private static let nameCount = 64
  // The summary stands in front.
  private static let summaryBytes = 64
  @inlinable
  static var lastOffset: Int { 64 }
  @inlinable
  static var fieldsOffset: Int { 192 }
  /// Bytes of one field; those of all of them fit 16 bits.
  @inlinable
  static var fieldBytes: Int { 16 }
  static let namesOffset = 192 + HeadLimits.maximumFieldCount * 16
  private static let classesOffset = namesOffset + FieldNameTable.byteCount
  private static let byteCount = classesOffset + 256

  @inlinable
  @inline(__always)
  var summary: UnsafeMutablePointer<Summary> { unsafe memory.assumingMemoryBound(to: Summary.self) }
  /// For each name that is present, where its last field stands in ``fields``, in bytes.
  @inlinable
  @inline(__always)
  var last: UnsafeMutablePointer<UInt16> {
    unsafe (memory + Self.lastOffset).assumingMemoryBound(to: UInt16.self)
  }
  @inline(__always)
  private var classes: UnsafeMutablePointer<UInt8> {
    unsafe (memory + Self.classesOffset).assumingMemoryBound(to: UInt8.self)
  }
  @inlinable
  @inline(__always)
  var fields: UnsafeMutablePointer<HeadField> {
    unsafe (memory + Self.fieldsOffset).assumingMemoryBound(to: HeadField.self)
  }

  init() {
    precondition(MemoryLayout<HeadField>.stride == Self.fieldBytes && FieldName.allCases.count <= Self.nameCount)
    precondition(HeadLimits.maximumFieldCount * Self.fieldBytes <= Int(UInt16.max))
    precondition(MemoryLayout<Summary>.size <= Self.summaryBytes && Self.lastOffset == Self.summaryBytes)
    precondition(Self.fieldsOffset == Self.lastOffset + 2 * Self.nameCount)
    precondition(Self.namesOffset % FieldNameTable.alignment == 0)
    unsafe memory = UnsafeMutableRawPointer.allocate(byteCount: Self.byteCount, alignment: 64)
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: Self.byteCount)
    unsafe summary.initialize(to: Summary())
    unsafe FieldNameTable.shared.copy(to: memory + Self.namesOffset)
    for byte in 0..<256 { unsafe (classes + byte).initialize(to: ByteClass.of(UInt8(byte)).rawValue) }
  }

  @usableFromInline
  deinit { unsafe memory.deallocate() }

  @inlinable
  @inline(__always)
  var fieldCount: Int { unsafe summary.pointee.fieldCount }
  @inlinable
  @inline(__always)
  var presence: UInt64 { unsafe summary.pointee.presence }
  @inlinable
  @inline(__always)
  var repeated: UInt64 { unsafe summary.pointee.repeated }

  /// The bit of `name` in ``presence`` and ``repeated``.
  @inlinable
  @inline(__always)
  static func bit(_ name: FieldName) -> UInt64 { FieldNameSet(name).rawValue }

  @inlinable
  @inline(__always)
  func isPresent(_ name: FieldName) -> Bool { presence & Self.bit(name) != 0 }

  @inlinable
  @inline(__always)
  func isRepeated(_ name: FieldName) -> Bool { repeated & Self.bit(name) != 0 }

  /// The last field called `name`, which must be present.
  @inline(__always)
  func last(of name: FieldName) -> HeadField {
    precondition(isPresent(name))
    // Scanning has put it there: a multiple of a field's bytes, below the count of fields.
    let offset = Int(unsafe last[Int(name.rawValue & 63)])
    return unsafe (memory + Self.fieldsOffset + offset).load(as: HeadField.self)
  }

  @inlinable
  @inline(__always)
  subscript(index: Int) -> HeadField {
    precondition(index >= 0 && index < fieldCount)
    return unsafe fields[index]
  }

  @inlinable
  @inline(__always)
  func drop(_ index: Int) {
    precondition(index >= 0 && index < fieldCount)
    unsafe fields[index].isDropped = true
  }

  /// Takes a drop back.
  func keep(_ index: Int) {
    precondition(index >= 0 && index < fieldCount)
    unsafe fields[index].isDropped = false
  }

  /// Drops the last field called `name`, which must be present.
  @inline(__always)
  func dropLast(of name: FieldName) {
    precondition(isPresent(name))
    // As above.
    let offset = Int(unsafe last[Int(name.rawValue & 63)])
    unsafe (memory + Self.fieldsOffset + offset).assumingMemoryBound(to: HeadField.self).pointee.isDropped = true
  }

  /// Drops every field of those names.
  @inlinable
  @inline(__always)
  func dropAll(_ names: FieldNameSet) {
    if presence & names.rawValue != 0 { dropPresent(names) }
  }

  @inline(never)
  @usableFromInline
  func dropPresent(_ names: FieldNameSet) {
    for index in 0..<fieldCount where names.contains(FieldNameSet(self[index].name)) { drop(index) }
  }

  /// Appends the bytes of `lead`, which end where the first field begins, and the field lines that are not dropped, as
  /// they stand in `bytes`. What is neighbouring goes in one copy: the grammar has been checked, so a line is passed on
  /// as it came.
  @inline(never)
  @usableFromInline
  func appendFields(behind lead: ByteRange, from bytes: RawSpan, to target: ByteBuffer) {
    // From the first field to behind the last, all of them initialised.
    var field = unsafe fields
    let last = unsafe field + fieldCount
    var begin = Int(lead.start)
    var end = lead.end
    while true {
      if unsafe field < last && !field.pointee.isDropped {
        if begin == end { begin = unsafe Int(field.pointee.nameStart) }
        repeat { unsafe field += 1 } while unsafe field < last && !field.pointee.isDropped
        end = unsafe field[-1].valueRange.end
        precondition(begin <= end && end <= bytes.byteCount &- 2)
        // Blanks behind the last value are not passed on.
        let isWhole = unsafe bytes.unsafeLoad(fromUncheckedByteOffset: end, as: UInt8.self) == 13
        end &+= isWhole ? 2 : 0
        unsafe target.append(bytes.extracting(unchecked: Range(uncheckedBounds: (begin, end))))
        if !isWhole { target.append("\r\n") }
      } else if begin < end {
        target.append(bytes.extracting(begin..<end))
      }
      begin = end
      while unsafe field < last && field.pointee.isDropped { unsafe field += 1 }
      if unsafe field >= last { return }
    }
  }

  /// The index of the first field called `name`; O(1) unless it is repeated.
  @inlinable
  @inline(__always)
  func firstIndex(of name: FieldName) -> Int? {
    if !isPresent(name) { return nil }
    if isRepeated(name) { return scanForIndex(of: name, from: 0) }
    return Int(unsafe last[Int(name.rawValue & 63)]) / Self.fieldBytes
  }

  /// The index of the next field called `name` behind `index`; O(1) where the name occurs once.
  @inlinable
  @inline(__always)
  func nextIndex(of name: FieldName, after index: Int) -> Int? {
    isRepeated(name) ? scanForIndex(of: name, from: index &+ 1) : nil
  }

  @usableFromInline
  func scanForIndex(of name: FieldName, from start: Int) -> Int? {
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
