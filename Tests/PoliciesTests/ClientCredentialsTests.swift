import Core
import Crypto
import HTTP
import Pipeline
import Policies
import Testing

@Suite("client-credentials")
struct ClientCredentialsTests {
  private static let request = "GET / HTTP/1.1\nHost: a\nAuthorization: Bearer client"

  private func bench(_ options: String = "", secret: String = ", clientSecret: \"s3cret\"") throws -> Bench {
    let bench = try Bench()
    let text =
      "{ type: \"client-credentials\", tokenEndpoint: \"https://as.example/token?a=b\", clientId: \"gw\"\(secret)\(options) }"
    #expect(try bench.use(text) == [])
    return bench
  }

  /// Has the bench's policy get a token.
  private func warm(_ bench: Bench, _ outcome: FetchOutcome = .token("T1")) throws {
    var exchange = Exchange()
    exchange.ticket = 1
    #expect(bench.begin(Self.request, &exchange).text == "wait")
    #expect(bench.answer(outcome, &exchange)?.text == "next")
  }

  // MARK: Refusals

  @Test("Where nothing can be fetched, requests are refused and told when to come back")
  func full() throws {
    let bench = try bench()
    bench.fetches.isFull = true
    let outcome = bench.send(Self.request)
    #expect(outcome.verdict == "503" && outcome.code == "upstream-token-unavailable" && outcome.retryAfter == 1)
    #expect(outcome.passed == ["host"] && outcome.requestFields.isEmpty)
  }

  @Test(
    "Whatever is no bearer token is a refusal",
    arguments: [
      .failed("timed out"), .answer("{}"), .answer("{\"access_token\":\"a\",\"token_type\":\"N_A\"}"),
      .answer("{\"access_token\":\"a\",\"token_type\":\"DPoP\"}"),
      .answer("{\"access_token\":\"a\\r\\nX-Evil: 1\",\"token_type\":\"Bearer\"}"),
      .answer("{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":0}"),
      .answer("{\"error\":\"invalid_client\"}", status: 401), .answer("", status: 302), .answer("oops", status: 500),
    ] as [FetchOutcome])
  func refused(outcome: FetchOutcome) throws {
    let bench = try bench()
    var exchange = Exchange()
    exchange.ticket = 7
    #expect(bench.begin(Self.request, &exchange).text == "wait")
    #expect(bench.answer(outcome, &exchange)?.text == "503 upstream-token-unavailable")
    #expect(exchange.requestFieldsIfAny == nil)
  }

  @Test(
    "An endpoint that cannot answer is left alone for a second, then for twice as long each time, up to half a minute")
  func backOff() throws {
    let bench = try bench()
    var asked: [Double] = []
    var at = 0.0
    for _ in 0..<480 {
      var exchange = Exchange()
      exchange.ticket = 9
      switch bench.begin(Self.request, &exchange).text {
      case "wait":
        asked.append(at)
        _ = bench.answer(.failed("refused"), &exchange)
      case "503 upstream-token-unavailable": break
      case let verdict: Issue.record("\(verdict)")
      }
      at += 0.25
      bench.world.advance(seconds: 0.25)
    }
    #expect(asked == [0, 1, 3, 7, 15, 31, 61, 91])
    #expect(bench.fetches.reports.count == asked.count)
    #expect(bench.fetches.reports.first == "policy-0: no token from https://as.example/token: refused")
  }

  @Test("An endpoint that says when it can answer is not asked before, but for half a minute at most")
  func retryAfter() throws {
    for (text, seconds) in [("7", 7), ("86400", 30)] as [(String, Int32)] {
      let bench = try bench()
      var exchange = Exchange()
      exchange.ticket = 9
      _ = bench.begin(Self.request, &exchange)
      let busy = FetchOutcome.answered(status: 503, fields: [FetchField("retry-after", text)], body: [])
      #expect(bench.answer(busy, &exchange)?.text == "503 upstream-token-unavailable")
      #expect(bench.send(Self.request).retryAfter == seconds && bench.fetches.orders.isEmpty)
    }
  }

