import Core
import Glibc
import HTTP
import Net

/// Asks the admin port of a node one thing, for verbs: one request, one answer, one connection.
struct AdminClient {
  /// Why there is no answer.
  struct Failure: Error, Equatable {
    /// What, and what to do about it.
    let message: String
  }

  /// The option by which a verb is told where to ask.
  static let option = Option(
    "--admin", value: "ADDRESS", "the admin port of a node (SLUICE_ADMIN, or 127.0.0.1:9901)")

  /// What the help of such a verb says of it.
  static let note = "The token for it comes from SLUICE_ADMIN_TOKEN."

  private static let timeout = Duration.seconds(10)

  /// Where it asks, as the user wrote it.
  let place: String
  private let address: AddressText
  private let token: String?

  /// A client for what the arguments say, or the environment.
  init(_ arguments: Arguments) throws(UsageError) {
    try self.init(
      place: arguments.value("--admin") ?? Self.variable("SLUICE_ADMIN") ?? "127.0.0.1:9901",
      token: Self.variable("SLUICE_ADMIN_TOKEN"))
  }

  /// A client for the port at `place`.
  init(place: String, token: String?) throws(UsageError) {
    let bare = place.hasPrefix("http://") ? String(place.dropFirst(7)) : place
    guard let address = AddressText(bare) else {
      throw UsageError("\(place) is no address of an admin port; write it like 127.0.0.1:9901 or unix:/run/admin.sock")
    }
    if let token, token.utf8.contains(where: { $0 <= 32 || $0 >= 127 }) {
      throw UsageError("SLUICE_ADMIN_TOKEN holds characters that no token has; set it anew")
    }
    self.place = place
    self.address = address
    self.token = token
  }

  private static func variable(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    let text = unsafe String(cString: value)
    return text.isEmpty ? nil : text
  }

  /// One question to the port.
  struct Request {
    /// The method.
    var method = Method.get
    /// The path, encoded.
    var path: String
    /// The query; parameters without a value are left out.
    var parameters: [(name: String, value: String?)] = []
    /// Further fields; names and values as they are sent.
    var fields: [(name: String, value: String)] = []
    /// The media type of ``body``.
    var contentType = "application/json"
    /// The body; nil for none.
    var body: [UInt8]?
  }

  /// What the port answered.
  struct Answer {
    /// The status.
    let status: Int
    /// The entity tag, as the node wrote it; nil where there is none.
    let tag: String?
    /// The body.
    let body: [UInt8]

    /// The body as JSON; nil where it is none.
    var json: JSONValue? { JSONDocument.parse(body, dialect: .strict).document?.root }
  }

  /// The JSON that a GET of `path` with these parameters returns. A problem document becomes a failure.
  func get(_ path: String, _ parameters: [(name: String, value: String?)] = []) throws(Failure) -> [UInt8] {
    let answer = try send(Request(path: path, parameters: parameters))
    guard answer.status != 200 else { return answer.body }
    throw failure(answer)
  }

  /// Asks, and returns whatever is answered.
  func send(_ request: Request) throws(Failure) -> Answer {
    var query = ""
    for (name, value) in request.parameters {
      if let value { query += "\(query.isEmpty ? "?" : "&")\(name)=\(PercentText.encoded(value))" }
    }
    let host: String
    switch address {
    case .name(let name, let port): host = "\(name):\(port)"
    case .socket(.unix): host = "localhost"
    case .socket(let socket): host = socket.description
    }
    var head = "\(request.method.name) \(request.path)\(query) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n"
    if let token { head += "Authorization: Bearer \(token)\r\n" }
    for field in request.fields { head += "\(field.name): \(field.value)\r\n" }
    if let body = request.body {
      head += "Content-Type: \(request.contentType)\r\nContent-Length: \(body.count)\r\n"
    }
    let answer = try ask(Array((head + "\r\n").utf8) + (request.body ?? []))
    let response = ResponseHead()
    guard case .complete(let headCount) = response.parse(answer, limits: HeadLimits()),
      case .length(let count) = response.framing(for: request.method), answer.count == headCount + Int(count)
    else { throw Failure(message: "\(place) did not answer as an admin port does; is that its address?") }
    let tag = response.firstIndex(of: .etag).map { index in
      unsafe response.value(of: index).withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
    }
    return Answer(status: Int(response.status), tag: tag, body: Array(answer.array[headCount...]))
  }

  /// Why a request was refused, in words.
  func failure(_ answer: Answer) -> Failure { Failure(message: Self.refusal(answer.status, answer.body)) }

  private static func refusal(_ status: Int, _ body: [UInt8]) -> String {
    let root = JSONDocument.parse(body, dialect: .strict).document?.root
    guard let title = root?["title"]?.string, let detail = root?["detail"]?.string else {
      return "the node answered \(status)"
    }
    let hint = status == 401 ? " Set SLUICE_ADMIN_TOKEN." : ""
    return "\(title) (\(status)): \(detail)\(hint)"
  }

  private func ask(_ request: [UInt8]) throws(Failure) -> ByteBuffer {
    var socket: SocketAddress
    switch address {
    case .socket(let known): socket = known
    case .name(let name, let port):
      let (found, reason) = BenchResolver.resolve(name)
      guard let found else { throw Failure(message: "cannot find \(name): \(reason)") }
      socket = .ip(found, port: port)
    }
    do throws(NetworkError) {
      let loop = try EventLoop()
      var call = AdminCall(world: loop, request: request, deadline: loop.now + Self.timeout)
      try call.connect(to: socket)
      try loop.run(&call)
      if let failure = call.failure { throw failure }
      return call.answer
    } catch {
      throw Failure(
        message: "cannot reach the admin port at \(place): \(error.explanation); name it with --admin or SLUICE_ADMIN")
    }
  }
}

/// One request on a connection of its own, until the server closes it.
private struct AdminCall: EventHandler {
  typealias Message = Never

  let world: EventLoop
  let deadline: Instant
  private(set) var isRunning = true
  private(set) var failure: NetworkError?
  let answer = ByteBuffer()
  private let output = ByteBuffer()
  private var socket = Socket.none
  private var isConnected = false

  init(world: EventLoop, request: [UInt8], deadline: Instant) {
    self.world = world
    self.deadline = deadline
    output.append(request)
  }

  mutating func connect(to address: SocketAddress) throws(NetworkError) {
    socket = try world.connect(to: address, token: 1)
  }

  mutating func ready(token: UInt64, _ readiness: Readiness) {
    if !isConnected {
      if let failure = world.connectFailure(socket) { return end(failure) }
      isConnected = true
    }
    let output = output
    while !output.isEmpty {
      guard case .count(let count) = world.send(socket, output.bytes) else { break }
      output.consume(count)
    }
    while isRunning {
      switch world.receive(socket, into: answer, limit: 65_536) {
      case .count: continue
      case .wouldBlock: return
      case .ended: end(nil)
      case .failed(let error): end(error)
      }
    }
  }

  mutating func receive(_ message: Never) {}

  mutating func endTurn() -> Instant {
    if isRunning, world.now >= deadline { end(.timedOut) }
    return deadline
  }

  private mutating func end(_ failure: NetworkError?) {
    self.failure = failure
    isRunning = false
    world.close(socket, reset: false)
  }
}
