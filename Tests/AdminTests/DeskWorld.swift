import Cluster
import Core
import Foundation
import Pipeline
import Synchronization

@testable import Admin
@testable import Gateway

/// A world that a test moves by hand: it connects, writes, reads and turns the clock.
final class DeskWorld: World {
  struct Wire {
    var token: UInt64 = 0
    var toServer: [UInt8] = []
    var toClient: [UInt8] = []
    /// How much the client's kernel still takes.
    var window = Int.max
    var clientEnded = false
    var serverEnded = false
    var isClosed = false
    var wasReset = false
  }

  var now = Instant(nanoseconds: 1_000_000_000)
  let previousTurnNanoseconds: Int64 = 0
  var wallTime = WallTime(microseconds: 1_795_300_200_000_000)
  var wires: [Wire] = []
  private var waiting: [Int32] = []
  private var drawn: UInt64 = 0
  private(set) var listening: SocketAddress?

  func random() -> UInt64 {
    drawn += 1
    return drawn
  }

  func listen(_ address: SocketAddress, _ options: ListenOptions, token: UInt64) throws(NetworkError) -> Socket {
    listening = address
    return Socket(descriptor: 1000)
  }

  func localAddress(of socket: Socket) -> SocketAddress? { listening }

  func accept(_ listener: Socket) -> AcceptResult {
    if waiting.isEmpty { return .wouldBlock }
    return .accepted(Socket(descriptor: waiting.removeFirst()), peer: .ip(IPAddress(v4: 0x7f00_0001), port: 9))
  }

  func connect(to address: SocketAddress, token: UInt64) throws(NetworkError) -> Socket { throw .refused }

  func connectFailure(_ socket: Socket) -> NetworkError? { nil }

  func register(_ socket: Socket, token: UInt64) throws(NetworkError) { wires[Int(socket.descriptor)].token = token }

  func receive(_ socket: Socket, into buffer: ByteBuffer, limit: Int) -> TransferResult {
    let index = Int(socket.descriptor)
    let count = min(wires[index].toServer.count, limit)
    if count == 0 { return wires[index].clientEnded ? .ended : .wouldBlock }
    buffer.append(Array(wires[index].toServer.prefix(count)))
    wires[index].toServer.removeFirst(count)
    return .count(count)
  }

  func send(_ socket: Socket, _ bytes: RawSpan) -> TransferResult {
    let index = Int(socket.descriptor)
    let count = min(bytes.byteCount, wires[index].window)
    if count == 0 { return .wouldBlock }
    let part = ByteBuffer()
    part.append(bytes.extracting(0..<count))
    wires[index].toClient += part.array
    wires[index].window -= count
    return .count(count)
  }

  func send(_ socket: Socket, _ first: RawSpan, _ second: RawSpan) -> TransferResult { send(socket, first) }

  func endSending(_ socket: Socket) { wires[Int(socket.descriptor)].serverEnded = true }

  func close(_ socket: Socket, reset: Bool) {
    guard Int(socket.descriptor) < wires.count else { return }
    wires[Int(socket.descriptor)].isClosed = true
    wires[Int(socket.descriptor)].wasReset = reset
  }

  /// A new connection.
  func dial() -> Int {
    wires.append(Wire())
    waiting.append(Int32(wires.count - 1))
    return wires.count - 1
  }
}

/// Messages on their way to the server.
final class Letters: Sendable {
  private let waiting = Mutex<[AdminServer.Message]>([])

  func add(_ message: AdminServer.Message) { waiting.withLock { $0.append(message) } }

  func takeAll() -> [AdminServer.Message] {
    waiting.withLock { letters in
      defer { letters = [] }
      return letters
    }
  }
}

/// Stands in for the audit log.
final class AuditPages: Sendable {
  private let entries = Mutex<[AuditEntry]>([])

  func add(_ entry: AuditEntry) { entries.withLock { $0.append(entry) } }

  func takeAll() -> [AuditEntry] {
    entries.withLock { entries in
      defer { entries = [] }
      return entries
    }
  }
}

/// A running admin server and the hand that moves its world.
struct Desk {
  static let token = "0123456789abcdef"
  static let address = SocketAddress.ip(IPAddress(v4: 0x7f00_0001), port: 9901)
  let world = DeskWorld()
  /// What operations have sent to the server.
  let letters = Letters()
  /// What was written into the audit log.
  let audit = AuditPages()
  var server: AdminServer

  init(
    tokens: [AdminSettings.Token] = [AdminSettings.Token(name: "ops", role: .admin, secret: Desk.token)],
    extra: [AdminRoute] = [], facts: NodeFacts = NodeFacts(),
    address: SocketAddress = Desk.address
  ) throws {
    let routes = AdminRoute.node(metrics: Metrics(loops: 1, problemCodes: []), facts: { facts }) + extra
    server = try AdminServer(
      world, at: address, tokens: tokens, routes: routes, version: "1.2.3", post: { [letters] in letters.add($0) },
      audit: { [audit] in audit.add($0) })
  }

  mutating func connect() -> Int {
    let wire = world.dial()
    server.ready(token: 0, .readable)
    return wire
  }

  mutating func write(_ wire: Int, _ text: String) {
    world.wires[wire].toServer += Array(text.utf8)
    server.ready(token: world.wires[wire].token, .readable)
    _ = server.endTurn()
  }

  /// What has come back since the last time.
  mutating func read(_ wire: Int) -> String {
    defer { world.wires[wire].toClient = [] }
    return String(decoding: world.wires[wire].toClient, as: UTF8.self)
  }

  mutating func ask(_ text: String) -> String {
    let wire = connect()
    write(wire, text)
    return read(wire)
  }

  /// A GET with the token.
  mutating func get(_ path: String, token: String? = Desk.token, host: String = "localhost:9901") -> String {
    ask("GET \(path) HTTP/1.1\r\nHost: \(host)\r\n" + (token.map { "Authorization: Bearer \($0)\r\n" } ?? "") + "\r\n")
  }

  /// Brings what operations have sent.
  mutating func deliver() {
    for letter in letters.takeAll() { server.receive(letter) }
    _ = server.endTurn()
  }

  mutating func pass(_ duration: Duration) {
    world.now = world.now + duration
    _ = server.endTurn()
  }
}

extension String {
  /// The status of a response that begins here.
  var status: String { String(split(separator: " ", maxSplits: 2).dropFirst().first ?? "") }
  /// The body of the only response here.
  var body: String { range(of: "\r\n\r\n").map { String(self[$0.upperBound...]) } ?? "" }
  /// The code of the problem document in the body.
  var problem: String {
    guard let start = range(of: "urn:sluice:problem:")?.upperBound else { return "" }
    return String(self[start...].prefix { $0 != "\"" })
  }
}
