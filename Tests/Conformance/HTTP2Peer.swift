import Core
import HTTP

/// The other end of a connection, frame by frame: it can send anything.
final class HTTP2Peer {
  /// One frame that the connection has sent.
  struct Frame: Equatable, CustomStringConvertible {
    var type: UInt8
    var flags: UInt8
    var stream: UInt32
    var payload: [UInt8]

    var description: String { "\(HTTP2Peer.names[Int(type)] ?? "type \(type)") \(flags) #\(stream) \(payload.count)" }
    /// The 32 bits at `offset`.
    func word(_ offset: Int = 0) -> UInt32 { payload[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) } }
  }

  static let names: [Int: String] = [
    0: "DATA", 1: "HEADERS", 2: "PRIORITY", 3: "RST_STREAM", 4: "SETTINGS", 6: "PING", 7: "GOAWAY",
    8: "WINDOW_UPDATE", 9: "CONTINUATION",
  ]
  static let data: UInt8 = 0
  static let headers: UInt8 = 1
  static let priority: UInt8 = 2
  static let resetStream: UInt8 = 3
  static let settings: UInt8 = 4
  static let pushPromise: UInt8 = 5
  static let ping: UInt8 = 6
  static let goAway: UInt8 = 7
  static let windowUpdate: UInt8 = 8
  static let continuation: UInt8 = 9
  static let priorityUpdate: UInt8 = 16
  static let endStream: UInt8 = 1
  static let acknowledged: UInt8 = 1
  static let endHeaders: UInt8 = 4
  static let padded: UInt8 = 8
  static let whole: UInt8 = 5

  static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
  static let get: [(String, String)] = [
    (":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/"),
  ]
  static let post: [(String, String)] = [
    (":method", "POST"), (":scheme", "https"), (":authority", "a.example"), (":path", "/"),
  ]

  let workspace: HTTP2Workspace
  let connection: HTTP2Connection
  private let wire = ByteBuffer()
  private let sent = ByteBuffer()
  private let tables = HPACKWorkspace()
  private var decoder = HPACKDecoder()
  /// Every stream that was opened, in order.
  private(set) var streams: [HTTP2Stream] = []
  /// Events of streams, in order.
  private(set) var events: [(stream: HTTP2Stream, readiness: Readiness)] = []

  /// A peer of a connection in `role`; the handshake is over where `isReady`.
  init(
    _ role: HTTP2Connection.Role = .server, isReady: Bool = true, _ change: (inout HTTP2Options) -> Void = { _ in }
  ) {
    var options = HTTP2Options()
    change(&options)
    var nonce = UInt128(0)
    workspace = HTTP2Workspace { key, target in
      target.append("accept-")
      target.append(key)
    } webSocketNonce: {
      nonce += 1
      return nonce
    }
    connection = HTTP2Connection(role, options: options, workspace: workspace)
    guard isReady else { return }
    if role == .server { send(raw: Self.preface) }
    send(Self.settings)
    send(Self.settings, Self.acknowledged)
    _ = frames()
  }

  /// Moves the clock.
  func pass(_ duration: Duration) { workspace.now = workspace.now + duration }

  // MARK: - Towards the connection

  func send(raw bytes: [UInt8]) {
    wire.append(bytes)
    connection.receive(wire)
    drainEvents()
  }

  func send(_ type: UInt8, _ flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []) {
    send(raw: Self.frame(type, flags, stream: stream, payload))
  }

  static func frame(_ type: UInt8, _ flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []) -> [UInt8] {
    [UInt8(payload.count >> 16 & 255), UInt8(payload.count >> 8 & 255), UInt8(payload.count & 255), type, flags]
      + word(stream) + payload
  }

  static func word(_ value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> UInt32($0)) }
  }

  static func setting(_ identifier: UInt8, _ value: UInt32) -> [UInt8] { [0, identifier] + word(value) }

  /// Fields as literals that are not indexed.
  static func block(_ fields: [(String, String)]) -> [UInt8] {
    fields.flatMap { [0] + string($0.0) + string($0.1) }
  }

  private static func string(_ text: String) -> [UInt8] {
    let bytes = text.unicodeScalars.map { UInt8($0.value) }
    if bytes.count < 127 { return [UInt8(bytes.count)] + bytes }
    var (rest, octets) = (bytes.count - 127, [UInt8(127)])
    while rest > 127 {
      octets.append(UInt8(rest & 127) | 128)
      rest >>= 7
    }
    return octets + [UInt8(rest)] + bytes
  }

  /// Sends a message's fields; without `flags`, it has no body.
  func request(_ stream: UInt32, _ fields: [(String, String)] = get, _ flags: UInt8 = whole) {
    send(Self.headers, flags, stream: stream, Self.block(fields))
  }

  // MARK: - From the connection

  /// What the connection has sent since the last call.
  func frames() -> [Frame] {
    let output = connection.output
    let sent = sent
    sent.append(output.bytes)
    connection.sent(output.count)
    drainEvents()
    if sent.bytes.array.starts(with: Self.preface) { sent.consume(Self.preface.count) }
    var found: [Frame] = []
    while sent.count >= 9 {
      let header = sent.bytes.extracting(0..<9).array
      let length = Int(header[0]) << 16 | Int(header[1]) << 8 | Int(header[2])
      let id = header[5...].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      let payload = sent.bytes.extracting(9..<9 + length).array
      found.append(Frame(type: header[3], flags: header[4], stream: id, payload: payload))
      sent.consume(9 + length)
    }
    return found
  }

  /// The same without what keeps a connection running.
  func notableFrames() -> [Frame] {
    frames().filter { $0.type != Self.windowUpdate && !($0.type == Self.settings) }
  }

  /// The fields of a frame, which must be decoded in the order they were sent.
  func fields(_ frame: Frame) -> [String] {
    var list = FieldList()
    _ = decoder.decode(RawSpan(frame.payload), limits: HPACKLimits(), with: tables, to: &list)
    return list.fields
  }

  private func drainEvents() {
    while let event = connection.nextEvent() {
      switch event {
      case .opened(let stream): streams.append(stream)
      case .ready(let stream, let readiness): events.append((stream, readiness))
      }
    }
  }

  // MARK: - As the owner of streams

  /// All that can be read.
  func read(_ stream: HTTP2Stream, limit: Int = 4_096) -> String {
    let buffer = ByteBuffer()
    while case .count = connection.read(stream, into: buffer, limit: limit) {}
    drainEvents()
    return String(decoding: buffer.bytes.array, as: UTF8.self)
  }

  /// What reading says where nothing can be read.
  func standing(_ stream: HTTP2Stream) -> TransferResult {
    connection.read(stream, into: ByteBuffer(), limit: 4_096)
  }

  @discardableResult
  func write(_ stream: HTTP2Stream, _ text: String) -> TransferResult {
    let result = connection.write(stream, RawSpan(Array(text.utf8)))
    drainEvents()
    return result
  }

  /// The events of a stream since the last call.
  func takeEvents(_ stream: HTTP2Stream) -> Readiness {
    let found = events.filter { $0.stream === stream }.reduce(into: Readiness()) { $0.formUnion($1.readiness) }
    events.removeAll { $0.stream === stream }
    return found
  }
}
