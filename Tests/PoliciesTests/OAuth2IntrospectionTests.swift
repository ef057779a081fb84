import Core
import Crypto
import HTTP
import Pipeline
import Policies
import Testing

@Suite("oauth2-introspection")
struct OAuth2IntrospectionTests {
  private static let now = TestIssuer.now
  private static let inactive = json("{\"active\":false}")
  private static let gone = FetchOutcome.failed("it is down")
  private static let degraded = "Sluice-Degraded: introspection\r\n"

  private func bench(_ options: String = "", facts: LoopFacts? = nil) throws -> Bench {
    let bench = try Bench(consumers: [Consumer(id: "mobile", tenant: "acme", groups: ["gold"])], facts: facts)
    #expect(try bench.use(policy(options)) == [])
    return bench
  }

  private func policy(_ options: String = "") -> String {
    "{ type: \"oauth2-introspection\", endpoint: \"https://id.example/introspect\"\(options) }"
  }

  private func active(_ claims: String = "") -> FetchOutcome {
    json("{\"active\":true\(claims.isEmpty ? "" : ",")\(claims)}")
  }

  // MARK: Refusals

  @Test("A request without a token, or with two, is refused, and nobody is asked")
  func missing() throws {
    let bench = try bench()
    let missing = bench.send("GET / HTTP/1.1\nHost: a")
    #expect(missing.code == "token-missing")
    #expect(missing.responseFields == "WWW-Authenticate: Bearer realm=\"sluice\"\r\n")
    #expect(bench.send(bearing("a") + "\nAuthorization: Bearer b").code == "token-ambiguous")
    #expect(bench.fetches.orders.isEmpty)
  }

  @Test(
    "What can be no token is refused, and nobody is asked",
    arguments: ["a b", "a\tb", "caf\u{e9}", String(repeating: "a", count: 16_385)])
  func noToken(text: String) throws {
    let bench = try bench()
    #expect(bench.send(bearing(text)).code == "token-invalid")
    #expect(bench.fetches.orders.isEmpty)
  }

  @Test("A token that is not active is refused")
  func inactive() throws {
    let outcome = try bench().ask(bearing("t"), Self.inactive)
    #expect(outcome.verdict == "401" && outcome.code == "token-inactive")
    #expect(outcome.responseFields == "WWW-Authenticate: Bearer realm=\"sluice\", error=\"invalid_token\"\r\n")
  }

  @Test(
    "An answer that does not say clearly whether a token is good makes it neither good nor bad",
    arguments: [
      json("{\"active\":true}", status: 500), json("{\"active\":true}", status: 201), json("{}", status: 401),
      json("{\"active\":false}", status: 404), json("{\"active\":true}", status: 302), json("", status: 204),
      .answered(status: 200, fields: [], body: Array("{\"active\":true}".utf8)),
      .answered(
        status: 200, fields: [FetchField("content-type", "text/html")], body: Array("{\"active\":true}".utf8)),
      .answered(
        status: 200, fields: [FetchField("content-type", "application/token-introspection+jwt")], body: [0x61]),
      .answered(
        status: 200,
        fields: [FetchField("content-type", "application/json"), FetchField("content-type", "text/html")],
        body: Array("{\"active\":true}".utf8)),
      json(""), json("{}"), json("[]"), json("true"), json("{\"active\":\"true\"}"), json("{\"active\":1}"),
      json("{\"active\":null}"), json("{\"active\":true,\"active\":false}"), json("{\"active\":true} x"),
      json("{active:true}"), json("{\"active\":[true]}"), json("{\"a\":{\"active\":true}}"),
      json("{\"active\":true,\"exp\":\"1\"}"), json("{\"active\":true,\"exp\":null}"),
      json("{\"active\":true,\"exp\":-1}"), json("{\"active\":true,\"nbf\":[]}"), json("{\"active\":true,\"iat\":{}}"),
      json("{\"active\":true,\"sub\":7}"), json("{\"active\":true,\"jti\":[\"a\"]}"),
      json("{\"active\":true,\"aud\":7}"),
      json("{\"active\":true,\"aud\":[\"a\",7]}"),
      json("{\"active\":true,\"a\":\(String(repeating: "[", count: 20))\(String(repeating: "]", count: 20))}"),
      json("{\"active\":true,\"a\":\"\(String(repeating: "a", count: 32_768))\"}"), .failed("it took too long"),
    ])
  func malformed(answer: FetchOutcome) throws {
    let bench = try bench()
    let outcome = bench.ask(bearing("t"), answer)
    #expect(outcome.verdict == "503" && outcome.code == "issuer-unavailable" && outcome.retryAfter == 1)
    #expect(bench.ask(bearing("t"), active()).verdict == "next", "it was not remembered")
  }

