import Core
import HTTP
import Pipeline

// Refresh tokens are used once. So are the generations of a session, in the whole cluster: two questions are put to the store.
// Whether somebody has begun with this generation in the last half minute: then the request came beside that one, and passes
// with what it has. Whether somebody has begun with it ever: then the cookie was replaced long ago, and who shows it now has
// kept it. In this order, so that of requests at the same moment all but one find the first answered with yes.

extension OIDCLogin {
  /// A session is due.
  func refresh(
    _ known: VerifiedToken, _ session: LoginSession, _ exchange: inout Exchange, _ request: RequestHead,
    _ services: Services
  ) -> Verdict {
    let refresh = LoginErrand.Refresh(known: known, session: session)
    switch parts(&exchange, services) {
    case .fetching: return .wait
    case .unavailable: return goOn(refresh, &exchange, request, services)
    case .known(let document):
      let name = session.refreshName
      return begin(
        refresh, recent.use(RawSpan(name), &exchange, services), document, &exchange, request, services)
    }
  }

  /// Whether somebody has begun a moment ago is known, or is not.
  func begin(
    _ refresh: LoginErrand.Refresh, _ finding: OnceGuard.Finding, _ document: ProviderDocument,
    _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    switch finding {
    case .waiting: return wait(for: .recent(refresh, document), &exchange)
    case .unknown: return goOn(refresh, &exchange, request, services)
    case .again: return accept(refresh.known, refresh.session, &exchange, request, services)
    case .first:
      let name = refresh.session.refreshName
      return claim(
        refresh, refreshes.use(RawSpan(name), &exchange, services), document, &exchange, request, services)
    }
  }

  /// Whether somebody has ever begun is known, or is not.
  func claim(
    _ refresh: LoginErrand.Refresh, _ finding: OnceGuard.Finding, _ document: ProviderDocument,
    _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    switch finding {
    case .waiting: return wait(for: .claimed(refresh, document), &exchange)
    case .unknown: return goOn(refresh, &exchange, request, services)
    case .again:
      end(
        refresh.session, "a session's cookie was used again after it had been replaced: it may have been stolen",
        isAlarm: true, &exchange, services)
      return enter(&exchange, request, services)
    case .first: break
    }
    let parameters = [
      FormField("grant_type", "refresh_token"), FormField("refresh_token", refresh.session.refreshToken ?? ""),
    ]
    let message = client.endpoint?.request(
      parameters, at: document.token, authorities: source?.authorities, services.world)
    guard fetch(message, then: .refreshed(refresh), &exchange, services) else {
      return postpone(refresh, &exchange, request, services)
    }
    return .wait
  }

  /// The provider has given new tokens, or has not.
  func refreshed(
    _ refresh: LoginErrand.Refresh, _ outcome: FetchOutcome, _ exchange: inout Exchange, _ request: RequestHead,
    _ services: Services
  ) -> Verdict {
    do throws(TokenResponse.Fault) {
      return renew(refresh, try TokenResponse(outcome), &exchange, request, services, mayWait: true)
    } catch {
      report("no tokens for a refresh token: \(error.message)", services)
      guard case .refused("invalid_grant", _) = error else { return postpone(refresh, &exchange, request, services) }
      end(refresh.session, "the provider has ended the session", isAlarm: false, &exchange, services)
      return enter(&exchange, request, services)
    }
  }

  /// Makes the next generation of what the provider has given.
  func renew(
    _ refresh: LoginErrand.Refresh, _ response: TokenResponse, _ exchange: inout Exchange, _ request: RequestHead,
    _ services: Services, mayWait: Bool
  ) -> Verdict {
    var claims: TokenClaims?
    if let token = response.idToken, let provider {
      let expected = LoginProvider.Expectation(
        nonce: nil, subject: refresh.session.subject, accessToken: response.accessToken)
      do throws(LoginFault) {
        claims = try provider.verify(idToken: Array(token.utf8), expected, services)
      } catch {
        if case .unknownKey(let source) = error, mayWait, let issuers = services.issuers,
          issuers.ask(source, ticket: exchange.ticket)
        {
          return wait(for: .reidentified(refresh, response), &exchange)
        }
        return stop(refresh, &exchange, request, services)
      }
    }
    let now = services.world.wallTime.seconds
    let next = refresh.session.refreshed(by: grant(response, claims), times, now: now)
    do throws(TokenFault) {
      let known = try made(next, services)
      guard keep(next, &exchange, request, services) else { return stop(refresh, &exchange, request, services) }
      return accept(known, next, &exchange, request, services)
    } catch {
      return .refuse(Refusal(error.problem))
    }
  }

  /// What the provider has given is of no use, and what there was is used up.
  private func stop(
    _ refresh: LoginErrand.Refresh, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    end(refresh.session, "the provider's answer to a refresh is not good", isAlarm: false, &exchange, services)
    return enter(&exchange, request, services)
  }

  /// The provider does not answer: the next generation tries again a little later.
  private func postpone(
    _ refresh: LoginErrand.Refresh, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    _ = keep(refresh.session.postponed(now: services.world.wallTime.seconds), &exchange, request, services)
    return goOn(refresh, &exchange, request, services)
  }

  /// A session that cannot be refreshed now is good until its access token is over.
  private func goOn(
    _ refresh: LoginErrand.Refresh, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    guard services.world.wallTime.seconds < refresh.session.accessEnds else { return Self.unavailable }
    return accept(refresh.known, refresh.session, &exchange, request, services)
  }

  /// Tells the operator something, without secrets.
  func report(_ text: String, _ services: Services) { services.fetches?.report("\(instance): \(text)") }

  // MARK: Ends

  /// Ends a session for all who have its cookie.
  func end(
    _ session: LoginSession, _ reason: String, isAlarm: Bool, _ exchange: inout Exchange, _ services: Services
  ) {
    let order = RevocationOrder(
      .session, session.family, expires: UInt32(clamping: session.endsAt), reason: reason, origin: instance,
      isAlarm: isAlarm)
    guard services.facts?.revoke(order) != true else { return }
    if isAlarm { report("alarm: \(reason)", services) }
    endHere(session.family, &exchange, services)
  }

  /// Ends what is called so on a node that is in no cluster: it asks itself with each request.
  func endHere(_ name: String, _ exchange: inout Exchange, _ services: Services) {
    let bytes = Array(name.utf8)
    _ = ended.use(RawSpan(bytes), &exchange, services)
    exchange.limits.removeAll()
  }

  /// Whether a session was ended by ``endHere(_:_:_:)``; nil where that cannot be said at once, as where nodes share a store
  /// and have no secret.
  func hasEnded(_ session: LoginSession, _ exchange: inout Exchange, _ services: Services) -> Bool? {
    defer { exchange.limits.removeAll() }
    for name in [session.family, session.providerSession] {
      guard let name else { continue }
      let bytes = Array(name.utf8)
      switch ended.look(RawSpan(bytes), &exchange, services) {
      case .first: continue
      case .again: return true
      case .waiting, .unknown: return nil
      }
    }
    return false
  }
}
