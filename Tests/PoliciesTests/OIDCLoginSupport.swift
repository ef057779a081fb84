import Core
import Crypto
import HTTP
import Pipeline
import Policies
import Testing

/// What a browser gets to see, and the upstream.
struct LoginAnswer {
  /// `next`, or the status.
  var verdict = ""
  /// The code of a refusal.
  var code = ""
  var fields = ""
  /// What the upstream gets beside the request's own fields.
  var requestFields = ""
  /// Names of the request's fields that go on, in lower case.
  var passed: [String] = []
  var identity: Identity?
  var consumer: Int32 = -1
  /// What was fetched for it.
  var fetched: [FetchRequest] = []

  /// Where it sends the browser.
  var location: String { field("Location") ?? "" }

  func field(_ name: String) -> String? {
    fields.split(separator: "\r\n").first { $0.hasPrefix("\(name): ") }.map { String($0.dropFirst(name.count + 2)) }
  }

  /// A parameter of the query of ``location``.
  func parameter(_ name: String) throws -> String? {
    let query = Array((location.split(separator: "?", maxSplits: 1).last ?? "").utf8)
    return try FormFields(RawSpan(query))[name]
  }
}

/// A provider of logins as a test wants it to be.
final class LoginTestProvider {
  let issuer: TestIssuer
  /// Whose document it shows.
  var documentIssuer = "https://id.example"
  /// What its document says beside what it must.
  var documentMore = ""
  /// What the ID token says beside `iss`, `aud`, `exp`, `iat`, `sub` and `nonce`; what is given here wins.
  var claims = ""
  /// What its answers say beside the tokens.
  var more = ",\"expires_in\":400"
  /// The next refresh token; none is given where this is nil.
  var refreshToken: String? = "first-refresh-token"
  var nonce = ""
  /// What the token endpoint answers instead.
  var tokenOutcome: FetchOutcome?
  var isDown = false
  /// Who signs in its place.
  var signer: TestIssuer?
  var sendsIDToken = true
  /// The keys that it publishes.
  var keys: String

  init() throws {
    issuer = try TestIssuer()
    keys = issuer.keys
  }

  static func form(_ request: FetchRequest) throws -> FormFields { try FormFields(RawSpan(request.body)) }

  func answer(_ request: FetchRequest) throws -> FetchOutcome {
    if isDown { return .failed("it is down") }
    switch request.url.target {
    case "/.well-known/openid-configuration": return json(200, document)
    case "/par": return json(201, "{\"request_uri\":\"urn:pushed:1\",\"expires_in\":60}")
    case "/token": return try tokenOutcome ?? json(200, tokens())
    default: return json(404, "{}")
    }
  }

  var document: String {
    let name = issuer.name
    return
      "{\"issuer\":\"\(documentIssuer)\",\"jwks_uri\":\"\(name)/keys\",\"authorization_endpoint\":\"\(name)/authorize\","
      + "\"token_endpoint\":\"\(name)/token\",\"end_session_endpoint\":\"\(name)/logout\"\(documentMore)}"
  }

  private func tokens() throws -> String {
    let idToken = sendsIDToken ? ",\"id_token\":\"\(try self.idToken())\"" : ""
    let refresh = refreshToken.map { ",\"refresh_token\":\"\($0)\"" } ?? ""
    return "{\"access_token\":\"an-access-token\",\"token_type\":\"Bearer\"\(more)\(refresh)\(idToken)}"
  }

  func idToken() throws -> String {
    var members = claims.isEmpty ? [] : [claims]
    let now = TestIssuer.now
    for (name, value) in [
      ("aud", "\"gateway\""), ("sub", "\"ann\""), ("iat", "\(now)"), ("nonce", "\"\(nonce)\""),
      ("exp", "\(now + 100_000)"),
    ] where !claims.contains("\"\(name)\"") { members.append("\"\(name)\":\(value)") }
    return try (signer ?? issuer).token(members.joined(separator: ","))
  }

  func json(_ status: UInt16, _ text: String) -> FetchOutcome {
    .answered(status: status, fields: [FetchField("content-type", "application/json")], body: Array(text.utf8))
  }
}

/// A site behind a login, and a browser with its cookies.
final class LoginBench {
  let bench: Bench
  let provider: LoginTestProvider
  /// The browser's cookies.
  var jar: [String: String] = [:]
  /// What the policy wanted revoked.
  var orders: [RevocationOrder] { orderBox.orders }
  private let orderBox: Orders
  /// The keys of issuers, where they are not in the configuration.
  let issuers: IssuerBook
  private let world = StillWorld()
  private var ticket: UInt64 = 6

  /// Where orders of revocations go.
  final class Orders {
    var orders: [RevocationOrder] = []
  }

  static let page = "Accept: text/html,*/*"

