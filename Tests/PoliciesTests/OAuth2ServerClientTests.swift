import Core
import Crypto
import Pipeline
import Policies
import Testing

@Suite("oauth2-server and its clients")
struct OAuth2ServerClientTests {
  private typealias AB = AuthorizationBench

  private static func basic(_ text: String) -> String { "Basic " + Base64.encode(Array(text.utf8)) }

  @Test(
    "A client that does not prove who it is gets nothing, and learns not why",
    arguments: [
      basic("web:wrong"), basic("web:"), basic("nobody:secret-of-web"), basic("web"), basic(":secret-of-web"),
      "Basic x",
      basic("worker:secret-of-web"), basic("signer:secret-of-signer"), basic("native:"), "Bearer abc", "Basic",
      basic("web:%zz"),
    ])
  func wrongSecret(authorization: String) throws {
    let outcome = try AB().token("grant_type=client_credentials", as: authorization)
    #expect(outcome.verdict == "401" && outcome.error == "invalid_client")
    #expect(outcome.responseFields.contains("WWW-Authenticate: Basic realm=\"sluice\"\r\n"))
    #expect(outcome.responseFields.contains("Cache-Control: no-store"))
  }

  @Test(
    "A client proves in one way who it is, and in its own",
    arguments: [
      ("grant_type=client_credentials&client_secret=secret-of-worker", "invalid_request"),
      ("grant_type=client_credentials&client_id=web", "invalid_request"),
      (
        "grant_type=client_credentials&client_assertion=a.b.c&client_assertion_type="
          + "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "invalid_request"
      ),
      ("grant_type=client_credentials&client_assertion=a.b.c", "invalid_client"),
      ("grant_type=client_credentials&client_id=worker", nil),
    ])
  func oneWay(form: String, error: String?) throws {
    #expect(try AB().token(form, as: AB.worker).json("error") == error)
  }

  @Test("A public client has no secret, a client with a secret is not public, and nobody is nobody")
  func publicClients() throws {
    let server = try AB()
    for form in ["client_id=native&client_secret=x", "client_id=web", "client_id=worker", "client_id=nobody", ""] {
      let outcome = server.token("grant_type=authorization_code&code=x&\(form)", as: nil)
      #expect(outcome.error == "invalid_client" && !outcome.responseFields.contains("WWW-Authenticate"))
    }
    #expect(server.post("/oauth2/introspect", "client_id=native&token=x").error == "invalid_client")
  }

