import Cluster
import Core
import Crypto
import Gateway
import Pipeline
import Policies

/// Does what the admin API offers on keys and revocations, on the control loop.
struct FactDesk: Sendable {
  /// The longest that an answer waits for other nodes, in nanoseconds: less than an answer may take.
  private static let longestWait: Int64 = 4_000_000_000
  /// How long both keys are valid after a rotation that does not say, in seconds.
  private static let overlap: UInt32 = 86_400

  let consult: AdminRoute.ServerConsultation
  let directory: @Sendable () -> ConsumerNames

  /// Lets `body` use the node's facts; answers by itself where there are none.
  func with(_ request: AdminRequest, _ reply: AdminReply, _ body: @escaping @Sendable (FactKeeper) -> Void) {
    consult { agent, _ in
      guard let agent else { return reply(.problem(AdminProblem.noCluster, request.decision)) }
      body(agent.factKeeper)
    }
  }

  // MARK: Keys

  func listKeys(_ keeper: FactKeeper, _ request: AdminRequest, _ reply: AdminReply) {
    let limit = request.parameter("limit").flatMap { Int($0) } ?? 100
    let consumer = request.parameter("consumer")
    let after = request.parameter("after").flatMap { KeyID($0) }
    var page: [IssuedKey] = []
    var hasMore = false
    // One call looks at a bounded number, so that a search does not hold the control loop up.
    var rest = 50_000
    var last: KeyID?
    keeper.view.keys.forEach(after: after) { key in
      guard page.count < limit, rest > 0 else {
        hasMore = true
        return false
      }
      rest -= 1
      last = key.id
      if key.state != .deleted, consumer == nil || key.consumer.id == consumer,
        owns(key.consumer, request.caller?.tenant)
      {
        page.append(key)
      }
      return true
    }
    reply(
      .json { json in
        json.beginObject()
        json.key("keys")
        json.beginArray()
        for key in page { FactText.write(key, to: &json) }
        json.endArray()
        json.key("next")
        if hasMore, let last { json.string(last.text) } else { json.null() }
        json.endObject()
      })
  }

  func showKey(_ keeper: FactKeeper, _ request: AdminRequest, _ reply: AdminReply) {
    guard let key = find(keeper, request, reply) else { return }
    reply(.json { FactText.write(key, to: &$0) })
  }

  func createKey(_ request: AdminRequest, _ reply: AdminReply) {
    consult { agent, servers in
      guard let agent else { return reply(.problem(AdminProblem.noCluster, request.decision)) }
      createKey(agent, servers, request, reply)
    }
  }

  private func createKey(
    _ agent: ClusterAgent, _ servers: [OAuthClientRules], _ request: AdminRequest, _ reply: AdminReply
  ) {
    let keeper = agent.factKeeper
    guard let body = FactBody(request, ["consumer", "notBefore", "expires"]), var consumer = body.consumer("consumer"),
      let notBefore = body.moment("notBefore", otherwise: 0), let expires = body.moment("expires", otherwise: .max),
      notBefore < expires
    else { return reply(.problem(AdminProblem.malformedFact, request.decision)) }
    if let tenant = request.caller?.tenant {
      if let problem = claim(&consumer, for: tenant, keeper) { return reply(.problem(problem, request.decision)) }
    }
    if let problem = objection(to: consumer) { return reply(.problem(problem, request.decision)) }
    let (key, text) = makeKey(consumer, notBefore: notBefore, expires: expires, request.time)
    // Tokens of a registered client and of a user who is called so would be told apart by nobody.
    agent.findClient(consumer.id, of: consumer.own == nil ? [] : servers) { isThere in
      guard let isThere else { return reply(.problem(AdminProblem.storeUnavailable, request.decision)) }
      if isThere { return reply(.problem(AdminProblem.consumerTaken, request.decision)) }
      add([.key(key)], keeper, request, reply) { receipt in
        created(key, text, receipt, AdminChange("key \(key.id.text)", after: FactText.summary(key)))
      }
    }
  }

  func rotateKey(_ keeper: FactKeeper, _ request: AdminRequest, _ reply: AdminReply) {
    guard let old = find(keeper, request, reply) else { return }
    let now = UInt32(clamping: request.time.seconds)
    guard let body = FactBody(request, ["overlap", "expires"]),
      let overlap = body.seconds("overlap", otherwise: Self.overlap),
      let expires = body.moment("expires", otherwise: .max), expires > now
    else { return reply(.problem(AdminProblem.malformedFact, request.decision)) }
    guard mayLast(old, request) else { return reply(.problem(AdminProblem.notTheTenants, request.decision)) }
    let (key, text) = makeKey(old.consumer, notBefore: 0, expires: expires, request.time)
    let (end, overflow) = now.addingReportingOverflow(overlap)
    var former = next(old, request.time)
    former.expires = min(old.expires, overflow ? .max : end)
    add([.key(key), .key(former)], keeper, request, reply) { receipt in
      created(
        key, text, receipt,
        AdminChange("key \(old.id.text)", before: FactText.summary(old), after: "followed by \(key.id.text)"))
    }
  }

