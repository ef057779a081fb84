import Core

// Heads of HTTP/1.1 on their way out: parsed by the same parsers that read them from sockets, sent as field blocks. What
// those parsers have marked as concerning one connection only is left out; HTTP/2 has no room for it.

extension HTTP2Connection {
  /// Sends the response that the workspace's parser has read; false where it cannot follow.
  func sendResponseHead(_ stream: HTTP2Stream) -> Bool {
    Borrowed(workspace.responseHead).with { head in
      Borrowed(workspace.block).with { send(head, of: stream, by: $0) }
    }
  }

  @inline(__always)
  private func send(_ head: ResponseHead, of stream: HTTP2Stream, by block: ByteBuffer) -> Bool {
    var status = head.status
    var framing = head.framing(for: stream.method)
    if status == 101 {
      guard stream.isExtendedConnect else { return false }
      guard isAccepted(head, stream.webSocketKey) else {
        answerBadGateway(stream)
        return false
      }
      status = 200
      framing = .untilClose
      stream.isInputHeld = false
      if stream.bodyBytes > 0 || stream.hasPeerEnded { signal(stream, .readable) }
    } else if status >= 200 && stream.isInputHeld {
      discardInput(stream)
    }
    block.removeAll()
    encoder.begin(to: block)
    encoder.append(status: status, to: block)
    for index in 0..<head.fieldCount {
      let field = head.field(index)
      if field.isDropped || (field.name == .secWebSocketAccept && stream.isExtendedConnect) { continue }
      append(field, of: head.bytes, to: block)
    }
    if status < 200 {
      appendFieldBlock(stream: stream.id, endsStream: false)
      return true
    }
    let ends = frame(stream, framing)
    appendFieldBlock(stream: stream.id, endsStream: ends)
    if ends { markEnded(stream) }
    return true
  }

  /// Whether a server has seen the key that it was sent (RFC 6455 section 4.1): otherwise it speaks no WebSocket.
  private func isAccepted(_ head: ResponseHead, _ key: [UInt8]) -> Bool {
    let expected = workspace.parts
    expected.removeAll()
    workspace.webSocketAccept(RawSpan(key), expected)
    var count = 0
    for index in 0..<head.fieldCount where head.field(index).name == .secWebSocketAccept {
      if head.value(of: index).array != expected.bytes.array { return false }
      count += 1
    }
    return count == 1
  }

  /// Tells a client that what answers behind us makes no sense, and ends the stream.
  private func answerBadGateway(_ stream: HTTP2Stream) {
    let block = workspace.block
    block.removeAll()
    encoder.begin(to: block)
    encoder.append(status: 502, to: block)
    appendFieldBlock(stream: stream.id, endsStream: true)
    reset(stream, .noError)
  }

  /// Appends a field of a head whose bytes are `all`.
  @inline(__always)
  private func append(_ field: HeadField, of all: RawSpan, to block: ByteBuffer) {
    let (nameStart, valueStart) = (Int(field.nameStart), Int(field.valueStart))
    let nameEnd = nameStart &+ Int(field.nameCount)
    let valueEnd = valueStart &+ Int(field.valueCount)
    precondition(nameEnd <= all.byteCount && valueEnd <= all.byteCount)
    encoder.append(
      name: unsafe all.extracting(unchecked: Range(uncheckedBounds: (nameStart, nameEnd))),
      value: unsafe all.extracting(unchecked: Range(uncheckedBounds: (valueStart, valueEnd))),
      known: field.name, isSensitive: false, with: workspace.hpack, to: block)
  }

  /// Prepares for the body; whether there is none.
  private func frame(_ stream: HTTP2Stream, _ framing: BodyFraming) -> Bool {
    switch framing {
    case .none, .length(0):
      stream.sending = .complete
      return true
    case .length(let length):
      stream.sending = .length
      stream.outputLeft = length
    case .chunked: stream.sending = .chunked
    case .untilClose: stream.sending = .raw
    }
    return false
  }

  /// Sends the request that the workspace's parser has read; false where the upstream cannot take it.
  func sendRequestHead(_ stream: HTTP2Stream) -> Bool {
    let head = workspace.requestHead
    if isPeerLeaving || nextStream > HTTP2Frame.largestStream {
      stream.isUnprocessed = true
      return false
    }
    if head.authority.isEmpty { return false }
    stream.method = head.method
    if let upgrade = head.upgrade {
      guard allowsExtendedConnect, head.bytes(upgrade).equalsIgnoringCase("websocket") else { return false }
      stream.isExtendedConnect = true
      if let key = head.firstIndex(of: .secWebSocketKey) { stream.webSocketKey = head.value(of: key).array }
    }
    stream.id = nextStream
    nextStream += 2
    unsent.removeAll { $0 === stream }
    list(stream)
    let block = workspace.block
    block.removeAll()
    encoder.begin(to: block)
    appendPseudoFields(stream, head, block)
    for index in 0..<head.fieldCount {
      let field = head.field(index)
      if field.isDropped || field.name == .host || (field.name == .secWebSocketKey && stream.isExtendedConnect) {
        continue
      }
      append(field, of: head.bytes, to: block)
    }
    if let index = head.firstIndex(of: .te), FieldValue.contains("trailers", in: head.value(of: index)) {
      appendTrailersAccepted(block)
    }
    let ends = !stream.isExtendedConnect && frame(stream, head.framing)
    if stream.isExtendedConnect { stream.sending = .raw }
    appendFieldBlock(stream: stream.id, endsStream: ends)
    if ends { markEnded(stream) }
    return true
  }

