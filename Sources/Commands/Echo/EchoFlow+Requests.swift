import Core
import HTTP
import Net

// Reading requests.
extension EchoFlow {
  /// Reads as much of `buffer` as the phase allows. Answers are left in `output`.
  mutating func process(_ index: Int, _ buffer: ByteBuffer) {
    while !buffer.isEmpty && output.count < Self.blockBytes {
      switch slots[index].phase {
      case .head: if !readHead(index, buffer) { return }
      case .discard, .echo: if !readBody(index, buffer) { return }
      case .tunnel:
        output.append(buffer.bytes)
        buffer.removeAll()
      case .webSocket:
        switch slots[index].frames.next(buffer.bytes, into: output, limit: Self.blockBytes) {
        case .incomplete(let consumed):
          buffer.consume(consumed)
          if consumed == 0 { return }
        case .end(let consumed):
          buffer.consume(consumed)
          slots[index].phase = .closing
        }
      case .unused, .waiting, .produce, .events, .closing, .carrier: return
      }
    }
  }

  /// Finds out what a connection speaks; false where that is not HTTP/1.1, or not known yet.
  private mutating func readFirst(_ index: Int, _ buffer: ByteBuffer) -> Bool {
    guard world.canSecure(slots[index].socket) else {
      slots[index].isFresh = false
      return true
    }
    if buffer[0] == Self.tlsHandshake, let context = settings.security {
      world.secure(slots[index].socket, context, received: buffer.bytes, HandshakeLimits())
      buffer.removeAll()
      return false
    }
    guard let isHTTP2 = HTTP2Connection.isPreface(buffer.bytes) else { return false }
    slots[index].isFresh = false
    guard isHTTP2 else { return true }
    world.multiplex(slots[index].socket, received: buffer.bytes)
    buffer.removeAll()
    slots[index].phase = .carrier
    return false
  }

  /// The type of the record that a client of TLS begins with (RFC 8446 section 5.1).
  private static var tlsHandshake: UInt8 { 22 }

  private mutating func readHead(_ index: Int, _ buffer: ByteBuffer) -> Bool {
    if slots[index].isFresh, !readFirst(index, buffer) { return false }
    switch head.parse(buffer, limits: limits) {
    case .incomplete: return false
    case .refused(let fault):
      slots[index].keepsAlive = false
      refuse(index, fault.status, fault.reason)
      return false
    case .complete(let count):
      begin(index)
      buffer.consume(count)
      return true
    }
  }

  /// Decides what becomes of the request whose head was read.
  private mutating func begin(_ index: Int) {
    let head = head
    let path = head.bytes(head.path)
    let action = EchoAction.of(path, status: settings.status, delayMilliseconds: settings.delayMilliseconds)
    slots[index].action = action
    slots[index].method = head.method
    slots[index].isHTTP10 = head.isHTTP10
    slots[index].keepsAlive = head.keepsAlive && stopAt == .never && !slots[index].isStream
    slots[index].framing = head.framing
    slots[index].bodyCount = 0
    if slots[index].isStream, head.method == .post, let field = head.firstIndex(of: .contentType),
      GRPC.isCall(contentType: head.value(of: field))
    {
      beginCall(index, contentType: field)
      return
    }
    // Nobody speaks HTTP/2 by an Upgrade any more (RFC 9113 section 3.1): that is for whoever knows it.
    if let upgrade = head.upgrade, head.framing == .none, !head.bytes(upgrade).equals(lowercase: "h2c") {
      switchProtocols(index, upgrade)
      return
    }
    if head.framing == .none && fixed != nil, case .describe(settings.status, 0) = action {
      answerFixed(index)
      return
    }
    if head.expectsContinue && head.framing != .none { output.append("HTTP/1.1 100 Continue\r\n\r\n") }
    if case .describe = action, fixed == nil {
      let draft = drafts[index] ?? ByteBuffer(capacity: 512)
      draft.removeAll()
      EchoReply.describe(
        head, isStream: slots[index].isStream, tls: world.facts(of: slots[index].socket), server: settings.name,
        into: draft)
      drafts[index] = draft
    }
    expectBody(index)
    if action == .echo { beginEcho(index) }
    endBodyIfEmpty(index)
  }

