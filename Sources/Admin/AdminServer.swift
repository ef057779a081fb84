// The admin port: HTTP/1.1 on a loop of its own, so that a scrape or a large configuration never delays a request.
//
// It is small on purpose. Requests are rare, so each one is copied into plain values and handled by a function of the
// table `AdminRoute`; nothing here is tuned. It is strict where strangers can reach it: few connections, small heads,
// a time limit for everything, and no body is read before its sender has shown a token.

import Cluster
import Core
import Gateway
import HTTP
import Pipeline

/// Serves the admin API on one loop.
public struct AdminServer: EventHandler {
  /// What other threads may ask of it.
  public enum Message: Sendable {
    /// Close everything and end.
    case stop
    /// The tokens have changed. Ignored where that would leave a port that others can reach without any.
    case replaceAccess(AdminAccess)
    /// An operation that took its time has an answer for the request that a connection waits for.
    case answer(connection: UInt64, serial: UInt64, AdminResponse)
  }

  /// Why it does not begin to listen.
  public enum Failure: Error, Equatable, Sendable {
    /// The address can be reached from outside and there is no token.
    case unprotected(SocketAddress)
    /// The address cannot be listened on.
    case network(NetworkError)
  }

  /// Limits of the admin port.
  public enum Limit {
    /// Connections at the same time; beyond, idle ones give way, then new ones are closed.
    public static let connections = 64
    /// A head.
    public static let head = HeadLimits(requestLineBytes: 4_096, fieldCount: 64, headBytes: 16_384)
    /// A body, in bytes: a configuration of ten thousand routes has about three million.
    public static let bodyBytes = 16 << 20
    /// Between requests.
    public static let idle = Duration.seconds(75)
    /// For a head.
    public static let headTime = Duration.seconds(10)
    /// For a body.
    public static let bodyTime = Duration.seconds(60)
    /// For an operation to find its answer.
    public static let answerTime = Duration.seconds(5)
    /// For the client to take some of a response.
    public static let sendTime = Duration.seconds(30)
    /// For the client to close after the last response.
    public static let linger = Duration.seconds(2)
    /// Bytes thrown away while lingering.
    static let lingerBytes = 1 << 20
    /// Bytes received at once.
    static let receiveBytes = 64 * 1024
    /// Before accepting again after descriptors had run out.
    static let acceptPause = Duration.milliseconds(200)
  }

  private static let listenerToken: UInt64 = 0

  let world: any World
  let router: AdminRouter
  var access: AdminAccess
  /// Whether nobody beyond this machine can connect.
  private let mayBeOpen: Bool
  private let listener: Socket
  private var connections: [UInt64: AdminConnection] = [:]
  private var nextToken: UInt64 = 1
  private var nextSerial: UInt64 = 1
  /// Writes what was asked to be changed into the audit log.
  private var audit: AdminAudit
  /// Sends the server a message, from any thread.
  private let post: @Sendable (Message) -> Void
  private var acceptAgain = Instant.never
  private let head = RequestHead()
  /// Whether it goes on.
  public private(set) var isRunning = true

  /// Begins to listen. `routes` are what there is beside `/openapi.json`, which describes them; `post` sends a message to
  /// this server, for operations that answer later; `audit` is called, on this server's thread, for every request to change
  /// something once it has its answer.
  public init(
    _ world: any World, at address: SocketAddress, tokens: [AdminSettings.Token], routes: [AdminRoute], version: String,
    post: @escaping @Sendable (Message) -> Void, audit: @escaping @Sendable (AuditEntry) -> Void = { _ in }
  ) throws(Failure) {
    self.post = post
    self.audit = AdminAudit(audit)
    if case .ip(let ip, port: _) = address { mayBeOpen = ip.isLoopback } else { mayBeOpen = true }
    if tokens.isEmpty, !mayBeOpen { throw .unprotected(address) }
    self.world = world
    access = AdminAccess(tokens: tokens, at: address)
    router = AdminRouter(OpenAPIDocument.withItself(routes, version: version, hasTokens: !tokens.isEmpty))
    do {
      listener = try world.listen(address, ListenOptions(backlog: 128, sharesPort: false), token: Self.listenerToken)
    } catch {
      throw .network(error)
    }
  }

  /// Where it listens: the port that the kernel chose where the settings say 0.
  public var address: SocketAddress? { world.localAddress(of: listener) }

  /// Accepts, or goes on with the connection that became ready.
  public mutating func ready(token: UInt64, _ readiness: Readiness) {
    if token == Self.listenerToken { return acceptAll() }
    guard let connection = connections[token] else { return }
    if readiness != .writable { connection.isDrained = false }
    advance(token, connection)
  }

