import Core
import Crypto
import HTTP
import Pipeline

/// Finds out which client sends a request to the token endpoint, and whether it is that client (RFC 6749 section 2.3,
/// RFC 7523 section 2.2).
///
/// Exactly one way is taken: that which the client is configured with. A secret is hashed and its digest compared in
/// constant time; an assertion is verified with the client's own keys alone, whose kind says which algorithms they are
/// for.
struct ClientAuthentication: Sendable {
  /// A client that has proved who it is, as far as one request can.
  struct Finding: Sendable {
    let client: OAuthClient
    /// What may be used once in the cluster: the number of an assertion; nil for other ways.
    let assertionName: String?
  }

  /// How long before its end an assertion can be made at most, in seconds, and how far clocks may be apart.
  static let longestAssertion: Int64 = 3_600
  static let leeway: Int64 = 30
  static let assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
  /// The most bytes of a number of an assertion.
  private static let longestName = 256

  let site: ServerSite

  /// What a request shows of its client.
  struct Shown {
    /// Which client it says to be of.
    fileprivate(set) var id: String?
    fileprivate var secret: String?
    fileprivate var assertion: String?
  }

  /// The client that a request is of which shows this; `client` is the one that is called so, nil where there is none.
  func judge(_ shown: Shown, _ client: OAuthClient?, now: Int64) throws(OAuthFault) -> Finding {
    guard let id = shown.id else { throw .client("no client says who it is") }
    guard let client, client.id.utf8.elementsEqual(id.utf8) else {
      // As long as with a client that is there.
      _ = Self.holds(shown.secret ?? "", [Digest(words: (0, 0, 0, 0))])
      throw Self.unproved
    }
    switch (client.proof, shown.secret, shown.assertion) {
    case (.none, nil, nil): return Finding(client: client, assertionName: nil)
    case (.secrets(let digests), .some(let secret), nil):
      guard Self.holds(secret, digests) else { throw Self.unproved }
      return Finding(client: client, assertionName: nil)
    case (.keys(let keys), nil, .some(let assertion)):
      return Finding(client: client, assertionName: try verify(assertion, of: id, keys, now: now))
    default: throw Self.unproved
    }
  }

  /// The same for all that could be wrong, so that nobody learns which clients there are.
  private static let unproved = OAuthFault.client("the client is not known or has not proved who it is")

  private static func holds(_ secret: String, _ digests: [Digest]) -> Bool {
    let bytes = Array(secret.utf8)
    let digest = SHA256().digest(of: RawSpan(bytes))
    var holds = false
    for one in digests where one == digest { holds = true }
    return holds
  }

  /// What a request shows with these parameters and this field `Authorization`, nil where it has none.
  func shown(_ parameters: OAuthParameters, _ authorization: [UInt8]?) throws(OAuthFault) -> Shown {
    var shown = Shown(id: parameters["client_id"], secret: parameters["client_secret"])
    if let assertion = parameters["client_assertion"] {
      guard parameters["client_assertion_type"] == Self.assertionType else {
        throw .client("the type of the assertion is not known")
      }
      guard shown.secret == nil else { throw Self.ambiguous }
      shown.assertion = assertion
      // RFC 7521 section 4.2: the id may be left out where the assertion names it.
      shown.id = shown.id ?? Self.subject(assertion)
    }
    guard let authorization else { return shown }
    guard let (id, secret) = Self.basic(authorization) else {
      throw .client("the field Authorization holds no client with its secret")
    }
    guard shown.secret == nil, shown.assertion == nil, shown.id == nil || shown.id == id else { throw Self.ambiguous }
    return Shown(id: id, secret: secret)
  }

  private static let ambiguous = OAuthFault.request("a client proves in one way who it is")

  /// Id and secret, each written as in a form before they were joined (RFC 6749 section 2.3.1).
  private static func basic(_ value: [UInt8]) -> (id: String, secret: String)? {
    let text = String(decoding: value, as: UTF8.self)
    guard text.utf8.count <= OAuthParameters.longest, text.prefix(6).lowercased() == "basic ",
      let bytes = Base64.decode(String(text.dropFirst(6))),
      let colon = bytes.firstIndex(of: UInt8(ascii: ":"))
    else { return nil }
    func decoded(_ part: ArraySlice<UInt8>) -> String? {
      let part = Array(part)
      return QueryParameter.decoded(RawSpan(part)).flatMap { String(validating: $0, as: UTF8.self) }
    }
    guard let id = decoded(bytes[..<colon]), let secret = decoded(bytes[(colon + 1)...]), !id.isEmpty else {
      return nil
    }
    return (id, secret)
  }

  // MARK: Assertions

  /// Whom an assertion says it is of, which nobody has verified yet.
  private static func subject(_ assertion: String) -> String? {
    let bytes = Array(assertion.utf8)
    guard let token = try? CompactToken(RawSpan(bytes)), let claims = try? token.claims() else { return nil }
    return claims.root["sub"]?.string
  }

  /// Checks that an assertion is of this client, for this server and made just now; returns its number, which may be
  /// used once.
  private func verify(
    _ assertion: String, of id: String, _ keys: JSONWebKeySet, now: Int64
  ) throws(OAuthFault) -> String {
    let bytes = Array(assertion.utf8)
    do throws(CompactTokenFault) {
      let token = try CompactToken(RawSpan(bytes))
      let claims = try token.claims().root
      // A token that was made for another purpose says so.
      let isTyped = !token.hasType || token.isType("JWT") || token.isType("client-authentication+jwt")
      guard isTyped, isMeant(claims, by: id, now: now), let name = claims["jti"]?.string,
        (1...Self.longestName).contains(name.utf8.count), case .verified = keys.verify(token)
      else { throw CompactTokenFault.unsigned }
      return "\(id) \(name)"
    } catch {
      throw Self.unproved
    }
  }

  private func isMeant(_ claims: JSONValue, by id: String, now: Int64) -> Bool {
    guard claims["iss"]?.equals(id) ?? false, claims["sub"]?.equals(id) ?? false,
      // One audience and no other: an assertion that is good in two places can be carried from one to the other.
      let audience = claims["aud"], let one = audience.kind == .array ? audience.elements.first : audience,
      audience.kind != .array || audience.count == 1,
      one.equals(site.issuer) || one.equals(site.url(.token)),
      let end = claims["exp"]?.number, end + Double(Self.leeway) > Double(now),
      end < Double(now + Self.longestAssertion + Self.leeway)
    else { return false }
    if let start = claims["nbf"] {
      guard let start = start.number, start <= Double(now + Self.leeway) else { return false }
    }
    if let made = claims["iat"] {
      guard let made = made.number, made <= Double(now + Self.leeway) else { return false }
    }
    return true
  }
}
