import Core
import Crypto
import HTTP
import Pipeline

/// Exchanges the caller's token for one that is meant for the upstream (RFC 8693), and sends that instead.
///
/// It stands behind a policy on the same route that knows the caller by this token, `jwt` for example, and exchanges no token
/// that nobody has verified unless `requireIdentity` says so: the authorization server may not look at what this gateway looks
/// at. What comes of a token is remembered by its digest for as long as it is good; requests that wait for the same
/// token wait for one answer. An endpoint that cannot answer is asked again after a second, then after twice as long each
/// time, up to half a minute.
///
/// Refuses with 401 `authentication-required` where nobody is known, 401 `token-missing` where the caller is known by no
/// token, 401 `token-untrusted` where the authorization server does not take it, 403 `access-denied` where it gives out
/// nothing for it, 503 `upstream-token-unavailable` where it cannot answer: it fails closed. Where `requireIdentity` is false,
/// an address that sends too many tokens that are not taken hears 429 `too-many-failures`.
public final class TokenExchange: Policy, RequestHook {
  /// The name in the configuration.
  public static let name = "token-exchange"
  /// When it is settled who calls, and that the request is sent on.
  public static let phase = Phase.shape
  /// What it does.
  public static let summary = "Exchanges the caller's token for one that is meant for the upstream (RFC 8693)."

  /// How many tokens that nobody has verified an address may have refused in ten seconds: each of them costs the
  /// authorization server a look.
  private static let mostFailures: Int64 = 100
  /// How long it is remembered that a token is refused, in nanoseconds.
  private static let refusalRest: Int64 = 5_000_000_000
  private static let challenge = BearerChallenge(scopes: [])