  /// Does what another thread asked for.
  public mutating func receive(_ message: Message) {
    switch message {
    case .replaceAccess(let access):
      // The address is the one it began with: new settings may be open because they name another.
      if !access.isOpen || mayBeOpen { self.access = access }
    case .answer(let token, let serial, let response):
      guard let connection = connections[token], case .waiting(serial, let request, let withBody) = connection.phase
      else { return }
      audit.note(request, response, now: world.now)
      answer(connection, response, withBody: withBody, closing: false)
      advance(token, connection)
    case .stop:
      isRunning = false
      for connection in connections.values { world.close(connection.socket, reset: false) }
      connections.removeAll()
      world.close(listener, reset: false)
    }
  }

  /// Ends what has taken too long; returns when the next time limit passes.
  public mutating func endTurn() -> Instant {
    guard isRunning else { return .never }
    if acceptAgain <= world.now { acceptAll() }
    audit.advance(world.now)
    for (token, connection) in connections where connection.deadline <= world.now { expire(token, connection) }
    return min(min(acceptAgain, audit.nextDue), connections.values.map(\.deadline).min() ?? .never)
  }

  // MARK: Connections

  private mutating func acceptAll() {
    acceptAgain = .never
    while true {
      switch world.accept(listener) {
      case .accepted(let socket, peer: _): admit(socket)
      case .wouldBlock: return
      case .failed: continue
      case .exhausted:
        acceptAgain = world.now + Limit.acceptPause
        return
      }
    }
  }

  private mutating func admit(_ socket: Socket) {
    if connections.count >= Limit.connections, !closeIdle() { return world.close(socket, reset: true) }
    let token = nextToken
    nextToken += 1
    guard (try? world.register(socket, token: token)) != nil else { return world.close(socket, reset: true) }
    connections[token] = AdminConnection(socket, deadline: world.now + Limit.headTime)
  }

  /// Closes the connection that has been idle for longest; false where none is idle.
  private mutating func closeIdle() -> Bool {
    let idle = connections.filter { if case .idle = $0.value.phase { true } else { false } }
    guard let oldest = idle.min(by: { $0.value.deadline < $1.value.deadline }) else { return false }
    close(oldest.key, oldest.value)
    return true
  }

  private mutating func close(_ token: UInt64, _ connection: AdminConnection, reset: Bool = false) {
    connections[token] = nil
    world.close(connection.socket, reset: reset)
  }

  private mutating func expire(_ token: UInt64, _ connection: AdminConnection) {
    switch connection.phase {
    case .idle, .sending, .lingering: close(token, connection)
    case .waiting(_, let request, let withBody):
      let response = AdminResponse.problem(AdminProblem.noAnswer, request.decision)
      audit.note(request, response, now: world.now)
      answer(connection, response, withBody: withBody, closing: false)
      advance(token, connection)
    case .head, .body:
      answer(connection, .problem(ProblemCatalogue.requestTimeout, nextDecision()), closing: true)
      advance(token, connection)
    }
  }

  // MARK: Requests

  /// Does what can be done now: sends what waits, then reads requests one after the other.
  private mutating func advance(_ token: UInt64, _ connection: AdminConnection) {
    while connections[token] != nil {
      switch connection.phase {
      case .waiting: return
      case .sending: if !flush(token, connection) { return }
      case .lingering: if !discard(token, connection) { return }
      case .idle, .head: if !readHead(token, connection), !fill(token, connection) { return }
      case .body(let route, let request, let framing):
        if !readBody(token, connection, route, request, framing), !fill(token, connection) { return }
      }
    }
  }

  /// Receives more; false where there is nothing more now, or ever.
  private mutating func fill(_ token: UInt64, _ connection: AdminConnection) -> Bool {
    if connection.peerEnded {
      close(token, connection)
      return false
    }
    if connection.isDrained { return false }
    switch world.receive(connection.socket, into: connection.input, limit: Limit.receiveBytes) {
    case .count(let count):
      if count < Limit.receiveBytes { connection.isDrained = true }
      if case .idle = connection.phase {
        connection.phase = .head
        connection.deadline = world.now + Limit.headTime
      }
      return true
    case .wouldBlock: connection.isDrained = true
    case .ended:
      connection.peerEnded = true
      close(token, connection)
    case .failed: close(token, connection, reset: true)
    }
    return false
  }

  /// Reads a head from the input; false where more must come.
  private mutating func readHead(_ token: UInt64, _ connection: AdminConnection) -> Bool {
    switch head.parse(connection.input, from: connection.scanned, limits: Limit.head) {
    case .incomplete:
      connection.scanned = connection.input.count
      return false
    case .refused(let fault):
      answer(connection, .problem(AdminProblem.of(fault), nextDecision()), closing: true)
    case .complete(let byteCount):
      begin(token, connection)
      connection.input.consume(byteCount)
    }
    connection.scanned = 0
    return true
  }

