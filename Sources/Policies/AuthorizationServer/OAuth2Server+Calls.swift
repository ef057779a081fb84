import Core
import Crypto
import Pipeline

// The endpoints that programs use. A call is read anew each time that it goes on behind something it waited for: all of
// it follows from the request, and what it costs is a digest or, for an assertion, a signature.
//
//   the body has come → the client is known → its assertion is used for the first time → nobody is revoked
//     → the grant is used for the first time → tokens
//                     └ it was used before → the whole family is given up → invalid_grant

/// What a client wants, once it is known who it is.
struct OAuthCall {
  let endpoint: ServerSite.Endpoint
  let site: ServerSite
  let parameters: OAuthParameters
  let client: OAuthClient
  let assertionName: String?
  /// How far a device's question is.
  var poll: DevicePoll?
  /// The present second since 1970.
  let now: Int64
}

/// What a call comes to.
enum OAuthWork {
  /// A token for the client itself.
  case credentials(audience: String, scopes: [String])
  /// Tokens for a code or a refresh token, whose number is used by this; the scopes are those of the access token.
  case redeem(Grant, scopes: [String])
  /// Nothing of the grant's family is good any more.
  case giveUp(Grant)
  /// One access token is not good any more.
  case revoke(OwnToken)
  /// Whether a refresh token is good.
  case describeGrant(Grant)
  /// Whether an access token is good.
  case describeToken(OwnToken)
  /// Codes for a device.
  case start(audience: String, scopes: [String])
  /// Whether the user has answered what a device wants.
  case poll(Grant)
  /// The answer is known.
  case nothing(OAuthAnswer)
}

extension OAuth2Server {
  /// Finds out which client calls, and does what it wants.
  func serve(
    _ endpoint: ServerSite.Endpoint, _ site: ServerSite, _ parameters: OAuthParameters, _ authorization: [UInt8]?,
    behind awaited: Awaited, _ exchange: inout Exchange, _ services: Services
  ) throws(OAuthFault) -> Verdict {
    let authentication = ClientAuthentication(site: site)
    let shown = try authentication.shown(parameters, authorization)
    var client: OAuthClient?
    if let id = shown.id {
      switch self.client(id, behind: awaited, &exchange, services) {
      case .known(let known): client = known
      case .unknown: break
      case .waiting: return .wait
      case .decided(let verdict): return verdict
      }
    }
    let now = services.world.wallTime.seconds
    let finding = try authentication.judge(shown, client, now: now)
    guard !services.isRevoked(Identity(finding.client.parts, services)) else { throw .client("the client is revoked") }
    if !finding.client.isConfidential { exchange.errand.isGuessing = true }
    let call = OAuthCall(
      endpoint: endpoint, site: site, parameters: parameters, client: finding.client,
      assertionName: finding.assertionName, poll: (exchange.carried as? OAuthErrand)?.poll, now: now)
    return try proceed(call, behind: awaited == .client ? .body : awaited, &exchange, services)
  }

  /// Goes on behind what a call has waited for.
  func proceed(
    _ call: OAuthCall, behind awaited: Awaited, _ exchange: inout Exchange, _ services: Services
  ) throws(OAuthFault) -> Verdict {
    switch awaited {
    case .body:
      guard let name = call.assertionName else { return try begin(call, &exchange, services) }
      let bytes = Array(name.utf8)
      return try admit(Self.assertions.use(RawSpan(bytes), &exchange, services), call, &exchange, services)
    case .use: return try admit(Self.assertions.resume(&exchange, services), call, &exchange, services)
    case .pace: return try paced(ParkedQuestion.resume(&exchange, services), call, &exchange, services)
    case .record: return try recorded(call, &exchange, services)
    case .grant:
      let finding = ParkedQuestion.resume(&exchange, services)
      return try conclude(finding, try work(call, services), call, &exchange, services)
    case .givingUp:
      let finding = ParkedQuestion.resume(&exchange, services)
      return try end(finding, try work(call, services), call, &exchange, services)
    default: return try judged(gate.resume(&exchange, services), try work(call, services), call, &exchange, services)
    }
  }

