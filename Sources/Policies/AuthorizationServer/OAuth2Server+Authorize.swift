import Core
import Pipeline

// What users see: the authorization endpoint. Everything that it needs to go on after a form lies in the form itself,
// sealed and bound to the user who was asked, so that no other site can send it in somebody's name.

extension OAuth2Server {
  /// Answers a request of a browser, or with `isForm` perhaps the form that asked for consent.
  func authorize(
    _ parameters: OAuthParameters, isForm: Bool, behind awaited: Awaited, _ site: ServerSite,
    _ exchange: inout Exchange, _ services: Services
  ) -> Verdict {
    if isForm, parameters["consent"] != nil {
      return decide(parameters, behind: awaited, site, &exchange, services)
    }
    if parameters.areAmbiguous { return reply(ServerPage.fault(.request("a parameter is there twice")), &exchange) }
    var client: OAuthClient?
    if let id = parameters["client_id"] {
      switch self.client(id, behind: awaited, &exchange, services) {
      case .known(let known): client = known
      case .unknown: break
      case .waiting: return .wait
      case .decided(let verdict): return verdict
      }
    }
    guard let client else {
      let answer = ServerPage.fault(.request("this client is not known here"))
      // Each name that is none has cost the store a question.
      return takesRegistered ? fail(answer, &exchange, services) : reply(answer, &exchange)
    }
    switch AuthorizationRequest.read(parameters, client, issuer: site.issuer) {
    case .shown(let fault): return reply(ServerPage.fault(fault), &exchange)
    case .answered(let location): return reply(.redirect(to: location), &exchange)
    case .valid(let wanted): return answer(wanted, site, &exchange, services)
    }
  }

  private func answer(
    _ wanted: AuthorizationRequest, _ site: ServerSite, _ exchange: inout Exchange, _ services: Services
  ) -> Verdict {
    do throws(OAuthFault) {
      guard !services.isRevoked(Identity(wanted.client.parts, services)) else {
        throw .unauthorized("the client is revoked")
      }
      guard exchange.isIdentified else {
        if wanted.isSilent { throw .login }
        return challenge(&exchange)
      }
      let user = try user(exchange, services)
      var grant = wanted.grant(
        user, GrantFamily(name: "", started: 0, ends: 0), expires: services.world.wallTime.seconds + Self.consentTime)
      if asksConsent || wanted.wantsConsent {
        if wanted.isSilent { throw .consent }
        guard let form = grant.sealed(.consent, issuer: site.issuer, ring(services)) else { throw .tooLarge }
        let page = ServerPage.consent(grant, clientName: wanted.client.name, form: form, path: site.authorizePath)
        return reply(page, &exchange)
      }
      note(loginOf: &exchange, in: &grant, services)
      return reply(.redirect(to: try location(granting: grant, wanted.client, site, services)), &exchange)
    } catch {
      let location = AuthorizationRequest.location(
        of: error, to: wanted.redirectURI, state: wanted.state, issuer: site.issuer)
      return reply(.redirect(to: location), &exchange)
    }
  }

  /// The user has been asked and has answered.
  private func decide(
    _ parameters: OAuthParameters, behind awaited: Awaited, _ site: ServerSite, _ exchange: inout Exchange,
    _ services: Services
  ) -> Verdict {
    let now = services.world.wallTime.seconds
    let tooOld = ServerPage.fault(.request("this form is too old, or none of this server"))
    guard !parameters.areAmbiguous, let form = parameters["consent"],
      var grant = Grant(form, as: .consent, issuer: site.issuer, ring(services), now: now),
      let address = grant.redirectURI
    else { return reply(tooOld, &exchange) }
    let client: OAuthClient
    switch self.client(grant.client, behind: awaited, &exchange, services) {
    case .known(let known): client = known
    case .unknown: return reply(tooOld, &exchange)
    case .waiting: return .wait
    case .decided(let verdict): return verdict
    }
    guard client.grants.contains(.code), client.redirects.contains(where: { $0.matches(address) }) else {
      return reply(tooOld, &exchange)
    }
    guard exchange.isIdentified else { return challenge(&exchange) }
    do throws(OAuthFault) {
      let user = try user(exchange, services)
      guard user.isSame(as: grant.user) else {
        return reply(ServerPage.fault(.request("somebody else was asked by this form"), status: 403), &exchange)
      }
      switch parameters["decision"] {
      case "allow":
        grant.user = user
        note(loginOf: &exchange, in: &grant, services)
        return reply(.redirect(to: try location(granting: grant, client, site, services)), &exchange)
      case "deny": throw .denied("the user has said no")
      default: return reply(ServerPage.fault(.request("this form says neither yes nor no")), &exchange)
      }
    } catch {
      let location = AuthorizationRequest.location(of: error, to: address, state: grant.state, issuer: site.issuer)
      return reply(.redirect(to: location), &exchange)
    }
  }

  /// Who is logged in.
  func user(_ exchange: borrowing Exchange, _ services: Services) throws(OAuthFault) -> GrantUser {
    do throws(GrantUser.Fault) {
      return try GrantUser(exchange, isClient: { name in clients[name].map { $0.consumer != name } ?? false }, services)
    } catch {
      throw .denied(
        error == .nobody
          ? "the user has no name" : "the user has the name of a consumer or a client, and is another one")
    }
  }

  /// Keeps what the login can be revoked by that somebody grants something with.
  func note(loginOf exchange: inout Exchange, in grant: inout Grant, _ services: Services) {
    guard let facts = services.facts, exchange.isIdentified else { return }
    let marks = services.marks(&exchange, facts)
    (grant.login, grant.loginIssued) = (marks.bits, marks.issued)
    grant.loginKey = exchange.key == Exchange.issuedKeyMark ? exchange.issuedKey : 0
  }

  /// Where the client gets a code for what was granted: the first of a new family.
  private func location(
    granting wanted: Grant, _ client: OAuthClient, _ site: ServerSite, _ services: Services
  ) throws(OAuthFault) -> String {
    let now = services.world.wallTime.seconds
    let mayRefresh = client.grants.contains(.refresh)
    var grant = wanted
    grant.state = nil
    grant.family = GrantFamily(
      name: TokenMint.freshName(), started: now, ends: now + (mayRefresh ? refreshTime : codeTime + accessTime))
    grant.expires = now + codeTime
    guard let code = grant.sealed(.code, issuer: site.issuer, ring(services)), let address = grant.redirectURI else {
      throw .tooLarge
    }
    return RedirectTarget.url(address, adding: [("code", code), ("state", wanted.state), ("iss", site.issuer)])
  }

  /// Nobody is logged in: those who would have known the user have said how.
  func challenge(_ exchange: inout Exchange) -> Verdict {
    exchange.responseFields.append(
      exchange.challenges.isEmpty ? Array("WWW-Authenticate: Bearer realm=\"sluice\"\r\n".utf8) : exchange.challenges)
    return .refuse(Refusal(ProblemCatalogue.authenticationRequired))
  }

  func ring(_ services: Services) -> SealingRing { services.secrets.ring(for: "oauth2-server grants") }
}
