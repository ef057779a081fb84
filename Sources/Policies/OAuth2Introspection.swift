import Core
import Crypto
import HTTP
import Pipeline

/// Knows callers by a token of which a server is asked what it means (OAuth 2.0 Token Introspection, RFC 7662): for tokens
/// that nobody can read but who has made them.
///
/// The server is asked off the path of requests, once however many requests with the token wait for it. What it says is kept for
/// `cacheTime`, never longer than the token lives, and forgotten at once where it says otherwise; that a token is not good is
/// kept for `negativeCacheTime`, in a place of its own. Revocations, and the certificate that a token is bound to, are
/// looked at with every request; a token that is bound to a key (DPoP, RFC 9449) is good with a proof of it only. What is no `application/json` of status 200 with a truth value `active`, or gives somebody a
/// name that is no text, is no answer: the server is then as good as gone, and `onFailure` says what happens.
///
/// The token never reaches the upstream unless `forward` says so, nor does any field by which an upstream might believe a
/// client about who it is. Refuses with 401 `token-missing`, `token-inactive`, `token-invalid`, `token-untrusted`,
/// `token-expired`, `token-not-yet-valid`, `token-unconfirmed` or `token-revoked`, 429 `too-many-failures`, 400 `token-ambiguous`,
/// 403 `insufficient-scope`, `access-denied` or `consumer-not-allowed`, 503 `issuer-unavailable`, and what `jwt` says of proofs. It fails closed unless `onFailure` says
/// otherwise.
public final class OAuth2Introspection: Policy, CallerPolicy, ClaimsPolicy {
  /// The name in the configuration.
  public static let name = "oauth2-introspection"
  /// It says who it is.
  public static let phase = Phase.identify
  /// What it does.
  public static let summary =
    "Knows callers by a token of which a server says what it means (RFC 7662), and keeps the token from the upstream."

  private enum FailureRule: String, CaseIterable { case closed, stale, open }

  private let server: IntrospectionServer
  private let reading: IntrospectionRules
  private let rules: BearerRules
  private let cacheNanoseconds: Int64
  private let negativeNanoseconds: Int64
  private let onFailure: FailureRule
  private let staleNanoseconds: Int64

