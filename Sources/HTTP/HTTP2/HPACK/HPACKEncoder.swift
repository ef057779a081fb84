import Core

// Field blocks towards the peer.
//
// A field gets an entry in the dynamic table when it was sent before, lately: what differs from message to message (a
// date, an identifier) never displaces what does not. Entries are found by a hash of name and value, and confirmed byte by
// byte; before that, a field is compared with the one that stood in its place in the last message, which it nearly always
// is. Huffman coding is spent on what becomes an entry, since that is sent once; what is sent in full each time is sent
// as it is.

/// Encodes field blocks of one direction of one connection.
@safe
public struct HPACKEncoder: ~Copyable {
  /// Bytes that our table has at most, however much the peer would take; entries are found among 64.
  public static let tableBytes = 2_048

  private var table = HPACKTable(limit: tableBytes)
  /// The least that the table was limited to since the last block.
  private var lowest = tableBytes
  /// What the peer takes the limit for; before it is told anything, the default (RFC 9113 section 6.5.2).
  private var announced = 4_096
  /// For a hash, the low bits of the count of entries there were when its entry was inserted, plus one.
  private let slots = Pinned(InlineArray<128, UInt8>(repeating: 0))
  /// The same for the entry that stood at each place in the last message.
  private let places = Pinned(InlineArray<16, UInt8>(repeating: 0))
  private var place = 0

  /// An encoder for a peer that has said nothing yet.
  public init() {}

  /// Bytes allocated for the dynamic table.
  public var footprint: Int { table.footprint }
  /// How many entries the dynamic table has.
  public var entryCount: Int { table.count }

  /// Obeys the peer's SETTINGS_HEADER_TABLE_SIZE.
  public mutating func setAllowedTableBytes(_ bytes: Int) {
    let limit = min(bytes, Self.tableBytes)
    lowest = min(lowest, limit)
    table.setLimit(limit)
  }

  /// Drops the table and its memory; the peer is told with the next block.
  public mutating func shrink() {
    if table.count == 0 { return }
    table.removeAll()
    lowest = 0
  }

  /// Begins a block: tells the peer what changed about the table (RFC 7541 section 4.2).
  @inline(__always)
  public mutating func begin(to target: ByteBuffer) {
    place = 0
    if lowest != announced || table.limit != announced { announceSize(target) }
  }

  @inline(never)
  private mutating func announceSize(_ target: ByteBuffer) {
    if lowest < table.limit && lowest < announced { Self.append(lowest, prefix: 0x1f, flags: 0x20, to: target) }
    if table.limit != announced || lowest < table.limit {
      Self.append(table.limit, prefix: 0x1f, flags: 0x20, to: target)
    }
    announced = table.limit
    lowest = announced
  }

  /// Appends `:status` with three digits.
  public func append(status: Int, to target: ByteBuffer) {
    let index: UInt8 =
      switch status {
      case 200: 8
      case 204: 9
      case 206: 10
      case 304: 11
      case 400: 12
      case 404: 13
      case 500: 14
      default: 0
      }
    if index != 0 {
      target.append(0x80 | index)
      return
    }
    target.append(8)
    target.append(3)
    target.append(decimal: UInt64(truncatingIfNeeded: status))
  }

  /// Appends the entry at `index` of the static table, 1 to 61.
  @inline(__always)
  public func append(staticIndex index: UInt8, to target: ByteBuffer) { target.append(0x80 | index) }

  /// Appends a field. Letters of `name` are folded to lower case; `known` is its identity. A sensitive one is marked as
  /// never to be indexed (RFC 7541 section 7.1.3).
  public mutating func append(
    name: RawSpan, value: RawSpan, known: FieldName, isSensitive: Bool, with workspace: HPACKWorkspace,
    to target: ByteBuffer
  ) {
    let index = workspace.statics.index(of: known)
    // No two messages have the same.
    if known == .xRequestId { return appendLiteral(name, value, index, flags: 0, target) }
    append(
      name: name, value: value, staticIndex: index, identity: known == .other ? 0 : UInt16(known.rawValue) &+ 256,
      isSensitive: isSensitive || Self.sensitive.contains(FieldNameSet(known)), with: workspace, to: target)
  }

