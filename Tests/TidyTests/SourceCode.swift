/// Swift text with comments and the contents of literals blanked out, so that a search finds code only. Lines and columns stay
/// where they were.
struct SourceCode {
  let bytes: [UInt8]

  init(_ text: String) {
    var blanker = Blanker(Array(text.utf8))
    blanker.code(untilParenthesis: false)
    bytes = blanker.bytes
  }

  var lines: [Substring] {
    String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
  }

  /// A function, initialiser, deinitialiser or subscript with a body.
  struct Function: Equatable {
    let name: String
    let line: Int
    let lineCount: Int
  }

  /// Every function with a body; one that is declared inside another counts for both.
  var functions: [Function] {
    var found: [Function] = []
    var line = 1
    var index = 0
    while index < bytes.count {
      if bytes[index] == UInt8(ascii: "\n") { line += 1 }
      if let name = declaration(at: index), let body = body(after: index) {
        let end = closing(body)
        let count = bytes[index...end].count { $0 == UInt8(ascii: "\n") } + 1
        found.append(Function(name: name, line: line, lineCount: count))
      }
      index += 1
    }
    return found
  }

  private func declaration(at index: Int) -> String? {
    guard index == 0 || !isWord(bytes[index - 1]) && bytes[index - 1] != UInt8(ascii: ".") else { return nil }
    for keyword in ["func", "init", "deinit", "subscript"] where bytes[index...].starts(with: keyword.utf8) {
      let end = index + keyword.utf8.count
      guard end < bytes.count, !isWord(bytes[end]) else { continue }
      guard keyword == "func" else { return keyword }
      return String(decoding: bytes[end...].prefix(60).drop { !isWord($0) }.prefix { isWord($0) }, as: UTF8.self)
    }
    return nil
  }

  /// The opening brace of the declaration that begins at `index`; nil for a requirement without a body.
  private func body(after index: Int) -> Int? {
    var depth = 0
    var position = index
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: "("), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: ")"), UInt8(ascii: "]"):
        depth -= 1
        if depth < 0 { return nil }
      case UInt8(ascii: "{") where depth == 0: return position
      case UInt8(ascii: "}") where depth == 0: return nil
      case UInt8(ascii: "\n") where depth == 0 && !continues(after: position): return nil
      default: break
      }
      position += 1
    }
    return nil
  }

  private func continues(after newline: Int) -> Bool {
    let rest = bytes[newline...].drop { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: " ") }
    return ["{", "->", "where", "throws", "async", "("].contains { rest.starts(with: $0.utf8) }
  }

  private func closing(_ brace: Int) -> Int {
    var depth = 0
    for position in brace..<bytes.count {
      if bytes[position] == UInt8(ascii: "{") { depth += 1 }
      if bytes[position] == UInt8(ascii: "}") {
        depth -= 1
        if depth == 0 { return position }
      }
    }
    return bytes.count - 1
  }
}

private func isWord(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
    UInt8(ascii: "0")...UInt8(ascii: "9"),
    UInt8(ascii: "_"):
    true
  default: false
  }
}

/// Walks over Swift text once and blanks what is not code. Interpolations are code again.
private struct Blanker {
  var bytes: [UInt8]
  private var index = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  private func ahead(_ text: StaticString, at offset: Int = 0) -> Bool {
    let expected = text.utf8CodeUnitCount
    guard index + offset + expected <= bytes.count else { return false }
    return bytes[(index + offset)..<(index + offset + expected)].elementsEqual(String(describing: text).utf8)
  }

  private mutating func blank(_ count: Int = 1) {
    for _ in 0..<count where index < bytes.count {
      if bytes[index] != UInt8(ascii: "\n") { bytes[index] = UInt8(ascii: " ") }
      index += 1
    }
  }

  /// Code until the text ends, or until the parenthesis that closes an interpolation.
  mutating func code(untilParenthesis: Bool) {
    var depth = 0
    while index < bytes.count {
      if ahead("//") {
        while index < bytes.count, bytes[index] != UInt8(ascii: "\n") { blank() }
      } else if ahead("/*") {
        blockComment()
      } else if ahead("\"") || ahead("#\"") || ahead("##\"") {
        literal()
      } else {
        if bytes[index] == UInt8(ascii: "(") { depth += 1 }
        if bytes[index] == UInt8(ascii: ")") {
          if untilParenthesis && depth == 0 { return }
          depth -= 1
        }
        index += 1
      }
    }
  }

  private mutating func blockComment() {
    var depth = 0
    repeat {
      if ahead("/*") {
        depth += 1
        blank(2)
      } else if ahead("*/") {
        depth -= 1
        blank(2)
      } else {
        blank()
      }
    } while depth > 0 && index < bytes.count
  }

  private mutating func literal() {
    var pounds = 0
    while index < bytes.count, bytes[index] == UInt8(ascii: "#") {
      pounds += 1
      index += 1
    }
    let quotes = ahead("\"\"\"") ? 3 : 1
    index += quotes
    let end =
      [UInt8](repeating: UInt8(ascii: "\""), count: quotes) + [UInt8](repeating: UInt8(ascii: "#"), count: pounds)
    let escape = [UInt8(ascii: "\\")] + [UInt8](repeating: UInt8(ascii: "#"), count: pounds)
    while index < bytes.count {
      if bytes[index...].starts(with: end) {
        index += end.count
        return
      }
      if quotes == 1, bytes[index] == UInt8(ascii: "\n") { return }
      if bytes[index...].starts(with: escape) {
        blank(escape.count)
        if ahead("(") {
          index += 1
          code(untilParenthesis: true)
          index += 1
        } else {
          blank()
        }
      } else {
        blank()
      }
    }
  }
}