  @Test(
    "Options that cannot work are refused",
    arguments: [
      ("tokenEndpoint: \"http://as.example/t\", clientId: \"g\", clientSecret: \"s\"", "not a URL with https://"),
      ("tokenEndpoint: \"https://as/t\", clientId: \"g\"", "nothing proves"),
      ("tokenEndpoint: \"https://as/t\", clientId: \"g\", authentication: \"private-key\"", "does not go with"),
      (
        "tokenEndpoint: \"https://as/t\", clientId: \"g\", clientSecret: \"s\", authentication: \"private-key\", key: \"x\"",
        "cannot sign"
      ),
      ("tokenEndpoint: \"https://as/t\", clientId: \"g\", clientSecret: \"s\", scopes: [\"a b\"]", "neither spaces"),
      ("tokenEndpoint: \"https://as/t\", clientId: \"g\", clientSecret: \"s\", resource: \"orders\"", "absolute URI"),
      (
        "tokenEndpoint: \"https://as/t\", clientId: \"g\", clientSecret: \"s\", parameters: { grant_type: \"password\" }",
        "not a further parameter"
      ),
      ("tokenEndpoint: \"https://as/t\", clientId: \"g\", clientSecret: \"s\", timeout: \"5s\"", "out of range"),
      ("tokenEndpoint: \"https://as/t\", clientId: \"g\", clientSecret: \"s\", header: \"Host\"", "frames messages"),
      ("tokenEndpoint: \"https://as/t\", clientId: \"g\", clientSecret: \"s\", ca: \"pem\"", "no authorities"),
    ])
  func options(text: String, message: String) throws {
    let remarks = try Bench().use("{ type: \"client-credentials\", \(text) }")
    #expect(remarks.contains { $0.contains(message) }, "\(remarks)")
  }

  // MARK: Tokens

  @Test("The first request waits for a token; it and the following ones go on with it, and without the client's")
  func first() throws {
    let bench = try bench()
    var exchange = Exchange()
    exchange.ticket = 3
    #expect(bench.begin(Self.request, &exchange).text == "wait" && exchange.awaited == .outcome)
    #expect(bench.answer(.token("T1"), &exchange)?.text == "next" && exchange.awaited == .nothing)
    #expect(exchange.requestFieldsIfAny?.text == "Authorization: Bearer T1\r\n")
    for _ in 0..<3 {
      let outcome = bench.send(Self.request)
      #expect(outcome.verdict == "next" && outcome.requestFields == "Authorization: Bearer T1\r\n")
      #expect(outcome.passed == ["host"])
    }
    #expect(bench.fetches.orders.isEmpty)
  }

  @Test("All who wait share one answer, and whoever has gone takes nobody along")
  func singleFlight() throws {
    let bench = try bench()
    var waiting: [UInt64: Exchange] = [:]
    for ticket in UInt64(1)...5 {
      var exchange = Exchange()
      exchange.ticket = ticket
      #expect(bench.begin(Self.request, &exchange).text == "wait")
      waiting[ticket] = exchange
    }
    #expect(bench.fetches.orders.count == 1)
    waiting[1] = nil
    bench.desk.take(.token("T1"), of: bench.fetches.orders.removeFirst().number)
    var sent: [String] = []
    while let ticket = bench.desk.nextCalled() {
      guard var exchange = waiting[ticket] else { continue }
      #expect(bench.chain.resume(&exchange, bench.request, bench.services).text == "next")
      sent.append(exchange.requestFieldsIfAny?.text ?? "")
    }
    #expect(sent == Array(repeating: "Authorization: Bearer T1\r\n", count: 4))
  }