  @Test(
    "An active token of another issuer, for another audience or purpose, or out of its time is refused",
    arguments: [
      ("", "token-untrusted"), ("\"iss\":\"https://evil\",\"aud\":\"orders\"", "token-untrusted"),
      ("\"iss\":\"https://id\"", "token-untrusted"), ("\"iss\":\"https://id\",\"aud\":[\"users\"]", "token-untrusted"),
      ("\"iss\":\"https://id\",\"aud\":\"orders\",\"token_use\":\"refresh_token\"", "token-untrusted"),
      ("\"iss\":\"https://id\",\"aud\":\"orders\",\"typ\":\"Refresh\"", "token-untrusted"),
      ("\"iss\":\"https://id\",\"aud\":\"orders\",\"token_use\":\"id\"", "token-untrusted"),
      ("\"iss\":\"https://id\",\"aud\":\"orders\",\"exp\":\(now)", "token-expired"),
      ("\"iss\":\"https://id\",\"aud\":\"orders\",\"nbf\":\(now + 31)", "token-not-yet-valid"),
    ])
  func untrusted(claims: String, code: String) throws {
    let bench = try bench(", issuer: \"https://id\", audiences: [\"orders\"]")
    let outcome = bench.ask(bearing("t"), active(claims))
    #expect(outcome.verdict == "401" && outcome.code == code)
    let good = "\"iss\":\"https://id\",\"aud\":[\"x\",\"orders\"],\"token_type\":\"Bearer\",\"nbf\":\(Self.now + 30)"
    #expect(bench.ask(bearing("u"), active(good)).verdict == "next")
  }

  @Test("Scopes, consumers and bound tokens are looked at as with signed tokens")
  func alike() throws {
    let bench = try bench(", scopes: [\"read\"], claims: { consumer: \"client_id\" }")
    let nobody = bench.ask(bearing("a"), active("\"scope\":\"read\",\"client_id\":\"web\""))
    #expect(nobody.code == "consumer-not-allowed")
    let narrow = bench.ask(bearing("b"), active("\"scope\":\"write\",\"client_id\":\"mobile\""))
    #expect(narrow.verdict == "403" && narrow.code == "insufficient-scope")
    #expect(bench.ask(bearing("c"), active("\"scope\":\"write read\",\"client_id\":\"mobile\"")).consumer == 0)
  }

  @Test("A token that is bound to a certificate is good with that one only, remembered or not")
  func bound() throws {
    let bench = try bench()
    let bound = active("\"cnf\":{\"x5t#S256\":\"\(TestCertificates.workloadThumbprint)\"}")
    for _ in 0..<2 {
      #expect(bench.ask(bearing("t"), bound).code == "token-unconfirmed")
      #expect(bench.ask(bearing("t"), bound, certificate: try TestCertificates.named()).code == "token-unconfirmed")
      #expect(bench.ask(bearing("t"), bound, certificate: try TestCertificates.workload()).verdict == "next")
    }
    #expect(bench.ask(bearing("u"), active("\"cnf\":{\"jwe\":\"x\"}")).code == "token-unconfirmed")
    #expect(bench.ask(bearing("v"), active("\"cnf\":{\"jkt\":\"x\"}")).code == "proof-missing")
    let demanding = try self.bench(", bound: true")
    #expect(demanding.ask(bearing("t"), active()).code == "token-unconfirmed")
  }

  @Test(
    "What is revoked of a token that is remembered is refused",
    arguments: [
      (RevocationKind.tokenID, "t-1"), (.session, "s-1"), (.subject, "ann"), (.client, "app"), (.tenant, "acme"),
    ])
  func revoked(kind: RevocationKind, name: String) throws {
    let facts = LoopFacts(markKey: SipKey(low: 5, high: 6), clock: FactClock(), bootTime: { 0 })
    let bench = try bench(", tenant: \"acme\"", facts: facts)
    let answer = active("\"jti\":\"t-1\",\"sid\":\"s-1\",\"sub\":\"ann\",\"client_id\":\"app\"")
    #expect(bench.ask(bearing("t"), answer).verdict == "next" && bench.ask(bearing("t"), Self.gone).verdict == "next")
    var book = RevocationBook()
    _ = book.insert([Revocation(RevocationMark(kind, name, key: SipKey(low: 5, high: 6)))])
    facts.view = FactView(revocations: book.current)
    let outcome = bench.ask(bearing("t"), Self.gone)
    #expect(outcome.verdict == "401" && outcome.code == "token-revoked")
  }

