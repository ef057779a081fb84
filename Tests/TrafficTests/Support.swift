import Core
import HTTP
import Testing

@testable import Traffic

/// A request as the table reads it, without the HTTP room's opinion of it: any path, any host.
@safe
final class RawRequest: RoutableRequest {
  let port: UInt16
  private let parts: [ByteBuffer]
  private let fields: [(name: String, value: ByteBuffer)]

  init(_ method: String, _ host: String, _ target: String, fields: [(String, String)] = []) {
    let pieces = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    let authority = Authority(RawSpan(Array(host.utf8)))
    port = authority.port
    let name = String(decoding: Array(host.utf8)[..<authority.nameEnd], as: UTF8.self)
    parts = [method, name, String(pieces[0]), pieces.count > 1 ? String(pieces[1]) : ""].map(Self.buffer)
    self.fields = fields.map { ($0.0.lowercased(), Self.buffer($0.1)) }
  }

  private static func buffer(_ text: String) -> ByteBuffer {
    let buffer = ByteBuffer()
    buffer.append(utf8: text)
    return buffer
  }

  // The buffers are never changed and live as long as the request.
  @_lifetime(borrow self)
  private func part(_ index: Int) -> RawSpan {
    let buffer = parts[index]
    return unsafe _overrideLifetime(buffer.bytes, borrowing: self)
  }

  var knownMethod: Int { RouteTable.knownMethods.firstIndex(of: text(methodBytes)) ?? -1 }
  var methodBytes: RawSpan {
    @_lifetime(borrow self)
    get { part(0) }
  }
  var hostBytes: RawSpan {
    @_lifetime(borrow self)
    get { part(1) }
  }
  var pathBytes: RawSpan {
    @_lifetime(borrow self)
    get { part(2) }
  }
  var queryBytes: RawSpan {
    @_lifetime(borrow self)
    get { part(3) }
  }

  func fieldIndex(named name: RawSpan, after index: Int) -> Int {
    let wanted = text(name)
    return fields.indices.first { $0 > index && fields[$0].name == wanted } ?? -1
  }

  @_lifetime(borrow self)
  func fieldBytes(_ index: Int) -> RawSpan {
    let buffer = fields[index].value
    return unsafe _overrideLifetime(buffer.bytes, borrowing: self)
  }
}

/// The bytes of a span as text.
func text(_ bytes: RawSpan) -> String {
  var copy: [UInt8] = []
  for index in 0..<bytes.byteCount { copy.append(byte(bytes, index)) }
  return String(decoding: copy, as: UTF8.self)
}

/// The bytes of a buffer as text.
func text(_ buffer: ByteBuffer) -> String { text(buffer.bytes) }

/// The table of matches that have no errors.
func compiled(_ matches: RouteMatch...) throws -> RouteTable {
  let (table, problems) = RouteTable.build(matches)
  return try #require(table, "\(problems)")
}

extension RouteTable {
  /// The index of the route that takes a request, −1 for none.
  func route(_ target: String) -> Int { route("GET", "h", target) }

  /// The same for any method, host and fields.
  func route(_ method: String, _ host: String, _ target: String, _ fields: [(String, String)] = []) -> Int {
    var captures = RouteCaptures()
    let request = RawRequest(method, host, target, fields: fields)
    if case .route(let index) = match(request: request, captures: &captures) { return Int(index) }
    return -1
  }

  /// What the route captures of a path: the segments, then what the star took.
  func captured(_ path: String) -> [String]? {
    var captures = RouteCaptures()
    let request = RawRequest("GET", "h", path)
    guard case .route = match(request: request, captures: &captures) else { return nil }
    let bytes = Array(path.utf8)
    let segments = (0..<Int(captures.count)).map { index in
      String(decoding: bytes[captures.start(index)..<captures.start(index) + captures.byteCount(index)], as: UTF8.self)
    }
    let rest = bytes[min(bytes.count, Int(captures.restStart))...]
    return segments + [String(decoding: rest, as: UTF8.self)]
  }

  /// `Allow` for a request that is refused for its method; nil if it is not.
  func allow(_ method: String, _ target: String) -> String? {
    var captures = RouteCaptures()
    let decision = match(request: RawRequest(method, "h", target), captures: &captures)
    guard case .methodNotAllowed(let methods) = decision else { return nil }
    let buffer = ByteBuffer()
    appendMethods(methods, to: buffer)
    return text(buffer)
  }
}

/// SplitMix64: small, fast and good enough to draw tests from a seed.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}

extension Instant {
  /// The moment `seconds` after the clock's start.
  static func at(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }
}

/// The address 10.0.0.`last`, port 80.
func address(_ last: Int) -> SocketAddress { .ip(IPAddress(v4: 0x0a00_0000 + UInt32(last)), port: 80) }

/// An upstream with one endpoint for each weight, at ``address(_:)`` 1, 2, …
func spec(_ balance: Balance, weights: [Int]) -> UpstreamSpec {
  var spec = UpstreamSpec(
    name: "u",
    endpoints: weights.enumerated().map { EndpointSpec(address: .socket(address($0.offset + 1)), weight: $0.element) })
  spec.balance = balance
  return spec
}

/// The plan of an upstream, from a directory of its own.
func plan(_ spec: UpstreamSpec) -> UpstreamPlan {
  UpstreamPlan(spec: spec, endpoints: UpstreamDirectory().endpoints(of: spec, now: .at(0)))
}

extension Balancer {
  /// How often each endpoint is chosen in `count` requests, each ended at once.
  mutating func shares(_ count: Int, now: Instant = .at(1), seed: UInt64 = 1) -> [Int] {
    var generator = SeededGenerator(seed: seed)
    var shares = [Int](repeating: 0, count: current.count)
    for _ in 0..<count {
      let index = pick(hash: generator.next(), tried: TriedEndpoints(), now: now, random: generator.next())
      if index >= 0 { shares[Int(index)] += 1 }
    }
    return shares
  }
}