  @Test("A token is renewed when three quarters of its life are over, and nobody waits for that")
  func renewed() throws {
    let bench = try bench()
    try warm(bench)
    bench.world.advance(seconds: 2_699)
    #expect(bench.send(Self.request).verdict == "next" && bench.fetches.orders.isEmpty)
    bench.world.advance(seconds: 1)
    for _ in 0..<3 { #expect(bench.send(Self.request).requestFields == "Authorization: Bearer T1\r\n") }
    #expect(bench.fetches.orders.count == 1)
    bench.desk.take(.token("T2"), of: bench.fetches.orders.removeFirst().number)
    #expect(bench.desk.nextCalled() == nil && bench.desk.count == 0)
    #expect(bench.send(Self.request).requestFields == "Authorization: Bearer T2\r\n")
  }

  @Test("Where renewing fails, the token is used as long as it is good, and the endpoint is left alone for a while")
  func renewalFails() throws {
    let bench = try bench()
    try warm(bench)
    bench.world.advance(seconds: 2_700)
    #expect(bench.send(Self.request).verdict == "next")
    bench.desk.take(.failed("down"), of: bench.fetches.orders.removeFirst().number)
    #expect(bench.send(Self.request).verdict == "next" && bench.fetches.orders.isEmpty)
    bench.world.advance(seconds: 1)
    #expect(bench.send(Self.request).verdict == "next" && bench.fetches.orders.count == 1)
    // Ten seconds before its end it is not sent any more; who comes now waits for what is under way.
    bench.world.advance(seconds: 888.9)
    #expect(bench.send(Self.request).verdict == "next")
    bench.world.advance(seconds: 0.1)
    var exchange = Exchange()
    exchange.ticket = 4
    #expect(bench.begin(Self.request, &exchange).text == "wait")
    #expect(bench.answer(.token("T2"), &exchange) == nil, "the fetch has been lost by now")
    #expect(bench.answer(.token("T3"), &exchange)?.text == "next")
    #expect(exchange.requestFieldsIfAny?.text == "Authorization: Bearer T3\r\n")
  }

  @Test(
    "Where the endpoint does not say how long a token is good, the configuration does",
    arguments: [("", 289.9), (", lifetime: \"20s\"", 17.9)])
  func lifetime(options: String, seconds: Double) throws {
    let bench = try bench(options)
    try warm(bench, .answer("{\"access_token\":\"T1\",\"token_type\":\"bearer\"}"))
    bench.fetches.isFull = true
    bench.world.advance(seconds: seconds)
    #expect(bench.send(Self.request).verdict == "next")
    bench.world.advance(seconds: 0.2)
    #expect(bench.send(Self.request).verdict == "503")
  }

  @Test("An upstream that answers 401 has the token replaced, unless it is new")
  func doubted() throws {
    let bench = try bench()
    try warm(bench)
    bench.world.advance(seconds: 9.9)
    _ = bench.respond("HTTP/1.1 401 Unauthorized\nContent-Length: 0")
    #expect(bench.send(Self.request).verdict == "next" && bench.fetches.orders.isEmpty)
    bench.world.advance(seconds: 0.1)
    _ = bench.respond("HTTP/1.1 403 Forbidden\nContent-Length: 0")
    #expect(bench.send(Self.request).verdict == "next")
    _ = bench.respond("HTTP/1.1 401 Unauthorized\nContent-Length: 0")
    try warm(bench, .token("T2"))
    // What was sent with the old one comes back only now.
    _ = bench.respond("HTTP/1.1 401 Unauthorized\nContent-Length: 0")
    #expect(bench.send(Self.request).requestFields == "Authorization: Bearer T2\r\n")
  }

  @Test("A token that an upstream has refused goes on being sent where there is no other")
  func doubtedAlone() throws {
    let bench = try bench()
    try warm(bench)
    bench.world.advance(seconds: 10)
    _ = bench.respond("HTTP/1.1 401 Unauthorized\nContent-Length: 0")
    var exchange = Exchange()
    exchange.ticket = 2
    #expect(bench.begin(Self.request, &exchange).text == "wait")
    #expect(bench.answer(.failed("down"), &exchange)?.text == "next")
    #expect(exchange.requestFieldsIfAny?.text == "Authorization: Bearer T1\r\n")
    #expect(bench.send(Self.request).verdict == "next" && bench.fetches.orders.isEmpty)
  }

  @Test("Two policies have a token each, also where they are alike")
  func apart() throws {
    let bench = try bench(", header: \"X-One\"")
    let text =
      "{ type: \"client-credentials\", tokenEndpoint: \"https://as.example/token\", clientId: \"gw\", clientSecret: \"s\", header: \"X-Two\" }"
    try warm(bench)
    #expect(try bench.use(text) == [])
    #expect(bench.send(Self.request).verdict == "wait")
  }

  @Test("The token goes alone in a field of its own, and the client's Authorization goes on")
  func ownField() throws {
    let bench = try bench(", header: \"X-Upstream-Token\"")
    try warm(bench)
    let outcome = bench.send(Self.request + "\nX-Upstream-Token: forged\nx_upstream_token: forged")
    #expect(outcome.requestFields == "X-Upstream-Token: T1\r\n" && outcome.passed == ["host", "authorization"])
  }

  // MARK: What is asked

  @Test("The request names what is asked for, and who asks")
  func asked() throws {
    let authority = TestCertificates.workloadText
    let options =
      ", scopes: [\"a\", \"b:c\"], audience: \"orders\", resource: [\"https://r.example/x?y\"], parameters: { tenant: \"ä\" }"
    let bench = try bench(options + ", timeout: \"2s\", ca: \"\(authority.replacing("\n", with: "\\n"))\"")
    #expect(bench.send(Self.request).verdict == "wait")
    let request = try #require(bench.fetches.orders.first?.request)
    #expect(request.method == .post && request.url.text == "https://as.example/token?a=b")
    #expect(request.timeoutNanoseconds == 2_000_000_000 && request.authorities == authority)
    #expect(
      String(decoding: request.body, as: UTF8.self)
        == "grant_type=client_credentials&scope=a+b%3Ac&audience=orders&resource=https%3A%2F%2Fr.example%2Fx%3Fy&tenant=%C3%A4"
    )
    #expect(request.fields.contains(FetchField("Authorization", "Basic Z3c6czNjcmV0")))
  }

