// The upstream's answer on its way to the client.

import Core
import HTTP
import Pipeline
import Traffic

extension RequestFlow {
  /// Informational responses before the final one; more than anybody sends who means to answer.
  private static var informationalLimit: UInt8 { 32 }
  /// Body bytes from which on a second span is cheaper than a copy behind the head.
  private static var copyLimit: Int { 16_384 }

  /// Reads what the upstream has sent, as far as the client keeps up.
  mutating func readResponse(_ index: Int32) {
    let exchange = servers[index].exchange
    guard exchange >= 0, exchanges[exchange].toClient.isEmpty, servers[index].inputWaits else { return }
    let isDirect = exchanges[exchange].serverInput.isEmpty
    let buffer = isDirect ? lent.input : Borrowed(exchanges[exchange].serverInput)
    if isDirect { input.removeAll() }
    switch receive(servers[index].socket, into: buffer) {
    case .count(let count):
      servers[index].inputWaits = count == Self.receiveLimit || servers[index].peerEnded
      metrics.add(count, to: .upstreamBytesReceived)
      guard !isUnasked(exchange, index) else { return unaskedBytes(exchange) }
      if exchanges[exchange].stage == .response {
        setDeadline(server: index, after: exchanges[exchange].timeouts.idle)
      }
      buffer.with { takeResponse(exchange, $0) }
    case .wouldBlock where exchanges[exchange].isCutOff: serverBroke(exchange)
    case .wouldBlock: servers[index].inputWaits = false
    // Behind a failed send the kernel reports a reset as an end.
    case .ended where !exchanges[exchange].isCutOff: responseEnded(exchange)
    case .ended, .failed: serverBroke(exchange)
    }
  }

  /// Whether bytes on a connection from the pool came before a byte of this request was sent: they belong to an earlier
  /// response, and would be taken for this client's.
  @inline(__always)
  private func isUnasked(_ exchange: Int32, _ server: Int32) -> Bool {
    exchanges[exchange].toServerSent == 0 && exchanges[exchange].isReplayable && servers[server].isReused
      && exchanges[exchange].stage == .request
  }

  private mutating func unaskedBytes(_ exchange: Int32) {
    if let endpoint = exchanges[exchange].endpoint?.with({ $0 }) { distrust(endpoint) }
    serverBroke(exchange)
  }

  @inline(__always)
  private mutating func takeResponse(_ exchange: Int32, _ buffer: ByteBuffer) {
    while exchanges[exchange].stage == .request {
      switch lent.response.with({ $0.parse(buffer, from: exchanges[exchange].scanned, limits: limits.head) }) {
      case .complete(let count):
        exchanges[exchange].scanned = 0
        guard takeResponseHead(exchange, buffer, count) else { return }
      case .incomplete:
        exchanges[exchange].scanned = buffer.count
        if buffer === input { exchanges[exchange].serverInput.append(buffer.bytes) }
        return flush(exchange)
      case .refused: return responseBroke(exchange)
      }
      if exchanges[exchange].stage == .request, buffer.isEmpty { break }
    }
    if exchanges[exchange].stage == .response { takeResponseBody(exchange, buffer) } else { flush(exchange) }
  }

  private mutating func listServerIfInputWaits(_ exchange: Int32) {
    let server = exchanges[exchange].server
    if server >= 0, servers[server].inputWaits { list(server: server) }
  }

  /// One response head: passed on if informational, otherwise the answer, or a reason to try elsewhere. Returns whether
  /// what follows it in `buffer` still belongs to this exchange.
  @inline(__always)
  private mutating func takeResponseHead(_ exchange: Int32, _ buffer: ByteBuffer, _ count: Int) -> Bool {
    if response.isInformational {
      exchanges[exchange].informationalCount += 1
      guard exchanges[exchange].informationalCount <= Self.informationalLimit else {
        responseBroke(exchange)
        return false
      }
      if !exchanges[exchange].clientIsHTTP10 {
        ResponseWriter.writeInformational(response, into: exchanges[exchange].toClient)
      }
      buffer.consume(count)
      return true
    }
    if response.status == 101 {
      if exchanges[exchange].wantsUpgrade, response.upgrade != nil {
        upgrade(exchange, buffer, count)
      } else {
        responseBroke(exchange)
      }
      return false
    }
    noteResponse(exchange)
    if retriesStatus(exchange) { return false }
    respond(exchange)
    buffer.consume(count)
    return true
  }

