import CLinux
import Core
import Glibc

private let everything = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue
private let streamFlags = SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue

private func setOption(_ descriptor: Int32, _ level: Int32, _ name: Int32, _ value: Int32 = 1) -> Int32 {
  var value = value
  return unsafe setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
}

extension EventLoop {
  /// Opens a listening socket. An IPv6 address takes IPv6 only. A unix path is made free where nobody listens on it
  /// any more; loops that share it take connections from one queue.
  public func listen(_ address: SocketAddress, _ options: ListenOptions, token: UInt64) throws(NetworkError) -> Socket {
    let listener: Descriptor
    if case .unix(let path) = address {
      listener = try UnixListeners.shared.join(path, options)
      do throws(NetworkError) {
        // One queue, several loops: wake one of them a connection, not all.
        try subscribe(
          listener.number, EPOLLIN.rawValue | EPOLLET.rawValue | EPOLLEXCLUSIVE.rawValue, token: token)
      } catch {
        UnixListeners.shared.leave(path)
        throw error
      }
      unixListeners[listener.number] = path
    } else {
      listener = try Self.openTCPListener(address, options)
      try subscribe(listener.number, EPOLLIN.rawValue | EPOLLET.rawValue, token: token)
    }
    return Socket(descriptor: listener.release())
  }

  private static func openTCPListener(
    _ address: SocketAddress, _ options: ListenOptions
  ) throws(NetworkError) -> Descriptor {
    guard let native = NativeAddress(address) else { throw .system(code: EINVAL) }
    let listener = Descriptor(socket(native.family, Int32(SOCK_STREAM.rawValue | streamFlags), 0))
    let number = listener.number
    guard number >= 0 else { throw NetworkError(code: errno) }
    _ = setOption(number, SOL_SOCKET, SO_REUSEADDR)
    if options.sharesPort { _ = setOption(number, SOL_SOCKET, SO_REUSEPORT) }
    if native.family == AF_INET6 { _ = setOption(number, Int32(IPPROTO_IPV6), IPV6_V6ONLY) }
    // Accepted sockets inherit it, which saves a system call for each.
    _ = setOption(number, Int32(IPPROTO_TCP), TCP_NODELAY)
    guard unsafe native.withPointer({ unsafe bind(number, $0, $1) }) == 0, Glibc.listen(number, options.backlog) == 0
    else { throw NetworkError(code: errno) }
    return listener
  }

  /// The address that a socket is bound to.
  public func localAddress(of socket: Socket) -> SocketAddress? {
    // The kernel remembers the name under which the path was bound before it was renamed.
    if let path = unixListeners[socket.descriptor] { return .unix(path: path) }
    var native = NativeAddress()
    let code = unsafe native.fill { unsafe getsockname(socket.descriptor, $0, $1) }
    return code == 0 ? native.socketAddress : nil
  }

  /// Takes one waiting connection.
  public func accept(_ listener: Socket) -> AcceptResult {
    var native = NativeAddress()
    while true {
      let number = unsafe native.fill {
        unsafe accept4(listener.descriptor, $0, $1, Int32(streamFlags))
      }
      if number >= 0 {
        let peer = native.socketAddress ?? unixListeners[listener.descriptor].map { .unix(path: $0) }
        return .accepted(Socket(descriptor: number), peer: peer ?? .unix(path: ""))
      }
      switch errno {
      case EINTR: continue
      case EAGAIN: return .wouldBlock
      case EMFILE, ENFILE, ENOBUFS, ENOMEM: return .exhausted
      default: return .failed
      }
    }
  }

