import Core

/// One exchange on a connection: to its owner a socket that speaks HTTP/1.1.
///
/// Whoever learns of a stream by ``HTTP2Connection/nextEvent()`` or opened it owns it, and ends that with
/// ``HTTP2Connection/close(_:reset:)``, once; afterwards the object may serve another exchange.
public final class HTTP2Stream {
  /// For the owner's use.
  public var token: UInt64 = 0
  /// The stream's identifier; 0 as long as a stream to an upstream has not sent its request.
  public internal(set) var id: UInt32 = 0
  /// Since when the stream has had bytes to send but no window for them; ``Instant/never`` where it has not.
  public internal(set) var stalledSince = Instant.never
  /// Whether the peer certainly did nothing with the request, so that it may be sent again (RFC 9113 section 8.7). False
  /// where what was written is no request that HTTP/2 can carry: it would be none the next time either.
  public internal(set) var isUnprocessed = false
  /// Whether what was written is a request that this upstream, or HTTP/2 itself, has no words for: a tunnel that it does not
  /// take, or what is no message at all. The upstream has seen nothing of it, and is not to blame.
  public internal(set) var isInexpressible = false
  /// Whether the peer has reset it.
  public internal(set) var isResetByPeer = false
  /// How soon the client wants the response, 0 to 7 with 0 first (RFC 9218 section 4.1).
  public internal(set) var urgency: UInt8 = 3
  /// Whether parts of the response are of use by themselves (RFC 9218 section 4.2). True where the client says nothing at
  /// all: then streams share the connection.
  public internal(set) var isIncremental = true

  // Standing.
  var isOwned = false
  /// In the connection's table, which makes it count as open.
  var isListed = false
  var isReset = false
  var hasPeerEnded = false
  var hasEnded = false
  var isClosedByOwner = false

  // Events: the link of the connection's queue, which keeps the streams in it.
  fileprivate var nextEvent: Borrowed<HTTP2Stream>?
  var isQueued = false
  var isNew = false
  var readiness: Readiness = []
  var wantsWritable = false

  // Receiving. What waits in `input` is first the bytes of heads, then those of the body, then the end of a chunked body;
  // the first and the last are given to the owner as they are.
  var input: ByteBuffer?
  var headBytes = 0
  var bodyBytes = 0
  /// Bytes that the peer may send, and those the owner has consumed but the peer was not told of.
  var receiveWindow: Int64 = 0
  var unannounced: Int64 = 0
  /// Whether the body goes to the owner in chunks.
  var isInputChunked = false
  /// Whether the body is kept back until the owner has agreed to a tunnel, or for good.
  var isInputHeld = false
  /// Whether the body is dropped as it comes.
  var isInputDiscarded = false
  /// Whether a final head has been received.
  var hasInputHead = false
  /// Bytes of the body that content-length still promises; −1 where it says nothing.
  var inputLeft: Int64 = -1

  // Sending.
  enum Sending: UInt8 { case head, length, chunked, raw, complete }
  var sending = Sending.head
  var sendWindow: Int64 = 0
  /// Body bytes that wait; while `sending` is `.head`, the part of a head that has arrived.
  var output: ByteBuffer?
  /// Trailer fields as lines.
  var trailers: ByteBuffer?
  /// Bytes of the body still to be written, where its length is known.
  var outputLeft: Int64 = 0
  var chunks = ChunkedDecoder()
  /// The beginning of a trailer line whose end has not been written yet.
  var heldLine: [UInt8] = []
  var isWaiting = false
  /// When the stream was last served; see ``HTTP2Connection``'s schedule.
  var servedAt: UInt64 = 0

  // The exchange.
  var method = Method.other
  var isExtendedConnect = false
  /// The `Sec-WebSocket-Key` of the request: a client's, or the one that was made for it.
  var webSocketKey: [UInt8] = []

  init() {}

  /// Bytes allocated for it beyond the object.
  var footprint: Int { (input?.capacity ?? 0) + (output?.capacity ?? 0) + (trailers?.capacity ?? 0) }

  func prepareForReuse(_ workspace: HTTP2Workspace) {
    releaseInput(workspace)
    releaseOutput(workspace)
    token = 0
    id = 0
    stalledSince = .never
    isUnprocessed = false
    isInexpressible = false
    isResetByPeer = false
    urgency = 3
    isIncremental = true
    isOwned = false
    isListed = false
    isReset = false
    hasPeerEnded = false
    hasEnded = false
    isClosedByOwner = false
    isQueued = false
    isNew = false
    readiness = []
    wantsWritable = false
    unannounced = 0
    isInputChunked = false
    isInputHeld = false
    isInputDiscarded = false
    hasInputHead = false
    inputLeft = -1
    sending = .head
    outputLeft = 0
    chunks = ChunkedDecoder()
    if !heldLine.isEmpty { heldLine = [] }
    isWaiting = false
    servedAt = 0
    method = .other
    isExtendedConnect = false
    if !webSocketKey.isEmpty { webSocketKey = [] }
  }

  func releaseInput(_ workspace: HTTP2Workspace) {
    if let input = input.take() { workspace.give(input) }
    headBytes = 0
    bodyBytes = 0
  }

  func releaseOutput(_ workspace: HTTP2Workspace) {
    if let output = output.take() { workspace.give(output) }
    if let trailers = trailers.take() { workspace.give(trailers) }
  }

  /// Whether nothing is left to be sent but what says that the stream ends.
  var isOutputEmpty: Bool { output?.isEmpty ?? true }
}

/// Streams about which there is something to tell, in the order in which it happened; a stream is in one queue at most. It
/// keeps each once, for as long as it is in it.
struct HTTP2EventQueue: ~Copyable {
  private var head: Borrowed<HTTP2Stream>?
  private var tail: Borrowed<HTTP2Stream>?

  deinit {
    var next = head
    while let stream = next.map(Self.take) { next = stream.nextEvent }
  }

  var isEmpty: Bool { head == nil }

  mutating func append(_ stream: HTTP2Stream) {
    // Given back by ``take(_:)``.
    _ = unsafe Unmanaged.passRetained(stream)
    let link = Borrowed(stream)
    if let tail { tail.with { $0.nextEvent = link } } else { head = link }
    tail = link
  }

  mutating func popFirst() -> HTTP2Stream? {
    guard let stream = head.map(Self.take) else { return nil }
    head = stream.nextEvent
    if head == nil { tail = nil }
    stream.nextEvent = nil
    return stream
  }

  /// The stream, with the reference that the queue had.
  private static func take(_ link: Borrowed<HTTP2Stream>) -> HTTP2Stream {
    unsafe link.with { unsafe Unmanaged.passUnretained($0) }.takeRetainedValue()
  }
}
