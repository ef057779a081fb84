// After an upgrade: bytes both ways, each direction with its own end.

import Core

extension RequestFlow {
  /// Bytes that may wait for one side before the other is no longer read.
  private static var tunnelBacklog: Int { 65_536 }

  /// Turns an exchange into a tunnel. What either side has sent already belongs to it.
  mutating func openTunnel(_ exchange: Int32, upstreamBytes: ByteBuffer) {
    let (client, server) = (exchanges[exchange].client, exchanges[exchange].server)
    metrics.add(to: .tunnelsOpened)
    openTunnels += 1
    clients[client].state = .tunnel
    servers[server].state = .tunnel
    exchanges[exchange].stage = .response
    exchanges[exchange].isTunnel = true
    exchanges[exchange].totalDeadline = end(ofCaller: exchange)
    exchanges[exchange].isReplayable = false
    let toServer = exchanges[exchange].toServer
    toServer.consume(exchanges[exchange].toServerSent)
    exchanges[exchange].toServerSent = 0
    let toClient = exchanges[exchange].toClient
    let (early, greeting) = (toServer.count, toClient.count)
    toServer.append(exchanges[exchange].clientInput.bytes)
    exchanges[exchange].clientInput.removeAll()
    toClient.append(upstreamBytes.bytes)
    upstreamBytes.removeAll()
    keepTunnelAlive(exchange)
    guard readFrames(exchange, .client, toServer, from: early), readFrames(exchange, .server, toClient, from: greeting)
    else { return }
    flushTunnel(toServerOf: exchange)
    guard exchanges[exchange].isTunnel else { return }
    flushTunnel(toClientOf: exchange)
    guard exchanges[exchange].isTunnel else { return }
    if clients[client].inputWaits { list(client: client) }
    if servers[server].inputWaits { list(server: server) }
  }

  /// When the caller's token ends; never for one that has none.
  private func end(ofCaller exchange: Int32) -> Instant {
    let end = exchanges[exchange].exchange.validUntil
    guard end.microseconds != .max else { return .never }
    let left = max(0, end.microseconds - loop.wallTime.microseconds)
    return loop.now.advanced(byNanoseconds: min(left, Self.longestSpan) * 1000)
  }

  /// Microseconds of a hundred years: nothing lasts longer.
  private static var longestSpan: Int64 { 3_155_760_000_000_000 }

  private mutating func keepTunnelAlive(_ exchange: Int32) {
    let own = exchanges[exchange].exchange.tunnelIdle
    let idle = own > 0 ? own : limits.settings.tunnelTimeout
    setDeadline(client: exchanges[exchange].client, after: idle)
    setDeadline(server: exchanges[exchange].server, after: idle)
  }

  /// The client has sent something, or ended its direction.
  mutating func pumpTunnel(fromClient index: Int32) {
    let exchange = clients[index].exchange
    guard exchange >= 0, !exchanges[exchange].clientHasEnded else { return }
    let buffer = exchanges[exchange].toServer
    let before = buffer.count
    guard before < Self.tunnelBacklog else { return }
    switch world.receive(clients[index].socket, into: buffer, limit: Self.receiveLimit) {
    case .count(let count):
      clients[index].inputWaits = count == Self.receiveLimit || clients[index].peerEnded
      metrics.add(count, to: .clientBytesReceived)
      keepTunnelAlive(exchange)
      guard readFrames(exchange, .client, buffer, from: before) else { return }
      flushTunnel(toServerOf: exchange)
    case .wouldBlock: clients[index].inputWaits = false
    case .ended:
      clients[index].inputWaits = false
      exchanges[exchange].clientHasEnded = true
      flushTunnel(toServerOf: exchange)
    case .failed: closeTunnel(exchange, reset: true)
    }
    if clients[index].state == .tunnel, clients[index].inputWaits { list(client: index) }
  }

