import Core
import Pipeline
import Policies
import Testing

@Suite("mtls")
struct MTLSTests {
  private static let request = "GET / HTTP/1.1\nHost: a\nX-Client: root\nX-Consumer-Id: root"

  private func bench(_ options: String = "") throws -> Bench {
    let bench = try Bench(consumers: [Consumer(id: "mobile", tenant: "acme")])
    #expect(try bench.use("{ type: \"mtls\"\(options) }") == [])
    return bench
  }

  @Test("A request on a connection without a certificate is refused, unless that is optional")
  func missing() throws {
    let outcome = try bench().send(Self.request)
    #expect(outcome.verdict == "403" && outcome.code == "certificate-missing")
    #expect(try bench(", optional: true").send(Self.request).verdict == "next")
  }

  @Test(
    "Only certificates of the names that are given pass",
    arguments: [
      ("[\"spiffe://prod/order\"]", "403"), ("[\"orders\"]", "403"), ("[\"spiffe://test/*\"]", "403"),
      ("[\"spiffe://prod/*\"]", "next"), ("[\"x\", \"spiffe://prod/orders\"]", "next"),
    ])
  func names(names: String, verdict: String) throws {
    let outcome = try bench(", names: \(names)").send(Self.request, certificate: TestCertificates.workload())
    #expect(outcome.verdict == verdict && (verdict == "next" || outcome.code == "consumer-not-allowed"))
  }

  @Test(
    "The caller is called by its URI first, and by its common name where it has no other; the upstream may learn it")
  func identity() throws {
    for (certificate, name) in [
      (try TestCertificates.workload(), "spiffe://prod/orders"), (try TestCertificates.named(), "mobile"),
    ] {
      let outcome = try bench(", header: \"X-Client\"").send(Self.request, certificate: certificate) {
        #expect($0.identity?.subject == name && $0.consumer == -1)
      }
      #expect(outcome.requestFields == "X-Client: \(name)\r\n" && outcome.passed == ["host"])
    }
  }

  @Test("A certificate stands for the consumer of its name, and for nobody where there is none")
  func consumer() throws {
    let bench = try bench(", consumer: true")
    #expect(try bench.send(Self.request, certificate: TestCertificates.named()).consumer == 0)
    let other = try bench.send(Self.request, certificate: TestCertificates.workload())
    #expect(other.code == "consumer-not-allowed" && other.consumer == -1)
  }

  @Test("A token that is bound to a certificate is good with that one only")
  func bound() throws {
    let issuer = try TestIssuer()
    let bench = try Bench()
    #expect(try bench.use("{ type: \"jwt\", issuers: [\(issuer.options())] }") == [])
    let token = try issuer.token("\"cnf\":{\"x5t#S256\":\"\(TestCertificates.workloadThumbprint)\"}")
    #expect(bench.send(bearing(token)).code == "token-unconfirmed")
    #expect(bench.send(bearing(token), certificate: try TestCertificates.named()).code == "token-unconfirmed")
    #expect(bench.send(bearing(token), certificate: try TestCertificates.workload()).verdict == "next")
    // Remembered by now; what it needs is asked each time.
    #expect(bench.send(bearing(token)).code == "token-unconfirmed")
    for other in [
      "{}", "1", "{\"jkt\":7}", "{\"x5t#S256\":\"\(TestCertificates.workloadThumbprint)\",\"jkt\":\"x\"}",
    ] {
      let token = try issuer.token("\"cnf\":\(other)")
      #expect(bench.send(bearing(token), certificate: try TestCertificates.workload()).code == "token-unconfirmed")
    }
  }

  @Test("Where tokens must be bound, one that is not is refused")
  func mustBeBound() throws {
    let issuer = try TestIssuer()
    let bench = try Bench()
    try bench.use("{ type: \"jwt\", issuers: [\(issuer.options())], bound: true }")
    #expect(
      bench.send(bearing(try issuer.token()), certificate: try TestCertificates.workload()).code == "token-unconfirmed")
  }
}
