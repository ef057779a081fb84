import Core

/// The keys of one issuer (RFC 7517 section 5). Immutable; all threads may use one.
public final class JSONWebKeySet: Sendable {
  /// Those that verify, in the order of the text; never empty.
  public let keys: [JSONWebKey]
  /// Why others were left out, a sentence each, which names the key.
  public let skipped: [String]

  /// Bytes of a text that are read at most: 100 keys with their certificates.
  public static let longestText = 256 << 10
  /// Keys that a set holds at most.
  public static let mostKeys = 100
  /// Keys that are tried for one token at most; each costs a whole verification.
  public static let mostCandidates = 4
  /// Levels of a text; certificates are at the fourth.
  private static let depth = 16

  /// Reads the text of a set: strict JSON without duplicate members. Keys that are not understood are left out and said
  /// in ``skipped``, as RFC 7517 wants it; throws for what is no set, holds too much, or nothing that verifies.
  public convenience init(_ text: [UInt8]) throws(JSONWebKeyFault) {
    var limits = JSONLimits()
    limits.bytes = Self.longestText
    limits.depth = Self.depth
    limits.faults = 1
    let outcome = JSONDocument.parse(text, dialect: .strict, limits: limits)
    if let fault = outcome.faults.first { throw JSONWebKeyFault("byte \(fault.offset): \(fault.message)") }
    guard let root = outcome.document?.root, let list = root["keys"], list.kind == .array else {
      throw JSONWebKeyFault("this is no object with an array of \"keys\"")
    }
    guard list.count <= Self.mostKeys else { throw JSONWebKeyFault("there are more than \(Self.mostKeys) keys") }
    var keys: [JSONWebKey] = []
    var skipped: [String] = []
    for (index, element) in list.elements.enumerated() {
      do { keys.append(try JSONWebKey(element)) } catch {
        skipped.append("\(Self.name(index, element)): \(error.message)")
      }
    }
    guard !keys.isEmpty else {
      throw JSONWebKeyFault("no key verifies signatures" + (skipped.first.map { "; \($0)" } ?? ""))
    }
    self.init(keys: keys, skipped: skipped)
  }

  /// A set of keys that were read one by one, at least one and at most ``mostKeys``.
  public convenience init(_ keys: [JSONWebKey]) {
    precondition(!keys.isEmpty && keys.count <= Self.mostKeys)
    self.init(keys: keys, skipped: [])
  }

  private init(keys: [JSONWebKey], skipped: [String]) {
    self.keys = keys
    self.skipped = skipped
  }

  private static func name(_ index: Int, _ element: JSONValue) -> String {
    guard let name = element["kid"]?.string, !name.isEmpty else { return "key \(index + 1)" }
    return
      "key \(index + 1) (\"\(String(name.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7f }.prefix(64)))\")"
  }

  /// What a set says of a token.
  public enum Verdict: Sendable {
    /// This key has signed it.
    case verified(JSONWebKey)
    /// The set has no key of that name, or for a token without a name none for its algorithm: a newer set may have it.
    case unknownKey
    /// The key of that name is not for the token's algorithm.
    case unfit
    /// The keys that it could be have not signed it.
    case wrong
  }

  /// Whether one of the keys has signed `token`: those that its `kid` names and those without a name, or where it has none
  /// those that fit its algorithm, ``mostCandidates`` at most. Looks at every key's name, some nanoseconds each.
  public func verify(_ token: borrowing CompactToken) -> Verdict {
    let algorithm = token.algorithm
    var verdict = Verdict.unknownKey
    var left = Self.mostCandidates
    for key in keys where left > 0 {
      if let name = token.keyID, key.keyID != nil, !key.isCalled(name) { continue }
      guard key.fits(algorithm) else {
        if case .unknownKey = verdict, token.keyID != nil { verdict = .unfit }
        continue
      }
      if key.verifies(token) { return .verified(key) }
      verdict = .wrong
      left -= 1
    }
    return verdict
  }
}
