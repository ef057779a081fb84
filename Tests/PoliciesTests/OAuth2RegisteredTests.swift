import Cluster
import Core
import Crypto
import Pipeline
import Policies
import Testing

@Suite("oauth2-server: registered clients and logins")
struct OAuth2RegisteredTests {
  private typealias AB = AuthorizationBench

  private static let rules = OAuthClientRules(issuer: AuthorizationBench.issuer, audience: AuthorizationBench.api)
  private static let app = "Basic " + Base64.encode(Array("app:new".utf8))

  private static func options(_ more: String = "", secrets: [String] = ["new"]) -> String {
    let digests = secrets.map { "\"\(digest($0).hexadecimal)\"" }.joined(separator: ",")
    let secret = secrets.isEmpty ? "" : ",\"sha256\":[\(digests)]"
    let scopes = more.contains("scopes\"") ? "" : ",\"scopes\":[\"read\"]"
    return "{\"id\":\"app\"\(scopes)\(secret)\(more.isEmpty ? "" : "," + more)}"
  }

  private static let both = """
    "grants":["client_credentials","authorization_code","refresh_token"],"redirectURIs":["https://new.example/back"]
    """

  private func register(
    _ options: String, with records: TestRecords, formerEnds: Int64 = 0
  ) throws {
    let client = try RegisteredClient(
      optionText: Array(options.utf8), Self.rules, created: Int64(TestIssuer.now), formerEnds: formerEnds)
    records.shelf[RegisteredClient.recordName(issuer: AB.issuer, id: "app")] = client.record
  }

  private func work(_ server: AuthorizationBench, as authorization: String = app) -> Outcome {
    server.token("grant_type=client_credentials", as: authorization)
  }

