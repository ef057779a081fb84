import Cluster
import Core
import Crypto
import Pipeline
import Policies
import Testing

@Suite("FailureGate")
struct FailureGateTests {
  private let issuer: TestIssuer

  init() throws { issuer = try TestIssuer() }

  private var policy: String { "{ type: \"jwt\", issuers: [\(issuer.options())], failuresPerAddress: 3 }" }
  private var wrong: String { get throws { bearing(String(try issuer.token().dropLast(4)) + "AAAA") } }

  @Test("Who has failed too often is not listened to, wherever else it is known that it has")
  func shutsOut() throws {
    let bench = try Bench()
    try bench.use(policy)
    for _ in 0..<3 { #expect(bench.send(try wrong).code == "token-invalid") }
    #expect(bench.send(try wrong).code == "too-many-failures")
    #expect(bench.send(bearing(try issuer.token())).code == "too-many-failures")
    #expect(bench.send(try wrong, from: "192.0.2.2").code == "token-invalid")
  }

  @Test("A node that has seen one failure of an address that failed elsewhere shuts it out for a minute")
  func sharesCount() throws {
    let (one, two) = (try Bench(), try Bench())
    // Another node, whose limits lie in the same store.
    let shared = try Bench(quota: EmbeddedQuota(store: one.store, subjectKey: SipKey(low: 1, high: 2)))
    try one.use(policy)
    try two.use(policy)
    try shared.use(policy)
    for _ in 0..<3 { #expect(one.send(try wrong).code == "token-invalid") }
    #expect(shared.send(try wrong).code == "token-invalid")
    #expect(shared.send(bearing(try issuer.token())).code == "too-many-failures")
    shared.world.advance(seconds: 59)
    #expect(shared.send(bearing(try issuer.token("\"exp\":\(TestIssuer.now + 600)"))).code == "too-many-failures")
    shared.world.advance(seconds: 12)
    #expect(shared.send(bearing(try issuer.token("\"exp\":\(TestIssuer.now + 600)"))).verdict == "next")
    #expect(two.send(bearing(try issuer.token())).verdict == "next")
  }
}
