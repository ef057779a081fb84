import Core

/// Where a claim stands among those of an identity: `org`, or `realm_access.roles` for a member of an object.
///
/// A claim whose whole name is the path comes first, so that names with dots in them, such as URLs, can be given as they are.
public struct ClaimPath: Hashable, Sendable {
  /// The path as the configuration gives it.
  public let text: String
  private let steps: [String]

  /// Bytes of a path, and objects that it leads through.
  private static let (longest, deepest) = (256, 8)

  /// The path; nil for an empty one, or one beyond the bounds.
  public init?(_ text: String) {
    guard (1...Self.longest).contains(text.utf8.count) else { return nil }
    let steps = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard steps.count <= Self.deepest, !steps.contains("") else { return nil }
    self.text = text
    self.steps = steps
  }

  /// The form of this option.
  public static let format = OptionFormat("the name of a claim", example: "realm_access.roles")

  /// What stands there; nil for nothing.
  public func value(in claims: JSONValue) -> JSONValue? {
    if let value = claims[text] { return value }
    guard steps.count > 1 else { return nil }
    var value = claims
    for step in steps {
      guard let next = value[step] else { return nil }
      value = next
    }
    return value
  }

  /// What stands there as one text: a string, a number or a truth value. Nil for anything else.
  public func text(in identity: Identity) -> String? {
    guard let claims = identity.claims, let value = value(in: claims.root) else { return nil }
    return Self.text(of: value)
  }

  /// A string, a number or a truth value as text; nil for anything else.
  public static func text(of value: JSONValue) -> String? {
    switch value.kind {
    case .string: value.string
    case .number, .bool: value.sourceText
    case .null, .array, .object: nil
    }
  }

  /// What stands there as a list of texts: an array of them, or one text whose words are separated by spaces, as scopes
  /// are (RFC 6749 section 3.3). Whatever is no string is left out.
  public func list(in claims: JSONValue) -> [String] {
    guard let value = value(in: claims) else { return [] }
    // By bytes, and not by what people see as one character: a space ends a word, whatever mark stands behind it.
    if let text = value.string { return text.utf8.split(separator: 32).map { String(Substring($0)) } }
    return value.elements.compactMap(\.string)
  }
}
