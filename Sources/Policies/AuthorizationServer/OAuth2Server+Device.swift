import Core
import Pipeline

// Devices without a browser (RFC 8628). What a device wants lies sealed in its code, and under the code that its user types
// in a record; what became of it lies in a second record, which whoever answers replaces and whoever gets the tokens takes
// away: each is one step in the store, so that a node may do any of it and only one of them succeeds.

extension OAuth2Server {
  /// How many device codes addresses may ask for: so many at once, and one more every ten seconds.
  private static let deviceRate = LimitRule.rate(interval: 10_000_000_000, burst: 60)
  /// How many all of them together may: fifty a second, which bounds what lies in the store.
  private static let allDevicesRate = LimitRule.rate(interval: 20_000_000, burst: 5_000)
  /// Bytes of a nonce that a device may send along.
  private static let longestNonce = 256
  private static let deviceKey = QuotaKey(configured: "oauth2-server", "device codes")
  /// How often a code of a user may be taken already before something must be wrong.
  private static let mostTries = 4

  // MARK: Asking for codes

  /// Begins to make codes for what a device wants.
  func start(
    _ audience: String, _ scopes: [String], _ call: OAuthCall, _ exchange: inout Exchange, _ services: Services
  ) throws(OAuthFault) -> Verdict {
    var grant = Grant()
    (grant.client, grant.scopes, grant.audience) = (call.client.id, scopes, audience)
    (grant.expires, grant.nonce) = (call.now + deviceTime, call.parameters["nonce"])
    grant.family = GrantFamily(name: TokenMint.freshName(), started: call.now, ends: grant.expires)
    guard (grant.nonce?.utf8.count ?? 0) <= Self.longestNonce,
      let code = grant.sealed(.device, issuer: call.site.issuer, ring(services)),
      grant.bytes(.device, issuer: call.site.issuer, ring(services)).count <= RecordRequest.valueLimit
    else { throw .tooLarge }
    exchange.errand.start = DeviceStart(grant, code: code)
    let zero = WallTime(microseconds: 0)
    func level(_ key: QuotaKey, _ rule: LimitRule) -> QuotaLevel {
      QuotaLevel(
        key: key, rule: rule, cost: 1, period: CivilPeriod(start: zero, end: zero),
        terms: LimitTerms(mode: .exact, outage: .local))
    }
    let network = Self.deviceKey.combined(with: services.key(ofNetwork: exchange.client))
    let finding = ParkedQuestion.ask(
      level(network, Self.deviceRate), level(Self.deviceKey, Self.allDevicesRate), &exchange, services)
    return try paced(finding, call, &exchange, services)
  }

  /// It is known whether the address asks for too many.
  func paced(
    _ finding: OnceGuard.Finding, _ call: OAuthCall, _ exchange: inout Exchange, _ services: Services
  ) throws(OAuthFault) -> Verdict {
    switch finding {
    case .again: throw .crowded
    case .waiting:
      exchange.awaited = .pace
      return .wait
    case .first, .unknown: return keepStart(call, &exchange, services)
    }
  }

  /// Puts the next record of a device that asks for codes.
  private func keepStart(_ call: OAuthCall, _ exchange: inout Exchange, _ services: Services) -> Verdict {
    guard let start = exchange.errand.start else { return Self.unavailable }
    let (issuer, ring) = (call.site.issuer, ring(services))
    // Beyond its end it is remembered a little: a device that comes too late is told so.
    let life = deviceTime + 60
    if start.isKept {
      let value = start.grant.bytes(.device, issuer: issuer, ring)
      let name = start.userCode.name(issuer: issuer, key: services.secretKey(for: Self.userCodePurpose))
      return ask(
        .put(value: value, lifeSeconds: deviceTime, onlyIfAbsent: true), DeviceState.codePurpose, name, &exchange,
        services)
    }
    let state = DeviceState.pending(interval: DeviceState.interval, askedAt: 0)
    let value = state.record(of: start.grant.family.name, issuer: issuer, ring)
    return ask(
      .put(value: value, lifeSeconds: life, onlyIfAbsent: true), DeviceState.purpose, start.grant.family.name,
      &exchange,
      services)
  }

  /// A record is there, or is not.
  func started(_ call: OAuthCall, _ exchange: inout Exchange, _ services: Services) -> Verdict {
    guard let start = exchange.errand.start else { return Self.unavailable }
    switch services.records?.outcome(ticket: exchange.ticket) {
    case .done where start.isKept: return reply(answer(to: start, call), &exchange)
    case .done:
      start.isKept = true
      return keepStart(call, &exchange, services)
    case .refused where start.isKept && start.tries < Self.mostTries:
      start.tries += 1
      start.userCode = UserCode.fresh()
      return keepStart(call, &exchange, services)
    case .refused, .unavailable, nil: return Self.unavailable
    }
  }

