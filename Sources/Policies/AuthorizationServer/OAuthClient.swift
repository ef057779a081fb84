import Core
import Crypto
import Pipeline

/// A program that may ask the authorization server for tokens.
struct OAuthClient: Sendable {
  /// What it may be granted by.
  enum GrantType: String, CaseIterable, Sendable {
    case clientCredentials = "client_credentials"
    case code = "authorization_code"
    case refresh = "refresh_token"
    case device = "urn:ietf:params:oauth:grant-type:device_code"

    /// By its name, or by the short one of the only long one.
    init?(name: String) { self.init(rawValue: name == "device_code" ? Self.device.rawValue : name) }
  }

  /// How it proves to be itself.
  enum Proof: Sendable {
    /// Not at all: it runs where it can keep no secret.
    case none
    /// By a secret with one of these digests.
    case secrets([Digest])
    /// By assertions that one of these keys has signed (RFC 7523).
    case keys(JSONWebKeySet)
  }

  let id: String
  /// What people know it by.
  let name: String
  let proof: Proof
  let grants: [GrantType]
  let redirects: [RedirectTarget]
  let scopes: [String]
  /// Whom its tokens may be for; the first is what they are for where it does not say.
  let audiences: [String]
  /// The consumer that it stands for where it acts for itself.
  let consumer: String?
  /// Whether it may ask about tokens of others.
  let isResourceServer: Bool

  /// The most bytes of an id.
  static let longestID = 256

  /// Whether it can prove who it is.
  var isConfidential: Bool {
    if case .none = proof { return false }
    return true
  }

  /// Reads a client; `audience` is for whom tokens are where neither it nor the client says. Without `takesFormerSecrets`
  /// the first of its secrets is the only one.
  init?(_ options: inout OptionReader, audience: String, takesFormerSecrets: Bool = true) {
    id = options.value(
      "id", OptionFormat("an id of a client", example: "web-app"), placeholder: "", "The client_id; no secret."
    ) { Self.isID($0) ? $0 : nil }
    name = options.optionalString("name", "What people know it by who are asked for consent.") ?? id
    let digests: [Digest] = options.valueList(
      "sha256", OptionFormat("a SHA-256 digest", example: String(repeating: "0f", count: 32), hidesMistakes: true),
      allowsSingle: true,
      "The digest of its secret, a long random one, in hexadecimal; several while one replaces the other. A client without "
        + "one and without publicKey is public: anybody can say to be it."
    ) { Digest(hexadecimal: $0) }
    let keyText = options.optionalText(
      "publicKey", "A public key in PEM or a JWK set: it signs assertions (private_key_jwt) instead of having a secret."
    )
    grants = options.valueList(
      "grants", OptionFormat("a grant", example: GrantType.code.rawValue), isRequired: true,
      "How it gets tokens: client_credentials, authorization_code, device_code, refresh_token."
    ) { GrantType(name: $0) }
    redirects = options.valueList(
      "redirectURIs", OptionFormat("an address to answer to", example: "https://app.example.com/callback"),
      "Where answers to users may be sent, byte for byte; with http:// to 127.0.0.1 and [::1] any port will do."
    ) { RedirectTarget($0) }
    scopes = options.stringList("scopes", "What it may ask for; all of it where it asks for nothing.")
    let audiences = options.stringList(
      "audiences", "Whom its tokens may be for (aud); it chooses by the parameter resource, else it is the first.")
    consumer = options.optionalString(
      "consumer", "The consumer of the configuration that it stands for where it acts for itself: the claim consumer.")
    isResourceServer = options.bool(
      "introspects", default: false, "Whether it may ask about tokens of all clients, as an API does.")
    self.audiences = audiences.isEmpty && !audience.isEmpty ? [audience] : audiences
    let keys = keyText.flatMap { Self.keys($0, &options) }
    let secrets = takesFormerSecrets ? digests : Array(digests.prefix(1))
    proof = keys.map { .keys($0) } ?? (secrets.isEmpty ? .none : .secrets(secrets))
    check(&options, hasSecret: !digests.isEmpty, hasKey: keyText != nil)
    if options.hasFailed("id") || options.hasFailed("publicKey") || options.hasFailed("sha256") { return nil }
  }

  private func check(_ options: inout OptionReader, hasSecret: Bool, hasKey: Bool) {
    if options.isDescribing { return }
    if hasSecret, hasKey { options.fail("a client has a secret or a key", at: "publicKey", fix: "remove one of both") }
    if !isConfidential {
      if grants.contains(.clientCredentials) {
        options.fail("a public client has no credentials", at: "grants", fix: "add sha256 or publicKey")
      }
      if isResourceServer {
        options.fail("anybody could ask as a public client", at: "introspects", fix: "add sha256 or publicKey")
      }
    }
    if grants.contains(.code), redirects.isEmpty {
      options.fail("nobody knows where to send codes", at: "redirectURIs", fix: "add the client's address")
    }
    if grants.contains(.refresh), !grants.contains(.code), !grants.contains(.device) {
      options.fail(
        "nothing else gives a refresh token", at: "grants", fix: "add authorization_code or device_code")
    }
    if audiences.isEmpty {
      options.fail("nobody knows whom tokens are for", at: "audiences", fix: "add audiences here or audience above")
    }
    if scopes.contains(where: { !BearerChallenge.isScope($0) }) {
      options.fail("a scope has neither spaces nor quotation marks", at: "scopes", fix: "write one in each element")
    }
  }

  /// Whether a text can be an id: visible ASCII without quotation marks and backslashes.
  static func isID(_ text: String) -> Bool {
    (1...longestID).contains(text.utf8.count)
      && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
  }

  /// Keys of which none is a secret that the gateway would know too.
  private static func keys(_ text: String, _ options: inout OptionReader) -> JSONWebKeySet? {
    do throws(JSONWebKeyFault) {
      let set =
        try text.contains("-----BEGIN")
        ? JSONWebKeySet([JSONWebKey(pem: Array(text.utf8))]) : JSONWebKeySet(Array(text.utf8))
      if set.keys.allSatisfy({ $0.publicText != nil }) { return set }
      options.fail("a secret is no public key", at: "publicKey", fix: "write public keys only")
    } catch {
      if !options.isDescribing {
        options.fail("this is no public key: \(error.message)", at: "publicKey", fix: "write PEM or a JWK set")
      }
    }
    return nil
  }

  /// The client as something that can be revoked.
  var parts: Identity.Parts {
    var parts = Identity.Parts()
    parts.client = id
    return parts
  }

  // MARK: What it may have

  /// The scopes that it asks for, as far as `allowed` has each of them; all of those where it asks for none.
  static func scopes(_ wanted: String?, among allowed: [String]) throws(OAuthFault) -> [String] {
    guard let wanted else { return allowed }
    var scopes: [String] = []
    for scope in wanted.split(separator: " ", omittingEmptySubsequences: false).map(String.init) {
      guard allowed.contains(scope) else { throw .scope }
      if !scopes.contains(scope) { scopes.append(scope) }
    }
    return scopes
  }

  /// Whom a token is for that it asks for with this `resource` (RFC 8707).
  func audience(_ wanted: String?) throws(OAuthFault) -> String {
    guard let wanted else { return audiences.first ?? "" }
    guard audiences.contains(wanted) else { throw .target }
    return wanted
  }
}