  /// Appends a field whose name is that of entry `staticIndex`, or none of the static table where it is 0. `identity`
  /// stands for the name where it is not 0.
  mutating func append(
    name: RawSpan, value: RawSpan, staticIndex: Int, identity: UInt16, isSensitive: Bool,
    with workspace: HPACKWorkspace, to target: ByteBuffer
  ) {
    if isSensitive {
      appendLiteral(name, value, staticIndex, flags: 0x10, target)
      return
    }
    let place = self.place & 15
    self.place = place &+ 1
    // At most 64 entries exist, so eight bits of their sequence tell them apart.
    let expected = Int(UInt8(truncatingIfNeeded: table.inserted) &- places.value[place])
    if expected < table.count, isEntry(expected, identity, name, value) {
      Self.append(HPACKStaticTable.count &+ 1 &+ expected, prefix: 0x7f, flags: 0x80, to: target)
      return
    }
    let hash = HPACKHash.of(name: name, identity: identity, value: value)
    if let found = find(hash, identity, name, value) {
      places.value[place] = UInt8(truncatingIfNeeded: Int(table.inserted) &- found)
      Self.append(HPACKStaticTable.count &+ 1 &+ found, prefix: 0x7f, flags: 0x80, to: target)
      return
    }
    if !workspace.wasSentLately(hash) || name.byteCount &+ value.byteCount &+ 32 > table.limit / 2 {
      appendLiteral(name, value, staticIndex, flags: 0, target)
      return
    }
    insert(name, value, hash, identity, workspace)
    // The folded name stands in front of the scratch line.
    let scratch = workspace.scratch
    appendIndexed(scratch.bytes.extracting(0..<name.byteCount), value, staticIndex, workspace, target)
  }

  /// Names whose values are secrets: an attacker who can add fields to a connection must not find them by the size of
  /// what is sent (RFC 7541 section 7.1).
  static let sensitive: FieldNameSet =
    FieldNameSet(.authorization).union(FieldNameSet(.proxyAuthorization)).union(FieldNameSet(.cookie))
    .union(FieldNameSet(.setCookie)).union(FieldNameSet(.xApiKey))

  /// The index in the dynamic table of the entry with that hash and those bytes.
  @inline(never)
  private func find(_ hash: UInt32, _ identity: UInt16, _ name: RawSpan, _ value: RawSpan) -> Int? {
    let inserted = UInt8(truncatingIfNeeded: table.inserted)
    let first = Int(inserted &- slots.value[Int(hash & 127)])
    if first < table.count, isEntry(first, identity, name, value) { return first }
    let second = Int(inserted &- slots.value[Int(hash >> 7 & 127)])
    return second < table.count && isEntry(second, identity, name, value) ? second : nil
  }

  @inline(__always)
  private func isEntry(_ age: Int, _ identity: UInt16, _ name: RawSpan, _ value: RawSpan) -> Bool {
    let entry = table.entry(age)
    guard entry.identity == identity, Int(entry.valueCount) == value.byteCount,
      Int(entry.nameCount) == name.byteCount
    else { return false }
    let line = table.line(entry)
    if !HPACKHash.isEqual(line, at: name.byteCount &+ 2, value) { return false }
    return identity != 0 || HPACKHash.isEqual(line, at: 0, name) || HPACKHash.isFoldedEqual(line, name)
  }

