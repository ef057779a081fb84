import Core
import Crypto
import HTTP
import Pipeline
import Policies
import Testing

/// A client with a key of its own, which a token may be bound to.
struct ProvingClient {
  let signer: TokenSigner

  init(_ algorithm: SignatureAlgorithm = .es256) throws { signer = try TokenSigner.fresh(algorithm) }

  /// The claim that binds a token to the key.
  var confirmation: String { "\"cnf\":{\"jkt\":\"\(signer.verifyingKey.thumbprint ?? "")\"}" }

  /// A proof for a GET of `http://a/` with `token`; what is given here wins.
  func proof(
    of token: String, _ claims: String = "", type: String = "dpop+jwt", without left: String = ""
  ) throws -> String {
    let digest = SHA256().digest(of: RawSpan(Array(token.utf8))).bytes
    let usual = [
      "htm": "\"GET\"", "htu": "\"http://a/\"", "iat": "\(TestIssuer.now)", "jti": "\"one\"",
      "ath": "\"\(Base64URL.encode(digest))\"",
    ]
    var members = claims.isEmpty ? [] : [claims]
    for (name, value) in usual where name != left && !claims.contains("\"\(name)\"") {
      members.append("\"\(name)\":\(value)")
    }
    let text = Array("{\(members.joined(separator: ","))}".utf8)
    return String(decoding: try signer.sign(RawSpan(text), type: type, showsKey: true), as: UTF8.self)
  }
}

@Suite("Proof of possession")
struct ProofTests {
  private let issuer: TestIssuer
  private let client: ProvingClient
  private let bench: Bench
  private let token: String

  init() throws {
    issuer = try TestIssuer()
    client = try ProvingClient()
    bench = try Bench()
    #expect(try bench.use("{ type: \"jwt\", issuers: [\(issuer.options())] }") == [])
    token = try issuer.token("\"sub\":\"ann\",\(client.confirmation)")
  }

  private func send(_ token: String, proof: String?, scheme: String = "DPoP") -> Outcome {
    bench.send(
      "GET / HTTP/1.1\nHost: a\nAuthorization: \(scheme) \(token)" + (proof.map { "\nDPoP: \($0)" } ?? ""))
  }

  @Test("A token that is bound to a key is nobody's without a proof, and not as a bearer token with one")
  func refusesWithout() throws {
    let refused = send(token, proof: nil)
    #expect(refused.code == "proof-missing")
    #expect(refused.responseFields.contains("WWW-Authenticate: DPoP "))
    #expect(refused.responseFields.contains("error=\"invalid_dpop_proof\""))
    #expect(send(token, proof: try client.proof(of: token), scheme: "Bearer").code == "proof-missing")
  }

  @Test("A token that is bound to nothing does not become one that is by what it is called")
  func refusesUnbound() throws {
    let plain = try issuer.token("\"sub\":\"ann\"")
    #expect(send(plain, proof: try client.proof(of: plain)).code == "token-unconfirmed")
    #expect(send(plain, proof: nil, scheme: "Bearer").verdict == "next")
  }

  @Test("A thief's proof with a key of his own proves nothing")
  func refusesOtherKey() throws {
    #expect(send(token, proof: try ProvingClient().proof(of: token)).code == "token-unconfirmed")
  }

  @Test(
    "A proof for anything else is refused",
    arguments: [
      "\"htm\":\"POST\"", "\"htm\":\"get\"", "\"htu\":\"http://b/\"", "\"htu\":\"https://a/\"",
      "\"htu\":\"http://a/x\"",
      "\"htu\":\"http://a:81/\"", "\"htu\":\"http://x@a/\"", "\"htu\":\"/\"", "\"htu\":7",
      "\"iat\":\(TestIssuer.now - 91)",
      "\"iat\":\(TestIssuer.now + 31)", "\"iat\":\"\(TestIssuer.now)\"", "\"iat\":1e300", "\"iat\":-1", "\"jti\":\"\"",
      "\"jti\":7", "\"jti\":\"\(String(repeating: "j", count: 257))\"",
      "\"ath\":\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo\"",
    ])
  func refusesOthers(claim: String) throws {
    #expect(send(token, proof: try client.proof(of: token, claim)).code == "proof-invalid")
  }

  @Test("A proof that lacks something is refused", arguments: ["htm", "htu", "iat", "jti", "ath"])
  func refusesLacking(claim: String) throws {
    #expect(send(token, proof: try client.proof(of: token, without: claim)).code == "proof-invalid")
  }

  @Test("Another kind of token is no proof, nor is what is no token, nor are two proofs")
  func refusesMalformed() throws {
    #expect(send(token, proof: try client.proof(of: token, type: "JWT")).code == "proof-invalid")
    #expect(send(token, proof: "x.y.z").code == "proof-invalid")
    #expect(send(token, proof: String(repeating: "x", count: 4_097)).code == "proof-invalid")
    let proof = try client.proof(of: token)
    #expect(send(token, proof: "\(proof)\nDPoP: \(proof)").code == "proof-invalid")
    #expect(send(token, proof: String(proof.dropLast(4)) + "AAAA").code == "proof-invalid")
  }