  /// The station `respond`: hooks, framing, and the head that the client gets.
  @inline(__always)
  private mutating func respond(_ exchange: Int32) {
    exchanges[exchange].stage = .response
    exchanges[exchange].isReplayable = false
    exchanges[exchange].status = UInt16(response.status)
    exchanges[exchange].serverKeepsAlive = response.keepsAlive
    // From here on the limit is on pauses: the head may have come at the end of the time it had.
    setDeadline(server: exchanges[exchange].server, after: exchanges[exchange].timeouts.idle)
    if exchanges[exchange].isMirror {
      exchanges[exchange].responseBody.begin(response.framing(for: exchanges[exchange].method))
      return
    }
    if exchanges[exchange].hasResponseHooks { runResponseHooks(exchange) }
    let framing = response.framing(for: exchanges[exchange].method)
    exchanges[exchange].responseBody.begin(framing)
    exchanges[exchange].responseFraming = clientFraming(of: framing, exchange)
    let client = exchanges[exchange].client
    guard client >= 0 else { return }
    decidePersistence(client, exchange)
    let closes = clients[client].closesAfterResponse
    Borrowed(exchanges[exchange].toClient).with { toClient in
      lent.response.with { ResponseWriter.write($0, &exchanges[exchange], closes: closes, into: toClient) }
    }
  }

  private mutating func runResponseHooks(_ exchange: Int32) {
    guard let configuration = exchanges[exchange].configuration else { return }
    configuration.with {
      let route = $0.blueprint.routes[Int(exchanges[exchange].exchange.route)]
      route.chain.respond(&exchanges[exchange].exchange, response, $0.services)
    }
  }

  /// How the client is told where the body ends: as the upstream said it, or chunked where it said nothing.
  private func clientFraming(of framing: BodyFraming, _ exchange: Int32) -> BodyFraming {
    switch framing {
    case .none, .length: framing
    case .chunked, .untilClose: exchanges[exchange].clientIsHTTP10 ? .untilClose : .chunked
    }
  }

  /// Decides whether the client's connection survives this response, before its head says so.
  @inline(__always)
  mutating func decidePersistence(_ client: Int32, _ exchange: Int32) {
    if node.isDraining || clients[client].served >= limits.settings.requestsPerConnection
      || exchanges[exchange].responseFraming == .untilClose || !exchanges[exchange].requestBody.isComplete
    {
      clients[client].closesAfterResponse = true
    }
  }

  private mutating func upgrade(_ exchange: Int32, _ buffer: ByteBuffer, _ count: Int) {
    noteResponse(exchange)
    exchanges[exchange].status = 101
    if exchanges[exchange].hasResponseHooks { runResponseHooks(exchange) }
    ResponseWriter.writeUpgrade(response, &exchanges[exchange], into: exchanges[exchange].toClient)
    if response.upgradesToWebSocket {
      exchanges[exchange].webSocket = WebSocketTunnel(
        response, messageLimit: exchanges[exchange].exchange.messageLimit)
    }
    buffer.consume(count)
    openTunnel(exchange, upstreamBytes: buffer)
  }

  /// Moves body bytes into the client's framing, behind the head where that has just been written.
  @inline(__always)
  private mutating func takeResponseBody(_ exchange: Int32, _ buffer: ByteBuffer) {
    // A length is passed on as a length, never as chunks.
    if buffer.count < Self.copyLimit, let count = exchanges[exchange].responseBody.takeRest(available: buffer.count) {
      Borrowed(exchanges[exchange].toClient).with { $0.append(buffer.bytes.extracting(0..<count)) }
      buffer.consume(count)
      return responseIsComplete(exchange, surplus: buffer.count)
    }
    takeResponsePieces(exchange, buffer)
  }

