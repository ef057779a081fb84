// The seam between logic and the machine.
//
// Everything that a node does to the outside passes through `World`: reading a clock, drawing a random number, moving
// bytes. `Net` implements it over epoll, one instance a loop; the simulation implements it in memory, many instances a
// thread. Logic therefore never blocks, never sees a descriptor's meaning, and can be replayed from a seed.
//
// The network is edge-triggered and level-free: a socket is registered once, for everything, and a handler that has not
// received `wouldBlock` (or a short count) knows that it must come back by itself, since no second edge will.

/// What a loop offers to the logic that runs on it. Not thread-safe: it belongs to its loop.
public protocol World: AnyObject {
  /// Monotonic time, read once a turn of the loop: all events of one turn happen at the same moment.
  var now: Instant { get }

  /// Civil time, read once a turn of the loop.
  var wallTime: WallTime { get }

  /// How long the previous turn worked, from its first event to its end, in nanoseconds: what a ready socket had to
  /// wait at most. 0 where no turn has ended yet or time does not pass by itself.
  var previousTurnNanoseconds: Int64 { get }

  /// 64 uniformly random bits, good enough for identifiers and jitter, not for keys.
  func random() -> UInt64

  /// Opens a listening socket; its events carry `token`.
  func listen(_ address: SocketAddress, _ options: ListenOptions, token: UInt64) throws(NetworkError) -> Socket

  /// The address a socket is bound to: the port that the kernel chose where port 0 was asked for. Nil for a socket
  /// that is closed or not of a known family. Costs a system call.
  func localAddress(of socket: Socket) -> SocketAddress?

  /// Takes one waiting connection, non-blocking and without delay (TCP_NODELAY); the caller must then ``register(_:token:)`` it.
  func accept(_ listener: Socket) -> AcceptResult

  /// Begins to connect. The first `writable` event means that ``connectFailure(_:)`` can be asked how it went.
  func connect(to address: SocketAddress, token: UInt64) throws(NetworkError) -> Socket

  /// Why a connection attempt failed, or nil where it succeeded.
  func connectFailure(_ socket: Socket) -> NetworkError?

  /// Subscribes an accepted socket, once and for every kind of event.
  func register(_ socket: Socket, token: UInt64) throws(NetworkError)

  /// Appends at most `limit` received bytes to `buffer`. A count below `limit` means that the socket is drained.
  func receive(_ socket: Socket, into buffer: ByteBuffer, limit: Int) -> TransferResult

  /// Sends what the kernel takes. A count below `bytes.byteCount` means that a `writable` event will follow.
  func send(_ socket: Socket, _ bytes: RawSpan) -> TransferResult

  /// Sends two spans as one, with one system call. The count covers both.
  func send(_ socket: Socket, _ first: RawSpan, _ second: RawSpan) -> TransferResult

  /// Sends the end of the stream and keeps receiving (half-close).
  func endSending(_ socket: Socket)

  /// Closes; no event for the socket's token arrives afterwards in this turn unless it was already collected
  /// (tokens carry a generation for that reason). With `reset`, queued bytes are dropped and the peer gets RST.
  func close(_ socket: Socket, reset: Bool)
}

/// A descriptor of the loop that opened it. Plain data: who holds the slot that names it, owns it.
public struct Socket: Hashable, Sendable, BitwiseCopyable {
  /// The number by which the world knows it; −1 for none.
  public let descriptor: Int32

  /// The socket with that number.
  @inlinable
  public init(descriptor: Int32) { self.descriptor = descriptor }

  /// No socket.
  @inlinable
  public static var none: Socket { Socket(descriptor: -1) }
}

/// The outcome of moving bytes.
public enum TransferResult: Equatable, Sendable {
  /// So many bytes were moved, at least one.
  case count(Int)
  /// Nothing can be moved now; an event will follow.
  case wouldBlock
  /// The peer has ended its stream (receiving only).
  case ended
  /// The connection is broken: reset, timed out, or closed for sending.
  case failed(NetworkError)
}

/// The outcome of taking a waiting connection.
public enum AcceptResult: Sendable {
  /// A connection from `peer`; for unix sockets the peer is the listener's own path.
  case accepted(Socket, peer: SocketAddress)
  /// No connection waits.
  case wouldBlock
  /// The process or the system is out of descriptors or memory: stop accepting, try again later.
  case exhausted
  /// This connection was lost before it was taken; the next may be fine.
  case failed
}

/// Which way a socket became ready.
public struct Readiness: OptionSet, Sendable, BitwiseCopyable {
  /// The bits, as declared below.
  public let rawValue: UInt8
  /// The set with these bits.
  @inlinable
  public init(rawValue: UInt8) { self.rawValue = rawValue }
  /// Bytes, a waiting connection or an end of stream can be received.
  public static let readable = Readiness(rawValue: 1)
  /// Bytes can be sent, or a connection attempt has come to its end.
  public static let writable = Readiness(rawValue: 2)
  /// The peer has ended its sending direction: receive until ``TransferResult/ended``.
  public static let peerEnded = Readiness(rawValue: 4)
  /// Both directions are gone, or an error is pending.
  public static let broken = Readiness(rawValue: 8)
}

/// The logic that a loop runs. The loop calls it; it answers by acting on its ``World``.
public protocol EventHandler: ~Copyable {
  /// What other threads may send to this handler.
  associatedtype Message: Sendable

  /// The socket registered with `token` became ready.
  mutating func ready(token: UInt64, _ readiness: Readiness)

  /// Another thread sent `message`.
  mutating func receive(_ message: Message)

  /// All events of this turn have been handed over. Returns when to be called again at the latest although nothing
  /// happens: ``Instant/never`` to sleep, a moment not after `now` to come back at once.
  mutating func endTurn() -> Instant

  /// Whether the loop should go on. Asked once a turn, last.
  var isRunning: Bool { get }
}

/// How a listening socket is opened.
public struct ListenOptions: Hashable, Sendable {
  /// Connections the kernel queues before they are accepted.
  public var backlog: Int32
  /// Shares the address between the loops of a process and, for a port, with the next process (SO_REUSEPORT).
  public var sharesPort: Bool
  /// File mode of a unix socket, such as `0o660`; nil leaves it to the umask.
  public var mode: UInt32?

  /// Options for a listening socket; the defaults suit one socket of several loops.
  public init(backlog: Int32 = 4096, sharesPort: Bool = true, mode: UInt32? = nil) {
    self.backlog = backlog
    self.sharesPort = sharesPort
    self.mode = mode
  }
}

/// Why the network refused.
public enum NetworkError: Error, Hashable, Sendable {
  /// Nobody listens there.
  case refused
  /// The peer tore the connection down.
  case reset
  /// No route, host or network.
  case unreachable
  /// The kernel's own time limit passed.
  case timedOut
  /// The address is taken by another process.
  case addressInUse
  /// The process may not do that.
  case notPermitted
  /// Descriptors, ports or memory have run out.
  case exhausted
  /// Anything else, with Linux's error number.
  case system(code: Int32)
}
