import Core

// HEADERS and CONTINUATION: from frames to field blocks, from blocks to heads.

extension HTTP2Connection {
  func receiveHeaders(_ header: HTTP2FrameHeader, _ payload: RawSpan) {
    var start = 0
    var end = payload.byteCount
    if header.has(HTTP2Frame.padded) {
      start = 1
      end -= Int(payload[byte: 0])
    }
    // The priority of RFC 7540 has been given up (RFC 9113 section 5.3.2).
    if header.has(HTTP2Frame.hasPriority) { start += 5 }
    if start > end {
      fail(header.has(HTTP2Frame.padded) ? .paddingTooLong : .wrongFrameSize)
      return
    }
    let fragment = payload.extracting(start..<end)
    let endsStream = header.has(HTTP2Frame.endStream)
    if header.has(HTTP2Frame.endHeaders) {
      receiveBlock(fragment, header.stream, endsStream)
      return
    }
    blockStream = header.stream
    blockEndsStream = endsStream
    blockFrames = 0
    let block = workspace.takeBuffer()
    self.block = block
    block.append(fragment)
  }

  func receiveContinuation(_ header: HTTP2FrameHeader, _ payload: RawSpan) {
    guard let block else { return }
    blockFrames += 1
    if blockFrames > options.continuations || block.count + payload.byteCount > options.fieldBlockBytes {
      exceed(.continuationFlood)
      return
    }
    block.append(payload)
    guard header.has(HTTP2Frame.endHeaders) else { return }
    self.block = nil
    blockStream = 0
    receiveBlock(block.bytes, header.stream, blockEndsStream)
    workspace.give(block)
  }

  private func receiveBlock(_ block: RawSpan, _ id: UInt32, _ endsStream: Bool) {
    if let stream = streams[id] {
      receiveBlock(block, for: stream, endsStream)
      return
    }
    if role == .client {
      // An upstream begins no streams; what it says on one that we reset is dropped.
      if id & 1 == 0 || id >= nextStream { return fail(.frameOnIdleStream) }
      return discardLate(block, id)
    }
    if id & 1 == 0 { return fail(.evenStreamOfClient) }
    if id <= lastPeerStream { return discardLate(block, id) }
    if drain == .final {
      // Streams beyond the last one that we named are dropped, but change the state of the decoder.
      discard(block)
      return
    }
    lastPeerStream = id
    if streams.count >= options.concurrentStreams {
      if discard(block) { refuseUnknown(id, .tooManyStreams) }
      return
    }
    openRequest(block, id, endsStream)
  }

  /// Reads a block for a stream that is gone: one that we reset may still get its trailers.
  private func discardLate(_ block: RawSpan, _ id: UInt32) {
    if !wasReset(id) { return fail(.headersOnClosedStream) }
    if spendLate() { discard(block) }
  }

  /// Reads a block for the sake of the decoder's table; whether the connection goes on.
  @discardableResult
  private func discard(_ block: RawSpan) -> Bool {
    var sink = HTTP2FieldSink(.nothing, workspace)
    return isUsable(decoder.decode(block, limits: options.fields, with: workspace.hpack, to: &sink))
  }

  /// Whether the connection can go on after a block.
  private func isUsable(_ outcome: HPACKOutcome) -> Bool {
    switch outcome {
    case .complete, .exceeded: return true
    case .malformed:
      fail(.malformedFieldBlock)
      return false
    case .bomb:
      exceed(.hpackBomb)
      return false
    }
  }

  // MARK: - Requests

  private func openRequest(_ block: RawSpan, _ id: UInt32, _ endsStream: Bool) {
    let changes = decoder.changes
    if let memo, memo.isHead(of: block, changes: changes, endsStream: endsStream) {
      let input = workspace.takeBuffer()
      memo.append(to: input)
      return open(id, input, memo.shape, urgency: memo.urgency, isIncremental: memo.isIncremental, endsStream)
    }
    var fields = HTTP2FieldSink(.request, workspace)
    let outcome = decoder.decode(block, limits: options.fields, with: workspace.hpack, to: &fields)
    if !isUsable(outcome) { return }
    if case .exceeded(let limit) = outcome {
      exceed(limit)
      answer(id, status: 431, endsStream)
      return
    }
    if let fault = fields.fault { return refuseUnknown(id, fault) }
    let input = workspace.takeBuffer()
    var shape = HTTP2HeadWriter.Shape()
    if let fault = HTTP2HeadWriter.appendRequest(
      fields, workspace, endsStream: endsStream, announcesClose: options.announcesClose, &shape, to: input)
    {
      workspace.give(input)
      return refuseUnknown(id, fault)
    }
    if shape.isExtendedConnect && !isWebSocket(fields) {
      workspace.give(input)
      return answer(id, status: 501, endsStream)
    }
    // Each request for a tunnel has a key of its own.
    if decoder.changes == changes && block.byteCount <= HTTP2HeadMemo.blockBytes && !shape.isExtendedConnect {
      remember(block, input, fields, shape, endsStream)
    }
    open(id, input, shape, urgency: fields.urgency, isIncremental: fields.isIncremental, endsStream)
  }

  /// Keeps a head for the next block like this, if there was one before.
  private func remember(
    _ block: RawSpan, _ head: ByteBuffer, _ fields: borrowing HTTP2FieldSink, _ shape: HTTP2HeadWriter.Shape,
    _ endsStream: Bool
  ) {
    let hash = HPACKHash.of(name: RawSpan(), identity: 1, value: block)
    if hash == lastBlock && head.count <= HTTP2HeadMemo.headBytes {
      memo = HTTP2HeadMemo(
        block, head.bytes, fields, shape, changes: decoder.changes, endsStream: endsStream)
    }
    lastBlock = hash
  }