  func changeKey(_ keeper: FactKeeper, _ request: AdminRequest, _ reply: AdminReply) {
    guard let old = find(keeper, request, reply) else { return }
    guard let body = FactBody(request, ["state", "expires"]), !body.isEmpty,
      let expires = body.moment("expires", otherwise: old.expires),
      let state = body.state("state", otherwise: old.state)
    else { return reply(.problem(AdminProblem.malformedFact, request.decision)) }
    guard expires <= old.expires || mayLast(old, request) else {
      return reply(.problem(AdminProblem.notTheTenants, request.decision))
    }
    var key = next(old, request.time)
    (key.expires, key.state) = (expires, state)
    change(old, to: key, keeper, request, reply)
  }

  func deleteKey(_ keeper: FactKeeper, _ request: AdminRequest, _ reply: AdminReply) {
    guard let old = find(keeper, request, reply) else { return }
    var key = next(old, request.time)
    key.state = .deleted
    change(old, to: key, keeper, request, reply)
  }

  private func change(
    _ old: IssuedKey, to key: IssuedKey, _ keeper: FactKeeper, _ request: AdminRequest, _ reply: AdminReply
  ) {
    add([.key(key)], keeper, request, reply) { receipt in
      var response = AdminResponse.json { json in
        json.beginObject()
        FactText.writeMembers(key, to: &json)
        FactText.write(receipt, to: &json)
        json.endObject()
      }
      response.change = AdminChange(
        "key \(key.id.text)", before: FactText.summary(old), after: FactText.summary(key))
      return response
    }
  }

  private func created(
    _ key: IssuedKey, _ text: [UInt8], _ receipt: FactReceipt?, _ change: AdminChange
  ) -> AdminResponse {
    var response = AdminResponse.json { json in
      json.beginObject()
      FactText.writeMembers(key, to: &json)
      json.key("key")
      json.string(String(decoding: text, as: UTF8.self))
      FactText.write(receipt, to: &json)
      json.endObject()
    }
    response.status = 201
    response.fields.append((name: "Cache-Control", value: "no-store"))
    response.change = change
    return response
  }

  private func find(_ keeper: FactKeeper, _ request: AdminRequest, _ reply: AdminReply) -> IssuedKey? {
    guard let id = KeyID(request.parameters["id"] ?? ""), let key = keeper.view.keys.key(id), key.state != .deleted,
      owns(key.consumer, request.caller?.tenant)
    else {
      reply(.problem(AdminProblem.keyUnknown, request.decision))
      return nil
    }
    return key
  }

  /// A copy that holds against the record.
  private func next(_ key: IssuedKey, _ time: WallTime) -> IssuedKey {
    var key = key
    key.version = max(key.version + 1, UInt64(max(0, time.microseconds)))
    return key
  }

  private func makeKey(
    _ consumer: KeyConsumer, notBefore: UInt32, expires: UInt32, _ time: WallTime
  ) -> (IssuedKey, text: [UInt8]) {
    let (id, text) = KeyText.make { SecureRandom.bytes($0) }
    let key = IssuedKey(
      id: id, version: UInt64(max(0, time.microseconds)), digest: SHA256().digest(of: RawSpan(text)),
      consumer: consumer, created: UInt32(clamping: time.seconds), notBefore: notBefore, expires: expires)
    return (key, text)
  }

  /// Why a key cannot be this consumer's.
  private func objection(to consumer: KeyConsumer) -> Problem? {
    let names = directory()
    guard let own = consumer.own else { return names.hasConsumer(consumer.id) ? nil : AdminProblem.notConfigured }
    if names.hasConsumer(consumer.id) { return AdminProblem.consumerConfigured }
    if let tenant = own.tenant, !names.hasTenant(tenant) { return AdminProblem.notConfigured }
    return nil
  }

  // MARK: Callers of tenants

  /// Whether a caller may have a key go on: one that goes by the name of a consumer of the configuration outlives it, and would
  /// be a key of whoever is called so next, so that no tenant's caller does that.
  private func mayLast(_ key: IssuedKey, _ request: AdminRequest) -> Bool {
    request.caller?.tenant == nil || key.consumer.own != nil
  }

  /// Whether a consumer is the tenant's, nil: anybody's.
  private func owns(_ consumer: KeyConsumer, _ tenant: String?) -> Bool {
    guard let tenant else { return true }
    return consumer.own.map { $0.tenant == tenant } ?? directory().hasConsumer(consumer.id, ofTenant: tenant)
  }

