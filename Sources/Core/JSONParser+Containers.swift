extension JSONParser {
  mutating func parseArray() -> Bool {
    guard let index = open(.array) else { return false }
    let opening = position - 1
    var count: UInt32 = 0
    while true {
      skipBlank()
      guard let byte = current else { return unclosed(opening, "[") }
      if byte == UInt8(ascii: "]") || byte == UInt8(ascii: "}") { break }
      if byte == UInt8(ascii: ",") {
        syntaxFault(position, "there is no element before this comma", "remove the comma")
        position += 1
        continue
      }
      count += 1
      if !parseValue() && !recover() { return false }
      guard separate("]") else { return false }
    }
    return close(index, count, "]")
  }

  mutating func parseObject() -> Bool {
    guard let index = open(.object) else { return false }
    let opening = position - 1
    var count: UInt32 = 0
    while true {
      skipBlank()
      guard let byte = current else { return unclosed(opening, "{") }
      if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") { break }
      if byte == UInt8(ascii: ",") {
        syntaxFault(position, "there is no member before this comma", "remove the comma")
        position += 1
        continue
      }
      count += 1
      if !parseMember() && !recover() { return false }
      guard separate("}") else { return false }
    }
    if !isBroken { reportDuplicates(index, count) }
    return close(index, count, "}")
  }

  private mutating func parseMember() -> Bool {
    guard parseKey() else { return false }
    skipBlank()
    guard current == UInt8(ascii: ":") else {
      syntaxFault(position, "a colon is missing behind this key", "write key: value")
      return false
    }
    position += 1
    skipBlank()
    return parseValue()
  }

  private mutating func parseKey() -> Bool {
    let start = position
    if current == UInt8(ascii: "\"") { return parseString() }
    while let byte = current, Self.isIdentifier(byte) { position += 1 }
    let isNumber = start < text.count && text[start] >= 48 && text[start] <= 57
    guard position > start && !isNumber else {
      syntaxFault(start, "a key should be here", "put keys that are not plain words in double quotes")
      return false
    }
    if dialect == .strict { syntaxFault(start, "a key without quotes", "put keys in double quotes") }
    nodes.append(
      JSONNode(kind: .string, start: UInt32(start), end: UInt32(position), next: UInt32(nodes.count + 1)))
    return true
  }

  // MARK: Brackets and commas

  private mutating func open(_ kind: JSONValue.Kind) -> Int? {
    guard depth < limits.depth else {
      syntaxFault(position, "this is nested deeper than \(limits.depth) levels", "make it flatter")
      // Whatever follows is deeper still: nothing can be learnt from it.
      position = text.count
      return nil
    }
    depth += 1
    nodes.append(JSONNode(kind: kind, start: UInt32(position)))
    position += 1
    return nodes.count - 1
  }

  private mutating func close(_ index: Int, _ count: UInt32, _ bracket: Unicode.Scalar) -> Bool {
    if current != UInt8(ascii: bracket) {
      syntaxFault(position, "this bracket closes what another one opened", "write \(bracket) here")
    }
    position += 1
    depth -= 1
    nodes[index].end = UInt32(position)
    nodes[index].next = UInt32(nodes.count)
    nodes[index].count = count
    return true
  }

  private mutating func unclosed(_ opening: Int, _ bracket: String) -> Bool {
    syntaxFault(opening, "this \(bracket) is never closed", "add the closing bracket")
    return false
  }

  /// Passes the comma behind an element; a missing one is recorded and supposed to be there.
  private mutating func separate(_ closing: Unicode.Scalar) -> Bool {
    guard canContinue else { return false }
    skipBlank()
    guard let byte = current else { return true }
    if byte == UInt8(ascii: ",") {
      let comma = position
      position += 1
      if dialect == .strict {
        skipBlank()
        if current == UInt8(ascii: closing) { syntaxFault(comma, "a comma before the closing bracket", "remove it") }
      }
    } else if byte != UInt8(ascii: "]") && byte != UInt8(ascii: "}") {
      syntaxFault(position, "a comma is missing before this", "add it behind the value before")
    }
    return true
  }

  /// Goes to the next comma or closing bracket of this level, after a fault. False at the end of the text.
  private mutating func recover() -> Bool {
    guard canContinue else { return false }
    var nesting = 0
    while let byte = current {
      switch byte {
      case UInt8(ascii: "{"), UInt8(ascii: "["): nesting += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        if nesting == 0 { return true }
        nesting -= 1
      case UInt8(ascii: ","):
        if nesting == 0 { return true }
      case UInt8(ascii: "\""): skipString()
      case UInt8(ascii: "/"):
        let before = position
        skipBlank()
        if position > before { continue }
      default: break
      }
      position += 1
    }
    return false
  }

  /// Leaves the position on the closing quote, or on the last character of the line.
  private mutating func skipString() {
    while position + 1 < text.count && text[position + 1] != 10 {
      position += 1
      if text[position] == UInt8(ascii: "\"") { return }
      if text[position] == UInt8(ascii: "\\") && position + 1 < text.count { position += 1 }
    }
  }

  // MARK: Blank space

  /// Skips white space and comments.
  mutating func skipBlank() {
    while let byte = current {
      switch byte {
      case 0x20, 0x09, 0x0a, 0x0d: position += 1
      case UInt8(ascii: "/") where dialect == .relaxed && position + 1 < text.count:
        if text[position + 1] == UInt8(ascii: "/") {
          while let byte = current, byte != 10 { position += 1 }
        } else if text[position + 1] == UInt8(ascii: "*") {
          skipBlockComment()
        } else {
          return
        }
      default: return
      }
    }
  }

  private mutating func skipBlockComment() {
    let start = position
    position += 2
    while position + 1 < text.count {
      if text[position] == UInt8(ascii: "*") && text[position + 1] == UInt8(ascii: "/") {
        position += 2
        return
      }
      position += 1
    }
    position = text.count
    syntaxFault(start, "this comment has no end", "close it with */")
  }

  static func isIdentifier(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "$"):
      true
    default: false
    }
  }

  // MARK: Duplicates

  private mutating func reportDuplicates(_ index: Int, _ count: UInt32) {
    guard count > 1 else { return }
    var seen = Set<String>()
    // Short objects are compared pairwise without decoding; a set pays from about a dozen on.
    let isShort = count <= 12
    var keys: [JSONNode] = []
    var at = index + 1
    for _ in 0..<count {
      let key = nodes[at]
      let text = self.text
      if isShort && !key.isEscaped {
        let bytes = text[Int(key.start)..<Int(key.end)]
        if keys.contains(where: {
          $0.end - $0.start == key.end - key.start && text[Int($0.start)..<Int($0.end)] == bytes
        }) {
          duplicate(key)
        }
        keys.append(key)
      }
      if !isShort || key.isEscaped {
        let name = JSONText.unescape(text, Int(key.start)..<Int(key.end))
        let isAmongKeys = keys.contains { text[Int($0.start)..<Int($0.end)].elementsEqual(name.utf8) }
        if !seen.insert(name).inserted || isAmongKeys { duplicate(key) }
      } else if !seen.isEmpty, seen.contains(JSONText.unescape(text, Int(key.start)..<Int(key.end))) {
        duplicate(key)
      }
      at = Int(nodes[Int(nodes[at].next)].next)
    }
  }

  private mutating func duplicate(_ key: JSONNode) {
    let name = JSONText.unescape(text, Int(key.start)..<Int(key.end))
    fault(Int(key.start), "the key \"\(name)\" is here for the second time", "remove one of the two")
  }
}