  /// The upstream has sent something, or ended its direction.
  mutating func pumpTunnel(fromServer index: Int32) {
    let exchange = servers[index].exchange
    guard exchange >= 0, !exchanges[exchange].serverHasEnded else { return }
    let buffer = exchanges[exchange].toClient
    let before = buffer.count
    guard before < Self.tunnelBacklog else { return }
    switch world.receive(servers[index].socket, into: buffer, limit: Self.receiveLimit) {
    case .count(let count):
      servers[index].inputWaits = count == Self.receiveLimit || servers[index].peerEnded
      metrics.add(count, to: .upstreamBytesReceived)
      keepTunnelAlive(exchange)
      guard readFrames(exchange, .server, buffer, from: before) else { return }
      flushTunnel(toClientOf: exchange)
    case .wouldBlock: servers[index].inputWaits = false
    case .ended:
      servers[index].inputWaits = false
      exchanges[exchange].serverHasEnded = true
      flushTunnel(toClientOf: exchange)
    case .failed: closeTunnel(exchange, reset: true)
    }
    if servers[index].state == .tunnel, servers[index].inputWaits { list(server: index) }
  }

  /// Sends what waits for the upstream and, at the end of the client's stream, the end.
  mutating func flushTunnel(toServerOf exchange: Int32) {
    let (client, server) = (exchanges[exchange].client, exchanges[exchange].server)
    let buffer = exchanges[exchange].toServer
    let held = exchanges[exchange].webSocket?.client.heldCount ?? 0
    if buffer.count > held {
      switch world.send(servers[server].socket, buffer.bytes.extracting(0..<buffer.count - held)) {
      case .count(let count):
        metrics.add(count, to: .upstreamBytesSent)
        buffer.consume(count)
      case .wouldBlock: return
      case .ended, .failed: return closeTunnel(exchange, reset: true)
      }
    }
    guard buffer.count == held else { return }
    if exchanges[exchange].clientHasEnded, !exchanges[exchange].endedToServer {
      exchanges[exchange].endedToServer = true
      world.endSending(servers[server].socket)
      closeTunnelIfOver(exchange)
    } else if clients[client].inputWaits {
      list(client: client)
    }
  }

  /// Sends what waits for the client and, at the end of the upstream's stream, the end.
  mutating func flushTunnel(toClientOf exchange: Int32) {
    let (client, server) = (exchanges[exchange].client, exchanges[exchange].server)
    let buffer = exchanges[exchange].toClient
    let held = exchanges[exchange].webSocket?.server.heldCount ?? 0
    if buffer.count > held {
      switch world.send(clients[client].socket, buffer.bytes.extracting(0..<buffer.count - held)) {
      case .count(let count):
        metrics.add(count, to: .clientBytesSent)
        exchanges[exchange].sentToClient += Int64(count)
        buffer.consume(count)
      case .wouldBlock: return
      case .ended, .failed: return closeTunnel(exchange, reset: true)
      }
    }
    guard buffer.count == held else { return }
    if exchanges[exchange].serverHasEnded, !exchanges[exchange].endedToClient {
      exchanges[exchange].endedToClient = true
      world.endSending(clients[client].socket)
      closeTunnelIfOver(exchange)
    } else if servers[server].inputWaits {
      list(server: server)
    }
  }

  private mutating func closeTunnelIfOver(_ exchange: Int32) {
    if exchanges[exchange].endedToClient, exchanges[exchange].endedToServer { closeTunnel(exchange, reset: false) }
  }

  /// Ends a tunnel in both directions.
  mutating func closeTunnel(_ exchange: Int32, reset: Bool) {
    metrics.add(to: .tunnelsClosed)
    openTunnels -= 1
    exchanges[exchange].isTunnel = false
    // Before the record, which would break the connection off: the last bytes may still be on their way.
    releaseServer(of: exchange, isReusable: false, reset: reset)
    record(exchange)
    let client = exchanges[exchange].client
    let isClosing = exchanges[exchange].webSocket?.isClosing == true
    exchanges[exchange].resetTunnel()
    guard !reset, isClosing else { return close(client: client, reset: reset) }
    // It may be sending still: closed at once, the connection would be reset and the Close frame lost.
    clients[client].exchange = -1
    giveBack(exchange: exchange)
    clients[client].inputWaits = true
    closeAfterResponse(client: client)
  }
}