  /// Makes a consumer the tenant's, or says why it cannot be; the same whether others have one of that name or nobody has.
  private func claim(_ consumer: inout KeyConsumer, for tenant: String, _ keeper: FactKeeper) -> Problem? {
    let names = directory()
    guard names.hasTenant(tenant) else { return AdminProblem.tenantUnknown }
    guard let own = consumer.own else {
      // Such a key goes by the consumer's name, and outlives it: it would be a key of whoever is called so next. A tenant writes
      // keys of these into its configuration.
      return names.hasConsumer(consumer.id, ofTenant: tenant) ? AdminProblem.notTheTenants : AdminProblem.notConfigured
    }
    // What a consumer may cost and do is not for the tenant to say.
    guard own.tenant ?? tenant == tenant, own.plan == nil, names.allows(groups: own.groups, forTenant: tenant) else {
      return AdminProblem.notTheTenants
    }
    // Limits and revocations know consumers by their names.
    if names.hasConsumer(consumer.id) || keeper.view.keys.hasOwnConsumer(named: consumer.id, otherThan: tenant) {
      return AdminProblem.consumerTaken
    }
    consumer.own?.tenant = tenant
    return nil
  }

  /// Why a tenant's caller cannot revoke something: only keys of the tenant's consumers and the tenant itself are surely the
  /// tenant's.
  private func objection(
    to kind: RevocationKind, _ name: String, by tenant: String, _ keeper: FactKeeper
  ) -> Problem? {
    switch kind {
    case .tenant: return name == tenant ? nil : AdminProblem.notTheTenants
    case .key:
      // One of the configuration goes by its consumer's name: whoever is called so next would find theirs revoked. A tenant
      // takes such a key out of its configuration.
      guard let id = KeyID(name) else { return AdminProblem.keyUnknown }
      return keeper.view.keys.key(id).map { owns($0.consumer, tenant) } ?? false ? nil : AdminProblem.keyUnknown
    default: return AdminProblem.notTheTenants
    }
  }

  // MARK: Revocations

  func revoke(_ keeper: FactKeeper, _ request: AdminRequest, _ reply: AdminReply) {
    let now = UInt32(clamping: request.time.seconds)
    guard let body = FactBody(request, ["kind", "id", "expires", "issuedBefore", "reason"]),
      let kind = body.text("kind").flatMap({ RevocationKind(name: $0) }), let name = body.text("id"), !name.isEmpty,
      let expires = body.moment("expires", otherwise: .max), expires > now,
      let issuedBefore = body.moment("issuedBefore", otherwise: kind == .subject ? now : 0),
      kind == .subject ? (1...now).contains(issuedBefore) : issuedBefore == 0,
      let reason = body.has("reason") ? body.text("reason") : ""
    else { return reply(.problem(AdminProblem.malformedFact, request.decision)) }
    if let tenant = request.caller?.tenant, let problem = objection(to: kind, name, by: tenant, keeper) {
      return reply(.problem(problem, request.decision))
    }
    let mark = RevocationMark(kind, name, key: keeper.markKey)
    let record = RevocationRecord(
      Revocation(kind, mark, expires: expires, issuedBefore: issuedBefore), kind: kind, name: name, reason: reason,
      by: request.caller?.name ?? "", revokedAt: now)
    add([.revocation(record)], keeper, request, reply) { receipt in
      var response = AdminResponse.json { json in
        json.beginObject()
        FactText.writeMembers(record, to: &json)
        FactText.write(receipt, to: &json)
        json.endObject()
      }
      response.status = 201
      response.change = AdminChange("\(kind.name) \(name)", after: "revoked", reason: reason)
      return response
    }
  }

  func listRevocations(_ keeper: FactKeeper, _ request: AdminRequest, _ reply: AdminReply) {
    keeper.listRevocations(from: request.parameter("cursor") ?? "0") { page in
      guard let page else { return reply(.problem(AdminProblem.storeUnavailable, request.decision)) }
      reply(
        .json { json in
          json.beginObject()
          json.key("revocations")
          json.beginArray()
          for record in page.records {
            json.beginObject()
            FactText.writeMembers(record, to: &json)
            json.endObject()
          }
          json.endArray()
          json.key("next")
          if let cursor = page.cursor { json.string(cursor) } else { json.null() }
          json.endObject()
        })
    }
  }

  // MARK: What both do

  /// Adds records, waits for all nodes where that is asked for, and answers.
  private func add(
    _ records: [FactRecord], _ keeper: FactKeeper, _ request: AdminRequest, _ reply: AdminReply,
    _ answer: @escaping (FactReceipt?) -> AdminResponse
  ) {
    let wait = request.parameter("wait").flatMap { Duration(text: $0) }.map {
      min($0.wholeNanoseconds, Self.longestWait)
    }
    keeper.add(records) { [weak keeper] result in
      guard case .added(let position) = result else {
        return reply(.problem(AdminProblem.storeUnavailable, request.decision))
      }
      guard let wait, let keeper else { return reply(answer(nil)) }
      keeper.wait(for: position, nanoseconds: wait) { reply(answer($0)) }
    }
  }
}