  @Test("An address that sends unknown tokens is soon not asked about, but for tokens that are known to be good")
  func failures() throws {
    let bench = try bench(", failuresPerAddress: 5")
    #expect(bench.ask(bearing("good"), active()).verdict == "next")
    for number in 0..<5 { #expect(bench.ask(bearing("bad-\(number)"), Self.inactive).code == "token-inactive") }
    for number in 0..<3 { #expect(bench.send(bearing("bad-\(number)")).code == "token-inactive") }
    let outcome = bench.send(bearing("other"))
    #expect(outcome.verdict == "429" && outcome.code == "too-many-failures" && bench.fetches.orders.isEmpty)
    #expect(bench.send(bearing("good")).verdict == "next")
    #expect(bench.ask(bearing("other"), active(), from: "192.0.2.9").verdict == "next")
  }

  @Test("Where nobody can be asked the token is refused")
  func deskFull() throws {
    let bench = try bench()
    bench.fetches.isFull = true
    #expect(bench.send(bearing("t")).code == "issuer-unavailable")
  }

  // MARK: Questions

  @Test("The server is asked with the token in a form, and by whom as its options say")
  func question() throws {
    for (options, authorization) in [
      ("", nil), (", clientId: \"a:b\", clientSecret: \"p w+\"", "Basic YSUzQWI6cCUyMHclMkI="),
      (", bearer: \"s3cret\"", "Bearer s3cret"),
    ] {
      let bench = try bench(options + ", timeout: \"1500ms\"")
      #expect(bench.send(bearing("a+/b=")).verdict == "wait")
      let request = try #require(bench.fetches.orders.first?.request)
      #expect(request.method == .post && request.url.text == "https://id.example/introspect")
      #expect(request.timeoutNanoseconds == 1_500_000_000 && request.message != nil)
      #expect(request.fields.first { $0.name == "Authorization" }?.value == authorization)
      #expect(request.fields.contains(FetchField("Content-Type", "application/x-www-form-urlencoded")))
      #expect(String(decoding: request.body, as: UTF8.self) == "token=a%2B%2Fb%3D&token_type_hint=access_token")
    }
  }

  @Test("A token says who it is; the upstream gets neither it nor what clients say of themselves")
  func identity() throws {
    let bench = try bench(", headers: { \"X-User\": \"username\" }, claims: { roles: \"realm.roles\" }")
    let claims =
      "\"sub\":\"u-7\",\"username\":\"ann\",\"client_id\":\"app\",\"scope\":\"a b\",\"realm\":{\"roles\":[\"ops\"]}"
    for _ in 0..<2 {
      let caller = AskingCaller(bench)
      var outcome = caller.send(bearing("t") + "\nX-User: root\nX_User: root\nX-Consumer-Id: root\nAccept: */*")
      if outcome.verdict == "wait" { outcome = bench.answer(active(claims), to: caller)[0] }
      #expect(outcome.verdict == "next" && outcome.passed == ["host", "accept"])
      #expect(outcome.requestFields == "X-User: ann\r\n" && outcome.responseFields.isEmpty)
      let identity = caller.exchange.identity
      #expect(identity?.subject == "u-7" && identity?.client == "app" && identity?.scopes == ["a", "b"])
      #expect(identity?.roles == ["ops"] && identity?.issuer == "https://id.example/introspect")
    }
    #expect(try self.bench(", forward: true").ask(bearing("t"), active()).passed == ["host", "authorization"])
    let named = try self.bench(", claims: { subject: \"username\" }")
    let caller = AskingCaller(named)
    _ = caller.send(bearing("t"))
    _ = named.answer(active(claims), to: caller)
    #expect(caller.exchange.identity?.subject == "ann")
  }

  // MARK: What is remembered

  @Test("A token is taken for good for a while, and the server asked again")
  func remembered() throws {
    let bench = try bench(", cacheTime: \"60s\"")
    #expect(bench.ask(bearing("t"), active()).verdict == "next")
    bench.world.advance(seconds: 59.9)
    #expect(bench.send(bearing("t")).verdict == "next")
    bench.world.advance(seconds: 0.1)
    #expect(bench.ask(bearing("t"), Self.inactive).code == "token-inactive")
  }

  @Test("A token is never remembered for longer than it lives")
  func lifetime() throws {
    let bench = try bench(", cacheTime: \"1h\"")
    let answer = active("\"exp\":\(Self.now + 30)")
    #expect(bench.ask(bearing("t"), answer).verdict == "next")
    bench.world.advance(seconds: 29.9)
    #expect(bench.send(bearing("t")).verdict == "next")
    bench.world.advance(seconds: 0.1)
    #expect(bench.ask(bearing("t"), answer).code == "token-expired")
  }

  @Test("Without a cache the server is asked about every request")
  func uncached() throws {
    let bench = try bench(", cacheTime: \"0s\", negativeCacheTime: \"0s\"")
    for _ in 0..<2 {
      #expect(bench.ask(bearing("t"), active()).verdict == "next")
      #expect(bench.ask(bearing("t"), Self.inactive).code == "token-inactive")
    }
  }

  @Test("That a token is not good is remembered for a time of its own")
  func negative() throws {
    let bench = try bench(", negativeCacheTime: \"10s\"")
    #expect(bench.ask(bearing("t"), Self.inactive).code == "token-inactive")
    bench.world.advance(seconds: 9.9)
    #expect(bench.send(bearing("t")).code == "token-inactive")
    bench.world.advance(seconds: 0.1)
    #expect(bench.ask(bearing("t"), active()).verdict == "next")
    #expect(bench.send(bearing("t")).verdict == "next")
  }

  @Test("What one policy knows of a token is not known to another")
  func separate() throws {
    let bench = try bench()
    #expect(bench.ask(bearing("t"), active()).verdict == "next")
    try bench.use(policy(", issuer: \"https://id\""))
    #expect(bench.ask(bearing("t"), active()).code == "token-untrusted")
  }

  @Test("However many requests wait for one token the server is asked once, and another token waits for its own answer")
  func singleFlight() throws {
    let bench = try bench(", failuresPerAddress: 2")
    let callers = (1...20).map { AskingCaller(bench, ticket: UInt64($0)) }
    #expect(callers.allSatisfy { $0.send(bearing("t")).verdict == "wait" })
    let other = AskingCaller(bench, ticket: 99)
    #expect(other.send(bearing("u")).verdict == "wait" && bench.fetches.orders.count == 2)
    let outcomes = bench.answer(Self.inactive, to: callers + [other])
    // All of them together are one failure of the address: the other one's is the second, and the last that is asked about.
    #expect(outcomes.count == 20 && outcomes.allSatisfy { $0.code == "token-inactive" })
    #expect(bench.answer(Self.inactive, to: other).map(\.code) == ["token-inactive"])
    #expect(bench.send(bearing("v")).code == "too-many-failures")
  }

  // MARK: While the server is gone

  @Test("A token that was good lately passes while the server is gone, as long as is said, and is marked")
  func stale() throws {
    let bench = try bench(", cacheTime: \"10s\", onFailure: \"stale\", staleTime: \"60s\"")
    #expect(bench.ask(bearing("t"), active()).responseFields.isEmpty)
    bench.world.advance(seconds: 20)
    let outcome = bench.ask(bearing("t"), Self.gone)
    #expect(outcome.verdict == "next" && outcome.responseFields == Self.degraded && outcome.passed == ["host"])
    // It is not asked about each request now.
    #expect(bench.send(bearing("t")).verdict == "next")
    bench.world.advance(seconds: 1)
    #expect(bench.ask(bearing("u"), Self.gone).code == "issuer-unavailable")
    #expect(bench.ask(bearing("t"), active()).responseFields.isEmpty)
    bench.world.advance(seconds: 59.9)
    #expect(bench.ask(bearing("t"), Self.gone).verdict == "next")
    bench.world.advance(seconds: 0.1)
    #expect(bench.ask(bearing("t"), Self.gone).code == "issuer-unavailable")
  }

  @Test("A token that is over, or that the server has taken back, does not pass while the server is gone")
  func overWhileGone() throws {
    let bench = try bench(", cacheTime: \"0s\", negativeCacheTime: \"1s\", onFailure: \"stale\"")
    #expect(bench.ask(bearing("a"), active("\"exp\":\(Self.now + 30)")).verdict == "next")
    #expect(bench.ask(bearing("b"), active()).verdict == "next")
    #expect(bench.ask(bearing("b"), Self.inactive).code == "token-inactive")
    bench.world.advance(seconds: 30)
    for token in ["a", "b"] { #expect(bench.ask(bearing(token), Self.gone).code == "issuer-unavailable") }
  }

  @Test("Where nobody needs a token, a request passes as nobody and without its token while the server is gone")
  func open() throws {
    let bench = try bench(", optional: true, onFailure: \"open\", forward: true")
    let caller = AskingCaller(bench)
    #expect(caller.send(bearing("t")).verdict == "wait")
    let outcome = bench.answer(Self.gone, to: caller)[0]
    #expect(outcome.verdict == "next" && outcome.passed == ["host"] && outcome.responseFields == Self.degraded)
    #expect(!caller.exchange.isIdentified && !caller.exchange.challenges.isEmpty)
    #expect(bench.ask(bearing("t"), Self.inactive).code == "token-inactive")
  }

  // MARK: Beside others

  @Test("It is one of several ways, and waits there")
  func anyOf() throws {
    let bench = try Bench(consumers: [Consumer(id: "app", keys: [ConsumerKey(id: "k", digest: digest("secret"))])])
    #expect(try bench.use("{ type: \"any-of\", policies: [{ type: \"api-key\" }, \(policy())] }") == [])
    #expect(bench.ask(bearing("t"), Self.inactive).code == "token-inactive")
    let outcome = bench.ask(bearing("u"), active("\"sub\":\"ann\""))
    #expect(outcome.verdict == "next" && outcome.passed == ["host"] && outcome.responseFields.isEmpty)
  }

  @Test("A way that lets nobodies pass while its server is gone does not let them past the other ways")
  func anyOfOpen() throws {
    let bench = try Bench(consumers: [Consumer(id: "app", keys: [ConsumerKey(id: "k", digest: digest("secret"))])])
    let open = policy(", optional: true, onFailure: \"open\"")
    for ways in ["{ type: \"api-key\" }, \(open)", "\(open), { type: \"api-key\" }"] {
      try bench.use("{ type: \"any-of\", policies: [\(ways)] }")
      let outcome = bench.ask(bearing("t"), Self.gone)
      #expect(outcome.verdict == "401" && outcome.code == "api-key-missing")
      #expect(outcome.responseFields.contains("WWW-Authenticate: ApiKey"))
      #expect(bench.ask(bearing("t") + "\nX-API-Key: secret", Self.gone).verdict == "next")
    }
    try bench.use("{ type: \"any-of\", optional: true, policies: [{ type: \"api-key\" }, \(open)] }")
    #expect(bench.ask(bearing("t"), Self.gone).verdict == "next")
  }

  // MARK: Options

  @Test(
    "Options that are wrong, or would leave a hole, are refused",
    arguments: [
      ("endpoint: \"http://id.example/i\"", "endpoint"), ("endpoint: \"id.example\"", "endpoint"), ("", "endpoint"),
      ("endpoint: \"https://i\", clientId: \"a\"", "nothing proves"),
      ("endpoint: \"https://i\", clientSecret: \"a\"", "clientId"),
      ("endpoint: \"https://i\", clientId: \"a\", clientSecret: \"b\", bearer: \"c\"", "two ways"),
      ("endpoint: \"https://i\", bearer: \"a b\"", "no token"),
      ("endpoint: \"https://i\", ca: \"x\"", "authorities"),
      ("endpoint: \"https://i\", cacheTime: \"61m\"", "out of range"),
      ("endpoint: \"https://i\", negativeCacheTime: \"6m\"", "out of range"),
      ("endpoint: \"https://i\", timeout: \"4001ms\"", "out of range"),
      ("endpoint: \"https://i\", timeout: \"0s\"", "out of range"),
      ("endpoint: \"https://i\", failuresPerAddress: 0", "out of range"),
      ("endpoint: \"https://i\", onFailure: \"open\"", "without a token"),
      ("endpoint: \"https://i\", onFailure: \"maybe\"", "not possible"),
      ("endpoint: \"https://i\", onFailure: \"stale\", staleTime: \"60s\"", "before cacheTime"),
      ("endpoint: \"https://i\", onFailure: \"stale\", staleTime: \"25h\"", "out of range"),
      ("endpoint: \"https://i\", staleTime: \"10m\"", "means nothing"),
      ("endpoint: \"https://i\", scopes: [\"a b\"]", "scope"),
      ("endpoint: \"https://i\", tenant: \"a\", claims: { tenant: \"b\" }", "fixed"),
    ])
  func options(text: String, message: String) throws {
    let remarks = try Bench().use("{ type: \"oauth2-introspection\", \(text) }")
    #expect(remarks.contains { $0.contains(message) }, "\(remarks)")
  }

  @Test(
    "The bounds themselves are good",
    arguments: [
      "endpoint: \"http://127.0.0.1:8080/i\"", "endpoint: \"https://i\", cacheTime: \"1h\", timeout: \"4s\"",
      "endpoint: \"https://i\", cacheTime: \"0s\", negativeCacheTime: \"5m\", timeout: \"10ms\"",
      "endpoint: \"https://i\", onFailure: \"stale\", staleTime: \"24h\"",
    ])
  func bounds(text: String) throws {
    #expect(try Bench().use("{ type: \"oauth2-introspection\", \(text) }") == [])
  }
}
