import Core
import Crypto
import Pipeline
import Policies
import Testing

@testable import Admin
@testable import Cluster
@testable import Gateway

@Suite("Clients of authorization servers")
struct ClientDeskTests {
  private func desk() throws -> Desk {
    try Desk(
      tokens: [
        AdminSettings.Token(name: "ops", role: .operator, secret: Desk.token),
        AdminSettings.Token(name: "eye", role: .viewer, secret: "fedcba9876543210"),
      ], extra: AdminRoute.clients({ $0(nil, []) }, { preconditionFailure("nobody is asked") }))
  }

  private func ask(
    _ method: String, _ path: String, _ body: String? = nil, token: String? = Desk.token
  ) throws -> String {
    var desk = try desk()
    let wire = desk.connect()
    let authorization = token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
    let type = body.map { "Content-Type: application/json\r\nContent-Length: \($0.utf8.count)\r\n" } ?? ""
    desk.write(wire, "\(method) \(path) HTTP/1.1\r\nHost: x\r\n\(authorization)\(type)\r\n\(body ?? "")")
    desk.deliver()
    return desk.read(wire)
  }

  @Test(
    "Who has no token, or may only look, changes nothing",
    arguments: [
      ("POST", "/v1/oauth/clients"), ("DELETE", "/v1/oauth/clients/a"), ("POST", "/v1/oauth/clients/a/secret"),
    ])
  func roles(method: String, path: String) throws {
    let body = method == "POST" ? "{}" : nil
    #expect(try ask(method, path, body, token: nil).status == "401")
    #expect(try ask(method, path, body, token: "fedcba9876543210").problem == "admin-role-too-low")
  }

  @Test(
    "What is no client is refused before anybody is asked",
    arguments: [
      "[]", "{", "{\"grants\":\"client_credentials\"}", "{\"grants\":[1]}", "{\"secret\":\"x\"}", "{\"sha256\":[]}",
      "{\"consumer\":\"ann\"}", "{\"introspects\":true}", "{\"public\":\"yes\"}", "{\"id\":1}", "{\"server\":null}",
      "{\"id\":\"a\",\"id\":\"b\"}",
    ])
  func malformed(body: String) throws {
    #expect(try ask("POST", "/v1/oauth/clients", body).problem == "malformed-body")
  }

  @Test("A node without a cluster says so")
  func noCluster() throws {
    for (method, path, body) in [
      ("GET", "/v1/oauth/clients", nil), ("GET", "/v1/oauth/clients/a.b", nil),
      ("DELETE", "/v1/oauth/clients/a", nil),
      ("POST", "/v1/oauth/clients/a/secret", nil),
      ("POST", "/v1/oauth/clients", "{\"grants\":[\"client_credentials\"]}"),
    ] as [(String, String, String?)] {
      #expect(try ask(method, path, body).problem == "no-cluster", "\(method) \(path)")
    }
  }

