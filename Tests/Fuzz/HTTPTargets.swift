import Core
import HTTP

/// What the parsers of the HTTP room promise, whatever the bytes.
enum HTTPTargets {
  /// A whole request and the same one byte by byte end alike; what is accepted holds nothing that could be read two ways,
  /// and written out again it is the same request.
  @Sendable
  static func requestHead(_ bytes: RawSpan) {
    let limits = HeadLimits(requestLineBytes: 256, fieldCount: 16, headBytes: 2_048)
    let head = RequestHead()
    let whole = ByteBuffer(copying: bytes)
    let result = head.parse(whole, limits: limits)
    let slow = RequestHead()
    let trickled = trickle(bytes) { slow.parse($0, from: $1, limits: limits) }
    expectSame(result, trickled)
    guard case .complete(let count) = result else { return }
    precondition(count <= bytes.byteCount && count <= limits.headBytes && head.fieldCount <= limits.fieldCount)

    let path = head.bytes(head.path)
    precondition(path.byteCount > 0 && (path[byte: 0] == 47 || (head.method == .options && path[byte: 0] == 42)))
    for index in 0..<path.byteCount {
      precondition(path[byte: index] > 32 && path[byte: index] < 127 && path[byte: index] != 35)
      precondition(index == 0 || path[byte: index] != 47 || path[byte: index - 1] != 47)
    }
    precondition(head.isHTTP10 || head.bytes(head.host).byteCount > 0)
    precondition(head.framing != .untilClose)
    for index in 0..<head.fieldCount {
      checkField(head.name(of: index), head.value(of: index), head.field(index).name)
    }

    let again = ByteBuffer()
    again.append(head.bytes(head.methodText))
    again.append(" ")
    again.append(head.bytes(head.target))
    again.append(head.isHTTP10 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n")
    for index in 0..<head.fieldCount { again.appendField(head.name(of: index), head.value(of: index)) }
    again.append("\r\n")
    // The space behind each colon may take the copy beyond the limits of the original.
    let copy = RequestHead()
    precondition(copy.parse(again, limits: HeadLimits()) == .complete(byteCount: again.count))
    precondition(copy.framing == head.framing && copy.keepsAlive == head.keepsAlive && copy.method == head.method)
    precondition(copy.fieldCount == head.fieldCount && copy.port == head.port)
    precondition(copy.bytes(copy.path).array == head.bytes(head.path).array)
    precondition(copy.bytes(copy.query).array == head.bytes(head.query).array)
    precondition(copy.bytes(copy.host).array == head.bytes(head.host).array)
    for index in 0..<head.fieldCount { precondition(copy.field(index).isDropped == head.field(index).isDropped) }
  }

  /// As for requests; and a response that may not have a body has none.
  @Sendable
  static func responseHead(_ bytes: RawSpan) {
    let limits = HeadLimits(requestLineBytes: 256, fieldCount: 16, headBytes: 2_048)
    let head = ResponseHead()
    let result = head.parse(ByteBuffer(copying: bytes), limits: limits)
    let slow = ResponseHead()
    expectSame(result, trickle(bytes) { slow.parse($0, from: $1, limits: limits) })
    guard case .complete(let count) = result else { return }
    precondition(count <= bytes.byteCount && count <= limits.headBytes)
    precondition(head.status >= 100 && head.status <= 599 && head.framing(for: .head) == .none)
    if head.status < 200 || head.status == 204 || head.status == 304 { precondition(head.framing(for: .get) == .none) }
    if case .length(let length) = head.framing(for: .get) { precondition(length >= 0) }
    for index in 0..<head.fieldCount {
      checkField(head.name(of: index), head.value(of: index), head.field(index).name)
    }
    let again = ByteBuffer()
    again.append(head.isHTTP10 ? "HTTP/1.0 " : "HTTP/1.1 ")
    again.append(decimal: Int64(head.status))
    again.append(" ")
    again.append(head.bytes(head.reason))
    again.append("\r\n")
    for index in 0..<head.fieldCount { again.appendField(head.name(of: index), head.value(of: index)) }
    again.append("\r\n")
    let copy = ResponseHead()
    precondition(copy.parse(again, limits: HeadLimits()) == .complete(byteCount: again.count))
    precondition(copy.status == head.status && copy.keepsAlive == head.keepsAlive)
    precondition(copy.framing(for: .get) == head.framing(for: .get) && copy.fieldCount == head.fieldCount)
  }

  /// However a chunked body is cut, the same bytes come out of it and it ends alike.
  @Sendable
  static func chunks(_ bytes: RawSpan) {
    let whole = decode(bytes, step: bytes.byteCount)
    for step in [1, 3, 7] {
      let cut = decode(bytes, step: step)
      precondition(cut.outcome == whole.outcome && cut.body == whole.body && cut.trailers == whole.trailers)
      precondition(cut.consumed == whole.consumed || whole.outcome.isMalformed)
    }
  }

  /// Every beginning of a header is incomplete, and what is read fits the bytes.
  @Sendable
  static func proxyHeader(_ bytes: RawSpan) {
    let result = ProxyHeader.parse(bytes)
    for count in 0..<min(bytes.byteCount, 512) {
      let earlier = ProxyHeader.parse(bytes.extracting(0..<count))
      switch earlier {
      case .incomplete: break
      case .malformed, .complete:
        precondition(earlier == result)
        return
      }
    }
    if case .complete(let count, let source, let destination) = result {
      precondition(count <= bytes.byteCount && count <= ProxyHeader.longest)
      precondition((source == nil) == (destination == nil))
    }
  }

  /// The client is the peer, or an address behind proxies that are all trusted; nothing a client invents changes what a
  /// trusted proxy appends.
  @Sendable
  static func clientAddress(_ bytes: RawSpan) {
    let peer = IPAddress(v4: 0x0a00_0001)
    for name: StaticString in ["Forwarded", "X-Forwarded-For"] {
      let isStandard = name.utf8CodeUnitCount == 9
      let head = RequestHead()
      let buffer = ByteBuffer()
      buffer.append("GET / HTTP/1.1\r\nHost: a\r\n")
      buffer.append(name)
      buffer.append(": ")
      buffer.append(bytes)
      let proxied = ByteBuffer(copying: buffer.bytes)
      buffer.append("\r\n\r\n")
      if case .complete = head.parse(buffer, limits: HeadLimits()) {
        precondition(ClientAddress.find(head, peer: peer) { _ in false } == peer)
        _ = ClientAddress.find(head, peer: peer) { _ in true }
        _ = ClientAddress.find(head, peer: peer) { $0.isV4 && $0.v4 >> 24 == 10 }
      }
      proxied.append(isStandard ? ", for=192.0.2.7\r\n\r\n" : ", 192.0.2.7\r\n\r\n")
      // Bytes that end the line or the head early put the proxy's entry elsewhere.
      if head.parse(proxied, limits: HeadLimits()) == .complete(byteCount: proxied.count), head.fieldCount == 2 {
        let client = ClientAddress.find(head, peer: peer) { $0 == peer }
        precondition(client == IPAddress(v4: 0xc000_0207))
      }
    }
  }

  /// What is read is written as it was.
  @Sendable
  static func traceParent(_ bytes: RawSpan) {
    guard let parent = TraceParent(parsing: bytes) else { return }
    let buffer = ByteBuffer()
    parent.append(to: buffer)
    precondition(buffer.count == TraceParent.byteCount && TraceParent(parsing: buffer.bytes) == parent)
    if bytes[byte: 0] == 48 && bytes[byte: 1] == 48 { precondition(buffer.bytes.array == bytes.array) }
  }

  /// Members and parameters lie inside the value.
  @Sendable
  static func fieldValue(_ bytes: RawSpan) {
    var list = ListReader(bytes)
    var end = 0
    while let member = list.next() {
      precondition(member.lowerBound >= end && member.upperBound <= bytes.byteCount && !member.isEmpty)
      end = member.upperBound
    }
    if let range = FieldValue.parameter("version", in: bytes) {
      precondition(range.lowerBound >= 8 && range.upperBound <= bytes.byteCount)
    }
    _ = FieldValue.contains("close", in: bytes)
    _ = FieldName.of(bytes)
    _ = Method.of(bytes)
  }

  // MARK: - Helpers

  private static func checkField(_ name: RawSpan, _ value: RawSpan, _ known: FieldName) {
    precondition(name.byteCount > 0 && FieldName.of(name) == known)
    for index in 0..<name.byteCount {
      switch name[byte: index] {
      case 0...32, 127..., 58, 34, 44, 59: preconditionFailure("no token")
      default: break
      }
    }
    for index in 0..<value.byteCount {
      let byte = value[byte: index]
      precondition(byte == 9 || (byte >= 32 && byte != 127))
    }
  }

  /// What `parse` says when the bytes arrive one by one.
  private static func trickle(_ bytes: RawSpan, _ parse: (ByteBuffer, Int) -> HeadResult) -> HeadResult {
    let buffer = ByteBuffer()
    for index in 0..<min(bytes.byteCount, 4_096) {
      buffer.append(bytes[byte: index])
      let result = parse(buffer, index)
      if result != .incomplete { return result }
    }
    return .incomplete
  }

  /// A sender of single bytes may be told later that its head is refused, never otherwise.
  private static func expectSame(_ whole: HeadResult, _ trickled: HeadResult) {
    if case .refused = whole, trickled == .incomplete { return }
    precondition(whole == trickled)
  }

  private enum Outcome: Equatable {
    case ended, unfinished
    case malformed(HTTPFault)

    var isMalformed: Bool { if case .malformed = self { true } else { false } }
  }

  private struct Decoded {
    var outcome = Outcome.unfinished
    var body: [UInt8] = []
    var trailers: [[UInt8]] = []
    var consumed = 0
  }

  private static func decode(_ bytes: RawSpan, step: Int) -> Decoded {
    var decoder = ChunkedDecoder(trailerBytesLimit: 512)
    var decoded = Decoded()
    let buffer = ByteBuffer()
    var offset = 0
    while true {
      while true {
        let bytes = buffer.bytes
        var consumed = 0
        var isWaiting = false
        switch decoder.next(bytes) {
        case .data(let skip, let count):
          precondition(count > 0)
          decoded.body += bytes.extracting(skip..<skip + count).array
          consumed = skip + count
        case .trailer(let name, let value, let isForbidden, let count):
          decoded.trailers.append(bytes.extracting(name.offsets).array + bytes.extracting(value.offsets).array)
          precondition(isForbidden || FieldName.of(bytes.extracting(name.offsets)) != .contentLength)
          consumed = count
        case .end(let count):
          decoded.consumed += count
          decoded.outcome = .ended
          precondition(decoder.hasEnded)
          return decoded
        case .incomplete(let count):
          consumed = count
          isWaiting = true
        case .malformed(let fault):
          decoded.outcome = .malformed(fault)
          return decoded
        }
        buffer.consume(consumed)
        decoded.consumed += consumed
        if isWaiting { break }
      }
      if offset >= bytes.byteCount { return decoded }
      let end = min(offset + step, bytes.byteCount)
      buffer.append(bytes.extracting(offset..<end))
      offset = end
    }
  }
}

extension ByteBuffer {
  /// A buffer with a copy of `bytes`.
  convenience init(copying bytes: RawSpan) {
    self.init(capacity: bytes.byteCount)
    append(bytes)
  }

  /// Appends one field line.
  func appendField(_ name: RawSpan, _ value: RawSpan) {
    append(name)
    append(": ")
    append(value)
    append("\r\n")
  }
}
