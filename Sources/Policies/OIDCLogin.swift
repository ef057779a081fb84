import Core
import Crypto
import HTTP
import Pipeline

/// Gives the pages behind it a login with a provider of OpenID Connect, and knows callers by the session that follows.
///
/// A browser without a session is sent to the provider (authorization code with PKCE, `state` bound to the browser, `nonce`,
/// pushed requests where the provider takes them), comes back to `callbackPath`, and gets a sealed cookie in which the whole
/// session stands: any node of the cluster opens it, none remembers it. Requests that are none of pages get 401. Before the
/// access token is over the session is refreshed, once in the whole cluster; whoever comes with a cookie that was replaced
/// before ends the session for all who have it, and an alarm is raised. Requests that were under way beside the refresh pass
/// for half a minute.
///
/// Refuses with 401 `login-required` or `session-over`, 400 `login-unknown`, 403 `login-denied`, `origin-denied` or
/// `consumer-not-allowed`, 502 `login-failed` or `session-too-large`, 503 `login-unavailable`. It fails closed: without the
/// provider nobody logs in. A session goes on without it until its access token is over, and without the store that nodes
/// share likewise; only what was revoked lately may be unknown to a node then, see `onStaleRevocations`.
public final class OIDCLogin: Policy, CallerPolicy, ClaimsPolicy, KeySourceUser {
  /// The name in the configuration.
  public static let name = "oidc-login"
  /// It says who it is.
  public static let phase = Phase.identify
  /// What it does.
  public static let summary =
    "Gives pages a login with an OpenID provider, and knows callers by the session that follows."

  /// For how long requests pass beside a refresh that come with the cookie of before, in seconds.
  static let graceSeconds: Int64 = 30

  private enum Unauthenticated: String, CaseIterable { case auto, always, never }

  let site: LoginSite
  let client: ClientOptions
  let provider: LoginProvider?
  let scopes: [String]
  let pushing: Pushing
  let paths: LoginPaths
  let afterLogout: String
  let cookies: LoginCookies
  let times: LoginSession.Times
  let sent: SentClaims
  let instance: String
  private let unauthenticated: Unauthenticated
  private let gate: RevocationGate
  private let context: [UInt8]

  /// States of logins, each good once.
  let states: OnceGuard
  /// Logout tokens, likewise.
  let logouts: OnceGuard
  /// Refreshes that somebody has begun, for as long as requests beside them pass.
  let recent: OnceGuard
  /// Refreshes that somebody has begun, for as long as a session may last.
  let refreshes: OnceGuard
  /// Sessions that have ended, on a node that is in no cluster which would agree on it.
  let ended: OnceGuard