  /// Assertions of clients, each of which is good once (RFC 7523 section 3): forgotten when none of them can be good any
  /// more.
  private static let assertions = OnceGuard(
    purpose: "oauth2-server assertion",
    lifetimeSeconds: ClientAuthentication.longestAssertion + 2 * ClientAuthentication.leeway)

  /// The store has said something of a record of a device.
  private func recorded(
    _ call: OAuthCall, _ exchange: inout Exchange, _ services: Services
  ) throws(OAuthFault) -> Verdict {
    if call.endpoint == .deviceAuthorization { return started(call, &exchange, services) }
    guard case .poll(let wanted) = try work(call, services) else { return Self.unavailable }
    return try polled(wanted, call, &exchange, services)
  }

  /// The client's assertion was used before, or was not.
  private func admit(
    _ finding: OnceGuard.Finding, _ call: OAuthCall, _ exchange: inout Exchange, _ services: Services
  ) throws(OAuthFault) -> Verdict {
    switch finding {
    case .first: return try begin(call, &exchange, services)
    case .again: throw .client("the assertion was used before")
    case .waiting:
      exchange.awaited = .use
      return .wait
    case .unknown: return Self.unavailable
    }
  }

  /// Does what a client wants that is known.
  func begin(
    _ call: OAuthCall, _ exchange: inout Exchange, _ services: Services
  ) throws(OAuthFault) -> Verdict {
    let work = try work(call, services)
    switch work {
    case .nothing(let answer): return reply(answer, &exchange)
    case .credentials(let audience, let scopes):
      return reply(try answer(call, audience: audience, scopes: scopes, services), &exchange)
    case .start(let audience, let scopes): return try start(audience, scopes, call, &exchange, services)
    case .poll(let wanted): return poll(wanted, &exchange, services)
    case .redeem(let grant, _), .describeGrant(let grant):
      guard let (user, consumer) = grant.user.current(services) else {
        return try judged(.revoked, work, call, &exchange, services)
      }
      if !grant.login.isEmpty, let refusal = gate.refusalWhileStale(services) { return refusal }
      if isLoginOver(grant, services) { return try endWithLogin(work, call, &exchange, services) }
      exchange.identify(Identity(grant.parts(user), services), consumer: consumer)
    case .describeToken(let token): exchange.identify(Identity(token.parts, services), consumer: -1)
    case .giveUp(let grant): return try end(grant.family.giveUp(&exchange, services), work, call, &exchange, services)
    case .revoke(let token): return reply(try revoke(token, services), &exchange)
    }
    guard let facts = services.facts else { return try judged(.clear, work, call, &exchange, services) }
    return try judged(gate.judge(&exchange, services, facts), work, call, &exchange, services)
  }

  /// It is known whether those whom it is about are revoked.
  private func judged(
    _ finding: RevocationGate.Finding, _ work: OAuthWork, _ call: OAuthCall, _ exchange: inout Exchange,
    _ services: Services
  ) throws(OAuthFault) -> Verdict {
    switch (finding, work) {
    case (.decided(let verdict), _): return verdict
    case (.revoked, .redeem): throw .grant("the user, the client or the session is revoked")
    case (.revoked, _): return reply(Self.inactive, &exchange)
    case (.clear, .redeem(let grant, _)):
      let used = grant.family.use(grant.generation, &exchange, services)
      return try conclude(used, work, call, &exchange, services)
    case (.clear, .describeGrant(let grant)):
      let seen = grant.family.look(grant.generation, &exchange, services)
      return try conclude(seen, work, call, &exchange, services)
    case (.clear, .describeToken(let token)): return reply(token.description, &exchange)
    case (.clear, _): return reply(.empty, &exchange)
    }
  }

