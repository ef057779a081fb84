import Core

// What owners write: HTTP/1.1, whose heads become field blocks and whose bodies become DATA.

extension HTTP2Connection {
  /// Takes bytes of HTTP/1.1 (responses of a server, the request of a client), as a socket would: a count below
  /// `bytes.byteCount` means that a `writable` event follows. A stream to which something else is written breaks.
  public func write(_ stream: HTTP2Stream, _ bytes: RawSpan) -> TransferResult {
    if closure != nil || stream.isReset || stream.isClosedByOwner || stream.sending == .complete {
      return .failed(.reset)
    }
    if bytes.byteCount == 0 { return .count(0) }
    var offset = 0
    while stream.sending == .head && offset < bytes.byteCount {
      if outputCount >= options.outputBytes || (role == .client && Int64(streams.count) >= peerStreams) {
        hasBlockedHeads = true
        break
      }
      guard let count = writeHead(stream, bytes.extracting(offset..<bytes.byteCount)) else { return .failed(.reset) }
      offset &+= count
    }
    while offset < bytes.byteCount && stream.sending != .head && stream.sending != .complete {
      guard let count = writeBody(stream, bytes.extracting(offset..<bytes.byteCount)) else { return .failed(.reset) }
      if count == 0 { break }
      offset &+= count
      if offset < bytes.byteCount { flush(stream) }
    }
    // The last of it may have ended the stream.
    if stream.isListed { flush(stream) }
    if offset < bytes.byteCount {
      if stream.sending == .complete { return offset > 0 ? .count(offset) : .failed(.reset) }
      stream.wantsWritable = true
    }
    return offset > 0 ? .count(offset) : .wouldBlock
  }

  /// The same for two spans that follow each other.
  public func write(_ stream: HTTP2Stream, _ first: RawSpan, _ second: RawSpan) -> TransferResult {
    let result = first.byteCount > 0 ? write(stream, first) : .count(0)
    guard case .count(let count) = result, count == first.byteCount, second.byteCount > 0 else { return result }
    switch write(stream, second) {
    case .count(let more): return .count(count + more)
    case .wouldBlock, .ended: return count > 0 ? result : .wouldBlock
    case .failed(let error): return .failed(error)
    }
  }

  // MARK: - Heads

  /// Bytes that are looked at first for the end of a head.
  private static let usualHead = 4_096

  /// Reads the head at the front of `bytes`, behind what came of it before. Returns how many bytes belong to it, or nil
  /// where it is none.
  private func writeHead(_ stream: HTTP2Stream, _ bytes: RawSpan) -> Int? {
    Borrowed(workspace.heads).with { writeHead(stream, bytes, in: $0) }
  }

  @inline(__always)
  private func writeHead(_ stream: HTTP2Stream, _ bytes: RawSpan, in heads: ByteBuffer) -> Int? {
    heads.removeAll()
    var held = 0
    if let partial = stream.output {
      heads.append(partial.bytes)
      held = partial.count
    }
    heads.append(bytes.extracting(0..<min(bytes.byteCount, Self.usualHead)))
    var result = parse(heads)
    if result == .incomplete && bytes.byteCount > Self.usualHead {
      heads.append(bytes.extracting(Self.usualHead..<min(bytes.byteCount, HeadLimits.maximumHeadBytes)))
      result = parse(heads)
    }
    switch result {
    case .refused:
      breakOutgoing(stream)
      return nil
    case .incomplete:
      let partial = stream.output ?? workspace.takeBuffer()
      stream.output = partial
      partial.append(bytes)
      return bytes.byteCount
    case .complete(let count):
      stream.releaseOutput(workspace)
      let isSent = role == .server ? sendResponseHead(stream) : sendRequestHead(stream)
      if !isSent {
        breakOutgoing(stream)
        return nil
      }
      return count &- held
    }
  }

  private func parse(_ heads: ByteBuffer) -> HeadResult {
    let limits = HeadLimits(
      requestLineBytes: HeadLimits.maximumHeadBytes, fieldCount: HeadLimits.maximumFieldCount,
      paths: [.encodedSlashes, .emptySegments])
    return role == .server
      ? Borrowed(workspace.responseHead).with { $0.parse(heads, limits: limits) }
      : workspace.requestHead.parse(heads, limits: limits)
  }

