import Core

/// The static table of RFC 7541 appendix A, with its entries as field lines.
@safe
final class HPACKStaticTable {
  /// How many entries there are; indexes begin with 1.
  static let count = 61

  private let lines = ByteBuffer()
  private var entries = InlineArray<62, HPACKTable.Entry>(repeating: HPACKTable.Entry())
  /// For each known field name the first entry that has it, or 0.
  private var indexes = InlineArray<64, UInt8>(repeating: 0)

  init() {
    for (offset, entry) in Self.text.enumerated() {
      let (name, value) = (Array(entry.0.utf8), Array(entry.1.utf8))
      entries[offset + 1] = HPACKTable.Entry(
        position: UInt32(lines.count), nameCount: UInt16(name.count), valueCount: UInt16(value.count),
        kind: HPACKFieldKind.of(RawSpan(name)), staticIndex: UInt8(offset + 1))
      let known = FieldName.of(RawSpan(name))
      if known != .other && indexes[Int(known.rawValue)] == 0 { indexes[Int(known.rawValue)] = UInt8(offset + 1) }
      lines.append(name)
      lines.append(": ")
      lines.append(value)
      lines.append("\r\n")
    }
  }

  /// The entry at `index`, 1 to 61.
  @inline(__always)
  func entry(_ index: Int) -> HPACKTable.Entry {
    precondition(index > 0 && index <= Self.count)
    return entries[index]
  }

  /// The line of an entry of this table.
  @inline(__always)
  @_lifetime(borrow self)
  func line(_ entry: HPACKTable.Entry) -> RawSpan {
    let start = Int(entry.position)
    let lines = lines
    let all = lines.bytes
    let end = start &+ entry.lineCount
    precondition(end <= all.byteCount)
    let span = unsafe all.extracting(unchecked: Range(uncheckedBounds: (start, end)))
    // The buffer lives as long as `self` and never changes.
    return unsafe _overrideLifetime(span, borrowing: self)
  }

  /// The first entry called `name`, or 0.
  @inline(__always)
  func index(of name: FieldName) -> Int { name == .other ? 0 : Int(indexes[Int(name.rawValue & 63)]) }

  private static let text: [(String, String)] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
  ]
}
