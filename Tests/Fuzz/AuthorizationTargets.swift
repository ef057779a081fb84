import Cluster
import Core
import Crypto
import HTTP
import Pipeline
import Policies

/// What strangers send to the authorization server.
enum AuthorizationTargets {
  private static let addresses = ["https://app.example/callback", "http://127.0.0.1/back", "http://[::1]/back"]

  private static let chain: PolicyChain = {
    let text = """
      { issuer: "https://id.example/oauth2", audience: "api", clients: [
        { id: "web", sha256: "\(String(repeating: "0f", count: 32))", grants: ["authorization_code", "refresh_token"],
          redirectURIs: ["\(addresses[0])", "\(addresses[1])"], scopes: ["read"] },
        { id: "native", grants: ["authorization_code"], redirectURIs: ["\(addresses[2])"] } ] }
      """
    let session = OptionSession(text: Array(text.utf8)) { _ in .failure(SecretFault("none")) }
    guard let document = JSONDocument.parse(Array(text.utf8)).document else { preconditionFailure("no options") }
    var reader = OptionReader(document.root, session: session)
    guard let step = Registry.make(type: OAuth2Server.name, options: &reader), session.diagnostics.isEmpty else {
      preconditionFailure("no server")
    }
    return PolicyChain([step])
  }()

  /// The first line is a query for the authorization endpoint, the third a form for the token endpoint, and the second
  /// the field `Authorization` beside it. Nobody who is not logged in gets a code, nobody without a secret a token, and
  /// no browser is sent to an address that nobody has registered.
  @Sendable
  static func request(_ bytes: RawSpan) {
    let lines = bytes.array.split(separator: 10, maxSplits: 2, omittingEmptySubsequences: false).map { Array($0) }
    let query = lines[0].filter { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "#") }
    let authorization = (lines.count > 1 ? lines[1] : []).filter { $0 >= 0x20 && $0 < 0x7f }
    run("GET /oauth2/authorize?\(String(decoding: query, as: UTF8.self)) HTTP/1.1", [], isToken: false)
    let field = authorization.isEmpty ? "" : "\r\nAuthorization: \(String(decoding: authorization, as: UTF8.self))"
    let head = "POST /oauth2/token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\(field)"
    run(head, lines.count > 2 ? lines[2] : [], isToken: true)
  }

  /// A record of a registered client: whatever is read is written again as the same client.
  @Sendable
  static func registeredClient(_ bytes: RawSpan) {
    let rules = OAuthClientRules(issuer: "https://id.example/oauth2", audience: "api")
    guard let client = RegisteredClient(bytes.array, server: rules), let record = client.record else { return }
    guard let again = RegisteredClient(record, server: rules) else { preconditionFailure("what is written is read") }
    precondition(again.id == client.id && again.created == client.created && again.formerEnds == client.formerEnds)
    precondition(again.isConfidential == client.isConfidential && again.record == record)
  }

  private static func run(_ head: String, _ body: [UInt8], isToken: Bool) {
    let quota = EmbeddedQuota(store: CounterStore(capacity: 64), subjectKey: SipKey(low: 1, high: 2))
    let services = Services(
      world: IdleWorld(), quota: quota, keyRing: KeyRing(), routes: RouteNames([]), hasher: SHA256())
    var exchange = Exchange()
    exchange.head.append(utf8: head + "\r\nHost: id.example\r\n\r\n")
    let request = RequestHead()
    guard case .complete = request.parse(exchange.head, limits: HeadLimits()) else { return }
    var verdict = chain.run(&exchange, request, services)
    if case .gather = verdict {
      guard body.count <= exchange.gatherLimit else { return }
      exchange.keepGathered()
      exchange.gatheredBody?.append(body)
      verdict = chain.resume(&exchange, request, services)
    }
    let fields = (exchange.responseFieldsIfAny?.text ?? "").split(separator: "\r\n").map(String.init)
    // Whatever was sent, a field is one line.
    precondition(fields.allSatisfy { $0.contains(": ") && !$0.contains("\n") && !$0.contains("\r") })
    switch verdict {
    case .reply where isToken: precondition(exchange.replyStatus == 400 || exchange.replyStatus == 401)
    case .reply where exchange.replyStatus == 303:
      let target = fields.first { $0.hasPrefix("Location: ") }.map { String($0.dropFirst(10)) } ?? ""
      precondition(target.contains("?error=") && !target.contains("code="))
      let own = target.prefix { $0 != "?" }
      precondition(addresses.contains(String(own)) || isLoopback(own))
    case .reply: precondition(exchange.replyStatus == 400)
    case .refuse(let refusal): precondition([401, 404, 429].contains(refusal.status))
    case .next, .wait, .gather: preconditionFailure("it always answers")
    }
  }

  /// Whether it is one of the addresses of the machine itself with a port.
  private static func isLoopback(_ address: Substring) -> Bool {
    for host in ["http://127.0.0.1:", "http://[::1]:"] where address.hasPrefix(host) {
      return address.dropFirst(host.count).drop { $0.isNumber } == "/back"
    }
    return false
  }
}

/// A world in which nothing happens.
private final class IdleWorld: World {
  let now = Instant(nanoseconds: 1)
  let previousTurnNanoseconds: Int64 = 0
  let wallTime = WallTime(microseconds: 1_790_000_000_000_000)

  func random() -> UInt64 { 4 }
  func listen(_ address: SocketAddress, _ options: ListenOptions, token: UInt64) throws(NetworkError) -> Socket {
    throw .notPermitted
  }
  func localAddress(of socket: Socket) -> SocketAddress? { nil }
  func accept(_ listener: Socket) -> AcceptResult { .wouldBlock }
  func connect(to address: SocketAddress, token: UInt64) throws(NetworkError) -> Socket { throw .notPermitted }
  func connectFailure(_ socket: Socket) -> NetworkError? { .notPermitted }
  func register(_ socket: Socket, token: UInt64) throws(NetworkError) { throw .notPermitted }
  func receive(_ socket: Socket, into buffer: ByteBuffer, limit: Int) -> TransferResult { .wouldBlock }
  func send(_ socket: Socket, _ bytes: RawSpan) -> TransferResult { .wouldBlock }
  func send(_ socket: Socket, _ first: RawSpan, _ second: RawSpan) -> TransferResult { .wouldBlock }
  func endSending(_ socket: Socket) {}
  func close(_ socket: Socket, reset: Bool) {}
}
