import Core
import HTTP

/// One request over plain HTTP from the control loop, on a connection of its own; the whole answer is kept. It is bounded in
/// size by itself, and in time by its owner.
struct HTTPFetch {
  /// How far it has come.
  enum Progress: Equatable {
    case running
    /// The answer was 200, with this body.
    case done([UInt8])
    case failed(String)
  }

  /// Bytes of an answer's head, and of its body with all framing.
  private static let headLimit = 16_384
  private static let bodyLimit = 131_072

  private let world: any World
  private let socket: Socket
  private let request: [UInt8]
  private var isConnected = false
  private var sent = 0
  private let input = ByteBuffer()
  private var body: [UInt8] = []
  private var hasHead = false
  private var reader = BodyReader()

  /// Begins to send `request`, whole, head and body; it must say `Connection: close`.
  init(_ world: any World, to address: SocketAddress, token: UInt64, _ request: [UInt8]) throws(NetworkError) {
    self.world = world
    self.request = request
    socket = try world.connect(to: address, token: token)
  }

  /// The socket's connection is let go, whatever has become of it.
  func close() { world.close(socket, reset: true) }

  /// Goes on after an event of the socket.
  mutating func ready() -> Progress {
    if !isConnected {
      if let fault = world.connectFailure(socket) { return .failed("no connection: \(fault)") }
      isConnected = true
    }
    while sent < request.count {
      switch world.send(socket, RawSpan(request).extracting(droppingFirst: sent)) {
      case .count(let count): sent += count
      case .wouldBlock: return .running
      case .ended, .failed: return .failed("the connection broke")
      }
    }
    while true {
      switch world.receive(socket, into: input, limit: Self.headLimit) {
      case .count:
        let progress = read()
        if progress != .running { return progress }
      case .wouldBlock: return .running
      case .ended: return read(atEnd: true)
      case .failed: return .failed("the connection broke")
      }
    }
  }

  private mutating func read(atEnd: Bool = false) -> Progress {
    let input = input
    if !hasHead {
      let head = ResponseHead()
      switch head.parse(input, limits: HeadLimits(headBytes: Self.headLimit)) {
      case .incomplete: return atEnd ? .failed("the answer has no end") : .running
      case .refused: return .failed("the answer is not HTTP")
      case .complete(let count):
        guard head.status == 200 else { return .failed("the answer has status \(head.status)") }
        hasHead = true
        reader = BodyReader(head.framing(for: .post))
        input.consume(count)
      }
    }
    while !reader.isComplete {
      switch reader.next(input.bytes) {
      case .data(let skip, let count):
        body += input.bytes.extracting(skip..<skip + count).array
        input.consume(skip + count)
        guard body.count <= Self.bodyLimit else { return .failed("the answer is too long") }
      case .trailer(_, let consumed), .end(let consumed): input.consume(consumed)
      case .incomplete(let consumed):
        input.consume(consumed)
        guard atEnd else { return .running }
        return reader.endOfStream() ? .done(body) : .failed("the answer has no end")
      case .malformed: return .failed("the answer is not HTTP")
      }
    }
    return .done(body)
  }
}

/// A URL of plain HTTP, taken apart.
struct FetchTarget: Equatable {
  let host: String
  let port: UInt16
  /// What a request names: path and query.
  let path: String

  /// What a Host field says.
  var authority: String { (host.contains(":") ? "[\(host)]" : host) + (port == 80 ? "" : ":\(port)") }

  /// Takes `http://host[:port][/path]` apart; nil for anything else, and for what would not be one line of a request.
  init?(url: String) {
    let scheme = "http://"
    guard url.hasPrefix(scheme), url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x23 }) else { return nil }
    let rest = url.dropFirst(scheme.count)
    let authority = rest.prefix { $0 != "/" && $0 != "?" }
    let path = rest.dropFirst(authority.count)
    self.path = path.hasPrefix("/") ? String(path) : "/" + path
    guard !authority.isEmpty, !authority.contains("@") else { return nil }
    if let address = SocketAddress(String(authority)), case .ip(let ip, let port) = address {
      (host, self.port) = ("\(ip)", port)
      return
    }
    let bare = authority.hasPrefix("[") && authority.hasSuffix("]") ? authority.dropFirst().dropLast() : authority
    if let ip = IPAddress(String(bare)) {
      (host, port) = ("\(ip)", 80)
      return
    }
    let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count <= 2, !parts[0].isEmpty, let port = parts.count == 2 ? UInt16(parts[1]) : 80, port > 0 else {
      return nil
    }
    (host, self.port) = (String(parts[0]), port)
  }
}