  private let instance: String
  private let place: TokenPlace
  private let field: TokenField
  private let endpoint: TokenEndpointOptions
  private let requiresIdentity: Bool
  private let subjectType: String
  private let requestedType: String?
  private let longestUse: Int64

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    instance = options.instanceName
    endpoint = TokenEndpointOptions(&options)
    requiresIdentity = options.bool(
      "requireIdentity", default: true,
      "Whether only tokens are exchanged by which another policy of the route knows the caller. If not, whatever stands in `from` is."
    )
    place = options.section("from", "Where the token is that is exchanged where requireIdentity is false.") {
      TokenPlace(&$0)
    }
    subjectType =
      Self.readType("subjectTokenType", default: "access_token", "What the caller's token is", &options) ?? ""
    requestedType = Self.readType("requestedTokenType", default: nil, "What is asked for", &options)
    longestUse =
      options.duration(
        "cacheFor", default: .seconds(300), in: .seconds(1) ... .seconds(3600),
        "How long a token that was exchanged is used at most, if it is good for so long."
      ).wholeNanoseconds
    field = TokenField(
      &options, default: "Authorization",
      "The field by which the upstream gets the token; in Authorization as a bearer token, in others alone. A client's own is dropped."
    )
  }

  private static let typePrefix = "urn:ietf:params:oauth:token-type:"

  private static func readType(
    _ key: String, default standard: String?, _ help: String, _ options: inout OptionReader
  ) -> String? {
    let format = OptionFormat("a type of tokens", example: "access_token")
    let help = "\(help): a URI, or access_token, jwt, id_token."
    func parse(_ text: String) -> String? {
      ["access_token", "jwt", "id_token"].contains(text) ? typePrefix + text : text.contains(":") ? text : nil
    }
    guard let standard else { return options.optionalValue(key, format, help, parse: parse) }
    return options.value(key, format, default: standard, placeholder: "", help, parse: parse)
  }

  /// Sends what the token has been exchanged for, or has it exchanged.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    field.dropAll(in: request)
    // What nobody has verified is not for the upstream; where it was is found all the same.
    if exchange.token == nil { place.strip(request, &exchange) }
    let spot: TokenSpot
    switch subject(exchange, request) {
    case .token(let found): spot = found
    case .refused(let problem): return refuse(&exchange, problem)
    }
    let text = spot.text(in: request)
    guard (1...CompactToken.longest).contains(text.byteCount), text.isVisible else {
      return refuse(&exchange, ProblemCatalogue.tokenInvalid)
    }
    let digest = services.hasher.digest(of: text)
    if let found = find(digest, services) { return conclude(found, &exchange) }
    let now = services.world.now
    if exchange.token == nil, services.failures.isExhausted(exchange.client, limit: Self.mostFailures, now: now) {
      return .refuse(Refusal(ProblemCatalogue.failuresLimited, retryAfterSeconds: 1))
    }
    let grant = services.upstreamTokens.grant(of: self)
    guard !grant.pace.isResting(now), ask(text, digest, grant, exchange.ticket, services) else {
      return unavailable(services)
    }
    exchange.awaited = .outcome
    return .wait
  }

  /// The endpoint has answered, or has not.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    exchange.awaited = .nothing
    guard case .token(let spot) = subject(exchange, request),
      let found = find(services.hasher.digest(of: spot.text(in: request)), services)
    else { return unavailable(services) }
    if case .untrusted = found, exchange.token == nil {
      services.failures.note(exchange.client, limit: Self.mostFailures, now: services.world.now)
    }
    return conclude(found, &exchange)
  }

  private func find(_ digest: Digest, _ services: Services) -> ExchangedToken.Finding? {
    services.exchangedTokens.find(digest, of: self).flatMap { $0.until >= services.world.now ? $0.finding : nil }
  }

  private enum Finding {
    case token(TokenSpot)
    case refused(Problem)
  }

  /// The token that is exchanged.
  private func subject(_ exchange: borrowing Exchange, _ request: RequestHead) -> Finding {
    if let token = exchange.token { return .token(token) }
    if requiresIdentity {
      return .refused(exchange.isIdentified ? ProblemCatalogue.tokenMissing : ProblemCatalogue.authenticationRequired)
    }
    switch place.find(in: request) {
    case .token(let field, let range): return .token(TokenSpot(field: field, range))
    case .none: return .refused(ProblemCatalogue.tokenMissing)
    case .ambiguous: return .refused(ProblemCatalogue.tokenAmbiguous)
    }
  }

  private func ask(
    _ text: RawSpan, _ digest: Digest, _ grant: UpstreamGrant, _ ticket: UInt64, _ services: Services
  ) -> Bool {
    guard let fetches = services.fetches else { return false }
    let (world, askedAt, tokens) = (services.world, services.world.now, services.exchangedTokens)
    let subject = String(decoding: text.array, as: UTF8.self)
    return fetches.begin(key: grant.fetchKey(digest), ticket: ticket) { [self] in
      endpoint.request(parameters(subject), world)
    } note: { [self] outcome in
      do throws(TokenResponse.Fault) {
        let answer = try TokenResponse(outcome)
        try check(answer)
        grant.succeed()
        let use = min(UpstreamGrant.usable(endpoint.lifetime(answer)), longestUse)
        let finding = ExchangedToken.Finding.token(Array(answer.accessToken.utf8))
        let until = askedAt.advanced(byNanoseconds: use)
        tokens.remember(ExchangedToken(finding, until: until), digest, of: self)
      } catch {
        if let refused = Self.refusal(error) {
          grant.succeed()
          let until = world.now.advanced(byNanoseconds: Self.refusalRest)
          tokens.remember(ExchangedToken(refused, until: until), digest, of: self)
          guard grant.tellsRefusal(world.now) else { return }
        } else {
          grant.fail(error, world.now)
        }
        fetches.report("\(instance): no token from \(endpoint.name): \(error.message)")
      }
    }
  }

  /// RFC 8693 section 2.1.
  private func parameters(_ subject: String) -> [FormField] {
    [
      FormField("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), FormField("subject_token", subject),
      FormField("subject_token_type", subjectType),
    ] + (requestedType.map { [FormField("requested_token_type", $0)] } ?? [])
  }

  private func check(_ answer: TokenResponse) throws(TokenResponse.Fault) {
    if let requestedType, let issued = answer.issuedTokenType, issued != requestedType {
      throw .malformed("what it has given out is not of the type that was asked for")
    }
    // Something else than an access token is sent only where the configuration asks for it.
    guard answer.isBearer || requestedType != nil else { throw .malformed("what it has given out is no bearer token") }
  }

  /// What a refusal says about the caller; nil where it says something about the gateway, or about nothing.
  private static func refusal(_ fault: TokenResponse.Fault) -> ExchangedToken.Finding? {
    guard case .refused(let code, _) = fault else { return nil }
    switch code {
    // RFC 8693 section 2.2.2 has invalid_request for tokens that are not taken; many servers say invalid_grant or invalid_token.
    case "invalid_request", "invalid_grant", "invalid_token": return .untrusted
    case "access_denied", "invalid_target", "invalid_scope": return .denied
    default: return nil
    }
  }

  private func conclude(_ found: ExchangedToken.Finding, _ exchange: inout Exchange) -> Verdict {
    switch found {
    case .token(let token):
      field.send(token, &exchange)
      return .next
    case .untrusted: return refuse(&exchange, ProblemCatalogue.tokenUntrusted)
    case .denied: return .refuse(Refusal(ProblemCatalogue.accessDenied))
    }
  }

  @inline(never)
  private func refuse(_ exchange: inout Exchange, _ problem: Problem) -> Verdict {
    let shown = problem.entry == .authenticationRequired ? ProblemCatalogue.tokenMissing : problem
    exchange.responseFields.append(exchange.challenges.isEmpty ? Self.challenge.line(for: shown) : exchange.challenges)
    return .refuse(Refusal(problem))
  }

  @inline(never)
  private func unavailable(_ services: Services) -> Verdict {
    let left = services.upstreamTokens.grant(of: self).pace.secondsLeft(services.world.now)
    return .refuse(Refusal(ProblemCatalogue.upstreamTokenUnavailable, retryAfterSeconds: left))
  }
}

extension RawSpan {
  /// Whether it is ASCII that shows, without spaces.
  fileprivate var isVisible: Bool {
    for offset in 0..<byteCount where self[byte: offset] <= 32 || self[byte: offset] >= 127 { return false }
    return true
  }
}