  @Test("A secret or a private key in a proof's header is no key")
  func refusesPrivate() throws {
    let (secret, none) = (Array("{}".utf8), [UInt8](repeating: 1, count: 64))
    for header in [
      "{\"alg\":\"HS256\",\"typ\":\"dpop+jwt\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"}}",
      "{\"alg\":\"ES256\",\"typ\":\"dpop+jwt\",\"jwk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\",\"d\":\"AA\"}}",
      "{\"alg\":\"none\",\"typ\":\"dpop+jwt\"}", "{\"alg\":\"ES256\",\"typ\":\"dpop+jwt\"}",
    ] {
      let proof = crafted(header: header, payload: String(decoding: secret, as: UTF8.self), signature: none)
      #expect(send(token, proof: proof).code == "proof-invalid")
    }
  }

  @Test(
    "A replayed proof is refused, and one with another number passes",
    arguments: [SignatureAlgorithm.es256, .edDSA, .ps256])
  func refusesReplay(algorithm: SignatureAlgorithm) throws {
    let client = try ProvingClient(algorithm)
    let token = try issuer.token("\"sub\":\"ann\",\(client.confirmation)")
    let proof = try client.proof(of: token)
    let first = send(token, proof: proof)
    #expect(first.verdict == "next")
    #expect(first.passed == ["host"])
    #expect(send(token, proof: proof).code == "proof-repeated")
    #expect(send(token, proof: try client.proof(of: token, "\"jti\":\"two\"")).verdict == "next")
  }

  @Test(
    "The same place is found in another spelling",
    arguments: ["HTTP://A/", "http://a:80/", "http://a/?q=1", "http://a/#f", "http://a"])
  func acceptsSpelling(place: String) throws {
    #expect(send(token, proof: try client.proof(of: token, "\"htu\":\"\(place)\"")).verdict == "next")
  }

  @Test("Where every token must be bound, others are refused, and the challenge says so")
  func requires() throws {
    #expect(try bench.use("{ type: \"jwt\", issuers: [\(issuer.options())], dpop: { required: true } }") == [])
    #expect(bench.send(bearing(try issuer.token())).code == "token-unconfirmed")
    #expect(bench.send("GET / HTTP/1.1\nHost: a").responseFields.contains("WWW-Authenticate: DPoP "))
    #expect(send(token, proof: try client.proof(of: token)).verdict == "next")
  }

  @Test("Where a nonce is wanted the client is told one, which is good for a while")
  func wantsNonce() throws {
    #expect(
      try bench.use("{ type: \"jwt\", issuers: [\(issuer.options())], dpop: { nonce: true, maxAge: \"1h\" } }") == [])
    let long = try issuer.token("\"exp\":\(TestIssuer.now + 3_000),\(client.confirmation)")
    let refused = send(long, proof: try client.proof(of: long))
    #expect(refused.code == "proof-nonce-missing")
    #expect(refused.responseFields.contains("error=\"use_dpop_nonce\""))
    let fields = refused.responseFields.split(separator: "\r\n")
    let nonce = try #require(fields.first { $0.hasPrefix("DPoP-Nonce: ") }).dropFirst(12)
    func proof(_ number: String) throws -> String {
      try client.proof(of: long, "\"nonce\":\"\(nonce)\",\"jti\":\"\(number)\"")
    }
    #expect(send(long, proof: try proof("a")).verdict == "next")
    bench.world.advance(seconds: 150)
    let late = send(long, proof: try proof("b"))
    #expect(late.verdict == "next")
    #expect(late.responseFields.contains("DPoP-Nonce: "))
    bench.world.advance(seconds: 150)
    #expect(send(long, proof: try proof("c")).code == "proof-nonce-missing")
  }

  @Test("Behind a balancer that ends TLS proofs name the origin that clients see")
  func knowsOrigin() throws {
    let policy = "{ type: \"jwt\", issuers: [\(issuer.options())], dpop: { origin: \"https://api.example.com\" } }"
    #expect(try bench.use(policy) == [])
    #expect(send(token, proof: try client.proof(of: token)).code == "proof-invalid")
    let proof = try client.proof(of: token, "\"htu\":\"https://api.example.com:443/\"")
    #expect(send(token, proof: proof).verdict == "next")
  }

  @Test("What is no origin is refused", arguments: ["api.example.com", "https://a/", "ftp://a", "https://"])
  func refusesOrigin(origin: String) throws {
    let remarks = make("{ type: \"jwt\", issuers: [\(issuer.options())], dpop: { origin: \"\(origin)\" } }").remarks
    #expect(remarks == ["dpop.origin: this is no origin"])
  }
}
