import Core
import Crypto
import HTTP
import Pipeline

/// Knows callers by a JSON Web Token (RFC 7519) that an issuer has signed: an access token of OAuth 2.0, or any other.
///
/// The issuers are those of the options and nobody else: a token's own `jwk`, `jku`, `x5u` and `x5c` are never looked at, and
/// what verifies a token is settled by the key, not by the token's `alg` (RFC 8725). Keys come from the configuration, from a
/// URL, or by discovery (OpenID Connect Discovery 1.0), off the path of requests; a token that names an unknown key waits
/// for them to be fetched again, at most once in half a minute. Good tokens are remembered by their digest until they
/// expire, or their issuer's keys change.
///
/// The token never reaches the upstream unless `forward` says so, nor does any field by which an upstream might believe a
/// client about who it is. A token that is bound to a key (DPoP, RFC 9449) is good with a proof of that key only, made for the
/// request and shown once in the cluster.
///
/// Refuses with 401 `token-missing`, `token-invalid`, `token-untrusted`, `token-expired`, `token-not-yet-valid`, `token-unconfirmed`,
/// `token-revoked`, `proof-missing`, `proof-invalid`, `proof-nonce-missing` or `proof-repeated`, 429 `too-many-failures`, 400 `token-ambiguous`, 403 `insufficient-scope`, `access-denied` or `consumer-not-allowed`, 503
/// `issuer-unavailable` as long as an issuer's keys have never been had, `replay-unknown`. It fails closed; only what was revoked lately may be unknown to a
/// node that cannot reach the store, see `onStaleRevocations`.
public final class JWT: Policy, CallerPolicy, ClaimsPolicy, KeySourceUser {
  /// The name in the configuration.
  public static let name = "jwt"
  /// It says who it is.
  public static let phase = Phase.identify
  /// What it does.
  public static let summary =
    "Knows callers by a signed token (JWT) of an issuer, and keeps the token from the upstream."

  private let issuers: [TokenIssuer]
  private let rules: BearerRules
  private let caches: Bool

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    issuers = options.objects("issuers", isRequired: true, "Whose tokens are good.") { TokenIssuer(&$0) }
    rules = BearerRules(&options)
    caches = options.bool(
      "cache", default: true,
      "Whether a token that was found good is remembered until it expires, so that its signature is verified once.")
    let names = issuers.map(\.issuer)
    if let index = names.indices.first(where: { names[..<$0].contains(names[$0]) }) {
      options.fail("this issuer is there twice", at: "issuers", element: index, fix: "join both")
    }
  }

  /// See ``KeySourceUser``.
  public var keySources: [KeySource] { issuers.compactMap(\.source) }

  /// See ``ClaimsPolicy``.
  public func explain(
    _ document: JSONDocument, _ services: Services
  ) -> (identity: Identity, requirement: Access.Explanation?)? {
    let claims = TokenClaims(document: document)
    let issuer = issuers.first { claims.isIssued(by: $0.issuer) } ?? issuers.first
    return issuer.map { $0.mapping.explain(claims, issuer: $0.issuer, services) }
  }

  /// See ``CallerPolicy``.
  public func dropClaims(of request: RequestHead, _ exchange: inout Exchange) {
    rules.dropClaims(of: request, &exchange)
  }

  /// Finds the token and whom it stands for, and takes it out of what is sent on.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    rules.dropClaimed(in: request)
    return judge(&exchange, request, services, mayWait: true)
  }

  /// The issuer's keys, or an answer about revocations, have come, or have not.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    if exchange.awaited == .keys {
      exchange.awaited = .nothing
      return judge(&exchange, request, services, mayWait: false)
    }
    return rules.resume(&exchange, services)
  }

  private func judge(
    _ exchange: inout Exchange, _ request: RequestHead, _ services: Services, mayWait: Bool
  ) -> Verdict {
    switch rules.place.find(in: request) {
    case .none: return rules.missing(&exchange)
    case .ambiguous: return rules.refuse(&exchange, ProblemCatalogue.tokenAmbiguous)
    case .token(let field, let range):
      let text = request.value(of: field).extracting(range)
      guard text.byteCount <= CompactToken.longest else {
        return rules.refuse(&exchange, ProblemCatalogue.tokenInvalid)
      }
      let digest = caches ? services.hasher.digest(of: text) : nil
      if let digest, let known = services.tokens.find(digest, of: self), isGood(known, services) {
        return rules.accept(known, text, &exchange, request, field, services)
      }
      // Only now: whoever has a good token passes, whatever others do at its address.
      if rules.failures.isShut(exchange, services) { return .refuse(FailureGate.refusal) }
      switch verify(text, services) {
      case .good(let token):
        if let digest { services.tokens.remember(token, digest, of: self) }
        return rules.accept(token, text, &exchange, request, field, services)
      case .refused(let problem):
        guard problem.entry == .tokenInvalid else { return rules.refuse(&exchange, problem) }
        return rules.refuseFailure(&exchange, problem, services)
      case .unknownKey(let source):
        if mayWait, let issuers = services.issuers, issuers.ask(source, ticket: exchange.ticket) {
          exchange.awaited = .keys
          return .wait
        }
        if services.issuers?.keys(of: source) != nil {
          return rules.refuse(&exchange, ProblemCatalogue.tokenUntrusted)
        }
        return .refuse(Refusal(ProblemCatalogue.keysUnavailable, retryAfterSeconds: 5))
      }
    }
  }

  /// Whether a token that was good when its signature was verified is good now.
  private func isGood(_ token: VerifiedToken, _ services: Services) -> Bool {
    token.expires > services.world.wallTime && token.keyChanges == services.issuers?.changes ?? 0
  }

  private enum Outcome {
    case good(VerifiedToken)
    case refused(Problem)
    /// The issuer has to be asked for its keys, again perhaps.
    case unknownKey(KeySource)
  }

  private func verify(_ text: RawSpan, _ services: Services) -> Outcome {
    do throws(CompactTokenFault) {
      let token = try CompactToken(text, headers: services.tokenHeaders)
      let claims = TokenClaims(document: try token.claims())
      guard let issuer = issuers.first(where: { claims.isIssued(by: $0.issuer) }) else {
        return .refused(ProblemCatalogue.tokenUntrusted)
      }
      return verify(token, claims, issuer, services)
    } catch {
      return .refused(ProblemCatalogue.tokenInvalid)
    }
  }

  private func verify(
    _ token: borrowing CompactToken, _ claims: TokenClaims, _ issuer: TokenIssuer, _ services: Services
  ) -> Outcome {
    do throws(TokenFault) {
      let key = try issuer.verify(token, claims, services)
      let parts = issuer.mapping.parts(of: claims, issuer: issuer.issuer, signingKey: key)
      return .good(try rules.made(claims, parts, issuer.mapping, expires: issuer.expires(claims), services))
    } catch {
      switch error {
      case .refused(let problem): return .refused(problem)
      case .unknownKey(let source): return .unknownKey(source)
      }
    }
  }
}
