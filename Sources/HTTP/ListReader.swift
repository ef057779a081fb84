import Core

/// The members of a comma-separated list (RFC 9110 section 5.6.1), empty ones skipped, quoted strings respected.
public struct ListReader: ~Escapable {
  private let value: RawSpan
  private let separator: UInt8
  private var position = 0

  /// The members of `value`.
  @_lifetime(copy value)
  public init(_ value: RawSpan, separator: UInt8 = UInt8(ascii: ",")) {
    self.value = value
    self.separator = separator
  }

  /// Where the next member stands, whitespace around it not counted; nil behind the last.
  @_lifetime(self: copy self)
  public mutating func next() -> Range<Int>? {
    while position < value.byteCount {
      var start = position
      var isQuoted = false
      while position < value.byteCount {
        let byte = value[byte: position]
        if isQuoted && byte == 92 { position += 1 } else if byte == 34 { isQuoted.toggle() }
        if byte == separator && !isQuoted { break }
        position += 1
      }
      position = min(position, value.byteCount)
      var end = position
      position += 1
      while start < end, value[byte: start] == 32 || value[byte: start] == 9 { start += 1 }
      while end > start, value[byte: end - 1] == 32 || value[byte: end - 1] == 9 { end -= 1 }
      if end > start { return start..<end }
    }
    return nil
  }
}