  @Test("The secret goes in the body where it is to")
  func post() throws {
    let bench = try bench(", authentication: \"post\"")
    #expect(bench.send(Self.request).verdict == "wait")
    let body = String(decoding: try #require(bench.fetches.orders.first?.request.body), as: UTF8.self)
    #expect(body == "grant_type=client_credentials&client_id=gw&client_secret=s3cret")
  }

  @Test("A key and a secret exclude each other")
  func keyAndSecret() throws {
    let pem = String(decoding: try #require(try TokenSigner.fresh(.es256).privateText), as: UTF8.self)
    let options = "tokenEndpoint: \"https://as/t\", clientId: \"g\", clientSecret: \"s\""
    for method in ["basic", "post", "private-key"] {
      let key = "authentication: \"\(method)\", key: \"\(pem.replacing("\n", with: "\\n"))\""
      let remarks = try Bench().use("{ type: \"client-credentials\", \(options), \(key) }")
      #expect(remarks.count == 1 && remarks[0].contains("does not go with what proves it"), "\(remarks)")
    }
  }

  @Test("A key signs who asks, under its name or its thumbprint", arguments: ["", ", keyId: \"mine\""])
  func privateKey(name: String) throws {
    let signer = try TokenSigner.fresh(.es256)
    let key = String(decoding: try #require(signer.privateText), as: UTF8.self).replacing("\n", with: "\\n")
    let bench = try bench(", authentication: \"private-key\", key: \"\(key)\"\(name)", secret: "")
    #expect(bench.send(Self.request).verdict == "wait")
    let body = try #require(bench.fetches.orders.first?.request.body)
    let form = try FormFields(RawSpan(body))
    let text = Array(try #require(form["client_assertion"]).utf8)
    let token = try CompactToken(RawSpan(text))
    let wanted = name.isEmpty ? signer.verifyingKey.thumbprint : "mine"
    #expect(signer.verifyingKey.verifies(token) && token.header.root["kid"]?.string == wanted)
  }
}
