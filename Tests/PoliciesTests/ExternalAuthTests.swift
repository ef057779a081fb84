import Core
import Crypto
import HTTP
import Pipeline
import Policies
import Testing

@Suite("external-auth")
struct ExternalAuthTests {
  private static let degraded = "Sluice-Degraded: external-auth\r\n"
  private static let plain = "GET /a?b=c HTTP/1.1\nHost: shop.example"

  private func bench(_ options: String = "", before: String...) throws -> Bench {
    let bench = try Bench(consumers: [
      Consumer(
        id: "app", tenant: "acme", groups: ["gold", "eu"], keys: [ConsumerKey(id: "k", digest: digest("secret"))]),
      Consumer(id: "web", keys: [ConsumerKey(id: "k", digest: digest("other"))]),
    ])
    #expect(try bench.use(policies: before + [policy(options)]) == [])
    return bench
  }

  private func policy(_ options: String = "") -> String {
    "{ type: \"external-auth\", url: \"http://127.0.0.1:9000/check?v=1\"\(options) }"
  }

  private func answer(_ status: UInt16, _ fields: [(String, String)] = [], _ body: String = "") -> FetchOutcome {
    .answered(status: status, fields: fields.map { FetchField($0.0, $0.1) }, body: Array(body.utf8))
  }

  // MARK: Refusals

  @Test("A request that the service refuses goes no further, and the client is told how to do better")
  func refused() throws {
    for (status, code) in [(401, "authentication-required"), (403, "access-denied")] as [(UInt16, String)] {
      let challenge = ("www-authenticate", "Basic realm=\"x\"")
      let outcome = try bench().ask(Self.plain, answer(status, [challenge, ("x-user", "ann")], "the service's secret"))
      #expect(outcome.verdict == "\(status)" && outcome.code == code && outcome.body.isEmpty)
      #expect(outcome.responseFields == "WWW-Authenticate: Basic realm=\"x\"\r\n" && outcome.requestFields.isEmpty)
    }
    let bare = try bench().ask(Self.plain, answer(401))
    #expect(bare.responseFields == "WWW-Authenticate: Bearer realm=\"sluice\"\r\n")
  }

  @Test(
    "What is neither yes nor no refuses, also where the service may fail",
    arguments: [300, 302, 303, 307, 400, 402, 404, 405, 407, 413, 414, 429, 431, 499] as [UInt16], ["closed", "open"])
  func neither(status: UInt16, rule: String) throws {
    let outcome = try bench(", onFailure: \"\(rule)\"").ask(Self.plain, answer(status, [("location", "/")]))
    #expect(outcome.verdict == "503" && outcome.code == "authorization-unavailable" && outcome.retryAfter == 1)
  }

  @Test("An answer that the client may have made too long refuses, also where the service may fail")
  func provoked() throws {
    for outcome in [FetchOutcome.tooLong, .malformed] {
      #expect(try bench(", onFailure: \"open\"").ask(Self.plain, outcome).code == "authorization-unavailable")
    }
  }

  @Test("A value that cannot be passed on as it is refuses", arguments: ["a\u{1}", "a\u{7f}", "a\u{fffd}", "a\tb"])
  func value(text: String) throws {
    let options = ", upstreamHeaders: [\"X-User\"], clientHeaders: [\"X-Note\"], onFailure: \"open\""
    for name in ["x-user", "x-note"] {
      #expect(try bench(options).ask(Self.plain, answer(200, [(name, text)])).code == "authorization-unavailable")
    }
  }

  @Test(
    "While the service does not answer, requests are refused, unless they are to pass",
    arguments: [
      FetchOutcome.failed("it took too long"), .answered(status: 500, fields: [], body: []),
      .answered(status: 503, fields: [], body: []),
    ])
  func gone(outcome: FetchOutcome) throws {
    let closed = try bench().ask(Self.plain, outcome)
    #expect(closed.verdict == "503" && closed.code == "authorization-unavailable" && closed.retryAfter == 1)
    let open = try bench(", upstreamHeaders: [\"X-User\"], onFailure: \"open\"")
    let passed = open.ask(Self.plain + "\nX-User: root\nx_user: root", outcome)
    #expect(passed.verdict == "next" && passed.passed == ["host"] && passed.responseFields == Self.degraded)
    open.fetches.isFull = true
    #expect(open.send(Self.plain).code == "authorization-unavailable")
    let full = try bench()
    full.fetches.isFull = true
    #expect(full.send(Self.plain).code == "authorization-unavailable")
  }

