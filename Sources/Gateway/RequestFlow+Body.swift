// The request's body on its way to the upstream, and every byte that waits to be sent there.

import Core
import HTTP
import Net
import Pipeline

extension RequestFlow {
  /// Request bytes kept so that the request could be sent again.
  static var replayLimit: Int { 65_536 }
  /// Request bytes that may wait for the upstream before the client is no longer read.
  private static var backlogLimit: Int { 65_536 }

  /// Reads more of the body, as far as the upstream keeps up.
  mutating func readRequestBody(_ index: Int32) {
    let exchange = clients[index].exchange
    guard exchange >= 0 else { return }
    // What follows a complete request stays in the kernel until its turn comes; so does the end of the stream.
    guard !exchanges[exchange].requestBody.isComplete else { return }
    guard takesRequestBody(exchange) else {
      exchanges[exchange].clientPace = Pace()
      return
    }
    let isDirect = exchanges[exchange].clientInput.isEmpty && exchanges[exchange].stage != .gathering
    let buffer = isDirect ? input : exchanges[exchange].clientInput
    if isDirect { buffer.removeAll() }
    switch world.receive(clients[index].socket, into: buffer, limit: Self.receiveLimit) {
    case .count(let count):
      clients[index].inputWaits = count == Self.receiveLimit || clients[index].peerEnded
      metrics.add(count, to: .clientBytesReceived)
      setDeadline(client: index, after: bodyTimeout(exchange))
      guard keepsPace(exchange, count) else {
        metrics.countShedConnection(.bodyTimeout)
        return refuse(exchange, ProblemCatalogue.requestTimeout)
      }
      takeRequestBody(exchange, buffer)
      continueRequest(exchange, index)
    case .wouldBlock: clients[index].inputWaits = false
    case .ended, .failed:
      metrics.countShedConnection(.peerGone)
      abandon(exchange)
    }
  }

  /// Sends what was taken and comes back for more input where there is some.
  private mutating func continueRequest(_ exchange: Int32, _ index: Int32) {
    let generation = exchanges[exchange].generation
    flushToServer(exchange)
    guard exchanges[exchange].generation == generation, clients[index].exchange == exchange,
      exchanges[exchange].stage != .parked
    else { return }
    guard !exchanges[exchange].requestBody.isComplete else { return dequeue(index) }
    // A body that comes slowly is a reason to give the connection up when others are refused for want of room.
    enqueue(index, .slow)
    if clients[index].inputWaits { list(client: index) }
  }

  /// Whether the client sends its body fast enough, on average since it was last let.
  private mutating func keepsPace(_ exchange: Int32, _ count: Int) -> Bool {
    // A stream of messages comes as it comes.
    if isStreamingCall(exchange) { return true }
    let settings = limits.settings
    return exchanges[exchange].clientPace.holds(
      after: count, now: loop.now, minimum: settings.minimumReceiveRate, grace: settings.rateGrace)
  }

  /// Whether body bytes have somewhere to go: not before the chain has admitted the request, not while the upstream
  /// leaves too many untaken.
  private func takesRequestBody(_ exchange: Int32) -> Bool {
    switch exchanges[exchange].stage {
    case .head, .parked, .flushing: false
    case .gathering: true
    case .pending, .connecting, .request, .response:
      exchanges[exchange].toServer.count - exchanges[exchange].toServerSent < Self.backlogLimit
    }
  }

  /// Moves the body bytes in `buffer` into the upstream's framing. What remains of `buffer` is kept as input.
  mutating func takeRequestBody(_ exchange: Int32, _ buffer: ByteBuffer) {
    if exchanges[exchange].stage == .gathering { return takeGathered(exchange) }
    if let call = exchanges[exchange].exchange.webCall, call.isRequestEncoded {
      guard takeEncodedBody(exchange, call, buffer) else { return }
      return keepRequestInput(exchange, buffer)
    }
    let toServer = exchanges[exchange].toServer
    loop: while !exchanges[exchange].requestBody.isComplete {
      switch exchanges[exchange].requestBody.next(buffer.bytes) {
      case .data(let skip, let count):
        guard exchanges[exchange].requestBody.received <= exchanges[exchange].exchange.bodyLimit else {
          return refuse(exchange, ProblemCatalogue.bodyTooLarge)
        }
        let bytes = buffer.bytes.extracting(skip..<skip + count)
        if exchanges[exchange].requestIsChunked {
          toServer.appendChunk(bytes)
        } else {
          toServer.append(bytes)
        }
        buffer.consume(skip + count)
      case .trailer(let field, let consumed):
        if let field, passesTrailer(buffer.bytes.extracting(field.name.offsets), exchange) {
          if !exchanges[exchange].hasTrailers { toServer.append("0\r\n") }
          exchanges[exchange].hasTrailers = true
          appendTrailer(field, of: buffer, to: toServer)
        }
        buffer.consume(consumed)
      case .end(let consumed):
        buffer.consume(consumed)
        if exchanges[exchange].requestIsChunked {
          toServer.append(exchanges[exchange].hasTrailers ? "\r\n" : "0\r\n\r\n")
        }
      case .incomplete(let consumed):
        buffer.consume(consumed)
        break loop
      case .malformed(let fault): return refuse(exchange, malformed: fault)
      }
    }
    keepRequestInput(exchange, buffer)
  }