  private mutating func expectBody(_ index: Int) {
    switch slots[index].framing {
    case .length(let length):
      slots[index].bodyLeft = length
      slots[index].phase = .discard
    case .chunked:
      slots[index].chunks = ChunkedDecoder()
      slots[index].phase = .discard
    case .none, .untilClose: break
    }
  }

  private mutating func endBodyIfEmpty(_ index: Int) {
    if slots[index].framing == .none || slots[index].framing == .length(0) { endBody(index) }
  }

  /// Answers a call of gRPC: its messages go back as they come, in whatever encoding they have, or together in the end.
  private mutating func beginCall(_ index: Int, contentType: Int) {
    slots[index].action = .echo
    slots[index].isCall = true
    slots[index].call = EchoCall()
    slots[index].isChunked = true
    output.append("HTTP/1.1 200 OK\r\nContent-Type: ")
    output.append(head.value(of: contentType))
    let encoding = Array("grpc-encoding".utf8)
    if let field = head.firstIndex(named: RawSpan(encoding)) {
      output.append("\r\nGrpc-Encoding: ")
      output.append(head.value(of: field))
    }
    output.append("\r\nTransfer-Encoding: chunked\r\n\r\n")
    if head.bytes(head.path).hasSuffix("/Collect") { drafts[index] = ByteBuffer(capacity: 1024) }
    expectBody(index)
    slots[index].phase = .echo
    endBodyIfEmpty(index)
  }

  private mutating func beginEcho(_ index: Int) {
    let length: Int64? =
      switch slots[index].framing {
      case .none, .untilClose: 0
      case .length(let length): length
      case .chunked: nil
      }
    if length == nil && slots[index].isHTTP10 { slots[index].keepsAlive = false }
    slots[index].isChunked = length == nil && !slots[index].isHTTP10
    EchoReply.writeHead(
      settings.status, type: "application/octet-stream", length: length, for: slots[index], into: output)
    slots[index].phase = .echo
  }

  private mutating func readBody(_ index: Int, _ buffer: ByteBuffer) -> Bool {
    if slots[index].framing != .chunked {
      let count = Int(min(slots[index].bodyLeft, Int64(buffer.count)))
      take(index, buffer, skip: 0, count: count)
      slots[index].bodyLeft -= Int64(count)
      if slots[index].bodyLeft == 0 { endBody(index) }
      return true
    }
    switch slots[index].chunks.next(buffer.bytes) {
    case .data(let skip, let count): take(index, buffer, skip: skip, count: count)
    case .trailer(name: _, value: _, isForbidden: _, let consumed): buffer.consume(consumed)
    case .incomplete(let consumed):
      buffer.consume(consumed)
      return false
    case .end(let consumed):
      buffer.consume(consumed)
      endBody(index)
    case .malformed:
      slots[index].keepsAlive = false
      slots[index].phase = .closing
      return false
    }
    return true
  }

  /// Uses `count` body bytes behind `skip` bytes of framing.
  private mutating func take(_ index: Int, _ buffer: ByteBuffer, skip: Int, count: Int) {
    slots[index].bodyCount += Int64(count)
    if slots[index].isCall {
      slots[index].call.read(buffer.bytes.extracting(skip..<skip + count), collecting: drafts[index])
    }
    if slots[index].phase == .echo && drafts[index] == nil && count > 0 && slots[index].method != .head {
      if slots[index].isChunked {
        output.append(hexadecimal: UInt64(count))
        output.append("\r\n")
      }
      output.append(buffer.bytes.extracting(skip..<skip + count))
      if slots[index].isChunked { output.append("\r\n") }
    }
    buffer.consume(skip + count)
  }

  /// After a 101 the bytes are no longer HTTP.
  private mutating func switchProtocols(_ index: Int, _ upgrade: ByteRange) {
    let head = head
    let name = head.bytes(upgrade)
    guard name.equals(lowercase: "websocket") else {
      output.append("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ")
      output.append(name)
      output.append("\r\n\r\n")
      slots[index].phase = .tunnel
      return
    }
    let wanted = Array("sec-websocket-key".utf8)
    guard let field = head.firstIndex(named: RawSpan(wanted)) else {
      refuse(index, 400, "Sec-WebSocket-Key is missing")
      return
    }
    let accept = EchoFrames.accept(head.value(of: field))
    output.append(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ")
    output.append(utf8: accept)
    output.append("\r\n\r\n")
    slots[index].frames = EchoFrames()
    slots[index].phase = .webSocket
  }
}
