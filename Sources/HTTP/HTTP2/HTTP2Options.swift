/// How much of something a peer may do: so many at once, and so many a second afterwards.
public struct HTTP2Rate: BitwiseCopyable, Sendable {
  /// How many at once; also what the peer can save up.
  public var burst: Int32
  /// How many a second.
  public var perSecond: Int32

  /// That rate.
  public init(burst: Int32, perSecond: Int32) {
    self.burst = burst
    self.perSecond = perSecond
  }
}

/// What a connection allows its peer. The defaults suit nearly everyone: they are far above what any client needs, and far
/// below what hurts.
public struct HTTP2Options: Sendable {
  /// Streams that the peer may have open at a time; ones beyond are refused, which is safe to retry.
  public var concurrentStreams = 128
  /// Streams that are opened towards an upstream in all the connection's life.
  public var totalStreams = Int.max
  /// Bytes of one stream that wait for its owner at most; not below 65,535.
  public var streamWindowBytes = 65_535
  /// Bytes of all streams of the connection that wait for their owners at most; not below 65,535.
  public var connectionWindowBytes = 1 << 20
  /// Bytes and fields of one message's fields.
  public var fields = HPACKLimits()
  /// Bytes of one field block before it is unpacked.
  public var fieldBlockBytes = 65_536
  /// CONTINUATION frames of one field block.
  public var continuations = 16
  /// Bytes of one stream that wait to be sent at most.
  public var sendBufferBytes = 32_768
  /// Bytes of the connection that wait to be sent before streams have to wait.
  public var outputBytes = 65_536
  /// Bytes of answers to control frames beyond that; ``HTTP2Limit/controlQueue``.
  public var controlBytes = 32_768
  /// Streams of a client that were cancelled or refused; each that ends well gives one back. ``HTTP2Limit/rapidReset``
  public var resets = HTTP2Rate(burst: 200, perSecond: 20)
  /// SETTINGS frames; ``HTTP2Limit/settingsFlood``.
  public var settings = HTTP2Rate(burst: 20, perSecond: 1)
  /// PING frames; each DATA frame sent gives one back. ``HTTP2Limit/pingFlood``
  public var pings = HTTP2Rate(burst: 100, perSecond: 10)
  /// DATA frames without data that end nothing; ``HTTP2Limit/emptyFrames``.
  public var emptyFrames = HTTP2Rate(burst: 100, perSecond: 10)
  /// DATA frames of a client below 64 bytes that end nothing; ``HTTP2Limit/tinyFrames``.
  public var tinyFrames = HTTP2Rate(burst: 20_000, perSecond: 10_000)
  /// WINDOW_UPDATE frames; each DATA frame sent gives eight back. ``HTTP2Limit/windowUpdateFlood``
  public var windowUpdates = HTTP2Rate(burst: 2_000, perSecond: 100)
  /// PRIORITY, PRIORITY_UPDATE, GOAWAY and unknown frames, and ones for streams that are gone, where those are more than
  /// may have been on their way; each new stream gives two back. ``HTTP2Limit/idleFrames``
  public var idleFrames = HTTP2Rate(burst: 500, perSecond: 50)
  /// How long a stream or a connection may have something to send without a window, or output of which nothing is taken.
  public var stallTimeout = Duration.seconds(30)
  /// How long the peer may take for its connection preface, and to acknowledge our SETTINGS.
  public var settingsTimeout = Duration.seconds(10)
  /// Whether extended CONNECT (RFC 8441) is offered to clients.
  public var offersExtendedConnect = true
  /// Whether translated heads say `connection: close`, since a stream carries one exchange.
  public var announcesClose = false
  /// Whether a client's requests say that their scheme is `https`.
  public var isSecure = true

  /// Bytes of a frame's payload at most.
  public static let frameBytes = HTTP2Frame.largestPayload

  /// The defaults.
  public init() {}
}

/// What is left of a rate.
struct HTTP2Budget: BitwiseCopyable {
  private var left: Int32 = 0
  private var isStarted = false
  private var since: Int64 = 0

  /// Takes one; false where nothing is left.
  @inline(__always)
  mutating func spend(_ rate: HTTP2Rate, at nanoseconds: Int64) -> Bool {
    if isStarted && left > 0 {
      left &-= 1
      return true
    }
    return refill(rate, at: nanoseconds)
  }

  @inline(never)
  private mutating func refill(_ rate: HTTP2Rate, at nanoseconds: Int64) -> Bool {
    if !isStarted {
      isStarted = true
      since = nanoseconds
      left = rate.burst
    } else if rate.perSecond > 0 {
      // What the time since the last refill is worth, up to a full burst.
      let interval = 1_000_000_000 / Int64(rate.perSecond)
      let earned = max(0, nanoseconds &- since) / interval
      left = Int32(truncatingIfNeeded: min(Int64(left) + earned, Int64(rate.burst)))
      since = earned >= Int64(rate.burst) ? nanoseconds : since &+ earned &* interval
    }
    if left <= 0 { return false }
    left &-= 1
    return true
  }

  /// Gives `count` back, up to a full burst.
  @inline(__always)
  mutating func refund(_ count: Int32, _ rate: HTTP2Rate) {
    if isStarted && left < rate.burst { left = min(left &+ count, rate.burst) }
  }
}
