import Core

// Field blocks (RFC 7541 section 6), one at a time and whole.
//
// Whatever a block holds, each of its bytes costs a bounded number of instructions: integers end after five bytes, strings
// cannot be longer than the block, and what small references can blow up is counted before it is handed on.

/// Decodes field blocks of one direction of one connection.
@safe
public struct HPACKDecoder: ~Copyable {
  private var table: HPACKTable
  /// What SETTINGS_HEADER_TABLE_SIZE says.
  private let tableBytes: Int

  /// A decoder whose peer was told that its table may have `tableBytes`, at most 16,384.
  public init(tableBytes: Int = 4_096) {
    self.tableBytes = tableBytes
    table = HPACKTable(limit: tableBytes)
  }

  /// Bytes allocated for the dynamic table.
  public var footprint: Int { table.footprint }
  /// How many entries the dynamic table has.
  public var entryCount: Int { table.count }
  /// Bytes in the dynamic table, as RFC 7541 section 4.1 counts them.
  public var tableSize: Int { table.size }

  /// Changes of the dynamic table so far, modulo 2^32.
  var changes: UInt32 { table.changes }

  /// What is counted while a block is decoded.
  private struct Tally {
    var listBytes = 0
    var fieldCount = 0
    var exceeded: HTTP2Limit?
    var hasField = false
    var isBomb = false
  }

  /// Hands the fields of `block` to `sink`, in their order.
  public mutating func decode(
    _ block: RawSpan, limits: HPACKLimits, with workspace: HPACKWorkspace, to sink: inout some HPACKSink & ~Copyable
  ) -> HPACKOutcome {
    let scratch = workspace.scratch
    var literal = HPACKField(kind: .plain, isValueSound: true, nameBytes: 0, valueBytes: 0)
    var tally = Tally()
    var index = 0
    let count = block.byteCount
    while index < count {
      let first = block[byte: index]
      if first & 0x80 != 0 {
        let number = Self.integer(block, &index, prefix: 0x7f)
        if number < 0 { return .malformed(Self.fault(number)) }
        let isKnown = lookUp(number, workspace) { field, line in
          if Self.count(field, &tally, limits) { sink.take(field, line: line) }
        }
        if !isKnown { return .malformed(.indexOutOfRange) }
        tally.hasField = true
      } else if first & 0xe0 == 0x20 {
        if tally.hasField { return .malformed(.lateSizeUpdate) }
        let size = Self.integer(block, &index, prefix: 0x1f)
        if size < 0 { return .malformed(Self.fault(size)) }
        if size > tableBytes { return .malformed(.sizeUpdateTooLarge) }
        table.setLimit(size)
      } else {
        let isIndexed = first & 0x40 != 0
        if let fault = readLiteral(block, &index, prefix: isIndexed ? 0x3f : 0x0f, workspace, &literal) {
          return .malformed(fault)
        }
        if Self.count(literal, &tally, limits) { sink.take(literal, line: scratch.bytes) }
        if isIndexed { table.insert(scratch.bytes, literal) }
        tally.hasField = true
      }
      if tally.isBomb { return .bomb }
    }
    return tally.exceeded.map { .exceeded($0) } ?? .complete
  }

  /// Counts a field; whether it is still within the limits.
  @inline(__always)
  private static func count(_ field: HPACKField, _ tally: inout Tally, _ limits: HPACKLimits) -> Bool {
    tally.listBytes &+= field.accountedBytes
    tally.fieldCount &+= 1
    if tally.listBytes <= limits.listBytes && tally.fieldCount <= limits.fieldCount { return true }
    exceed(&tally, limits)
    return false
  }

  @inline(never)
  private static func exceed(_ tally: inout Tally, _ limits: HPACKLimits) {
    if tally.exceeded == nil { tally.exceeded = tally.listBytes > limits.listBytes ? .headerListBytes : .fieldCount }
    tally.isBomb =
      tally.listBytes > limits.listBytes &* HPACKLimits.bombFactor
      || tally.fieldCount > limits.fieldCount &* HPACKLimits.bombFactor
  }

