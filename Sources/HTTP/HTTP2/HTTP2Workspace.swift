import Core

/// What all HTTP/2 connections of one loop share: the time, parsers, memory to work in, and pools of streams and buffers.
/// Not `Sendable`; about 80 KiB.
public final class HTTP2Workspace {
  /// The moment that everything happens at: set it once a turn, before connections are used.
  public var now = Instant(nanoseconds: 0)
  /// Appends what `Sec-WebSocket-Accept` must say to a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2): the owner has SHA-1.
  let webSocketAccept: (_ key: RawSpan, _ target: ByteBuffer) -> Void
  /// Makes what a `Sec-WebSocket-Key` stands for (RFC 6455 section 4.1).
  let webSocketNonce: () -> UInt128

  let hpack = HPACKWorkspace()
  let requestHead = RequestHead()
  let responseHead = ResponseHead()
  /// Heads that are written to streams, on their way to the parsers.
  let heads = ByteBuffer(capacity: 4_096)
  /// The field lines, pseudo-header fields and cookies of the message that is being received.
  let lines = ByteBuffer(capacity: 2_048)
  let parts = ByteBuffer(capacity: 512)
  let cookies = ByteBuffer()
  /// The field block that is being sent.
  let block = ByteBuffer(capacity: 2_048)
  /// Lent where there is nothing.
  let empty = ByteBuffer()

  private var exceeded = InlineArray<16, UInt64>(repeating: 0)
  private var streams: ContiguousArray<HTTP2Stream> = []
  private var buffers: ContiguousArray<ByteBuffer> = []

  /// Idle streams and buffers kept for later.
  private static let streamsKept = 256
  private static let buffersKept = 256
  /// Bytes that a kept buffer has at most.
  private static let bufferBytes = 16_384

  /// A workspace; each number of `webSocketNonce` is another one (RFC 6455 section 4.1).
  public init(
    webSocketAccept: @escaping (_ key: RawSpan, _ target: ByteBuffer) -> Void,
    webSocketNonce: @escaping () -> UInt128
  ) {
    self.webSocketAccept = webSocketAccept
    self.webSocketNonce = webSocketNonce
  }

  /// Bytes of a `Sec-WebSocket-Key`.
  static let webSocketKeyBytes = 24
  private static let base64: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

  /// Appends the `Sec-WebSocket-Key` of another request: what Base64 makes of sixteen bytes, the last digit of which has
  /// two of their bits.
  func appendWebSocketKey(to target: ByteBuffer) {
    var bits = webSocketNonce()
    for digit in 0..<22 {
      let value = digit < 21 ? Int(bits & 63) : Int(bits & 3) << 4
      // The alphabet has 64 characters, and `value` is below that.
      unsafe target.append(Self.base64.utf8Start[value])
      bits >>= 6
    }
    target.append("==")
  }

  /// How often connections of this loop have exceeded a limit.
  public func count(of limit: HTTP2Limit) -> UInt64 { exceeded[Int(limit.rawValue & 15)] }

  /// How often connections of this loop have exceeded any limit.
  public private(set) var exceededCount: UInt64 = 0

  func note(_ limit: HTTP2Limit) {
    exceeded[Int(limit.rawValue & 15)] &+= 1
    exceededCount &+= 1
  }

  func takeBuffer() -> ByteBuffer { buffers.popLast() ?? ByteBuffer(capacity: 1_024) }

  func give(_ buffer: consuming ByteBuffer) {
    if buffers.count >= Self.buffersKept { return }
    buffer.removeAll(keeping: Self.bufferBytes)
    buffers.append(buffer)
  }

  func takeStream() -> HTTP2Stream { streams.popLast() ?? HTTP2Stream() }

  func give(_ stream: HTTP2Stream) {
    stream.prepareForReuse(self)
    if streams.count < Self.streamsKept { streams.append(stream) }
  }
}
