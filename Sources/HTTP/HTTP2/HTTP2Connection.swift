import Core

// One HTTP/2 connection (RFC 9113), as bytes in and bytes out.
//
// The owner hands in what it received and sends what waits in `output`; each stream is a virtual socket that speaks
// HTTP/1.1, so that whoever serves requests knows one protocol. Client and server are one machine: only the heads differ.
//
//     transport bytes -> receive -> frames -> field blocks -> heads of HTTP/1.1 -> read
//     transport bytes <- output <- frames <- field blocks <- heads of HTTP/1.1 <- write
//
// Everything a peer can make us do has a bound (``HTTP2Options``) with a name (``HTTP2Limit``). Nothing is allocated for a
// request on the steady path: streams and buffers come from the loop's ``HTTP2Workspace``, and an idle connection owns
// neither. Not taken: one thread of control a stream, and frames as objects; both cost more than the work itself.

/// What has happened to a stream.
public enum HTTP2Event {
  /// A client has begun a request: a new virtual socket, of which something can be read.
  case opened(HTTP2Stream)
  /// A stream became ready, as a socket would. Nothing is said twice: read until a short count.
  case ready(HTTP2Stream, Readiness)
}

/// One connection; belongs to the loop of its workspace. A few hundred bytes while no streams are open.
public final class HTTP2Connection {
  /// Which side of the connection we are.
  public enum Role: Sendable {
    /// Towards clients.
    case server
    /// Towards upstreams.
    case client
  }

  enum Phase { case preface, firstSettings, open }

  /// Which side we are.
  public let role: Role
  let options: HTTP2Options
  let workspace: HTTP2Workspace
  var phase: Phase
  /// Why the connection has ended; nil while it has not. What waits in ``output`` should still be sent then.
  public internal(set) var closure: HTTP2Closure?
  /// The last rule that a peer broke in a single stream.
  public internal(set) var lastStreamFault: HTTP2Fault?

  // Streams.
  var streams = HTTP2StreamTable()
  var events = HTTP2EventQueue()
  var waiting: ContiguousArray<HTTP2Stream> = []
  var lastPeerStream: UInt32 = 0
  var nextStream: UInt32 = 1
  /// Streams to an upstream that were opened and have not sent their request.
  var unsent: ContiguousArray<HTTP2Stream> = []
  var serves: UInt64 = 0
  var hasBlockedHeads = false
  /// The last streams that we reset: frames for them may be on their way.
  var resetStreams = InlineArray<32, UInt32>(repeating: 0)
  var resetCount = 0
  /// The highest of those that we reset before: any stream up to it may be one.
  var lastForgottenReset: UInt32 = 0
  /// Frames for streams that we reset which are still taken without spending of a budget.
  var lateFrames: Int32 = 0

  // Field blocks.
  var decoder = HPACKDecoder()
  var encoder = HPACKEncoder()
  var blockStream: UInt32 = 0
  var blockEndsStream = false
  var blockFrames = 0
  var block: ByteBuffer?
  /// The head of the last block that came twice in a row, and a hash of the last one that could become one.
  var memo: HTTP2HeadMemo?
  var lastBlock: UInt32 = 0

  // DATA that is arriving.
  var dataStream: HTTP2Stream?
  var dataLeft = 0
  var paddingLeft = 0
  var dataEndsStream = false

  // Flow control.
  var receiveWindow: Int64
  var unannounced: Int64 = 0
  var sendWindow: Int64 = 65_535
  /// Since when streams have had bytes to send but the connection no window; ``Instant/never`` where they have not.
  public internal(set) var stalledSince = Instant.never

  // The peer's settings.
  var peerInitialWindow: Int64 = 65_535
  var peerStreams = Int64(UInt32.max)
  /// Whether the upstream takes extended CONNECT (RFC 8441).
  public internal(set) var allowsExtendedConnect = false
  /// When our SETTINGS must have been acknowledged.
  var settingsDeadline: Instant

  // The way out.
  var outgoing: ByteBuffer?
  /// Since when there is output of which nothing was taken; ``Instant/never`` where there is none.
  var untakenSince = Instant.never
  enum Drain { case none, announced, final }
  var drain = Drain.none
  /// Whether the peer has said that it leaves (GOAWAY).
  public internal(set) var isPeerLeaving = false

