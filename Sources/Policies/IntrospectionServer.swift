import Core
import Crypto
import HTTP
import Pipeline

/// The server that a policy asks about tokens: where it is, and who asks it.
struct IntrospectionServer: Sendable {
  private let service: AskedService
  /// Who asks; nil where ``fields`` say it, or nothing does.
  private let client: TokenEndpointClient?
  private let fields: [FetchField]
  private let stamp: Digest

  /// What people call it.
  var name: String { service.name }

  init(_ options: inout OptionReader) {
    service = AskedService(
      &options, key: "endpoint", "Where the server is asked: its introspection_endpoint.", timeout: .seconds(2))
    let given = ClientOptions(&options, .optional)
    let bearer = options.optionalSecret(
      "bearer",
      "A token by which the server knows this gateway, in place of clientId and what proves it. With neither, everybody may ask it."
    )
    client = given.endpoint
    var fields = [FetchField("Accept", "application/json"), FetchField("Content-Type", FormText.contentType)]
    if let bearer { fields.append(FetchField("Authorization", "Bearer \(bearer)")) }
    self.fields = fields
    stamp = service.stamp(given.stamp + [bearer ?? ""])
    guard let bearer else { return }
    if !given.id.isEmpty {
      options.fail("there are two ways to be known", at: "bearer", fix: "remove it, or clientId and what proves it")
    } else if bearer.isEmpty || !bearer.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) {
      options.fail("this is no token", at: "bearer", fix: "write it without spaces")
    }
  }

  /// Whether a text can be a token (RFC 6749 appendix A.12), of a length that is looked at.
  static func canBeToken(_ text: RawSpan) -> Bool {
    guard (1...CompactToken.longest).contains(text.byteCount) else { return false }
    for offset in 0..<text.byteCount where text[byte: offset] <= 0x20 || text[byte: offset] >= 0x7f { return false }
    return true
  }

  /// Has it asked about a token that has this digest; once for all that wait for the same. False where it cannot be asked.
  func ask(about token: RawSpan, _ digest: Digest, ticket: UInt64, _ services: Services) -> Bool {
    let asked = [
      FormField("token", String(decoding: token.array, as: UTF8.self)), FormField("token_type_hint", "access_token"),
    ]
    let request =
      if let client {
        service.request(asked, by: client, services.world)
      } else {
        service.request(.post, fields: fields, body: FormText.body(asked))
      }
    guard let desk = services.fetches, let request else { return false }
    return desk.begin(request, key: stamp.bytes + digest.bytes, ticket: ticket)
  }
}

/// What must be true of a token that its server calls active, and what it means.
struct IntrospectionRules: Sendable {
  /// Who must have made it; nil where the server's word is enough.
  let issuer: String?
  /// Whom it stands for.
  let mapping: ClaimsMapping

  private let audiences: [String]

  /// What servers call tokens that are for another purpose, though they say that such a one is active: a refresh token or an
  /// ID token must not pass for an access token.
  private static let otherUses: Set = ["refresh_token", "refresh", "offline", "id_token", "id"]

  /// How far the server's clock may be ahead, in microseconds: it has found that the token's time has come.
  private static let leeway: Int64 = 30_000_000

  init(_ options: inout OptionReader) {
    issuer = options.optionalString(
      "issuer",
      "Who must have made the tokens: what the server says as iss. By default whoever the server answers for.")
    audiences = options.stringList(
      "audiences",
      "For whom tokens must be: of what the server says as aud, one must be among these. By default anybody.")
    mapping = ClaimsMapping(&options)
  }

  /// Checks a token that is active; returns the moment from which on it is not, by the node's own clock.
  func check(_ claims: TokenClaims, _ now: WallTime) throws(TokenFault) -> WallTime {
    if let issuer, !claims.isIssued(by: issuer) { throw .refused(ProblemCatalogue.tokenUntrusted) }
    if !audiences.isEmpty, !claims.isFor(audiences) { throw .refused(ProblemCatalogue.tokenUntrusted) }
    for name in ["token_use", "token_type", "typ"] {
      guard let use = claims.root[name]?.string else { continue }
      if Self.otherUses.contains(use.lowercased()) { throw .refused(ProblemCatalogue.tokenUntrusted) }
    }
    if case .at(let start) = claims.moment("nbf"), start.microseconds - Self.leeway > now.microseconds {
      throw .refused(ProblemCatalogue.tokenNotYetValid)
    }
    guard case .at(let end) = claims.moment("exp") else { return WallTime(microseconds: .max) }
    guard now < end else { throw .refused(ProblemCatalogue.tokenExpired) }
    return end
  }
}
