import Core

/// Where the text of a `{ "env": … }` or `{ "file": … }` comes from.
public enum SecretSource: Hashable, Sendable {
  /// A variable of the process's environment.
  case environment(String)
  /// A file, by a path relative to the configuration file.
  case file(String)
}

/// Why a reference could not be resolved; the message must not contain the secret.
public struct SecretFault: Error, Hashable, Sendable {
  /// What went wrong, a phrase.
  public let message: String
  /// A fault.
  public init(_ message: String) { self.message = message }
}

/// Resolves references to secrets. Logic asks through it and does no I/O itself.
public typealias SecretResolver = (SecretSource) -> Result<String, SecretFault>

/// A step on the way to an option.
public enum OptionStep: Hashable, Sendable {
  /// The value of a key.
  case key(String)
  /// An element of an array, from 0.
  case index(Int)
}

/// A place in the file that a later check can complain about.
public struct OptionPlace: Hashable, Sendable {
  let offset: Int
  /// The option, as in `routes[0].upstream`.
  public let path: String
}

/// What the readers of one file share: its text, the diagnostics so far, and the secrets that must not show in them.
///
/// Belongs to one thread and to one reading.
public final class OptionSession {
  /// More diagnostics than this are counted, not kept: a generated file can be wrong ten thousand times.
  public static let diagnosticLimit = 500

  let isDescribing: Bool
  let resolve: SecretResolver
  /// Whether a reference that leads nowhere is only warned of.
  public let toleratesMissingSecrets: Bool
  var path: [OptionStep] = []
  private let text: [UInt8]
  private lazy var lines = LineIndex(text)
  private var found: [(offset: Int, diagnostic: Diagnostic)] = []
  private var omitted = 0
  private var secrets: Set<String> = []
  /// Errors so far.
  public private(set) var errorCount = 0

  /// A session for reading `text`. Where it `toleratesMissingSecrets`, a reference that leads nowhere is only warned of.
  public init(text: [UInt8], secrets: @escaping SecretResolver, toleratesMissingSecrets: Bool = false) {
    self.text = text
    resolve = secrets
    self.toleratesMissingSecrets = toleratesMissingSecrets
    isDescribing = false
  }

  /// A session whose readers describe what they would read.
  init() {
    text = []
    toleratesMissingSecrets = true
    resolve = { _ in .success("") }
    isDescribing = true
  }

  /// All diagnostics, in the order of the file.
  public var diagnostics: [Diagnostic] {
    var result = found.sorted { $0.offset < $1.offset }.map(\.diagnostic)
    if omitted > 0 {
      result.append(
        Diagnostic(.error, line: 0, column: 0, message: "\(omitted) more like these", fix: "mend the ones above first"))
    }
    return result
  }

  /// Strikes `secret` out of every later diagnostic.
  func keepSecret(_ secret: String) {
    if !secret.isEmpty { secrets.insert(secret) }
  }

  /// Records an error at a place that a reader gave out.
  public func fail(_ message: String, at place: OptionPlace, fix: String) {
    record(.error, place.offset, place.path, message, fix)
  }

  /// Records a warning at a place that a reader gave out.
  public func warn(_ message: String, at place: OptionPlace, fix: String) {
    record(.warning, place.offset, place.path, message, fix)
  }

  /// Records what the JSON parser found.
  public func record(_ fault: JSONFault) { record(.error, fault.offset, "", fault.message, fault.fix) }

  func record(_ severity: Diagnostic.Severity, _ offset: Int, _ path: String, _ message: String, _ fix: String) {
    if isDescribing { return }
    if severity == .error { errorCount += 1 }
    guard found.count < Self.diagnosticLimit else {
      omitted += 1
      return
    }
    let place = lines.place(of: offset)
    let diagnostic = Diagnostic(
      severity, line: place.line, column: place.column, path: struckOut(path), message: struckOut(message),
      fix: struckOut(fix))
    // A mistake that a value and what is made of it both notice is one mistake.
    if !found.contains(where: { $0.offset == offset && $0.diagnostic == diagnostic }) {
      found.append((offset, diagnostic))
    }
  }

  /// `text` without any secret. Very short ones would tear words apart and hide nothing: only their quoted form goes.
  private func struckOut(_ text: String) -> String {
    var text = text
    for secret in secrets.sorted(by: { $0.utf8.count > $1.utf8.count }) {
      text =
        secret.utf8.count < 4
        ? text.replacing("\"\(secret)\"", with: "\"…\"") : text.replacing(secret, with: "…")
    }
    return text
  }

  /// The current path, with `key` at its end.
  func pathText(_ key: String? = nil, element: Int? = nil) -> String {
    var steps: [OptionStep] = []
    if let key { steps.append(.key(key)) }
    if let element { steps.append(.index(element)) }
    return pathText(appending: steps)
  }

  /// The current path, with `steps` at its end.
  func pathText(appending steps: [OptionStep]) -> String {
    var text = ""
    for step in path + steps {
      switch step {
      case .index(let index): text += "[\(index)]"
      case .key(let key):
        let isPlain = key.utf8.allSatisfy {
          ($0 | 0x20) >= 97 && ($0 | 0x20) <= 122 || $0 >= 48 && $0 <= 57 || $0 == 95
        }
        text += isPlain ? (text.isEmpty ? key : ".\(key)") : "[\"\(key)\"]"
      }
    }
    return text
  }
}
