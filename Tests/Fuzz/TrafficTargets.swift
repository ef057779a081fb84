import Core
import Traffic

/// What routing promises, whatever the bytes.
enum TrafficTargets {
  /// The bytes are five lines: host and path of a pattern, method, host and target of a request. A pattern is refused or
  /// makes a table; a match stays within the path, and does not depend on how the path's octets are encoded.
  @Sendable
  static func routeMatch(_ bytes: RawSpan) {
    var lines = bytes.array.split(separator: 10, omittingEmptySubsequences: false).prefix(5).map { Array($0) }
    while lines.count < 5 { lines.append([]) }
    let words = lines.map { String(decoding: $0, as: UTF8.self) }
    let pattern = RouteMatch(host: words[0].isEmpty ? nil : words[0], path: words[1].isEmpty ? nil : words[1])
    var matches = [
      RouteMatch(path: "/a/{b}/*"), RouteMatch(path: "/a/b", methods: ["GET"]), RouteMatch(host: "*.a:80"),
    ]
    matches.append(pattern)
    var (table, problems) = RouteTable.build(matches)
    precondition(problems.allSatisfy { !$0.message.isEmpty && !$0.fix.isEmpty })
    if table == nil { (table, problems) = RouteTable.build(matches.dropLast()) }
    guard let table else { preconditionFailure("the fixed routes must compile") }

    let target = lines[4].split(separator: 63, maxSplits: 1, omittingEmptySubsequences: false)
    let path = Array(target[0])
    let query = target.count > 1 ? Array(target[1]) : []
    let request = FuzzRequest(method: lines[2], host: lines[3], path: path, query: query)
    var captures = RouteCaptures()
    let decision = table.match(request: request, captures: &captures)
    let encoded = FuzzRequest(method: lines[2], host: lines[3], path: encode(path), query: query)
    var others = RouteCaptures()
    precondition(table.match(request: encoded, captures: &others) == decision)
    guard case .route = decision else { return }
    precondition(captures.count == others.count && captures.restStart >= 0 && captures.restStart <= path.count)
    for index in 0..<Int(captures.count) {
      precondition(captures.byteCount(index) > 0 && captures.start(index) + captures.byteCount(index) <= path.count)
    }
    redirect(words[1], request, captures)
  }

  /// A location on the same host never names another one.
  private static func redirect(_ template: String, _ request: FuzzRequest, _ captures: RouteCaptures) {
    guard let location = try? PathTemplate(template, kind: .location, captureNames: []),
      let redirect = Redirect(status: 308, location: location)
    else { return }
    let buffer = ByteBuffer()
    redirect.appendLocation(
      path: request.pathBytes, query: request.queryBytes, authority: request.hostBytes, isSecure: true,
      captures: captures, to: buffer)
    guard buffer.count > 1, buffer[0] == 47 else { return }
    precondition(buffer[1] != 47 && buffer[1] != 92)
  }

  /// The path with every octet but slashes as a percent triplet.
  private static func encode(_ path: [UInt8]) -> [UInt8] {
    func isDigit(_ index: Int) -> Bool { index < path.count && Character(UnicodeScalar(path[index])).isHexDigit }
    let digits = Array("0123456789ABCDEF".utf8)
    var encoded: [UInt8] = []
    var at = 0
    while at < path.count {
      if path[at] == 37, isDigit(at + 1), isDigit(at + 2) {
        encoded += path[at..<at + 3]
        at += 3
        continue
      }
      encoded += path[at] == 47 ? [47] : [37, digits[Int(path[at] >> 4)], digits[Int(path[at] & 15)]]
      at += 1
    }
    return encoded
  }
}

/// A request made of any bytes.
@safe
private final class FuzzRequest: RoutableRequest {
  private let parts: [ByteBuffer]

  init(method: [UInt8], host: [UInt8], path: [UInt8], query: [UInt8]) {
    parts = [method, host, path, query].map { ByteBuffer(copying: RawSpan($0)) }
  }

  // The buffers are never changed and live as long as the request.
  @_lifetime(borrow self)
  private func part(_ index: Int) -> RawSpan {
    let buffer = parts[index]
    return unsafe _overrideLifetime(buffer.bytes, borrowing: self)
  }

  var knownMethod: Int { -1 }
  var port: UInt16 { 80 }
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
  func fieldIndex(named name: RawSpan, after index: Int) -> Int { -1 }
  @_lifetime(borrow self)
  func fieldBytes(_ index: Int) -> RawSpan { part(3) }
}
