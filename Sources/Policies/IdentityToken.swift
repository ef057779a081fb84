import Core
import Crypto
import HTTP
import Pipeline

/// Tells the upstream who calls, by a short-lived token that the gateway signs: whatever way the caller is known by, the
/// upstream has one kind of token to verify, and one set of keys to do it with (see `jwks`).
///
/// The token says `iss`, `sub`, `aud`, `iat`, `exp` and, as far as they are known, `client_id`, `tenant`, `groups`, `roles`,
/// `scope`, `consumer` and `idp`, the issuer that vouches for the caller. It has no `jti`: the same token goes with all requests
/// of a caller for a quarter of its lifetime, so that not each of them costs a signature. What clients send in its field
/// never reaches the upstream, whether or not they are known.
///
/// Refuses with 503 `upstream-token-unavailable` where the token would be too long for a field. Needs nothing but memory
/// otherwise.
public final class IdentityToken: Policy, RequestHook {
  /// The name in the configuration.
  public static let name = "identity-token"
  /// When it is settled who calls.
  public static let phase = Phase.shape
  /// What it does.
  public static let summary = "Tells the upstream who calls, by a short-lived token (JWT) of the gateway's own."

  /// What the key is derived for that all nodes of a cluster share.
  static let keyPurpose = "identity-token"
  /// The most bytes of claims: with more a token fits into the head of few upstreams.
  static let longestClaims = 8_192
  /// What cannot be copied from elsewhere.
  private static let ownClaims = [
    "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "tenant", "groups", "roles", "scope", "consumer",
    "idp",
    "cnf", "act", "may_act",
  ]

  private let instance: String
  private let field: TokenField
  private let issuer: String
  private let audiences: [String]
  private let lifetimeSeconds: Int64
  private let copied: [(name: String, path: ClaimPath)]
  private let nobody: String?
  /// Nil for the key that is derived.
  private let signer: TokenSigner?

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    instance = options.instanceName
    issuer = options.string(
      "issuer", "Who vouches for it (iss), as the upstream is to expect it: \"https://gateway.example.com\".")
    audiences = options.stringList(
      "audience", allowsSingle: true, "Whom it is for (aud); by default nobody in particular.")
    lifetimeSeconds =
      options.duration(
        "lifetime", default: .seconds(60), in: .seconds(10) ... .seconds(3600),
        "How long it is good. It is used for a quarter of that."
      ).wholeNanoseconds / 1_000_000_000
    copied = Self.readCopied(&options)
    nobody = options.optionalString(
      "anonymous", "Whom it names (sub) where nobody is known; by default there is no token then.")
    field = TokenField(
      &options, default: "X-Identity-Token", "The field by which the upstream gets it. A client's own is dropped.")
    signer =
      SigningKeyOptions(
        &options,
        "The private key in PEM form; by default an Ed25519 key that follows from the cluster's secret, the same on all nodes."
      ).signer
    if issuer.isEmpty, !options.isDescribing { options.fail("nobody vouches for it", at: "issuer", fix: "write a URL") }
  }

  private static func readCopied(_ options: inout OptionReader) -> [(name: String, path: ClaimPath)] {
    let wanted = options.stringMap(
      "claims", "Claims of the caller's own token to copy: { \"email\": \"email\", \"org\": \"org.id\" }.")
    return wanted.compactMap { name, text in
      guard !ownClaims.contains(name), !name.isEmpty else {
        options.fail("\"\(name)\" is what the gateway says itself", at: "claims", fix: "give it another name")
        return nil
      }
      guard let path = ClaimPath(text) else {
        options.fail("\"\(text)\" is no claim", at: "claims", fix: "write it like \"email\" or \"org.id\"")
        return nil
      }
      return (name, path)
    }
  }

  /// Sends the token.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    field.dropAll(in: request)
    guard exchange.isIdentified || nobody != nil else { return .next }
    var writer = JSONWriter(ByteBuffer(capacity: 1_024))
    writer.beginObject()
    writeCaller(exchange, services, &writer)
    // All that the token says but for its times.
    let digest = services.hasher.digest(of: writer.buffer.bytes)
    let now = services.world.now
    if let known = services.identityTokens.find(digest, of: self), known.until >= now {
      field.send(known.text, &exchange)
      return .next
    }
    let issued = services.world.wallTime.seconds
    writer.key("iat")
    writer.integer(issued)
    writer.key("exp")
    writer.integer(issued + lifetimeSeconds)
    writer.endObject()
    guard writer.buffer.count <= Self.longestClaims,
      let token = try? (signer ?? services.signer(for: Self.keyPurpose)).sign(writer.buffer.bytes)
    else { return refuse(services) }
    let use = lifetimeSeconds * 250_000_000
    services.identityTokens.remember(SignedToken(token, until: now.advanced(byNanoseconds: use)), digest, of: self)
    field.send(token, &exchange)
    return .next
  }

  private func writeCaller(_ exchange: borrowing Exchange, _ services: Services, _ writer: inout JSONWriter) {
    let identity = exchange.identity
    let consumer = exchange.consumer >= 0 ? services.consumer(exchange.consumer) : nil
    write("iss", issuer, &writer)
    write("sub", identity?.subject ?? identity?.client ?? consumer?.id ?? (identity == nil ? nobody : nil), &writer)
    if audiences.count == 1 { write("aud", audiences[0], &writer) } else { write("aud", audiences, &writer) }
    write("client_id", identity?.client, &writer)
    write("tenant", identity?.tenant ?? consumer?.tenant, &writer)
    // As rules have it: a caller is in the groups of both.
    let groups = identity?.groups ?? []
    write("groups", groups + (consumer?.groups ?? []).filter { !groups.contains($0) }, &writer)
    write("roles", identity?.roles ?? [], &writer)
    write("scope", identity.flatMap { $0.scopes.isEmpty ? nil : $0.scopes.joined(separator: " ") }, &writer)
    write("consumer", consumer?.id, &writer)
    write("idp", identity?.issuer, &writer)
    guard let claims = identity?.claims?.root else { return }
    for (name, path) in copied {
      guard let value = path.value(in: claims) else { continue }
      writer.key(name)
      // It was parsed as strict JSON.
      writer.raw(value.sourceText)
    }
  }

  private func write(_ name: StaticString, _ text: String?, _ writer: inout JSONWriter) {
    guard let text else { return }
    writer.key(name)
    writer.string(text)
  }

  private func write(_ name: StaticString, _ texts: [String], _ writer: inout JSONWriter) {
    if texts.isEmpty { return }
    writer.key(name)
    writer.beginArray()
    for text in texts { writer.string(text) }
    writer.endArray()
  }

  @inline(never)
  private func refuse(_ services: Services) -> Verdict {
    if services.upstreamTokens.grant(of: self).tellsRefusal(services.world.now) {
      services.fetches?.report(
        "\(instance): a caller's token would have more than \(Self.longestClaims) bytes of claims")
    }
    return .refuse(Refusal(ProblemCatalogue.upstreamTokenUnavailable))
  }
}
