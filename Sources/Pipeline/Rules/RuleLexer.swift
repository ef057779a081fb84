/// One word of a rule.
struct RuleToken {
  enum Kind: Equatable {
    /// Letters, digits, `_` and `-`, beginning with a letter.
    case word
    /// A text between quotation marks; ``RuleToken/text`` is what it stands for.
    case string
    /// Digits, perhaps with a sign and a point.
    case number
    /// An operator or a bracket.
    case symbol
    case end
  }

  var kind: Kind
  var text: String
  var range: Range<Int>

  func isWord(_ word: String) -> Bool { kind == .word && text == word }
  func isSymbol(_ symbol: String) -> Bool { kind == .symbol && text == symbol }

  /// What a message calls it.
  var name: String {
    switch kind {
    case .word, .symbol, .number: "`\(text)`"
    case .string: "a text"
    case .end: "the end"
    }
  }
}

/// Takes the text of a rule apart.
struct RuleLexer {
  let bytes: [UInt8]
  private(set) var position = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// A fault at a byte.
  func fault(_ offset: Int, _ message: String, _ fix: String) -> RuleFault {
    RuleFault(column: bytes[..<min(offset, bytes.count)].count { $0 & 0xc0 != 0x80 } + 1, message: message, fix: fix)
  }

  func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  /// The next token.
  mutating func token() throws(RuleFault) -> RuleToken {
    while let byte = next, [9, 10, 13, 32].contains(byte) { position += 1 }
    let start = position
    guard let byte = next else { return RuleToken(kind: .end, text: "", range: start..<start) }
    if Self.isLetter(byte) {
      skipName()
      return RuleToken(kind: .word, text: text(start..<position), range: start..<position)
    }
    if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
      let content = try string()
      return RuleToken(kind: .string, text: content, range: start..<position)
    }
    if Self.isDigit(byte) || byte == UInt8(ascii: "-") { return try number() }
    return try symbol()
  }

  /// One name of the way to a claim, directly behind a point; nil where there is no point.
  mutating func claimName() throws(RuleFault) -> String? {
    guard next == UInt8(ascii: ".") else { return nil }
    position += 1
    let start = position
    if let quote = next, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") { return try string() }
    skipName()
    guard position > start else {
      throw fault(start, "a claim's name should be here", "write it behind the point, in quotation marks if need be")
    }
    return text(start..<position)
  }

  private mutating func skipName() {
    while let byte = next,
      Self.isLetter(byte) || Self.isDigit(byte) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
    {
      position += 1
    }
  }

  /// Reads a text with its quotation marks.
  private mutating func string() throws(RuleFault) -> String {
    let start = position
    let quote = bytes[start]
    var content: [UInt8] = []
    position += 1
    while let byte = next {
      position += 1
      if byte == quote { return String(decoding: content, as: UTF8.self) }
      guard byte >= 32, byte != 127 else {
        throw fault(position - 1, "a text holds a control character", "remove it")
      }
      guard byte == UInt8(ascii: "\\") else {
        content.append(byte)
        continue
      }
      guard let escaped = next, "\"'\\".utf8.contains(escaped) else {
        throw fault(position - 1, "this backslash means nothing", "write \\\\ for a backslash")
      }
      position += 1
      content.append(escaped)
    }
    throw fault(start, "this text has no end", "add \(quote == 39 ? "'" : "\"") behind it")
  }

  private mutating func number() throws(RuleFault) -> RuleToken {
    let start = position
    if next == UInt8(ascii: "-") { position += 1 }
    let digits = skipDigits()
    var fractionDigits = 1
    if next == UInt8(ascii: ".") {
      position += 1
      fractionDigits = skipDigits()
    }
    if let byte = next, Self.isLetter(byte) { fractionDigits = 0 }
    guard digits > 0, fractionDigits > 0 else {
      throw fault(start, "this is no number", "write digits as in 3 or -1.5, or a text in quotation marks")
    }
    return RuleToken(kind: .number, text: text(start..<position), range: start..<position)
  }

  private mutating func skipDigits() -> Int {
    let start = position
    while let byte = next, Self.isDigit(byte) { position += 1 }
    return position - start
  }

  private mutating func symbol() throws(RuleFault) -> RuleToken {
    let start = position
    let two = position + 1 < bytes.count ? String(decoding: bytes[start...(start + 1)], as: UTF8.self) : ""
    for (wrong, right) in [("&&", "and"), ("||", "or")] where two == wrong {
      throw fault(start, "there is no `\(wrong)`", "write `\(right)`")
    }
    if ["==", "!=", "<=", ">="].contains(two) {
      position += 2
      return RuleToken(kind: .symbol, text: two, range: start..<position)
    }
    switch bytes[start] {
    case UInt8(ascii: "="): throw fault(start, "there is no `=`", "write `==`")
    case UInt8(ascii: "!"): throw fault(start, "there is no `!`", "write `not`")
    case let byte where "()[],<>".utf8.contains(byte):
      position += 1
      return RuleToken(kind: .symbol, text: text(start..<position), range: start..<position)
    default:
      let letter = Substring(String(decoding: bytes[start...], as: UTF8.self)).unicodeScalars.first ?? " "
      let name = letter.value < 32 || letter.value == 127 ? "a control character" : "`\(letter)`"
      throw fault(start, "\(name) has no meaning here", "put texts in quotation marks, and remove it elsewhere")
    }
  }

  private static func isLetter(_ byte: UInt8) -> Bool { byte | 32 >= 97 && byte | 32 <= 122 }
  private static func isDigit(_ byte: UInt8) -> Bool { byte >= 48 && byte <= 57 }
}
