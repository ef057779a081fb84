// Connections that carry many exchanges: HTTP/2 over a socket that is secured, or was adopted.
//
// The socket itself becomes a carrier, of which its owner only accepts streams, as from a listener. Each stream is a socket
// that speaks HTTP/1.1. What a turn has written to the streams of a connection leaves with one send at its end.

import Core
import HTTP

extension Transport {
  /// Bytes asked of the socket beneath at once, and how often in one turn.
  private static var framesLimit: Int { 32_768 }
  private static var receivesPerTurn: Int { 4 }
  /// How often connections are looked at whose peers keep something waiting, in nanoseconds.
  private static var checkInterval: Int64 { 1_000_000_000 }

  /// Whether a socket is a stream of a connection.
  public func isStream(_ socket: Socket) -> Bool { socket.descriptor >= Self.firstStream }

  /// Whether a socket carries streams: nothing can be received from it, but ``acceptStream(on:)`` be asked.
  public func isMultiplexed(_ socket: Socket) -> Bool { multiplex(of: socket) != nil }

  /// Begins HTTP/2, as the server, on a socket that was adopted. `received` has been received from it and belongs to that.
  public func multiplex(_ socket: Socket, received: RawSpan) {
    guard let index = index(of: socket), slots[index].state == .plain else {
      preconditionFailure("only an adopted socket can be multiplexed")
    }
    let multiplex = beginMultiplex(index)
    multiplex.kept = ByteBuffer(received)
    receiveFrames(multiplex)
  }

  /// The oldest stream that has not been accepted; its request can be received. To be registered before anything else.
  public func acceptStream(on carrier: Socket) -> Socket? {
    guard let multiplex = multiplex(of: carrier), !multiplex.opened.isEmpty else { return nil }
    // Mostly there is one.
    let stream = multiplex.opened.count == 1 ? multiplex.opened.removeLast() : multiplex.opened.removeFirst()
    return takeStreamSlot(stream, multiplex)
  }

  func takeStreamSlot(_ stream: consuming HTTP2Stream, _ multiplex: Multiplex) -> Socket {
    let index: Int
    if let free = freeStreams.popLast() {
      index = Int(free)
    } else {
      index = streams.count
      streams.append(StreamSlot())
    }
    streams[index].stream = stream
    streams[index].multiplex = multiplex
    return Socket(descriptor: Self.firstStream | Int32(index))
  }

  /// Whether no further stream will come on this connection.
  public func isOver(_ carrier: Socket) -> Bool { multiplex(of: carrier)?.isOver ?? true }

  /// The limit for which a connection was ended; nil where it goes on or was ended for another reason.
  public func limitExceeded(on carrier: Socket) -> HTTP2Limit? { multiplex(of: carrier)?.connection.closure?.limit }

  /// Ends a connection whose client is not wanted for a while; it is to be closed then.
  public func turnAway(_ carrier: Socket) {
    guard let multiplex = multiplex(of: carrier) else { return }
    http2.now = base.now
    multiplex.connection.turnAway()
    touch(multiplex)
  }

  /// Asks the client to open no more streams, and soon afterwards, or with `atOnce` now, takes none (RFC 9113 section 6.8).
  public func drain(_ carrier: Socket, atOnce: Bool) {
    guard let multiplex = multiplex(of: carrier) else { return }
    http2.now = base.now
    if atOnce { multiplex.connection.finishDrain() } else { multiplex.connection.beginDrain() }
    touch(multiplex)
  }

  /// Ends HTTP/2 on a connection without streams; the socket beneath remains, to be closed. Returns whether the peer may still
  /// receive what was sent last.
  public func endMultiplex(_ carrier: Socket) -> Bool {
    guard let multiplex = multiplex(of: carrier) else { return false }
    http2.now = base.now
    multiplex.connection.finishDrain()
    flushFrames(multiplex)
    let isReachable = !multiplex.isGone
    let index = multiplex.index
    if isReachable, slots[index].state == .plain, !multiplex.connection.output.isEmpty {
      slots[index].unsent = ByteBuffer(multiplex.connection.output.bytes)
    }
    multiplex.isGone = true
    multiplex.connection.transportEnded()
    slots[index].multiplex = nil
    return isReachable
  }

  // MARK: Streams as sockets

  func slot(ofStream socket: Socket) -> Int { Int(socket.descriptor & ~Self.firstStream) }

  func receive(stream index: Int, into buffer: ByteBuffer, limit: Int) -> TransferResult {
    use(index) { $0.read($1, into: buffer, limit: limit) } ?? .failed(.reset)
  }

  func send(stream index: Int, _ first: RawSpan, _ second: RawSpan) -> TransferResult {
    use(index) { second.isEmpty ? $0.write($1, first) : $0.write($1, first, second) } ?? .failed(.reset)
  }

  func endSending(stream index: Int) {
    use(index) { $0.endSending($1) }
  }

  func close(stream index: Int, reset: Bool) {
    use(index) { $0.close($1, reset: reset) }
    streams[index] = StreamSlot()
    freeStreams.append(Int32(index))
  }

  /// Has something done to a stream, and its connection looked at before the turn ends; nil where there is none. The slot
  /// keeps both meanwhile.
  @inline(__always)
  @discardableResult
  private func use<Result>(_ index: Int, _ body: (HTTP2Connection, HTTP2Stream) -> Result) -> Result? {
    guard let stream = streams[index].stream.map(Borrowed.init),
      let multiplex = streams[index].multiplex.map(Borrowed.init)
    else { return nil }
    multiplex.with { touch($0) }
    return multiplex.part { $0.connection }.with { connection in stream.with { body(connection, $0) } }
  }

