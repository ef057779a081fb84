import Core

// Frames that carry no message: what they must look like (RFC 9113 sections 4 and 6), and what they do.

extension HTTP2Connection {
  /// The rule that a frame breaks by its header alone.
  func judge(_ header: HTTP2FrameHeader) -> HTTP2Fault? {
    if header.length > HTTP2Frame.largestPayload { return .frameTooLarge }
    if phase == .firstSettings {
      guard header.type == HTTP2Frame.settings, !header.has(HTTP2Frame.acknowledged) else {
        return .firstFrameIsNotSettings
      }
    }
    if blockStream != 0 {
      return header.type == HTTP2Frame.continuation && header.stream == blockStream ? nil : .interruptedFieldBlock
    }
    switch header.type {
    case HTTP2Frame.data, HTTP2Frame.headers:
      if header.stream == 0 { return .missingStream }
      return header.has(HTTP2Frame.padded) && header.length == 0 ? .wrongFrameSize : nil
    case HTTP2Frame.priority: return header.stream == 0 ? .missingStream : nil
    case HTTP2Frame.resetStream:
      return header.stream == 0 ? .missingStream : header.length == 4 ? nil : .wrongFrameSize
    case HTTP2Frame.settings:
      if header.stream != 0 { return .wrongStreamZero }
      let isSized = header.has(HTTP2Frame.acknowledged) ? header.length == 0 : header.length % 6 == 0
      return isSized ? nil : .wrongFrameSize
    case HTTP2Frame.pushPromise: return .pushNotAllowed
    case HTTP2Frame.ping: return header.stream != 0 ? .wrongStreamZero : header.length == 8 ? nil : .wrongFrameSize
    case HTTP2Frame.goAway: return header.stream != 0 ? .wrongStreamZero : header.length >= 8 ? nil : .wrongFrameSize
    case HTTP2Frame.windowUpdate: return header.length == 4 ? nil : .wrongFrameSize
    case HTTP2Frame.continuation: return .continuationWithoutHeaders
    case HTTP2Frame.priorityUpdate:
      if role == .client { return .priorityUpdateFromServer }
      return header.stream != 0 ? .wrongStreamZero : header.length >= 4 ? nil : .wrongFrameSize
    default: return nil
    }
  }

  /// Obeys a frame other than DATA.
  func handle(_ header: HTTP2FrameHeader, _ payload: RawSpan) {
    switch header.type {
    case HTTP2Frame.headers: receiveHeaders(header, payload)
    case HTTP2Frame.continuation: receiveContinuation(header, payload)
    case HTTP2Frame.windowUpdate: receiveWindowUpdate(header.stream, HTTP2Frame.word(payload, 0) & 0x7fff_ffff)
    case HTTP2Frame.settings: receiveSettings(header, payload)
    case HTTP2Frame.resetStream: receiveReset(header.stream, HTTP2Frame.word(payload, 0))
    case HTTP2Frame.ping: receivePing(header, payload)
    case HTTP2Frame.goAway: receiveGoAway(payload)
    default:
      if !spend(&idleBudget, options.idleFrames, .idleFrames) { return }
      if header.type == HTTP2Frame.priorityUpdate { receivePriorityUpdate(payload) }
      if header.type == HTTP2Frame.priority && header.length != 5 {
        receiveMalformedPriority(header.stream)
      }
    }
  }

  /// Takes one from a budget; false, and the connection ended, where nothing is left.
  @inline(__always)
  func spend(_ budget: inout HTTP2Budget, _ rate: HTTP2Rate, _ limit: HTTP2Limit) -> Bool {
    if budget.spend(rate, at: workspace.now.nanoseconds) { return true }
    exceed(limit)
    return false
  }

  // MARK: - SETTINGS

  private func receiveSettings(_ header: HTTP2FrameHeader, _ payload: RawSpan) {
    if !spend(&settingsBudget, options.settings, .settingsFlood) { return }
    phase = .open
    if header.has(HTTP2Frame.acknowledged) {
      settingsDeadline = .never
      return
    }
    var initialWindow = peerInitialWindow
    for offset in stride(from: 0, to: payload.byteCount, by: 6) {
      let identifier = HTTP2Frame.half(payload, offset)
      let value = Int64(HTTP2Frame.word(payload, offset + 2))
      guard identifier < 256, let setting = HTTP2Setting(rawValue: UInt8(identifier)) else { continue }
      if let fault = obey(setting, value) { return fail(fault) }
      if setting == .initialWindowSize { initialWindow = value }
    }
    // Once for all of a frame: it concerns every stream, and what lies between is never seen.
    if initialWindow != peerInitialWindow, let fault = changeInitialWindow(to: initialWindow) { return fail(fault) }
    out.appendFrameHeader(length: 0, type: HTTP2Frame.settings, flags: HTTP2Frame.acknowledged, stream: 0)
    boundControlFrames()
    if !waiting.isEmpty { pump() }
    if hasBlockedHeads { unblockHeads() }
  }

  private func obey(_ setting: HTTP2Setting, _ value: Int64) -> HTTP2Fault? {
    switch setting {
    case .headerTableSize: encoder.setAllowedTableBytes(Int(value))
    case .enablePush:
      // Only a client may allow it (RFC 9113 section 6.5.2); nobody gets pushed anything here.
      if value > 1 || (role == .client && value != 0) { return .invalidSetting }
    case .maxConcurrentStreams: peerStreams = value
    case .initialWindowSize:
      if value > HTTP2Frame.largestWindow { return .initialWindowOverflow }
    case .maxFrameSize:
      // We never send larger frames than the least that may be announced.
      if value < 16_384 || value > 16_777_215 { return .invalidSetting }
    case .maxHeaderListSize: break
    case .enableConnectProtocol:
      if value > 1 { return .invalidSetting }
      // It must not be taken back (RFC 8441 section 3).
      if role == .client { allowsExtendedConnect = allowsExtendedConnect || value == 1 }
    case .noRFC7540Priorities: if value > 1 { return .invalidSetting }
    }
    return nil
  }