  @Test(
    "Who makes so many requests that nobody is asked does not pass by it", arguments: [FetchOutcome.crowded, .overdue])
  func crowded(outcome: FetchOutcome) throws {
    let open = try bench(", onFailure: \"open\"")
    #expect(open.ask(Self.plain, outcome).code == "authorization-unavailable")
  }

  @Test("What the service could not be told of refuses, also where the service may fail")
  func untellable() throws {
    let bench = try bench(", onFailure: \"open\", requestHeaders: [\"Authorization\", \"X-Key\"]")
    let twice = bench.send(Self.plain + "\nAuthorization: Bearer a\nAuthorization: Bearer b")
    #expect(twice.verdict == "400" && twice.code == "token-ambiguous")
    let long = bench.send(Self.plain + "\nX-Key: \(String(repeating: "a", count: 17_000))")
    #expect(long.verdict == "431" && long.code == "head-too-large")
    #expect(bench.fetches.orders.isEmpty)
  }

  @Test("Bytes that are no text are not told to the service as other ones")
  func notText() throws {
    let bench = try bench(", requestHeaders: [\"X-Key\"]")
    var exchange = Exchange()
    exchange.head.append(utf8: "GET / HTTP/1.1\r\nHost: a\r\nX-Key: a")
    exchange.head.append(0xe9)
    exchange.head.append("\r\n\r\n")
    guard case .complete = bench.request.parse(exchange.head, limits: HeadLimits()) else {
      Issue.record("the head is read")
      return
    }
    guard case .refuse(let refusal) = bench.chain.run(&exchange, bench.request, bench.services) else {
      Issue.record("it is not refused")
      return
    }
    #expect("\(refusal.code)" == "malformed-request")
  }

  @Test("What the upstream believes of the service no client can say, under any spelling, whatever the service says")
  func smuggled() throws {
    let bench = try bench(", upstreamHeaders: [\"X-User\", \"Authorization\"]")
    let lies =
      "\nX-User: root\nx-user: root\nX_User: root\nX-Consumer-Id: root\nRemote-User: root\nAuthorization: Bearer a"
    let silent = bench.ask(Self.plain + lies, answer(200))
    #expect(silent.verdict == "next" && silent.passed == ["host"] && silent.requestFields.isEmpty)
    let said = [("x-user", "ann"), ("authorization", "Bearer inner"), ("x-b", "1")]
    let told = bench.ask(Self.plain + lies, answer(204, said))
    #expect(told.verdict == "next" && told.passed == ["host"])
    #expect(told.requestFields == "X-User: ann\r\nAuthorization: Bearer inner\r\n" && told.responseFields.isEmpty)
  }

  // MARK: Questions

