/// Percent-encoding (RFC 3986 section 2.1), for slow paths.
public enum PercentText {
  /// The bytes that `encoded` stands for; nil where a `%` begins no escape.
  public static func bytes(_ encoded: some Sequence<UInt8>) -> [UInt8]? {
    var bytes: [UInt8] = []
    var rest = encoded.makeIterator()
    while let byte = rest.next() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard let high = rest.next().flatMap(HexadecimalDigit.value),
        let low = rest.next().flatMap(HexadecimalDigit.value)
      else { return nil }
      bytes.append(high << 4 | low)
    }
    return bytes
  }

  /// The text that `encoded` stands for; nil where a `%` begins no escape, and where the bytes are not UTF-8.
  public static func decoded(_ encoded: some StringProtocol) -> String? {
    bytes(encoded.utf8).flatMap { String(validating: $0, as: UTF8.self) }
  }

  /// `text` with everything escaped but what is never special: letters, digits, `-`, `.`, `_`.
  public static func encoded(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var result: [UInt8] = []
    for byte in text.utf8 {
      let isPlain = (byte | 32) >= 97 && (byte | 32) <= 122 || byte >= 48 && byte <= 57
      if isPlain || byte == 45 || byte == 46 || byte == 95 {
        result.append(byte)
      } else {
        result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return String(decoding: result, as: UTF8.self)
  }
}

/// A hexadecimal digit of either case.
public enum HexadecimalDigit {
  /// What `digit` is worth, 0 to 15; nil where it is none.
  public static func value(_ digit: UInt8) -> UInt8? {
    switch digit {
    case 48...57: digit - 48
    case 65...70: digit - 55
    case 97...102: digit - 87
    default: nil
    }
  }
}