  /// Lends the entry at `index` of both tables together (RFC 7541 section 2.3.3); false where there is none.
  @inline(__always)
  private func lookUp(_ index: Int, _ workspace: HPACKWorkspace, _ body: (HPACKField, RawSpan) -> Void) -> Bool {
    if index == 0 { return false }
    if index <= HPACKStaticTable.count {
      let statics = workspace.statics
      let entry = statics.entry(index)
      body(entry.field, statics.line(entry))
      return true
    }
    let dynamic = index &- HPACKStaticTable.count &- 1
    if dynamic >= table.count { return false }
    let entry = table.entry(dynamic)
    body(entry.field, table.line(entry))
    return true
  }

  /// Reads a literal field (RFC 7541 section 6.2) and leaves its line in the workspace's scratch memory.
  private func readLiteral(
    _ block: RawSpan, _ index: inout Int, prefix: UInt8, _ workspace: HPACKWorkspace, _ field: inout HPACKField
  ) -> HPACKFault? {
    let scratch = workspace.scratch
    scratch.removeAll()
    let nameIndex = Self.integer(block, &index, prefix: prefix)
    if nameIndex < 0 { return Self.fault(nameIndex) }
    if nameIndex == 0 {
      if let fault = readString(block, &index, workspace.huffman, scratch) { return fault }
      field.kind = HPACKFieldKind.of(scratch.bytes)
    } else {
      let isKnown = lookUp(nameIndex, workspace) { named, line in
        unsafe scratch.append(line.extracting(unchecked: 0..<named.nameCount))
        field.kind = named.kind
      }
      if !isKnown { return .indexOutOfRange }
    }
    let nameCount = scratch.count
    scratch.append(": ")
    if let fault = readString(block, &index, workspace.huffman, scratch) { return fault }
    let valueStart = nameCount &+ 2
    field.nameBytes = UInt32(truncatingIfNeeded: nameCount)
    field.valueBytes = UInt32(truncatingIfNeeded: scratch.count &- valueStart)
    // A buffer has its slack behind the last byte.
    field.isValueSound = unsafe HPACKField.isSound(scratch.bytes.extracting(valueStart..<scratch.count))
    scratch.append("\r\n")
    return nil
  }

  /// Reads a string (RFC 7541 section 5.2).
  private func readString(
    _ block: RawSpan, _ index: inout Int, _ huffman: borrowing HPACKHuffman, _ target: ByteBuffer
  ) -> HPACKFault? {
    if index >= block.byteCount { return .truncated }
    let isEncoded = block[byte: index] & 0x80 != 0
    let count = Self.integer(block, &index, prefix: 0x7f)
    if count < 0 { return Self.fault(count) }
    if count > block.byteCount &- index { return .truncated }
    let bytes = unsafe block.extracting(unchecked: Range(uncheckedBounds: (index, index &+ count)))
    index &+= count
    if !isEncoded {
      target.append(bytes)
      return nil
    }
    return huffman.decode(bytes, to: target) ? nil : .malformedHuffman
  }

  /// Octets of an integer behind its prefix.
  private static let integerOctets = 4

  /// What ``integer(_:_:prefix:)`` returns where there is none.
  private static let cutShort = -1
  private static let tooLarge = -2

  private static func fault(_ result: Int) -> HPACKFault { result == cutShort ? .truncated : .integerTooLarge }

  /// Reads an integer (RFC 7541 section 5.1), and leaves `index` behind it; negative where it is cut short or too large.
  @inline(__always)
  private static func integer(_ block: RawSpan, _ index: inout Int, prefix: UInt8) -> Int {
    let first = block[byte: index] & prefix
    index &+= 1
    if first != prefix { return Int(first) }
    return longInteger(block, &index, prefix: prefix)
  }

  @inline(never)
  private static func longInteger(_ block: RawSpan, _ index: inout Int, prefix: UInt8) -> Int {
    var value = 0
    for octet in 0..<integerOctets {
      if index >= block.byteCount { return cutShort }
      let byte = block[byte: index]
      index &+= 1
      value |= Int(byte & 0x7f) << (7 * octet)
      if byte & 0x80 == 0 { return value + Int(prefix) }
    }
    return tooLarge
  }
}
