import Cluster
import Core
import Crypto
import Pipeline
import Policies
import Testing

@Suite("oauth2-server")
struct OAuth2ServerTests {
  private typealias AB = AuthorizationBench

  // MARK: Requests that are none

  @Test(
    "What is not there, or not for this method, is refused",
    arguments: [
      ("GET", "/oauth2", "no-route"), ("GET", "/oauth2/", "no-route"), ("GET", "/oauth2/tokens", "no-route"),
      ("GET", "/token", "no-route"), ("GET", "/oauth2/token", "method-not-allowed"),
      ("GET", "/oauth2/revoke", "method-not-allowed"), ("PUT", "/oauth2/authorize", "method-not-allowed"),
      ("POST", "/oauth2/jwks", "method-not-allowed"), ("HEAD", "/oauth2/authorize", "method-not-allowed"),
    ])
  func elsewhere(method: String, path: String, code: String) throws {
    let outcome = try AB().bench.send("\(method) \(path) HTTP/1.1\nHost: a")
    #expect(outcome.code == code)
    #expect(outcome.responseFields.hasPrefix("Allow: ") == (code == "method-not-allowed"))
  }

  @Test(
    "A body that does not say that it is a form is not read",
    arguments: [
      nil, "application/json", "application/x-www-form-urlencoded2", "text/plain; application/x-www-form-urlencoded",
      "application/x-www-form-urlencoded; charset=utf-16",
      "application/x-www-form-urlencoded; boundary=a; charset=utf-8",
    ])
  func type(type: String?) throws {
    let outcome = try AB().post("/oauth2/token", "grant_type=client_credentials", as: AB.worker, type: type)
    #expect(outcome.verdict == "400" && outcome.error == "invalid_request")
  }

