import Core
import Crypto
import Pipeline

/// Makes tokens: access tokens as RFC 9068 has them, and for who asks for it an ID token (OpenID Connect Core 1.0
/// section 2).
struct TokenMint {
  let signer: TokenSigner
  let issuer: String
  /// The present second since 1970.
  let now: Int64
  /// Seconds for which access tokens and ID tokens are good.
  let lifetime: Int64

  /// The media type of access tokens, without its prefix.
  static let accessType = "at+jwt"

  /// An access token by which a client acts for a user.
  func access(_ grant: Grant, _ user: GrantUser, scopes: [String]) -> String? {
    signed(Self.accessType) { writer in
      begin(&writer, subject: user.subject, audience: grant.audience)
      writer.member("client_id", grant.client)
      if !scopes.isEmpty { writer.member("scope", scopes.joined(separator: " ")) }
      writer.member("sid", grant.family.name)
      writer.member("auth_time", user.loggedIn)
      if user.isConsumer { writer.member("consumer", user.subject) }
      writeOrigin(user, &writer)
      if let tenant = user.tenant { writer.member("tenant", tenant) }
      writer.members("groups", user.groups)
      writer.members("roles", user.roles)
    }
  }

  /// An access token by which a client acts for itself.
  func access(_ client: OAuthClient, audience: String, scopes: [String]) -> String? {
    signed(Self.accessType) { writer in
      begin(&writer, subject: client.id, audience: audience)
      writer.member("client_id", client.id)
      if !scopes.isEmpty { writer.member("scope", scopes.joined(separator: " ")) }
      if let consumer = client.consumer { writer.member("consumer", consumer) }
    }
  }

  /// What tells a client who the user is.
  func identity(_ grant: Grant, _ user: GrantUser) -> String? {
    signed("JWT") { writer in
      begin(&writer, subject: user.subject, audience: grant.client)
      writer.member("auth_time", user.loggedIn)
      writer.member("sid", grant.family.name)
      if let nonce = grant.nonce { writer.member("nonce", nonce) }
      writeOrigin(user, &writer)
    }
  }

  /// Whom the subject stands for that an issuer has vouched for (RFC 9493 section 3.2.3).
  private func writeOrigin(_ user: GrantUser, _ writer: inout JSONWriter) {
    guard let origin = user.origin else { return }
    writer.key("sub_id")
    writer.beginObject()
    writer.member("format", "iss_sub")
    writer.member("iss", origin.issuer)
    writer.member("sub", origin.subject)
    writer.endObject()
  }

  private func begin(_ writer: inout JSONWriter, subject: String, audience: String) {
    writer.member("iss", issuer)
    writer.member("sub", subject)
    writer.member("aud", audience)
    writer.member("iat", now)
    writer.member("exp", now + lifetime)
    writer.member("jti", Self.freshName())
  }

  /// Nil where the token would be too long.
  private func signed(_ type: String, _ body: (inout JSONWriter) -> Void) -> String? {
    let buffer = ByteBuffer(capacity: 512)
    var writer = JSONWriter(buffer)
    writer.beginObject()
    body(&writer)
    writer.endObject()
    return (try? signer.sign(buffer.bytes, type: type)).map { String(decoding: $0, as: UTF8.self) }
  }

  /// A name that no two things share: 128 random bits.
  static func freshName() -> String { Base64URL.encode(SecureRandom.bytes(16)) }
}

/// An access token of this server that is good but for what may be revoked.
struct OwnToken {
  let claims: JSONDocument
  /// What the key is called that has signed it.
  private let signingKey: String?

  var client: String? { claims.root["client_id"]?.string }
  var name: String? { claims.root["jti"]?.string }
  var expires: Int64 { claims.root["exp"]?.integer ?? 0 }

  /// Verifies a token with the server's own keys; nil for anything but one of its access tokens whose time is not over.
  init?(_ text: String, issuer: String, _ keys: [JSONWebKey], now: Int64) {
    let bytes = Array(text.utf8)
    guard let token = try? CompactToken(RawSpan(bytes)), token.isType(TokenMint.accessType),
      case .verified(let key) = JSONWebKeySet(keys).verify(token), let claims = try? token.claims(),
      claims.root["iss"]?.equals(issuer) ?? false, claims.root["exp"]?.integer ?? 0 > now
    else { return nil }
    self.claims = claims
    signingKey = key.keyID
  }

  /// Whom it stands for, as far as that can be revoked.
  var parts: Identity.Parts {
    let root = claims.root
    var parts = Identity.Parts()
    (parts.subject, parts.client) = (root["sub"]?.string, root["client_id"]?.string)
    (parts.tokenID, parts.session) = (root["jti"]?.string, root["sid"]?.string)
    (parts.tenant, parts.signingKey) = (root["tenant"]?.string, signingKey)
    parts.issued = UInt32(clamping: (root["iat"]?.integer ?? 1) - 1)
    return parts
  }
}
