import Core
import Crypto
import Pipeline

/// Why what a provider says is not good.
enum LoginFault: Error {
  /// It is wrong, and stays so.
  case wrong
  /// It is signed by a key that is not known, or none is known at all.
  case unknownKey(KeySource)
}

/// Verifies the tokens of a login's provider.
struct LoginProvider: Sendable {
  /// The event of a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.4).
  private static let logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
  /// Bytes of a subject (OpenID Connect Core 1.0 section 2), and of other names that a provider gives.
  private static let longestName = 255

  let issuer: TokenIssuer
  /// What the gateway is called there.
  let client: String

  /// What an ID token must say beside what every one says.
  struct Expectation {
    /// What was sent with the request to log in; nil for a token of a refresh, which need not repeat it.
    var nonce: String?
    /// Whom the session belongs to; nil for a new one.
    var subject: String?
    /// The access token that came with it.
    var accessToken: String
  }

  /// The claims of an ID token that is good (OpenID Connect Core 1.0 sections 3.1.3.7 and 12.2).
  func verify(
    idToken text: [UInt8], _ expected: Expectation, _ services: Services
  ) throws(LoginFault) -> TokenClaims {
    let (claims, algorithm) = try verify(text, services)
    let root = claims.root
    guard case .at = claims.moment("iat"), let subject = root["sub"]?.string,
      (1...Self.longestName).contains(subject.utf8.count)
    else { throw .wrong }
    if let wanted = expected.subject, !wanted.utf8.elementsEqual(subject.utf8) { throw .wrong }
    if let nonce = expected.nonce, !Self.isEqual(root["nonce"]?.string, nonce) { throw .wrong }
    // A token for several must say that it was made for this one.
    if let party = root["azp"] {
      guard party.equals(client) else { throw .wrong }
    } else if let audience = root["aud"], audience.kind == .array, audience.count > 1 {
      throw .wrong
    }
    if let hash = root["at_hash"], Self.hashesWithSHA256(algorithm) {
      let bytes = Array(expected.accessToken.utf8)
      let half = services.hasher.digest(of: RawSpan(bytes)).bytes.prefix(16)
      guard hash.equals(Base64URL.encode(Array(half))) else { throw .wrong }
    }
    return claims
  }

  /// What a logout token ends.
  struct Logout {
    /// The session by the provider's name; nil for all of the subject.
    let session: String?
    let subject: String?
    /// The token's own name, for it is used once.
    let tokenID: String
  }

  /// What a logout token ends that is good (OpenID Connect Back-Channel Logout 1.0 section 2.6).
  func verify(logoutToken text: [UInt8], _ services: Services) throws(LoginFault) -> Logout {
    let (claims, _) = try verify(text, services)
    let root = claims.root
    // An ID token is no order to log out: those have a nonce, and no event.
    guard case .at = claims.moment("iat"), root["nonce"] == nil, root["events"]?[Self.logoutEvent]?.kind == .object,
      let tokenID = Self.name(root["jti"])
    else { throw .wrong }
    let (session, subject) = (Self.name(root["sid"]), Self.name(root["sub"]))
    guard session != nil || subject != nil, root["sid"] == nil || session != nil else { throw .wrong }
    return Logout(session: session, subject: subject, tokenID: tokenID)
  }

  private func verify(
    _ text: [UInt8], _ services: Services
  ) throws(LoginFault) -> (TokenClaims, SignatureAlgorithm) {
    let token: CompactToken
    let claims: TokenClaims
    do throws(CompactTokenFault) {
      token = try CompactToken(RawSpan(text))
      claims = TokenClaims(document: try token.claims())
    } catch { throw .wrong }
    guard claims.isIssued(by: issuer.issuer) else { throw .wrong }
    do throws(TokenFault) {
      _ = try issuer.verify(token, claims, services)
    } catch {
      if case .unknownKey(let source) = error { throw .unknownKey(source) }
      throw .wrong
    }
    return (claims, token.algorithm)
  }

  private static func name(_ value: JSONValue?) -> String? {
    guard let text = value?.string, (1...longestName).contains(text.utf8.count) else { return nil }
    return text
  }

  /// Whether both are the same, found out in a time that does not tell where they differ.
  static func isEqual(_ given: String?, _ wanted: String) -> Bool {
    guard let given else { return false }
    let (left, right) = (Array(given.utf8), Array(wanted.utf8))
    return ConstantTime.equal(RawSpan(left), RawSpan(right))
  }

  /// The hash of an algorithm is that of `at_hash`; for the others it is not looked at, since it need not be there.
  private static func hashesWithSHA256(_ algorithm: SignatureAlgorithm) -> Bool {
    switch algorithm {
    case .rs256, .ps256, .es256: true
    default: false
    }
  }
}
