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
  /// The answer is known.
  case nothing(OAuthAnswer)
}

extension OAuth2Server {
  /// Reads a call and finds its client.
  func call(
    _ endpoint: ServerSite.Endpoint, _ site: ServerSite, _ parameters: OAuthParameters, _ authorization: [UInt8]?,
    _ services: Services
  ) throws(OAuthFault) -> OAuthCall {
    let now = services.world.wallTime.seconds
    let authentication = ClientAuthentication(site: site, clients: clients)
    let finding = try authentication.client(parameters, authorization: authorization, now: now)
    guard !services.isRevoked(Identity(finding.client.parts, services)) else { throw .client("the client is revoked") }
    return OAuthCall(
      endpoint: endpoint, site: site, parameters: parameters, client: finding.client,
      assertionName: finding.assertionName, now: now)
  }

  /// Goes on behind what a call has waited for.
  func proceed(
    _ call: OAuthCall, behind awaited: Awaited, _ exchange: inout Exchange, _ services: Services
  ) throws(OAuthFault) -> Verdict {
    switch awaited {
    case .body:
      guard let name = call.assertionName else { return try begin(call, &exchange, services) }
      return try admit(StoreQuestion.use(assertion: name, &exchange, services), call, &exchange, services)
    case .use: return try admit(StoreQuestion.resume(&exchange, services), call, &exchange, services)
    case .grant:
      let finding = StoreQuestion.resume(&exchange, services)
      return try conclude(finding, try work(call, services), call, &exchange, services)
    case .givingUp:
      let finding = StoreQuestion.resume(&exchange, services)
      return try end(finding, try work(call, services), call, &exchange, services)
    default: return try judged(gate.resume(&exchange, services), try work(call, services), call, &exchange, services)
    }
  }

  /// The client's assertion was used before, or was not.
  private func admit(
    _ finding: StoreQuestion.Finding, _ call: OAuthCall, _ exchange: inout Exchange, _ services: Services
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

  private func begin(
    _ call: OAuthCall, _ exchange: inout Exchange, _ services: Services
  ) throws(OAuthFault) -> Verdict {
    let work = try work(call, services)
    switch work {
    case .nothing(let answer): return reply(answer, &exchange)
    case .credentials(let audience, let scopes):
      return reply(try answer(call, audience: audience, scopes: scopes, services), &exchange)
    case .redeem(let grant, _), .describeGrant(let grant):
      guard let (user, consumer) = grant.user.current(services) else {
        return try judged(.revoked, work, call, &exchange, services)
      }
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

  /// It is known whether the grant was used before.
  private func conclude(
    _ finding: StoreQuestion.Finding, _ work: OAuthWork, _ call: OAuthCall, _ exchange: inout Exchange,
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
    _ finding: StoreQuestion.Finding, _ work: OAuthWork, _ call: OAuthCall, _ exchange: inout Exchange,
    _ services: Services
  ) throws(OAuthFault) -> Verdict {
    if case .waiting = finding {
      exchange.awaited = .givingUp
      return .wait
    }
    switch work {
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

  private static var unavailable: Verdict { .refuse(Refusal(ProblemCatalogue.quotaUnavailable, retryAfterSeconds: 1)) }

  static let inactive = OAuthAnswer.object(Array("{\"active\":false}".utf8))
}