  private mutating func takeResponsePieces(_ exchange: Int32, _ buffer: ByteBuffer) {
    if let call = exchanges[exchange].exchange.webCall, !takeWebResponse(exchange, call, buffer) {
      return responseBroke(exchange)
    }
    let toClient = Borrowed(exchanges[exchange].toClient)
    loop: while !exchanges[exchange].responseBody.isComplete {
      switch exchanges[exchange].responseBody.next(buffer.bytes) {
      case .data(let skip, let count):
        buffer.consume(skip)
        if exchanges[exchange].responseFraming == .chunked {
          toClient.with { $0.appendChunk(buffer.bytes.extracting(0..<count)) }
        } else if count >= Self.copyLimit {
          sendToClient(exchange, with: buffer.bytes.extracting(0..<count))
          guard exchanges[exchange].server >= 0 else { return }
        } else {
          toClient.with { $0.append(buffer.bytes.extracting(0..<count)) }
        }
        buffer.consume(count)
      case .trailer(let field, let consumed):
        if let field, exchanges[exchange].responseFraming == .chunked { passTrailer(exchange, field, of: buffer) }
        buffer.consume(consumed)
      case .end(let consumed): buffer.consume(consumed)
      case .incomplete(let consumed):
        buffer.consume(consumed)
        break loop
      case .malformed: return responseBroke(exchange)
      }
    }
    if exchanges[exchange].responseBody.isComplete { return responseIsComplete(exchange, surplus: buffer.count) }
    if buffer === input, !buffer.isEmpty { exchanges[exchange].serverInput.append(buffer.bytes) }
    let generation = exchanges[exchange].generation
    flush(exchange)
    if exchanges[exchange].generation == generation { listServerIfInputWaits(exchange) }
  }

  private mutating func passTrailer(
    _ exchange: Int32, _ field: (name: ByteRange, value: ByteRange), of buffer: ByteBuffer
  ) {
    let toClient = exchanges[exchange].toClient
    if !exchanges[exchange].hasResponseTrailers { toClient.append("0\r\n") }
    exchanges[exchange].hasResponseTrailers = true
    appendTrailer(field, of: buffer, to: toClient)
  }

  /// The last byte has come from the upstream: its connection is free, the client gets the rest.
  @inline(__always)
  private mutating func responseIsComplete(_ exchange: Int32, surplus: Int) {
    if exchanges[exchange].responseFraming == .chunked {
      exchanges[exchange].toClient.append(exchanges[exchange].hasResponseTrailers ? "\r\n" : "0\r\n\r\n")
    }
    if surplus > 0, let endpoint = exchanges[exchange].endpoint?.with({ $0 }) { distrust(endpoint) }
    let isReusable =
      surplus == 0 && exchanges[exchange].serverKeepsAlive && exchanges[exchange].requestBody.isComplete
      && !exchanges[exchange].isCutOff
      && exchanges[exchange].toServerSent == exchanges[exchange].toServer.count
    releaseServer(of: exchange, isReusable: isReusable, reset: false)
    exchanges[exchange].stage = .flushing
    flush(exchange)
  }

  // MARK: To the client

  /// Has what was written for the client sent at the end of the turn.
  @inline(__always)
  mutating func flush(_ exchange: Int32) {
    let client = exchanges[exchange].client
    guard client >= 0 else {
      exchanges[exchange].toClient.removeAll()
      if exchanges[exchange].stage == .flushing { finish(exchange) } else { listServerIfInputWaits(exchange) }
      return
    }
    if exchanges[exchange].toClient.isEmpty { return afterSending(exchange, client) }
    // Where the client has not taken earlier bytes, its socket will say when it can.
    guard !exchanges[exchange].waitsForClient, !exchanges[exchange].isPostedToClient else { return }
    exchanges[exchange].isPostedToClient = true
    postedToClients.append(ticket(of: exchange))
  }

  /// Sends what was written for the client and then `bytes`, without copying what it takes at once.
  private mutating func sendToClient(_ exchange: Int32, with bytes: RawSpan) {
    let client = exchanges[exchange].client
    let toClient = exchanges[exchange].toClient
    guard client >= 0 else { return toClient.removeAll() }
    var rest = 0
    if !exchanges[exchange].waitsForClient {
      switch world.send(clients[client].socket, toClient.bytes, bytes) {
      case .count(let count):
        let written = min(count, toClient.count)
        rest = count - written
        clientTook(exchange, client, written, of: toClient)
        exchanges[exchange].sentToClient += Int64(rest)
        metrics.add(rest, to: .clientBytesSent)
      case .wouldBlock: break
      case .ended, .failed: return clientLeft(exchange)
      }
    }
    if rest < bytes.byteCount { toClient.append(bytes.extracting(rest..<bytes.byteCount)) }
  }

