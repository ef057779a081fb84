import Core
import Crypto
import HTTP

/// One connection of the upstream for trials; plain data in the flow's slab.
struct EchoSlot: BitwiseCopyable {
  enum Phase: UInt8, BitwiseCopyable {
    /// The slot is not in use.
    case unused
    /// Waiting for a request head, or in the middle of one.
    case head
    /// Reading a body that is counted, or sent back as it comes.
    case discard, echo
    /// The answer is ready and waits for its moment.
    case waiting
    /// Making up a body.
    case produce
    /// Sending events.
    case events
    /// After a 101: bytes are sent back as they come, or as WebSocket frames.
    case tunnel, webSocket
    /// Speaks HTTP/2: its streams have slots of their own.
    case carrier
    /// What is unsent is still sent, nothing more is read.
    case closing
  }

  var phase = Phase.unused
  var socket = Socket.none
  /// Counts the connections of this slot, so that late events of an old one are told apart.
  var generation: UInt32 = 0
  /// Whether the kernel may have bytes that we have not taken.
  var isReadable = false
  /// Whether the peer has ended its stream, although we may not have read that far.
  var peerEnded = false
  /// Whether nothing has been read of it: it may still turn out to speak TLS or HTTP/2.
  var isFresh = false
  /// Whether it is a stream of a connection, which carries one request.
  var isStream = false
  /// Whether the request is a call of gRPC, and how much of its messages has come.
  var isCall = false
  var call = EchoCall()
  var action = EchoAction.refuse
  var method = Method.get
  var isHTTP10 = false
  var keepsAlive = true
  /// How the request's body ends, how much of it is still to come, and how much has come.
  var framing = BodyFraming.none
  var bodyLeft: Int64 = 0
  var bodyCount: Int64 = 0
  var chunks = ChunkedDecoder()
  /// How much of a made-up body is left, and whether it goes out in chunks.
  var produceLeft: Int64 = 0
  var isChunked = false
  /// Events sent so far.
  var eventNumber: Int64 = 0
  /// When the wheel should wake the slot.
  var wakeAt = Instant.never
  var frames = EchoFrames()
}

/// What the command line says about answers; immutable, shared by the threads.
struct EchoSettings: Sendable {
  /// The most connections of a thread; beyond, they wait in the kernel's queue.
  static let connectionLimit = 65_536
  /// The largest fixed body: it is held in memory.
  static let bodyLimit = 64 << 20
  /// Streams that a client may have open on one connection.
  static let streamLimit = 256

  var status = 200
  var delayMilliseconds: Int64 = 0
  var isChunked = false
  /// The body of every answer that has no other meaning; nil for a description of the request.
  var fixedBody: [UInt8]?
  /// How connections are secured whose clients want that, and what session tickets are sealed with; nil where none are.
  var security: TLSServerContext?
  var tickets: TLSTicketKeys?
  /// How the answering server calls itself.
  var name = ""
}
