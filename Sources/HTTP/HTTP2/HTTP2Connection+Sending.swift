import Core

// Whose DATA goes out next, and how much of it.
//
// A stream sends at once where nobody else has anything to send, which is nearly always. Otherwise it waits, and whenever
// the transport has room, the most urgent stream sends one frame (RFC 9218 section 10): of those that are equally urgent
// first the ones whose responses are useful only when complete, in the order of their requests, then the others in turn.

extension HTTP2Connection {
  /// Sends what waits of a stream, as far as windows and the other streams let it.
  func flush(_ stream: HTTP2Stream) {
    if stream.sending == .head || stream.hasEnded { return }
    if waiting.isEmpty {
      while outputCount < options.outputBytes {
        if !hasOutput(stream) { return settle(stream) }
        if !serve(stream) { break }
      }
    }
    if !stream.isListed || !hasOutput(stream) { return }
    if !stream.isWaiting && (stream.sendWindow > 0 || stream.isOutputEmpty) {
      wait(stream)
      pump()
    }
  }

  /// Whether a stream has something to send, be it that it ends.
  private func hasOutput(_ stream: HTTP2Stream) -> Bool {
    stream.isListed && (!stream.isOutputEmpty || (stream.sending == .complete && !stream.hasEnded))
  }

  /// Sends one frame; false where a window forbids it.
  private func serve(_ stream: HTTP2Stream) -> Bool {
    guard let pending = stream.output, !pending.isEmpty else {
      if stream.sending != .complete || stream.hasEnded { return false }
      sendEnd(stream)
      return true
    }
    let window = min(stream.sendWindow, sendWindow, Int64(HTTP2Frame.largestPayload))
    if window <= 0 {
      noteStall(stream)
      return false
    }
    let count = min(pending.count, Int(window))
    let ends = count == pending.count && stream.sending == .complete && stream.trailers == nil
    appendData(stream, pending.bytes.extracting(0..<count), endsStream: ends)
    pending.consume(count)
    if ends {
      markEnded(stream)
    } else {
      settle(stream)
    }
    return true
  }

  private func sendEnd(_ stream: HTTP2Stream) {
    if let trailers = stream.trailers {
      sendTrailers(stream, trailers)
      return
    }
    out.appendFrameHeader(length: 0, type: HTTP2Frame.data, flags: HTTP2Frame.endStream, stream: stream.id)
    markEnded(stream)
  }

  /// Sends as much of `bytes` as can go without waiting; returns how much.
  func sendAtOnce(_ stream: HTTP2Stream, _ bytes: RawSpan, endsStream: Bool) -> Int {
    if !stream.isOutputEmpty || !waiting.isEmpty { return 0 }
    var offset = 0
    while offset < bytes.byteCount && outputCount < options.outputBytes {
      let window = min(stream.sendWindow, sendWindow, Int64(HTTP2Frame.largestPayload))
      if window <= 0 {
        noteStall(stream)
        break
      }
      let count = min(bytes.byteCount &- offset, Int(window))
      let ends = endsStream && offset &+ count == bytes.byteCount
      appendData(stream, bytes.extracting(offset..<offset &+ count), endsStream: ends)
      offset &+= count
      if ends {
        stream.sending = .complete
        stream.hasEnded = true
      }
    }
    if stream.hasEnded { finishIfDone(stream) }
    return offset
  }

  private func appendData(_ stream: HTTP2Stream, _ bytes: RawSpan, endsStream: Bool) {
    Borrowed(out).with { out in
      out.appendFrameHeader(
        length: bytes.byteCount, type: HTTP2Frame.data, flags: endsStream ? HTTP2Frame.endStream : 0, stream: stream.id)
      out.append(bytes)
    }
    stream.sendWindow &-= Int64(bytes.byteCount)
    sendWindow &-= Int64(bytes.byteCount)
    windowBudget.refund(8, options.windowUpdates)
    // gRPC measures the round trip with a PING whenever it is sent something.
    pingBudget.refund(1, options.pings)
  }

  /// Notes that our side of a stream has ended.
  func markEnded(_ stream: HTTP2Stream) {
    stream.sending = .complete
    stream.hasEnded = true
    stream.stalledSince = .never
    stream.releaseOutput(workspace)
    if stream.hasPeerEnded {
      finishIfDone(stream)
    } else {
      endAfterResponse(stream)
    }
  }

  /// Gives an empty buffer back, and lets the owner write more.
  private func settle(_ stream: HTTP2Stream) {
    if stream.sending == .head { return }
    if stream.wantsWritable, (stream.output?.count ?? 0) <= options.sendBufferBytes / 2 {
      stream.wantsWritable = false
      signal(stream, .writable)
    }
    if let output = stream.output, output.isEmpty {
      workspace.give(output)
      stream.output = nil
    }
  }

  private func noteStall(_ stream: HTTP2Stream) {
    if stream.sendWindow <= 0 && stream.stalledSince == .never { stream.stalledSince = workspace.now }
    if sendWindow <= 0 && stalledSince == .never { stalledSince = workspace.now }
  }

  // MARK: - Waiting

  /// Lets a stream wait for its turn.
  func wait(_ stream: HTTP2Stream) {
    stream.isWaiting = true
    serves &+= 1
    stream.servedAt = serves
    waiting.append(stream)
  }

  func stopWaiting(_ stream: HTTP2Stream) {
    stream.isWaiting = false
    if let index = waiting.firstIndex(where: { $0 === stream }) { waiting.swapAt(index, waiting.count - 1) }
    waiting.removeLast()
  }

  /// Sends frames of waiting streams while there is room for them.
  func pump() {
    while closure == nil, outputCount < options.outputBytes, let stream = nextInTurn() {
      serves &+= 1
      stream.servedAt = serves
      let isServed = serve(stream)
      if stream.isWaiting && (!isServed || !hasOutput(stream)) { stopWaiting(stream) }
    }
    if sendWindow <= 0 && !waiting.isEmpty && stalledSince == .never { stalledSince = workspace.now }
  }

  /// The waiting stream whose turn it is, of those that the connection's window lets send.
  private func nextInTurn() -> HTTP2Stream? {
    var best: HTTP2Stream?
    for stream in waiting where sendWindow > 0 || stream.isOutputEmpty {
      guard let found = best else {
        best = stream
        continue
      }
      if isBefore(stream, found) { best = stream }
    }
    return best
  }

  private func isBefore(_ left: HTTP2Stream, _ right: HTTP2Stream) -> Bool {
    if left.urgency != right.urgency { return left.urgency < right.urgency }
    if left.isIncremental != right.isIncremental { return right.isIncremental }
    return left.isIncremental ? left.servedAt < right.servedAt : left.id < right.id
  }

  /// Lets owners go on whose heads had to wait for the transport.
  func unblockHeads() {
    hasBlockedHeads = false
    for stream in streams.all + unsent where stream.wantsWritable && stream.sending == .head {
      stream.wantsWritable = false
      signal(stream, .writable)
    }
  }
}