  // MARK: Connections

  func multiplex(of socket: Socket) -> Multiplex? {
    isStream(socket) ? nil : index(of: socket).flatMap { slots[$0].multiplex }
  }

  @discardableResult
  func beginMultiplex(_ index: Int) -> Multiplex {
    http2.now = base.now
    let connection = HTTP2Connection(.server, options: http2Options, workspace: http2)
    let multiplex = Multiplex(connection, index: index)
    slots[index].multiplex = multiplex
    multiplex.inputWaits = true
    touch(multiplex)
    return multiplex
  }

  /// Has a connection looked at before the turn ends.
  @inline(__always)
  func touch(_ multiplex: Multiplex) {
    if multiplex.isTouched { return }
    multiplex.isTouched = true
    http2.now = base.now
    touched.append(multiplex)
  }

  /// Takes what waits beneath, as far as a turn allows.
  func receiveFrames(_ multiplex: Multiplex) {
    let (index, frames) = (multiplex.index, frames)
    var rounds = Self.receivesPerTurn
    multiplex.inputWaits = true
    touch(multiplex)
    while multiplex.inputWaits, rounds > 0, !multiplex.isGone, multiplex.connection.closure == nil {
      rounds -= 1
      multiplex.inputWaits = false
      frames.removeAll()
      if let kept = multiplex.kept {
        frames.append(kept.bytes)
        multiplex.kept = nil
      }
      switch receiveBeneath(index, into: frames, limit: Self.framesLimit) {
      case .count(let count):
        if count == Self.framesLimit || slots[index].endWaits { multiplex.inputWaits = true }
        multiplex.connection.receive(frames)
        settle(multiplex)
      case .wouldBlock: if !frames.isEmpty { multiplex.connection.receive(frames) }
      case .ended, .failed: lose(multiplex)
      }
      if !frames.isEmpty { multiplex.kept = ByteBuffer(frames.bytes) }
    }
  }

  /// The connection beneath is gone.
  func lose(_ multiplex: Multiplex) {
    if multiplex.isGone { return }
    multiplex.isGone = true
    multiplex.kept = nil
    multiplex.fault = slots[multiplex.index].fault
    touch(multiplex)
    multiplex.connection.transportEnded()
    tell(multiplex)
  }

  /// Lets the owner of the socket know that there is something to accept, or that it is over.
  private func tell(_ multiplex: Multiplex) {
    if multiplex.isTold || multiplex.endpoint >= 0 { return }
    multiplex.isTold = true
    events.append(TransportEvent(token: slots[multiplex.index].token, readiness: .readable))
  }

  /// What has happened next to a stream.
  func nextStreamEvent() -> TransportEvent? {
    while nextTouched < touched.count {
      let multiplex = touched[nextTouched]
      if multiplex.readsAgain {
        multiplex.readsAgain = false
        receiveFrames(multiplex)
      }
      switch multiplex.connection.nextEvent() {
      case .opened(let stream):
        multiplex.opened.append(stream)
        if multiplex.isGone {
          multiplex.connection.close(multiplex.opened.removeLast(), reset: true)
          continue
        }
        return TransportEvent(token: slots[multiplex.index].token, readiness: .readable)
      case .ready(let stream, let readiness): return TransportEvent(token: stream.token, readiness: readiness)
      case nil: nextTouched += 1
      }
    }
    return nil
  }

  /// Sends what the turn has produced. Returns whether something is left to be done at once.
  func endMultiplexTurn() -> Bool {
    guard !touched.isEmpty else { return false }
    http2.now = base.now
    var left = 0
    for position in touched.indices {
      let multiplex = touched[position]
      flushFrames(multiplex)
      retireIfUseless(multiplex)
      multiplex.readsAgain = multiplex.inputWaits && !multiplex.isOver
      if multiplex.readsAgain || multiplex.connection.hasEvents {
        touched[left] = multiplex
        left += 1
      } else {
        multiplex.isTouched = false
        if !multiplex.isGone, slots[multiplex.index].deadline == .never {
          setDeadline(multiplex.index, after: Self.checkInterval)
        }
      }
    }
    touched.removeLast(touched.count - left)
    nextTouched = 0
    if http2.exceededCount != exceededBefore {
      exceededBefore = http2.exceededCount
      for limit in HTTP2Limit.allCases { onHTTP2Limit(limit, http2.count(of: limit)) }
    }
    return left > 0
  }

  func flushFrames(_ multiplex: Multiplex) {
    if multiplex.isGone || !multiplex.isUp { return }
    loop: while !multiplex.connection.output.isEmpty {
      let output = multiplex.connection.output
      let waiting = output.count
      switch sendBeneath(multiplex.index, output.bytes, RawSpan()) {
      case .count(let count):
        multiplex.connection.sent(count)
        if count < waiting { break loop }
      case .wouldBlock: break loop
      case .ended, .failed: return lose(multiplex)
      }
    }
    if multiplex.isOver { tell(multiplex) }
  }

  /// Looks whether a peer has kept something waiting for too long.
  func checkMultiplex(_ multiplex: Multiplex) {
    let index = multiplex.index
    slots[index].deadline = .never
    http2.now = base.now
    multiplex.connection.checkTime()
    if multiplex.endpoint >= 0 {
      retireIfIdle(multiplex)
      if multiplex.isGone { return }
    }
    if multiplex.connection.closure != nil || multiplex.connection.hasEvents { touch(multiplex) }
    if multiplex.endpoint >= 0 || multiplex.connection.openStreams > 0 || multiplex.connection.deadline != .never {
      setDeadline(index, after: Self.checkInterval)
    } else {
      multiplex.connection.shrink()
    }
  }
}
