import Core

/// A client's connection: plain data, about a hundred bytes, all that an idle connection costs.
struct ClientSlot: SlabSlot {
  enum State: UInt8 {
    /// Not in use.
    case free
    /// A PROXY header must come first.
    case proxyHeader
    /// Between requests; owns no exchange.
    case idle
    /// A request head has begun to arrive.
    case head
    /// A request is in progress; its exchange knows how far.
    case exchange
    /// Upgraded: bytes pass both ways.
    case tunnel
    /// It carries streams, which have slots of their own.
    case carrier
    /// The last response has been sent; what the client still sends is discarded until it closes.
    case lingering
  }

  /// Queues of connections that may be shed when there are too many, worst first.
  enum Queue: UInt8 {
    case none
    /// Waiting for a client that takes its time: an incomplete head, a stalled body, an unread response.
    case slow
    /// Between requests.
    case idle
  }

  var socket = Socket.none
  var generation: UInt32 = 0
  var state = State.free
  var queue = Queue.none
  /// Bytes or an end of stream may wait in the kernel: no edge will tell again.
  var inputWaits = false
  /// The client has ended its sending direction.
  var peerEnded = false
  /// In the list of connections to look at again before the loop sleeps.
  var isListed = false
  /// A carrier that is to end as soon as all that its streams said has been sent.
  var isLeaving = false
  /// No further request on this connection.
  var closesAfterResponse = false
  var listener: Int32 = 0
  var exchange: Int32 = -1
  /// Requests begun on this connection, and how many there were when it got into its queue.
  var served: UInt32 = 0
  var servedWhenQueued: UInt32 = 0
  /// Neighbours in the queue.
  var previous: Int32 = -1
  var next: Int32 = -1
  /// The connection that this is a stream of; −1 where it is a connection itself.
  var carrier: Int32 = -1
  /// Streams that are open, where it carries any.
  var streams: Int32 = 0
  var peerPort: UInt16 = 0
  /// Whether the address is counted against the limit for one address: not where a proxy stands for many.
  var countsAddress = true
  /// The other end of the socket, or what a PROXY header said.
  var peer = IPAddress(high: 0, low: 0)
  /// The address under which the connection was counted.
  var ledgerAddress = IPAddress(high: 0, low: 0)
  /// When the present state has lasted too long.
  var deadline = Instant.never

  init() {}
}

/// A connection to an upstream.
struct ServerSlot: SlabSlot {
  enum State: UInt8 {
    case free
    case connecting
    /// In the pool.
    case idle
    /// An exchange's request is being sent or its response received.
    case busy
    case tunnel
  }

  var socket = Socket.none
  var generation: UInt32 = 0
  var state = State.free
  var inputWaits = false
  var peerEnded = false
  var isListed = false
  /// It has carried a response before, so that a close before the next one may be an idle timeout of the upstream.
  var isReused = false
  /// Requests sent on it.
  var served: UInt32 = 0
  var exchange: Int32 = -1
  /// The upstream's line in the queue for connections.
  var line: Int32 = -1
  var deadline = Instant.never
  /// When connecting began.
  var since = Instant.never

  init() {}
}
