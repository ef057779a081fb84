import Cluster
import Core
import Crypto
import Gateway
import Pipeline
import Policies

/// Does what the admin API offers on clients of authorization servers, on the control loop. Secrets are in one answer and
/// kept nowhere: the store has their digests.
struct ClientDesk: Sendable {
  /// How long both secrets are good after a rotation that does not say, and at most, in seconds.
  private static let (overlap, longestOverlap): (UInt32, UInt32) = (86_400, 90 * 86_400)
  /// How far clocks of nodes may be apart, in seconds.
  private static let leeway: Int64 = 60
  private static let secretBytes = 32

  let consult: AdminRoute.ServerConsultation
  let directory: @Sendable () -> ConsumerNames

  /// What an operation works with.
  struct Place {
    let agent: ClusterAgent
    let server: OAuthClientRules
    /// The other servers that take registered clients.
    let others: [OAuthClientRules]
  }

  /// Lets `body` work with the server that a request names, or the only one; answers by itself where there is none.
  func with(
    _ request: AdminRequest, named name: String?, _ reply: AdminReply, _ body: @escaping @Sendable (Place) -> Void
  ) {
    consult { agent, servers in
      guard let agent else { return reply(.problem(AdminProblem.noCluster, request.decision)) }
      let found = name == nil && servers.count == 1 ? servers[0] : servers.first { $0.issuer == name }
      guard let found else { return reply(.problem(AdminProblem.serverUnknown, request.decision)) }
      body(Place(agent: agent, server: found, others: servers.filter { $0.issuer != found.issuer }))
    }
  }

  // MARK: Reading

  func list(_ place: Place, _ request: AdminRequest, _ reply: AdminReply) {
    let (server, now) = (place.server, request.time.seconds)
    place.agent.records.list(RegisteredClient.shelf, from: request.parameter("cursor") ?? "0") { page in
      guard let page else { return reply(.problem(AdminProblem.storeUnavailable, request.decision)) }
      let clients = page.items.compactMap { RegisteredClient($0.value, server: server) }
      reply(
        .json { json in
          json.beginObject()
          json.key("clients")
          json.beginArray()
          for client in clients {
            json.beginObject()
            Self.write(client, now: now, to: &json)
            json.endObject()
          }
          json.endArray()
          json.key("next")
          if let cursor = page.cursor { json.string(cursor) } else { json.null() }
          json.endObject()
        })
    }
  }

  func show(_ place: Place, _ request: AdminRequest, _ reply: AdminReply) {
    find(place, request, reply) { client, _ in
      reply(
        .json { json in
          json.beginObject()
          Self.write(client, now: request.time.seconds, to: &json)
          json.endObject()
        })
    }
  }

  /// Goes on with the client that a request names and its record; answers by itself where there is none.
  private func find(
    _ place: Place, _ request: AdminRequest, _ reply: AdminReply,
    _ body: @escaping (RegisteredClient, _ record: [UInt8]) -> Void
  ) {
    let id = request.parameters["id"] ?? ""
    let name = RegisteredClient.recordName(issuer: place.server.issuer, id: id)
    place.agent.records.find(name, on: RegisteredClient.shelf) { outcome in
      guard case .done(let record) = outcome else {
        return reply(.problem(AdminProblem.storeUnavailable, request.decision))
      }
      guard let record, let client = RegisteredClient(record, server: place.server) else {
        return reply(.problem(AdminProblem.clientUnknown, request.decision))
      }
      body(client, record)
    }
  }

  // MARK: Changing

  func create(_ place: Place, _ text: ClientBody, _ request: AdminRequest, _ reply: AdminReply) {
    let secret = text.isPublic ? nil : Self.freshSecret()
    let id = text.id ?? "c" + Base64URL.encode(SecureRandom.bytes(16))
    // One that stands in paths as it is.
    guard IssuedKey.isName(id) else {
      return reply(
        .problem(AdminProblem.malformedClient, request.decision, detail: "An id is letters, digits, dots, _ and -."))
    }
    let options = text.options(id: id, secrets: secret.map { [Self.digest($0)] } ?? [])
    let client: RegisteredClient
    do throws(RegisteredClient.RegistrationFault) {
      client = try RegisteredClient(optionText: options, place.server, created: request.time.seconds)
    } catch {
      return reply(.problem(AdminProblem.malformedClient, request.decision, detail: error.message))
    }
    guard let record = client.record else {
      return reply(
        .problem(AdminProblem.malformedClient, request.decision, detail: "All of it together is too long for a record.")
      )
    }
    guard isFree(id, place, request.time) else {
      return reply(.problem(AdminProblem.clientTaken, request.decision))
    }
    let name = RegisteredClient.recordName(issuer: place.server.issuer, id: id)
    // Whoever deletes a client revokes its id, whichever server's it is.
    place.agent.findClient(id, of: place.others) { isThere in
      guard let isThere else { return reply(.problem(AdminProblem.storeUnavailable, request.decision)) }
      if isThere { return reply(.problem(AdminProblem.clientTaken, request.decision)) }
      place.agent.records.add(record, to: RegisteredClient.shelf, as: name, most: RegisteredClient.mostClients) {
        answer in
        switch answer {
        case .done: reply(Self.made(client, secret, AdminChange("oauth client \(id)", after: "registered"), request))
        case .refused: reply(.problem(AdminProblem.clientTaken, request.decision))
        case .full: reply(.problem(AdminProblem.clientsFull, request.decision))
        case .unavailable: reply(.problem(AdminProblem.storeUnavailable, request.decision))
        }
      }
    }
  }

