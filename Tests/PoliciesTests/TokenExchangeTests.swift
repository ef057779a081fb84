import Core
import Crypto
import HTTP
import Pipeline
import Policies
import Testing

@Suite("token-exchange")
struct TokenExchangeTests {
  private static let endpoint =
    "tokenEndpoint: \"https://as.example/token\", clientId: \"gw\", clientSecret: \"s3cret\""

  /// A route on which callers are known by tokens of `issuer`.
  private func bench(_ issuer: TestIssuer, _ options: String = "", jwt: String = "") throws -> Bench {
    let bench = try Bench()
    let known = "{ type: \"jwt\", issuers: [\(issuer.options())]\(jwt) }"
    #expect(try bench.use("{ type: \"token-exchange\", \(Self.endpoint)\(options) }", known) == [])
    return bench
  }

  /// Sends a request that has to wait, and answers; returns what becomes of it.
  private func exchange(_ bench: Bench, _ request: String, _ outcome: FetchOutcome) -> (verdict: String, fields: String)
  {
    var exchange = Exchange()
    exchange.ticket = 5
    let first = bench.begin(request, &exchange).text
    guard first == "wait", exchange.awaited == .outcome else { return (first, "") }
    let verdict = bench.answer(outcome, &exchange)?.text ?? "nothing"
    return (verdict, (exchange.requestFieldsIfAny?.text ?? "") + (exchange.responseFieldsIfAny?.text ?? ""))
  }

  // MARK: Refusals

