import Core

// What the owner of streams does with them, how they end, and what is told about them.

extension HTTP2Connection {
  // MARK: - Events

  /// Whether there is something that ``nextEvent()`` would tell.
  public var hasEvents: Bool { !events.isEmpty }

  /// What happened next to a stream; nil where nothing has.
  public func nextEvent() -> HTTP2Event? {
    while let stream = events.popFirst() {
      stream.isQueued = false
      let readiness = stream.readiness
      stream.readiness = []
      if stream.isNew {
        stream.isNew = false
        if stream.isReset {
          // Nobody has seen it, and nobody needs to.
          workspace.give(stream)
          continue
        }
        stream.isOwned = true
        return .opened(stream)
      }
      if stream.isClosedByOwner {
        if !stream.isListed { workspace.give(stream) }
        continue
      }
      return .ready(stream, readiness)
    }
    return nil
  }

  /// Queues an event.
  func signal(_ stream: HTTP2Stream, _ readiness: Readiness) {
    stream.readiness.formUnion(readiness)
    if stream.isQueued || stream.isClosedByOwner { return }
    stream.isQueued = true
    events.append(stream)
  }

  // MARK: - Opening

  /// Whether the peer's settings are known.
  public var isSettled: Bool { phase == .open }

  /// How many streams may be opened towards the upstream now.
  public var availableStreams: Int {
    if role == .server || closure != nil || isPeerLeaving || drain != .none { return 0 }
    if nextStream > HTTP2Frame.largestStream - 2 * UInt32(unsent.count + 1) { return 0 }
    // Those that were opened have the numbers 1, 3, and so on below the next one.
    let left = options.totalStreams - Int(nextStream / 2) - unsent.count
    return max(0, min(left, streamLimit - openStreams))
  }

  /// How many streams may be open towards the upstream at a time.
  public var streamLimit: Int { Int(min(peerStreams, Int64(options.concurrentStreams))) }

  /// Opens a stream towards the upstream, on which one request can be written; nil where ``availableStreams`` is 0.
  public func open() -> HTTP2Stream? {
    if availableStreams == 0 { return nil }
    let stream = workspace.takeStream()
    stream.isOwned = true
    unsent.append(stream)
    return stream
  }

  // MARK: - Reading

  /// The least that ``read(_:into:limit:)`` may be asked for.
  public static let leastRead = 64

  /// Appends at most `limit` bytes of HTTP/1.1 to `buffer`, as a socket would: a count below `limit` means that nothing is
  /// left, or that an event follows. `limit` is at least ``leastRead``. The end of a stream to a server comes once its
  /// response has been written and its request was read.
  public func read(_ stream: HTTP2Stream, into buffer: ByteBuffer, limit: Int) -> TransferResult {
    precondition(limit >= Self.leastRead)
    if stream.isReset { return .failed(.reset) }
    // The stream keeps it until everything of it has been read.
    guard let input = stream.input.map(Borrowed.init), input.with({ !$0.isEmpty }) else { return standing(stream) }
    return input.with { read(stream, $0, into: buffer, limit: limit) }
  }

  @inline(__always)
  private func read(
    _ stream: HTTP2Stream, _ input: ByteBuffer, into buffer: ByteBuffer, limit: Int
  ) -> TransferResult {
    var left = limit
    if stream.headBytes > 0 {
      let count = min(stream.headBytes, left)
      buffer.append(input.bytes.extracting(0..<count))
      input.consume(count)
      stream.headBytes &-= count
      left &-= count
    }
    if stream.headBytes == 0 && stream.bodyBytes > 0 && !stream.isInputHeld { readBody(stream, input, buffer, &left) }
    if stream.headBytes == 0 && stream.bodyBytes == 0 && !input.isEmpty {
      let count = min(input.count, left)
      buffer.append(input.bytes.extracting(0..<count))
      input.consume(count)
      left &-= count
    }
    if input.isEmpty {
      stream.releaseInput(workspace)
      if isOver(stream) { signal(stream, [.readable, .peerEnded]) }
    } else if left > 0 && !stream.isInputHeld {
      signal(stream, .readable)
    }
    return left == limit ? .wouldBlock : .count(limit &- left)
  }

