/// JSON for people.
public enum JSONIndent {
  /// Correct compact JSON, with two blanks a level and a line end at the end. What fits on 100 columns stays on a line
  /// where it contains no object.
  public static func indented(_ compact: [UInt8]) -> String {
    let outcome = JSONDocument.parse(compact, dialect: .strict)
    guard let document = outcome.document else { return String(decoding: compact, as: UTF8.self) }
    let buffer = ByteBuffer(capacity: compact.count * 2)
    append(document.root, level: 0, to: buffer)
    buffer.append(UInt8(ascii: "\n"))
    return buffer.text
  }

  private static func append(_ value: JSONValue, level: Int, to buffer: ByteBuffer) {
    switch value.kind {
    case .array:
      let elements = value.elements
      let isPlain = elements.allSatisfy { $0.kind != .array && $0.kind != .object }
      if elements.isEmpty || isPlain && value.sourceText.utf8.count + level * 2 <= 80 {
        buffer.append(UInt8(ascii: "["))
        for (index, element) in elements.enumerated() {
          if index > 0 { buffer.append(", ") }
          buffer.append(utf8: element.sourceText)
        }
        return buffer.append(UInt8(ascii: "]"))
      }
      buffer.append(UInt8(ascii: "["))
      for (index, element) in elements.enumerated() {
        newLine(level + 1, isFirst: index == 0, buffer)
        append(element, level: level + 1, to: buffer)
      }
      newLine(level, isFirst: true, buffer)
      buffer.append(UInt8(ascii: "]"))
    case .object:
      let members = value.members
      buffer.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        newLine(level + 1, isFirst: index == 0, buffer)
        buffer.append(utf8: member.key.sourceText)
        buffer.append(": ")
        append(member.value, level: level + 1, to: buffer)
      }
      if !members.isEmpty { newLine(level, isFirst: true, buffer) }
      buffer.append(UInt8(ascii: "}"))
    default: buffer.append(utf8: value.sourceText)
    }
  }

  private static func newLine(_ level: Int, isFirst: Bool, _ buffer: ByteBuffer) {
    if !isFirst { buffer.append(UInt8(ascii: ",")) }
    buffer.append(UInt8(ascii: "\n"))
    for _ in 0..<level { buffer.append("  ") }
  }
}
