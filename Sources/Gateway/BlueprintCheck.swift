import Core
import Pipeline

/// What `sluice check` finds out about a file.
public struct BlueprintCheck: Sendable {
  /// Everything there is to say, in the order of the file.
  public let diagnostics: [Diagnostic]
  /// What the file contains, in numbers; nil where it has errors.
  public let summary: String?

  /// Checks a configuration without making it run. A reference that cannot be resolved is a warning here: a file is often
  /// checked on another machine than the one that knows its secrets. A file that has none of a node's own sections is checked
  /// as what a cluster's revision says, one with a section `router` as a router's. `remarks` adds what is to be said of
  /// files that the configuration names.
  public init(
    text: [UInt8], secrets: @escaping SecretResolver, remarks: (Blueprint) -> [Diagnostic] = { _ in [] }
  ) {
    let members = JSONDocument.parse(text).document?.root.members.compactMap(\.key.string) ?? []
    let isRevision = !members.isEmpty && !members.contains { NodeSections.names.contains($0) }
    let isRouter = members.contains(RouterFile.section)
    let result =
      isRouter
      ? Blueprint.readRouter(text: text, secrets: secrets, toleratesMissingSecrets: true)
      : isRevision
        ? Blueprint.read(.usual, revision: text, secrets: secrets, toleratesMissingSecrets: true)
        : Blueprint.read(text: text, secrets: secrets, toleratesMissingSecrets: true)
    diagnostics = result.diagnostics + (result.blueprint.map(remarks) ?? [])
    summary = result.blueprint.map { blueprint in
      func count(_ count: Int, _ name: String) -> String { "\(count) \(name)\(count == 1 ? "" : "s")" }
      let nodes = blueprint.upstreams.first?.endpoints.count ?? 0
      if isRouter {
        let places = nodes == 0 ? "nodes as the members say" : count(nodes, "node")
        return "a router, \(count(blueprint.listeners.count, "listener")), \(places)"
      }
      let keys = blueprint.keyRing.consumers.reduce(0) { $0 + $1.keys.count }
      return [
        isRevision ? "for a cluster" : count(blueprint.listeners.count, "listener"),
        count(blueprint.routes.count, "route"), count(blueprint.upstreams.count, "upstream"),
        count(blueprint.keyRing.consumers.count, "consumer"), count(keys, "key"),
      ].joined(separator: ", ")
    }
  }

  /// Whether the configuration can be used; with `isStrict`, also whether there is nothing to warn of.
  public func isFine(strictly isStrict: Bool) -> Bool { summary != nil && (!isStrict || diagnostics.isEmpty) }

  /// One line a remark, `file:line:column: message; fix`.
  public func text(file: String) -> String { diagnostics.map { $0.text(file: file) + "\n" }.joined() }

  /// The whole outcome as JSON.
  public func json(file: String, isFine: Bool) -> String {
    let buffer = ByteBuffer()
    var writer = JSONWriter(buffer)
    writer.beginObject()
    writer.key("file")
    writer.string(file)
    writer.key("ok")
    writer.bool(isFine)
    writer.key("diagnostics")
    Self.write(diagnostics, to: &writer)
    writer.endObject()
    return JSONIndent.indented(buffer.array)
  }
  /// Remarks as an array.
  public static func write(_ diagnostics: [Diagnostic], to writer: inout JSONWriter) {
    writer.beginArray()
    for diagnostic in diagnostics {
      writer.beginObject()
      writer.key("severity")
      writer.string(diagnostic.severity.rawValue)
      writer.key("line")
      writer.integer(Int64(diagnostic.line))
      writer.key("column")
      writer.integer(Int64(diagnostic.column))
      writer.key("path")
      writer.string(diagnostic.path)
      writer.key("message")
      writer.string(diagnostic.message)
      writer.key("fix")
      writer.string(diagnostic.fix)
      writer.endObject()
    }
    writer.endArray()
  }
}