  /// Ends a stream to which something else than a message was written.
  private func breakOutgoing(_ stream: HTTP2Stream) {
    lastStreamFault = .malformedOutgoingMessage
    if stream.isReset { return }
    stream.isInexpressible = role == .client && !stream.isUnprocessed
    if stream.isListed { reset(stream, .internalError) } else { breakUnsent(stream) }
  }

  /// Ends a stream that the peer does not know of.
  func breakUnsent(_ stream: HTTP2Stream) {
    unsent.removeAll { $0 === stream }
    stream.isReset = true
    stream.releaseOutput(workspace)
    signal(stream, .broken)
  }

  // MARK: - Bodies

  /// Takes body bytes; returns how many, or nil where they are no body.
  private func writeBody(_ stream: HTTP2Stream, _ bytes: RawSpan) -> Int? {
    switch stream.sending {
    case .length:
      let count = Int(min(Int64(bytes.byteCount), stream.outputLeft))
      let isLast = Int64(count) == stream.outputLeft
      let sent = sendAtOnce(stream, bytes.extracting(0..<count), endsStream: isLast)
      let room = max(0, options.sendBufferBytes &- (stream.output?.count ?? 0))
      let kept = min(count &- sent, room)
      if kept > 0 { outputBuffer(stream).append(bytes.extracting(sent..<sent &+ kept)) }
      stream.outputLeft &-= Int64(sent &+ kept)
      if stream.outputLeft == 0 && !stream.hasEnded { stream.sending = .complete }
      return sent &+ kept
    case .raw:
      let room = max(0, options.sendBufferBytes &- (stream.output?.count ?? 0))
      let count = min(bytes.byteCount, room)
      if count > 0 { outputBuffer(stream).append(bytes.extracting(0..<count)) }
      return count
    case .chunked: return writeChunks(stream, bytes)
    case .head, .complete: return nil
    }
  }

  private func writeChunks(_ stream: HTTP2Stream, _ bytes: RawSpan) -> Int? {
    if stream.heldLine.isEmpty { return decodeChunks(stream, bytes) }
    let held = stream.heldLine.count
    let line = ByteBuffer(capacity: held + bytes.byteCount)
    line.append(stream.heldLine)
    line.append(bytes)
    stream.heldLine = []
    return decodeChunks(stream, line.bytes).map { $0 - held }
  }

  /// Takes chunks, and then trailers: those are looked at by whole lines, the beginning of one is kept.
  private func decodeChunks(_ stream: HTTP2Stream, _ bytes: RawSpan) -> Int? {
    var offset = 0
    var isInTrailers = false
    while offset < bytes.byteCount {
      let room = isInTrailers ? .max : options.sendBufferBytes &- (stream.output?.count ?? 0)
      if room <= 0 { return offset }
      let part = bytes.extracting(offset..<offset &+ min(room, bytes.byteCount &- offset))
      switch stream.chunks.next(part) {
      case .data(let skip, let count):
        outputBuffer(stream).append(part.extracting(skip..<skip &+ count))
        offset &+= skip &+ count
      case .trailer(let name, let value, let isForbidden, let consumed):
        if !isForbidden {
          let trailers = stream.trailers ?? workspace.takeBuffer()
          stream.trailers = trailers
          trailers.append(part.extracting(name.offsets))
          trailers.append(": ")
          trailers.append(part.extracting(value.offsets))
          trailers.append("\r\n")
        }
        offset &+= consumed
      case .end(let consumed):
        stream.sending = .complete
        return offset &+ consumed
      case .incomplete(let consumed):
        offset &+= consumed
        if consumed == part.byteCount { continue }
        if offset &+ part.byteCount &- consumed < bytes.byteCount {
          isInTrailers = true
          continue
        }
        stream.heldLine = bytes.extracting(offset..<bytes.byteCount).array
        return bytes.byteCount
      case .malformed:
        breakOutgoing(stream)
        return nil
      }
    }
    return offset
  }

  func outputBuffer(_ stream: HTTP2Stream) -> ByteBuffer {
    if let output = stream.output { return output }
    let buffer = workspace.takeBuffer()
    stream.output = buffer
    return buffer
  }
}
