import Core
import Crypto
import Pipeline
import Policies
import Testing

@Suite("jwt")
struct JWTTests {
  private static let now = TestIssuer.now

  private func bench(_ issuer: TestIssuer, _ options: String = "", of more: String = "") throws -> Bench {
    let bench = try Bench(consumers: [Consumer(id: "mobile", tenant: "acme", groups: ["gold"])])
    #expect(try bench.use("{ type: \"jwt\", issuers: [\(issuer.options(more))]\(options) }") == [])
    return bench
  }

  // MARK: Refusals

  @Test("A request without a token is refused, and told how to send one")
  func missing() throws {
    let bench = try bench(TestIssuer())
    for request in ["GET / HTTP/1.1\nHost: a", "GET / HTTP/1.1\nHost: a\nAuthorization: Basic YTpi"] {
      let outcome = bench.send(request)
      #expect(outcome.verdict == "401" && outcome.code == "token-missing")
      #expect(outcome.responseFields == "WWW-Authenticate: Bearer realm=\"sluice\"\r\n")
    }
  }

  @Test("Two tokens are refused, whether or not both are good")
  func ambiguous() throws {
    let issuer = try TestIssuer()
    let token = try issuer.token()
    let outcome = try bench(issuer).send(bearing(token) + "\nAuthorization: Bearer \(token)")
    #expect(outcome.verdict == "400" && outcome.code == "token-ambiguous")
    let cookies = try bench(issuer, ", cookie: \"t\"").send("GET / HTTP/1.1\nHost: a\nCookie: t=\(token); t=\(token)")
    #expect(cookies.code == "token-ambiguous")
  }

  @Test(
    "What is no signed token is refused",
    arguments: [
      "", "a", "a.b", "a.b.c", "....", String(repeating: "a", count: 20_000),
      crafted(header: "{\"alg\":\"none\"}", payload: "{}", signature: []),
      crafted(header: "{\"alg\":\"none\"}", payload: "{}"), crafted(header: "{\"alg\":\"NONE\"}", payload: "{}"),
      crafted(header: "{}", payload: "{}"), crafted(header: "{\"alg\":\"ES256\"}", payload: "[]"),
      crafted(header: "{\"alg\":\"ES256\",\"alg\":\"none\"}", payload: "{}"),
      crafted(header: "{\"alg\":\"ES256\",\"crit\":[\"exp\"]}", payload: "{}"),
    ])
  func malformed(token: String) throws {
    let outcome = try bench(TestIssuer()).send(bearing(token))
    #expect(outcome.verdict == "401")
    #expect(outcome.code == "token-invalid" || token.isEmpty && outcome.code == "token-missing")
  }