  @Test(
    "What would be wrong in the configuration is wrong here too",
    arguments: [
      "", "\"grants\":[]", "\"grants\":[\"password\"]", "\"grants\":[\"authorization_code\"]",
      "\"grants\":[\"refresh_token\"]", "\"grants\":[\"client_credentials\"],\"scopes2\":[]",
      "\"grants\":[\"authorization_code\"],\"redirectURIs\":[\"http://evil.example\"]",
      "\"grants\":[\"client_credentials\"],\"name\":{\"file\":\"/etc/passwd\"}",
      "\"grants\":[\"client_credentials\"],\"scopes\":[\"a b\"]",
    ])
  func unfit(options: String) {
    #expect(throws: RegisteredClient.RegistrationFault.self) {
      try RegisteredClient(optionText: Array(Self.options(options).utf8), Self.rules, created: 1)
    }
  }

  @Test("A public client cannot act for itself, and none is read for another server")
  func publicAndOther() throws {
    #expect(throws: RegisteredClient.RegistrationFault.self) {
      try RegisteredClient(
        optionText: Array(Self.options("\"grants\":[\"client_credentials\"]", secrets: []).utf8), Self.rules, created: 1
      )
    }
    let text = Array(Self.options(Self.both).utf8)
    let record = try #require(try RegisteredClient(optionText: text, Self.rules, created: 1).record)
    #expect(RegisteredClient(record, server: Self.rules)?.id == "app")
    #expect(RegisteredClient(record, server: OAuthClientRules(issuer: "https://other.example", audience: "a")) == nil)
    for length in 0..<record.count {
      #expect(RegisteredClient(Array(record.prefix(length)), server: Self.rules) == nil)
    }
  }

  @Test("Where they are not wanted nobody looks for registered clients")
  func notWanted() throws {
    let records = TestRecords()
    try register(Self.options(Self.both), with: records)
    let server = try AB(records: records)
    #expect(work(server).error == "invalid_client" && records.requests.isEmpty)
  }

  @Test(
    "A client that nobody has registered is as unknown as one whose secret is wrong; without the store nobody knows")
  func unknown() throws {
    let records = TestRecords()
    let server = try AB(", registeredClients: true", records: records)
    let unknown = work(server)
    try register(Self.options(Self.both), with: records)
    let wrong = work(server, as: "Basic " + Base64.encode(Array("app:wrong".utf8)))
    #expect(unknown.error == "invalid_client" && unknown.body == wrong.body)
    records.isDown = true
    #expect(work(server).code == "quota-unavailable")
    #expect(work(server, as: AB.worker).verdict == "200")
  }

  @Test("A registered client is good at once for all that it may, and not any more when it is gone")
  func life() throws {
    let records = TestRecords()
    let server = try AB(", registeredClients: true", records: records)
    try register(Self.options(Self.both), with: records)
    #expect(work(server).claim("client_id") == "app")
    let path = AB.authorization(["client_id": "app", "redirect_uri": "https://new.example/back", "scope": "read"])
    let code = server.browse(path, as: "ann").location["code"] ?? ""
    let redemption = AB.redemption(code, address: "https://new.example/back")
    let tokens = server.token(redemption, as: Self.app)
    #expect(tokens.claim("sub") == "ann" && tokens.claim("client_id") == "app")
    #expect(server.browse(path.replacing("new.example", with: "evil.example"), as: "ann").verdict == "400")
    records.shelf = [:]
    #expect(work(server).error == "invalid_client")
    #expect(server.browse(path, as: "ann").verdict == "400")
    let refresh = "grant_type=refresh_token&refresh_token=\(tokens.json("refresh_token") ?? "")"
    #expect(server.token(refresh, as: Self.app).error == "invalid_client")
  }

  @Test("Of two secrets the former one is good until its end")
  func rotation() throws {
    let records = TestRecords()
    let server = try AB(", registeredClients: true", records: records)
    try register(
      Self.options(Self.both, secrets: ["newer", "new"]), with: records, formerEnds: Int64(TestIssuer.now) + 60)
    let newer = "Basic " + Base64.encode(Array("app:newer".utf8))
    #expect(work(server).verdict == "200" && work(server, as: newer).verdict == "200")
    server.bench.world.advance(seconds: 61)
    #expect(work(server).error == "invalid_client" && work(server, as: newer).verdict == "200")
  }

  @Test("A client of the configuration is not replaced by a registered one of its name")
  func precedence() throws {
    let records = TestRecords()
    let server = try AB(", registeredClients: true", records: records)
    let client = try RegisteredClient(
      optionText: Array(Self.options(Self.both).replacing("\"app\"", with: "\"worker\"").utf8), Self.rules, created: 1)
    records.shelf[RegisteredClient.recordName(issuer: AB.issuer, id: "worker")] = client.record
    #expect(work(server, as: "Basic " + Base64.encode(Array("worker:new".utf8))).error == "invalid_client")
    #expect(work(server, as: AB.worker).verdict == "200" && records.requests.isEmpty)
  }

  // MARK: Logins

  @Test("A refresh token is over with the login that it followed from, also when nobody remembers the login any more")
  func loginOver() throws {
    let book = OrderBook()
    let server = try AB(facts: book)
    let tokens = server.tokens()
    let bystander = server.tokens()
    #expect(server.isActive(tokens.json("refresh_token")))
    book.revoke(.key, "ann/k")
    #expect(!server.isActive(tokens.json("refresh_token")))
    #expect(server.refresh(tokens.json("refresh_token")).error == "invalid_grant")
    #expect(book.orders.map(\.kind) == [.session] && !server.isActive(tokens.json("access_token")))
    #expect(server.refresh(bystander.json("refresh_token")).error == "invalid_grant")
    // A node that knows nothing of it asks the store.
    let other = try AB(quota: EmbeddedQuota(store: server.bench.store, subjectKey: SipKey(low: 1, high: 2)))
    #expect(other.refresh(tokens.json("refresh_token")).error == "invalid_grant")
  }

  /// Where a user is sent who logs in with a key that the cluster has just made for a consumer.
  private func login(
    _ consumer: KeyConsumer, at server: AB, _ book: OrderBook, _ keys: inout IssuedKeyBook
  ) -> [String: String] {
    let (id, text) = KeyText.make { SecureRandom.bytes($0) }
    let key = String(decoding: text, as: UTF8.self)
    _ = keys.put([IssuedKey(id: id, version: 1, digest: digest(key), consumer: consumer, created: 1_000_000_000)])
    book.loop.view = FactView(keys: keys.current)
    return server.bench.send("GET \(AB.authorization()) HTTP/1.1\nHost: id.example\nX-API-Key: \(key)").location
  }

  @Test("A grant is over where somebody else is called like its user: in the configuration, in keys, in another tenant")
  func succeeded() throws {
    let book = OrderBook()
    let server = try AB(facts: book)
    let node = try AB(
      quota: EmbeddedQuota(store: server.bench.store, subjectKey: SipKey(low: 1, high: 2)), facts: book,
      users: [Consumer(id: "shop", tenant: "acme", groups: ["admins"])])
    let own = KeyConsumer(id: "shop", own: .init(tenant: "acme", groups: ["trial"]))
    func refreshToken(of consumer: KeyConsumer, _ keys: inout IssuedKeyBook) -> String? {
      let code = login(consumer, at: server, book, &keys)["code"] ?? "none"
      return server.token(AB.redemption(code)).json("refresh_token")
    }
    var keys = IssuedKeyBook()
    #expect(node.refresh(refreshToken(of: own, &keys)).error == "invalid_grant")
    let bob = refreshToken(of: KeyConsumer(id: "bob"), &keys)
    let shop = refreshToken(of: own, &keys)
    #expect(server.refresh(refreshToken(of: own, &keys)).claim("sub") == "shop")
    // On the other node the configuration has no bob any more, and keys have one; its shop is of another tenant by now.
    var later = IssuedKeyBook()
    _ = login(KeyConsumer(id: "bob", own: .init(tenant: "acme")), at: server, book, &later)
    _ = login(KeyConsumer(id: "shop", own: .init(tenant: "globex")), at: server, book, &later)
    #expect(node.refresh(bob).error == "invalid_grant")
    #expect(server.refresh(shop).error == "invalid_grant")
  }

  @Test(
    "A grant is over with the key that it was given with: deleted, disabled or expired",
    arguments: [IssuedKey.State.deleted, .disabled, .active])
  func keyOver(state: IssuedKey.State) throws {
    let book = OrderBook()
    let server = try AB(facts: book)
    var keys = IssuedKeyBook()
    let consumer = KeyConsumer(id: "shop", own: .init(tenant: "acme"))
    let code = login(consumer, at: server, book, &keys)["code"] ?? "none"
    let unused = login(consumer, at: server, book, &keys)["code"] ?? "none"
    let tokens = server.token(AB.redemption(code))
    let next = server.refresh(tokens.json("refresh_token"))
    #expect(next.verdict == "200")
    var made: [IssuedKey] = []
    keys.current.forEach(after: nil) { key in
      made.append(key)
      return true
    }
    for var key in made {
      (key.version, key.state) = (key.version + 1, state)
      if state == .active { key.expires = 1 }
      _ = keys.put([key])
    }
    book.loop.view = FactView(keys: keys.current)
    #expect(!server.isActive(next.json("refresh_token")))
    #expect(server.refresh(next.json("refresh_token")).error == "invalid_grant")
    #expect(server.token(AB.redemption(unused)).error == "invalid_grant")
  }

  @Test("A grant of a key that a node does not know yet is good while the key may be new, and not any more later")
  func newKey() throws {
    let book = OrderBook()
    let server = try AB(facts: book)
    var keys = IssuedKeyBook()
    let consumer = KeyConsumer(id: "ann")
    let code = login(consumer, at: server, book, &keys)["code"] ?? "none"
    book.loop.view = FactView(keys: IssuedKeyBook().current)
    let tokens = server.token(AB.redemption(code))
    #expect(tokens.verdict == "200")
    server.bench.world.advance(seconds: 61)
    #expect(server.refresh(tokens.json("refresh_token")).error == "invalid_grant")
  }

  @Test("A consumer that keys have made is no user where a client or a consumer of the configuration is called so")
  func ownConsumers() throws {
    let book = OrderBook()
    let server = try AB(facts: book)
    var keys = IssuedKeyBook()
    func login(_ consumer: KeyConsumer) -> [String: String] { self.login(consumer, at: server, book, &keys) }
    for name in ["worker", "web", "tv", "ann", "signer"] {
      for tenant in ["acme", nil] {
        let answer = login(KeyConsumer(id: name, own: .init(tenant: tenant, groups: ["trial"])))
        #expect(answer["error"] == "access_denied" && answer["code"] == nil, "\(name)")
      }
    }
    // One of the configuration is a tenant's here, who has chosen the client's name.
    #expect(login(KeyConsumer(id: "signer"))["error"] == "access_denied")
    for consumer in [KeyConsumer(id: "workers", own: .init(tenant: "acme")), KeyConsumer(id: "ann")] {
      let code = login(consumer)["code"]
      #expect(server.token(AB.redemption(code ?? "none")).claim("sub") == consumer.id)
    }
  }

  @Test("Somebody whom no issuer vouches for is no user where a client or a consumer is called so who is another one")
  func namesakes() throws {
    let book = OrderBook()
    let certificate = try TestCertificates.named()
    func login(_ users: [Consumer] = [], client: String = "tv", options: String = "") throws -> [String: String] {
      let server = try AB(facts: book, users: users)
      let text = AB.server(server.signer).replacing("id: \"tv\"", with: "id: \"\(client)\"")
      #expect(try server.bench.use("{ type: \"mtls\", optional: true\(options) }", text).isEmpty)
      let request = "GET \(AB.authorization()) HTTP/1.1\nHost: id.example"
      let answer = server.bench.send(request, certificate: certificate).location
      guard let code = answer["code"] else { return answer }
      return ["sub": server.token(AB.redemption(code)).claim("sub") ?? "none"]
    }
    let mobile = Consumer(id: "mobile", tenant: "acme")
    #expect(try login([mobile])["error"] == "access_denied")
    #expect(try login(client: "mobile")["error"] == "access_denied")
    #expect(try login() == ["sub": "mobile"])
    #expect(try login([mobile], client: "mobile", options: ", consumer: true")["error"] == "access_denied")
    // Whoever wrote the configuration has said that the two are one.
    let nobodys = Consumer(id: "mobile")
    #expect(try login([nobodys], client: "mobile", options: ", consumer: true") == ["sub": "mobile"])
    var keys = IssuedKeyBook()
    let id = try #require(KeyID(number: 7))
    let own = KeyConsumer(id: "mobile", own: .init(tenant: "acme"))
    _ = keys.put([IssuedKey(id: id, version: 1, digest: digest("key"), consumer: own, created: 1_000_000_000)])
    book.loop.view = FactView(keys: keys.current)
    #expect(try login()["error"] == "access_denied")
  }

  @Test("Users of two issuers with one name are two users, and the API learns whom each issuer means")
  func issuers() throws {
    let issuers = try ["https://one.example", "https://two.example"].map { try TestIssuer(name: $0) }
    let server = try AB()
    let list = issuers.map { $0.options() }.joined(separator: ", ")
    let remarks = try server.bench.use(
      "{ type: \"jwt\", optional: true, issuers: [\(list)] }", AB.server(server.signer))
    #expect(remarks.isEmpty)
    let tokens = try issuers.map { issuer in
      let token = try issuer.token("\"sub\":\"ann\"")
      let outcome = server.browse(AB.authorization(), bearing: token)
      return server.token(AB.redemption(outcome.location["code"] ?? "none"))
    }
    let subjects = tokens.map { $0.claim("sub") ?? "" }
    #expect(subjects[0] != subjects[1] && subjects.allSatisfy { $0.count == 44 && $0.hasPrefix("~") })
    let meant = tokens.map { $0.claim("sub_id") ?? "" }
    #expect(meant[0].contains("https://one.example") && meant[1].contains("\"sub\":\"ann\""))
    // The same again is the same user.
    let again = try server.browse(AB.authorization(), bearing: issuers[0].token("\"sub\":\"ann\""))
    #expect(server.token(AB.redemption(again.location["code"] ?? "none")).claim("sub") == subjects[0])
  }
}
