import Core
import HTTP
import Pipeline

// From a browser without a session to one with: to the provider, and back from it.

extension OIDCLogin {
  /// Characters of a code, and of the name of a request that was left with the provider.
  private static let longestCode = 4_096
  /// Bytes of the query with which a browser comes back.
  private static let longestQuery = 8_192

  /// There is no session, or by `problem` none that is of use: then it goes.
  func enter(
    _ exchange: inout Exchange, _ request: RequestHead, _ services: Services,
    _ problem: Problem = ProblemCatalogue.sessionOver
  ) -> Verdict {
    guard maySend(request) else {
      cookies.clearSession(cookies.find(in: request), &exchange)
      return refuse(&exchange, problem)
    }
    switch parts(&exchange, services) {
    case .known(let document): return begin(document, &exchange, request, services)
    case .fetching: return .wait
    case .unavailable: return Self.unavailable
    }
  }

  private func begin(
    _ document: ProviderDocument, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    let path = paths.kind(of: request.bytes(request.path)) == nil ? ReturnPath.of(request) : ReturnPath.home
    let state = LoginState(path: path, now: services.world.wallTime.seconds)
    guard pushing != .off, let push = document.push else {
      if pushing == .required || document.requiresPush { return Self.unavailable }
      return send(parameters(of: state, services), state, document, &exchange, request, services)
    }
    let message = client.endpoint?.request(
      client.named(parameters(of: state, services)), at: push, authorities: source?.authorities, services.world)
    guard fetch(message, then: .pushed(state, document), &exchange, services) else { return Self.unavailable }
    return .wait
  }

  /// A request to log in (OpenID Connect Core 1.0 section 3.1.2.1), but for the client's name.
  private func parameters(of state: LoginState, _ services: Services) -> [FormField] {
    [
      FormField("response_type", "code"), FormField("redirect_uri", redirectURI),
      FormField("scope", scopes.joined(separator: " ")), FormField("state", state.state),
      FormField("nonce", state.nonce), FormField("code_challenge", state.challenge(services.hasher)),
      FormField("code_challenge_method", "S256"),
    ]
  }

  private var redirectURI: String { site.origin + paths.callback }

  /// The provider has taken the request, or has not (RFC 9126 section 2.2).
  func pushed(
    _ outcome: FetchOutcome, _ state: LoginState, _ document: ProviderDocument, _ exchange: inout Exchange,
    _ request: RequestHead, _ services: Services
  ) -> Verdict {
    guard case .answered(let status, _, let body) = outcome, status == 201 || status == 200,
      let name = Self.requestName(body)
    else {
      report("the provider does not take requests to log in", services)
      return Self.unavailable
    }
    return send([FormField("request_uri", name)], state, document, &exchange, request, services)
  }

  private static func requestName(_ body: [UInt8]) -> String? {
    var limits = JSONLimits()
    (limits.bytes, limits.depth, limits.faults) = (longestQuery, 8, 1)
    guard let name = JSONDocument.parse(body, dialect: .strict, limits: limits).document?.root["request_uri"]?.string,
      (1...longestCode).contains(name.utf8.count)
    else { return nil }
    return name
  }

  private func send(
    _ parameters: [FormField], _ state: LoginState, _ document: ProviderDocument, _ exchange: inout Exchange,
    _ request: RequestHead, _ services: Services
  ) -> Verdict {
    let finding = cookies.find(in: request)
    cookies.clearSession(finding, &exchange)
    forgetOldest(finding, &exchange, request, services)
    keep(state, &exchange, services)
    let fields = [FormField("client_id", client.id)] + parameters
    return redirect(302, to: Self.url(document.authorization.text, fields), &exchange)
  }

  /// A URL with these fields added to its query.
  static func url(_ base: String, _ fields: [FormField]) -> String {
    let separator = !base.contains("?") ? "?" : base.hasSuffix("?") || base.hasSuffix("&") ? "" : "&"
    return base + separator + String(decoding: FormText.body(fields), as: UTF8.self)
  }

  /// Makes room for one more login under way: those that cannot be read go, then those that began first.
  private func forgetOldest(
    _ finding: LoginCookies.Finding, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) {
    guard finding.states.count >= LoginCookies.mostStates else { return }
    let ages = finding.states.map { found in
      (suffix: found.suffix, end: openState(cookies.value(at: found.place, request), services)?.endsAt ?? 0)
    }.sorted { $0.end < $1.end }
    for old in ages.prefix(finding.states.count - LoginCookies.mostStates + 1) {
      cookies.clearState(old.suffix, &exchange)
    }
  }

  // MARK: Back from the provider

  /// A browser comes back with a code, or without (RFC 6749 section 4.1.2).
  func callback(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard request.method == .get else { return refuseMethod("GET", &exchange) }
    guard let form = try? FormFields(request.bytes(request.query), limit: Self.longestQuery),
      let given = form["state"], LoginState.isState(given), let state = state(given, request, services)
    else { return .refuse(Refusal(ProblemCatalogue.loginUnknown)) }
    let document: ProviderDocument
    switch parts(&exchange, services) {
    case .known(let known): document = known
    case .fetching: return .wait
    case .unavailable: return Self.unavailable
    }
    // RFC 9207: nobody takes the answer of one provider for that of another.
    let isNamed = form["iss"].map { $0.utf8.elementsEqual((provider?.issuer.issuer ?? "").utf8) }
    guard isNamed ?? !document.namesIssuer else { return fail(state, ProblemCatalogue.loginFailed, &exchange) }
    if form["error"] != nil { return fail(state, ProblemCatalogue.loginDenied, &exchange) }
    guard let code = form["code"], (1...Self.longestCode).contains(code.utf8.count) else {
      return fail(state, ProblemCatalogue.loginFailed, &exchange)
    }
    let name = Array(state.state.utf8)
    return spend(states.use(RawSpan(name), &exchange, services), state, code, document, &exchange, services)
  }

