import Core

// A dynamic table (RFC 7541 section 2.3.2), of a decoder or an encoder.
//
// Entries are kept as the field lines of HTTP/1.1, `name: value` and a CRLF, because that is what they are needed as: an
// indexed field is one copy. What the standard counts for an entry is 28 bytes more than a line has, so that the lines fit
// where the table does. The bytes are a queue: new lines come in at the back, old ones go at the front. Nothing is
// allocated before the first entry.

/// A first-in, first-out table of field lines.
@safe
struct HPACKTable: ~Copyable {
  /// One field line.
  struct Entry: BitwiseCopyable {
    /// Where the line begins, counted from the first byte that was ever put into the table, modulo 2^32.
    var position: UInt32 = 0
    var nameCount: UInt16 = 0
    var valueCount: UInt16 = 0
    /// What stands for the name where that is a known one; encoders only.
    var identity: UInt16 = 0
    var kind = HPACKFieldKind.plain
    var isValueSound = true
    /// Which entry of the static table it is; 0 in other tables.
    var staticIndex: UInt8 = 0

    @inline(__always)
    var field: HPACKField {
      HPACKField(
        kind: kind, isValueSound: isValueSound, staticIndex: staticIndex, nameBytes: UInt32(nameCount),
        valueBytes: UInt32(valueCount))
    }
    @inline(__always)
    var lineCount: Int { Int(nameCount) &+ Int(valueCount) &+ HPACKField.extra }
    @inline(__always)
    var accountedBytes: Int { Int(nameCount) &+ Int(valueCount) &+ 32 }
  }

  /// No table may be larger; lengths within an entry fit sixteen bits.
  static let largest = 16_384

  private var lines: ByteBuffer?
  /// A ring; its count is 0 or a power of two.
  private var entries: ContiguousArray<Entry> = []
  /// Where in the ring the newest entry stands.
  private var newest = 0
  /// How many entries there are.
  private(set) var count = 0
  /// How many entries have ever been put into the table, modulo 2^32.
  private(set) var inserted: UInt32 = 0
  /// Changes since the beginning, modulo 2^32: while it stays the same, an index means the same, and so does ``limit``.
  private(set) var changes: UInt32 = 0
  /// Bytes ever dropped at the front, modulo 2^32.
  private var dropped: UInt32 = 0
  /// Bytes as the standard counts them.
  private(set) var size = 0
  /// What ``size`` may be.
  private(set) var limit: Int

  init(limit: Int) {
    precondition(limit >= 0 && limit <= Self.largest)
    self.limit = limit
  }

  /// Bytes allocated.
  var footprint: Int {
    (lines.map { $0.capacity + ByteBuffer.slack } ?? 0) + entries.capacity * MemoryLayout<Entry>.stride
  }

  /// The entry at `index`, 0 for the newest; it must exist.
  @inline(__always)
  func entry(_ index: Int) -> Entry {
    precondition(UInt(bitPattern: index) < UInt(bitPattern: count))
    return entries[(newest &- index) & (entries.count &- 1)]
  }

  /// The line of an entry of this table, valid until the table changes.
  @inline(__always)
  @_lifetime(borrow self)
  func line(_ entry: Entry) -> RawSpan {
    guard let lines else { return RawSpan() }
    let start = Int(entry.position &- dropped)
    let all = lines.bytes
    let end = start &+ entry.lineCount
    precondition(start >= 0 && end <= all.byteCount)
    let span = unsafe all.extracting(unchecked: Range(uncheckedBounds: (start, end)))
    // The buffer lives as long as `self`, and changes only when `self` does.
    return unsafe _overrideLifetime(span, borrowing: self)
  }

  /// Puts a line in front of all others, and drops old ones until it fits; one that can never fit empties the table
  /// (RFC 7541 section 4.4). Returns whether it is in the table.
  @discardableResult
  mutating func insert(_ line: RawSpan, _ field: HPACKField, identity: UInt16 = 0) -> Bool {
    let needed = field.accountedBytes
    if needed > limit {
      removeAll()
      return false
    }
    while size &+ needed > limit { dropOldest() }
    let lines = self.lines ?? makeLines()
    if count == entries.count { growRing() }
    newest = (newest &+ 1) & (entries.count &- 1)
    entries[newest] = Entry(
      position: dropped &+ UInt32(truncatingIfNeeded: lines.count),
      nameCount: UInt16(truncatingIfNeeded: field.nameCount), valueCount: UInt16(truncatingIfNeeded: field.valueCount),
      identity: identity, kind: field.kind, isValueSound: field.isValueSound)
    lines.append(line)
    count &+= 1
    inserted &+= 1
    changes &+= 1
    size &+= needed
    return true
  }

  /// Changes what the table may hold (RFC 7541 section 4.3).
  mutating func setLimit(_ bytes: Int) {
    precondition(bytes >= 0 && bytes <= Self.largest)
    limit = bytes
    changes &+= 1
    while size > limit { dropOldest() }
  }

  /// Drops all entries and their memory.
  mutating func removeAll() {
    if let lines { dropped &+= UInt32(truncatingIfNeeded: lines.count) }
    lines = nil
    entries = []
    newest = 0
    count = 0
    size = 0
    changes &+= 1
  }

  private mutating func dropOldest() {
    let oldest = entry(count &- 1)
    lines?.consume(oldest.lineCount)
    dropped &+= UInt32(truncatingIfNeeded: oldest.lineCount)
    changes &+= 1
    count &-= 1
    size &-= oldest.accountedBytes
  }

  @inline(never)
  private mutating func makeLines() -> ByteBuffer {
    let buffer = ByteBuffer(capacity: 256)
    lines = buffer
    return buffer
  }

  @inline(never)
  private mutating func growRing() {
    var larger = ContiguousArray(repeating: Entry(), count: max(8, entries.count * 2))
    // The oldest goes to the front.
    for index in 0..<count { larger[count - 1 - index] = entry(index) }
    entries = larger
    newest = count - 1
    if count == 0 { newest = entries.count - 1 }
  }
}
