import Core
import Pipeline

/// A configuration as its author wrote it, with what it refers to.
public struct RevisionBody: Equatable, Sendable {
  /// The longest text, in bytes: what the admin port takes.
  public static let longestText = 16 << 20
  /// The most bytes of the values that it refers to, names included.
  public static let longestValues = 1 << 20
  /// The most bytes of the whole.
  static let limit = longestText + longestValues + 1024

  /// The text, comments and all.
  public let text: [UInt8]
  /// What its references stand for.
  public let values: [SecretSource: String]

  /// A body; nil where it is too large.
  public init?(text: [UInt8], values: [SecretSource: String]) {
    let size = values.reduce(0) { $0 + $1.key.name.utf8.count + $1.value.utf8.count + 16 }
    guard text.count <= Self.longestText, size <= Self.longestValues else { return nil }
    self.text = text
    self.values = values
  }

  /// Resolves references by ``values``.
  public var resolver: SecretResolver {
    { [values] source in
      values[source].map { .success($0) } ?? .failure(SecretFault("the revision does not contain \(source.name)"))
    }
  }

  /// The bytes that are stored, values sealed; their SHA-256 is the revision's address. Two calls give different bytes.
  func sealed(_ secrets: ClusterSecrets) -> [UInt8] {
    var inner = RevisionEncoder()
    inner.number(UInt32(values.count))
    for (source, value) in values.sorted(by: { $0.key.order < $1.key.order }) {
      inner.number(source.kind)
      inner.text(source.name)
      inner.text(value)
    }
    var encoder = RevisionEncoder()
    encoder.mark("SLB1")
    encoder.block(text)
    // The text's own name is part of the seal: values of one revision are worth nothing beside the text of another.
    encoder.block(secrets.seal(inner.bytes, for: .value, name: RevisionName(of: text).description))
    return encoder.bytes
  }

  /// Reads what ``sealed(_:)`` made; the caller has verified the bytes.
  public init(_ bytes: [UInt8], _ secrets: ClusterSecrets) throws(RevisionFault) {
    guard bytes.count <= Self.limit else { throw .tooLarge }
    var decoder = RevisionDecoder(bytes)
    guard decoder.mark("SLB1"), let text = decoder.block(limit: Self.longestText),
      let sealed = decoder.block(limit: Self.longestValues + 1024), decoder.isAtEnd
    else { throw .malformed }
    guard let opened = secrets.open(sealed, for: .value, name: RevisionName(of: text).description) else {
      throw .sealed
    }
    var inner = RevisionDecoder(opened)
    guard let count = inner.number(UInt32.self) else { throw .malformed }
    var values: [SecretSource: String] = [:]
    for _ in 0..<count {
      guard let kind = inner.number(UInt8.self), let name = inner.text(limit: Self.longestValues),
        let source = SecretSource(kind: kind, name: name), let value = inner.text(limit: Self.longestValues)
      else { throw .malformed }
      values[source] = value
    }
    guard inner.isAtEnd else { throw .malformed }
    self.text = text
    self.values = values
  }

  /// The body of this name in these bytes.
  init(_ bytes: [UInt8], named name: RevisionName, _ secrets: ClusterSecrets) throws(RevisionFault) {
    guard bytes.count <= Self.limit else { throw .tooLarge }
    guard RevisionName(of: bytes) == name else { throw .digest }
    try self.init(bytes, secrets)
  }
}

extension SecretSource {
  /// The variable, or the path.
  public var name: String {
    switch self {
    case .environment(let name), .file(let name): name
    }
  }

  fileprivate var kind: UInt8 {
    switch self {
    case .environment: 1
    case .file: 2
    }
  }

  fileprivate var order: String { "\(kind)\(name)" }

  fileprivate init?(kind: UInt8, name: String) {
    switch kind {
    case 1: self = .environment(name)
    case 2: self = .file(name)
    default: return nil
    }
  }
}
