import Cluster
import Core
import Crypto
import HTTP
import Pipeline
import Policies

/// What an authorization server has had revoked, and what a test has.
final class OrderBook {
  static let markKey = SipKey(low: 5, high: 6)

  private final class BootClock {
    var now: Int64 = 1
  }

  private let boot = BootClock()
  private let clock = FactClock()
  private var revocations = RevocationBook()
  private(set) var orders: [RevocationOrder] = []
  /// Nil until ``loop`` is first asked for.
  private var made: LoopFacts?

  var loop: LoopFacts {
    if let made { return made }
    catchUp()
    let bootTime = { [boot] in boot.now }
    let loop = LoopFacts(markKey: Self.markKey, clock: clock, bootTime: bootTime) { [unowned self] order in
      orders.append(order)
      revoke(order.kind, order.name)
      return true
    }
    made = loop
    return loop
  }

  func revoke(_ kind: RevocationKind, _ name: String) {
    _ = revocations.insert([Revocation(RevocationMark(kind, name, key: Self.markKey))])
    made?.view = FactView(revocations: revocations.current)
  }

  /// From now on the node may have missed something.
  func fallBehind() { boot.now += LoopFacts.bound + 1 }

  /// The node has heard of everything.
  func catchUp() { clock.verifiedAt = boot.now }
}

/// A store that answers later, or not at all.
final class SlowQuota: Quota {
  private let inner: EmbeddedQuota
  private var isPeeking = false
  /// How often it was asked.
  private(set) var questions = 0
  var isDown = false
  var isSlow = true

  init(_ store: CounterStore = CounterStore()) {
    inner = EmbeddedQuota(store: store, subjectKey: SipKey(low: 1, high: 2))
  }

  var subjectKey: SipKey { inner.subjectKey }
  func civilTime(now: Instant, wall: WallTime) -> WallTime { wall }