  private func readBody(_ stream: HTTP2Stream, _ input: ByteBuffer, _ buffer: ByteBuffer, _ left: inout Int) {
    // A chunk's size, and two line ends.
    let framing = stream.isInputChunked ? 16 : 0
    if left <= framing { return }
    let count = min(stream.bodyBytes, left &- framing)
    let before = buffer.count
    if stream.isInputChunked {
      buffer.append(hexadecimal: UInt64(count))
      buffer.append("\r\n")
      buffer.append(input.bytes.extracting(0..<count))
      buffer.append("\r\n")
    } else {
      buffer.append(input.bytes.extracting(0..<count))
    }
    input.consume(count)
    left &-= buffer.count &- before
    stream.bodyBytes &-= count
    creditConnection(count)
    creditStream(stream, count)
  }

  private func standing(_ stream: HTTP2Stream) -> TransferResult { isOver(stream) ? .ended : .wouldBlock }

  /// Whether nothing more can be read, ever.
  private func isOver(_ stream: HTTP2Stream) -> Bool {
    stream.hasPeerEnded && (role == .client || stream.hasEnded || stream.sending == .raw)
  }

  // MARK: - Ending

  /// Gives a stream up; nothing of it may be used afterwards. What was written before is still sent. Without `reset`, this
  /// is also the end of a body that ends with its connection. A message that is not complete is cancelled.
  public func close(_ stream: HTTP2Stream, reset isReset: Bool) {
    stream.isOwned = false
    stream.isClosedByOwner = true
    if stream.id == 0 { unsent.removeAll { $0 === stream } }
    if stream.isListed {
      if isReset {
        reset(stream, .cancel)
      } else {
        closeListed(stream)
      }
    } else if stream.bodyBytes > 0 {
      creditConnection(stream.bodyBytes)
      stream.releaseInput(workspace)
    }
    retire(stream)
  }

  private func closeListed(_ stream: HTTP2Stream) {
    if role == .client {
      // Nobody wants the response.
      reset(stream, .cancel)
      return
    }
    if stream.sending == .raw { stream.sending = .complete }
    if stream.sending != .complete {
      reset(stream, .internalError)
      return
    }
    discardInput(stream)
    flush(stream)
    endAfterResponse(stream)
  }

  /// Says that the owner will write nothing more: the end of a body that ends with its connection, and of a tunnel.
  public func endSending(_ stream: HTTP2Stream) {
    if !stream.isListed { return }
    switch stream.sending {
    case .raw:
      stream.sending = .complete
      flush(stream)
    case .complete: return
    default: reset(stream, .cancel)
    }
  }

  /// Puts a stream back into the pool once its owner, the peer and the queue of events are done with it.
  func retire(_ stream: HTTP2Stream) {
    if stream.isClosedByOwner && !stream.isListed && !stream.isQueued { workspace.give(stream) }
  }

  /// Takes a stream whose both sides have ended out of the table.
  func finishIfDone(_ stream: HTTP2Stream) {
    guard stream.isListed, stream.hasPeerEnded, stream.hasEnded else { return }
    unlist(stream)
    resetBudget.refund(1, options.resets)
    if stream.isOwned && (stream.input?.isEmpty ?? true) { signal(stream, [.readable, .peerEnded]) }
    retire(stream)
  }

  /// A response was complete before its request: the client need not send the rest (RFC 9113 section 8.1).
  func endAfterResponse(_ stream: HTTP2Stream) {
    if stream.isListed && stream.isClosedByOwner && stream.hasEnded && !stream.hasPeerEnded { reset(stream, .noError) }
  }

  private func unlist(_ stream: HTTP2Stream) {
    streams.remove(stream.id)
    stream.isListed = false
    stream.stalledSince = .never
    if dataStream === stream { dataStream = nil }
    if stream.isWaiting { stopWaiting(stream) }
    if hasBlockedHeads && role == .client { unblockHeads() }
  }