  private func open(
    _ id: UInt32, _ input: ByteBuffer, _ shape: HTTP2HeadWriter.Shape, urgency: UInt8, isIncremental: Bool,
    _ endsStream: Bool
  ) {
    let stream = workspace.takeStream()
    stream.id = id
    stream.method = shape.method
    if shape.isExtendedConnect {
      stream.isExtendedConnect = true
      // It is the last field.
      let end = input.count - 4
      stream.webSocketKey = input.bytes.extracting(end - HTTP2Workspace.webSocketKeyBytes..<end).array
    }
    stream.urgency = urgency
    stream.isIncremental = isIncremental
    stream.input = input
    stream.headBytes = input.count
    stream.hasInputHead = true
    stream.inputLeft = shape.length
    stream.isInputChunked = shape.isChunked
    // What follows a request for a tunnel must not be taken for another request where there will be no tunnel.
    stream.isInputHeld = shape.isTunnel
    stream.isNew = true
    list(stream)
    idleBudget.refund(2, options.idleFrames)
    windowBudget.refund(2, options.windowUpdates)
    signal(stream, .readable)
    if endsStream { endInput(stream) }
  }

  private func isWebSocket(_ fields: borrowing HTTP2FieldSink) -> Bool {
    let parts = workspace.parts
    return options.offersExtendedConnect && parts.bytes.extracting(fields.protocolName.offsets).spells("websocket")
  }

  /// Answers a request that nobody is to see, and takes nothing more of it.
  private func answer(_ id: UInt32, status: Int, _ endsStream: Bool) {
    if !spendReset() { return }
    let block = workspace.block
    block.removeAll()
    encoder.begin(to: block)
    encoder.append(status: status, to: block)
    appendFieldBlock(stream: id, endsStream: true)
    if endsStream { return }
    note(reset: id)
    appendReset(id, .noError)
  }

  /// Puts a stream into the table.
  func list(_ stream: HTTP2Stream) {
    stream.isListed = true
    stream.receiveWindow = Int64(options.streamWindowBytes)
    stream.sendWindow = peerInitialWindow
    streams.insert(stream)
  }

  // MARK: - Everything that belongs to a stream

  private func receiveBlock(_ block: RawSpan, for stream: HTTP2Stream, _ endsStream: Bool) {
    if stream.hasPeerEnded {
      if discard(block) { refuse(stream, .frameOnClosedStream) }
      return
    }
    if stream.hasInputHead { return receiveTrailers(block, stream, endsStream) }
    guard let fields = decode(block, .response, of: stream) else { return }
    if stream.headBytes > options.fieldBlockBytes { return refuse(stream, .tooManyInformational) }
    let input = inputBuffer(stream)
    let before = input.count
    var shape = HTTP2HeadWriter.Shape()
    var status = 0
    if let fault = HTTP2HeadWriter.appendResponse(
      fields, workspace,
      to: HTTP2HeadWriter.Question(method: stream.method, isExtendedConnect: stream.isExtendedConnect),
      endsStream: endsStream, announcesClose: options.announcesClose, webSocketKey: stream.webSocketKey, &shape,
      &status, to: input)
    {
      return refuse(stream, fault)
    }
    stream.headBytes += input.count - before
    if status >= 200 {
      stream.hasInputHead = true
      stream.inputLeft = shape.length
      stream.isInputChunked = shape.isChunked
      openTunnelToUpstream(stream, isAgreed: shape.isTunnel)
    }
    signal(stream, .readable)
    if endsStream { endInput(stream) }
  }

  private func openTunnelToUpstream(_ stream: HTTP2Stream, isAgreed: Bool) {
    guard stream.isExtendedConnect else { return }
    if isAgreed {
      flush(stream)
    } else {
      // Nothing else can follow a request for a tunnel.
      stream.sending = .complete
      flush(stream)
    }
  }

  /// The fields of a block that belongs to a stream; nil where they end the stream or the connection.
  private func decode(_ block: RawSpan, _ kind: HTTP2FieldSink.Kind, of stream: HTTP2Stream) -> HTTP2FieldSink? {
    var fields = HTTP2FieldSink(kind, workspace)
    let outcome = decoder.decode(block, limits: options.fields, with: workspace.hpack, to: &fields)
    if !isUsable(outcome) { return nil }
    if case .exceeded(let limit) = outcome {
      exceed(limit)
      reset(stream, .enhanceYourCalm)
      return nil
    }
    if let fault = fields.fault {
      refuse(stream, fault)
      return nil
    }
    return fields
  }

  private func receiveTrailers(_ block: RawSpan, _ stream: HTTP2Stream, _ endsStream: Bool) {
    guard decode(block, .trailers, of: stream) != nil else { return }
    if !endsStream { return refuse(stream, .trailersWithoutEnd) }
    if stream.inputLeft > 0 { return refuse(stream, .contentLengthMismatch) }
    endInput(stream, trailers: workspace.lines)
  }

  /// Notes that the peer has ended the stream.
  func endInput(_ stream: HTTP2Stream, trailers: ByteBuffer? = nil) {
    stream.hasPeerEnded = true
    if stream.isInputChunked && !stream.isInputDiscarded {
      let input = inputBuffer(stream)
      input.append("0\r\n")
      if let trailers { input.append(trailers.bytes) }
      input.append("\r\n")
    }
    signal(stream, stream.sending == .raw ? [.readable, .peerEnded] : .readable)
    finishIfDone(stream)
  }

  func inputBuffer(_ stream: HTTP2Stream) -> ByteBuffer {
    if let input = stream.input { return input }
    let buffer = workspace.takeBuffer()
    stream.input = buffer
    return buffer
  }
}
