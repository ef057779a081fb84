import Core

/// A world of any kind, for slow paths that are not generic over theirs: every call costs a look-up.
public final class AnyWorld: World {
  private let world: any World

  /// Passes everything on to `world`.
  public init(_ world: any World) { self.world = world }

  /// See ``World/now``.
  public var now: Instant { world.now }
  /// See ``World/wallTime``.
  public var wallTime: WallTime { world.wallTime }
  /// See ``World/previousTurnNanoseconds``.
  public var previousTurnNanoseconds: Int64 { world.previousTurnNanoseconds }
  /// See ``World/random()``.
  public func random() -> UInt64 { world.random() }
  /// See ``World/listen(_:_:token:)``.
  public func listen(_ address: SocketAddress, _ options: ListenOptions, token: UInt64) throws(NetworkError) -> Socket {
    try world.listen(address, options, token: token)
  }
  /// See ``World/localAddress(of:)``.
  public func localAddress(of socket: Socket) -> SocketAddress? { world.localAddress(of: socket) }
  /// See ``World/accept(_:)``.
  public func accept(_ listener: Socket) -> AcceptResult { world.accept(listener) }
  /// See ``World/connect(to:token:)``.
  public func connect(to address: SocketAddress, token: UInt64) throws(NetworkError) -> Socket {
    try world.connect(to: address, token: token)
  }
  /// See ``World/connectFailure(_:)``.
  public func connectFailure(_ socket: Socket) -> NetworkError? { world.connectFailure(socket) }
  /// See ``World/register(_:token:)``.
  public func register(_ socket: Socket, token: UInt64) throws(NetworkError) {
    try world.register(socket, token: token)
  }
  /// See ``World/receive(_:into:limit:)``.
  public func receive(_ socket: Socket, into buffer: ByteBuffer, limit: Int) -> TransferResult {
    world.receive(socket, into: buffer, limit: limit)
  }
  /// See ``World/send(_:_:)``.
  public func send(_ socket: Socket, _ bytes: RawSpan) -> TransferResult { world.send(socket, bytes) }
  /// See ``World/send(_:_:_:)``.
  public func send(_ socket: Socket, _ first: RawSpan, _ second: RawSpan) -> TransferResult {
    world.send(socket, first, second)
  }
  /// See ``World/endSending(_:)``.
  public func endSending(_ socket: Socket) { world.endSending(socket) }
  /// See ``World/close(_:reset:)``.
  public func close(_ socket: Socket, reset: Bool) { world.close(socket, reset: reset) }
}