  private func changeInitialWindow(to value: Int64) -> HTTP2Fault? {
    let difference = value - peerInitialWindow
    peerInitialWindow = value
    for stream in streams.all {
      stream.sendWindow += difference
      if stream.sendWindow > HTTP2Frame.largestWindow { return .initialWindowOverflow }
      if difference > 0 { resume(stream) }
    }
    return nil
  }

  // MARK: - PING and GOAWAY

  /// What our PING of a drain carries.
  private static let drainMark: UInt64 = 0x736c_7569_6365_2121

  private func receivePing(_ header: HTTP2FrameHeader, _ payload: RawSpan) {
    if !spend(&pingBudget, options.pings, .pingFlood) { return }
    if header.has(HTTP2Frame.acknowledged) {
      let mark = UInt64(HTTP2Frame.word(payload, 0)) << 32 | UInt64(HTTP2Frame.word(payload, 4))
      if mark == Self.drainMark && drain == .announced { finishDrain() }
      return
    }
    out.appendFrameHeader(length: 8, type: HTTP2Frame.ping, flags: HTTP2Frame.acknowledged, stream: 0)
    out.append(payload)
    boundControlFrames()
  }

  private func receiveGoAway(_ payload: RawSpan) {
    if !spend(&idleBudget, options.idleFrames, .idleFrames) { return }
    isPeerLeaving = true
    if role == .server { return }
    let last = HTTP2Frame.word(payload, 0) & 0x7fff_ffff
    for stream in streams.all where stream.id > last {
      stream.isUnprocessed = true
      abandon(stream)
    }
  }

  func appendGoAway(lastStream: UInt32, _ code: HTTP2ErrorCode) {
    out.appendFrameHeader(length: 8, type: HTTP2Frame.goAway, flags: 0, stream: 0)
    out.append(bigEndian: lastStream)
    out.append(bigEndian: code.rawValue)
  }

  /// Begins to end the connection without loss (RFC 9113 section 6.8): a server says that it will take no more streams, and
  /// stops taking them one round trip later, or at ``finishDrain()``; a client opens no more. See ``isDrained``.
  public func beginDrain() {
    if closure != nil || drain != .none { return }
    if role == .client {
      drain = .final
      return
    }
    drain = .announced
    appendGoAway(lastStream: HTTP2Frame.largestStream, .noError)
    out.appendFrameHeader(length: 8, type: HTTP2Frame.ping, flags: 0, stream: 0)
    out.append(bigEndian: UInt32(truncatingIfNeeded: Self.drainMark >> 32))
    out.append(bigEndian: UInt32(truncatingIfNeeded: Self.drainMark))
  }

  /// Takes no more streams from now on: the second step of a drain, for a peer that does not answer the first in time; or
  /// its only step, for a connection that is idle.
  public func finishDrain() {
    if closure != nil || drain == .final { return }
    drain = .final
    appendGoAway(lastStream: lastPeerStream, .noError)
  }

  /// Whether a drain is over: no stream is open and nothing waits to be sent, so that the transport can be closed.
  public var isDrained: Bool { drain == .final && openStreams == 0 && output.isEmpty }

  // MARK: - Priorities

  /// Bytes of a PRIORITY_UPDATE that is read; what matters of one has fewer than ten.
  private static let priorityBytes = 256

  private func receivePriorityUpdate(_ payload: RawSpan) {
    let id = HTTP2Frame.word(payload, 0) & 0x7fff_ffff
    if id == 0 || id & 1 == 0 {
      fail(.missingStream)
      return
    }
    // One that comes before its request is forgotten, as RFC 9218 section 7.1 lets us.
    guard payload.byteCount <= Self.priorityBytes, let stream = streams[id] else { return }
    HTTP2Priority.read(payload.extracting(4..<payload.byteCount), &stream.urgency, &stream.isIncremental)
  }

  private func receiveMalformedPriority(_ id: UInt32) {
    // RFC 9113 section 6.3.
    if let stream = streams[id] { refuse(stream, .wrongPrioritySize) }
  }

  // MARK: - Time

  /// When ``checkTime()`` has to be called at the latest; ``Instant/never`` where nothing is due. Looks at all streams.
  public var deadline: Instant {
    if closure != nil { return .never }
    var earliest = settingsDeadline
    let stall = min(stalledSince, untakenSince)
    if stall != .never { earliest = min(earliest, stall + options.stallTimeout) }
    streams.forEach { stream in
      if stream.stalledSince != .never { earliest = min(earliest, stream.stalledSince + options.stallTimeout) }
    }
    return earliest
  }

  /// Ends what a peer has kept waiting for too long: streams and connections without a window, output that it does not
  /// take, a preface that does not come, SETTINGS that are not acknowledged.
  public func checkTime() {
    if closure != nil { return }
    let now = workspace.now
    if now >= settingsDeadline { return exceed(.settingsTimeout) }
    let stall = min(stalledSince, untakenSince)
    if stall != .never, now >= stall + options.stallTimeout { return exceed(.connectionStall) }
    for stream in streams.all where stream.stalledSince != .never && now >= stream.stalledSince + options.stallTimeout {
      exceed(.streamStall)
      reset(stream, .cancel)
    }
  }
}
