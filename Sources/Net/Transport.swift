// What a loop's connections are made of, between the logic and the base world that moves bytes.
//
// A plain socket is the base's own, and costs one comparison here. A socket of another kind has a number above all
// descriptors; what is received from it and sent to it goes through a machine first. So the life of a request is the same
// whatever a connection speaks.
//
// Events of the base for such sockets come with tokens of the transport's own: whoever runs on the loop hands them to
// ``ready(token:_:)`` and gets back what they mean for the owner of the socket. What happens without an event of the base
// is asked for with ``nextEvent()``, once a turn.

import Core
import Crypto
import HTTP

/// A world whose sockets may be secured. Belongs to its loop.
public final class Transport<Base: World>: World {
  /// The world below.
  public let base: Base
  /// Called with the outcome of every handshake with a client.
  public var onHandshake: (HandshakeOutcome) -> Void = { _ in }
  /// Called with what went wrong in a handshake with a server.
  public var onServerFault: (TLSFault) -> Void = { _ in }
  /// Called with the outcome of every handshake with a server, and how many nanoseconds after its connection was begun it
  /// came, by ``stopwatch``. Those that their owners give up are not told of.
  public var onServerHandshake: (HandshakeOutcome, Int64) -> Void = { _, _ in }

  /// How long a peer may take nothing of what is encrypted and waits for it, in nanoseconds.
  public var sendTimeout: Int64 = 60_000_000_000
  /// Called when a client has let that pass.
  public var onSlowReader: () -> Void = {}

  /// Tells the time within a turn, which bounds its handshakes; nil where none passes.
  public var stopwatch: (() -> Instant)?

  /// Whether a socket is the base's own, which may be asked instead.
  @inlinable
  @inline(__always)
  public static func isPlain(_ socket: Socket) -> Bool { socket.descriptor < firstSecured }

  /// Every descriptor of the base is below; the bits below it are a slot's index.
  @inlinable
  @inline(__always)
  static var firstSecured: Int32 { 1 << 28 }
  /// Every other tagged socket is below; the bits below it are a stream's.
  @inlinable
  static var firstStream: Int32 { 1 << 29 }
  /// Handshakes that go on in one turn at most, while everybody else waits. Their signatures take from 15 microseconds
  /// (ECDSA with P-256) to three milliseconds (RSA with 4096 bits).
  static var handshakesPerTurn: Int { 8 }
  /// How long after the first of a turn another one may go on, in nanoseconds.
  static var handshakeTime: Int64 { 2_000_000 }
  /// How long what was sent before a close may take to be delivered, in nanoseconds.
  static var closingTime: Int64 { 5_000_000_000 }
  /// Bytes that a client may send for a handshake.
  static var handshakeBytes: Int32 { 65_536 }
  /// Bytes asked of the base at once.
  static var receiveLimit: Int { 32_768 }
  /// Bytes that are encrypted before the base is asked to take them.
  static var sendLimit: Int { 65_536 }
  /// Bytes of ciphertext that wait for the base at most: what is left of one send, and as much that a peer has TLS answer.
  static var unsentLimit: Int { 131_072 }

  /// The bits that all tokens of this transport begin with, and a mask for the generation behind them.
  let tokenMark: UInt64
  static var generationMask: UInt32 { 0x1fff_ffff }

  let wire: TLSWire
  // The wire's: ciphertext on its way to and from one socket at a time.
  let incoming: ByteBuffer
  let outgoing: ByteBuffer
  var slots = OwnedArray<TransportSlot>()
  /// Whether there has ever been a socket that is more than one of the base's: before, a turn has nothing to end.
  public internal(set) var isUsed = false
  var freeSlots = OwnedArray<Int32>()
  var timers: TimerWheel
  /// What owners have to be told although the base says nothing.
  var events: [TransportEvent] = []
  /// Those whose handshake has to wait for its turn, by token.
  var queued: [UInt64] = []
  var handshakesLeft: Int
  /// When the first of this turn went on, by ``stopwatch``.
  var handshakesBegan = Instant(nanoseconds: 0)
  /// Those of ``events`` that are handed over in this turn: what they lead to must not keep a turn from ending.
  var dueEvents: [TransportEvent] = []
  var hasBegunEvents = false

  /// What HTTP/2 connections allow their clients.
  public var http2Options = HTTP2Options()
  /// Called, at the end of a turn, with how often a limit of HTTP/2 has been exceeded so far.
  public var onHTTP2Limit: (HTTP2Limit, UInt64) -> Void = { _, _ in }
  /// What all HTTP/2 connections have in common.
  lazy var http2 = HTTP2Workspace(webSocketAccept: WebSocketKey.appendAccept) { [base] in
    UInt128(base.random()) << 64 | UInt128(base.random())
  }
  /// Frames on their way to one connection at a time.
  lazy var frames = ByteBuffer(capacity: 65_536)
  /// Called when a connection that carries streams to a server is opened, or closed.
  public var onCarrier: (_ isOpened: Bool) -> Void = { _ in }
  /// Those connections, by the endpoint that they lead to.
  var carriers: [Int32: [Multiplex]] = [:]
  var streams = OwnedArray<StreamSlot>()
  var freeStreams = OwnedArray<Int32>()
  /// Connections to which something has been done this turn, and the first whose events have not been asked for.
  var touched: [Multiplex] = []
  var nextTouched = 0
  var exceededBefore: UInt64 = 0

