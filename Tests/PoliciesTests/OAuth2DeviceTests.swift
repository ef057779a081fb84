import Cluster
import Core
import Crypto
import Pipeline
import Policies
import Testing

@Suite("oauth2-server: devices")
struct OAuth2DeviceTests {
  private typealias AB = AuthorizationBench

  static let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code"
  private static let box = "Basic " + Base64.encode(Array("box:secret-of-box".utf8))

  private func start(_ server: AB, _ more: String = "", from client: String = "192.0.2.1") -> Outcome {
    server.post("/oauth2/device_authorization", "client_id=tv\(more)", from: client)
  }

  private func poll(_ server: AuthorizationBench, _ code: String?, client: String = "tv") -> Outcome {
    server.post("/oauth2/token", "grant_type=\(Self.grant)&client_id=\(client)&device_code=\(code ?? "none")")
  }

  /// The page that asks about a code.
  private func page(_ server: AuthorizationBench, _ code: String?, user: String? = "ann") -> Outcome {
    server.browse("/oauth2/device" + (code.map { "?user_code=\($0)" } ?? ""), as: user)
  }

  private func form(_ page: Outcome) -> String {
    let rest = page.body.split(separator: "name=\"consent\" value=\"").dropFirst().first ?? ""
    return String(rest.prefix { $0 != "\"" })
  }

  @discardableResult
  private func decide(
    _ server: AuthorizationBench, _ form: String, _ decision: String = "allow", user: String? = "ann"
  ) -> Outcome {
    server.post("/oauth2/device", "consent=\(form)&decision=\(decision)", user: user)
  }

  // MARK: Asking for codes

  @Test(
    "Who may not, or asks for too much, gets no device code",
    arguments: [
      ("client_id=nobody", "invalid_client"), ("", "invalid_client"), ("client_id=web", "invalid_client"),
      ("client_id=native", "unauthorized_client"), ("client_id=tv&scope=admin", "invalid_scope"),
      ("client_id=tv&resource=https%3A%2F%2Fevil.example", "invalid_target"),
      ("client_id=tv&client_id=tv", "invalid_request"),
      ("client_id=box", "invalid_client"),
    ])
  func refusedStarts(form: String, error: String) throws {
    let server = try AB()
    #expect(server.post("/oauth2/device_authorization", form).error == error)
    #expect(server.records.requests.isEmpty)
  }

  @Test("A code is only given by POST, and the page takes nothing but GET and POST")
  func methods() throws {
    let server = try AB()
    #expect(server.get("/oauth2/device_authorization").code == "method-not-allowed")
    #expect(server.bench.send("PUT /oauth2/device HTTP/1.1\nHost: a").code == "method-not-allowed")
  }

