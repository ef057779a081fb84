import Cluster
import Core
import Pipeline

/// A node's configuration file, read: what the node is made from, and what it has to say to a cluster.
public struct NodeFile: Sendable {
  /// The configuration; nil where the file is of no use.
  public let blueprint: Blueprint?
  /// What there is to say of the file.
  public let diagnostics: [Diagnostic]
  /// Whether only the node's own sections are of use, and ``blueprint`` has no routes: enough for a node that gets the rest
  /// from its cluster.
  public let isPartial: Bool
  /// The cluster's sections with what they refer to; nil where the node takes part in no revisions, or says nothing.
  public let body: RevisionBody?

  /// Reads a file. `secrets` is asked for what it refers to.
  public init(text: [UInt8], secrets: @escaping SecretResolver) {
    let (whole, diagnostics) = Blueprint.read(text: text, secrets: secrets)
    self.diagnostics = diagnostics
    guard let whole else {
      let own = NodeSections.read(text: text, secrets: secrets).sections
      let partial = own.flatMap { own in
        own.hasRevisions ? Blueprint.read(own, revision: Array("{}".utf8), secrets: secrets).blueprint : nil
      }
      (blueprint, isPartial, body) = (partial, partial != nil, nil)
      return
    }
    (blueprint, isPartial) = (whole, false)
    let isSaying = whole.own.hasRevisions && PlanObjects(text, values: [:]).isAnything
    body = isSaying ? RevisionReading(text: text, for: whole.own, secrets: secrets).body : nil
  }

  /// Reads a router's file.
  public init(router text: [UInt8], secrets: @escaping SecretResolver) {
    (blueprint, diagnostics) = Blueprint.readRouter(text: text, secrets: secrets)
    (isPartial, body) = (false, nil)
  }

  /// A file that could not be read.
  public init(unreadable diagnostic: Diagnostic) {
    (blueprint, diagnostics, isPartial, body) = (nil, [diagnostic], false, nil)
  }
}

/// A text read as a revision: by whoever makes one, so that what it refers to travels with it.
public struct RevisionReading: Sendable {
  /// The configuration; nil exactly if one of the diagnostics is an error.
  public let blueprint: Blueprint?
  /// What there is to say of the text.
  public let diagnostics: [Diagnostic]
  /// The text and what it refers to; nil where there is no configuration, or too much of it.
  public let body: RevisionBody?

  /// Reads `text` as the node with these sections would, or (nil) as one with the usual limits. `secrets` is asked for what
  /// the cluster's sections refer to, and for nothing else.
  public init(text: [UInt8], for own: NodeSections? = nil, secrets: @escaping SecretResolver) {
    let asked = AskedSecrets()
    let (blueprint, diagnostics) = Blueprint.read(own ?? .usual, revision: text) { source in
      let answer = secrets(source)
      if case .success(let value) = answer { asked.values[source] = value }
      return answer
    }
    var all = diagnostics
    body = blueprint == nil ? nil : RevisionBody(text: text, values: asked.values)
    if blueprint != nil, body == nil {
      let message = "the configuration has more than \(RevisionBody.longestText) bytes, or its secrets too many"
      all.append(Diagnostic(.error, line: 0, column: 0, message: message, fix: "make it smaller"))
    }
    self.blueprint = body == nil ? nil : blueprint
    self.diagnostics = all
  }

  private final class AskedSecrets {
    var values: [SecretSource: String] = [:]
  }
}

extension [Diagnostic] {
  /// The first error, with its place in a file that is called `file`; nil where there is none.
  func firstError(in file: String) -> String? { first { $0.severity == .error }?.text(file: file) }
}
