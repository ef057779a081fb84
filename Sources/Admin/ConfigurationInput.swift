import Cluster
import Core
import Gateway
import HTTP
import Pipeline

/// A configuration as a request brings it along.
struct ConfigurationInput {
  let text: ConfigurationService.Text

  /// The configuration of a request's body; nil where it is none.
  init?(_ request: AdminRequest) {
    guard !request.body.isEmpty else { return nil }
    let root = JSONDocument.parse(request.body, dialect: .strict).document?.root
    // No section of a configuration is called so.
    guard let written = root?["text"]?.string, let root else {
      if request.fields["content-type"]?.hasPrefix(AdminRoute.configurationType) == true { return nil }
      text = ConfigurationService.Text(request.body, values: [:])
      return
    }
    var values: [SecretSource: String] = [:]
    for entry in root["values"]?.elements ?? [] {
      guard let value = entry["value"]?.string else { return nil }
      if let name = entry["env"]?.string {
        values[.environment(name)] = value
      } else if let name = entry["file"]?.string {
        values[.file(name)] = value
      } else {
        return nil
      }
    }
    text = ConfigurationService.Text(Array(written.utf8), values: values)
  }
}

extension JSONWriter {
  /// What a revision is, as members of the object that is open.
  mutating func write(_ head: RevisionHead, name: RevisionName) {
    key("revision")
    integer(head.revision)
    key("digest")
    string("\(name)")
    key("cause")
    string(head.cause.word)
    key("author")
    string(head.author)
    key("message")
    string(head.message)
    key("time")
    string(CivilDate(WallTime(microseconds: head.time)).rfc3339)
    key("epoch")
    integer(head.epoch)
    key("base")
    integer(head.base)
    key("origin")
    integer(head.origin)
    key("stage")
    beginArray()
    for node in head.stage { string(node) }
    endArray()
    key("holdMilliseconds")
    integer(head.holdMilliseconds)
  }

  /// A revision with what nodes do with it, as an object.
  mutating func write(_ standing: RevisionStanding) {
    beginObject()
    write(standing.entry.head, name: standing.entry.name)
    key("newest")
    bool(standing.isNewest)
    key("complete")
    bool(standing.isComplete)
    key("nodes")
    beginArray()
    for node in standing.nodes {
      beginObject()
      key("node")
      string(node.name)
      key("state")
      string(node.state?.rawValue ?? "waiting")
      key("milliseconds")
      integer(node.milliseconds)
      key("reason")
      string(node.reason)
      endObject()
    }
    endArray()
    endObject()
  }
}
