import Core

/// What a byte may be part of, as bits; the grammar of RFC 9110 section 5.6 and RFC 3986 section 2.
struct ByteClass: OptionSet, BitwiseCopyable {
  let rawValue: UInt8

  /// `tchar`: methods, field names, list members.
  static let token = ByteClass(rawValue: 1)
  /// What a registered host name is made of here: letters, digits, `-` `.` `_`.
  static let host = ByteClass(rawValue: 2)
  /// RFC 3986 `unreserved`.
  static let unreserved = ByteClass(rawValue: 4)
  /// `qdtext` of a quoted string: printable, TAB, not the quote and not the backslash.
  static let quoted = ByteClass(rawValue: 8)
  static let digit = ByteClass(rawValue: 16)
  static let hexadecimal = ByteClass(rawValue: 32)

  /// The class of `byte`; parsers on the hot path keep a table of it.
  static func of(_ byte: UInt8) -> ByteClass {
    var result: ByteClass = []
    switch byte {
    case 48...57: result = [.token, .host, .unreserved, .digit, .hexadecimal]
    case 65...70, 97...102: result = [.token, .host, .unreserved, .hexadecimal]
    case 71...90, 103...122: result = [.token, .host, .unreserved]
    case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"): result = [.token, .host, .unreserved]
    case UInt8(ascii: "~"): result = [.token, .unreserved]
    case 33, 35...39, 42, 43, 94, 96, 124: result = .token
    default: break
    }
    if byte == 9 || byte == 32 || (byte >= 33 && byte != 34 && byte != 92 && byte != 127) { result.insert(.quoted) }
    return result
  }

  /// Whether `bytes` is a token: at least one `tchar` and nothing else.
  static func isToken(_ bytes: RawSpan) -> Bool {
    for index in 0..<bytes.byteCount where !of(bytes[byte: index]).contains(.token) { return false }
    return bytes.byteCount > 0
  }

  /// The value of a hexadecimal digit, or nil.
  @inline(__always)
  static func hexadecimalValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 48...57: byte &- 48
    case 65...70: byte &- 55
    case 97...102: byte &- 87
    default: nil
    }
  }
}

extension RawSpan {
  /// Whether it spells `text`, which is lower-case, in any case of its own.
  func equalsIgnoringCase(_ text: StaticString) -> Bool {
    guard byteCount == text.utf8CodeUnitCount else { return false }
    for index in 0..<byteCount {
      // A static string's storage lives for ever, and `index` is below its count.
      let expected = unsafe text.utf8Start[index]
      let found = self[byte: index]
      let folded = found >= 65 && found <= 90 ? found | 0x20 : found
      if folded != expected { return false }
    }
    return true
  }

  /// Whether it is exactly `text`.
  func spells(_ text: StaticString) -> Bool {
    guard byteCount == text.utf8CodeUnitCount else { return false }
    // A static string's storage lives for ever, and the index is below its count.
    for index in 0..<byteCount where unsafe text.utf8Start[index] != self[byte: index] { return false }
    return true
  }

  /// Whether it begins with `text`, which is lower-case, in any case of its own.
  func hasPrefix(_ text: StaticString) -> Bool {
    byteCount >= text.utf8CodeUnitCount && part(0..<text.utf8CodeUnitCount).equalsIgnoringCase(text)
  }

  /// Whether `wanted` occurs.
  func holds(_ wanted: UInt8) -> Bool {
    for index in 0..<byteCount where self[byte: index] == wanted { return true }
    return false
  }

  /// The bytes of `range`; the range must lie inside.
  @_lifetime(copy self)
  func part(_ range: Range<Int>) -> RawSpan { extracting(range) }

  /// The same without spaces and tabs at either end.
  @_lifetime(copy self)
  func trimmed() -> RawSpan {
    var first = 0
    var end = byteCount
    while first < end, self[byte: first] == 32 || self[byte: first] == 9 { first += 1 }
    while end > first, self[byte: end - 1] == 32 || self[byte: end - 1] == 9 { end -= 1 }
    return extracting(first..<end)
  }
}