  @Test("A token whose claims or signature were changed is refused")
  func changed() throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer)
    let parts = try issuer.token("\"sub\":\"ann\"").split(separator: ".").map(String.init)
    let other = try issuer.token("\"sub\":\"bob\"").split(separator: ".").map(String.init)
    #expect(bench.send(bearing("\(parts[0]).\(other[1]).\(parts[2])")).code == "token-invalid")
    #expect(bench.send(bearing("\(parts[0]).\(parts[1]).\(other[2])")).code == "token-invalid")
    #expect(bench.send(bearing("\(parts[0]).\(parts[1]).")).code == "token-invalid")
    #expect(bench.send(bearing(parts.joined(separator: "."))).verdict == "next")
  }

  @Test("A token of another key with the same name is refused, and one that brings its own key along")
  func foreignKey() throws {
    let (issuer, thief) = (try TestIssuer(), try TestIssuer())
    let bench = try bench(issuer)
    #expect(bench.send(bearing(try thief.token())).code == "token-invalid")
    let header = "{\"alg\":\"ES256\",\"kid\":\"one\",\"jwk\":\(thief.signer.publicText ?? "")}"
    let payload = "{\"iss\":\"\(issuer.name)\",\"aud\":\"orders\",\"exp\":\(Self.now + 60)}"
    let text = [header, payload].map { Base64URL.encode(Array($0.utf8)) }.joined(separator: ".")
    #expect(bench.send(bearing("\(text).\(try thief.token().split(separator: ".")[2])")).code == "token-invalid")
  }

  @Test("A public key does not serve as the secret of an HMAC")
  func confusion() throws {
    let issuer = try TestIssuer(.rs256)
    let secret = Array((issuer.signer.publicText ?? "").utf8)
    let forger = try TokenSigner(secret: secret, algorithm: .hs256, keyID: "one")
    let claims = "{\"iss\":\"\(issuer.name)\",\"aud\":\"orders\",\"exp\":\(Self.now + 60)}"
    let token = String(decoding: try forger.sign(RawSpan(Array(claims.utf8))), as: UTF8.self)
    #expect(try bench(issuer).send(bearing(token)).code == "token-untrusted")
    #expect(try bench(issuer).send(bearing(try issuer.token())).verdict == "next")
  }

  @Test(
    "A token of another issuer, for another audience, of another type or without what it needs is refused",
    arguments: [
      ("\"iss\":\"https://id.example/\"", "JWT", "token-untrusted"), ("\"iss\":1", "JWT", "token-untrusted"),
      ("\"aud\":\"users\"", "JWT", "token-untrusted"), ("\"aud\":[\"users\",\"ORDERS\"]", "JWT", "token-untrusted"),
      ("\"aud\":[]", "JWT", "token-untrusted"), ("\"aud\":null", "JWT", "token-untrusted"),
      ("", "logout+jwt", "token-untrusted"), ("", "dpop+jwt", "token-untrusted"),
      ("\"exp\":\"soon\"", "JWT", "token-invalid"), ("\"exp\":null", "JWT", "token-invalid"),
      ("\"exp\":-5", "JWT", "token-invalid"), ("\"nbf\":\"x\"", "JWT", "token-invalid"),
      ("\"iat\":[1]", "JWT", "token-invalid"),
    ])
  func untrusted(claims: String, type: String, code: String) throws {
    let issuer = try TestIssuer()
    let outcome = try bench(issuer).send(bearing(try issuer.token(claims, type: type)))
    #expect(outcome.verdict == "401" && outcome.code == code)
    #expect(outcome.responseFields == "WWW-Authenticate: Bearer realm=\"sluice\", error=\"invalid_token\"\r\n")
  }

  @Test(
    "Times are kept, with half a minute for clocks that differ",
    arguments: [
      ("\"exp\":\(now - 30)", "token-expired"), ("\"exp\":\(now - 29)", ""), ("\"exp\":\(now + 1).5", ""),
      ("\"exp\":1e300", ""), ("\"nbf\":\(now + 31)", "token-not-yet-valid"), ("\"nbf\":\(now + 30)", ""),
      ("\"iat\":\(now + 31)", "token-not-yet-valid"), ("\"iat\":\(now + 29)", ""),
    ])
  func times(claims: String, code: String) throws {
    let issuer = try TestIssuer()
    let outcome = try bench(issuer).send(bearing(try issuer.token(claims)))
    #expect(outcome.code == code && outcome.verdict == (code.isEmpty ? "next" : "401"))
  }

  @Test("A token that is older than it may be is refused, and one that does not say how old it is")
  func age() throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer, of: ", maxAge: \"5m\", leeway: \"0s\"")
    #expect(bench.send(bearing(try issuer.token())).code == "token-invalid")
    #expect(bench.send(bearing(try issuer.token("\"iat\":\(Self.now - 300)"))).code == "token-expired")
    let young = try issuer.token("\"iat\":\(Self.now - 299)")
    #expect(bench.send(bearing(young)).verdict == "next")
    bench.world.advance(seconds: 1)
    #expect(bench.send(bearing(young)).code == "token-expired")
  }

  @Test("Signatures other than those that are named are refused")
  func algorithms() throws {
    let issuer = try TestIssuer(.rs256)
    let named = try bench(issuer, of: ", algorithms: [\"PS256\"]").send(bearing(try issuer.token()))
    #expect(named.code == "token-untrusted")
    #expect(try bench(issuer, of: ", algorithms: [\"RS256\"]").send(bearing(try issuer.token())).verdict == "next")
  }

  @Test("Tokens need every scope that the route wants, and clients are told which")
  func scopes() throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer, ", scopes: [\"orders:read\", \"orders:write\"]")
    let outcome = bench.send(bearing(try issuer.token("\"scope\":\"orders:read profile\"")))
    #expect(outcome.verdict == "403" && outcome.code == "insufficient-scope")
    let challenge = "error=\"insufficient_scope\", scope=\"orders:read orders:write\""
    #expect(outcome.responseFields == "WWW-Authenticate: Bearer realm=\"sluice\", \(challenge)\r\n")
    for claims in ["\"scope\":\"orders:write orders:read\"", "\"scp\":[\"orders:write\",\"orders:read\"]"] {
      #expect(bench.send(bearing(try issuer.token(claims))).verdict == "next")
    }
  }

  @Test("A token of nobody whom the configuration knows is refused where tokens stand for consumers")
  func consumers() throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer, of: ", claims: { consumer: \"app\" }")
    for claims in ["", "\"app\":\"web\"", "\"app\":[\"mobile\"]"] {
      #expect(bench.send(bearing(try issuer.token(claims))).code == "consumer-not-allowed")
    }
    #expect(bench.send(bearing(try issuer.token("\"app\":\"mobile\""))).consumer == 0)
  }

  @Test("Without a token a request may pass where it is optional, with a wrong one it may not")
  func optional() throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer, ", optional: true")
    #expect(bench.send(bearing("a.b.c")).code == "token-invalid")
    bench.send("GET / HTTP/1.1\nHost: a", keep: { #expect($0.identity == nil) }).expectNext()
  }

  @Test("An address that sends wrong tokens is soon not listened to, but for tokens that are known to be good")
  func failures() throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer, ", failuresPerAddress: 5")
    let (known, fresh) = (try issuer.token("\"sub\":\"ann\""), try issuer.token("\"sub\":\"bob\""))
    #expect(bench.send(bearing(known)).verdict == "next")
    for _ in 0..<5 { #expect(bench.send(bearing("a.b.c")).code == "token-invalid") }
    for token in ["a.b.c", fresh] {
      let outcome = bench.send(bearing(token))
      #expect(outcome.verdict == "429" && outcome.code == "too-many-failures" && outcome.retryAfter == 1)
    }
    #expect(bench.send(bearing(known)).verdict == "next")
    #expect(bench.send(bearing(fresh), from: "192.0.2.9").verdict == "next")
    bench.world.advance(seconds: 2.1)
    #expect(bench.send(bearing("a.b.c")).code == "token-invalid")
    #expect(bench.send(bearing("a.b.c")).code == "too-many-failures")
  }

  // MARK: Good tokens

  @Test(
    "Every algorithm is verified by its key",
    arguments: [SignatureAlgorithm.rs256, .rs512, .ps256, .es256, .es384, .es512, .edDSA])
  func every(algorithm: SignatureAlgorithm) throws {
    let issuer = try TestIssuer(algorithm)
    #expect(try bench(issuer).send(bearing(try issuer.token())).verdict == "next")
  }

  @Test("A shared secret verifies HMACs, and nothing else does")
  func secret() throws {
    let secret = String(repeating: "s3cret", count: 8)
    let bench = try Bench()
    let options = "{ type: \"jwt\", issuers: [{ issuer: \"i\", audiences: [\"*\"], secret: \"\(secret)\" }] }"
    #expect(try bench.use(options) == [])
    let claims = RawSpan(Array("{\"iss\":\"i\",\"exp\":\(Self.now + 60)}".utf8))
    let signer = try TokenSigner(secret: Array(secret.utf8))
    #expect(bench.send(bearing(String(decoding: try signer.sign(claims), as: UTF8.self))).verdict == "next")
    let other = try TokenSigner(secret: Array(secret.utf8.reversed()))
    #expect(bench.send(bearing(String(decoding: try other.sign(claims), as: UTF8.self))).code == "token-invalid")
    let key = try TokenSigner.fresh(.es256)
    #expect(bench.send(bearing(String(decoding: try key.sign(claims), as: UTF8.self))).code == "token-untrusted")
  }

  @Test("A token says who it is; the upstream gets neither it nor what clients say of themselves")
  func identity() throws {
    let issuer = try TestIssuer()
    let claims =
      "\"sub\":\"ann\",\"azp\":\"app\",\"scope\":\"a b\",\"realm\":{\"roles\":[\"ops\",7,\"dev\"]},\"groups\":[\"g\"],\"org\":{\"id\":7}"
    let bench = try bench(
      issuer,
      ", headers: { \"X-User\": \"sub\", \"X-Org\": \"org.id\", \"X-Roles\": \"realm.roles\", \"X-No\": \"none\" }",
      of: ", tenant: \"acme\", claims: { roles: \"realm.roles\" }")
    let request = bearing(try issuer.token(claims)) + "\nX-User: root\nx_org: 1\nX-Consumer-Id: root\nAccept: */*"
    let outcome = bench.send(request) { exchange in
      let identity = exchange.identity
      #expect(identity?.issuer == issuer.name && identity?.subject == "ann" && identity?.client == "app")
      #expect(identity?.roles == ["ops", "dev"] && identity?.groups == ["g"] && identity?.scopes == ["a", "b"])
      #expect(identity?.tenant == "acme")
    }
    #expect(outcome.verdict == "next" && outcome.passed == ["host", "accept"])
    #expect(outcome.requestFields.split(separator: "\r\n").sorted() == ["X-Org: 7", "X-Roles: ops,dev", "X-User: ann"])
  }

  @Test("A claim that would end its field, or begin another, is not sent")
  func injection() throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer, ", headers: { \"X-User\": \"sub\" }")
    let outcome = bench.send(bearing(try issuer.token("\"sub\":\"ann\\r\\nX-Admin: 1\"")))
    #expect(outcome.verdict == "next" && outcome.requestFields.isEmpty)
  }

  @Test("The upstream gets the token where it is to")
  func forwarded() throws {
    let issuer = try TestIssuer()
    let outcome = try bench(issuer, ", forward: true").send(bearing(try issuer.token()))
    #expect(outcome.passed == ["host", "authorization"])
  }

  @Test("A token comes in a field of its own or in a cookie, and leaves other cookies alone")
  func places() throws {
    let issuer = try TestIssuer()
    let token = try issuer.token()
    let field = try bench(issuer, ", header: \"X-Token\"")
    #expect(field.send("GET / HTTP/1.1\nHost: a\nX-Token: \(token)").passed == ["host"])
    #expect(field.send(bearing(token)).code == "token-missing")
    let cookie = try bench(issuer, ", cookie: \"session\"")
    let outcome = cookie.send("GET / HTTP/1.1\nHost: a\nCookie: a=1; session=\(token); xsession=2")
    #expect(outcome.verdict == "next" && outcome.passed == ["host"])
    #expect(outcome.requestFields == "Cookie: a=1; xsession=2\r\n")
    #expect(cookie.send("GET / HTTP/1.1\nHost: a\nCookie: session=\(token)").requestFields.isEmpty)
    #expect(cookie.send("GET / HTTP/1.1\nHost: a\nCookie: xsession=\(token)").code == "token-missing")
  }

  @Test("Several issuers stand side by side, each with its own keys")
  func issuers() throws {
    let (one, two) = (try TestIssuer(), try TestIssuer(name: "https://other.example"))
    let bench = try Bench()
    #expect(try bench.use("{ type: \"jwt\", issuers: [\(one.options()), \(two.options())] }") == [])
    #expect(bench.send(bearing(try one.token())).verdict == "next")
    #expect(bench.send(bearing(try two.token())).verdict == "next")
    #expect(bench.send(bearing(try two.token("\"iss\":\"\(one.name)\""))).code == "token-invalid")
  }

  @Test("A token that was good before is refused once it has expired", arguments: ["", ", cache: false"])
  func remembered(options: String) throws {
    let issuer = try TestIssuer()
    let bench = try bench(issuer, options)
    let token = try issuer.token("\"sub\":\"ann\"")
    for _ in 0..<3 { #expect(bench.send(bearing(token)).verdict == "next") }
    bench.world.advance(seconds: 89)
    #expect(bench.send(bearing(token)).verdict == "next")
    bench.world.advance(seconds: 1)
    #expect(bench.send(bearing(token)).code == "token-expired")
  }

  @Test("What one policy has found good is not good for another")
  func separate() throws {
    let issuer = try TestIssuer()
    let bench = try Bench()
    let token = try issuer.token()
    try bench.use("{ type: \"jwt\", issuers: [\(issuer.options())] }")
    #expect(bench.send(bearing(token)).verdict == "next")
    try bench.use(
      "{ type: \"jwt\", issuers: [{ issuer: \"\(issuer.name)\", audiences: [\"users\"], jwks: \"\(issuer.keys.replacing("\"", with: "\\\""))\" }] }"
    )
    #expect(bench.send(bearing(token)).code == "token-untrusted")
  }

  // MARK: Waiting

  @Test("A token whose issuer's keys are not there yet waits for them, beside a certificate that is known already")
  func waits() throws {
    let issuer = try TestIssuer()
    let world = StillWorld()
    var asked = 0
    let book = IssuerBook(world: world) { _ in
      asked += 1
      return true
    }
    let bench = try Bench(issuers: book)
    let options = "{ issuer: \"\(issuer.name)\", audiences: [\"orders\"] }"
    #expect(try bench.use("{ type: \"mtls\", optional: true }", "{ type: \"jwt\", issuers: [\(options)] }") == [])
    let token = try issuer.token()
    for certificate in [nil, try TestCertificates.workload()] {
      var exchange = Exchange()
      exchange.ticket = 7
      exchange.certificate = certificate
      #expect(bench.begin(bearing(token), &exchange).isWait)
      // No answer came, and nobody may be asked again so soon.
      book.take(IssuerNews(try source(issuer), nil, asksAgainAt: .never))
      guard case .refuse(let refusal) = bench.chain.resume(&exchange, bench.request, bench.services) else {
        Issue.record("it is not refused")
        return
      }
      #expect("\(refusal.code)" == "issuer-unavailable")
      book.take(IssuerNews(try source(issuer), nil, asksAgainAt: world.now))
    }
    #expect(asked == 2)
    let keys = IssuerKeys(try JSONWebKeySet(Array(issuer.keys.utf8)), fetchedAt: world.wallTime)
    var exchange = Exchange()
    exchange.certificate = try TestCertificates.workload()
    #expect(bench.begin(bearing(token), &exchange).isWait)
    book.take(IssuerNews(try source(issuer), keys, asksAgainAt: .never))
    #expect(bench.chain.resume(&exchange, bench.request, bench.services).isNext)
    #expect(bench.send(bearing(token)).verdict == "next")
    // Other keys are there: what was remembered is verified anew.
    let others = IssuerKeys(try JSONWebKeySet(Array(try TestIssuer().keys.utf8)), fetchedAt: world.wallTime)
    book.take(IssuerNews(try source(issuer), others, asksAgainAt: .never))
    #expect(bench.send(bearing(token)).code == "token-invalid")
  }

  private func source(_ issuer: TestIssuer) throws -> KeySource { .discovery(of: issuer.name) }

  // MARK: Limits

  @Test("Subjects are counted apart, and together by a claim; issuers are never mixed up")
  func counted() throws {
    let (one, two) = (try TestIssuer(), try TestIssuer(name: "https://other.example"))
    func bench(_ per: String) throws -> Bench {
      let bench = try Bench()
      let limit = "{ type: \"rate-limit\", limits: [{ per: \"\(per)\", window: \"2/1m\" }] }"
      #expect(try bench.use("{ type: \"jwt\", issuers: [\(one.options()), \(two.options())] }", limit) == [])
      return bench
    }
    let (ann, bob) = (try one.token("\"sub\":\"ann\",\"org\":\"x\""), try one.token("\"sub\":\"bob\",\"org\":\"x\""))
    let stranger = try two.token("\"sub\":\"ann\",\"org\":\"x\"")
    for per in ["consumer", "key"] {
      let bench = try bench(per)
      #expect(
        [ann, ann, ann, bob, stranger].map { bench.send(bearing($0)).verdict } == [
          "next", "next", "429", "next", "next",
        ])
    }
    let claim = try bench("claim:org")
    #expect([ann, bob, ann, stranger].map { claim.send(bearing($0)).verdict } == ["next", "next", "429", "next"])
    let absent = try bench("claim:team")
    #expect([ann, bob, ann].map { absent.send(bearing($0)).verdict } == ["next", "next", "429"])
  }

  // MARK: Options

  @Test(
    "Options that would leave a hole are refused",
    arguments: [
      ("{ issuer: \"i\", audiences: [] }", "empty"), ("{ issuer: \"i\" }", "audiences"),
      ("{ issuer: \"i\", audiences: [\"a\"] }", "no place to fetch keys from"),
      (
        "{ issuer: \"i\", audiences: [\"a\"], jwks: { url: \"http://id.example/keys\" } }",
        "no place to fetch keys from"
      ),
      ("{ issuer: \"i\", audiences: [\"a\"], secret: \"short\" }", "cannot be used"),
      ("{ issuer: \"i\", audiences: [\"a\"], jwks: \"{}\" }", "no keys"),
      ("{ issuer: \"i\", audiences: [\"a\"], jwks: \"x\", secret: \"y\" }", "exclude"),
      ("{ issuer: \"https://i\", audiences: [\"a\"], algorithms: [\"none\"] }", "none"),
      ("{ issuer: \"https://i\", audiences: [\"a\"], algorithms: [\"HS256\"] }", "needs a secret"),
    ])
  func options(issuer: String, message: String) throws {
    let remarks = try Bench().use("{ type: \"jwt\", issuers: [\(issuer)] }")
    #expect(remarks.contains { $0.contains(message) }, "\(remarks)")
  }
}

extension Verdict {
  fileprivate var isWait: Bool { if case .wait = self { true } else { false } }
  fileprivate var isNext: Bool { if case .next = self { true } else { false } }
}

extension Outcome {
  fileprivate func expectNext() { #expect(verdict == "next") }
}