  @Test("Where nobody is known nothing is exchanged, and the client is told how to become known")
  func anonymous() throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer, jwt: ", optional: true")
    let outcome = bench.send("GET / HTTP/1.1\nHost: a")
    #expect(outcome.verdict == "401" && outcome.code == "authentication-required")
    #expect(outcome.responseFields == "WWW-Authenticate: Bearer realm=\"sluice\"\r\n")
    #expect(bench.fetches.orders.isEmpty)
  }

  @Test("Where no policy knows callers, tokens of anybody are not exchanged")
  func unverified() throws {
    let bench = try Bench()
    try bench.use("{ type: \"token-exchange\", \(Self.endpoint) }")
    let outcome = bench.send(bearing("a.b.c"))
    #expect(outcome.verdict == "401" && outcome.code == "authentication-required" && outcome.passed == ["host"])
    #expect(outcome.responseFields == "WWW-Authenticate: Bearer realm=\"sluice\"\r\n" && bench.fetches.orders.isEmpty)
  }

  @Test("A token beside what the caller is known by is not exchanged: nobody has verified it")
  func beside() throws {
    let consumer = Consumer(
      id: "app", keys: [ConsumerKey(id: "k", digest: digest("key-of-app"))])
    let bench = try Bench(consumers: [consumer])
    try bench.use("{ type: \"api-key\" }", "{ type: \"token-exchange\", \(Self.endpoint) }")
    let key = bench.send(bearing("a.b.c") + "\nX-API-Key: key-of-app")
    #expect(key.verdict == "401" && key.code == "token-missing")
    try bench.use("{ type: \"mtls\" }", "{ type: \"token-exchange\", \(Self.endpoint) }")
    let certificate = bench.send(bearing("a.b.c"), certificate: try TestCertificates.workload())
    #expect(certificate.code == "token-missing" && bench.fetches.orders.isEmpty)
  }

  @Test(
    "A token that the authorization server does not take is refused, and not shown to it again at once",
    arguments: [
      ("invalid_grant", "401 token-untrusted"), ("invalid_request", "401 token-untrusted"),
      ("invalid_token", "401 token-untrusted"), ("access_denied", "403 access-denied"),
      ("invalid_target", "403 access-denied"), ("invalid_scope", "403 access-denied"),
    ])
  func refused(code: String, verdict: String) throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer)
    let (ann, bob) = (try issuer.token("\"sub\":\"ann\""), try issuer.token("\"sub\":\"bob\""))
    let done = exchange(bench, bearing(ann), .answer("{\"error\":\"\(code)\"}", status: 400))
    #expect(done.verdict == verdict)
    #expect(done.fields.contains("error=\"invalid_token\"") == verdict.hasPrefix("401"))
    #expect(bench.send(bearing(ann)).code == String(verdict.dropFirst(4)) && bench.fetches.orders.isEmpty)
    // It is about this caller only.
    #expect(exchange(bench, bearing(bob), .token("B")).verdict == "next")
    bench.world.advance(seconds: 5.1)
    #expect(exchange(bench, bearing(ann), .token("A")).verdict == "next")
    #expect(bench.fetches.reports == ["policy-0: no token from https://as.example/token: it refuses: \(code)"])
  }

  @Test("Clients cannot have a line of the log for every token that is refused")
  func quiet() throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer)
    for number in 0..<20 {
      let token = try issuer.token("\"sub\":\"s\(number)\",\"exp\":\(TestIssuer.now + 3_600)")
      #expect(
        exchange(bench, bearing(token), .answer("{\"error\":\"invalid_grant\"}", status: 400)).verdict.hasPrefix("401"))
      bench.world.advance(seconds: 6)
    }
    #expect(bench.fetches.reports.count == 2)
  }

  @Test(
    "An endpoint that does not answer, or not as one, refuses everybody for a while",
    arguments: [
      .failed("timed out"), .answer("", status: 500), .answer("{\"error\":\"invalid_client\"}", status: 401),
      .answer("{\"error\":\"unsupported_grant_type\"}", status: 400), .answer("{}"), .answer("<html>", status: 404),
      .answer("{\"access_token\":\"a\",\"token_type\":\"N_A\"}"),
    ] as [FetchOutcome])
  func unavailable(outcome: FetchOutcome) throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer)
    let (ann, bob) = (try issuer.token("\"sub\":\"ann\""), try issuer.token("\"sub\":\"bob\""))
    #expect(exchange(bench, bearing(ann), outcome).verdict == "503 upstream-token-unavailable")
    let next = bench.send(bearing(bob))
    #expect(next.code == "upstream-token-unavailable" && next.retryAfter == 1 && bench.fetches.orders.isEmpty)
    #expect(next.requestFields.isEmpty && next.passed == ["host"])
    bench.world.advance(seconds: 1)
    #expect(exchange(bench, bearing(bob), .token("B")).verdict == "next")
  }

  @Test("Where requireIdentity is false, what stands in its place is exchanged, if it is one token")
  func unrequired() throws {
    let bench = try Bench()
    try bench.use("{ type: \"token-exchange\", \(Self.endpoint), requireIdentity: false, from: { header: \"X-T\" } }")
    #expect(bench.send("GET / HTTP/1.1\nHost: a\nAuthorization: Bearer x").code == "token-missing")
    #expect(bench.send("GET / HTTP/1.1\nHost: a\nX-T: x\nX-T: y").code == "token-ambiguous")
    for wrong in ["a b", "ä", String(repeating: "x", count: CompactToken.longest + 1)] {
      #expect(bench.send("GET / HTTP/1.1\nHost: a\nX-T: \(wrong)").code == "token-invalid")
    }
    let text = "GET / HTTP/1.1\nHost: a\nX-T: opaque"
    #expect(exchange(bench, text, .token("T")).verdict == "next")
    #expect(bench.send(text).passed == ["host"])
  }

  @Test("An address that invents tokens does not have the endpoint asked for ever")
  func invented() throws {
    let bench = try Bench()
    try bench.use("{ type: \"token-exchange\", \(Self.endpoint), requireIdentity: false }")
    let refusal = FetchOutcome.answer("{\"error\":\"invalid_grant\"}", status: 400)
    for number in 0..<100 {
      #expect(exchange(bench, bearing("t\(number)"), refusal).verdict == "401 token-untrusted")
    }
    #expect(exchange(bench, bearing("one-more"), refusal).verdict == "429 too-many-failures")
    // What is known by now costs nobody anything, and others go on.
    #expect(bench.send(bearing("t1"), from: "::").code == "token-untrusted")
    #expect(bench.send(bearing("one-more"), from: "192.0.2.77").verdict == "wait")
  }

  @Test(
    "Options that cannot work are refused",
    arguments: [
      ("subjectTokenType: \"saml\"", "type of tokens"), ("requestedTokenType: \"jwt2\"", "type of tokens"),
      ("cacheFor: \"0s\"", "out of range"), ("from: { header: \"X-T\", cookie: \"t\" }", "a field or in a cookie"),
      ("parameters: { subject_token: \"x\" }", "not a further parameter"),
    ])
  func options(text: String, message: String) throws {
    let remarks = try Bench().use("{ type: \"token-exchange\", \(Self.endpoint), \(text) }")
    #expect(remarks.contains { $0.contains(message) }, "\(remarks)")
  }

  // MARK: Tokens

  @Test("The caller's token is exchanged, once for all of its requests, and the upstream gets what it is exchanged for")
  func exchanged() throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer)
    let token = try issuer.token("\"sub\":\"ann\"")
    let done = exchange(bench, bearing(token), .token("U1"))
    #expect(done.verdict == "next" && done.fields == "Authorization: Bearer U1\r\n")
    for _ in 0..<3 {
      let outcome = bench.send(bearing(token))
      #expect(outcome.requestFields == "Authorization: Bearer U1\r\n" && outcome.passed == ["host"])
    }
    #expect(bench.fetches.orders.isEmpty)
    #expect(bench.send(bearing(try issuer.token("\"sub\":\"bob\""))).verdict == "wait")
  }

  @Test("The request is that of RFC 8693")
  func asked() throws {
    let issuer = try TestIssuer()
    let options =
      ", audience: [\"orders\", \"stock\"], resource: \"https://r.example\", scopes: [\"a\"], requestedTokenType: \"access_token\""
    let bench = try bench(issuer, options)
    let token = try issuer.token()
    #expect(bench.send(bearing(token)).verdict == "wait")
    let body = String(decoding: try #require(bench.fetches.orders.first?.request.body), as: UTF8.self)
    #expect(
      body == "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=\(token)"
        + "&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
        + "&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
        + "&scope=a&audience=orders&audience=stock&resource=https%3A%2F%2Fr.example")
  }

  @Test("Requests with one token wait for one answer, those with another for their own")
  func singleFlight() throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer)
    let (ann, bob) = (try issuer.token("\"sub\":\"ann\""), try issuer.token("\"sub\":\"bob\""))
    for token in [ann, ann, bob, ann, bob] { #expect(bench.send(bearing(token)).verdict == "wait") }
    #expect(bench.fetches.orders.count == 2 && bench.desk.count == 5)
    bench.desk.take(.token("A"), of: bench.fetches.orders[0].number)
    #expect(bench.send(bearing(ann)).requestFields == "Authorization: Bearer A\r\n")
    #expect(bench.send(bearing(bob)).verdict == "wait")
  }

  @Test(
    "What was exchanged is used as long as it is good, and not longer than it may",
    arguments: [
      ("", 60, 54.0), ("", 3_600, 300.0), (", cacheFor: \"20s\"", 3_600, 20.0), (", lifetime: \"30s\"", -1, 27.0),
    ])
  func lifetimes(options: String, good: Int, used: Double) throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer, options)
    let token = try issuer.token("\"exp\":\(TestIssuer.now + 3_600)")
    let answer =
      good < 0 ? .answer("{\"access_token\":\"U\",\"token_type\":\"Bearer\"}") : FetchOutcome.token("U", seconds: good)
    #expect(exchange(bench, bearing(token), answer).verdict == "next")
    bench.world.advance(seconds: used)
    #expect(bench.send(bearing(token)).verdict == "next")
    bench.world.advance(seconds: 0.001)
    #expect(bench.send(bearing(token)).verdict == "wait")
  }

  @Test("What is no access token is sent where the configuration asks for it, and nothing else than that")
  func requestedType() throws {
    let issuer = try TestIssuer()
    let token = try issuer.token()
    func answer(_ type: String) -> FetchOutcome {
      let name = "urn:ietf:params:oauth:token-type:\(type)"
      return .answer(
        "{\"access_token\":\"U\",\"token_type\":\"N_A\",\"issued_token_type\":\"\(name)\",\"expires_in\":60}")
    }
    let options = ", requestedTokenType: \"jwt\", header: \"X-Caller\""
    #expect(try exchange(bench(issuer, options), bearing(token), answer("saml2")).verdict.hasPrefix("503"))
    let done = try exchange(bench(issuer, options), bearing(token), answer("jwt"))
    #expect(done.verdict == "next" && done.fields == "X-Caller: U\r\n")
  }

  @Test("A token in a cookie is found where the policy that knows the caller has found it")
  func cookie() throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer, jwt: ", cookie: \"session\"")
    let token = try issuer.token()
    let request = "GET / HTTP/1.1\nHost: a\nCookie: other=1; session=\(token)\nAuthorization: Bearer forged"
    #expect(bench.send(request).verdict == "wait")
    let body = try #require(bench.fetches.orders.first?.request.body)
    #expect(try FormFields(RawSpan(body))["subject_token"] == token)
  }
}
