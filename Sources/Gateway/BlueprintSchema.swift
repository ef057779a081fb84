// The JSON Schema of the configuration, written from what the readers say of themselves: there is no second list of
// options that could fall behind. What a schema cannot say (references between sections, options that exclude each
// other) is left to `sluice check`.

import Core
import Pipeline
import Policies

/// Writes the schema (JSON Schema, draft 2020-12).
public struct BlueprintSchema {
  private var writer: JSONWriter

  /// The whole schema of a node's file, or of a router's; indented, with a line end.
  public static func text(ofRouter isRouter: Bool = false) -> String {
    let buffer = ByteBuffer()
    var schema = BlueprintSchema(writer: JSONWriter(buffer))
    schema.writeRoot(isRouter: isRouter)
    return JSONIndent.indented(buffer.array)
  }

  /// What a file consists of, section by section.
  static func sections(ofRouter isRouter: Bool = false) -> [OptionDescription] {
    var reader = OptionReader(describing: "")
    if isRouter { _ = RouterFile(&reader) } else { _ = BlueprintFile(&reader) }
    return reader.descriptions
  }

  private mutating func writeRoot(isRouter: Bool) {
    writer.beginObject()
    text("$schema", "https://json-schema.org/draft/2020-12/schema")
    text("title", isRouter ? "Configuration of a router of Sluice" : "Configuration of Sluice")
    writeMembers(Self.sections(ofRouter: isRouter))
    writer.key("$defs")
    writer.beginObject()
    writeSharedDefinitions()
    writer.key("policyUse")
    writer.beginObject()
    writer.key("anyOf")
    writer.beginArray()
    writer.beginObject()
    text("type", "string")
    text("description", "The name of a policy under policies.")
    writer.endObject()
    writeReference("policy")
    writer.endArray()
    writer.endObject()
    writer.key("policy")
    writePolicies()
    writer.endObject()
    writer.endObject()
  }

  /// Shapes that many options share.
  private mutating func writeSharedDefinitions() {
    writer.key("reference")
    writer.beginObject()
    text("description", "Text that stands elsewhere: in a variable of the environment, or in a file.")
    text("type", "object")
    writer.key("properties")
    writer.beginObject()
    for name: StaticString in ["env", "file"] {
      writer.key(name)
      writer.beginObject()
      text("type", "string")
      writer.endObject()
    }
    writer.endObject()
    writer.key("minProperties")
    writer.integer(1)
    writer.key("maxProperties")
    writer.integer(1)
    writer.key("additionalProperties")
    writer.bool(false)
    writer.endObject()
    writer.key("text")
    writeTextual { $0.text("type", "string") }
    writer.key("duration")
    writeTextual {
      $0.text("type", "string")
      $0.text("pattern", "^[0-9]{1,18}(us|ms|s|m|h|d)$")
    }
    writer.key("size")
    writeTextual {
      $0.text("type", "string")
      $0.text("pattern", "^[0-9]{1,18}([KMGT]iB|[KMGT]B|kB|B)$")
    }
  }

  private mutating func writePolicies() {
    writer.beginObject()
    writer.key("oneOf")
    writer.beginArray()
    for type in Registry.policies {
      writer.beginObject()
      text("title", type.name)
      text("description", type.summary)
      let kind = OptionDescription(
        name: "type", kind: .choice([type.name]), isRequired: true, defaultText: nil, help: "Which policy it is.")
      let options = Registry.options(of: type)
      let owner = OptionDescription(
        name: "tenant", kind: .string, isRequired: false, defaultText: nil, help: PolicyDirectory.ownerHelp)
      writeMembers([kind] + (TenantText.otherMeaning.contains(type.name) ? [] : [owner]) + options)
      writer.endObject()
    }
    writer.endArray()
    writer.endObject()
  }

  // MARK: Options

