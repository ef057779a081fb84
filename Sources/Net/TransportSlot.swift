import Core
import Crypto

/// A socket of a ``Transport`` that is more than a descriptor: plain data and, while there is something in them, buffers.
struct TransportSlot {
  enum State: UInt8 {
    /// Not in use.
    case free
    /// Its bytes are passed on as they are: TLS begins later.
    case plain
    /// The connection to a server is on its way; TLS begins once it stands.
    case connecting
    /// TLS shakes hands; the owner hears of it only where something goes wrong, or in the end.
    case handshaking
    /// The same, but what the client has said before its end can be received, and answered. It lasts until that has been.
    case early
    case open
    /// The connection is broken, and the owner has still to find out.
    case failed
    /// The owner has closed it; what it sent before is still on its way.
    case closing
  }

  var state = State.free
  /// Bytes or an end may wait in the base.
  var inputWaits = false
  /// The base has said that the peer has ended its stream, or that it is broken: no further event will tell.
  var endWaits = false
  /// The peer has ended its stream, and all before it has been received.
  var hasEnded = false
  /// The owner knows that the peer has ended its stream, and has sent nothing since.
  var isEndKnown = false
  /// The end of the stream is to be sent behind ``unsent``.
  var endsAfterUnsent = false
  /// The end of the stream is to be sent behind the handshake.
  var endsAfterHandshake = false
  /// The other end is the server.
  var isServed = false
  /// In the queue of those whose handshake has to wait for its turn.
  var isQueued = false
  /// The first message of the handshake has been answered.
  var isAnswered = false
  var generation: UInt32 = 0
  var socket = Socket.none
  /// Ciphertext that has arrived during the handshake, in bytes, and how much may before it is answered.
  var handshakeBytes: Int32 = 0
  var helloLimit: Int32 = 0
  /// Why the connection is of no use.
  var fault = NetworkError.reset
  /// What the owner's events carry.
  var token: UInt64 = 0
  var session: TLSSession?
  /// What the session will be made from, once there is something for it.
  var context: TLSServerContext?
  /// Ciphertext that has arrived and is not a whole record yet.
  var kept: ByteBuffer?
  /// Ciphertext that the base has not taken.
  var unsent: ByteBuffer?
  /// The HTTP/2 connection that it carries.
  var multiplex: Multiplex?
  /// When the handshake has to be complete, or what is left sent.
  var deadline = Instant.never
  /// When the base has to have taken more of ``unsent``.
  var sendDeadline = Instant.never
  /// When the connection to a server was begun.
  var beganAt = Instant.never
}

/// Something that the owner of a socket has to be told.
public struct TransportEvent: Sendable {
  /// What the socket was registered with.
  public let token: UInt64
  /// What has happened.
  public let readiness: Readiness
}

/// How a handshake ended.
public enum HandshakeOutcome: Sendable {
  /// With all that belongs to it.
  case full
  /// With a session of before.
  case resumed
  /// It broke a rule, or nothing could be agreed on.
  case failed(TLSHandshakeFailure)
  /// It took too long.
  case timedOut
  /// The peer has gone.
  case abandoned
  /// The peer sent more than a handshake takes.
  case tooLarge
}

/// Bounds of handshakes.
public struct HandshakeLimits: Sendable {
  /// From the first byte to the last, in nanoseconds.
  public var timeout: Int64 = 10_000_000_000
  /// Bytes that a client may send before it is answered.
  public var helloBytes: Int32 = 16_384

  /// The usual limits.
  public init() {}
}