  @inline(__always)
  private mutating func clientTook(_ exchange: Int32, _ client: Int32, _ count: Int, of buffer: ByteBuffer) {
    buffer.consume(count)
    exchanges[exchange].sentToClient += Int64(count)
    metrics.add(count, to: .clientBytesSent)
  }

  /// The client's socket can take more: sends what waits, then lets the upstream go on.
  mutating func flushToClient(_ exchange: Int32) {
    if exchanges[exchange].isTunnel { return flushTunnel(toClientOf: exchange) }
    let client = exchanges[exchange].client
    let toClient = Borrowed(exchanges[exchange].toClient)
    guard client >= 0, toClient.with({ !$0.isEmpty }) else { return }
    switch send(clients[client].socket, toClient) {
    case .count(let count):
      toClient.with { clientTook(exchange, client, count, of: $0) }
      guard exchanges[exchange].waitsForClient else { break }
      setDeadline(client: client, after: limits.settings.sendTimeout)
      let settings = limits.settings
      guard
        exchanges[exchange].clientPace.holds(
          after: count, now: loop.now, minimum: settings.minimumSendRate, grace: settings.rateGrace)
      else { return breakOff(exchange, .slowReader) }
    case .wouldBlock: break
    case .ended, .failed: return clientLeft(exchange)
    }
    afterSending(exchange, client)
  }

  /// Goes on after a send: ends the exchange, waits for the client, or reads the upstream again.
  @inline(__always)
  private mutating func afterSending(_ exchange: Int32, _ client: Int32) {
    guard exchanges[exchange].toClient.isEmpty else {
      if !exchanges[exchange].waitsForClient {
        exchanges[exchange].waitsForClient = true
        exchanges[exchange].clientPace = Pace()
        enqueue(client, .slow)
        setDeadline(client: client, after: limits.settings.sendTimeout)
      }
      return
    }
    if exchanges[exchange].waitsForClient {
      exchanges[exchange].waitsForClient = false
      dequeue(client)
    }
    if exchanges[exchange].stage == .flushing { return finish(exchange) }
    listServerIfInputWaits(exchange)
  }

  // MARK: What goes wrong

  /// The upstream closed its direction.
  private mutating func responseEnded(_ exchange: Int32) {
    guard exchanges[exchange].stage == .response else { return serverBroke(exchange) }
    guard exchanges[exchange].responseBody.endOfStream() else { return responseBroke(exchange) }
    exchanges[exchange].serverKeepsAlive = false
    responseIsComplete(exchange, surplus: 0)
  }

  /// What the upstream sent breaks the rules or ends too early. A head that is on its way cannot be taken back: the
  /// connection is torn down so that nobody takes a part for the whole.
  mutating func responseBroke(_ exchange: Int32) {
    metrics.add(to: .upstreamResponsesBroken)
    noteFailure(exchange)
    releaseServer(of: exchange, isReusable: false, reset: true)
    guard exchanges[exchange].stage == .response else { return refuse(exchange, ProblemCatalogue.badGateway) }
    breakOff(exchange, .upstreamBroke)
  }

  /// Ends an exchange whose response has begun and cannot be finished.
  mutating func breakOff(_ exchange: Int32, _ reason: ShedReason) {
    metrics.countShedConnection(reason)
    let client = exchanges[exchange].client
    releaseServer(of: exchange, isReusable: false, reset: true)
    record(exchange)
    if client >= 0 { close(client: client, reset: true) } else { giveBack(exchange: exchange) }
  }

  /// The client cannot be reached any more.
  mutating func clientLeft(_ exchange: Int32) { breakOff(exchange, .peerGone) }

  /// Ends an exchange at once, whatever it was doing.
  mutating func abandon(_ exchange: Int32) {
    if exchanges[exchange].isTunnel { return closeTunnel(exchange, reset: true) }
    breakOff(exchange, .peerGone)
  }
}
