import Core
import HTTP

/// What issuers publish beside their keys.
public enum IssuerDocument {
  /// Why a document is of no use.
  public struct Fault: Error, Equatable {
    /// A phrase for people.
    public let message: String
  }

  /// The most bytes of a document, and its levels.
  private static let (longest, depth) = (262_144, 16)

  /// Where a document of OpenID Connect Discovery 1.0 says that the keys are (sections 3 and 4.3): it must be that of
  /// `source`. Plain HTTP is taken only from a document that came that way, not from one that `isSecure`.
  public static func keysURL(
    _ body: [UInt8], of source: KeySource, isSecure: Bool
  ) throws(Fault) -> FetchURL {
    let root = try read(body, of: source).root
    guard let text = root["jwks_uri"]?.string else { throw Fault(message: "its configuration says no jwks_uri") }
    guard let url = FetchURL(text), url.isSecure || !isSecure else {
      throw Fault(message: "the jwks_uri of its configuration is not https: \(PrintableText.of(text))")
    }
    return url
  }

  /// The document of `source` and nobody else's.
  static func read(_ body: [UInt8], of source: KeySource) throws(Fault) -> JSONDocument {
    var limits = JSONLimits()
    (limits.bytes, limits.depth, limits.faults) = (longest, depth, 1)
    let outcome = JSONDocument.parse(body, dialect: .strict, limits: limits)
    if let fault = outcome.faults.first {
      throw Fault(message: "its configuration is not JSON: byte \(fault.offset): \(fault.message)")
    }
    guard let document = outcome.document, let issuer = document.root["issuer"]?.string else {
      throw Fault(message: "its configuration names no issuer")
    }
    // Whoever can answer for one address must not speak for another issuer. Compared byte by byte: texts that only look
    // alike are not the same.
    guard let wanted = source.issuer, issuer.utf8.elementsEqual(wanted.utf8) else {
      throw Fault(message: "its configuration is that of another issuer, \(PrintableText.of(issuer))")
    }
    return document
  }

  /// For how many seconds an answer may be kept (RFC 9111 section 5.2); nil where it does not say.
  public static func maxAge(_ fields: [FetchField]) -> Int64? {
    var found: Int64?
    for field in fields where field.name == "cache-control" {
      let value = Array(field.value.utf8)
      var list = ListReader(RawSpan(value))
      while let range = list.next() {
        let directive = String(decoding: value[range], as: UTF8.self).lowercased()
        if directive == "no-store" || directive == "no-cache" { return 0 }
        guard directive.hasPrefix("max-age=") else { continue }
        let digits = directive.dropFirst(8).filter { $0 != "\"" }
        guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { continue }
        // Ten digits are three hundred years.
        found = min(found ?? .max, digits.utf8.count <= 10 ? Int64(digits) ?? .max : .max)
      }
    }
    return found
  }
}

/// Texts of others in lines of the log.
public enum PrintableText {
  /// Characters of one text that are shown.
  private static let longest = 120

  /// The text in quotes, cut where it is long, with nothing in it that would end the line or change what is seen of it.
  public static func of(_ text: String) -> String {
    let shown = text.unicodeScalars.prefix(longest).map { scalar in
      scalar.value >= 0x20 && scalar.value < 0x7f && scalar != "\"" ? Character(scalar) : "?"
    }
    return "\"" + String(shown) + (text.unicodeScalars.count > longest ? "…" : "") + "\""
  }
}
