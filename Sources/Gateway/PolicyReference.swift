import Core
import Pipeline
import Policies

/// What `sluice policies` prints and the README's tables say, written from the policies' own descriptions.
public enum PolicyReference {
  /// The names of all policies, in the order in which they run.
  public static var names: [String] { ordered.map { $0.name } }

  private static var ordered: [any Policy.Type] {
    Registry.policies.enumerated().sorted {
      ($0.element.phase.rawValue, $0.offset) < ($1.element.phase.rawValue, $1.offset)
    }.map(\.element)
  }

  // MARK: Text

  /// One line a policy: name, phase, summary.
  public static func list() -> String {
    let width = (names.map(\.utf8.count).max() ?? 0) + 2
    return ordered.map { "\(padded($0.name, width))\(padded("\($0.phase)", 10))\($0.summary)\n" }.joined()
  }

  /// Everything about one policy; nil where there is none of that name.
  public static func text(of name: String) -> String? {
    guard let type = Registry.type(named: name) else { return nil }
    var text = "\(type.name): \(type.summary)\nphase: \(type.phase)\n\noptions:\n"
    let rows = rows(Registry.options(of: type), prefix: "")
    if rows.isEmpty { text += "  none\n" }
    for row in rows {
      text += "  \(row.name)  \(row.type)"
      if row.isRequired { text += ", required" }
      if let standard = row.defaultText { text += ", default \(standard)" }
      text += "\n"
      for line in wrapped(row.help, width: 92) { text += "      \(line)\n" }
    }
    return text
  }

  /// Tables in Markdown: all policies, then the options of each.
  public static func markdown() -> String {
    var text = "| policy | phase | what it does |\n|---|---|---|\n"
    for type in ordered { text += "| `\(type.name)` | \(type.phase) | \(type.summary) |\n" }
    for type in ordered {
      text += "\n**`\(type.name)`**\n\n| option | type | default | meaning |\n|---|---|---|---|\n"
      for row in rows(Registry.options(of: type), prefix: "") {
        let standard = row.isRequired ? "required" : row.defaultText.map { "`\($0)`" } ?? ""
        let help = row.help.replacing("|", with: "\\|")
        text += "| `\(row.name)` | \(row.type.replacing("|", with: "\\|")) | \(standard) | \(help) |\n"
      }
    }
    return text
  }

  // MARK: JSON

  /// All policies, or the one of that name, as JSON; nil where there is none of that name.
  public static func json(of name: String? = nil) -> String? {
    let buffer = ByteBuffer()
    var writer = JSONWriter(buffer)
    if let name {
      guard let type = Registry.type(named: name) else { return nil }
      write(type, to: &writer)
    } else {
      writer.beginArray()
      for type in ordered { write(type, to: &writer) }
      writer.endArray()
    }
    return JSONIndent.indented(buffer.array)
  }

  private static func write(_ type: any Policy.Type, to writer: inout JSONWriter) {
    writer.beginObject()
    writer.key("name")
    writer.string(type.name)
    writer.key("phase")
    writer.string("\(type.phase)")
    writer.key("summary")
    writer.string(type.summary)
    writer.key("options")
    writer.beginArray()
    for row in rows(Registry.options(of: type), prefix: "") {
      writer.beginObject()
      writer.key("name")
      writer.string(row.name)
      writer.key("type")
      writer.string(row.type)
      writer.key("required")
      writer.bool(row.isRequired)
      if let standard = row.defaultText {
        writer.key("default")
        writer.raw(standard)
      }
      writer.key("help")
      writer.string(row.help)
      writer.endObject()
    }
    writer.endArray()
    writer.endObject()
  }

  // MARK: Rows

  struct Row {
    let name: String
    let type: String
    let isRequired: Bool
    let defaultText: String?
    let help: String
  }

  /// The options and, behind each, those inside it, by their paths: `limits[].per`.
  static func rows(_ options: [OptionDescription], prefix: String) -> [Row] {
    options.flatMap { option in
      let name = prefix + option.name
      let isSection = option.defaultText == "{}"
      let row = Row(
        name: name, type: typeText(option.kind), isRequired: option.isRequired,
        defaultText: isSection ? nil : option.defaultText, help: option.help)
      return [row] + nested(option.kind, name)
    }
  }

  private static func nested(_ kind: OptionDescription.Kind, _ name: String) -> [Row] {
    switch kind {
    case .object(let options, _): rows(options, prefix: "\(name).")
    case .list(let element, _): nested(element, "\(name)[]")
    case .map(let value): nested(value, "\(name).NAME")
    default: []
    }
  }

  /// The type as people call it.
  static func typeText(_ kind: OptionDescription.Kind) -> String {
    switch kind {
    case .string: "text"
    case .secret: "secret"
    case .format(let format): "\(format.name), as \"\(format.example)\""
    case .choice(let words): words.map { "\"\($0)\"" }.joined(separator: " | ")
    case .duration: "duration"
    case .size: "size"
    case .bool: "true or false"
    case .integer(let range):
      range.upperBound == .max
        ? "whole number from \(range.lowerBound)"
        : "whole number, \(range.lowerBound) to \(range.upperBound)"
    case .number(let range): "number, \(range.lowerBound) to \(range.upperBound)"
    case .list(let element, let allowsSingle):
      allowsSingle ? "\(typeText(element)), or a list of it" : "list of \(typeText(element))"
    case .map(let value): "object of \(typeText(value))"
    case .object: "object"
    case .definition(let name): name
    }
  }

  // MARK: Layout

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.utf8.count))
  }

  private static func wrapped(_ text: String, width: Int) -> [String] {
    var lines: [String] = []
    for word in text.split(separator: " ") {
      if let last = lines.last, last.count + 1 + word.count <= width {
        lines[lines.count - 1] = "\(last) \(word)"
      } else {
        lines.append(String(word))
      }
    }
    return lines
  }
}
