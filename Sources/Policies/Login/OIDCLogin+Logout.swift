import Core
import HTTP
import Pipeline

// Out again: by the visitor's wish, here and at the provider, and by the provider's.

extension OIDCLogin {
  /// Bytes of a body with a logout token, and of failures of one address before nobody listens to it: each costs a signature.
  private static let (longestBody, mostFailures): (Int, Int64) = (32_768, 100)

  /// A visitor logs out (OpenID Connect RP-Initiated Logout 1.0). Nobody else can have them do it: only the site's own pages
  /// lead here.
  func logout(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard request.method == .get || request.method == .post else { return refuseMethod("GET, POST", &exchange) }
    guard site.isOwn(request) else { return .refuse(Refusal(ProblemCatalogue.originDenied)) }
    var document: ProviderDocument?
    switch parts(&exchange, services) {
    case .known(let known): document = known
    case .fetching: return .wait
    // Out of here all the same.
    case .unavailable: break
    }
    let finding = cookies.find(in: request)
    if let text = cookies.sessionText(finding, request), let session = open(text, services) {
      end(session, "its visitor has logged out", isAlarm: false, &exchange, services)
    }
    cookies.clearSession(finding, &exchange)
    for state in finding.states { cookies.clearState(state.suffix, &exchange) }
    let home = site.origin + afterLogout
    guard let end = document?.endSession else { return redirect(303, to: home, &exchange) }
    let fields = [FormField("client_id", client.id), FormField("post_logout_redirect_uri", home)]
    return redirect(303, to: Self.url(end.text, fields), &exchange)
  }

  /// The provider says that a session is over (OpenID Connect Back-Channel Logout 1.0 section 2.5).
  func backChannelLogout(
    _ exchange: inout Exchange, _ request: RequestHead, _ services: Services, mayWait: Bool
  ) -> Verdict {
    guard request.method == .post else { return refuseMethod("POST", &exchange) }
    guard let body = exchange.gatheredBody else {
      exchange.gatherLimit = Self.longestBody
      return .gather
    }
    let now = services.world.now
    if services.failures.isExhausted(exchange.client, limit: Self.mostFailures, now: now) {
      return .refuse(Refusal(ProblemCatalogue.failuresLimited, retryAfterSeconds: 1))
    }
    guard let provider, let form = try? FormFields(body.bytes, limit: Self.longestBody),
      let token = form["logout_token"]
    else { return answer(400, &exchange) }
    do throws(LoginFault) {
      let order = try provider.verify(logoutToken: Array(token.utf8), services)
      let name = Array(order.tokenID.utf8)
      return carryOut(order, logouts.use(RawSpan(name), &exchange, services), &exchange, services)
    } catch {
      guard case .unknownKey(let source) = error else {
        services.failures.note(exchange.client, limit: Self.mostFailures, now: now)
        return answer(400, &exchange)
      }
      if mayWait, let issuers = services.issuers, issuers.ask(source, ticket: exchange.ticket) {
        return wait(for: .logoutKey, &exchange)
      }
      return services.issuers?.keys(of: source) == nil ? Self.unavailable : answer(400, &exchange)
    }
  }

  /// Ends what a logout token says, unless it was used before.
  func carryOut(
    _ order: LoginProvider.Logout, _ finding: OnceGuard.Finding, _ exchange: inout Exchange, _ services: Services
  ) -> Verdict {
    switch finding {
    case .waiting: return wait(for: .logoutUsed(order), &exchange)
    // What was taken is carried out, perhaps later: a token that is shown again is not the provider's.
    case .again: return answer(400, &exchange)
    // To end a session twice does no harm; not to end it does.
    case .first, .unknown: break
    }
    let expires = UInt32(clamping: services.world.wallTime.seconds + times.session)
    let reason = "the provider has logged it out"
    guard let facts = services.facts else {
      guard let session = order.session else { return Self.unavailable }
      endHere(session, &exchange, services)
      return answer(200, &exchange)
    }
    let isTaken: Bool
    if let session = order.session {
      isTaken = facts.revoke(RevocationOrder(.session, session, expires: expires, reason: reason, origin: instance))
    } else {
      let name = mark(ofSubject: order.subject ?? "")
      isTaken = facts.revoke(RevocationOrder(.subject, name, expires: expires, reason: reason, origin: instance))
    }
    return isTaken ? answer(200, &exchange) : Self.unavailable
  }

  /// Section 2.8.
  private func answer(_ status: UInt16, _ exchange: inout Exchange) -> Verdict {
    exchange.replyStatus = status
    exchange.responseFields.append("Cache-Control: no-store\r\n")
    if status != 200 {
      exchange.responseFields.append("Content-Type: application/json\r\n")
      exchange.replyBody.append("{\"error\":\"invalid_request\"}\n")
    }
    return .reply
  }
}