  /// The keywords of an object with these options.
  private mutating func writeMembers(_ options: [OptionDescription]) {
    text("type", "object")
    writer.key("properties")
    writer.beginObject()
    for option in options {
      writer.key(option.name)
      writer.beginObject()
      text("description", option.help)
      if let standard = option.defaultText, standard != "{}" {
        writer.key("default")
        writer.raw(standard)
      }
      writeKeywords(option.kind, isRequired: option.isRequired)
      writer.endObject()
    }
    writer.endObject()
    let required = options.filter(\.isRequired)
    if !required.isEmpty {
      writer.key("required")
      writer.beginArray()
      for option in required { writer.string(option.name) }
      writer.endArray()
    }
    writer.key("additionalProperties")
    writer.bool(false)
  }

  private mutating func writeSchema(_ kind: OptionDescription.Kind) {
    writer.beginObject()
    writeKeywords(kind)
    writer.endObject()
  }

  /// The keywords for values of `kind`, inside an object that is open.
  private mutating func writeKeywords(_ kind: OptionDescription.Kind, isRequired: Bool = false) {
    switch kind {
    case .string, .secret: text("$ref", "#/$defs/text")
    case .duration: text("$ref", "#/$defs/duration")
    case .size: text("$ref", "#/$defs/size")
    case .definition(let name): text("$ref", "#/$defs/\(name)")
    case .bool: text("type", "boolean")
    case .integer(let range):
      text("type", "integer")
      writer.key("minimum")
      writer.integer(range.lowerBound)
      if range.upperBound != .max {
        writer.key("maximum")
        writer.integer(range.upperBound)
      }
    case .number(let range):
      text("type", "number")
      writer.key("minimum")
      writer.number(range.lowerBound)
      writer.key("maximum")
      writer.number(range.upperBound)
    case .choice, .format: writeAlternatives(kind)
    case .list(let element, let allowsSingle):
      if allowsSingle {
        writer.key("anyOf")
        writer.beginArray()
        writeSchema(element)
        writer.beginObject()
        writeArray(element, isRequired: isRequired)
        writer.endObject()
        writer.endArray()
      } else {
        writeArray(element, isRequired: isRequired)
      }
    case .map(let value):
      text("type", "object")
      writer.key("additionalProperties")
      writeSchema(value)
    case .object(let options, let shorthand): writeObject(options, shorthand)
    }
  }

  private mutating func writeArray(_ element: OptionDescription.Kind, isRequired: Bool) {
    text("type", "array")
    if isRequired {
      writer.key("minItems")
      writer.integer(1)
    }
    writer.key("items")
    writeSchema(element)
  }

  private mutating func writeObject(_ options: [OptionDescription], _ shorthand: String?) {
    guard let short = options.first(where: { $0.name == shorthand }) else { return writeMembers(options) }
    writer.key("anyOf")
    writer.beginArray()
    writeSchema(short.kind)
    writer.beginObject()
    writeMembers(options)
    writer.endObject()
    writer.endArray()
  }

  /// Text with keywords of its own, or a reference.
  private mutating func writeAlternatives(_ kind: OptionDescription.Kind) {
    writer.key("anyOf")
    writer.beginArray()
    writer.beginObject()
    switch kind {
    case .choice(let words):
      writer.key("enum")
      writer.beginArray()
      for word in words { writer.string(word) }
      writer.endArray()
    case .format(let format):
      text("type", "string")
      if let pattern = format.pattern { text("pattern", pattern) }
      writer.key("examples")
      writer.beginArray()
      writer.string(format.example)
      writer.endArray()
    default: text("type", "string")
    }
    writer.endObject()
    writeReference("reference")
    writer.endArray()
  }

  private mutating func writeTextual(_ keywords: (inout BlueprintSchema) -> Void) {
    writer.beginObject()
    writer.key("anyOf")
    writer.beginArray()
    writer.beginObject()
    keywords(&self)
    writer.endObject()
    writeReference("reference")
    writer.endArray()
    writer.endObject()
  }

  private mutating func writeReference(_ name: String) {
    writer.beginObject()
    text("$ref", "#/$defs/\(name)")
    writer.endObject()
  }

  private mutating func text(_ key: StaticString, _ value: String) {
    writer.key(key)
    writer.string(value)
  }
}