  // Budgets.
  var resetBudget = HTTP2Budget()
  var settingsBudget = HTTP2Budget()
  var pingBudget = HTTP2Budget()
  var emptyBudget = HTTP2Budget()
  var tinyBudget = HTTP2Budget()
  var windowBudget = HTTP2Budget()
  var idleBudget = HTTP2Budget()

  /// A new connection, which wants to send its preface at once.
  public init(_ role: Role, options: HTTP2Options = HTTP2Options(), workspace: HTTP2Workspace) {
    precondition(options.streamWindowBytes >= 65_535 && options.connectionWindowBytes >= 65_535)
    self.role = role
    self.options = options
    self.workspace = workspace
    phase = role == .server ? .preface : .firstSettings
    receiveWindow = Int64(options.connectionWindowBytes)
    settingsDeadline = workspace.now + options.settingsTimeout
    appendPreface()
  }

  static let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

  /// Whether a client that has sent `bytes` speaks HTTP/2 with prior knowledge (RFC 9113 section 3.3); nil as long as they
  /// can still become a preface or a request of HTTP/1.1.
  public static func isPreface(_ bytes: RawSpan) -> Bool? {
    let size = preface.utf8CodeUnitCount
    for index in 0..<min(bytes.byteCount, size) where unsafe preface.utf8Start[index] != bytes[byte: index] {
      // The preface has `size` bytes, and `index` is below that.
      return false
    }
    return bytes.byteCount >= size ? true : nil
  }

  private func appendPreface() {
    let out = out
    if role == .client { out.append(Self.preface) }
    let start = out.count
    out.appendFrameHeader(length: 0, type: HTTP2Frame.settings, flags: 0, stream: 0)
    if role == .server {
      out.appendSetting(.maxConcurrentStreams, options.concurrentStreams)
      if options.offersExtendedConnect { out.appendSetting(.enableConnectProtocol, 1) }
      out.appendSetting(.noRFC7540Priorities, 1)
    } else {
      out.appendSetting(.enablePush, 0)
    }
    if options.streamWindowBytes != 65_535 { out.appendSetting(.initialWindowSize, options.streamWindowBytes) }
    out.appendSetting(.maxHeaderListSize, options.fields.listBytes)
    // Below 256 bytes.
    out[start + 2] = UInt8(truncatingIfNeeded: out.count - start - HTTP2FrameHeader.byteCount)
    if options.connectionWindowBytes > 65_535 {
      appendWindowUpdate(stream: 0, options.connectionWindowBytes - 65_535)
    }
  }

  // MARK: - Bytes in

  /// Takes what was received: consumes all of `buffer` but the beginning of a frame that is not complete (at most 16 KiB),
  /// which the owner keeps in front of what comes next. Afterwards look at ``nextEvent()``, ``output`` and ``closure``.
  public func receive(_ buffer: ByteBuffer) {
    while closure == nil {
      if dataLeft > 0 || paddingLeft > 0 {
        if buffer.isEmpty { return }
        continueData(buffer)
        continue
      }
      if phase == .preface {
        guard readPreface(buffer) else { return }
        continue
      }
      if buffer.count < HTTP2FrameHeader.byteCount { return }
      let header = HTTP2FrameHeader(buffer.bytes)
      if let fault = judge(header) {
        fail(fault)
        break
      }
      if header.type == HTTP2Frame.data {
        let isPadded = header.has(HTTP2Frame.padded)
        let skip = HTTP2FrameHeader.byteCount &+ (isPadded ? 1 : 0)
        if buffer.count < skip { return }
        beginData(header, padding: isPadded ? Int(buffer[HTTP2FrameHeader.byteCount]) : nil)
        buffer.consume(skip)
        continue
      }
      let end = HTTP2FrameHeader.byteCount &+ header.length
      if buffer.count < end { return }
      handle(header, buffer.bytes.extracting(HTTP2FrameHeader.byteCount..<end))
      buffer.consume(end)
    }
    buffer.removeAll()
  }

