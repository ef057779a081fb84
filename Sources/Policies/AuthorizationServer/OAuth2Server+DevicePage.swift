import Core
import HTTP
import Pipeline

// Where users type what their device shows, and say yes or no. As with codes for browsers, what a form means lies in the form,
// sealed and bound to the user who was shown it.

extension OAuth2Server {
  /// Shows the page, or goes on with it.
  func devicePage(
    _ parameters: OAuthParameters, isForm: Bool, behind awaited: Awaited, _ site: ServerSite,
    _ exchange: inout Exchange,
    _ services: Services
  ) -> Verdict {
    guard exchange.isIdentified else { return challenge(&exchange) }
    let user: GrantUser
    do throws(OAuthFault) { user = try self.user(exchange, services) } catch {
      return reply(ServerPage.fault(error, status: 403), &exchange)
    }
    if parameters.areAmbiguous { return reply(ServerPage.fault(.request("a parameter is there twice")), &exchange) }
    if isForm, let form = parameters["consent"] {
      return decideDevice(form, parameters["decision"], user, behind: awaited, site, &exchange, services)
    }
    guard let typed = parameters["user_code"] else { return reply(ServerPage.deviceCode(site.devicePath), &exchange) }
    guard let code = UserCode(typed) else {
      return reply(ServerPage.deviceCode(site.devicePath, after: "This is not how codes look."), &exchange)
    }
    return ask(about: code, of: user, behind: awaited, site, &exchange, services)
  }

  /// What a name is counted under whose codes are wrong.
  private func guesser(_ user: GrantUser) -> String { "oauth2-server device \(user.subject)" }

  /// Finds out what a code stands for, and asks the user.
  private func ask(
    about code: UserCode, of user: GrantUser, behind awaited: Awaited, _ site: ServerSite, _ exchange: inout Exchange,
    _ services: Services
  ) -> Verdict {
    let name = Array(guesser(user).utf8)
    if failures.isShut(exchange, name: RawSpan(name), services) { return .refuse(FailureGate.refusal) }
    let now = services.world.wallTime.seconds
    switch awaited {
    case .record:
      guard case .done(let record) = services.records?.outcome(ticket: exchange.ticket) else { return Self.unavailable }
      guard let record, let asked = Grant(bytes: record, as: .device, issuer: site.issuer, ring(services), now: now)
      else {
        return fail(
          ServerPage.deviceCode(site.devicePath, after: "This code is not known here, or is over.", status: 400),
          name: guesser(user), &exchange, services)
      }
      exchange.errand.asked = asked
    case .client: break
    default:
      let name = code.name(issuer: site.issuer, key: services.secretKey(for: Self.userCodePurpose))
      return ask(.get, DeviceState.codePurpose, name, &exchange, services)
    }
    guard var grant = exchange.errand.asked else { return Self.unavailable }
    switch client(grant.client, behind: awaited, &exchange, services) {
    case .waiting: return .wait
    case .decided(let verdict): return verdict
    case .unknown: return reply(ServerPage.fault(.request("this client is not known here any more")), &exchange)
    case .known(let client):
      grant.user = user
      guard let form = grant.sealed(.deviceConsent, issuer: site.issuer, ring(services)) else {
        return reply(ServerPage.fault(.tooLarge, status: 500), &exchange)
      }
      return reply(
        ServerPage.deviceConsent(grant, code: code, clientName: client.name, form: form, path: site.devicePath),
        &exchange)
    }
  }

  /// The user has been asked and has answered.
  private func decideDevice(
    _ form: String, _ decision: String?, _ user: GrantUser, behind awaited: Awaited, _ site: ServerSite,
    _ exchange: inout Exchange, _ services: Services
  ) -> Verdict {
    let now = services.world.wallTime.seconds
    guard let grant = Grant(form, as: .deviceConsent, issuer: site.issuer, ring(services), now: now) else {
      return reply(ServerPage.fault(.request("this form is too old, or none of this server")), &exchange)
    }
    guard user.isSame(as: grant.user) else {
      return reply(ServerPage.fault(.request("somebody else was asked by this form"), status: 403), &exchange)
    }
    guard decision == "allow" || decision == "deny" else {
      return reply(ServerPage.fault(.request("this form says neither yes nor no")), &exchange)
    }
    let client: OAuthClient
    switch self.client(grant.client, behind: awaited, &exchange, services) {
    case .waiting: return .wait
    case .decided(let verdict): return verdict
    case .unknown: return reply(ServerPage.fault(.request("this client is not known here any more")), &exchange)
    case .known(let known): client = known
    }
    guard client.grants.contains(.device), !services.isRevoked(Identity(client.parts, services)) else {
      return reply(ServerPage.fault(.request("this client is for no devices any more")), &exchange)
    }
    guard awaited == .record else { return ask(.get, DeviceState.purpose, grant.family.name, &exchange, services) }
    var granted = grant
    granted.user = user
    let verdict = answerDevice(granted, client, isAllowed: decision == "allow", site, &exchange, services)
    return verdict
  }

  /// The store has said how it stands with what a device wants, or whether the user's answer has come to it.
  private func answerDevice(
    _ wanted: Grant, _ client: OAuthClient, isAllowed: Bool, _ site: ServerSite, _ exchange: inout Exchange,
    _ services: Services
  ) -> Verdict {
    let (device, errand) = (wanted.family.name, exchange.errand)
    guard let outcome = services.records?.outcome(ticket: exchange.ticket), outcome != .unavailable else {
      return Self.unavailable
    }
    if errand.state != nil {
      if case .done = outcome { return reply(ServerPage.deviceDone(isAllowed: isAllowed), &exchange) }
      // The device has asked in between: the state is another one.
      errand.state = nil
      guard errand.tries < Self.mostAnswers else { return Self.unavailable }
      errand.tries += 1
      return ask(.get, DeviceState.purpose, device, &exchange, services)
    }
    guard case .done(let record?) = outcome,
      case .pending = DeviceState(record, of: device, issuer: site.issuer, ring(services))
    else { return reply(ServerPage.fault(.request("this code was answered already, or is over")), &exchange) }
    var state = DeviceState.denied
    if isAllowed { state = .granted(granted(wanted, client, &exchange, services)) }
    let value = state.record(of: device, issuer: site.issuer, ring(services))
    guard value.count <= RecordRequest.valueLimit else {
      return reply(ServerPage.fault(.tooLarge, status: 500), &exchange)
    }
    errand.state = record
    return ask(.swap(expected: record, value: value), DeviceState.purpose, device, &exchange, services)
  }

  /// How often a user's answer is tried while the device keeps asking.
  private static let mostAnswers = 5

  /// What the device gets: the first of a new family.
  private func granted(
    _ wanted: Grant, _ client: OAuthClient, _ exchange: inout Exchange, _ services: Services
  ) -> Grant {
    let now = services.world.wallTime.seconds
    var grant = wanted
    let life = client.grants.contains(.refresh) ? refreshTime : deviceTime + accessTime
    grant.family = GrantFamily(name: TokenMint.freshName(), started: now, ends: now + life)
    note(loginOf: &exchange, in: &grant, services)
    return grant
  }
}
