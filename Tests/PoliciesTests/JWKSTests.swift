import Core
import Crypto
import Pipeline
import Policies
import Testing

@Suite("jwks")
struct JWKSTests {
  private func keys(_ outcome: Outcome) throws -> [JSONWebKey] {
    try JSONWebKeySet(Array(outcome.body.utf8)).keys
  }

  @Test("Other methods than GET and HEAD are refused", arguments: ["POST", "PUT", "DELETE", "OPTIONS"])
  func methods(method: String) throws {
    let bench = try Bench()
    #expect(try bench.use("{ type: \"jwks\" }") == [])
    let outcome = bench.send("\(method) / HTTP/1.1\nHost: a\nContent-Length: 0")
    #expect(outcome.verdict == "405" && outcome.code == "method-not-allowed")
    #expect(outcome.responseFields == "Allow: GET, HEAD\r\n" && outcome.body.isEmpty)
  }

  @Test(
    "Options that publish nothing, or what is no key, are refused",
    arguments: [
      ("derived: false", "no keys"), ("keys: [{}]", "key"), ("keys: [{ key: \"x\" }]", "cannot sign"),
    ])
  func options(text: String, message: String) throws {
    let remarks = try Bench().use("{ type: \"jwks\", \(text) }")
    #expect(remarks.contains { $0.contains(message) }, "\(remarks)")
  }

  @Test("The key of identity-token is published, and nothing secret of it", arguments: ["GET", "HEAD"])
  func derived(method: String) throws {
    let bench = try Bench()
    #expect(try bench.use("{ type: \"jwks\" }") == [])
    let outcome = bench.send("\(method) / HTTP/1.1\nHost: a")
    #expect(outcome.verdict == "200")
    #expect(
      outcome.responseFields == "Content-Type: application/jwk-set+json\r\nCache-Control: max-age=300\r\n")
    let known = try keys(outcome)
    let signer = bench.services.signer(for: "identity-token")
    #expect(known.map(\.keyID) == [signer.keyID] && known[0].thumbprint == signer.verifyingKey.thumbprint)
    #expect(known[0].algorithms == [.edDSA] && !outcome.body.contains("\"d\""))
  }

  @Test("While the cluster's secret is replaced, both keys are published, the present one first")
  func former() throws {
    let (old, new) = (Array("old".utf8), Array("new".utf8))
    let before = try Bench(secrets: NodeSecrets(secret: old)).services.signer(for: "identity-token")
    let bench = try Bench(secrets: NodeSecrets(secret: new, former: old))
    #expect(try bench.use("{ type: \"jwks\" }") == [])
    let known = try keys(bench.send("GET / HTTP/1.1\nHost: a"))
    #expect(known.map(\.keyID) == [bench.services.signer(for: "identity-token").keyID, before.keyID])
  }

  @Test(
    "Keys of the options are published under the names by which they sign, each once", arguments: ["ES256", "RS256"])
  func named(algorithm: String) throws {
    let signer = try TokenSigner.fresh(try #require(SignatureAlgorithm(rawValue: algorithm)))
    let pem = String(decoding: try #require(signer.privateText), as: UTF8.self).replacing("\n", with: "\\n")
    let bench = try Bench()
    let list = "[{ key: \"\(pem)\" }, { key: \"\(pem)\", keyId: \"mine\" }, { key: \"\(pem)\" }]"
    #expect(try bench.use("{ type: \"jwks\", derived: false, keys: \(list) }") == [])
    let outcome = bench.send("GET / HTTP/1.1\nHost: a")
    #expect(try keys(outcome).map(\.keyID) == [signer.keyID, "mine"] && !outcome.body.contains("\"d\""))
  }
}