  /// Ends a stream without a word to the peer.
  func abandon(_ stream: HTTP2Stream) {
    unlist(stream)
    stream.isReset = true
    if stream.bodyBytes > 0 { creditConnection(stream.bodyBytes) }
    stream.releaseInput(workspace)
    stream.releaseOutput(workspace)
    if stream.isOwned { signal(stream, .broken) }
    retire(stream)
  }

  /// Ends a stream and tells the peer.
  func reset(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
    note(reset: stream.id)
    appendReset(stream.id, code)
    abandon(stream)
  }

  /// Ends a stream because the peer broke a rule.
  func refuse(_ stream: HTTP2Stream, _ fault: HTTP2Fault) {
    note(fault)
    if spendReset() { reset(stream, fault.code) }
  }

  /// The same for a stream that is not in the table.
  func refuseUnknown(_ id: UInt32, _ fault: HTTP2Fault) {
    note(fault)
    if !spendReset() { return }
    note(reset: id)
    appendReset(id, fault.code)
    boundControlFrames()
  }

  private func note(_ fault: HTTP2Fault) {
    lastStreamFault = fault
    exceed(.streamFault)
  }

  /// Whether another stream may end badly. An upstream's streams always may: others share the connection.
  func spendReset() -> Bool {
    if role == .client { return true }
    if resetBudget.spend(options.resets, at: workspace.now.nanoseconds) { return true }
    exceed(.rapidReset)
    return false
  }

  func receiveReset(_ id: UInt32, _ code: UInt32) {
    let isIdle = role == .server ? id > lastPeerStream || id & 1 == 0 : id >= nextStream || id & 1 == 0
    if isIdle && !(role == .server && drain == .final && id & 1 == 1) { return fail(.frameOnIdleStream) }
    guard let stream = streams[id] else {
      // One that ended here while this was on its way.
      _ = spendLate()
      return
    }
    if role == .server, !spendReset() { return }
    if code == HTTP2ErrorCode.refusedStream.rawValue { stream.isUnprocessed = true }
    if role == .client, code == HTTP2ErrorCode.noError.rawValue, stream.hasPeerEnded {
      // The response is complete, and the rest of the request is not wanted.
      return endEarly(stream)
    }
    stream.isResetByPeer = true
    abandon(stream)
  }

  private func endEarly(_ stream: HTTP2Stream) {
    stream.sending = .complete
    stream.hasEnded = true
    stream.releaseOutput(workspace)
    finishIfDone(stream)
  }

  func appendReset(_ id: UInt32, _ code: HTTP2ErrorCode) {
    let out = out
    out.appendFrameHeader(length: 4, type: HTTP2Frame.resetStream, flags: 0, stream: id)
    out.append(bigEndian: code.rawValue)
  }

  /// Drops what waits of a request's body and what will come of it.
  func discardInput(_ stream: HTTP2Stream) {
    stream.isInputDiscarded = true
    if stream.bodyBytes > 0 {
      creditConnection(stream.bodyBytes)
      creditStream(stream, stream.bodyBytes)
    }
    stream.releaseInput(workspace)
  }

  // MARK: - Streams that we reset

  /// Frames of a message but its DATA: a head before the final one, that, trailers, and a reset.
  private static let framesOnTheWay: Int32 = 4

  func note(reset id: UInt32) {
    lastForgottenReset = max(lastForgottenReset, resetStreams[resetCount & 31])
    resetStreams[resetCount & 31] = id
    resetCount &+= 1
    if lateFrames < .max - Self.framesOnTheWay { lateFrames += Self.framesOnTheWay }
  }

  /// Takes a frame for a stream that is gone; false, and the connection ended, where there were too many. However many
  /// streams we reset at once, what was on its way for them is not too much.
  func spendLate() -> Bool {
    if lateFrames > 0 {
      lateFrames -= 1
      return true
    }
    return spend(&idleBudget, options.idleFrames, .idleFrames)
  }

  /// Whether we may have reset that stream, so that what comes for it may have been on its way. Certain of late ones only.
  func wasReset(_ id: UInt32) -> Bool {
    if id <= lastForgottenReset { return true }
    for index in 0..<32 where resetStreams[index] == id { return true }
    return false
  }
}
