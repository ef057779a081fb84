// After an upgrade: bytes both ways, each direction with its own end.

import Core

extension RequestFlow {
  /// Bytes that may wait for one side before the other is no longer read.
  private static var tunnelBacklog: Int { 65_536 }

  /// Turns an exchange into a tunnel. What either side has sent already belongs to it.
  mutating func openTunnel(_ exchange: Int32, upstreamBytes: ByteBuffer) {
    let (client, server) = (exchanges[exchange].client, exchanges[exchange].server)
    metrics.add(to: .tunnelsOpened)
    clients[client].state = .tunnel
    servers[server].state = .tunnel
    exchanges[exchange].stage = .response
    exchanges[exchange].isTunnel = true
    exchanges[exchange].totalDeadline = .never
    exchanges[exchange].isReplayable = false
    let toServer = exchanges[exchange].toServer
    toServer.consume(exchanges[exchange].toServerSent)
    exchanges[exchange].toServerSent = 0
    toServer.append(exchanges[exchange].clientInput.bytes)
    exchanges[exchange].clientInput.removeAll()
    exchanges[exchange].toClient.append(upstreamBytes.bytes)
    upstreamBytes.removeAll()
    keepTunnelAlive(exchange)
    flushTunnel(toServerOf: exchange)
    guard exchanges[exchange].isTunnel else { return }
    flushTunnel(toClientOf: exchange)
    guard exchanges[exchange].isTunnel else { return }
    if clients[client].inputWaits { list(client: client) }
    if servers[server].inputWaits { list(server: server) }
  }

  private mutating func keepTunnelAlive(_ exchange: Int32) {
    let idle = limits.settings.tunnelTimeout
    setDeadline(client: exchanges[exchange].client, after: idle)
    setDeadline(server: exchanges[exchange].server, after: idle)
  }

  /// The client has sent something, or ended its direction.
  mutating func pumpTunnel(fromClient index: Int32) {
    let exchange = clients[index].exchange
    guard exchange >= 0, !exchanges[exchange].clientHasEnded else { return }
    let buffer = exchanges[exchange].toServer
    guard buffer.count < Self.tunnelBacklog else { return }
    switch world.receive(clients[index].socket, into: buffer, limit: Self.receiveLimit) {
    case .count(let count):
      clients[index].inputWaits = count == Self.receiveLimit || clients[index].peerEnded
      metrics.add(count, to: .clientBytesReceived)
      keepTunnelAlive(exchange)
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
    guard buffer.count < Self.tunnelBacklog else { return }
    switch world.receive(servers[index].socket, into: buffer, limit: Self.receiveLimit) {
    case .count(let count):
      servers[index].inputWaits = count == Self.receiveLimit || servers[index].peerEnded
      metrics.add(count, to: .upstreamBytesReceived)
      keepTunnelAlive(exchange)
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
    if !buffer.isEmpty {
      switch world.send(servers[server].socket, buffer.bytes) {
      case .count(let count):
        metrics.add(count, to: .upstreamBytesSent)
        buffer.consume(count)
      case .wouldBlock: return
      case .ended, .failed: return closeTunnel(exchange, reset: true)
      }
    }
    guard buffer.isEmpty else { return }
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
    if !buffer.isEmpty {
      switch world.send(clients[client].socket, buffer.bytes) {
      case .count(let count):
        metrics.add(count, to: .clientBytesSent)
        exchanges[exchange].sentToClient += Int64(count)
        buffer.consume(count)
      case .wouldBlock: return
      case .ended, .failed: return closeTunnel(exchange, reset: true)
      }
    }
    guard buffer.isEmpty else { return }
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
    exchanges[exchange].isTunnel = false
    // Before the record, which would break the connection off: the last bytes may still be on their way.
    releaseServer(of: exchange, isReusable: false, reset: reset)
    record(exchange)
    close(client: exchanges[exchange].client, reset: reset)
  }
}
