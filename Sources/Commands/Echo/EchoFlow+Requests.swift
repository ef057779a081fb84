import Core
import HTTP

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
      case .unused, .waiting, .produce, .events, .closing: return
      }
    }
  }

  private mutating func readHead(_ index: Int, _ buffer: ByteBuffer) -> Bool {
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
    slots[index].keepsAlive = head.keepsAlive && stopAt == .never
    slots[index].framing = head.framing
    slots[index].bodyCount = 0
    if let upgrade = head.upgrade, head.framing == .none {
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
      EchoReply.describe(head, server: settings.name, into: draft)
      drafts[index] = draft
    }
    switch head.framing {
    case .length(let length):
      slots[index].bodyLeft = length
      slots[index].phase = .discard
    case .chunked:
      slots[index].chunks = ChunkedDecoder()
      slots[index].phase = .discard
    case .none, .untilClose: break
    }
    if action == .echo { beginEcho(index) }
    let isEmpty = head.framing == .none || head.framing == .length(0)
    if isEmpty { endBody(index) }
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
    if slots[index].phase == .echo && count > 0 && slots[index].method != .head {
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
    var isWebSocket = name.byteCount == 9
    if isWebSocket {
      for (offset, byte) in "websocket".utf8.enumerated() where name.byte(offset) | 0x20 != byte { isWebSocket = false }
    }
    guard isWebSocket else {
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
