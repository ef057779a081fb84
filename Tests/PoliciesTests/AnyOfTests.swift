import Core
import Pipeline
import Policies
import Testing

@Suite("any-of")
struct AnyOfTests {
  private let issuer: TestIssuer

  init() throws { issuer = try TestIssuer() }

  private func bench(_ options: String = "") throws -> Bench {
    let bench = try Bench(consumers: [Consumer(id: "mobile", keys: [ConsumerKey(id: "k", digest: digest("secret"))])])
    let ways = "{ type: \"api-key\" }, { type: \"jwt\", issuers: [\(issuer.options())] }, { type: \"mtls\" }"
    #expect(try bench.use("{ type: \"any-of\", policies: [\(ways)]\(options) }") == [])
    return bench
  }

  @Test("A request that shows nothing is refused as by the first way, with the challenges of all")
  func missing() throws {
    let outcome = try bench().send("GET / HTTP/1.1\nHost: a")
    #expect(outcome.verdict == "401" && outcome.code == "api-key-missing")
    let challenges = ["ApiKey realm=\"sluice\", name=\"X-API-Key\"", "Bearer realm=\"sluice\""]
    #expect(outcome.responseFields == challenges.map { "WWW-Authenticate: \($0)\r\n" }.joined())
  }

  @Test("What is shown and wrong is refused, whatever else is shown behind it")
  func wrong() throws {
    let bench = try bench()
    let key = bench.send(bearing(try issuer.token()) + "\nX-API-Key: wrong")
    #expect(key.code == "api-key-invalid" && !key.responseFields.contains("Bearer"))
    let token = bench.send(bearing("a.b.c"), certificate: try TestCertificates.workload())
    #expect(token.code == "token-invalid" && !token.responseFields.contains("ApiKey"))
  }

  @Test("Each way lets its callers pass, and nothing is left of those before it")
  func ways() throws {
    let bench = try bench()
    #expect(bench.send("GET / HTTP/1.1\nHost: a\nX-API-Key: secret").consumer == 0)
    let token = bench.send(bearing(try issuer.token("\"sub\":\"ann\""))) { #expect($0.identity?.subject == "ann") }
    let certificate = bench.send("GET / HTTP/1.1\nHost: a", certificate: try TestCertificates.workload())
    for outcome in [token, certificate] {
      #expect(outcome.verdict == "next" && outcome.responseFields.isEmpty && outcome.passed == ["host"])
    }
  }

  @Test("Ways that have cookies take all of theirs out of one field, the ambiguous ones too, and leave what is others'")
  func cookies() throws {
    let bench = try Bench()
    let ways = ["a", "b", "c"].map { "{ type: \"jwt\", issuers: [\(issuer.options())], cookie: \"\($0)\" }" }
    #expect(try bench.use("{ type: \"any-of\", policies: [\(ways.joined(separator: ", "))] }") == [])
    let token = try issuer.token("\"sub\":\"ann\"")
    // Readers behind the gateway skip blanks around names.
    let cookies = "Cookie: x=1; b =junk;\ta=\(token); c\t=1; ab=2\nCookie: c=2\nCookie: y=3"
    let outcome = bench.send("GET / HTTP/1.1\nHost: a\n\(cookies)")
    #expect(outcome.verdict == "next" && outcome.requestFields == "Cookie: x=1; ab=2\r\n")
    #expect(outcome.passed == ["host", "cookie"])
  }

  @Test("A key that nobody looked at goes no further: in its field, in the query, with what says who calls")
  func unreadKeys() throws {
    let bench = try Bench()
    let jwt = "{ type: \"jwt\", issuers: [\(issuer.options())] }"
    let key = "{ type: \"api-key\", header: \"X-API-Key\", query: \"key\" }"
    #expect(try bench.use("{ type: \"any-of\", policies: [\(jwt), \(key)] }") == [])
    let fields = "X-API-Key: secret\nX-Consumer-Id: root"
    let token = try issuer.token("\"sub\":\"ann\"")
    let outcome = bench.send("GET /?a=1&key=secret&b=2 HTTP/1.1\nHost: a\nAuthorization: Bearer \(token)\n\(fields)")
    #expect(outcome.verdict == "next" && outcome.passed == ["host"] && outcome.query == "a=1&b=2")
  }

  @Test("A token behind a tab is a token, and goes no further")
  func tab() throws {
    let bench = try Bench()
    #expect(try bench.use("{ type: \"jwt\", issuers: [\(issuer.options())], optional: true }") == [])
    #expect(bench.send("GET / HTTP/1.1\nHost: a\nAuthorization: Bearer\tforged").verdict == "401")
    let good = bench.send("GET / HTTP/1.1\nHost: a\nAuthorization: bearer\t \(try issuer.token())")
    #expect(good.verdict == "next" && good.passed == ["host"])
  }

  @Test(
    "Whoever shows nothing passes where that is optional, as nobody, and a rule behind it can say how to become somebody"
  )
  func optional() throws {
    let bench = try bench(", optional: true")
    let outcome = bench.send("GET / HTTP/1.1\nHost: a") { #expect(!$0.isIdentified && !$0.challenges.isEmpty) }
    #expect(outcome.verdict == "next" && outcome.responseFields.isEmpty)
  }

  @Test(
    "Options that say nobody are refused",
    arguments: [
      ("[]", "empty"), ("[{ type: \"rate-limit\", limits: [] }]", "does not say who calls"),
      ("[{ type: \"any-of\", policies: [] }]", "does not say who calls"),
      ("[{ type: \"moon\" }]", "does not say who calls"),
      ("[{ type: \"api-key\", mode: \"shadow\" }]", "shadow alone"),
      ("[{ type: \"api-key\", colour: 1 }]", "colour"),
    ])
  func options(ways: String, message: String) throws {
    let remarks = try Bench().use("{ type: \"any-of\", policies: \(ways) }")
    #expect(remarks.contains { $0.contains(message) }, "\(remarks)")
  }

  @Test("What a later way would tell the upstream cannot be forged by who is known by an earlier one")
  func dropsClaims() throws {
    let issuer = try TestIssuer()
    let consumer = Consumer(id: "mallory", keys: [ConsumerKey(id: "k", digest: digest("secret"))])
    let bench = try Bench(consumers: [consumer])
    let ways =
      "{ type: \"api-key\" }, { type: \"jwt\", issuers: [\(issuer.options())], headers: { \"X-User\": \"sub\" } }"
    #expect(try bench.use("{ type: \"any-of\", policies: [\(ways), { type: \"mtls\", header: \"X-Peer\" }] }") == [])
    let forged = bench.send(
      "GET / HTTP/1.1\nHost: a\nX-API-Key: secret\nX-User: admin\nX-Peer: root\nAuthorization: Bearer \(try issuer.token())"
    )
    #expect(forged.verdict == "next" && forged.consumer == 0)
    #expect(forged.passed == ["host"])
  }
}