  /// Begins to connect. What the kernel knows at once (refused on loopback, no route, no descriptors) is thrown.
  public func connect(to address: SocketAddress, token: UInt64) throws(NetworkError) -> Socket {
    guard let native = NativeAddress(address) else { throw .system(code: EINVAL) }
    let connection = Descriptor(socket(native.family, Int32(SOCK_STREAM.rawValue | streamFlags), 0))
    let number = connection.number
    guard number >= 0 else { throw NetworkError(code: errno) }
    if native.family != AF_UNIX { _ = setOption(number, Int32(IPPROTO_TCP), TCP_NODELAY) }
    if unsafe native.withPointer({ unsafe Glibc.connect(number, $0, $1) }) != 0 {
      let code = errno
      // A unix listener whose queue is full answers EAGAIN and will not tell when there is room.
      if code == EAGAIN { throw .refused }
      guard code == EINPROGRESS else { throw NetworkError(code: code) }
    }
    // Before `connect` the socket would count as hung up, and its first event would be a false alarm.
    try subscribe(number, everything, token: token)
    return Socket(descriptor: connection.release())
  }

  /// Why a connection attempt failed.
  public func connectFailure(_ socket: Socket) -> NetworkError? {
    var code: Int32 = 0
    var count = socklen_t(MemoryLayout<Int32>.size)
    guard unsafe getsockopt(socket.descriptor, SOL_SOCKET, SO_ERROR, &code, &count) == 0 else {
      return NetworkError(code: errno)
    }
    return code == 0 ? nil : NetworkError(code: code)
  }

  /// Subscribes an accepted socket.
  public func register(_ socket: Socket, token: UInt64) throws(NetworkError) {
    try subscribe(socket.descriptor, everything, token: token)
  }

  /// Receives straight into `buffer`, with one system call.
  @inlinable
  @inline(__always)
  public func receive(_ socket: Socket, into buffer: ByteBuffer, limit: Int) -> TransferResult {
    precondition(limit > 0)
    var result = 0
    unsafe buffer.append(limit: limit) { room in
      result = unsafe sluice_receive(socket.descriptor, room.baseAddress, limit)
      return max(result, 0)
    }
    if result == 0 { return .ended }
    return Self.outcome(result)
  }

  /// Sends what the kernel takes, with one system call.
  @inlinable
  @inline(__always)
  public func send(_ socket: Socket, _ bytes: RawSpan) -> TransferResult {
    precondition(!bytes.isEmpty)
    let result = unsafe bytes.withUnsafeBytes {
      unsafe sluice_send(socket.descriptor, $0.baseAddress, $0.count)
    }
    return Self.outcome(result)
  }

  /// Sends two spans with one system call.
  public func send(_ socket: Socket, _ first: RawSpan, _ second: RawSpan) -> TransferResult {
    precondition(!first.isEmpty || !second.isEmpty)
    let result = unsafe first.withUnsafeBytes { one in
      unsafe second.withUnsafeBytes { two in
        unsafe sluice_send2(socket.descriptor, one.baseAddress, one.count, two.baseAddress, two.count)
      }
    }
    return Self.outcome(result)
  }

  @inlinable
  @inline(__always)
  static func outcome(_ result: Int) -> TransferResult { result >= 0 ? .count(result) : failure(result) }

  @usableFromInline
  static func failure(_ result: Int) -> TransferResult {
    let code = Int32(truncatingIfNeeded: -result)
    return code == EAGAIN || code == EINTR ? .wouldBlock : .failed(NetworkError(code: code))
  }

  /// Sends the end of the stream.
  public func endSending(_ socket: Socket) { _ = shutdown(socket.descriptor, Int32(SHUT_WR)) }

  /// Closes; the kernel drops the subscription with the descriptor.
  public func close(_ socket: Socket, reset: Bool) {
    guard socket.descriptor >= 0 else { return }
    if reset {
      var immediately = linger(l_onoff: 1, l_linger: 0)
      _ = unsafe setsockopt(
        socket.descriptor, SOL_SOCKET, SO_LINGER, &immediately, socklen_t(MemoryLayout<linger>.size))
    }
    if let path = unixListeners.removeValue(forKey: socket.descriptor) {
      // Its duplicates in other loops keep the subscription alive beyond the close: it would take their wake-ups.
      _ = epoll_ctl(epoll.number, EPOLL_CTL_DEL, socket.descriptor, nil)
      UnixListeners.shared.leave(path)
    }
    _ = Glibc.close(socket.descriptor)
  }
}