  private mutating func insert(
    _ name: RawSpan, _ value: RawSpan, _ hash: UInt32, _ identity: UInt16, _ workspace: HPACKWorkspace
  ) {
    let scratch = workspace.scratch
    scratch.removeAll()
    Self.appendFolded(name, scratch)
    scratch.append(": ")
    scratch.append(value)
    scratch.append("\r\n")
    let field = HPACKField(
      kind: .plain, isValueSound: true, nameBytes: UInt32(truncatingIfNeeded: name.byteCount),
      valueBytes: UInt32(truncatingIfNeeded: value.byteCount))
    guard table.insert(scratch.bytes, field, identity: identity) else { return }
    // The second slot where the first belongs to an entry that is still there.
    let first = Int(hash & 127)
    let age = Int(UInt8(truncatingIfNeeded: table.inserted) &- 1 &- slots.value[first])
    let slot = age >= table.count &- 1 ? first : Int(hash >> 7 & 127)
    slots.value[slot] = UInt8(truncatingIfNeeded: table.inserted)
  }

  private func appendLiteral(
    _ name: RawSpan, _ value: RawSpan, _ staticIndex: Int, flags: UInt8, _ target: ByteBuffer
  ) {
    Self.append(staticIndex, prefix: 0x0f, flags: flags, to: target)
    if staticIndex == 0 {
      Self.append(name.byteCount, prefix: 0x7f, flags: 0, to: target)
      Self.appendFolded(name, target)
    }
    Self.append(value.byteCount, prefix: 0x7f, flags: 0, to: target)
    target.append(value)
  }

  @inline(never)
  private func appendIndexed(
    _ name: RawSpan, _ value: RawSpan, _ staticIndex: Int, _ workspace: HPACKWorkspace, _ target: ByteBuffer
  ) {
    Self.append(staticIndex, prefix: 0x3f, flags: 0x40, to: target)
    if staticIndex == 0 { Self.appendString(name, workspace.huffman, target) }
    Self.appendString(value, workspace.huffman, target)
  }

  private static func appendString(_ text: RawSpan, _ huffman: borrowing HPACKHuffman, _ target: ByteBuffer) {
    let encoded = huffman.encodedCount(text)
    if encoded < text.byteCount {
      append(encoded, prefix: 0x7f, flags: 0x80, to: target)
      huffman.encode(text, count: encoded, to: target)
    } else {
      append(text.byteCount, prefix: 0x7f, flags: 0, to: target)
      target.append(text)
    }
  }

  /// Appends a name with its letters in lower case.
  private static func appendFolded(_ name: RawSpan, _ target: ByteBuffer) {
    unsafe target.append(limit: name.byteCount) { memory in
      // Both have `byteCount` bytes; the last word may overlap the one before.
      let count = name.byteCount
      var index = 0
      while index < count, count >= 8 {
        let start = min(index, count &- 8)
        let word = unsafe name.unsafeLoadUnaligned(fromUncheckedByteOffset: start, as: UInt64.self)
        unsafe memory.storeBytes(of: HPACKHash.folded(word), toByteOffset: start, as: UInt64.self)
        index &+= 8
      }
      while index < count {
        let byte = name[byte: index]
        unsafe memory[index] = byte >= 65 && byte <= 90 ? byte | 0x20 : byte
        index &+= 1
      }
      return count
    }
  }

  /// Appends an integer (RFC 7541 section 5.1).
  @inline(__always)
  static func append(_ value: Int, prefix: UInt8, flags: UInt8, to target: ByteBuffer) {
    if value < Int(prefix) {
      target.append(flags | UInt8(truncatingIfNeeded: value))
      return
    }
    appendLong(value, prefix: prefix, flags: flags, to: target)
  }

  @inline(never)
  private static func appendLong(_ value: Int, prefix: UInt8, flags: UInt8, to target: ByteBuffer) {
    target.append(flags | prefix)
    var rest = value - Int(prefix)
    while rest >= 128 {
      target.append(UInt8(rest & 127) | 128)
      rest >>= 7
    }
    target.append(UInt8(rest))
  }
}