  private func answer(to start: DeviceStart, _ call: OAuthCall) -> OAuthAnswer {
    let address = call.site.url(.device)
    var writer = JSONWriter(ByteBuffer(capacity: 1_024))
    writer.beginObject()
    writer.member("device_code", start.code)
    writer.member("user_code", start.userCode.text)
    writer.member("verification_uri", address)
    writer.member("verification_uri_complete", "\(address)?user_code=\(start.userCode.text)")
    writer.member("expires_in", deviceTime)
    writer.member("interval", DeviceState.interval)
    writer.endObject()
    return .object(writer.buffer.array)
  }

  // MARK: Asking for tokens

  /// What a device wants that shows this code.
  func pollWork(_ call: OAuthCall, _ poll: DevicePoll?, _ services: Services) throws(OAuthFault) -> OAuthWork {
    guard let text = call.parameters["device_code"] else { throw .request("device_code is missing") }
    // Its own time is looked at later, so that one which is over is not taken for one that never was.
    guard let grant = Grant(text, as: .device, issuer: call.site.issuer, ring(services), now: 0) else {
      throw .guess("the device code is none of this server")
    }
    guard grant.client == call.client.id else { throw .grant("the device code is of another client") }
    if case .taken(let granted) = poll {
      guard granted.client == call.client.id, call.client.audiences.contains(granted.audience) else { throw .target }
      let left = granted.scopes.filter(call.client.scopes.contains)
      return .redeem(granted, scopes: left)
    }
    guard grant.expires > call.now else { throw .expired }
    return .poll(grant)
  }

  /// Reads how it stands with what a device wants.
  func poll(_ wanted: Grant, _ exchange: inout Exchange, _ services: Services) -> Verdict {
    exchange.errand.poll = .reading
    return ask(.get, DeviceState.purpose, wanted.family.name, &exchange, services)
  }

  /// The store has said something of what a device wants.
  func polled(
    _ wanted: Grant, _ call: OAuthCall, _ exchange: inout Exchange, _ services: Services
  ) throws(OAuthFault) -> Verdict {
    guard let outcome = services.records?.outcome(ticket: exchange.ticket), outcome != .unavailable else {
      return Self.unavailable
    }
    switch (exchange.errand.poll, outcome) {
    case (.reading, .done(let record?)):
      let (device, issuer, ring) = (wanted.family.name, call.site.issuer, ring(services))
      guard let state = DeviceState(record, of: device, issuer: issuer, ring) else { throw Self.used }
      return try act(on: state, record, wanted, call, &exchange, services)
    case (.noting(let isEarly), .done): throw isEarly ? .slower : .pending
    // Somebody else has asked with this code at the very moment, or the user has answered.
    case (.noting, _): throw .pending
    case (.taking, .done(let record?)):
      let (device, issuer, ring) = (wanted.family.name, call.site.issuer, ring(services))
      guard case .granted(let grant) = DeviceState(record, of: device, issuer: issuer, ring) else { throw Self.used }
      exchange.errand.poll = .taken(grant)
      var next = call
      next.poll = .taken(grant)
      return try begin(next, &exchange, services)
    default: throw Self.used
    }
  }

  private static let used = OAuthFault.grant("the device code was used")

  private func act(
    on state: DeviceState, _ record: [UInt8], _ wanted: Grant, _ call: OAuthCall, _ exchange: inout Exchange,
    _ services: Services
  ) throws(OAuthFault) -> Verdict {
    switch state {
    case .denied: throw .denied("the user has said no")
    case .granted:
      // Taken before it is used: a device that asks twice at once gets its tokens once, and neither loses them. Where the
      // store goes away between the two, its user has to begin again.
      if let refusal = gate.refusalWhileStale(services) { return refusal }
      exchange.errand.poll = .taking
      return ask(.take, DeviceState.purpose, wanted.family.name, &exchange, services)
    case .pending:
      guard let (next, isEarly) = state.asked(at: services.world.wallTime.microseconds / 1_000) else { throw .pending }
      exchange.errand.poll = .noting(isEarly: isEarly)
      let value = next.record(of: wanted.family.name, issuer: call.site.issuer, ring(services))
      return ask(.swap(expected: record, value: value), DeviceState.purpose, wanted.family.name, &exchange, services)
    }
  }

  // MARK: Records

  static let userCodePurpose = "oauth2-server user codes"

  /// Has something done with a record; 503 where nobody does such things.
  func ask(
    _ action: RecordRequest.Action, _ purpose: String, _ name: String, _ exchange: inout Exchange, _ services: Services
  ) -> Verdict {
    // Who only watches neither uses up what the server in force is asked for, nor leaves anything.
    if exchange.isShadow, action != .get { return Self.unavailable }
    guard let request = RecordRequest(action, purpose: purpose, name: name),
      services.records?.begin(request, ticket: exchange.ticket) == true
    else { return Self.unavailable }
    exchange.awaited = .record
    return .wait
  }
}