  @Test("An address that fails again and again is not listened to for a while")
  func failures() throws {
    let server = try AB(", failuresPerAddress: 3")
    for _ in 0..<3 { #expect(server.token("grant_type=x", as: Self.basic("web:wrong")).error == "invalid_client") }
    #expect(server.token("grant_type=client_credentials", as: AB.worker).code == "too-many-failures")
    server.bench.world.advance(seconds: 11)
    #expect(server.token("grant_type=client_credentials", as: AB.worker).verdict == "200")
  }

  // MARK: Guesses

  private static let back = "http://127.0.0.1/back"

  /// A server that listens to three failures of an address, on which a public client has refresh tokens too.
  private func strict() throws -> AB {
    let server = try AB()
    let options = AB.server(server.signer, ", failuresPerAddress: 3").replacing(
      "[\"authorization_code\"]", with: "[\"authorization_code\", \"refresh_token\"]")
    #expect(try server.bench.use("{ type: \"api-key\", optional: true }", options) == [])
    return server
  }

  /// The form that redeems a code of the public client, a fresh one where none is given.
  private func redemption(_ server: AB, _ code: String? = nil) -> String {
    let code = code ?? server.code(["client_id": "native", "redirect_uri": Self.back, "scope": "read"])
    return AB.redemption(code, address: Self.back) + "&client_id=native"
  }

  private func refresh(_ text: String?) -> String {
    "grant_type=refresh_token&client_id=native&refresh_token=\(text ?? "none")"
  }

  @Test("What was never made counts as a guess where the client proves nothing: so often, and nobody listens any more")
  func guesses() throws {
    let server = try strict()
    let code = server.code(["client_id": "native", "redirect_uri": Self.back, "scope": "read"])
    for form in [redemption(server, "made-up"), redemption(server, String(code.dropLast(4))), refresh(code)] {
      #expect(server.token(form, as: nil).error == "invalid_grant")
    }
    #expect(server.token(redemption(server, code), as: nil).code == "too-many-failures")
    server.bench.world.advance(seconds: 11)
    #expect(server.token(redemption(server, code), as: nil).verdict == "200")
  }

  @Test("A client that has proved who it is has guessed nothing, whatever else it shows")
  func confidentialMistakes() throws {
    let server = try strict()
    for _ in 0..<4 {
      #expect(server.token(AB.redemption("made-up")).error == "invalid_grant")
      #expect(server.refresh("made-up").error == "invalid_grant")
    }
    #expect(server.tokens().verdict == "200")
  }

  /// What a public client may show that was good for something, or for somebody.
  enum Mistake: CaseIterable {
    case lateCode, usedCode, foreignCode, wrongVerifier, wrongAddress, lateRefresh, usedRefresh, foreignRefresh
  }

  private func form(of mistake: Mistake, _ server: AB) -> String {
    let form = redemption(server)
    switch mistake {
    case .lateCode: server.bench.world.advance(seconds: 61)
    case .usedCode: _ = server.token(form, as: nil)
    case .foreignCode: return redemption(server, server.code())
    case .wrongVerifier: return form.replacing(AB.verifier, with: AB.challenge)
    case .wrongAddress: return form.replacing("%2Fback", with: "%2Fother")
    case .foreignRefresh: return refresh(server.tokens().json("refresh_token"))
    case .lateRefresh, .usedRefresh:
      let text = server.token(form, as: nil).json("refresh_token")
      if mistake == .lateRefresh {
        server.bench.world.advance(seconds: 31 * 86_400)
      } else {
        _ = server.token(refresh(text), as: nil)
      }
      return refresh(text)
    }
    return form
  }

  @Test(
    "What was made once is no guess: nobody shuts out its own address by what is over, used or another's",
    arguments: Mistake.allCases)
  func mistakes(mistake: Mistake) throws {
    let server = try strict()
    let form = form(of: mistake, server)
    for _ in 0..<4 { #expect(server.token(form, as: nil).error == "invalid_grant") }
    #expect(server.token(redemption(server), as: nil).verdict == "200")
  }

  // MARK: What clients may

  @Test(
    "A client gets no more than it is configured with",
    arguments: [
      ("grant_type=authorization_code&code=x", "unauthorized_client"),
      ("grant_type=refresh_token", "unauthorized_client"),
      ("grant_type=password&username=a&password=b", "unsupported_grant_type"), ("scope=read", "invalid_request"),
      ("grant_type=client_credentials&scope=admin", "invalid_scope"),
      ("grant_type=client_credentials&resource=https://evil.example", "invalid_target"),
      ("grant_type=client_credentials&scope=%22", "invalid_scope"),
    ])
  func notItsOwn(form: String, error: String) throws {
    let outcome = try AB().token(form, as: AB.worker)
    #expect(outcome.verdict == "400" && outcome.error == error)
  }

  // MARK: Assertions

  @Test(
    "An assertion is of the client, for this server, and made just now",
    arguments: [
      ["iss": "\"worker\""], ["sub": "\"worker\""], ["iss": ""], ["sub": ""], ["aud": "\"https://evil.example\""],
      ["aud": ""], ["aud": "[\"https://id.example/oauth2\",\"https://evil.example\"]"], ["exp": ""], ["jti": ""],
      ["exp": "1789999900"], ["exp": "1790009000"], ["exp": "\"1790000060\""], ["nbf": "1790000100"],
      ["iat": "1790000100"], ["jti": "\"\""], ["aud": "\"https://id.example/oauth2/authorize\""],
    ] as [[String: String]])
  func wrongAssertion(claims: [String: String]) throws {
    let server = try AB()
    let form = try AB.asserting(server.assertion(claims)) + "&client_id=signer"
    #expect(server.token(form, as: nil).error == "invalid_client")
  }

  @Test("Algorithm confusion in client assertions: the client's key verifies what it is for and nothing else")
  func confusion() throws {
    let server = try AB()
    let open = Array((server.signer.publicText ?? "").utf8)
    let confused = try TokenSigner(secret: open, algorithm: .hs256, keyID: "one")
    let stranger = try TokenSigner.fresh(.es256, keyID: "one")
    let other = try TokenSigner.fresh(.edDSA, keyID: "one")
    for signer in [confused, stranger, other] {
      let form = try AB.asserting(server.assertion(by: signer))
      #expect(server.token(form, as: nil).error == "invalid_client")
    }
    let parts = try server.assertion().split(separator: ".").map(String.init)
    let none = crafted(header: "{\"alg\":\"none\"}", payload: "{\"sub\":\"signer\"}", signature: [])
    for text in [none, "\(parts[0]).\(parts[1]).", "\(parts[0]).\(parts[1]).AAAA", parts[1], "a.b.c"] {
      #expect(server.token(AB.asserting(text) + "&client_id=signer", as: nil).error == "invalid_client")
    }
    for type in ["at+jwt", "dpop+jwt", "logout+jwt"] {
      #expect(try server.token(AB.asserting(server.assertion(type: type)), as: nil).error == "invalid_client")
    }
  }

  @Test("An assertion is good once, on all nodes, and others are good beside it")
  func assertionReplay() throws {
    let quota = SlowQuota()
    let server = try AB(quota: quota)
    let form = try AB.asserting(server.assertion())
    var waits = 0
    #expect(server.post("/oauth2/token", form, waits: &waits).claim("client_id") == "signer")
    #expect(waits == 1)
    #expect(server.token(form, as: nil).error == "invalid_client")
    server.bench.world.advance(seconds: 70)
    #expect(try server.token(AB.asserting(server.assertion(["exp": "1790000120"])), as: nil).error == "invalid_client")
    let form2 = try AB.asserting(
      server.assertion(["exp": "1790000120", "jti": "\"2\"", "aud": "[\"\(AB.issuer)/token\"]"]))
    #expect(server.token(form2, as: nil).verdict == "200")
  }

  // MARK: Introspection and revocation

  @Test("What is no token of this server is not active, and nobody is told of tokens of others")
  func inactive() throws {
    let server = try AB()
    let tokens = server.tokens(["scope": "openid"])
    let foreign = try TestIssuer(name: AB.issuer).token("\"client_id\":\"web\"", type: "at+jwt")
    for text in ["x", foreign, tokens.json("id_token"), server.code()] { #expect(!server.isActive(text)) }
    #expect(!server.isActive(tokens.json("access_token"), as: AB.worker))
    #expect(!server.isActive(tokens.json("refresh_token"), as: AB.worker))
    #expect(server.isActive(tokens.json("access_token"), as: AB.web))
    #expect(server.post("/oauth2/introspect", "token=", as: AB.web).error == "invalid_request")
    #expect(server.post("/oauth2/introspect", "token=x").error == "invalid_client")
    server.bench.world.advance(seconds: 301)
    #expect(!server.isActive(tokens.json("access_token")))
    #expect(server.isActive(tokens.json("refresh_token")))
  }

  @Test("To look at a refresh token does not use it")
  func looking() throws {
    let server = try AB()
    let tokens = server.tokens()
    for _ in 0..<3 { #expect(server.isActive(tokens.json("refresh_token"))) }
    #expect(server.refresh(tokens.json("refresh_token")).verdict == "200")
    #expect(!server.isActive(tokens.json("refresh_token")))
  }

  @Test("A refresh token is revoked with all that followed from it, an access token alone, and others' tokens are not")
  func revocation() throws {
    let facts = OrderBook()
    let server = try AB(facts: facts)
    let (one, two) = (server.tokens(), server.tokens())
    let access = one.json("access_token") ?? ""
    #expect(server.post("/oauth2/revoke", "token=\(access)", as: AB.worker).error == "unauthorized_client")
    #expect(server.post("/oauth2/revoke", "token=\(two.json("refresh_token") ?? "")", as: AB.worker).verdict == "400")
    #expect(facts.orders.isEmpty && server.isActive(access))
    #expect(server.post("/oauth2/revoke", "token=\(access)&token_type_hint=refresh_token", as: AB.web).verdict == "200")
    #expect(facts.orders.map(\.kind) == [.tokenID] && facts.orders.map(\.name) == [one.claim("jti")])
    #expect(!server.isActive(access))
    #expect(server.post("/oauth2/revoke", "token=\(two.json("refresh_token") ?? "")", as: AB.web).verdict == "200")
    #expect(facts.orders.map(\.kind) == [.tokenID, .session] && !server.isActive(two.json("access_token")))
    #expect(server.refresh(two.json("refresh_token")).error == "invalid_grant")
    #expect(server.refresh(one.json("refresh_token")).verdict == "200")
  }

  @Test("What nobody knows is revoked already; a node without a cluster says what it cannot do")
  func revocationAlone() throws {
    let server = try AB()
    for text in ["x", "a.b.c", server.code()] {
      #expect(server.post("/oauth2/revoke", "token=\(text)", as: AB.web).verdict == "200")
    }
    let tokens = server.tokens()
    let access = "token=\(tokens.json("access_token") ?? "")"
    #expect(server.post("/oauth2/revoke", access, as: AB.web).error == "unsupported_token_type")
    let refresh = "token=\(tokens.json("refresh_token") ?? "")"
    #expect(server.post("/oauth2/revoke", refresh, as: AB.web).verdict == "200")
    #expect(server.refresh(tokens.json("refresh_token")).error == "invalid_grant")
  }

  // MARK: Tokens and keys

  @Test("Access tokens are those that `jwt` takes by the keys that are published, and no ID token passes for one")
  func accessTokens() throws {
    let server = try AB()
    let tokens = server.tokens(["scope": "openid read", "nonce": "n-1"])
    let keys = server.get("/oauth2/jwks").body.replacing("\"", with: "\\\"")
    let options = "issuer: \"\(AB.issuer)\", audiences: [\"\(AB.api)\"], jwks: \"\(keys)\", types: [\"at+jwt\"]"
    let api = try Bench(consumers: AB.users)
    #expect(
      try api.use(
        "{ type: \"jwt\", issuers: [{ \(options), claims: { consumer: \"consumer\" } }], scopes: [\"read\"] }")
        == [])
    let outcome = api.send(bearing(tokens.json("access_token") ?? ""))
    #expect(outcome.verdict == "next" && outcome.consumer == 0)
    #expect(api.send(bearing(tokens.json("id_token") ?? "")).verdict == "401")
    #expect(tokens.claim("client_id") == "web" && tokens.claim("groups") == "[\"gold\"]")
    #expect(tokens.claim("nonce", of: "id_token") == "n-1" && tokens.claim("aud", of: "id_token") == "web")
    #expect(tokens.json("scope") == "openid read" && tokens.json("token_type") == "Bearer")
  }

  @Test("A client that acts for itself is its own subject, and no token of its own has a session")
  func credentials() throws {
    let outcome = try AB().token("grant_type=client_credentials&scope=read", as: AB.worker)
    #expect(outcome.claim("sub") == "worker" && outcome.claim("client_id") == "worker")
    #expect(outcome.claim("aud") == AB.api && outcome.claim("scope") == "read" && outcome.claim("consumer") == "bob")
    #expect(outcome.claim("sid") == nil && outcome.json("refresh_token") == nil)
    #expect(outcome.claim("iss") == AB.issuer && outcome.json("expires_in") == "300")
  }

  @Test("A client without the grant of refresh tokens gets none")
  func withoutRefresh() throws {
    let server = try AB()
    let code = server.code(["client_id": "native", "redirect_uri": "http://127.0.0.1:9/back", "scope": "read"])
    let outcome = server.token(AB.redemption(code, address: "http://127.0.0.1:9/back") + "&client_id=native", as: nil)
    #expect(outcome.verdict == "200" && outcome.json("refresh_token") == nil)
  }

  private func keyIDs(_ server: AB) -> [String] {
    let keys = try? JSONWebKeySet(Array(server.get("/oauth2/jwks").body.utf8))
    return keys?.keys.compactMap(\.keyID) ?? []
  }

  private func keyID(_ tokens: Outcome) -> String? {
    let header = (tokens.json("access_token") ?? "").split(separator: ".").first.map(String.init) ?? ""
    let text = Base64URL.decode(header) ?? []
    return JSONDocument.parse(text).document?.root["kid"]?.string
  }

  @Test("A key is published before it signs and after it has signed, and is the same on all nodes")
  func rolling() throws {
    let server = try AB(", keyTime: \"1d\"")
    var before = keyIDs(server)
    #expect(before.count == 3 && keyID(server.tokens()) == before[1])
    let old = server.tokens()
    for _ in 0..<3 {
      server.bench.world.advance(seconds: 86_400)
      let after = keyIDs(server)
      #expect(Array(after.prefix(2)) == Array(before.suffix(2)) && !before.contains(after[2]))
      #expect(keyID(server.tokens()) == before[2])
      before = after
    }
    #expect(!server.isActive(old.json("access_token")))
    let other = try AB(", keyTime: \"1d\"")
    other.bench.world.advance(seconds: 3 * 86_400)
    #expect(keyIDs(other) == before)
  }

  @Test(
    "What the server offers is where clients look for it",
    arguments: [
      "/.well-known/oauth-authorization-server/oauth2", "/oauth2/.well-known/oauth-authorization-server",
      "/oauth2/.well-known/openid-configuration",
    ])
  func metadata(path: String) throws {
    let outcome = try AB().get(path)
    #expect(outcome.verdict == "200" && outcome.json("issuer") == AB.issuer)
    #expect(outcome.json("token_endpoint") == AB.issuer + "/token" && outcome.json("jwks_uri") == AB.issuer + "/jwks")
    #expect(outcome.json("code_challenge_methods_supported") == "[\"S256\"]")
    #expect(!outcome.body.contains("HS256") && !outcome.body.contains("plain"))
  }

  // MARK: Options

  @Test(
    "Options that make no server are said",
    arguments: [
      ("issuer: \"http://id.example\"", "issuer"), ("issuer: \"https://id.example/\"", "issuer"),
      ("issuer: \"https://id.example/a?b\"", "issuer"), ("issuer: \"https://id.example/a/../b\"", "issuer"),
      ("algorithm: \"ES256\"", "algorithm"), ("key: \"no key\"", "key"), ("otherKeys: \"{}\"", "otherKeys"),
      ("accessTokenTime: \"2h\"", "accessTokenTime"),
    ])
  func wrongOptions(option: String, place: String) throws {
    let issuer = place == "issuer" ? "" : "issuer: \"https://id.example\", "
    let client = "{ id: \"a\", sha256: \"\(digest("a").hexadecimal)\", grants: [\"client_credentials\"] }"
    let made = make("{ type: \"oauth2-server\", audience: \"x\", \(issuer)\(option), clients: [\(client)] }")
    #expect(made.remarks.count == 1 && made.remarks[0].hasPrefix(place))
  }

  @Test(
    "Clients that could not work, or could not be trusted, are said",
    arguments: [
      "id: \"a b\", grants: [\"authorization_code\"], redirectURIs: [\"https://a\"]",
      "id: \"a\", grants: [\"client_credentials\"]", "id: \"a\", grants: [\"authorization_code\"]",
      "id: \"a\", grants: [\"implicit\"]", "id: \"a\", sha256: \"abc\", grants: [\"client_credentials\"]",
      "id: \"a\", grants: [\"authorization_code\"], redirectURIs: [\"http://a.example/\"]",
      "id: \"a\", grants: [\"authorization_code\"], redirectURIs: [\"https://*.example/\"]",
      "id: \"a\", grants: [\"authorization_code\"], redirectURIs: [\"https://a.example/#b\"]",
      "id: \"a\", grants: [\"authorization_code\"], redirectURIs: [\"javascript:alert(1)\"]",
      "id: \"a\", grants: [\"authorization_code\"], redirectURIs: [\"https://u@a.example/\"]",
      "id: \"a\", publicKey: \"x\", grants: [\"client_credentials\"]",
      "id: \"a\", grants: [\"authorization_code\"], redirectURIs: [\"https://a\"], introspects: true",
      "id: \"a\", grants: [\"authorization_code\"], redirectURIs: [\"https://a\"], scopes: [\"a b\"]",
      "id: \"a\", grants: [\"refresh_token\"]",
    ])
  func wrongClients(client: String) {
    let made = make(
      "{ type: \"oauth2-server\", audience: \"x\", issuer: \"https://id.example\", clients: [{ \(client) }] }")
    #expect(made.remarks.contains { $0.hasPrefix("clients") })
  }
}