  private func appendPseudoFields(_ stream: HTTP2Stream, _ head: RequestHead, _ block: ByteBuffer) {
    if stream.isExtendedConnect {
      appendPseudo(2, head.bytes(.empty), fixed: "CONNECT", block)
      block.append(UInt8(0))
      block.append(UInt8(9))
      block.append(":protocol")
      block.append(UInt8(9))
      block.append("websocket")
    } else if head.method == .get {
      encoder.append(staticIndex: 2, to: block)
    } else if head.method == .post {
      encoder.append(staticIndex: 3, to: block)
    } else {
      appendPseudo(2, head.bytes(head.methodText), block)
    }
    encoder.append(staticIndex: options.isSecure ? 7 : 6, to: block)
    appendPseudo(1, head.bytes(head.authority), block)
    // Without the authority of a target in absolute form; an empty path there is the second slash of its "://".
    let (path, query) = (head.path, head.query)
    if path.end < query.offsets.lowerBound {
      let range = ByteRange(Int(path.start), upTo: path.end)
      let heads = workspace.parts
      heads.removeAll()
      heads.append(head.bytes(range))
      heads.append(UInt8(ascii: "?"))
      heads.append(head.bytes(query))
      appendPseudo(4, heads.bytes, block)
    } else if path.count == 1 && head.bytes(path)[byte: 0] == 47 {
      encoder.append(staticIndex: 4, to: block)
    } else {
      appendPseudo(4, head.bytes(path), block)
    }
  }

  /// Appends a field with the name of an entry of the static table.
  private func appendPseudo(_ index: Int, _ value: RawSpan, fixed: StaticString? = nil, _ block: ByteBuffer) {
    let statics = workspace.hpack.statics
    let entry = statics.entry(index)
    let name = statics.line(entry).extracting(0..<entry.field.nameCount)
    if let fixed {
      HPACKEncoder.append(index, prefix: 0x0f, flags: 0, to: block)
      block.append(UInt8(truncatingIfNeeded: fixed.utf8CodeUnitCount))
      block.append(fixed)
      return
    }
    encoder.append(
      name: name, value: value, staticIndex: index, identity: UInt16(truncatingIfNeeded: index), isSensitive: false,
      with: workspace.hpack, to: block)
  }

  private func appendTrailersAccepted(_ block: ByteBuffer) {
    let text = workspace.parts
    text.removeAll()
    text.append("tetrailers")
    encoder.append(
      name: text.bytes.extracting(0..<2), value: text.bytes.extracting(2..<10), known: .te, isSensitive: false,
      with: workspace.hpack, to: block)
  }

  /// Sends the workspace's block as HEADERS, and CONTINUATION where it is large.
  func appendFieldBlock(stream: UInt32, endsStream: Bool) {
    Borrowed(workspace.block).with { block in
      Borrowed(out).with { appendFieldBlock(block, to: $0, stream: stream, endsStream: endsStream) }
    }
  }

  @inline(__always)
  private func appendFieldBlock(_ block: ByteBuffer, to out: ByteBuffer, stream: UInt32, endsStream: Bool) {
    let flags = endsStream ? HTTP2Frame.endStream : 0
    if block.count <= HTTP2Frame.largestPayload {
      out.appendFrameHeader(
        length: block.count, type: HTTP2Frame.headers, flags: flags | HTTP2Frame.endHeaders, stream: stream)
      out.append(block.bytes)
      return
    }
    var isFirst = true
    while !block.isEmpty {
      let count = min(block.count, HTTP2Frame.largestPayload)
      let end = count == block.count ? HTTP2Frame.endHeaders : 0
      out.appendFrameHeader(
        length: count, type: isFirst ? HTTP2Frame.headers : HTTP2Frame.continuation, flags: isFirst ? flags | end : end,
        stream: stream)
      out.append(block.bytes.extracting(0..<count))
      block.consume(count)
      isFirst = false
    }
  }

  /// Sends the trailers of a stream, which end it.
  func sendTrailers(_ stream: HTTP2Stream, _ trailers: ByteBuffer) {
    let block = workspace.block
    block.removeAll()
    encoder.begin(to: block)
    while !trailers.isEmpty {
      let line = trailers.bytes
      var colon = 0
      while line[byte: colon] != 58 { colon += 1 }
      var end = colon + 2
      while line[byte: end] != 13 { end += 1 }
      let name = line.extracting(0..<colon)
      encoder.append(
        name: name, value: line.extracting(colon + 2..<end), known: FieldName.of(name), isSensitive: false,
        with: workspace.hpack, to: block)
      trailers.consume(end + 2)
    }
    workspace.give(trailers)
    stream.trailers = nil
    appendFieldBlock(stream: stream.id, endsStream: true)
    markEnded(stream)
  }
}