  /// Whether the preface was there and another frame may follow.
  private func readPreface(_ buffer: ByteBuffer) -> Bool {
    guard let isPreface = Self.isPreface(buffer.bytes) else { return false }
    if !isPreface {
      fail(.malformedPreface)
      return true
    }
    buffer.consume(Self.preface.utf8CodeUnitCount)
    phase = .firstSettings
    return true
  }

  // MARK: - Bytes out

  /// What waits to be sent; valid until the connection is next used.
  public var output: ByteBuffer { outgoing ?? workspace.empty }

  /// How many bytes wait to be sent.
  @inline(__always)
  var outputCount: Int { outgoing.map { Borrowed($0).with { $0.count } } ?? 0 }

  /// Notes that the first `count` bytes of ``output`` were sent, and lets streams send more: afterwards look at ``output``
  /// and ``nextEvent()`` again.
  public func sent(_ count: Int) {
    guard let outgoing else { return }
    outgoing.consume(count)
    if count > 0 { untakenSince = workspace.now }
    if !waiting.isEmpty { pump() }
    if hasBlockedHeads && outgoing.count < options.outputBytes / 2 { unblockHeads() }
    if outgoing.isEmpty {
      workspace.give(outgoing)
      self.outgoing = nil
      untakenSince = .never
    }
  }

  /// The buffer that frames go to.
  @inline(__always)
  var out: ByteBuffer { outgoing ?? beginOutput() }

  @inline(never)
  private func beginOutput() -> ByteBuffer {
    let buffer = workspace.takeBuffer()
    outgoing = buffer
    untakenSince = workspace.now
    return buffer
  }

  /// Checks after a control frame was answered that the peer reads the answers.
  func boundControlFrames() {
    if outputCount > options.outputBytes + options.controlBytes { exceed(.controlQueue) }
  }

  // MARK: - The end

  /// Ends the connection because the peer broke a rule.
  func fail(_ fault: HTTP2Fault) { end(HTTP2Closure(code: fault.code, fault: fault)) }

  /// Ends the connection, or counts what ends a stream only, because the peer exceeded a limit.
  func exceed(_ limit: HTTP2Limit) {
    workspace.note(limit)
    if limit.endsStreamOnly { return }
    end(HTTP2Closure(code: limit == .settingsTimeout ? .settingsTimeout : .enhanceYourCalm, limit: limit))
  }

  /// Ends the connection because its peer is not wanted for a while, and tells it so.
  public func turnAway() { end(HTTP2Closure(code: .enhanceYourCalm)) }

  private func end(_ closure: HTTP2Closure) {
    if self.closure != nil { return }
    appendGoAway(lastStream: lastPeerStream, closure.code)
    self.closure = closure
    breakStreams()
  }

  /// Notes that the transport's connection is gone: every stream breaks, nothing is sent any more. The owner takes the last
  /// events and closes the streams.
  public func transportEnded() {
    if closure == nil { closure = HTTP2Closure(code: .noError) }
    breakStreams()
    if let outgoing { workspace.give(outgoing) }
    outgoing = nil
    untakenSince = .never
  }

  private func breakStreams() {
    dataStream = nil
    for stream in streams.all { abandon(stream) }
    for stream in unsent {
      stream.isUnprocessed = true
      breakUnsent(stream)
    }
    if let block { workspace.give(block) }
    block = nil
  }

  /// Streams that are open, those included that were opened towards an upstream and have not sent anything.
  public var openStreams: Int { streams.count + unsent.count }

  /// Bytes allocated beyond the object itself, open streams not counted.
  public var footprint: Int {
    decoder.footprint + encoder.footprint + streams.footprint + (outgoing?.capacity ?? 0) + (block?.capacity ?? 0)
      + (memo?.footprint ?? 0)
      + (waiting.capacity + unsent.capacity) * MemoryLayout<Int>.stride
  }

  /// Gives memory back that only speeds up the next message; for connections that have been idle for a while.
  public func shrink() {
    encoder.shrink()
    streams.shrink()
    memo = nil
    if waiting.isEmpty { waiting = [] }
    if unsent.isEmpty { unsent = [] }
  }
}