  /// Decides about the request whose head has just been read.
  private mutating func begin(_ token: UInt64, _ connection: AdminConnection) {
    connection.closesAfterResponse = !head.keepsAlive
    let isHead = head.method == .head
    var request = AdminRequest(head, time: world.wallTime, decision: nextDecision())
    switch AdminGate(router: router, access: access).judge(head, &request) {
    case .refuse(let response):
      audit.note(request, response, now: world.now)
      // A body that nobody will read would be taken for the next request.
      answer(connection, response, withBody: !isHead, closing: head.framing != .none)
    case .pass(let route):
      if case .length(let length) = head.framing, length > Int64(Limit.bodyBytes) {
        return refuse(connection, request, ProblemCatalogue.bodyTooLarge)
      }
      if head.framing == .none { return handle(token, connection, route, request, withBody: !isHead) }
      connection.body = []
      connection.chunks = ChunkedDecoder()
      connection.deadline = world.now + Limit.bodyTime
      connection.phase = .body(route, request, head.framing)
      if head.expectsContinue {
        connection.output.append("HTTP/1.1 100 Continue\r\n\r\n")
        _ = flushOutput(connection)
      }
    }
  }

  /// Has a complete request done.
  private mutating func handle(
    _ token: UInt64, _ connection: AdminConnection, _ route: AdminRoute, _ request: AdminRequest, withBody: Bool
  ) {
    if route.body?.isRequired == true, request.body.isEmpty {
      return refuse(connection, request, AdminProblem.bodyNeeded, closing: false)
    }
    switch route.handler {
    case .now(let handle):
      let response = handle(request)
      audit.note(request, response, now: world.now)
      answer(connection, response, withBody: withBody, closing: false)
    case .later(let begin):
      let serial = nextSerial
      nextSerial += 1
      connection.phase = .waiting(serial: serial, request, withBody: withBody)
      connection.deadline = world.now + Limit.answerTime
      let post = post
      begin(request, AdminReply { post(.answer(connection: token, serial: serial, $0)) })
    }
  }

  /// Reads more of a body; false where more must come.
  private mutating func readBody(
    _ token: UInt64, _ connection: AdminConnection, _ route: AdminRoute, _ request: AdminRequest, _ framing: BodyFraming
  ) -> Bool {
    switch connection.collect(framing, limit: Limit.bodyBytes) {
    case .incomplete: return false
    case .tooLarge:
      refuse(connection, request, ProblemCatalogue.bodyTooLarge)
    case .malformed(let fault):
      refuse(connection, request, AdminProblem.of(fault))
    case .complete:
      var request = request
      request.body = connection.body
      connection.body = []
      handle(token, connection, route, request, withBody: true)
    }
    return true
  }

  /// Refuses a request whose head was fine.
  private mutating func refuse(
    _ connection: AdminConnection, _ request: AdminRequest, _ problem: Problem, closing: Bool = true
  ) {
    let response = AdminResponse.problem(problem, request.decision)
    audit.note(request, response, now: world.now)
    answer(connection, response, closing: closing)
  }

  private func nextDecision() -> DecisionID { DecisionID(high: world.random(), low: world.random()) }

  // MARK: Responses

  private func answer(
    _ connection: AdminConnection, _ response: AdminResponse, withBody: Bool = true, closing: Bool
  ) {
    if closing { connection.closesAfterResponse = true }
    response.write(
      to: connection.output, time: world.wallTime, withBody: withBody, closes: connection.closesAfterResponse)
    connection.phase = .sending
    connection.deadline = world.now + Limit.sendTime
  }

  /// Sends what waits; false where the client does not take it now.
  private mutating func flush(_ token: UInt64, _ connection: AdminConnection) -> Bool {
    guard flushOutput(connection) else {
      close(token, connection, reset: true)
      return false
    }
    guard connection.output.isEmpty else { return false }
    connection.output.removeAll(keeping: 4_096)
    if connection.closesAfterResponse {
      world.endSending(connection.socket)
      connection.phase = .lingering
      connection.deadline = world.now + Limit.linger
    } else {
      connection.phase = connection.input.isEmpty ? .idle : .head
      connection.deadline = world.now + (connection.input.isEmpty ? Limit.idle : Limit.headTime)
    }
    return true
  }

  /// Sends as much as the kernel takes; false where the connection is broken.
  private func flushOutput(_ connection: AdminConnection) -> Bool {
    let output = connection.output
    while !output.isEmpty {
      switch world.send(connection.socket, output.bytes) {
      case .count(let count):
        output.consume(count)
        connection.deadline = world.now + Limit.sendTime
      case .wouldBlock: return true
      case .ended, .failed: return false
      }
    }
    return true
  }

  /// Throws away what still comes; always false, since nothing follows.
  private mutating func discard(_ token: UInt64, _ connection: AdminConnection) -> Bool {
    while connection.discarded < Limit.lingerBytes {
      connection.input.removeAll()
      switch world.receive(connection.socket, into: connection.input, limit: Limit.receiveBytes) {
      case .count(let count): connection.discarded += count
      case .wouldBlock: return false
      case .ended, .failed:
        close(token, connection)
        return false
      }
    }
    close(token, connection, reset: true)
    return false
  }
}