  /// Whether nobody else is called so: no client of the file, no consumer, and no former client whose tokens might be good.
  private func isFree(_ id: String, _ place: Place, _ time: WallTime) -> Bool {
    if place.server.configured.contains(id) || directory().hasConsumer(id) { return false }
    let keeper = place.agent.factKeeper
    // No tenant is called by an empty text, so these are everybody's.
    if keeper.view.keys.hasOwnConsumer(named: id, otherThan: "") { return false }
    let mark = RevocationMark(.client, id, key: keeper.markKey)
    return !keeper.view.revocations.holds(mark, now: UInt32(clamping: time.seconds))
  }

  func rotate(_ place: Place, _ request: AdminRequest, _ reply: AdminReply) {
    guard let body = FactBody(request, ["overlap"]), let overlap = body.seconds("overlap", otherwise: Self.overlap),
      overlap <= Self.longestOverlap
    else { return reply(.problem(AdminProblem.malformedFact, request.decision)) }
    find(place, request, reply) { [self] client, record in
      guard client.isConfidential, let text = ClientBody(optionText: client.optionText) else {
        return reply(.problem(AdminProblem.clientPublic, request.decision))
      }
      let secret = Self.freshSecret()
      let options = text.options(id: client.id, secrets: [Self.digest(secret)] + text.secrets.prefix(1))
      let next = try? RegisteredClient(
        optionText: options, place.server, created: client.created,
        formerEnds: request.time.seconds + Int64(overlap))
      guard let next, let fresh = next.record else {
        return reply(.problem(AdminProblem.malformedClient, request.decision))
      }
      replace(record, by: fresh, client, place, request, reply) {
        Self.made(next, secret, AdminChange("oauth client \(client.id)", after: "another secret"), request)
      }
    }
  }

  func delete(_ place: Place, _ request: AdminRequest, _ reply: AdminReply) {
    find(place, request, reply) { [self] client, record in
      let keeper = place.agent.factKeeper
      let now = request.time.seconds
      // Its tokens first: whoever is told that this failed can do it again.
      let mark = RevocationMark(.client, client.id, key: keeper.markKey)
      let expires = UInt32(clamping: now + place.server.longestGrant + Self.leeway)
      let revocation = RevocationRecord(
        Revocation(.client, mark, expires: expires), kind: .client, name: client.id, reason: "the client was deleted",
        by: request.caller?.name ?? "", revokedAt: UInt32(clamping: now))
      keeper.add([.revocation(revocation)]) { result in
        guard case .added = result else {
          return reply(.problem(AdminProblem.storeUnavailable, request.decision))
        }
        self.replace(record, by: nil, client, place, request, reply) {
          var response = AdminResponse.json { json in
            json.beginObject()
            Self.write(client, now: now, to: &json)
            json.endObject()
          }
          response.change = AdminChange("oauth client \(client.id)", before: "registered", after: "deleted")
          return response
        }
      }
    }
  }

  private func replace(
    _ record: [UInt8], by next: [UInt8]?, _ client: RegisteredClient, _ place: Place, _ request: AdminRequest,
    _ reply: AdminReply, _ response: @escaping () -> AdminResponse
  ) {
    let name = RegisteredClient.recordName(issuer: client.issuer, id: client.id)
    place.agent.records.replace(record, by: next, on: RegisteredClient.shelf, as: name) { answer in
      switch answer {
      case .done: reply(response())
      case .refused, .full: reply(.problem(AdminProblem.clientChanged, request.decision))
      case .unavailable: reply(.problem(AdminProblem.storeUnavailable, request.decision))
      }
    }
  }

  // MARK: Answers

  private static func freshSecret() -> String { "slc_" + Base64URL.encode(SecureRandom.bytes(secretBytes)) }