  /// Whether requests to log in are left with the provider beforehand (RFC 9126).
  enum Pushing: String, CaseIterable {
    case auto, required, off
  }

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    instance = options.instanceName
    let isInsecure = options.bool(
      "insecureCookies", default: false,
      "Whether cookies may be sent in the clear: for tests on one machine, with a publicURL of http://localhost.")
    site = LoginSite(&options, isInsecure: isInsecure)
    client = ClientOptions(&options, .named)
    let issuer = TokenIssuer(&options, provider: client.id)
    provider = issuer.map { [id = client.id] in LoginProvider(issuer: $0, client: id) }
    scopes = options.stringList(
      "scopes", default: ["openid", "profile", "email"],
      "What the provider is asked for; offline_access where it gives refresh tokens to nobody else.")
    pushing = options.choice(
      "par", default: Pushing.auto,
      "Whether requests to log in are left with the provider beforehand (RFC 9126): auto does where it offers that.")
    paths = LoginPaths(&options)
    let after = options.string("afterLogout", default: "/", "The path of this site where browsers go after a logout.")
    afterLogout = ReturnPath.checked(after) ?? ReturnPath.home
    if ReturnPath.checked(after) == nil {
      options.fail("\"\(after)\" is no path of this site", at: "afterLogout", fix: "write it like \"/goodbye\"")
    }
    let cookie = Self.readCookie(&options, isInsecure: isInsecure)
    cookies = LoginCookies(name: cookie, isSecure: !isInsecure)
    times = Self.readTimes(&options)
    sent = SentClaims(&options)
    unauthenticated = options.choice(
      "api", default: Unauthenticated.auto,
      "What requests without a session get: auto sends browsers that open a page to the login and answers all others with 401, "
        + "always answers 401, never sends every GET to the login.")
    gate = RevocationGate(&options)
    let parts = [instance, cookie, client.id, issuer?.issuer ?? ""]
    context = Array(parts.map { Array($0.utf8) }.joined(separator: [0xff]))
    let name = "oidc-login \(instance)"
    states = OnceGuard(purpose: "\(name) state", lifetimeSeconds: LoginState.lifeSeconds * 2, outage: .local)
    logouts = OnceGuard(purpose: "\(name) logout", lifetimeSeconds: times.session, outage: .local)
    recent = OnceGuard(purpose: "\(name) recent", lifetimeSeconds: Self.graceSeconds)
    refreshes = OnceGuard(purpose: "\(name) refresh", lifetimeSeconds: times.session)
    ended = OnceGuard(purpose: "\(name) ended", lifetimeSeconds: times.session)
    if !scopes.contains("openid") && !options.isDescribing {
      options.fail("without the scope openid nobody says who has logged in", at: "scopes", fix: "add \"openid\"")
    }
  }

  private static func readCookie(_ options: inout OptionReader, isInsecure: Bool) -> String {
    let given = options.optionalString(
      "cookie", "What the session's cookie is called; __Host-sluice-session unless cookies are insecure.")
    let name = given ?? (isInsecure ? "sluice-session" : "__Host-sluice-session")
    let isName = name.utf8.allSatisfy {
      switch $0 {
      case 48...57, 65...90, 97...122, UInt8(ascii: "-"), UInt8(ascii: "_"): true
      default: false
      }
    }
    if !isName || !(1...64).contains(name.utf8.count) {
      options.fail("this is no name of a cookie", at: "cookie", fix: "use letters, digits, \"-\" and \"_\"")
    } else if isInsecure, name.hasPrefix("__") {
      options.fail("browsers keep no insecure cookie of this name", at: "cookie", fix: "leave the prefix out")
    } else if !isInsecure, !name.hasPrefix("__Host-") {
      options.warn("other sites of the same domain can set this cookie", at: "cookie", fix: "begin it with \"__Host-\"")
    }
    return name
  }

  private static func readTimes(_ options: inout OptionReader) -> LoginSession.Times {
    func seconds(_ duration: Duration) -> Int64 { duration.wholeNanoseconds / 1_000_000_000 }
    let session = options.duration(
      "sessionTime", default: .seconds(12 * 3_600), in: .seconds(60) ... .seconds(30 * 86_400),
      "How long after the login a session ends, whatever happens.")
    let idle = options.optionalDuration(
      "idleTime", in: .seconds(60) ... .seconds(30 * 86_400), "After how long without a request a session ends.")
    let refresh = options.optionalDuration(
      "refreshEvery", in: .seconds(30) ... .seconds(86_400),
      "How often a session is refreshed at least; by default at three quarters of the access token's life.")
    return LoginSession.Times(session: seconds(session), idle: idle.map(seconds), refresh: refresh.map(seconds))
  }

  /// See ``KeySourceUser``.
  public var keySources: [KeySource] { provider?.issuer.source.map { [$0] } ?? [] }

  // MARK: Requests

  /// See ``ClaimsPolicy``.
  public func explain(
    _ document: JSONDocument, _ services: Services
  ) -> (identity: Identity, requirement: Access.Explanation?)? {
    provider.map { $0.issuer.mapping.explain(TokenClaims(document: document), issuer: $0.issuer.issuer, services) }
  }

  /// See ``CallerPolicy``.
  public func dropClaims(of request: RequestHead, _ exchange: inout Exchange) {
    sent.dropAll(in: request)
    cookies.strip(request, &exchange)
  }

  /// Knows the caller by the session, or sees to it that there is one.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    IdentityFields.dropAll(in: request)
    sent.dropAll(in: request)
    return judge(&exchange, request, services)
  }

  /// What was waited for has come, or has not.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard let errand = exchange.carried as? LoginErrand else {
      // Without an errand it was a body, or an answer about revocations.
      if paths.kind(of: request.bytes(request.path)) == .backChannel {
        return backChannelLogout(&exchange, request, services, mayWait: true)
      }
      return conclude(gate.resume(&exchange, services), &exchange, request, services)
    }
    exchange.carried = nil
    return resume(errand.step, &exchange, request, services)
  }

  /// Judges a request as if it had just come.
  func judge(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    switch paths.kind(of: request.bytes(request.path)) {
    case .callback: return callback(&exchange, request, services)
    case .logout: return logout(&exchange, request, services)
    case .backChannel: return backChannelLogout(&exchange, request, services, mayWait: true)
    case nil: break
    }
    let finding = cookies.find(in: request)
    cookies.strip(request, &exchange)
    guard finding.hasSession else { return enter(&exchange, request, services, ProblemCatalogue.loginRequired) }
    guard let text = cookies.sessionText(finding, request) else { return enter(&exchange, request, services) }
    let digest = services.hasher.digest(of: RawSpan(text))
    if let known = services.tokens.find(digest, of: self), let session = (known.origin as? KnownSession)?.session {
      return go(on: known, session, &exchange, request, services)
    }
    guard let session = open(text, services) else { return enter(&exchange, request, services) }
    do throws(TokenFault) {
      let known = try made(session, services)
      services.tokens.remember(known, digest, of: self)
      return go(on: known, session, &exchange, request, services)
    } catch {
      return .refuse(Refusal(error.problem))
    }
  }

  private func go(
    on known: VerifiedToken, _ session: LoginSession, _ exchange: inout Exchange, _ request: RequestHead,
    _ services: Services
  ) -> Verdict {
    let standing = session.standing(at: services.world.wallTime.seconds, times)
    // What is over is not refreshed first: with the provider too it would be used up.
    if standing != .good, services.isRevoked(known.identity) { return enter(&exchange, request, services) }
    switch standing {
    case .good: return accept(known, session, &exchange, request, services)
    case .aging:
      _ = keep(session.touched(now: services.world.wallTime.seconds), &exchange, request, services)
      return accept(known, session, &exchange, request, services)
    case .due: return refresh(known, session, &exchange, request, services)
    case .starved: return Self.unavailable
    case .over: return enter(&exchange, request, services)
    }
  }

  /// Lets the caller of a session pass, unless it is revoked.
  func accept(
    _ known: VerifiedToken, _ session: LoginSession, _ exchange: inout Exchange, _ request: RequestHead,
    _ services: Services
  ) -> Verdict {
    guard let facts = services.facts else {
      guard let hasEnded = hasEnded(session, &exchange, services) else { return Self.unavailable }
      if hasEnded { return enter(&exchange, request, services) }
      identify(known, &exchange)
      return .next
    }
    identify(known, &exchange)
    return conclude(gate.judge(&exchange, services, facts), &exchange, request, services)
  }

  private func identify(_ known: VerifiedToken, _ exchange: inout Exchange) {
    exchange.identify(known.identity, consumer: known.consumer)
    exchange.validUntil = known.expires
    if !known.fields.isEmpty { exchange.requestFields.append(known.fields) }
  }

  private func conclude(
    _ finding: RevocationGate.Finding, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    switch finding {
    case .clear: .next
    case .revoked: enter(&exchange, request, services)
    case .decided(let verdict): verdict
    }
  }

  // MARK: Sessions

  /// What follows from a session. Throws where it stands for a consumer whom nobody knows.
  func made(_ session: LoginSession, _ services: Services) throws(TokenFault) -> VerifiedToken {
    guard let provider else { throw .refused(ProblemCatalogue.loginUnavailable) }
    let claims = TokenClaims(document: session.claims)
    let mapping = provider.issuer.mapping
    var parts = mapping.parts(of: claims, issuer: provider.issuer.issuer)
    parts.client = client.id
    parts.session = session.providerSession
    parts.further = [(.session, session.family), (.subject, mark(ofSubject: session.subject))]
    parts.issued = UInt32(clamping: session.began - 1)
    if parts.scopes.isEmpty { parts.scopes = session.scopes }
    let caller = try mapping.caller(of: claims, parts, services)
    return VerifiedToken(
      identity: caller.identity, consumer: caller.consumer, fields: sent.lines(of: claims.root), confirmation: .none,
      expires: WallTime(microseconds: session.endsAt * 1_000_000), keyChanges: 0, origin: KnownSession(session))
  }

  /// What all sessions of a subject are revoked by, and nothing else that is called the same.
  func mark(ofSubject subject: String) -> String { "\(provider?.issuer.issuer ?? "") \(subject)" }

  /// Opens a session; nil for what none of our nodes has sealed for this policy.
  func open(_ text: [UInt8], _ services: Services) -> LoginSession? {
    guard let sealed = Base64URL.decode(RawSpan(text)) else { return nil }
    return services.secrets.ring(for: "oidc-session").open(sealed, context: context).flatMap { LoginSession($0) }
  }

  /// Has the browser keep a session; false where it is too long for that.
  func keep(
    _ session: LoginSession, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Bool {
    let sealed = services.secrets.ring(for: "oidc-session").seal(session.text, context: context)
    let seconds = session.endsAt - services.world.wallTime.seconds
    // With the cookie in it nobody may keep the answer, whatever the upstream says of it (RFC 9111 section 5.2.2.5).
    exchange.responseFields.append("Cache-Control: no-store\r\n")
    return cookies.setSession(
      Base64URL.encode(sealed), seconds: seconds, cookies.find(in: request), &exchange)
  }

  /// Opens a login under way; nil for what none of our nodes has sealed for this policy.
  func openState(_ text: [UInt8], _ services: Services) -> LoginState? {
    guard let sealed = Base64URL.decode(RawSpan(text)) else { return nil }
    return services.secrets.ring(for: "oidc-login").open(sealed, context: context).flatMap { LoginState($0) }
  }

  /// Has the browser keep a login under way.
  func keep(_ state: LoginState, _ exchange: inout Exchange, _ services: Services) {
    let sealed = services.secrets.ring(for: "oidc-login").seal(state.text, context: context)
    cookies.setState(state.suffix, Base64URL.encode(sealed), &exchange)
  }

  // MARK: Answers

  /// Whether a request may be sent to a login instead of being refused.
  func maySend(_ request: RequestHead) -> Bool {
    switch unauthenticated {
    case .always: false
    case .never: request.method == .get || request.method == .head
    case .auto: LoginSite.isPage(request)
    }
  }

  /// Refuses somebody who has no session, or one that is of no use.
  func refuse(_ exchange: inout Exchange, _ problem: Problem) -> Verdict {
    exchange.responseFields.append("WWW-Authenticate: Cookie realm=\"sluice\"\r\n")
    return .refuse(Refusal(problem))
  }

  /// The provider or the store cannot be asked.
  static var unavailable: Verdict { .refuse(Refusal(ProblemCatalogue.loginUnavailable, retryAfterSeconds: 5)) }

  /// Sends the browser elsewhere; nobody may keep that, nor learn from where it came.
  func redirect(_ status: UInt16, to location: String, _ exchange: inout Exchange) -> Verdict {
    exchange.replyStatus = status
    exchange.responseFields.append(
      utf8: "Location: \(location)\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n")
    return .reply
  }

  /// A path of ours was asked with another method than it takes.
  func refuseMethod(_ allowed: StaticString, _ exchange: inout Exchange) -> Verdict {
    exchange.responseFields.append("Allow: ")
    exchange.responseFields.append(allowed)
    exchange.responseFields.append("\r\n")
    return .refuse(Refusal(ProblemCatalogue.methodNotAllowed))
  }
}
