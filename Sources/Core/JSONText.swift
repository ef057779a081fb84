/// Strings and numbers as JSON writes them; the ranges were checked by the parser.
enum JSONText {
  /// The contents of a string literal whose escapes are known to be correct.
  static func unescape(_ text: [UInt8], _ range: Range<Int>) -> String {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(range.count)
    var at = range.lowerBound
    while at < range.upperBound {
      let byte = text[at]
      at += 1
      guard byte == UInt8(ascii: "\\") else {
        bytes.append(byte)
        continue
      }
      let escape = text[at]
      at += 1
      if escape != UInt8(ascii: "u") {
        bytes.append(plainEscape(escape) ?? escape)
        continue
      }
      var scalar = UInt32(hexadecimal(text, at) ?? 0)
      at += 4
      if scalar & 0xfc00 == 0xd800 {
        scalar = 0x10000 + (scalar & 0x3ff) << 10 + UInt32(hexadecimal(text, at + 2) ?? 0) & 0x3ff
        at += 6
      }
      bytes.append(contentsOf: String(Unicode.Scalar(scalar) ?? "\u{fffd}").utf8)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// What a backslash and this character stand for.
  static func plainEscape(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): byte
    case UInt8(ascii: "b"): 8
    case UInt8(ascii: "f"): 12
    case UInt8(ascii: "n"): 10
    case UInt8(ascii: "r"): 13
    case UInt8(ascii: "t"): 9
    default: nil
    }
  }

  /// The four hexadecimal digits at `offset`; nil where there are not four.
  static func hexadecimal(_ text: [UInt8], _ offset: Int) -> UInt16? {
    guard offset + 4 <= text.count else { return nil }
    var value: UInt16 = 0
    for byte in text[offset..<offset + 4] {
      let digit: UInt8
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - 48
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - 87
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - 55
      default: return nil
      }
      value = value << 4 | UInt16(digit)
    }
    return value
  }

  /// The whole number in `range`; nil where it has a fraction or an exponent, or does not fit.
  static func integer(_ text: [UInt8], _ range: Range<Int>) -> Int64? {
    let isNegative = text[range.lowerBound] == UInt8(ascii: "-")
    var value: Int64 = 0
    for byte in text[(range.lowerBound + (isNegative ? 1 : 0))..<range.upperBound] {
      guard byte >= 48 && byte <= 57 else { return nil }
      let (shifted, overflow) = value.multipliedReportingOverflow(by: 10)
      let digit = Int64(byte - 48)
      let (sum, carried) = shifted.addingReportingOverflow(isNegative ? -digit : digit)
      if overflow || carried { return nil }
      value = sum
    }
    return value
  }
}