  private static func digest(_ secret: String) -> String {
    let bytes = Array(secret.utf8)
    return SHA256().digest(of: RawSpan(bytes)).hexadecimal
  }

  private static func made(
    _ client: RegisteredClient, _ secret: String?, _ change: AdminChange, _ request: AdminRequest
  ) -> AdminResponse {
    var response = AdminResponse.json { json in
      json.beginObject()
      write(client, now: request.time.seconds, to: &json)
      json.key("secret")
      if let secret { json.string(secret) } else { json.null() }
      json.endObject()
    }
    response.status = 201
    response.fields.append((name: "Cache-Control", value: "no-store"))
    response.change = change
    return response
  }

  private static func write(_ client: RegisteredClient, now: Int64, to json: inout JSONWriter) {
    let text = ClientBody(optionText: client.optionText)
    json.key("id")
    json.string(client.id)
    json.key("server")
    json.string(client.issuer)
    json.key("name")
    json.string(text?.name ?? client.id)
    for name in ClientBody.lists {
      json.key(name)
      json.beginArray()
      for item in text?.list("\(name)") ?? [] { json.string(item) }
      json.endArray()
    }
    json.key("public")
    json.bool(!client.isConfidential)
    json.key("created")
    json.string(CivilDate(WallTime(microseconds: client.created * 1_000_000)).rfc3339)
    json.key("formerSecretUntil")
    if client.formerEnds > now {
      json.string(CivilDate(WallTime(microseconds: client.formerEnds * 1_000_000)).rfc3339)
    } else {
      json.null()
    }
  }
}

extension ClusterAgent {
  /// Whether a client of this id is registered with one of the servers; nil where the store does not say. A question to the
  /// store for each server.
  func findClient(_ id: String, of servers: [OAuthClientRules], then: @escaping (_ isThere: Bool?) -> Void) {
    guard let server = servers.first else { return then(false) }
    records.find(RegisteredClient.recordName(issuer: server.issuer, id: id), on: RegisteredClient.shelf) { outcome in
      guard case .done(let record) = outcome else { return then(nil) }
      if record != nil { return then(true) }
      self.findClient(id, of: Array(servers.dropFirst()), then: then)
    }
  }
}

/// What somebody says of a client: an object with none but known members. What they mean is for the server's own reader.
struct ClientBody: Sendable {
  static let lists: [StaticString] = ["grants", "redirectURIs", "scopes", "audiences"]
  private static let own: Set<String> = ["server", "public"]

  private let document: JSONDocument

  /// The body of a request; nil where it is no such object.
  init?(_ request: AdminRequest) { self.init(request.body, names: Self.own.union(RegisteredClient.options)) }

  /// The options of a registered client.
  init?(optionText: [UInt8]) { self.init(optionText, names: Set(RegisteredClient.options + ["sha256"])) }

  private init?(_ text: [UInt8], names: Set<String>) {
    guard let document = JSONDocument.parse(text, dialect: .strict).document, document.root.kind == .object else {
      return nil
    }
    var seen: Set<String> = []
    for member in document.root.members {
      guard let name = member.key.string, names.contains(name), seen.insert(name).inserted else { return nil }
    }
    self.document = document
    if let value = document.root["public"], value.kind != .bool { return nil }
    for name in ["server", "id", "name"] {
      if let value = document.root[name], value.kind != .string { return nil }
    }
    for name in Self.lists {
      guard let value = document.root["\(name)"] else { continue }
      guard value.kind == .array, value.elements.allSatisfy({ $0.kind == .string }) else { return nil }
    }
  }

  var server: String? { document.root["server"]?.string }
  var id: String? { document.root["id"]?.string }
  var name: String? { document.root["name"]?.string }
  var isPublic: Bool { document.root["public"]?.bool ?? false }
  var secrets: [String] { list("sha256") }

  func list(_ name: String) -> [String] { document.root[name]?.elements.compactMap(\.string) ?? [] }

  /// The options of a client with this id and secrets of these digests.
  func options(id: String, secrets: [String]) -> [UInt8] {
    var json = JSONWriter(ByteBuffer(capacity: 512))
    json.beginObject()
    json.key("id")
    json.string(id)
    if let name {
      json.key("name")
      json.string(name)
    }
    for name in Self.lists where document.root["\(name)"] != nil { write(list("\(name)"), as: name, to: &json) }
    if !secrets.isEmpty { write(secrets, as: "sha256", to: &json) }
    json.endObject()
    return json.buffer.array
  }

  private func write(_ items: [String], as name: StaticString, to json: inout JSONWriter) {
    json.key(name)
    json.beginArray()
    for item in items { json.string(item) }
    json.endArray()
  }
}
