import Core
import Crypto
import HTTP
import Pipeline
import Policies
import Testing

@Suite("identity-token")
struct IdentityTokenTests {
  private static let issuer = "issuer: \"https://gw.example\""

  private func bench(_ more: String..., options: String = "", consumers: [Consumer] = []) throws -> Bench {
    let bench = try Bench(consumers: consumers)
    var remarks: [String] = []
    var steps: [ChainStep] = []
    for text in ["{ type: \"identity-token\", \(Self.issuer)\(options) }"] + more {
      let made = make(text, instance: "it")
      remarks += made.remarks
      if let step = made.step { steps.append(step) }
    }
    bench.chain = try Registry.chain(of: steps)
    #expect(remarks == [])
    return bench
  }

  private func jwt(_ issuer: TestIssuer, _ options: String = "") -> String {
    "{ type: \"jwt\", issuers: [\(issuer.options())]\(options) }"
  }

  /// The token that goes upstream; nil for none.
  private func token(_ outcome: Outcome, field: String = "X-Identity-Token") -> String? {
    for line in outcome.requestFields.split(separator: "\r\n") where line.hasPrefix("\(field): ") {
      return String(line.dropFirst(field.utf8.count + 2))
    }
    return nil
  }

  /// What a token says, if `key` has signed it.
  private func claims(_ text: String?, _ key: JSONWebKey) throws -> JSONValue {
    let bytes = Array(try #require(text).utf8)
    let token = try CompactToken(RawSpan(bytes))
    #expect(key.verifies(token) && token.keyID?.array == key.keyID.map { Array($0.utf8) } && token.isType("JWT"))
    return try token.claims().root
  }

  private func shared(_ bench: Bench) -> JSONWebKey { bench.services.signer(for: "identity-token").verifyingKey }

  // MARK: Refusals

  @Test(
    "What clients send in the field is dropped, however it is written, and where nobody is known nothing takes its place"
  )
  func forged() throws {
    let outcome = try bench().send("GET / HTTP/1.1\nHost: a\nX-Identity-Token: forged\nx_identity_token: forged")
    #expect(outcome.verdict == "next" && outcome.passed == ["host"] && outcome.requestFields.isEmpty)
  }

  @Test("A token that no field would hold is not sent, nor is the request, and the operator is told once a minute")
  func tooLong() throws {
    let issuer = try TestIssuer()
    let bench = try bench(jwt(issuer), options: ", claims: { all: \"all\" }")
    let long = String(repeating: "x", count: 8_192)
    for _ in 0..<3 {
      let outcome = bench.send(bearing(try issuer.token("\"all\":\"\(long)\"")))
      #expect(outcome.verdict == "503" && outcome.code == "upstream-token-unavailable" && outcome.retryAfter == -1)
    }
    #expect(bench.fetches.reports == ["it: a caller's token would have more than 8192 bytes of claims"])
  }

  @Test(
    "Options that cannot work are refused",
    arguments: [
      ("audience: \"a\"", "issuer"), ("issuer: \"\"", "nobody vouches"),
      ("issuer: \"i\", lifetime: \"5s\"", "out of range"), ("issuer: \"i\", lifetime: \"2h\"", "out of range"),
      ("issuer: \"i\", key: \"-----BEGIN\"", "cannot sign"), ("issuer: \"i\", algorithm: \"none\"", "algorithm"),
      ("issuer: \"i\", claims: { sub: \"email\" }", "says itself"),
      ("issuer: \"i\", claims: { cnf: \"cnf\" }", "says itself"),
      ("issuer: \"i\", claims: { x: \"a..b\" }", "no claim"),
      ("issuer: \"i\", header: \"Connection\"", "frames messages"),
    ])
  func options(text: String, message: String) throws {
    let remarks = try Bench().use("{ type: \"identity-token\", \(text) }")
    #expect(remarks.contains { $0.contains(message) }, "\(remarks)")
  }

  // MARK: Tokens

  @Test("A caller who is known by a token is told with all that is known, and with the claims that are wanted")
  func known() throws {
    let issuer = try TestIssuer()
    let known =
      "\"sub\":\"ann\",\"azp\":\"app\",\"scope\":\"a b\",\"roles\":[\"ops\"],\"groups\":[\"g\"],\"email\":\"a@\\u00e4\",\"org\":{\"id\":7,\"x\":[1]},\"sid\":\"s\""
    let bench = try bench(
      jwt(issuer),
      options: ", audience: \"orders\", claims: { email: \"email\", org: \"org\", number: \"org.id\", no: \"none\" }")
    let outcome = bench.send(bearing(try issuer.token(known)))
    let said = try claims(token(outcome), shared(bench))
    #expect(outcome.passed == ["host"])
    let texts = [
      "iss": "https://gw.example", "sub": "ann", "aud": "orders", "client_id": "app", "scope": "a b",
      "idp": issuer.name,
      "email": "a@ä",
    ]
    for (name, text) in texts { #expect(said[name]?.string == text, "\(name)") }
    #expect(said["roles"]?.sourceText == "[\"ops\"]" && said["groups"]?.sourceText == "[\"g\"]")
    #expect(said["org"]?.sourceText == "{\"id\":7,\"x\":[1]}" && said["number"]?.integer == 7)
    let now = Int64(TestIssuer.now)
    #expect(said["iat"]?.integer == now && said["exp"]?.integer == now + 60)
    for name in ["no", "sid", "jti", "tenant", "consumer"] { #expect(said[name] == nil, "\(name)") }
  }

  @Test("A consumer who is known by a key is told too, and beside a token its groups come along")
  func consumer() throws {
    let app = Consumer(
      id: "app", tenant: "acme", groups: ["gold", "g"], keys: [ConsumerKey(id: "k", digest: digest("key-of-app"))])
    let bench = try bench("{ type: \"api-key\" }", options: ", audience: [\"a\", \"b\"]", consumers: [app])
    let said = try claims(token(bench.send("GET / HTTP/1.1\nHost: a\nX-API-Key: key-of-app")), shared(bench))
    #expect(said["sub"]?.string == "app" && said["consumer"]?.string == "app" && said["tenant"]?.string == "acme")
    #expect(said["groups"]?.sourceText == "[\"gold\",\"g\"]" && said["aud"]?.sourceText == "[\"a\",\"b\"]")
    #expect(said["idp"] == nil && said["roles"] == nil)
    let issuer = try TestIssuer()
    let both = try self.bench(
      "{ type: \"jwt\", issuers: [\(issuer.options(", claims: { consumer: \"app\" }"))] }", consumers: [app])
    let mixed = try claims(
      token(both.send(bearing(try issuer.token("\"sub\":\"ann\",\"app\":\"app\",\"groups\":[\"g\",\"h\"]")))),
      shared(both))
    #expect(mixed["sub"]?.string == "ann" && mixed["consumer"]?.string == "app" && mixed["tenant"]?.string == "acme")
    #expect(mixed["groups"]?.sourceText == "[\"g\",\"h\",\"gold\"]")
  }

  @Test("Who is nobody has a token where the configuration names them")
  func nobody() throws {
    let bench = try bench(options: ", anonymous: \"nobody\"")
    let said = try claims(token(bench.send("GET / HTTP/1.1\nHost: a")), shared(bench))
    #expect(said["sub"]?.string == "nobody" && said["idp"] == nil && said["consumer"] == nil)
  }

  @Test("A token serves its caller for a quarter of its lifetime")
  func remembered() throws {
    let issuer = try TestIssuer()
    let bench = try bench(jwt(issuer), options: ", lifetime: \"40s\"")
    let shown = try issuer.token("\"sub\":\"ann\"")
    let first = try #require(token(bench.send(bearing(shown))))
    bench.world.advance(seconds: 10)
    // Another token of the same caller is the same caller.
    #expect(token(bench.send(bearing(shown))) == first)
    #expect(token(bench.send(bearing(try issuer.token("\"sub\":\"ann\",\"jti\":\"2\"")))) == first)
    bench.world.advance(seconds: 0.001)
    let second = try #require(token(bench.send(bearing(shown))))
    #expect(second != first)
    #expect(try claims(second, shared(bench))["iat"]?.integer == Int64(TestIssuer.now) + 10)
  }

  @Test(
    "Callers who differ in anything that is told do not share a token",
    arguments: [
      "\"sub\":\"bob\"", "\"sub\":\"ann\",\"azp\":\"x\"", "\"sub\":\"ann\",\"roles\":[\"r\"]",
      "\"sub\":\"ann\",\"email\":\"e\"",
      "\"sub\":\"ann\",\"scope\":\"s\"", "\"sub\":\"ann\",\"groups\":[\"r\"]", "\"azp\":\"ann\"",
    ])
  func apart(other: String) throws {
    let issuer = try TestIssuer()
    let bench = try bench(jwt(issuer), options: ", claims: { email: \"email\" }")
    let ann = token(bench.send(bearing(try issuer.token("\"sub\":\"ann\""))))
    let second = token(bench.send(bearing(try issuer.token(other))))
    #expect(ann != nil && second != nil && ann != second)
  }

  @Test("Policies do not share tokens, and each signs with its own key")
  func ownKey() throws {
    let (issuer, signer) = (try TestIssuer(), try TokenSigner.fresh(.es256))
    let pem = String(decoding: try #require(signer.privateText), as: UTF8.self).replacing("\n", with: "\\n")
    let bench = try bench(
      "{ type: \"identity-token\", \(Self.issuer), header: \"X-Two\", key: \"\(pem)\" }",
      "{ type: \"identity-token\", \(Self.issuer), header: \"X-Three\", key: \"\(pem)\", keyId: \"mine\" }", jwt(issuer)
    )
    let outcome = bench.send(bearing(try issuer.token("\"sub\":\"ann\"")))
    #expect(try claims(token(outcome), shared(bench))["sub"]?.string == "ann")
    // Fresh keys are called by their thumbprints.
    #expect(try claims(token(outcome, field: "X-Two"), signer.verifyingKey)["sub"]?.string == "ann")
    let third = Array(try #require(token(outcome, field: "X-Three")).utf8)
    let named = try CompactToken(RawSpan(third))
    #expect(named.keyID?.array == Array("mine".utf8))
  }

  @Test("All nodes of a cluster sign with one key, those of others with another")
  func cluster() throws {
    let keys = try ["a", "a", "b"].map { secret in
      try Bench(secrets: NodeSecrets(secret: Array(secret.utf8))).services.signer(for: "identity-token").verifyingKey
    }
    #expect(keys[0].keyID == keys[1].keyID && keys[0].keyID != keys[2].keyID && keys[0].keyID == keys[0].thumbprint)
  }
}
