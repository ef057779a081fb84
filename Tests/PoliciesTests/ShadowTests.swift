import Core
import Pipeline
import Policies
import Testing

@Suite("Policies in shadow")
struct ShadowTests {
  private let request = "GET /?q=1&key=wrong HTTP/1.1\nHost: a\nX-API-Key: wrong\nOrigin: https://bad.example"

  /// What the exchange of a request has noted: bits of who decided and who would have refused.
  private func verdicts(_ bench: Bench, _ text: String? = nil) -> (Outcome, ShadowVerdicts, [String]) {
    var noted = ShadowVerdicts()
    var codes: [String] = []
    let outcome = bench.send(text ?? request) { exchange in
      noted = exchange.shadows
      codes = (0..<8).filter(noted.hasRefused).map { "\(exchange.shadowCode($0))" }
    }
    return (outcome, noted, codes)
  }

  @Test(
    "A refusal in shadow passes, leaves no trace in the messages, and is noted with its code",
    arguments: [
      ("{ type: \"api-key\", mode: \"shadow\" }", "api-key-invalid"),
      ("{ type: \"api-key\", query: \"key\", mode: \"shadow\" }", "api-key-invalid"),
      ("{ type: \"ip-filter\", deny: [\"0.0.0.0/0\"], mode: \"shadow\" }", "address-denied"),
    ])
  func refusals(policy: String, code: String) throws {
    let bench = try Bench()
    try #expect(bench.use(policy) == [])
    let (outcome, noted, codes) = verdicts(bench)
    #expect(outcome.verdict == "next" && outcome.responseFields.isEmpty && outcome.query == nil)
    #expect(outcome.passed == ["host", "x-api-key", "origin"])
    #expect(noted.decided == 1 && codes == [code])
  }

  @Test("What only changes messages changes nothing in shadow")
  func changes() throws {
    let bench = try Bench()
    try bench.use(
      "{ type: \"headers\", request: { remove: [\"Origin\"], set: { \"X-New\": \"1\" } }, mode: \"shadow\" }",
      "{ type: \"cors\", origins: [\"https://bad.example\"], mode: \"shadow\" }",
      "{ type: \"respond\", status: 404, mode: \"shadow\" }",
      "{ type: \"body-limit\", limit: \"1B\", mode: \"shadow\" }")
    let (outcome, noted, _) = verdicts(bench)
    #expect(outcome.verdict == "next" && outcome.responseFields.isEmpty && outcome.requestFields.isEmpty)
    #expect(outcome.passed.contains("origin"))
    #expect(noted.decided == 0b1111 && noted.refused == 0)
    #expect(verdicts(bench, "POST / HTTP/1.1\nHost: a\nContent-Length: 2").2 == ["body-too-large"])
  }

  @Test("A limit in shadow counts for itself alone: the one in force keeps its numbers and is what clients are told")
  func limits() throws {
    let bench = try Bench()
    try bench.use(
      "{ type: \"rate-limit\", mode: \"shadow\", limits: [{ per: \"ip\", window: \"1/1m\" }] }",
      "{ type: \"rate-limit\", limits: [{ per: \"ip\", name: \"live\", window: \"3/1m\" }] }")
    for turn in 0..<3 {
      let (outcome, _, codes) = verdicts(bench)
      #expect(outcome.verdict == "next" && outcome.responseFields.contains("\"live\";r=\(2 - turn)"))
      #expect(codes == (turn == 0 ? [] : ["rate-limited"]))
      #expect(!outcome.responseFields.contains("\"ip\""))
    }
    #expect(bench.send(request).verdict == "429")
  }

  @Test("Slots of a limit in shadow are given back at the end")
  func slots() throws {
    let bench = try Bench()
    try bench.use("{ type: \"rate-limit\", mode: \"shadow\", limits: [{ per: \"ip\", concurrency: 1 }] }")
    var kept: Exchange?
    _ = bench.send(request) { kept = $0 }
    #expect(verdicts(bench).2 == ["concurrency-limited"])
    bench.chain.end(&kept!, bench.services)
    #expect(bench.send(request).verdict == "next")
    #expect(verdicts(bench).2 == [])
  }

  @Test("Whoever a key in shadow identifies is known to what follows, and the key goes on to the upstream")
  func identity() throws {
    let bench = try Bench(consumers: [Consumer(id: "one", keys: [ConsumerKey(id: "a", digest: digest("right"))])])
    try bench.use("{ type: \"api-key\", mode: \"shadow\" }")
    let outcome = bench.send("GET / HTTP/1.1\nHost: a\nX-API-Key: right")
    #expect(outcome.consumer == 0 && outcome.passed == ["host", "x-api-key"])
  }

  @Test("A slot that is used again has no verdicts left")
  func reset() throws {
    let bench = try Bench()
    try bench.use("{ type: \"ip-filter\", deny: [\"0.0.0.0/0\"], mode: \"shadow\" }")
    _ = bench.send(request) { exchange in
      var exchange = exchange
      #expect(!exchange.shadows.isEmpty)
      exchange.reset()
      #expect(exchange.shadows.isEmpty)
    }
  }

  @Test("Whom a policy in shadow has found out and refused is known to no other policy")
  func refusedCallers() throws {
    let bench = try Bench()
    let issuer = try TestIssuer()
    let shadow = "{ type: \"jwt\", issuers: [\(issuer.options())], scopes: [\"orders\"], mode: \"shadow\" }"
    #expect(try bench.use(shadow, "{ type: \"access\", allow: \"authenticated\" }") == [])
    #expect(bench.send(bearing(try issuer.token())).code == "authentication-required")
    #expect(bench.send(bearing(try issuer.token("\"scope\":\"orders\""))).verdict == "next")
  }

  @Test("What a policy in shadow sees used is not used up, and its failures shut nobody out")
  func usesNothing() throws {
    let (bench, client, issuer) = (try Bench(), try ProvingClient(), try TestIssuer())
    let policy = "type: \"jwt\", issuers: [\(issuer.options())], failuresPerAddress: 1"
    #expect(try bench.use("{ \(policy), mode: \"shadow\" }", "{ \(policy) }") == [])
    let token = try issuer.token(client.confirmation)
    let proven = "GET / HTTP/1.1\nHost: a\nAuthorization: DPoP \(token)\nDPoP: \(try client.proof(of: token))"
    #expect(bench.send(proven).verdict == "next")
    let wrong = bearing(String(try issuer.token().dropLast(4)) + "AAAA")
    #expect(bench.send(wrong).code == "token-invalid")
    #expect(bench.send(wrong).code == "too-many-failures")
  }

  @Test("What acts on more than the request cannot be put in shadow")
  func refusesActing() {
    let options =
      "publicURL: \"https://a.test\", issuer: \"https://id.test\", clientId: \"a\", authentication: \"none\""
    let remarks = make("{ type: \"oidc-login\", \(options), mode: \"shadow\" }").remarks
    #expect(remarks.contains("mode: what it does cannot be done in shadow"))
  }
}
