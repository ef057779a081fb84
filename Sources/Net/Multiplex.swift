import Core
import Crypto
import HTTP

/// An HTTP/2 connection on a socket of a ``Transport``.
final class Multiplex {
  let connection: HTTP2Connection
  /// The slot of the socket beneath.
  let index: Int
  /// The beginning of a frame.
  var kept: ByteBuffer?
  /// Streams that nobody has accepted yet, oldest first.
  var opened: [HTTP2Stream] = []
  /// Something has been done to it this turn: there may be events, and bytes to send.
  var isTouched = false
  /// Bytes or an end may wait beneath.
  var inputWaits = false
  /// The same at the beginning of a turn: nobody else will have it looked at.
  var readsAgain = false
  /// Nothing can be received or sent any more.
  var isGone = false
  /// Why the connection is gone.
  var fault = NetworkError.reset

  // Of connections to servers.
  /// The endpoint that it leads to; −1 for a client's, and for one that was given up.
  var endpoint: Int32 = -1
  var target: StreamTarget?
  /// The connection beneath stands.
  var isUp = true
  /// The server has said what it allows.
  var isConnected = true
  /// Exchanges that wait for the connection to stand, by the slots of their streams.
  var waiting: [Int32] = []
  var idleSince = Instant.never

  /// The owner of the socket has been told that it is over.
  var isTold = false

  init(_ connection: HTTP2Connection, index: Int) {
    self.connection = connection
    self.index = index
  }

  /// Whether no further stream will come, and nothing more is to be sent.
  var isOver: Bool { isGone || connection.closure != nil || connection.isDrained }
}

/// A stream as a socket of a ``Transport``.
struct StreamSlot {
  var stream: HTTP2Stream?
  var multiplex: Multiplex?
}
