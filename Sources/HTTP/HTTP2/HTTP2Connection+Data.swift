import Core

// DATA that arrives, and the windows of both directions (RFC 9113 sections 5.2, 6.1 and 6.9).
//
// A frame is judged by its header and handed on as it comes in; it is never kept until it is whole. What nobody will read
// (padding, DATA of streams that are gone) opens the connection's window again at once, all else when the owner reads it.

extension HTTP2Connection {
  /// Takes the header of a DATA frame; `padding` is the pad length where the frame has one.
  func beginData(_ header: HTTP2FrameHeader, padding: Int?) {
    let overhead = padding.map { $0 &+ 1 } ?? 0
    if overhead > header.length { return fail(.paddingTooLong) }
    receiveWindow &-= Int64(header.length)
    if receiveWindow < 0 { return fail(.connectionWindowExceeded) }
    dataLeft = header.length &- overhead
    paddingLeft = padding ?? 0
    dataEndsStream = header.has(HTTP2Frame.endStream)
    dataStream = nil
    if overhead > 0 { creditConnection(overhead) }
    if dataLeft < Self.tinyBytes && !dataEndsStream && !isModest(dataLeft) { return }
    guard let stream = streams[header.stream] else {
      receiveLateData(header.stream)
      return
    }
    if let fault = judge(header, stream) {
      refuse(stream, fault)
      return
    }
    stream.receiveWindow &-= Int64(header.length)
    if stream.receiveWindow < 0 { return refuse(stream, .streamWindowExceeded) }
    if overhead > 0 { creditStream(stream, overhead) }
    if stream.inputLeft >= 0 { stream.inputLeft &-= Int64(dataLeft) }
    dataStream = stream
    if dataLeft == 0 && paddingLeft == 0 { finishData() }
  }

  /// Payloads below so many bytes are counted.
  private static let tinyBytes = 64

  /// Whether the connection goes on after a small frame that ends nothing. Upstreams that serve gRPC send nothing else.
  private func isModest(_ count: Int) -> Bool {
    if count == 0 { return spend(&emptyBudget, options.emptyFrames, .emptyFrames) }
    return role == .client || spend(&tinyBudget, options.tinyFrames, .tinyFrames)
  }

  private func judge(_ header: HTTP2FrameHeader, _ stream: HTTP2Stream) -> HTTP2Fault? {
    if stream.hasPeerEnded { return .frameOnClosedStream }
    if !stream.hasInputHead { return .dataBeforeHeaders }
    if stream.inputLeft >= 0 {
      let left = stream.inputLeft &- Int64(dataLeft)
      if left < 0 || (dataEndsStream && left > 0) { return .contentLengthMismatch }
    }
    return nil
  }

  /// DATA of a stream that is not open.
  private func receiveLateData(_ id: UInt32) {
    let isIdle = role == .server ? id > lastPeerStream || id & 1 == 0 : id >= nextStream || id & 1 == 0
    if isIdle && !(role == .server && drain == .final && id & 1 == 1) { return fail(.frameOnIdleStream) }
    if isIdle { return }
    if !wasReset(id) { return refuseUnknown(id, .frameOnClosedStream) }
    // Others cost the peer as much as any DATA, or were counted by their size.
    if dataEndsStream { _ = spendLate() }
  }

  /// Takes what has arrived of a DATA frame's payload.
  func continueData(_ buffer: ByteBuffer) {
    if dataLeft > 0 {
      let count = min(dataLeft, buffer.count)
      if let stream = dataStream, !stream.isInputDiscarded {
        inputBuffer(stream).append(buffer.bytes.extracting(0..<count))
        stream.bodyBytes &+= count
        if !stream.isInputHeld { signal(stream, .readable) }
      } else {
        creditConnection(count)
        if let dataStream { creditStream(dataStream, count) }
      }
      dataLeft &-= count
      buffer.consume(count)
    }
    if dataLeft == 0 {
      let count = min(paddingLeft, buffer.count)
      paddingLeft &-= count
      buffer.consume(count)
      if paddingLeft == 0 { finishData() }
    }
  }

  private func finishData() {
    guard let stream = dataStream else { return }
    dataStream = nil
    if dataEndsStream { endInput(stream) }
  }

  // MARK: - Receive windows

  /// Opens the connection's window again for bytes that nobody holds any more.
  func creditConnection(_ count: Int) {
    unannounced &+= Int64(count)
    // Seldom, but at once where the peer is about to run out.
    if unannounced &* 2 < Int64(options.connectionWindowBytes) && unannounced < receiveWindow { return }
    if closure != nil { return }
    appendWindowUpdate(stream: 0, Int(unannounced))
    receiveWindow &+= unannounced
    unannounced = 0
  }

  /// The same for a stream's window.
  func creditStream(_ stream: HTTP2Stream, _ count: Int) {
    stream.unannounced &+= Int64(count)
    if stream.hasPeerEnded || !stream.isListed { return }
    if stream.unannounced &* 2 < Int64(options.streamWindowBytes) && stream.unannounced < stream.receiveWindow {
      return
    }
    appendWindowUpdate(stream: stream.id, Int(stream.unannounced))
    stream.receiveWindow &+= stream.unannounced
    stream.unannounced = 0
  }

  func appendWindowUpdate(stream: UInt32, _ count: Int) {
    let out = out
    out.appendFrameHeader(length: 4, type: HTTP2Frame.windowUpdate, flags: 0, stream: stream)
    out.append(bigEndian: UInt32(truncatingIfNeeded: count))
  }

  // MARK: - Send windows

  func receiveWindowUpdate(_ id: UInt32, _ increment: UInt32) {
    if !spend(&windowBudget, options.windowUpdates, .windowUpdateFlood) { return }
    if id == 0 {
      if increment == 0 { return fail(.emptyConnectionWindowUpdate) }
      sendWindow += Int64(increment)
      if sendWindow > HTTP2Frame.largestWindow { return fail(.connectionWindowOverflow) }
      stalledSince = .never
      pump()
      return
    }
    guard let stream = streams[id] else {
      let isIdle = role == .server ? id > lastPeerStream || id & 1 == 0 : id >= nextStream || id & 1 == 0
      if isIdle && drain != .final { fail(.frameOnIdleStream) }
      return
    }
    if increment == 0 { return refuse(stream, .emptyStreamWindowUpdate) }
    stream.sendWindow += Int64(increment)
    if stream.sendWindow > HTTP2Frame.largestWindow { return refuse(stream, .streamWindowOverflow) }
    resume(stream)
    if !waiting.isEmpty { pump() }
  }

  /// Lets a stream send that had no window.
  func resume(_ stream: HTTP2Stream) {
    if stream.sendWindow <= 0 { return }
    stream.stalledSince = .never
    if !stream.isOutputEmpty && !stream.isWaiting && stream.sending != .head { wait(stream) }
  }
}
