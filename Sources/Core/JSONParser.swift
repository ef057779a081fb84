// Recursive descent over bytes that were checked to be UTF-8 beforehand. A mistake is recorded, and parsing resumes at
// the next comma or closing bracket of the same level: so a file with five mistakes needs one run, not five.

struct JSONParser {
  let text: [UInt8]
  let dialect: JSONDialect
  let limits: JSONLimits
  var position = 0
  var depth = 0
  var nodes: ContiguousArray<JSONNode> = []
  var faults: [JSONFault] = []
  /// Whether the nodes no longer mirror the text.
  var isBroken = false

  init(text: [UInt8], dialect: JSONDialect, limits: JSONLimits) {
    self.text = text
    self.dialect = dialect
    self.limits = limits
  }

  mutating func run() -> JSONDocument.Outcome {
    guard text.count <= limits.bytes else {
      fault(0, "the text has \(text.count) bytes, more than \(limits.bytes)", "split it, or remove what is not needed")
      return JSONDocument.Outcome(document: nil, faults: faults)
    }
    do {
      _ = try UTF8Span(validating: text.span)
    } catch {
      fault(error.byteOffsets.lowerBound, "this byte is not UTF-8", "save the file as UTF-8")
      return JSONDocument.Outcome(document: nil, faults: faults)
    }
    // An average value takes more than 12 bytes of text; growing twice is cheaper than touching too much memory.
    nodes.reserveCapacity(min(text.count / 12 + 16, 1 << 16))
    if dialect == .relaxed && text.starts(with: [0xef, 0xbb, 0xbf]) { position = 3 }
    skipBlank()
    if parseValue() {
      skipBlank()
      if position < text.count && canContinue {
        syntaxFault(position, "there is something behind the end of the JSON value", "remove it")
      }
    }
    let document = isBroken || nodes.isEmpty ? nil : JSONDocument(text: text, nodes: nodes)
    return JSONDocument.Outcome(document: document, faults: faults.sorted { $0.offset < $1.offset })
  }

  var canContinue: Bool { faults.count < limits.faults }

  mutating func fault(_ offset: Int, _ message: String, _ fix: String) {
    if canContinue { faults.append(JSONFault(offset: offset, message: message, fix: fix)) }
  }

  /// A fault behind which the nodes cannot be trusted.
  mutating func syntaxFault(_ offset: Int, _ message: String, _ fix: String) {
    isBroken = true
    fault(offset, message, fix)
  }

  var current: UInt8? { position < text.count ? text[position] : nil }

  // MARK: Values

  /// Parses the value at the position. False where a fault was recorded and the position is not behind a value.
  mutating func parseValue() -> Bool {
    guard let byte = current else {
      syntaxFault(text.count, "the text ends where a value should be", "add the value, or remove the key")
      return false
    }
    switch byte {
    case UInt8(ascii: "{"): return parseObject()
    case UInt8(ascii: "["): return parseArray()
    case UInt8(ascii: "\""): return parseString()
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return parseNumber()
    default: return parseWord()
    }
  }

  private mutating func parseWord() -> Bool {
    let start = position
    while let byte = current, Self.isIdentifier(byte) || byte >= 0x80 { position += 1 }
    let word = text[start..<position]
    let kind: JSONValue.Kind
    switch word.count {
    case 4 where word.elementsEqual("true".utf8), 5 where word.elementsEqual("false".utf8): kind = .bool
    case 4 where word.elementsEqual("null".utf8): kind = .null
    default:
      if text[start] == UInt8(ascii: "'") {
        syntaxFault(start, "a string begins with a single quote", "use double quotes")
      } else if word.isEmpty {
        syntaxFault(start, "a value is missing here", "write a string, a number, true, false, null, [ or {")
      } else {
        syntaxFault(start, "this is not a JSON value", "put text in double quotes")
      }
      return false
    }
    nodes.append(
      JSONNode(kind: kind, start: UInt32(start), end: UInt32(position), next: UInt32(nodes.count + 1)))
    return true
  }

  private mutating func parseNumber() -> Bool {
    let start = position
    if current == UInt8(ascii: "-") { position += 1 }
    let whole = position
    let digits = skipDigits()
    var isCorrect = digits == 1 || (digits > 1 && text[whole] != UInt8(ascii: "0"))
    if current == UInt8(ascii: ".") {
      position += 1
      if skipDigits() == 0 { isCorrect = false }
    }
    if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
      position += 1
      if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
      if skipDigits() == 0 { isCorrect = false }
    }
    if let byte = current, Self.isIdentifier(byte) || byte == UInt8(ascii: ".") || byte >= 0x80 { isCorrect = false }
    guard isCorrect else {
      syntaxFault(start, "this is not a number", "write digits without leading zeros; put text in double quotes")
      return false
    }
    nodes.append(
      JSONNode(kind: .number, start: UInt32(start), end: UInt32(position), next: UInt32(nodes.count + 1)))
    return true
  }

  private mutating func skipDigits() -> Int {
    let start = position
    while let byte = current, byte >= 48 && byte <= 57 { position += 1 }
    return position - start
  }

  /// Parses a string in double quotes. Mistakes inside it are recorded and do not lose its end.
  mutating func parseString() -> Bool {
    let opening = position
    position += 1
    var isEscaped = false
    while true {
      guard position < text.count else {
        syntaxFault(opening, "this string has no end", "close it with a double quote")
        return false
      }
      let byte = text[position]
      if byte == UInt8(ascii: "\"") { break }
      if byte == UInt8(ascii: "\\") {
        isEscaped = true
        skipEscape()
      } else if byte == 10 || byte == 13 {
        syntaxFault(
          opening, "this string does not end on its line", "close it with a double quote; write a line end as \\n")
        return false
      } else {
        if byte < 0x20 { syntaxFault(position, "a string contains a control character", "write it as \\u00XX") }
        position += 1
      }
    }
    var node = JSONNode(kind: .string, start: UInt32(opening + 1), end: UInt32(position))
    node.isEscaped = isEscaped
    node.next = UInt32(nodes.count + 1)
    nodes.append(node)
    position += 1
    return true
  }

  private mutating func skipEscape() {
    let start = position
    position += 1
    guard let byte = current else { return }
    if JSONText.plainEscape(byte) != nil {
      position += 1
      return
    }
    guard byte == UInt8(ascii: "u") else {
      syntaxFault(start, "a backslash stands before a character that has no such meaning", "write \\\\ for a backslash")
      return
    }
    guard let unit = JSONText.hexadecimal(text, position + 1) else {
      syntaxFault(start, "\\u needs four hexadecimal digits", "for example \\u00e9")
      position += 1
      return
    }
    position += 5
    if unit & 0xf800 != 0xd800 { return }
    let follows =
      position + 1 < text.count && text[position] == UInt8(ascii: "\\") && text[position + 1] == UInt8(ascii: "u")
    if unit & 0xfc00 == 0xd800, follows, let low = JSONText.hexadecimal(text, position + 2), low & 0xfc00 == 0xdc00 {
      position += 6
    } else {
      syntaxFault(start, "half of a surrogate pair stands alone", "write the character itself, or both halves")
    }
  }
}