  /// Whether a trailer is sent on. Some upstreams merge trailers into the head, where those would be believed that policies have
  /// dropped there: behind policies only calls of gRPC have any.
  private func passesTrailer(_ name: RawSpan, _ exchange: Int32) -> Bool {
    guard !IdentityFields.contains(name) else { return false }
    return exchanges[exchange].isCall || exchanges[exchange].route?.with { !$0.chain.hasRequestHooks } ?? true
  }

  @inline(__always)
  private mutating func keepRequestInput(_ exchange: Int32, _ buffer: ByteBuffer) {
    if buffer === input, !buffer.isEmpty { exchanges[exchange].clientInput.append(buffer.bytes) }
    if exchanges[exchange].toServer.count > Self.replayLimit { exchanges[exchange].isReplayable = false }
  }

  /// Appends one trailer field.
  func appendTrailer(_ field: (name: ByteRange, value: ByteRange), of buffer: ByteBuffer, to target: ByteBuffer) {
    target.append(buffer.bytes.extracting(field.name.offsets))
    target.append(": ")
    target.append(buffer.bytes.extracting(field.value.offsets))
    target.append("\r\n")
  }

  /// Receives into a buffer that its owner keeps.
  @inline(__always)
  func receive(_ socket: Socket, into buffer: Borrowed<ByteBuffer>) -> TransferResult {
    if Transport<LoopWorld>.isPlain(socket) {
      return lent.loop.with { loop in buffer.with { loop.receive(socket, into: $0, limit: Self.receiveLimit) } }
    }
    return lent.world.with { world in buffer.with { world.receive(socket, into: $0, limit: Self.receiveLimit) } }
  }

  /// Sends what a buffer holds behind its first `start` bytes; there must be some.
  @inline(__always)
  func send(_ socket: Socket, _ buffer: Borrowed<ByteBuffer>, from start: Int = 0) -> TransferResult {
    if Transport<LoopWorld>.isPlain(socket) {
      return lent.loop.with { loop in buffer.with { loop.send(socket, $0.bytes.extracting(start..<$0.count)) } }
    }
    return lent.world.with { world in buffer.with { world.send(socket, $0.bytes.extracting(start..<$0.count)) } }
  }

  /// Sends what waits for the upstream.
  mutating func flushToServer(_ exchange: Int32) {
    let server = exchanges[exchange].server
    guard server >= 0, servers[server].state == .busy, !exchanges[exchange].isCutOff else { return }
    let toServer = Borrowed(exchanges[exchange].toServer)
    let sent = exchanges[exchange].toServerSent
    guard sent < toServer.with({ $0.count }) else { return }
    switch send(servers[server].socket, toServer, from: sent) {
    case .count(let count):
      metrics.add(count, to: .upstreamBytesSent)
      exchanges[exchange].toServerSent = sent + count
    case .wouldBlock: break
    case .ended, .failed:
      // It takes no more, but may have said why: a response that came before the end is a response.
      exchanges[exchange].isCutOff = true
      servers[server].inputWaits = true
      return list(server: server)
    }
    if !exchanges[exchange].isReplayable {
      toServer.with { $0.consume(exchanges[exchange].toServerSent) }
      exchanges[exchange].toServerSent = 0
    }
    requestProgressed(exchange, server)
  }

  /// Sets the time limits that follow from how far the request has been sent, and reads on where that had stopped.
  @inline(__always)
  private mutating func requestProgressed(_ exchange: Int32, _ server: Int32) {
    let timeouts = exchanges[exchange].timeouts
    let isSent = exchanges[exchange].toServerSent == exchanges[exchange].toServer.count
    if exchanges[exchange].stage == .request {
      setDeadline(
        server: server,
        after: isSent && exchanges[exchange].requestBody.isComplete ? timeouts.response : timeouts.idle)
    }
    let client = exchanges[exchange].client
    guard client >= 0, isSent, !exchanges[exchange].requestBody.isComplete, clients[client].inputWaits else { return }
    list(client: client)
  }
}