  init(
    _ provider: LoginTestProvider? = nil, _ options: String = "", client: String = "clientSecret: \"s3cret\"",
    inCluster: Bool = true, consumers: [Consumer] = [], instance: String = "policy-0", discoversKeys: Bool = false
  ) throws {
    let provider = try provider ?? LoginTestProvider()
    self.provider = provider
    let orders = Orders()
    orderBox = orders
    let clock = FactClock()
    let facts = LoopFacts(markKey: SipKey(low: 5, high: 6), clock: clock, bootTime: { 0 }) {
      orders.orders.append($0)
      return true
    }
    clock.verifiedAt = 0
    issuers = IssuerBook(world: world) { _ in true }
    bench = try Bench(consumers: consumers, facts: inCluster ? facts : nil, issuers: discoversKeys ? issuers : nil)
    var text = Self.policy(provider, options, client: client)
    if discoversKeys { text.replace(/jwks: ".*[^\\]"/, with: "leeway: \"30s\"") }
    let made = make(text, instance: instance)
    #expect(made.remarks == [])
    bench.chain = try Registry.chain(of: made.step.map { [$0] } ?? [])
  }

  static func policy(_ provider: LoginTestProvider, _ options: String, client: String) -> String {
    let keys = provider.issuer.keys.replacing("\"", with: "\\\"")
    return "{ type: \"oidc-login\", publicURL: \"https://app.example\", issuer: \"\(provider.issuer.name)\", "
      + "clientId: \"gateway\", \(client), jwks: \"\(keys)\"\(options.isEmpty ? "" : ", \(options)") }"
  }

  /// Has one thing revoked, as the cluster would.
  func revoke(_ kind: RevocationKind, _ name: String, issuedBefore: UInt32 = 0) {
    let mark = RevocationMark(kind, name, key: SipKey(low: 5, high: 6))
    var book = RevocationBook()
    _ = book.insert([Revocation(mark, issuedBefore: issuedBefore)])
    bench.services.facts?.view = FactView(revocations: book.current)
  }

  /// A request with the browser's cookies, and it keeps what it is told to; or one with these cookies by somebody else.
  func send(
    _ line: String = "GET /", _ fields: String = LoginBench.page, cookies: [String: String]? = nil, body: String = ""
  ) throws -> LoginAnswer {
    var text = "\(line) HTTP/1.1\nHost: app.example"
    if !fields.isEmpty { text += "\n\(fields)" }
    let shown = cookies ?? jar
    if !shown.isEmpty {
      text += "\nCookie: " + shown.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: "; ")
    }
    let answer = try run(text, body)
    guard cookies == nil else { return answer }
    for line in answer.fields.split(separator: "\r\n") where line.hasPrefix("Set-Cookie: ") { keep(line.dropFirst(12)) }
    return answer
  }

  private func keep(_ line: Substring) {
    let pair = line.prefix { $0 != ";" }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    jar[String(pair[0])] = line.contains("Max-Age=0") ? nil : String(pair[1])
    #expect(line.contains("; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age="))
  }

  private func run(_ text: String, _ body: String) throws -> LoginAnswer {
    var answer = LoginAnswer()
    var exchange = Exchange()
    ticket += 1
    exchange.ticket = ticket
    exchange.client = IPAddress("192.0.2.1") ?? IPAddress(v4: 0)
    var verdict: Verdict? = bench.begin(text, &exchange)
    while true {
      if case .gather = verdict {
        verdict = bench.gather(body, &exchange)
      } else if case .wait = verdict, let order = bench.fetches.orders.first {
        answer.fetched.append(order.request)
        #expect(order.request.message != nil)
        verdict = bench.answer(try provider.answer(order.request), &exchange)
      } else if case .wait = verdict, issuers.count > 0 {
        let keys = IssuerKeys(try JSONWebKeySet(Array(provider.keys.utf8)), fetchedAt: world.wallTime)
        issuers.take(IssuerNews(.discovery(of: provider.issuer.name), keys, asksAgainAt: .never))
        #expect(issuers.nextCalled() == ticket)
        verdict = bench.chain.resume(&exchange, bench.request, bench.services)
      } else {
        break
      }
    }
    switch verdict {
    case .next: answer.verdict = "next"
    case .reply: answer.verdict = "\(exchange.replyStatus)"
    case .refuse(let refusal): (answer.verdict, answer.code) = ("\(refusal.status)", "\(refusal.code)")
    case .wait, .gather, nil: answer.verdict = "stuck"
    }
    answer.fields = exchange.responseFieldsIfAny?.text ?? ""
    answer.requestFields = exchange.requestFieldsIfAny?.text ?? ""
    let request = bench.request
    for index in 0..<request.fieldCount where !request.field(index).isDropped {
      answer.passed.append(String(decoding: request.name(of: index).array, as: UTF8.self).lowercased())
    }
    (answer.identity, answer.consumer) = (exchange.identity, exchange.consumer)
    exchange.reset()
    return answer
  }

  /// Opens a page, and goes to the provider and back.
  @discardableResult
  func logIn(_ path: String = "/") throws -> LoginAnswer {
    let start = try send("GET \(path)")
    #expect(start.verdict == "302")
    provider.nonce = try start.parameter("nonce") ?? ""
    return try comeBack(try start.parameter("state") ?? "")
  }

  /// Comes back from the provider.
  func comeBack(_ state: String, _ more: String = "&code=a-code") throws -> LoginAnswer {
    try send("GET /oauth2/callback?state=\(state)\(more)")
  }

  /// The session, in all its parts.
  var session: [String: String] {
    jar.filter { $0.key.hasPrefix("__Host-sluice-session") && !$0.key.contains(".login.") }
  }
  /// The logins under way.
  var states: [String: String] { jar.filter { $0.key.contains(".login.") } }

  func advance(_ seconds: Double) { bench.world.advance(seconds: seconds) }
}