  func decide(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {
    ask(&question, now, civil, peeking: false)
  }

  func peek(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {
    ask(&question, now, civil, peeking: true)
  }

  private var moment = (now: Instant(nanoseconds: 0), civil: WallTime(microseconds: 0))

  private func ask(_ question: inout LimitQuestion, _ now: Instant, _ civil: WallTime, peeking: Bool) {
    questions += 1
    (isPeeking, moment) = (peeking, (now, civil))
    question.decision = .waiting
    if !isSlow { collect(&question, ticket: 0) }
  }

  func collect(_ question: inout LimitQuestion, ticket: UInt64) {
    if isDown {
      question.decision = .unavailable
    } else if isPeeking {
      inner.peek(&question, ticket: ticket, now: moment.now, civil: moment.civil)
    } else {
      inner.decide(&question, ticket: ticket, now: moment.now, civil: moment.civil)
    }
  }

  func release(_ question: inout LimitQuestion, now: Instant) {}
}

/// An authorization server with a few clients and users, and a browser that shows an API key.
struct AuthorizationBench {
  static let issuer = "https://id.example/oauth2"
  static let api = "https://api.example"
  static let callback = "https://app.example/callback"
  /// RFC 7636 appendix B.
  static let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
  static let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

  let bench: Bench
  let signer: TokenSigner

  static let web = "Basic " + Base64.encode(Array("web:secret-of-web".utf8))
  static let worker = "Basic " + Base64.encode(Array("worker:secret-of-worker".utf8))
  static let resourceServer = "Basic " + Base64.encode(Array("api:secret-of-api".utf8))

  init(
    _ options: String = "", quota: (any Quota)? = nil, facts: OrderBook? = nil,
    users: [Consumer] = AuthorizationBench.users, records: TestRecords = TestRecords()
  ) throws {
    signer = try TokenSigner.fresh(.es256, keyID: "one")
    bench = try Bench(consumers: users, quota: quota, facts: facts?.loop, records: records)
    let remarks = try bench.use("{ type: \"api-key\", optional: true }", Self.server(signer, options))
    precondition(remarks.isEmpty, "\(remarks)")
  }

  static let users = ["ann", "bob", "signer"].map {
    Consumer(id: $0, tenant: "acme", groups: ["gold"], keys: [ConsumerKey(id: "k", digest: digest("key-of-\($0)"))])
  }

  /// The options of the server.
  static func server(_ signer: TokenSigner, _ options: String = "") -> String {
    let key = (signer.publicText ?? "").replacing("\"", with: "\\\"")
    func secret(_ name: String) -> String { "sha256: \"\(digest("secret-of-\(name)").hexadecimal)\"" }
    return """
      { type: "oauth2-server", issuer: "\(issuer)", audience: "\(api)", clients: [
        { id: "web", name: "The <Web>", \(secret("web")), grants: ["authorization_code", "refresh_token"],
          redirectURIs: ["\(callback)", "https://app.example/with?query=1"], scopes: ["openid", "read", "write"],
          audiences: ["\(api)", "https://other.example"] },
        { id: "native", grants: ["authorization_code"], scopes: ["read"],
          redirectURIs: ["http://127.0.0.1/back", "http://[::1]/back", "com.example.app:/back", "http://localhost:7/x"] },
        { id: "worker", \(secret("worker")), grants: ["client_credentials"], scopes: ["read", "write"], consumer: "bob" },
        { id: "signer", publicKey: "{\\"keys\\":[\(key)]}", grants: ["client_credentials"], scopes: ["read"] },
        { id: "tv", name: "The <TV>", grants: ["device_code", "refresh_token"], scopes: ["read"] },
        { id: "box", \(secret("box")), grants: ["urn:ietf:params:oauth:grant-type:device_code"], scopes: ["read"] },
        { id: "api", \(secret("api")), grants: ["client_credentials"], introspects: true }
      ]\(options) }
      """
  }

  var records: TestRecords { bench.records }

  // MARK: Requests

  /// What a browser gets where somebody is logged in who holds the key.
  func get(_ path: String, as user: String? = nil) -> Outcome {
    bench.send("GET \(path) HTTP/1.1\nHost: id.example" + (user.map { "\nX-API-Key: key-of-\($0)" } ?? ""))
  }

  /// What a form gets; `waits` counts how often the answer had to be waited for.
  func post(
    _ path: String, _ form: String, as authorization: String? = nil, user: String? = nil,
    type: String? = "application/x-www-form-urlencoded", from client: String = "192.0.2.1", waits: inout Int
  ) -> Outcome {
    var exchange = Exchange()
    exchange.client = IPAddress(client) ?? exchange.client
    let fields = [
      authorization.map { "Authorization: \($0)" }, user.map { "X-API-Key: key-of-\($0)" },
      type.map { "Content-Type: \($0)" },
    ].compactMap { $0.map { "\n\($0)" } }.joined()
    var verdict = bench.begin("POST \(path) HTTP/1.1\nHost: id.example\(fields)", &exchange)
    if case .gather = verdict { verdict = bench.gather(form, &exchange) }
    while case .wait = verdict {
      waits += 1
      verdict = bench.goOn(&exchange)
    }
    return outcome(verdict, &exchange)
  }

  private func outcome(_ verdict: Verdict, _ exchange: inout Exchange) -> Outcome {
    var outcome = Outcome()
    switch verdict {
    case .reply: outcome.verdict = "\(exchange.replyStatus)"
    case .refuse(let refusal): (outcome.verdict, outcome.code) = ("\(refusal.status)", "\(refusal.code)")
    case .next, .wait, .gather: outcome.verdict = "\(verdict)"
    }
    outcome.responseFields = exchange.responseFieldsIfAny?.text ?? ""
    outcome.body = exchange.replyBodyIfAny?.text ?? ""
    return outcome
  }

  func post(
    _ path: String, _ form: String, as authorization: String? = nil, user: String? = nil,
    type: String? = "application/x-www-form-urlencoded", from client: String = "192.0.2.1"
  ) -> Outcome {
    var waits = 0
    return post(path, form, as: authorization, user: user, type: type, from: client, waits: &waits)
  }

  /// What a browser gets in the end where somebody is logged in who holds the key, or shows a token.
  func browse(_ path: String, as user: String? = nil, bearing token: String? = nil) -> Outcome {
    var exchange = Exchange()
    exchange.client = IPAddress("192.0.2.1") ?? exchange.client
    let fields = [user.map { "\nX-API-Key: key-of-\($0)" }, token.map { "\nAuthorization: Bearer \($0)" }]
    let head = "GET \(path) HTTP/1.1\nHost: id.example" + fields.compactMap { $0 }.joined()
    var verdict = bench.begin(head, &exchange)
    while case .wait = verdict { verdict = bench.goOn(&exchange) }
    return outcome(verdict, &exchange)
  }

  func token(_ form: String, as authorization: String? = web) -> Outcome {
    post("/oauth2/token", form, as: authorization)
  }

  // MARK: Grants

  /// The path of a request for a code; a parameter that is given replaces the usual one, one without a value goes.
  static func authorization(_ changes: [String: String] = [:]) -> String {
    var parameters = [
      "response_type": "code", "client_id": "web", "redirect_uri": callback, "state": "s t&1", "scope": "read write",
      "code_challenge": challenge, "code_challenge_method": "S256",
    ]
    parameters.merge(changes) { $1 }
    let query = parameters.sorted { $0.key < $1.key }.filter { !$0.value.isEmpty }
    return "/oauth2/authorize?" + query.map { "\($0.key)=\(PercentText.encoded($0.value))" }.joined(separator: "&")
  }

  func code(_ changes: [String: String] = [:], user: String = "ann") -> String {
    get(Self.authorization(changes), as: user).location["code"] ?? "none"
  }

  /// The form that redeems a code.
  static func redemption(_ code: String, address: String = callback, verifier: String = verifier) -> String {
    "grant_type=authorization_code&code=\(code)&redirect_uri=\(PercentText.encoded(address))&code_verifier=\(verifier)"
  }

  /// Tokens for a fresh code.
  func tokens(_ changes: [String: String] = [:]) -> Outcome { token(Self.redemption(code(changes))) }

  func refresh(_ text: String?, _ more: String = "") -> Outcome {
    token("grant_type=refresh_token&refresh_token=\(text ?? "none")\(more)")
  }

  func isActive(_ token: String?, as authorization: String = resourceServer) -> Bool {
    let outcome = post("/oauth2/introspect", "token=\(token ?? "none")", as: authorization)
    return outcome.json("active") == "true"
  }

  /// An assertion of the client `signer` with these claims beside the usual ones.
  func assertion(
    _ claims: [String: String] = [:], by other: TokenSigner? = nil, type: String = "JWT"
  ) throws -> String {
    var all = [
      "iss": "\"signer\"", "sub": "\"signer\"", "aud": "\"\(Self.issuer)\"", "exp": "\(TestIssuer.now + 60)",
      "jti": "\"1\"",
    ]
    all.merge(claims) { $1 }
    let members = all.filter { !$0.value.isEmpty }.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }
    let text = Array("{\(members.joined(separator: ","))}".utf8)
    return String(decoding: try (other ?? signer).sign(RawSpan(text), type: type), as: UTF8.self)
  }

  static func asserting(_ assertion: String) -> String {
    "grant_type=client_credentials&client_assertion=\(assertion)"
      + "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
  }
}

extension Outcome {
  /// A member of the body as text; nil where there is none.
  func json(_ name: String) -> String? { Outcome.member(name, Array(body.utf8)) }

  /// A claim of a token in the body.
  func claim(_ name: String, of token: String = "access_token") -> String? {
    guard let text = json(token) else { return nil }
    return Base64URL.decode(String(text.split(separator: ".")[1])).flatMap { Outcome.member(name, $0) }
  }

  private static func member(_ name: String, _ text: [UInt8]) -> String? {
    let value = JSONDocument.parse(text, dialect: .strict).document?.root[name]
    return value.map { $0.string ?? $0.sourceText }
  }

  var error: String { json("error") ?? code }

  /// The value of the field `Location`.
  var target: String {
    let line = responseFields.split(separator: "\r\n").first { $0.hasPrefix("Location: ") }
    return line.map { String($0.dropFirst(10)) } ?? ""
  }

  /// The parameters of the address that the browser is sent to.
  var location: [String: String] {
    let query = target.split(separator: "?", maxSplits: 1).dropFirst().first ?? ""
    let pairs = query.split(separator: "&").map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
    return Dictionary(pairs.map { ($0[0], PercentText.decoded($0.count > 1 ? $0[1] : "") ?? "") }) { first, _ in first }
  }
}
