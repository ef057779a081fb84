// Connections that carry many exchanges: to the flow, each stream of HTTP/2 is a client's connection with one request on it.
// The connection itself is a slot that accepts streams and is counted once.

import Core
import HTTP
import Net
import Pipeline
import Traffic

extension RequestFlow {
  /// Whether what a client has sent first is the beginning of HTTP/2 (RFC 9113 section 3.3), and its listener speaks that.
  mutating func beginsHTTP2(_ index: Int32, _ buffer: ByteBuffer) -> Bool {
    guard listeners[Int(clients[index].listener)].acceptsHTTP2, clients[index].served == 0,
      world.canSecure(clients[index].socket), buffer.bytes.array.starts(with: Self.requestLine.utf8)
    else { return false }
    world.multiplex(clients[index].socket, received: buffer.bytes)
    let exchange = clients[index].exchange
    if exchange >= 0 { giveBack(exchange: exchange) } else { input.removeAll() }
    carry(index)
    return true
  }

  private static var requestLine: String { "PRI * HTTP/2.0\r\n" }

  /// Takes the streams that a client has opened, and lets the connection go where no more will come.
  mutating func carry(_ index: Int32) {
    clients[index].inputWaits = false
    if clients[index].state != .carrier {
      guard mayCarry(index) else { return }
      beginCarrying(index)
    }
    let generation = clients[index].generation
    while let socket = world.acceptStream(on: clients[index].socket) {
      admit(stream: socket, on: index)
      guard clients[index].generation == generation else { return }
    }
    guard world.isOver(clients[index].socket) else { return }
    if !clients[index].closesAfterResponse { noteAbuse(index) }
    clients[index].closesAfterResponse = true
    if clients[index].streams == 0 { endCarrying(index) }
  }

  /// Whether the client's address has not lost too many connections of HTTP/2; otherwise this one is closed.
  private mutating func mayCarry(_ index: Int32) -> Bool {
    guard !node.abuses.isWithin(clients[index].peer, abuseRate, now: loop.now) else { return true }
    metrics.countRefusedConnection(.abuse)
    world.turnAway(clients[index].socket)
    close(client: index, reset: false)
    return false
  }

  /// A connection is over: notes it where that is for something that is done in bad faith only.
  private func noteAbuse(_ index: Int32) {
    guard world.limitExceeded(on: clients[index].socket)?.isAbuse == true,
      !limits.trustedProxies.contains(where: { $0.contains(clients[index].peer) })
    else { return }
    node.abuses.charge(clients[index].peer, abuseRate, now: loop.now)
  }

  private var abuseRate: AddressLedger.Rate {
    AddressLedger.Rate(count: limits.settings.abusesPerAddress, span: 60_000_000_000)
  }

  private mutating func beginCarrying(_ index: Int32) {
    clients[index].state = .carrier
    metrics.add(to: .http2Connections)
    if clients[index].queue != .idle { enqueue(index, .idle) }
    setDeadline(client: index, after: limits.settings.idleTimeout)
    if drain.isDraining { world.drain(clients[index].socket, atOnce: false) }
  }

  private mutating func admit(stream socket: Socket, on carrier: Int32) {
    guard let index = clients.take() else {
      metrics.countShedConnection(.pressure)
      return world.close(socket, reset: true)
    }
    let generation = clients[index].generation &+ 1
    clients[index] = ClientSlot()
    clients[index].generation = generation
    clients[index].socket = socket
    clients[index].listener = clients[carrier].listener
    clients[index].peer = clients[carrier].peer
    clients[index].peerPort = clients[carrier].peerPort
    clients[index].carrier = carrier
    clients[index].state = .idle
    clients[index].closesAfterResponse = true
    clients[index].inputWaits = true
    clients[carrier].served &+= 1
    clients[carrier].streams &+= 1
    if clients[carrier].served >= limits.settings.requestsPerConnection { endSoon(carrier: carrier) }
    clients[carrier].deadline = .never
    metrics.add(to: .http2Streams)
    do throws(NetworkError) {
      try world.register(socket, token: Token(.client, index, generation: generation).rawValue)
    } catch { preconditionFailure("a stream costs nothing to register") }
    pump(client: index)
    guard clients[index].generation == generation, clients[index].state == .idle else { return }
    setDeadline(client: index, after: limits.settings.headTimeout)
  }

  /// A connection has had as many streams as it may: asks the client for no more, and takes no more from one that goes on.
  private mutating func endSoon(carrier: Int32) {
    let beyond = clients[carrier].served - limits.settings.requestsPerConnection
    world.drain(clients[carrier].socket, atOnce: Int(beyond) >= limits.settings.streamsPerConnection)
  }

  /// A stream has ended: its connection may be idle now, or at its end too.
  mutating func leave(carrier: Int32) {
    clients[carrier].streams &-= 1
    guard clients[carrier].streams == 0, clients[carrier].state == .carrier else { return }
    if clients[carrier].closesAfterResponse { return endCarrying(carrier) }
    enqueue(carrier, .idle)
    setDeadline(client: carrier, after: limits.settings.idleTimeout)
  }

  /// Ends a connection without streams, once what they said last has been sent, or has not been taken for too long: the client
  /// is told, and given a moment to hear it.
  mutating func endCarrying(_ index: Int32) {
    guard clients[index].isLeaving || world.isOver(clients[index].socket) else {
      clients[index].isLeaving = true
      clients[index].closesAfterResponse = true
      dequeue(index)
      setDeadline(client: index, after: limits.settings.lingerTimeout)
      return world.drain(clients[index].socket, atOnce: true)
    }
    guard world.endMultiplex(clients[index].socket) else { return close(client: index, reset: false) }
    clients[index].inputWaits = true
    closeAfterResponse(client: index)
  }

  /// The node drains: asks clients to open no more streams, or takes no more.
  mutating func drainCarriers(atOnce: Bool) {
    for index in clients.touchedIndexes where clients[index].state == .carrier {
      world.drain(clients[index].socket, atOnce: atOnce)
    }
  }

  // MARK: To upstreams

  /// The upstream cannot be asked this, here or elsewhere, and has not failed: a WebSocket connection where it takes none
  /// (RFC 8441 section 3), or what HTTP/2 has no words for.
  mutating func refuseInexpressible(_ exchange: Int32) {
    let wantsTunnel = exchanges[exchange].wantsUpgrade
    refuse(exchange, wantsTunnel ? ProblemCatalogue.upgradeNotSupported : ProblemCatalogue.notImplemented)
  }

  /// Begins an exchange with an endpoint that speaks HTTP/2.
  mutating func connectStream(
    _ exchange: Int32, _ token: UInt64, _ upstream: LoopUpstream
  ) throws(NetworkError) -> Socket {
    let position = Int(exchanges[exchange].position)
    guard let endpoint = exchanges[exchange].endpoints?.with({ $0.set.endpoints[position] }) else { throw .refused }
    let security = upstream.plan.spec.tls.map {
      StreamSecurity($0.context, name: $0.name(of: endpoint), resumption: $0.resumption(of: endpoint))
    }
    return try world.connectStream(
      to: endpoint.state.address, endpoint: endpoint.state.id, token: token, security,
      StreamLimits(
        connect: upstream.timeouts.connect, idle: upstream.plan.spec.pool.idleTimeout.wholeNanoseconds,
        streams: Int(upstream.pool.maxRequestsPerConnection)))
  }
}