  /// Whether what the user was logged in by is revoked, or is a key that is not valid any more, as far as this node knows.
  private func isLoginOver(_ grant: Grant, _ services: Services) -> Bool {
    if grant.loginKey != 0, services.facts != nil {
      // One that was made just now may be known to the node of the login alone.
      let isNew = services.world.wallTime.seconds < grant.family.started + Self.newKeyTime
      if !(services.isValid(issuedKey: grant.loginKey) ?? isNew) { return true }
    }
    guard let facts = services.facts, !grant.login.isEmpty, facts.hasRevocations,
      let marks = RevocationMarks(issued: grant.loginIssued, bits: grant.login)
    else { return false }
    return facts.holds(marks, at: services.world.wallTime)
  }

  /// The login is over that a grant followed from: so is its family, also when nobody remembers the login any more.
  private func endWithLogin(
    _ work: OAuthWork, _ call: OAuthCall, _ exchange: inout Exchange, _ services: Services
  ) throws(OAuthFault) -> Verdict {
    guard case .redeem(let grant, _) = work else { return reply(Self.inactive, &exchange) }
    exchange.errand.isLoginOver = true
    return try end(grant.family.giveUp(&exchange, services), work, call, &exchange, services)
  }

  /// It is known whether the grant was used before.
  private func conclude(
    _ finding: OnceGuard.Finding, _ work: OAuthWork, _ call: OAuthCall, _ exchange: inout Exchange,
    _ services: Services
  ) throws(OAuthFault) -> Verdict {
    switch (finding, work) {
    case (.waiting, _):
      exchange.awaited = .grant
      return .wait
    case (.unknown, _): return Self.unavailable
    case (.first, .redeem(let grant, let scopes)):
      return reply(try answer(call, grant, scopes: scopes, services), &exchange)
    case (.again, .redeem(let grant, _)):
      return try end(grant.family.giveUp(&exchange, services), work, call, &exchange, services)
    case (.first, .describeGrant(let grant)): return reply(grant.description(issuer: call.site.issuer), &exchange)
    default: return reply(Self.inactive, &exchange)
    }
  }

  /// A family is given up in the store; all nodes learn that its access tokens are no good either.
  private func end(
    _ finding: OnceGuard.Finding, _ work: OAuthWork, _ call: OAuthCall, _ exchange: inout Exchange,
    _ services: Services
  ) throws(OAuthFault) -> Verdict {
    if case .waiting = finding {
      exchange.awaited = .givingUp
      return .wait
    }
    switch work {
    case .redeem(let grant, _) where exchange.errand.isLoginOver:
      _ = services.facts?.revoke(order(grant, "the login is over that it followed from"))
      throw .grant("the login is over that this followed from")
    case .redeem(let grant, _):
      let what = grant.generation == 0 ? "a code was used twice" : "a refresh token was used twice"
      _ = services.facts?.revoke(order(grant, "\(what) by client \(call.client.id)"))
      throw .grant("\(what): all that followed from it is revoked")
    case .giveUp(let grant):
      // Without the store the other nodes would go on to take its tokens.
      if case .unknown = finding { return Self.unavailable }
      _ = services.facts?.revoke(order(grant, "by its client \(call.client.id)"))
      return reply(.empty, &exchange)
    default: return reply(.empty, &exchange)
    }
  }

  private func order(_ grant: Grant, _ reason: String) -> RevocationOrder {
    let end = grant.family.ends + accessTime + ClientAuthentication.leeway
    return RevocationOrder(
      .session, grant.family.name, expires: UInt32(clamping: end), reason: reason, origin: Self.name)
  }

  private func revoke(_ token: OwnToken, _ services: Services) throws(OAuthFault) -> OAuthAnswer {
    let order = RevocationOrder(
      .tokenID, token.name ?? "", expires: UInt32(clamping: token.expires + ClientAuthentication.leeway),
      reason: "by its client \(token.client ?? "")", origin: Self.name)
    guard services.facts?.revoke(order) ?? false else { throw .tokenType }
    return .empty
  }

  /// The store does not say what has to be known.
  static var unavailable: Verdict { .refuse(Refusal(ProblemCatalogue.quotaUnavailable, retryAfterSeconds: 1)) }

  static let inactive = OAuthAnswer.object(Array("{\"active\":false}".utf8))
}