  @Test("A form in another spelling of its type is read")
  func otherType() throws {
    for type in ["Application/X-WWW-Form-URLEncoded", "application/x-www-form-urlencoded ;charset=UTF-8"] {
      #expect(
        try AB().post("/oauth2/token", "grant_type=client_credentials", as: AB.worker, type: type).verdict == "200")
    }
  }

  @Test(
    "Duplicated parameters: nobody reads one of them where others might read the other",
    arguments: ["client_id=web", "grant_type=refresh_token", "%67rant_type=authorization_code", "x=1&x=2"])
  func duplicated(more: String) throws {
    let server = try AB()
    let form = AB.redemption(server.code()) + "&client_id=web&\(more)"
    #expect(server.token(form).error == "invalid_request")
    let page = server.get(AB.authorization() + "&client_id=web&redirect_uri=https://evil.example&\(more)", as: "ann")
    #expect(page.verdict == "400" && page.target.isEmpty)
  }

  @Test("A form with broken escapes, without an end or with too much in it is refused")
  func malformed() throws {
    for form in ["grant_type=%", "grant_type=%ff", "a=" + String(repeating: "x", count: 33_000)] {
      #expect(try AB().token(form).error == "invalid_request")
    }
  }

  // MARK: The authorization endpoint

  @Test(
    "Redirect URI prefix trick and others: nobody is sent to an address that the client has not registered",
    arguments: [
      "https://app.example/callback/", "https://app.example/callback?x=1", "https://app.example/callbackx",
      "https://app.example/callback/../evil", "https://app.example.evil.example/callback", "https://app.example",
      "https://app.example@evil.example/callback", "http://app.example/callback", "https://APP.example/callback",
      "https://app.example/callback#x", "https://evil.example/https://app.example/callback", "javascript:alert(1)", "",
    ])
  func redirectTricks(address: String) throws {
    let outcome = try AB().get(AB.authorization(["redirect_uri": address]), as: "ann")
    #expect(outcome.verdict == "400" && outcome.target.isEmpty)
    #expect(outcome.responseFields.contains("Content-Type: text/html"))
  }

  @Test(
    "Of a program's own machine the port alone is free",
    arguments: [
      ("http://127.0.0.1:51004/back", true), ("http://127.0.0.1/back", true), ("http://[::1]:7/back", true),
      ("com.example.app:/back", true), ("http://localhost:7/x", true), ("http://localhost:8/x", false),
      ("http://127.0.0.1:51004/other", false), ("http://127.0.0.1.evil.example/back", false),
      ("http://127.0.0.1:0/back", false), ("http://127.0.0.1:99999/back", false),
      ("http://127.0.0.1:1@evil/back", false),
      ("http://127.0.0.2:51004/back", false), ("https://127.0.0.1:51004/back", false),
      ("http://127.0.0.1:/back", false),
    ])
  func loopback(address: String, isGood: Bool) throws {
    let outcome = try AB().get(
      AB.authorization(["client_id": "native", "redirect_uri": address, "scope": "read"]), as: "ann")
    #expect(outcome.verdict == (isGood ? "303" : "400"))
    #expect(outcome.target.hasPrefix(address + "?code=") == isGood)
  }

  @Test("A client that nobody knows gets no answer at all")
  func unknownClient() throws {
    for id in ["nobody", "", "WEB"] {
      let outcome = try AB().get(AB.authorization(["client_id": id]), as: "ann")
      #expect(outcome.verdict == "400" && outcome.target.isEmpty)
    }
  }

  @Test(
    "What is wrong with a request of a known client, the client is told, with its state and the issuer",
    arguments: [
      (["response_type": "token"], "unsupported_response_type"), (["response_type": ""], "invalid_request"),
      (["response_type": "code token"], "unsupported_response_type"),
      (["response_mode": "fragment"], "invalid_request"),
      (["scope": "read admin"], "invalid_scope"), (["scope": "read  write"], "invalid_scope"),
      (["resource": "https://evil.example"], "invalid_target"), (["request": "e30.e30."], "invalid_request"),
      (["request_uri": "https://evil.example"], "invalid_request"), (["prompt": "login"], "login_required"),
      (["prompt": "none consent"], "invalid_request"),
    ] as [([String: String], String)])
  func toldRequests(changes: [String: String], error: String) throws {
    let outcome = try AB().get(AB.authorization(changes), as: "ann")
    #expect(outcome.verdict == "303" && outcome.target.hasPrefix(AB.callback + "?error="))
    #expect(outcome.location["error"] == error)
    #expect(outcome.location["state"] == "s t&1" && outcome.location["iss"] == AB.issuer)
    #expect(outcome.location["code"] == nil)
  }

  @Test(
    "PKCE downgrade: no code without a digest of SHA-256, whatever the client is",
    arguments: [
      ["code_challenge": ""], ["code_challenge_method": ""], ["code_challenge_method": "plain"],
      ["code_challenge_method": "s256"], ["code_challenge": AuthorizationBench.challenge + "A"],
      ["code_challenge": AuthorizationBench.challenge + "="], ["code_challenge": "short"],
      ["code_challenge": "", "code_challenge_method": ""],
    ] as [[String: String]])
  func downgrade(changes: [String: String]) throws {
    for client in [[:], ["client_id": "native", "redirect_uri": "http://127.0.0.1/back", "scope": "read"]] {
      let outcome = try AB().get(AB.authorization(changes.merging(client) { $1 }), as: "ann")
      #expect(outcome.location["error"] == "invalid_request" && outcome.location["code"] == nil)
    }
  }

  @Test("Nobody who is not logged in gets a code; the policies that would have known them say how")
  func anonymous() throws {
    let outcome = try AB().get(AB.authorization())
    #expect(outcome.verdict == "401" && outcome.code == "authentication-required")
    #expect(outcome.responseFields == "WWW-Authenticate: ApiKey realm=\"sluice\", name=\"X-API-Key\"\r\n")
    let silent = try AB().get(AB.authorization(["prompt": "none"]))
    #expect(silent.location["error"] == "login_required")
  }

  @Test("Mix-up iss: each answer says whose it is, and one without faults keeps a query of its address")
  func issuerInAnswers() throws {
    let outcome = try AB().get(AB.authorization(["redirect_uri": "https://app.example/with?query=1"]), as: "ann")
    #expect(outcome.target.hasPrefix("https://app.example/with?query=1&code="))
    #expect(outcome.location["iss"] == AB.issuer && outcome.location["state"] == "s t&1")
    #expect(outcome.responseFields.contains("Cache-Control: no-store"))
  }

  // MARK: Consent

  private func form(_ page: Outcome) -> String {
    String(page.body.split(separator: "name=\"consent\" value=\"").last?.prefix { $0 != "\"" } ?? "")
  }

  @Test("CSRF on consent: a form that was shown to somebody else, to nobody, or is made up grants nothing")
  func consentForgery() throws {
    let server = try AB(", consent: true")
    let shown = form(server.get(AB.authorization(), as: "bob"))
    let other = server.post("/oauth2/authorize", "consent=\(shown)&decision=allow", user: "ann")
    #expect(other.verdict == "403" && other.target.isEmpty)
    #expect(server.post("/oauth2/authorize", "consent=\(shown)&decision=allow").verdict == "401")
    #expect(server.get("/oauth2/authorize?consent=\(shown)&decision=allow", as: "bob").target.isEmpty)
    for made in ["x", String(shown.dropLast(2)), server.code() + "A"] {
      let outcome = server.post("/oauth2/authorize", "consent=\(made)&decision=allow", user: "ann")
      #expect(outcome.verdict == "400" && outcome.target.isEmpty)
    }
    #expect(server.post("/oauth2/authorize", "decision=allow&client_id=web", user: "bob").target.isEmpty)
    server.bench.world.advance(seconds: 601)
    #expect(server.post("/oauth2/authorize", "consent=\(shown)&decision=allow", user: "bob").verdict == "400")
  }

  @Test("Who is asked may say no, and must say something")
  func consentDenied() throws {
    let server = try AB(", consent: true")
    let page = server.get(AB.authorization(), as: "ann")
    let denied = server.post("/oauth2/authorize", "consent=\(form(page))&decision=deny", user: "ann")
    #expect(denied.location["error"] == "access_denied" && denied.location["state"] == "s t&1")
    #expect(server.post("/oauth2/authorize", "consent=\(form(page))", user: "ann").verdict == "400")
    #expect(server.get(AB.authorization(["prompt": "none"]), as: "ann").location["error"] == "consent_required")
  }

  @Test("The page that asks holds no scripts, no frame may hold it, and names are text")
  func consentPage() throws {
    let server = try AB()
    let page = server.get(AB.authorization(["prompt": "consent"]), as: "ann")
    #expect(page.verdict == "200" && page.body.contains("The &lt;Web&gt;") && !page.body.contains("<script"))
    let policy =
      "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' https://app.example\r\n"
    #expect(page.responseFields.contains(policy))
    let granted = server.post("/oauth2/authorize", "consent=\(form(page))&decision=allow", user: "ann")
    let code = try #require(granted.location["code"])
    #expect(server.token(AB.redemption(code)).claim("sub") == "ann")
  }

  // MARK: Codes

  @Test("Code replay: a code that is used twice ends all that followed from it")
  func codeReplay() throws {
    let facts = OrderBook()
    let server = try AB(facts: facts)
    let code = server.code()
    let first = server.token(AB.redemption(code))
    #expect(server.isActive(first.json("access_token")))
    #expect(server.token(AB.redemption(code)).error == "invalid_grant")
    #expect(facts.orders.map(\.name) == [first.claim("sid")] && facts.orders[0].kind == .session)
    #expect(server.refresh(first.json("refresh_token")).error == "invalid_grant")
    #expect(!server.isActive(first.json("access_token")) && !server.isActive(first.json("refresh_token")))
    #expect(server.tokens().verdict == "200")
  }

  @Test("Code of another client: it is good for the client alone that it was sent to")
  func foreignCode() throws {
    let server = try AB()
    let code = server.code(["client_id": "native", "redirect_uri": "http://127.0.0.1/back", "scope": "read"])
    let form = AB.redemption(code, address: "http://127.0.0.1/back")
    #expect(server.token(form).error == "invalid_grant")
    #expect(server.token(form + "&client_id=web", as: nil).error == "invalid_client")
    #expect(server.token(form + "&client_id=native", as: nil).verdict == "200")
  }

  @Test(
    "A code is not good with another address, another proof, or none",
    arguments: [
      ("code_verifier", "code_verifiers"), (AuthorizationBench.verifier, AuthorizationBench.challenge),
      (AuthorizationBench.verifier, "short"), (AuthorizationBench.verifier, AuthorizationBench.verifier + "A"),
      ("callback", "callback%2F"), ("redirect_uri", "redirect"), ("callback", "with%3Fquery%3D1"),
    ])
  func wrongRedemption(part: String, other: String) throws {
    let server = try AB()
    let form = AB.redemption(server.code())
    #expect(server.token(form.replacing(part, with: other)).error == "invalid_grant")
    #expect(server.token(form).verdict == "200")
  }

  @Test("A code is over after its time; one sealed for something else, changed, or of another issuer is none")
  func noCode() throws {
    let server = try AB()
    let code = server.code()
    let refresh = try #require(server.tokens().json("refresh_token"))
    let changed = (code.hasPrefix("A") ? "B" : "A") + code.dropFirst()
    for text in [refresh, "", "x", String(code.dropLast(4)), changed] {
      #expect(["invalid_grant", "invalid_request"].contains(server.token(AB.redemption(text)).error))
    }
    #expect(server.refresh(code).error == "invalid_grant")
    server.bench.world.advance(seconds: 61)
    #expect(server.token(AB.redemption(code)).error == "invalid_grant")
  }

  // MARK: Refresh

  @Test("Refresh reuse: a token that is used twice ends the session, the newest token included")
  func refreshReuse() throws {
    let facts = OrderBook()
    let server = try AB(facts: facts)
    let first = server.tokens()
    let second = server.refresh(first.json("refresh_token"))
    let third = server.refresh(second.json("refresh_token"))
    #expect(third.verdict == "200" && third.claim("sid") == first.claim("sid"))
    #expect(server.refresh(first.json("refresh_token")).error == "invalid_grant")
    #expect(facts.orders.map(\.name) == [first.claim("sid")])
    #expect(server.refresh(third.json("refresh_token")).error == "invalid_grant")
    #expect(!server.isActive(third.json("access_token")))
    #expect(server.refresh(server.tokens().json("refresh_token")).verdict == "200")
  }

  @Test("Refresh reuse is found by nodes without a cluster too")
  func refreshReuseAlone() throws {
    let server = try AB()
    let first = server.tokens()
    let second = server.refresh(first.json("refresh_token"))
    #expect(server.refresh(first.json("refresh_token")).error == "invalid_grant")
    #expect(server.refresh(second.json("refresh_token")).error == "invalid_grant")
    #expect(!server.isActive(second.json("refresh_token")))
  }

  @Test("Scope widening: a refresh gives as much as was granted, or less, and never more afterwards")
  func widening() throws {
    let server = try AB()
    let first = server.tokens(["scope": "read"])
    for scope in ["read write", "write", "openid", "read "] {
      #expect(
        server.refresh(first.json("refresh_token"), "&scope=\(PercentText.encoded(scope))").error == "invalid_scope")
    }
    #expect(server.refresh(first.json("refresh_token"), "&resource=https://other.example").error == "invalid_target")
    let narrow = server.refresh(server.tokens().json("refresh_token"), "&scope=read")
    #expect(narrow.claim("scope") == "read")
    #expect(server.refresh(narrow.json("refresh_token")).claim("scope") == "read write")
  }

  @Test("A session is over after its time, however often it was refreshed")
  func absoluteEnd() throws {
    let server = try AB(", refreshTokenTime: \"1h\"")
    var last = server.tokens()
    for _ in 0..<3 {
      server.bench.world.advance(seconds: 1_000)
      last = server.refresh(last.json("refresh_token"))
      #expect(last.verdict == "200")
    }
    server.bench.world.advance(seconds: 601)
    #expect(server.refresh(last.json("refresh_token")).error == "invalid_grant")
  }

  @Test("Who is revoked gets no more tokens: the session, the user, the client, the tenant")
  func revoked() throws {
    for (kind, name) in [(RevocationKind.subject, "ann"), (.client, "web"), (.tenant, "acme"), (.session, nil)] {
      let facts = OrderBook()
      let server = try AB(facts: facts)
      let first = server.tokens()
      facts.revoke(kind, name ?? first.claim("sid") ?? "")
      let outcome = server.refresh(first.json("refresh_token"))
      #expect(outcome.error == (kind == .client ? "invalid_client" : "invalid_grant"))
      #expect(!server.isActive(first.json("access_token")))
    }
  }

  @Test("A consumer that is not there any more is nobody, and one that is has its present groups")
  func consumers() throws {
    let first = try AB().tokens()
    let gone = try AB(users: [Consumer(id: "bob", keys: [])])
    #expect(gone.refresh(first.json("refresh_token")).error == "invalid_grant")
    // A name that is another tenant's by now, or nobody's, means somebody else.
    for tenant in ["other", nil] {
      let moved = try AB(users: [Consumer(id: "ann", tenant: tenant, groups: ["a", "b"])])
      #expect(moved.refresh(first.json("refresh_token")).error == "invalid_grant")
    }
    let changed = try AB(users: [Consumer(id: "ann", tenant: "acme", groups: ["a", "b"])])
    let later = changed.refresh(first.json("refresh_token"))
    #expect(later.claim("groups") == "[\"a\",\"b\"]" && later.claim("tenant") == "acme")
  }

  @Test("Any node goes on with what another has begun, and the store alone knows what was used")
  func nodes() throws {
    let store = CounterStore()
    let nodes = try (0..<2).map { _ in try AB(quota: SlowQuota(store)) }
    let first = nodes[1].token(AB.redemption(nodes[0].code()))
    let second = nodes[0].refresh(first.json("refresh_token"))
    #expect(second.verdict == "200")
    #expect(nodes[1].refresh(first.json("refresh_token")).error == "invalid_grant")
    #expect(nodes[0].refresh(second.json("refresh_token")).error == "invalid_grant")
  }

  @Test("As long as the store cannot be asked nothing is granted, and what was tried then is good later")
  func outage() throws {
    let quota = SlowQuota()
    let server = try AB(quota: quota)
    let form = AB.redemption(server.code())
    quota.isDown = true
    #expect(server.token(form).code == "quota-unavailable")
    quota.isDown = false
    let first = server.token(form)
    quota.isDown = true
    #expect(server.refresh(first.json("refresh_token")).code == "quota-unavailable")
    #expect(try server.token(AB.asserting(server.assertion()), as: nil).code == "quota-unavailable")
    #expect(server.token("grant_type=client_credentials", as: AB.worker).verdict == "200")
  }

  @Test("The limits of the exchange itself are as they were, whatever the store is asked")
  func limits() throws {
    let server = try AB()
    try server.bench.use(
      "{ type: \"rate-limit\", limits: [{ per: \"ip\", window: \"2/1h\" }] }", AB.server(server.signer))
    #expect(server.token("grant_type=client_credentials", as: AB.worker).verdict == "200")
    #expect(try server.token(AB.asserting(server.assertion()), as: nil).verdict == "200")
    #expect(server.token("grant_type=client_credentials", as: AB.worker).code == "rate-limited")
  }
}
