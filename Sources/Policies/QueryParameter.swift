import Core

/// A parameter found in a query.
struct QueryParameter {
  /// Where its value is.
  let value: Range<Int>
  /// What must be cut out to remove it: the parameter and one of the separators next to it.
  let removal: Range<Int>
  /// Whether it occurs more than once.
  var isRepeated: Bool

  /// Finds the parameter `name`, which holds no escapes, in `query`.
  static func find(_ name: RawSpan, in query: RawSpan) -> QueryParameter? {
    var found: QueryParameter?
    var start = 0
    while start <= query.byteCount {
      var end = start
      while end < query.byteCount && query[byte: end] != 38 { end += 1 }
      if let value = value(of: name, in: query, start..<end) {
        if found != nil {
          found?.isRepeated = true
          return found
        }
        let removal = end < query.byteCount ? start..<(end + 1) : max(0, start - 1)..<end
        found = QueryParameter(value: value, removal: removal, isRepeated: false)
      }
      start = end + 1
    }
    return found
  }

  private static func value(of name: RawSpan, in query: RawSpan, _ range: Range<Int>) -> Range<Int>? {
    guard range.count > name.byteCount, query[byte: range.lowerBound + name.byteCount] == 61 else { return nil }
    for offset in 0..<name.byteCount where query[byte: range.lowerBound + offset] != name[byte: offset] { return nil }
    return (range.lowerBound + name.byteCount + 1)..<range.upperBound
  }

  /// The bytes that `value` stands for: escapes resolved, `+` a space; nil for a broken escape.
  static func decoded(_ value: RawSpan) -> [UInt8]? {
    var bytes: [UInt8] = []
    var offset = 0
    while offset < value.byteCount {
      let byte = value[byte: offset]
      if byte == 37 {
        guard offset + 2 < value.byteCount, let high = HexadecimalDigit.value(value[byte: offset + 1]),
          let low = HexadecimalDigit.value(value[byte: offset + 2])
        else { return nil }
        bytes.append(high << 4 | low)
        offset += 3
      } else {
        bytes.append(byte == 43 ? 32 : byte)
        offset += 1
      }
    }
    return bytes
  }
}