  /// The login under way that a state belongs to, in this very browser.
  private func state(_ given: String, _ request: RequestHead, _ services: Services) -> LoginState? {
    let finding = cookies.find(in: request)
    let suffix = String(given.prefix(LoginState.suffixCount))
    guard let found = finding.states.first(where: { $0.suffix == suffix }),
      let state = openState(cookies.value(at: found.place, request), services),
      LoginProvider.isEqual(given, state.state), services.world.wallTime.seconds < state.endsAt
    else { return nil }
    return state
  }

  /// A login ends without a session.
  private func fail(_ state: LoginState, _ problem: Problem, _ exchange: inout Exchange) -> Verdict {
    cookies.clearState(state.suffix, &exchange)
    return .refuse(Refusal(problem, retryAfterSeconds: problem.status == 503 ? 5 : -1))
  }

  /// A state is good once: a browser that comes back again learns nothing new, and whoever has seen its address neither.
  func spend(
    _ finding: OnceGuard.Finding, _ state: LoginState, _ code: String, _ document: ProviderDocument,
    _ exchange: inout Exchange, _ services: Services
  ) -> Verdict {
    switch finding {
    case .waiting: return wait(for: .spent(state, code: code, document), &exchange)
    case .again: return fail(state, ProblemCatalogue.loginUnknown, &exchange)
    case .unknown: return fail(state, ProblemCatalogue.loginUnavailable, &exchange)
    case .first: break
    }
    let parameters = [
      FormField("grant_type", "authorization_code"), FormField("code", code), FormField("redirect_uri", redirectURI),
      FormField("code_verifier", state.verifier),
    ]
    let message = client.endpoint?.request(
      parameters, at: document.token, authorities: source?.authorities, services.world)
    guard fetch(message, then: .redeemed(state), &exchange, services) else {
      return fail(state, ProblemCatalogue.loginUnavailable, &exchange)
    }
    return .wait
  }

  /// The provider has given tokens for a code, or has not.
  func redeemed(
    _ outcome: FetchOutcome, _ state: LoginState, _ exchange: inout Exchange, _ request: RequestHead,
    _ services: Services
  ) -> Verdict {
    do throws(TokenResponse.Fault) {
      return finish(try TokenResponse(outcome), state, &exchange, request, services, mayWait: true)
    } catch {
      report("no tokens for a code: \(error.message)", services)
      if case .unavailable = error { return fail(state, ProblemCatalogue.loginUnavailable, &exchange) }
      return fail(state, ProblemCatalogue.loginFailed, &exchange)
    }
  }

  /// Makes a session of what the provider has given.
  func finish(
    _ response: TokenResponse, _ state: LoginState, _ exchange: inout Exchange, _ request: RequestHead,
    _ services: Services, mayWait: Bool
  ) -> Verdict {
    guard let provider, response.isBearer, let token = response.idToken else {
      return fail(state, ProblemCatalogue.loginFailed, &exchange)
    }
    let expected = LoginProvider.Expectation(nonce: state.nonce, subject: nil, accessToken: response.accessToken)
    let claims: TokenClaims
    do throws(LoginFault) {
      claims = try provider.verify(idToken: Array(token.utf8), expected, services)
    } catch {
      guard case .unknownKey(let source) = error else {
        report("the provider's ID token is not good", services)
        return fail(state, ProblemCatalogue.loginFailed, &exchange)
      }
      if mayWait, let issuers = services.issuers, issuers.ask(source, ticket: exchange.ticket) {
        return wait(for: .identified(state, response), &exchange)
      }
      let isKnown = services.issuers?.keys(of: source) != nil
      return fail(state, isKnown ? ProblemCatalogue.loginFailed : ProblemCatalogue.loginUnavailable, &exchange)
    }
    let now = services.world.wallTime.seconds
    guard let session = LoginSession(grant(response, claims), scopes: scopes, times, now: now) else {
      return fail(state, ProblemCatalogue.loginFailed, &exchange)
    }
    return open(session, state, &exchange, request, services)
  }

  /// What a session keeps of an answer.
  func grant(_ response: TokenResponse, _ claims: TokenClaims?) -> LoginSession.Grant {
    LoginSession.Grant(
      refreshToken: response.refreshToken, lifeSeconds: response.lifetimeSeconds, scopes: response.scopes,
      claims: claims?.document)
  }

  private func open(
    _ session: LoginSession, _ state: LoginState, _ exchange: inout Exchange, _ request: RequestHead,
    _ services: Services
  ) -> Verdict {
    do throws(TokenFault) {
      let known = try made(session, services)
      // Who may not pass in any session would be sent to and fro without end.
      exchange.identify(known.identity, consumer: known.consumer)
      guard services.mayGoOn(&exchange) else { return fail(state, ProblemCatalogue.loginDenied, &exchange) }
    } catch {
      return fail(state, error.problem, &exchange)
    }
    guard keep(session, &exchange, request, services) else {
      report("a session does not fit into cookies: the ID token or the refresh token is too long", services)
      return fail(state, ProblemCatalogue.sessionTooLarge, &exchange)
    }
    cookies.clearState(state.suffix, &exchange)
    return redirect(303, to: site.origin + state.path, &exchange)
  }
}