  @Test("The options of a client are those that somebody has said, with an id and digests, and nothing else")
  func options() throws {
    let text = "{\"id\":\"x\",\"name\":\"N \\\"1\\\"\",\"grants\":[\"client_credentials\"],\"sha256\":[\"00\"]}"
    let body = try #require(ClientBody(optionText: Array(text.utf8)))
    let made = String(decoding: body.options(id: "y", secrets: ["ab", "cd"]), as: UTF8.self)
    #expect(
      made == "{\"id\":\"y\",\"name\":\"N \\\"1\\\"\",\"grants\":[\"client_credentials\"],\"sha256\":[\"ab\",\"cd\"]}")
    #expect(body.secrets == ["00"] && !body.isPublic)
  }

  // MARK: Ids

  /// What a node of a cluster answers that cannot reach its store: whoever is refused is so before the store is asked.
  private func register(
    _ id: String, configured: Set<String> = [], consumers: [Consumer] = [],
    knowing facts: @escaping @Sendable (FactKeeper) -> Void = { _ in }
  ) throws -> String {
    let names = ConsumerNames(ring: try KeyRing(consumers), tenants: ["acme"])
    let rules = OAuthClientRules(issuer: "https://id.example", audience: "api", configured: configured)
    let routes = AdminRoute.clients(
      { action in
        let server = RedisServer(address: .socket(.ip(IPAddress(v4: 0x0a00_0001), port: 6379)))
        let settings = AgentSettings(
          store: .single(server), cluster: "t", secrets: ClusterSecrets(secret: Array("a secret".utf8)), clientName: "t"
        )
        let identity = NodeIdentity(nonce: 1, name: "n", version: "1")
        let agent = try? ClusterAgent(settings, identity: identity, world: DeskWorld(), clock: { 1 }) { _, _, _ in 1 }
        if let agent { facts(agent.factKeeper) }
        action(agent, [rules])
        agent?.work()
      }, { names })
    var desk = try Desk(extra: routes)
    let body = "{\"id\":\"\(id)\",\"grants\":[\"client_credentials\"],\"scopes\":[\"read\"]}"
    let wire = desk.connect()
    desk.write(
      wire,
      "POST /v1/oauth/clients HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(Desk.token)\r\n"
        + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
    desk.deliver()
    return desk.read(wire).problem
  }

  /// A key of this consumer.
  private static func key(of consumer: KeyConsumer, state: IssuedKey.State = .active) throws -> IssuedKey {
    let id = try #require(KeyID(number: 7))
    let digest = Digest(words: (1, 2, 3, 4))
    return IssuedKey(id: id, version: 1, digest: digest, consumer: consumer, state: state, created: 1)
  }

  @Test("The id of a client of the configuration or of one of its consumers is taken, and no other one is")
  func configuredIDs() throws {
    let ann = Consumer(id: "ann", tenant: "acme", keys: [])
    for id in ["web", "worker", "ann"] {
      #expect(try register(id, configured: ["web", "worker"], consumers: [ann]) == "client-taken", "\(id)")
    }
    for id in ["Web", "ann.", "acme"] {
      #expect(try register(id, configured: ["web", "worker"], consumers: [ann]) == "store-unavailable", "\(id)")
    }
  }

  @Test(
    "The name of a consumer that keys have made is taken, whosever it is and also when its keys are deleted",
    arguments: [nil, "acme"] as [String?], [IssuedKey.State.active, .deleted])
  func ownConsumers(tenant: String?, state: IssuedKey.State) throws {
    let key = try Self.key(of: KeyConsumer(id: "visitor", own: .init(tenant: tenant)), state: state)
    func register(_ id: String) throws -> String {
      try self.register(id) { keeper in
        _ = keeper.keys.put([key])
        keeper.publishView()
      }
    }
    #expect(try register("visitor") == "client-taken")
    #expect(try register("visitors") == "store-unavailable")
  }

  @Test("A key that goes by the name of a consumer of the configuration takes no name by itself")
  func keysOfConfigured() throws {
    let key = try Self.key(of: KeyConsumer(id: "gone"))
    let problem = try register("gone") { keeper in
      _ = keeper.keys.put([key])
      keeper.publishView()
    }
    #expect(problem == "store-unavailable")
  }

  @Test("The id of a client that was deleted is taken as long as its tokens may be good, another one's name is not")
  func deleted() throws {
    let now = UInt32(clamping: DeskWorld().wallTime.seconds)
    func register(_ id: String, _ kind: RevocationKind = .client, expires: UInt32) throws -> String {
      try self.register(id) { keeper in
        _ = keeper.revocations.insert([
          Revocation(RevocationMark(kind, "former", key: keeper.markKey), expires: expires)
        ])
        keeper.publishView()
      }
    }
    #expect(try register("former", expires: now + 1) == "client-taken")
    #expect(try register("former", expires: now) == "store-unavailable")
    #expect(try register("former", .subject, expires: now + 1) == "store-unavailable")
    #expect(try register("other", expires: now + 1) == "store-unavailable")
  }
}