  @Test("An address that asks for codes all the time is told to ask less often, on all nodes")
  func pace() throws {
    let server = try AB()
    for _ in 0..<60 { #expect(start(server).verdict == "200") }
    #expect(start(server).verdict == "429" && start(server).error == "slow_down")
    server.bench.world.advance(seconds: 10)
    #expect(start(server).verdict == "200")
  }

  @Test("All addresses together get so many codes, on all nodes; what one is refused takes nothing from the others")
  func commonPace() throws {
    let (records, quota) = (TestRecords(), SlowQuota())
    let nodes = try (0..<2).map { _ in try AB(quota: quota, records: records) }
    func answers(_ count: Int, from client: (Int) -> String) -> Int {
      (0..<count).count { start(nodes[$0 % 2], from: client($0)).verdict == "200" }
    }
    #expect(answers(100) { _ in "192.0.2.1" } == 60)
    #expect(answers(4_940) { "198.18.\($0 / 250).\($0 % 250)" } == 4_940)
    let kept = records.requests.count
    for node in nodes { #expect(start(node, from: "203.0.113.1").error == "slow_down") }
    #expect(records.requests.count == kept)
    for node in nodes { node.bench.world.advance(seconds: 0.02) }
    #expect(start(nodes[0], from: "203.0.113.1").verdict == "200")
    #expect(start(nodes[1], from: "203.0.113.2").verdict == "429")
  }

  @Test("Without the store there are no codes, and no answers")
  func outage() throws {
    let server = try AB()
    let codes = start(server)
    server.records.isDown = true
    #expect(start(server).code == "quota-unavailable")
    #expect(poll(server, codes.json("device_code")).code == "quota-unavailable")
    #expect(page(server, codes.json("user_code")).code == "quota-unavailable")
    server.records.isDown = false
    #expect(poll(server, codes.json("device_code")).error == "authorization_pending")
  }

  @Test("A user's code that is in use already is not given to a second device")
  func collision() throws {
    let server = try AB()
    server.records.refusals = 1
    let codes = start(server)
    #expect(codes.verdict == "200")
    #expect(server.records.requests.count == 3)
    server.records.refusals = 100
    #expect(start(server).code == "quota-unavailable")
  }

  @Test("What a device is told: its code, a short one for its user, where to type it, and how often to ask")
  func started() throws {
    let server = try AB()
    let codes = start(server, "&scope=read")
    #expect(codes.verdict == "200" && codes.responseFields.contains("Cache-Control: no-store"))
    let code = try #require(codes.json("user_code"))
    let parts = code.split(separator: "-")
    #expect(parts.count == 2 && parts.allSatisfy { $0.count == 4 && $0.allSatisfy("BCDFGHJKLMNPQRSTVWXZ".contains) })
    #expect(codes.json("verification_uri") == "https://id.example/oauth2/device")
    #expect(codes.json("verification_uri_complete") == "https://id.example/oauth2/device?user_code=\(code)")
    #expect(codes.json("expires_in") == "600" && codes.json("interval") == "5")
    // The store has nothing that a code could be read from.
    let kept = server.records.requests.map { "\($0.name) \(String(decoding: $0.value, as: UTF8.self))" }.joined()
    #expect(!kept.contains(code.filter { $0 != "-" }) && !kept.contains("read"))
    let metadata = server.get("/oauth2/.well-known/oauth-authorization-server")
    #expect(metadata.json("device_authorization_endpoint") == "https://id.example/oauth2/device_authorization")
    #expect(metadata.json("grant_types_supported")?.contains("urn:ietf:params:oauth:grant-type:device_code") == true)
    #expect(server.post("/oauth2/device_authorization", "", as: Self.box).verdict == "200")
  }

  // MARK: The page

  @Test("Nobody who is not logged in is asked anything")
  func stranger() throws {
    let server = try AB()
    let codes = start(server)
    let asked = page(server, codes.json("user_code"))
    for code in [nil, codes.json("user_code")] {
      let outcome = page(server, code, user: nil)
      #expect(outcome.verdict == "401" && outcome.responseFields.contains("WWW-Authenticate"))
    }
    #expect(decide(server, form(asked), user: nil).verdict == "401")
    #expect(poll(server, codes.json("device_code")).error == "authorization_pending")
  }

  @Test("CSRF: only the form that this user was shown says yes, and a code alone never does")
  func forgery() throws {
    let server = try AB()
    let codes = start(server)
    let code = codes.json("user_code") ?? ""
    let shown = form(page(server, code))
    #expect(decide(server, shown, user: "bob").verdict == "403")
    #expect(decide(server, "made-up").verdict == "400")
    #expect(decide(server, "").body.contains("shows"))
    #expect(decide(server, shown, "maybe").verdict == "400")
    #expect(server.post("/oauth2/device", "user_code=\(code)&decision=allow", user: "ann").body.contains("Allow"))
    #expect(
      server.browse("/oauth2/device?user_code=\(code)&decision=allow&consent=\(shown)", as: "ann").body.contains(
        "Allow"))
    // A form for a browser's consent is none for a device, and the other way round.
    let other = try AB(", consent: true")
    let consent = form(other.get(AB.authorization(), as: "ann"))
    #expect(!consent.isEmpty && decide(other, consent).verdict == "400")
    #expect(poll(server, codes.json("device_code")).error == "authorization_pending")
  }

  @Test(
    "A code that nobody has is not known; who guesses is not listened to, from whatever address and on whatever node")
  func guesses() throws {
    let (records, quota) = (TestRecords(), SlowQuota())
    let nodes = try (0..<2).map { _ in try AB(quota: quota, records: records) }
    let real = start(nodes[0]).json("user_code")
    for number in 0..<10 {
      let outcome = page(nodes[number % 2], "BCDF-GHJ\(["K", "L", "M", "N"][number % 4])")
      #expect(outcome.verdict == "400" && outcome.body.contains("not known"))
    }
    #expect(page(nodes[0], "BCDF-GHJK").verdict == "400")
    #expect(page(nodes[0], real).code == "too-many-failures")
    #expect(page(nodes[1], "BCDF-GHJK").verdict == "400")
    #expect(page(nodes[1], real).code == "too-many-failures")
    for node in nodes { #expect(page(node, real, user: "bob").verdict == "200") }
    nodes[0].bench.world.advance(seconds: 61)
    #expect(page(nodes[0], real).verdict == "200")
  }

  @Test(
    "What cannot be a code is not looked for",
    arguments: ["BCDF", "AEIO-UAEI", "BCDF-GHJK-L", "1234-5678", "%00%00%00%00%00%00%00%00", "BCDFGHJ%C3%9F"])
  func noCodes(typed: String) throws {
    let server = try AB()
    let outcome = page(server, typed)
    #expect(outcome.verdict == "200" && outcome.body.contains("not how codes look"))
    #expect(server.records.requests.isEmpty)
  }

  @Test("The page names the client, what it wants and the code, as text, and no frame may hold it")
  func pages() throws {
    let server = try AB()
    let empty = page(server, nil)
    #expect(empty.verdict == "200" && empty.body.contains("name=\"user_code\""))
    let code = start(server).json("user_code") ?? ""
    for spelling in [code, code.lowercased(), code.filter { $0 != "-" }] {
      let shown = page(server, spelling)
      #expect(shown.verdict == "200" && shown.body.contains("The &lt;TV&gt;") && shown.body.contains(code))
      #expect(shown.body.contains("<li>read</li>") && shown.body.contains("<strong>ann</strong>"))
      #expect(shown.responseFields.contains("frame-ancestors 'none'") && shown.responseFields.contains("no-store"))
    }
  }

  @Test("Who has answered has answered: no form is good twice, whatever it says")
  func answeredTwice() throws {
    for first in ["allow", "deny"] {
      let server = try AB()
      let code = start(server).json("user_code")
      let forms = (0..<2).map { _ in form(page(server, code)) }
      #expect(decide(server, forms[0], first).verdict == "200")
      for again in forms { #expect(decide(server, again, "allow").verdict == "400") }
    }
  }

  // MARK: Asking for tokens

  @Test("A device code that is none, of another client or missing gets nothing")
  func refusedPolls() throws {
    let server = try AB()
    let code = start(server).json("device_code") ?? ""
    #expect(server.post("/oauth2/token", "grant_type=\(Self.grant)&client_id=tv").error == "invalid_request")
    #expect(poll(server, "made-up").error == "invalid_grant")
    #expect(poll(server, code, client: "native").error == "unauthorized_client")
    let other = server.post("/oauth2/token", "grant_type=\(Self.grant)&device_code=\(code)", as: Self.box)
    #expect(other.error == "invalid_grant")
    // A device code is no code of a browser's.
    #expect(server.token(AB.redemption(code)).error == "invalid_grant")
    #expect(
      server.post("/oauth2/token", "grant_type=device_code&client_id=tv&device_code=\(code)").error
        == "unsupported_grant_type")
  }

  @Test("Who guesses device codes without a secret is not listened to for a while")
  func guessedDeviceCodes() throws {
    let server = try AB(", failuresPerAddress: 3")
    for _ in 0..<3 { #expect(poll(server, "made-up").error == "invalid_grant") }
    #expect(poll(server, "made-up").code == "too-many-failures")
  }

  @Test("A device whose code is over, was used or is another's has guessed nothing, and may begin again")
  func noGuesses() throws {
    let server = try AB(", failuresPerAddress: 3")
    let used = start(server)
    decide(server, form(page(server, used.json("user_code"))))
    #expect(poll(server, used.json("device_code")).verdict == "200")
    let foreign = server.post("/oauth2/device_authorization", "", as: Self.box)
    for codes in [used, foreign] {
      for _ in 0..<4 { #expect(poll(server, codes.json("device_code")).error == "invalid_grant") }
    }
    server.bench.world.advance(seconds: 601)
    for _ in 0..<4 { #expect(poll(server, used.json("device_code")).error == "expired_token") }
    #expect(start(server).verdict == "200")
  }

  @Test("A device waits; where it asks too early it has to wait five seconds longer each time")
  func slower() throws {
    let server = try AB()
    let code = start(server).json("device_code")
    #expect(poll(server, code).error == "authorization_pending")
    server.bench.world.advance(seconds: 5)
    #expect(poll(server, code).error == "authorization_pending")
    server.bench.world.advance(seconds: 4)
    #expect(poll(server, code).error == "slow_down")
    server.bench.world.advance(seconds: 5)
    #expect(poll(server, code).error == "slow_down")
    server.bench.world.advance(seconds: 15)
    #expect(poll(server, code).error == "authorization_pending")
    server.bench.world.advance(seconds: 10)
    #expect(poll(server, code).error == "slow_down")
  }

  @Test("Who says no is heard, and a code is over after its time")
  func deniedAndOver() throws {
    let server = try AB(", deviceCodeTime: \"60s\"")
    let denied = start(server)
    #expect(decide(server, form(page(server, denied.json("user_code"))), "deny").body.contains("nothing"))
    #expect(poll(server, denied.json("device_code")).error == "access_denied")
    let late = start(server)
    let shown = form(page(server, late.json("user_code")))
    server.bench.world.advance(seconds: 61)
    #expect(decide(server, shown).verdict == "400")
    #expect(page(server, late.json("user_code")).verdict == "400")
    #expect(poll(server, late.json("device_code")).error == "expired_token")
  }

  @Test("Who is revoked after having said yes gives nothing: the user, the client, the login")
  func revoked() throws {
    for (kind, name) in [(RevocationKind.subject, "ann"), (.client, "tv"), (.tenant, "acme"), (.key, "ann/k")] {
      let book = OrderBook()
      let server = try AB(facts: book)
      let codes = start(server)
      decide(server, form(page(server, codes.json("user_code"))))
      book.revoke(kind, name)
      #expect(poll(server, codes.json("device_code")).error == (kind == .client ? "invalid_client" : "invalid_grant"))
    }
  }

  /// A server with a device to which its user has said yes.
  private func approved(_ rule: String) throws -> (AB, code: String?, OrderBook) {
    let book = OrderBook()
    let server = try AB(", onStaleRevocations: \"\(rule)\"", facts: book)
    let codes = start(server)
    decide(server, form(page(server, codes.json("user_code"))))
    return (server, codes.json("device_code"), book)
  }

  @Test(
    "While a node may have missed who is revoked a device gets no tokens, and loses none: it gets them afterwards",
    arguments: ["closed", "ask"])
  func stale(rule: String) throws {
    let (server, code, book) = try approved(rule)
    let waiting = start(server).json("device_code")
    book.fallBehind()
    for _ in 0..<2 {
      let refused = poll(server, code)
      #expect(refused.verdict == "503" && refused.code == "revocations-stale")
    }
    #expect(poll(server, waiting).error == "authorization_pending")
    book.catchUp()
    #expect(poll(server, code).claim("sub") == "ann")
    #expect(poll(server, code).error == "invalid_grant")
  }

  @Test("Who turns out to have been revoked meanwhile gets nothing")
  func staleAndRevoked() throws {
    let (server, code, book) = try approved("closed")
    book.fallBehind()
    #expect(poll(server, code).code == "revocations-stale")
    book.revoke(.key, "ann/k")
    book.catchUp()
    #expect(poll(server, code).error == "invalid_grant")
  }

  @Test("Where a node is to go by what it knows a device gets its tokens, and is told that something may be missing")
  func staleAndOpen() throws {
    let (server, code, book) = try approved("open")
    book.fallBehind()
    let tokens = poll(server, code)
    #expect(tokens.claim("sub") == "ann" && tokens.responseFields.contains("Sluice-Degraded: revocations\r\n"))
  }

  @Test("A device gets its tokens once, on whatever node, and refreshes by itself")
  func granted() throws {
    let (records, quota) = (TestRecords(), SlowQuota())
    let nodes = try (0..<3).map { _ in try AB(quota: quota, records: records) }
    let codes = start(nodes[0])
    #expect(poll(nodes[1], codes.json("device_code")).error == "authorization_pending")
    #expect(decide(nodes[2], form(page(nodes[1], codes.json("user_code")))).body.contains("goes on"))
    let tokens = poll(nodes[1], codes.json("device_code"))
    #expect(tokens.verdict == "200" && tokens.claim("sub") == "ann" && tokens.claim("client_id") == "tv")
    #expect(tokens.claim("scope") == "read" && tokens.claim("aud") == AB.api && tokens.claim("groups") == "[\"gold\"]")
    for node in nodes { #expect(poll(node, codes.json("device_code")).error == "invalid_grant") }
    let more = nodes[0].post(
      "/oauth2/token", "grant_type=refresh_token&client_id=tv&refresh_token=\(tokens.json("refresh_token") ?? "")")
    #expect(more.verdict == "200" && more.claim("sid") == tokens.claim("sid"))
  }

  @Test("A device that asks while its user answers does not undo the answer, nor the other way round")
  func race() throws {
    let (records, quota) = (TestRecords(), SlowQuota())
    let nodes = try (0..<2).map { _ in try AB(quota: quota, records: records) }
    let codes = start(nodes[0])
    let shown = form(page(nodes[0], codes.json("user_code")))
    var between: [String] = []
    records.before = { request in
      guard between.isEmpty, case .swap = request.action else { return }
      between.append("")
      between.append(poll(nodes[1], codes.json("device_code")).error)
    }
    #expect(decide(nodes[0], shown).body.contains("goes on"))
    #expect(between == ["", "authorization_pending"])
    #expect(poll(nodes[1], codes.json("device_code")).verdict == "200")
  }

  @Test("Of two nodes that are asked for the same tokens at the same moment one has them")
  func raceForTokens() throws {
    let (records, quota) = (TestRecords(), SlowQuota())
    let nodes = try (0..<2).map { _ in try AB(quota: quota, records: records) }
    let codes = start(nodes[0])
    decide(nodes[0], form(page(nodes[0], codes.json("user_code"))))
    var other: [String] = []
    records.before = { request in
      guard other.isEmpty, request.action == .take else { return }
      other.append("")
      other.append(poll(nodes[1], codes.json("device_code")).verdict)
    }
    #expect(poll(nodes[0], codes.json("device_code")).error == "invalid_grant")
    #expect(other == ["", "200"])
  }
}
