import Core
import Gateway
import Pipeline

/// What the readers of JSON and of the configuration promise, whatever the bytes.
enum ConfigurationTargets {
  /// Faults and values have places inside the text; what the strict dialect takes, the relaxed one takes alike; what is
  /// taken, written out and read again is the same.
  @Sendable
  static func json(_ bytes: RawSpan) {
    let text = bytes.array
    var limits = JSONLimits()
    limits.depth = 16
    let relaxed = JSONDocument.parse(text, limits: limits)
    precondition(relaxed.document != nil || !relaxed.faults.isEmpty)
    precondition(relaxed.faults.count <= limits.faults)
    for fault in relaxed.faults { precondition(fault.offset >= 0 && fault.offset <= text.count) }
    let strict = JSONDocument.parse(text, dialect: .strict, limits: limits)
    guard let document = relaxed.document else {
      precondition(!strict.faults.isEmpty)
      return
    }
    checkPlaces(document.root, within: 0..<text.count)
    if let other = strict.document, strict.faults.isEmpty {
      precondition(relaxed.faults.isEmpty && isSame(document.root, other.root))
    }
    let buffer = ByteBuffer()
    var writer = JSONWriter(buffer)
    write(document.root, to: &writer)
    let again = JSONDocument.parse(buffer.array, dialect: .strict, limits: limits)
    guard let copy = again.document else { preconditionFailure("what was written cannot be read") }
    precondition(isSame(document.root, copy.root))
  }

  /// There is a configuration exactly if there are no errors, every remark has its place, and none shows a secret.
  @Sendable
  static func configuration(_ bytes: RawSpan) {
    let text = bytes.array
    let secret = "a secret\u{201c}of the fuzzer"
    let result = Blueprint.read(text: text) { source in
      if case .file = source { return .success(secret + "\n") }
      return .success(secret)
    }
    let errors = result.diagnostics.count { $0.severity == .error }
    precondition((result.blueprint == nil) == (errors > 0))
    for diagnostic in result.diagnostics {
      precondition(diagnostic.line >= 0 && diagnostic.column >= 0 && !diagnostic.message.isEmpty)
      let line = diagnostic.text(file: "f")
      precondition(!line.contains(secret) && !line.contains("\n"))
    }
    if let blueprint = result.blueprint {
      precondition(blueprint.table.routeCount == blueprint.routes.count && !blueprint.listeners.isEmpty)
    }
  }

  private static func checkPlaces(_ value: JSONValue, within range: Range<Int>) {
    precondition(range.contains(value.offset))
    precondition(value.count == value.elements.count + value.members.count)
    for element in value.elements { checkPlaces(element, within: value.offset..<range.upperBound) }
    for member in value.members {
      precondition(member.key.string != nil)
      checkPlaces(member.key, within: value.offset..<range.upperBound)
      checkPlaces(member.value, within: member.key.offset..<range.upperBound)
    }
  }

  private static func isSame(_ left: JSONValue, _ right: JSONValue) -> Bool {
    guard left.kind == right.kind, left.count == right.count else { return false }
    switch left.kind {
    case .null: return true
    case .bool: return left.bool == right.bool
    case .number: return left.sourceText == right.sourceText && left.integer == right.integer
    case .string: return left.string == right.string
    case .array: return zip(left.elements, right.elements).allSatisfy { isSame($0, $1) }
    case .object:
      return zip(left.members, right.members).allSatisfy { isSame($0.key, $1.key) && isSame($0.value, $1.value) }
    }
  }

  private static func write(_ value: JSONValue, to writer: inout JSONWriter) {
    switch value.kind {
    case .null: writer.null()
    case .bool: writer.bool(value.bool == true)
    case .number: writer.raw(value.sourceText)
    case .string: writer.string(value.string ?? "")
    case .array:
      writer.beginArray()
      for element in value.elements { write(element, to: &writer) }
      writer.endArray()
    case .object:
      writer.beginObject()
      for member in value.members {
        writer.key(member.key.string ?? "")
        write(member.value, to: &writer)
      }
      writer.endObject()
    }
  }
}