  /// For how long a server that has failed is not asked again about a token that is used all the same, in nanoseconds: else
  /// each request with it would wait for the server's time limit.
  private static let rest: Int64 = 1_000_000_000

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    server = IntrospectionServer(&options)
    reading = IntrospectionRules(&options)
    rules = BearerRules(&options)
    let cacheTime = options.duration(
      "cacheTime", default: .seconds(60), in: .zero ... .seconds(3_600),
      "How long a token is taken for good once the server has said so, at most as long as it lives: what the server takes back "
        + "is good for so long still. 0s: it is asked with every request.")
    let negative = options.duration(
      "negativeCacheTime", default: .seconds(10), in: .zero ... .seconds(300),
      "How long a token is refused once the server has said that it is not good.")
    onFailure = options.choice(
      "onFailure", default: FailureRule.closed,
      "What happens to a token while the server gives no answer, or none that can be understood: closed refuses it (503); "
        + "stale lets it pass as long as the server has called it good within staleTime, and refuses all others; open lets the "
        + "request pass as nobody and without the token, which only a route with optional can have.")
    let stale = options.duration(
      "staleTime", default: .seconds(300), in: .seconds(1) ... .seconds(86_400),
      "With stale: how long ago the server may have called a token good.")
    cacheNanoseconds = cacheTime.wholeNanoseconds
    negativeNanoseconds = negative.wholeNanoseconds
    staleNanoseconds = stale.wholeNanoseconds
    if options.isDescribing { return }
    if onFailure == .open, !rules.isOptional {
      options.fail(
        "nobody may pass here without a token, so not while the server is gone either", at: "onFailure",
        fix: "write optional: true, or \"stale\" or \"closed\"")
    }
    if onFailure == .stale, stale <= cacheTime {
      options.fail("this is over before cacheTime is", at: "staleTime", fix: "write more than cacheTime")
    }
    if options.has("staleTime"), onFailure != .stale {
      options.warn("this means nothing without onFailure: \"stale\"", at: "staleTime", fix: "remove it")
    }
  }

  /// See ``ClaimsPolicy``.
  public func explain(
    _ document: JSONDocument, _ services: Services
  ) -> (identity: Identity, requirement: Access.Explanation?)? {
    reading.mapping.explain(TokenClaims(document: document), issuer: reading.issuer ?? server.name, services)
  }

  /// See ``CallerPolicy``.
  public func dropClaims(of request: RequestHead, _ exchange: inout Exchange) {
    rules.dropClaims(of: request, &exchange)
  }

  /// Finds the token and whom it stands for, and takes it out of what is sent on.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    rules.dropClaimed(in: request)
    switch rules.place.find(in: request) {
    case .none: return rules.missing(&exchange)
    case .ambiguous: return rules.refuse(&exchange, ProblemCatalogue.tokenAmbiguous)
    case .token(let field, let range):
      let text = request.value(of: field).extracting(range)
      // Nobody needs to be asked about what can be no token.
      guard IntrospectionServer.canBeToken(text) else { return rules.refuse(&exchange, ProblemCatalogue.tokenInvalid) }
      let digest = services.hasher.digest(of: text)
      if let verdict = recall(digest, text, &exchange, request, field, services) { return verdict }
      // Only now: whoever has a good token passes, whatever others do at its address.
      if rules.failures.isShut(exchange, services) { return .refuse(FailureGate.refusal) }
      guard server.ask(about: text, digest, ticket: exchange.ticket, services) else {
        return fail(digest, text, &exchange, request, field, services)
      }
      exchange.awaited = .outcome
      return .wait
    }
  }

  /// The server's answer, or one about revocations, has come, or has not.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard exchange.awaited == .outcome else { return rules.resume(&exchange, services) }
    exchange.awaited = .nothing
    guard case .token(let field, let range) = rules.place.find(in: request) else { return Self.unavailable }
    let text = request.value(of: field).extracting(range)
    let digest = services.hasher.digest(of: text)
    let outcome = services.fetches?.outcome(ticket: exchange.ticket)
    // Somebody who has waited for the same answer may have read it by now.
    if let verdict = recall(digest, text, &exchange, request, field, services) { return verdict }
    switch read(outcome, services) {
    case .good(let token):
      remember(token, digest, services)
      return rules.accept(token, text, &exchange, request, field, services)
    case .refused(let problem):
      services.introspections.forget(digest, of: self)
      if negativeNanoseconds > 0 {
        let asksAgainAt = services.world.now.advanced(byNanoseconds: negativeNanoseconds)
        services.rejections.remember(RejectedToken(problem, asksAgainAt: asksAgainAt), digest, of: self)
      }
      guard problem.entry == .tokenInactive else { return rules.refuse(&exchange, problem) }
      return rules.refuseFailure(&exchange, problem, services)
    case .none: return fail(digest, text, &exchange, request, field, services)
    }
  }

  /// Goes by what is known of a token; nil where the server has to be asked.
  private func recall(
    _ digest: Digest, _ text: RawSpan, _ exchange: inout Exchange, _ request: RequestHead, _ field: Int,
    _ services: Services
  ) -> Verdict? {
    let now = services.world.now
    if let known = services.introspections.find(digest, of: self), now < known.asksAgainAt,
      services.world.wallTime < known.token.expires
    {
      return accept(known, text, &exchange, request, field, services)
    }
    if let known = services.rejections.find(digest, of: self), now < known.asksAgainAt {
      return rules.refuse(&exchange, known.problem)
    }
    return nil
  }

  /// Goes by what the server has said of a token, and tells the client where that was too long ago.
  private func accept(
    _ known: IntrospectedToken, _ text: RawSpan, _ exchange: inout Exchange, _ request: RequestHead, _ field: Int,
    _ services: Services
  ) -> Verdict {
    if services.world.now.nanoseconds(since: known.checkedAt) > cacheNanoseconds {
      exchange.responseFields.append(Self.degraded)
    }
    return rules.accept(known.token, text, &exchange, request, field, services)
  }

  // MARK: Answers

  private enum Finding {
    case good(VerifiedToken)
    case refused(Problem)
    /// There is no answer, or none that says anything.
    case none
  }

  private func read(_ outcome: FetchOutcome?, _ services: Services) -> Finding {
    guard case .answered(let status, let fields, let body)? = outcome,
      let answer = try? IntrospectionAnswer.read(status: status, fields: fields, body: body)
    else { return .none }
    guard case .active(let document) = answer else { return .refused(ProblemCatalogue.tokenInactive) }
    let claims = TokenClaims(document: document)
    do throws(TokenFault) {
      let expires = try reading.check(claims, services.world.wallTime)
      let parts = reading.mapping.parts(of: claims, issuer: reading.issuer ?? server.name)
      return .good(try rules.made(claims, parts, reading.mapping, expires: expires, services))
    } catch {
      guard case .refused(let problem) = error else { return .none }
      return .refused(problem)
    }
  }

  private func remember(_ token: VerifiedToken, _ digest: Digest, _ services: Services) {
    services.rejections.forget(digest, of: self)
    guard cacheNanoseconds > 0 || onFailure == .stale else { return }
    let now = services.world.now
    let known = IntrospectedToken(
      token, checkedAt: now, asksAgainAt: now.advanced(byNanoseconds: cacheNanoseconds))
    services.introspections.remember(known, digest, of: self)
  }

  /// The server has not answered.
  private func fail(
    _ digest: Digest, _ text: RawSpan, _ exchange: inout Exchange, _ request: RequestHead, _ field: Int,
    _ services: Services
  ) -> Verdict {
    switch onFailure {
    case .closed: return Self.unavailable
    case .open:
      // Whatever it is, nobody has called it good: it is not passed on.
      rules.place.strip(request, &exchange)
      exchange.responseFields.append(Self.degraded)
      return rules.passAsNobody(&exchange)
    case .stale:
      let now = services.world.now
      guard let known = services.introspections.find(digest, of: self),
        now.nanoseconds(since: known.checkedAt) < staleNanoseconds, services.world.wallTime < known.token.expires
      else { return Self.unavailable }
      let end = known.checkedAt.advanced(byNanoseconds: staleNanoseconds)
      let asksAgainAt = min(now.advanced(byNanoseconds: Self.rest), end)
      let later = IntrospectedToken(known.token, checkedAt: known.checkedAt, asksAgainAt: asksAgainAt)
      services.introspections.remember(later, digest, of: self)
      return accept(later, text, &exchange, request, field, services)
    }
  }

  private static let degraded = Array("Sluice-Degraded: introspection\r\n".utf8)

  private static var unavailable: Verdict { .refuse(Refusal(ProblemCatalogue.keysUnavailable, retryAfterSeconds: 1)) }
}