  @Test("The service is told the request's own fields, and what the gateway knows of it")
  func question() throws {
    let bench = try bench(", requestHeaders: [\"Authorization\", \"Cookie\", \"X-Key\"], timeout: \"500ms\"")
    let text =
      "PUT /a%20b?c=d HTTP/1.1\nHost: shop.example:81\nX-Forwarded-Uri: /x\nX-Identity-Subject: root\nAccept: a"
    let fields = "\nAuthorization: Basic YTpi\nX-Key: 1\nX-Key: 2\nCookie: a=1\nCookie: b=2"
    let caller = AskingCaller(bench, from: "192.0.2.7")
    #expect(caller.send(text + fields).verdict == "wait")
    let request = try #require(bench.fetches.orders.first?.request)
    #expect(request.method == .get && request.url.target == "/check?v=1" && request.body.isEmpty)
    #expect(request.timeoutNanoseconds == 500_000_000 && request.message != nil)
    #expect(
      request.fields.map { "\($0.name): \($0.value)" } == [
        "authorization: Basic YTpi", "x-key: 1", "x-key: 2", "cookie: a=1; b=2", "X-Forwarded-Method: PUT",
        "X-Forwarded-Uri: /a%20b?c=d", "X-Forwarded-Host: shop.example:81", "X-Forwarded-Proto: http",
        "X-Forwarded-For: 192.0.2.7", "X-Request-Id: 00000000000000000000000000000abc",
      ])
  }

  @Test("The service is told who calls, and nothing that is kept from the upstream")
  func caller() throws {
    let key = try bench(
      ", requestHeaders: [\"X-API-Key\", \"Authorization\"]", before: "{ type: \"api-key\", query: \"key\" }")
    #expect(key.send("GET /a?key=secret&b=c HTTP/1.1\nHost: a").verdict == "wait")
    let fields = try #require(key.fetches.orders.first?.request.fields).map { "\($0.name): \($0.value)" }
    #expect(fields.contains("X-Forwarded-Uri: /a?b=c"))
    #expect(
      fields.filter { $0.hasPrefix("X-Consumer") } == [
        "X-Consumer-Id: app", "X-Consumer-Tenant: acme", "X-Consumer-Groups: gold,eu",
      ])
    #expect(!fields.joined().contains("secret"))
    let issuer = try TestIssuer()
    let token = try bench(
      "", before: "{ type: \"jwt\", cookie: \"session\", issuers: [\(issuer.options())] }")
    let jwt = try issuer.token("\"sub\":\"ann\",\"azp\":\"cli\"")
    #expect(token.send("GET / HTTP/1.1\nHost: a\nCookie: a=1; session=\(jwt)").verdict == "wait")
    let told = try #require(token.fetches.orders.first?.request.fields)
    #expect(
      told.filter { $0.name.hasPrefix("X-Identity") || $0.name == "cookie" } == [
        FetchField("cookie", "a=1"), FetchField("X-Identity-Issuer", issuer.name),
        FetchField("X-Identity-Subject", "ann"), FetchField("X-Identity-Client", "cli"),
      ])
    let odd = token.send("GET / HTTP/1.1\nHost: a\nCookie: session=\(try issuer.token("\"sub\":\"ann\\nX-A: 1\""))")
    #expect(odd.verdict == "403" && odd.code == "access-denied")
  }

  @Test("It is asked behind the rules of access, and before limits are charged")
  func order() throws {
    let limit = "{ type: \"rate-limit\", limits: [{ per: \"route\", window: \"1/1h\" }] }"
    let rules = "{ type: \"access\", rules: [{ deny: \"path == '/no'\" }], otherwise: \"allow\" }"
    let bench = try bench("", before: limit, rules)
    #expect(bench.send("GET /no HTTP/1.1\nHost: a").code == "access-denied")
    for _ in 0..<3 { #expect(bench.ask(Self.plain, answer(403)).verdict == "403") }
    #expect(bench.ask(Self.plain, answer(200)).verdict == "next")
    #expect(bench.ask(Self.plain, answer(200)).verdict == "429")
  }

  // MARK: Answers

  @Test("Clients get the fields that they may, whether they pass or not")
  func clientFields() throws {
    let fields = [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-secret", "c")]
    for status in [200, 403] as [UInt16] {
      let outcome = try bench(", clientHeaders: [\"Set-Cookie\"]").ask(Self.plain, answer(status, fields))
      #expect(outcome.responseFields == "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n")
    }
  }

  @Test(
    "Clients are sent elsewhere where that is allowed, to one place",
    arguments: [301, 302, 303, 307, 308] as [UInt16])
  func redirects(status: UInt16) throws {
    let bench = try bench(", redirects: true")
    for places in [[], [""], ["/a", "/b"], ["/a\u{fffd}"]] {
      let outcome = bench.ask(Self.plain, answer(status, places.map { ("location", $0) }))
      #expect(outcome.code == "authorization-unavailable")
    }
    let outcome = bench.ask(Self.plain, answer(status, [("location", "https://id/login")], "see there"))
    #expect(outcome.verdict == "\(status)" && outcome.body.isEmpty)
    #expect(outcome.responseFields == "Location: https://id/login\r\nCache-Control: no-store\r\n")
  }

  @Test("Clients get the service's words where that is allowed, as long as they are short")
  func bodies() throws {
    let bench = try bench(", passBody: true")
    let type = ("content-type", "text/html")
    let outcome = bench.ask(Self.plain, answer(403, [type], "<p>No"))
    #expect(outcome.verdict == "403" && outcome.code.isEmpty && outcome.body == "<p>No")
    #expect(outcome.responseFields == "Content-Type: text/html\r\nCache-Control: no-store\r\n")
    let challenged = bench.ask(Self.plain, answer(401, [type], "<p>Who"))
    #expect(challenged.body == "<p>Who" && challenged.responseFields.hasPrefix("Content-Type: text/html"))
    #expect(challenged.responseFields.contains("WWW-Authenticate: Bearer"))
    #expect(bench.ask(Self.plain, answer(403, [type], String(repeating: "a", count: 65_537))).code == "access-denied")
    #expect(bench.ask(Self.plain, answer(403, [type])).code == "access-denied")
  }

  @Test("In shadow it asks, and changes nothing")
  func shadow() throws {
    let bench = try bench(", upstreamHeaders: [\"X-User\"], mode: \"shadow\"")
    for status in [200, 403] as [UInt16] {
      let caller = AskingCaller(bench)
      #expect(caller.send(Self.plain + "\nX-User: root").verdict == "wait")
      let outcome = bench.answer(answer(status, [("x-user", "ann")]), to: caller)[0]
      #expect(outcome.verdict == "next" && outcome.passed == ["host", "x-user"])
      #expect(outcome.requestFields.isEmpty && outcome.responseFields.isEmpty)
      #expect(caller.exchange.shadows.hasRefused(0) == (status == 403))
    }
  }

  // MARK: Options

  @Test(
    "Options that are wrong, or would leave a hole, are refused",
    arguments: [
      ("", "url"), ("url: \"http://auth.example/\"", "url"), ("url: \"https://a\", method: \"PUT\"", "not possible"),
      ("url: \"https://a\", timeout: \"5s\"", "out of range"), ("url: \"https://a\", ca: \"x\"", "authorities"),
      ("url: \"https://a\", requestHeaders: [\"Host\"]", "gateway's own"),
      ("url: \"https://a\", requestHeaders: [\"Content-Length\"]", "gateway's own"),
      ("url: \"https://a\", requestHeaders: [\"X-Forwarded-Uri\"]", "gateway's own"),
      ("url: \"https://a\", requestHeaders: [\"x-consumer-id\"]", "gateway's own"),
      ("url: \"https://a\", requestHeaders: [\"X-Identity-Subject\"]", "gateway's own"),
      ("url: \"https://a\", requestHeaders: [\"a b\"]", "field name"),
      ("url: \"https://a\", upstreamHeaders: [\"Transfer-Encoding\"]", "not the service's"),
      ("url: \"https://a\", upstreamHeaders: [\"X-Forwarded-For\"]", "not the service's"),
      ("url: \"https://a\", upstreamHeaders: [\"Cookie\"]", "not the service's"),
      ("url: \"https://a\", clientHeaders: [\"Content-Length\"]", "gateway's own"),
      ("url: \"https://a\", clientHeaders: [\"Location\"]", "gateway's own"),
      ("url: \"https://a\", onFailure: \"stale\"", "not possible"),
      ("url: \"https://a\", cache: {}", "time"), ("url: \"https://a\", cache: { time: \"2h\" }", "out of range"),
      ("url: \"https://a\", cache: { time: \"0s\" }", "out of range"),
      ("url: \"https://a\", cache: { time: \"1s\", refusalTime: \"2h\" }", "out of range"),
      ("url: \"https://a\", cache: { time: \"1s\", key: [\"moon\"] }", "part of requests"),
      ("url: \"https://a\", cache: { time: \"1s\", key: [\"path\"] }", "mixed up"),
      ("url: \"https://a\", cache: { time: \"1s\", key: [\"path\", \"header:authorization\"] }", "mixed up"),
    ])
  func options(text: String, message: String) throws {
    let remarks = try Bench().use("{ type: \"external-auth\", \(text) }")
    #expect(remarks.contains { $0.contains(message) }, "\(remarks)")
  }
}