  /// A transport above `base`, whose tokens begin with the three bits of `tokenMark`.
  public init(base: Base, tokenMark: UInt64) {
    self.base = base
    self.tokenMark = tokenMark
    let wire = TLSWire()
    self.wire = wire
    (incoming, outgoing) = (wire.incoming, wire.outgoing)
    timers = TimerWheel(now: base.now)
    handshakesLeft = Self.handshakesPerTurn
  }

  // MARK: World

  /// See ``World/now``.
  @inlinable
  public var now: Instant { @inline(__always) get { base.now } }

  /// See ``World/wallTime``.
  @inlinable
  public var wallTime: WallTime { @inline(__always) get { base.wallTime } }

  /// See ``World/previousTurnNanoseconds``.
  @inlinable
  public var previousTurnNanoseconds: Int64 { @inline(__always) get { base.previousTurnNanoseconds } }

  /// See ``World/random()``.
  @inlinable
  @inline(__always)
  public func random() -> UInt64 { base.random() }

  /// See ``World/listen(_:_:token:)``.
  public func listen(_ address: SocketAddress, _ options: ListenOptions, token: UInt64) throws(NetworkError) -> Socket {
    try base.listen(address, options, token: token)
  }

  /// See ``World/localAddress(of:)``.
  public func localAddress(of socket: Socket) -> SocketAddress? { base.localAddress(of: beneath(socket)) }

  /// See ``World/accept(_:)``.
  public func accept(_ listener: Socket) -> AcceptResult { base.accept(listener) }

  /// See ``World/connect(to:token:)``.
  public func connect(to address: SocketAddress, token: UInt64) throws(NetworkError) -> Socket {
    try base.connect(to: address, token: token)
  }

  /// See ``World/connectFailure(_:)``.
  public func connectFailure(_ socket: Socket) -> NetworkError? {
    if isStream(socket) { return connectFailure(stream: slot(ofStream: socket)) }
    guard let index = index(of: socket) else { return base.connectFailure(socket) }
    return slots[index].state == .failed ? slots[index].fault : nil
  }

  /// See ``World/register(_:token:)``.
  public func register(_ socket: Socket, token: UInt64) throws(NetworkError) {
    if isStream(socket) {
      streams[slot(ofStream: socket)].stream?.token = token
      return
    }
    guard let index = index(of: socket) else { return try base.register(socket, token: token) }
    slots[index].token = token
    try base.register(slots[index].socket, token: ownToken(index))
  }

  /// See ``World/receive(_:into:limit:)``.
  @inlinable
  @inline(__always)
  public func receive(_ socket: Socket, into buffer: ByteBuffer, limit: Int) -> TransferResult {
    if socket.descriptor < Self.firstSecured { return base.receive(socket, into: buffer, limit: limit) }
    return receiveSecured(socket, into: buffer, limit: limit)
  }

  /// See ``World/send(_:_:)``.
  @inlinable
  @inline(__always)
  public func send(_ socket: Socket, _ bytes: RawSpan) -> TransferResult {
    if socket.descriptor < Self.firstSecured { return base.send(socket, bytes) }
    return sendSecured(socket, bytes, RawSpan())
  }

  /// See ``World/send(_:_:_:)``.
  @inlinable
  @inline(__always)
  public func send(_ socket: Socket, _ first: RawSpan, _ second: RawSpan) -> TransferResult {
    if socket.descriptor < Self.firstSecured { return base.send(socket, first, second) }
    return sendSecured(socket, first, second)
  }

  /// See ``World/endSending(_:)``.
  public func endSending(_ socket: Socket) {
    if isStream(socket) { return endSending(stream: slot(ofStream: socket)) }
    guard let index = index(of: socket) else { return base.endSending(socket) }
    endSendingSecured(index)
  }

  /// See ``World/close(_:reset:)``.
  public func close(_ socket: Socket, reset: Bool) {
    if isStream(socket) { return close(stream: slot(ofStream: socket), reset: reset) }
    guard let index = index(of: socket) else { return base.close(socket, reset: reset) }
    closeSecured(index, reset: reset)
  }

  // MARK: Slots

  /// The slot of a socket that is not the base's own; a stream's is that of its connection, as long as there is one.
  func index(of socket: Socket) -> Int? {
    if isStream(socket) {
      return streams[slot(ofStream: socket)].multiplex.flatMap { $0.isGone ? nil : $0.index }
    }
    return socket.descriptor < Self.firstSecured ? nil : Int(socket.descriptor & ~Self.firstSecured)
  }

  /// The base's socket under one of this transport's.
  private func beneath(_ socket: Socket) -> Socket { index(of: socket).map { slots[$0].socket } ?? socket }

  func ownToken(_ index: Int) -> UInt64 {
    tokenMark | UInt64(slots[index].generation & Self.generationMask) << 32 | UInt64(UInt32(index))
  }

  func takeSlot(for socket: Socket) -> Int {
    isUsed = true
    let index: Int
    if let free = freeSlots.popLast() {
      index = Int(free)
    } else {
      index = slots.count
      slots.append(TransportSlot())
    }
    let generation = slots[index].generation &+ 1
    slots[index] = TransportSlot()
    slots[index].generation = generation
    slots[index].socket = socket
    return index
  }

  func freeSlot(_ index: Int) {
    let generation = slots[index].generation &+ 1
    slots[index] = TransportSlot()
    slots[index].generation = generation
    freeSlots.append(Int32(index))
  }

  /// The slot that a token of this transport names, if its socket is still the same.
  func index(ofToken token: UInt64) -> Int? {
    let index = Int(UInt32(truncatingIfNeeded: token))
    guard slots.indices.contains(index), slots[index].state != .free, token == ownToken(index) else { return nil }
    return index
  }
}
