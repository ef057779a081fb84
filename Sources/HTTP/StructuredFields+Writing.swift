// The one text that each value has (RFC 9651 section 4.1). All that can be made by reading can be written.

extension StructuredValue {
  /// Its text.
  public var text: [UInt8] {
    var text: [UInt8] = []
    write(to: &text)
    return text
  }

  func write(to text: inout [UInt8]) {
    switch self {
    case .integer(let value): text += Array("\(value)".utf8)
    case .decimal(let thousandths): Self.write(thousandths, to: &text)
    case .string(let value):
      text.append(UInt8(ascii: "\""))
      for byte in value.utf8 {
        if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { text.append(UInt8(ascii: "\\")) }
        text.append(byte)
      }
      text.append(UInt8(ascii: "\""))
    case .token(let value): text += Array(value.utf8)
    case .bytes(let value):
      text.append(UInt8(ascii: ":"))
      StructuredBase64.append(value, to: &text)
      text.append(UInt8(ascii: ":"))
    case .boolean(let value): text += Array((value ? "?1" : "?0").utf8)
    case .date(let seconds): text += Array("@\(seconds)".utf8)
    case .display(let value): Self.write(value, to: &text)
    }
  }

  private static func write(_ thousandths: Int64, to text: inout [UInt8]) {
    if thousandths < 0 { text.append(UInt8(ascii: "-")) }
    let (whole, rest) = thousandths.magnitude.quotientAndRemainder(dividingBy: 1_000)
    var digits = Array("\(rest + 1_000)".utf8.dropFirst())
    while digits.count > 1, digits.last == UInt8(ascii: "0") { digits.removeLast() }
    text += Array("\(whole).".utf8) + digits
  }

  private static func write(_ display: String, to text: inout [UInt8]) {
    let digits = Array("0123456789abcdef".utf8)
    text += Array("%\"".utf8)
    for byte in display.utf8 {
      if byte == UInt8(ascii: "%") || byte == UInt8(ascii: "\"") || byte < 0x20 || byte > 0x7e {
        text += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      } else {
        text.append(byte)
      }
    }
    text.append(UInt8(ascii: "\""))
  }
}

extension StructuredItem {
  /// Its text.
  public var text: [UInt8] {
    var text: [UInt8] = []
    write(to: &text)
    return text
  }

  func write(to text: inout [UInt8]) {
    value.write(to: &text)
    StructuredParameter.write(parameters, to: &text)
  }
}

extension StructuredParameter {
  static func write(_ parameters: [StructuredParameter], to text: inout [UInt8]) {
    for parameter in parameters {
      text.append(UInt8(ascii: ";"))
      text += Array(parameter.key.utf8)
      if parameter.value == .boolean(true) { continue }
      text.append(UInt8(ascii: "="))
      parameter.value.write(to: &text)
    }
  }
}

extension StructuredInnerList {
  /// Its text.
  public var text: [UInt8] {
    var text: [UInt8] = []
    write(to: &text)
    return text
  }

  func write(to text: inout [UInt8]) {
    text.append(UInt8(ascii: "("))
    for (index, item) in items.enumerated() {
      if index > 0 { text.append(32) }
      item.write(to: &text)
    }
    text.append(UInt8(ascii: ")"))
    StructuredParameter.write(parameters, to: &text)
  }
}

extension StructuredMember {
  /// Its text.
  public var text: [UInt8] {
    switch self {
    case .item(let item): item.text
    case .list(let list): list.text
    }
  }
}

extension StructuredDictionary {
  /// Its text.
  public var text: [UInt8] {
    var text: [UInt8] = []
    for (key, value) in members {
      if !text.isEmpty { text += Array(", ".utf8) }
      text += Array(key.utf8)
      if case .item(let item) = value, item.value == .boolean(true) {
        StructuredParameter.write(item.parameters, to: &text)
      } else {
        text.append(UInt8(ascii: "="))
        text += value.text
      }
    }
    return text
  }
}

extension StructuredField {
  /// The text of a list.
  public static func text(of list: [StructuredMember]) -> [UInt8] {
    Array(list.map(\.text).joined(separator: Array(", ".utf8)))
  }
}
