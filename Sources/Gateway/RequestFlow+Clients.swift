// The client's side of a connection: accepting, reading heads, shedding, closing.

import Core
import HTTP
import Net
import Pipeline

extension RequestFlow {
  /// Bytes asked of the kernel at once.
  static var receiveLimit: Int { 65_536 }
  /// Connections taken from one listener before other events get their turn.
  private static var acceptsPerTurn: Int { 64 }

  /// Takes the connections that wait.
  mutating func accept(from listener: Int32) {
    guard listeners.indices.contains(Int(listener)), !listeners[Int(listener)].isPaused else { return }
    for _ in 0..<Self.acceptsPerTurn {
      switch world.accept(listeners[Int(listener)].socket) {
      case .wouldBlock: return
      case .failed: continue
      case .exhausted: return pauseAccepting()
      case .accepted(let socket, let peer): admit(socket, from: peer, by: listener)
      }
    }
    listeners[Int(listener)].inputWaits = true
  }

  /// Descriptors or memory have run out: nothing is accepted until some connection may have closed.
  private mutating func pauseAccepting() {
    metrics.add(to: .acceptPauses)
    for index in listeners.indices {
      listeners[index].isPaused = true
      listeners[index].inputWaits = true
    }
    acceptResumesAt = loop.now.advanced(byNanoseconds: 100_000_000)
    shed(1)
  }

  private mutating func admit(_ socket: Socket, from peer: SocketAddress, by listener: Int32) {
    var address = IPAddress(high: 0, low: 1)
    var port: UInt16 = 0
    if case .ip(let ip, let number) = peer { (address, port) = (ip, number) }
    let isProxied = listeners[Int(listener)].expectsProxyHeader
    switch node.ledger.enter(address, countsAddress: !isProxied) {
    case .admitted: break
    case .nodeIsFull:
      // A connection that does something is worth more than one that makes others wait.
      guard shed(1) > 0, node.ledger.enter(address, countsAddress: !isProxied) == .admitted else {
        return refuseConnection(socket, .nodeLimit)
      }
    case .addressIsFull: return refuseConnection(socket, .addressLimit)
    }
    guard let index = clients.take() else {
      node.ledger.leave(address, countsAddress: !isProxied)
      return refuseConnection(socket, .nodeLimit)
    }
    let generation = clients[index].generation &+ 1
    clients[index] = ClientSlot()
    clients[index].generation = generation
    clients[index].socket =
      listeners[Int(listener)].tls == nil && !listeners[Int(listener)].acceptsHTTP2 ? socket : world.adopt(socket)
    clients[index].listener = listener
    clients[index].peer = address
    clients[index].peerPort = port
    clients[index].countsAddress = !isProxied
    clients[index].ledgerAddress = address
    do throws(NetworkError) {
      try world.register(clients[index].socket, token: Token(.client, index, generation: generation).rawValue)
    } catch {
      metrics.add(to: .connectionsAccepted)
      return close(client: index, reset: true)
    }
    metrics.add(to: .connectionsAccepted)
    if listeners[Int(listener)].passesThrough, !isProxied { return passThrough(index) }
    clients[index].state = isProxied ? .proxyHeader : .idle
    guard isProxied || secure(index) else { return }
    enqueue(index, isProxied ? .slow : .idle)
    setDeadline(client: index, after: isProxied ? limits.settings.headTimeout : limits.settings.idleTimeout)
  }

  private mutating func refuseConnection(_ socket: Socket, _ reason: ConnectionRefusal) {
    metrics.countRefusedConnection(reason)
    world.close(socket, reset: true)
  }

  /// An event of a client's socket.
  @inline(__always)
  mutating func clientReady(_ index: Int32, _ readiness: Readiness) {
    if readiness.contains(.broken), isLost(index) { return abandon(clients[index].exchange) }
    if !readiness.isDisjoint(with: [.peerEnded, .broken]) { clients[index].peerEnded = true }
    // What came before the end is still to be had: receiving tells the rest.
    if !readiness.isDisjoint(with: [.readable, .peerEnded, .broken]) { clients[index].inputWaits = true }
    if readiness.contains(.writable), clients[index].exchange >= 0 { flushToClient(clients[index].exchange) }
    guard clients[index].inputWaits else { return }
    // Nearly always the next request.
    if clients[index].state == .idle { readHead(index) } else { pump(client: index) }
  }

  /// Whether nothing can come of an exchange any more whose client's socket is gone in both directions. In a tunnel both
  /// may have ended in good order: then what the client sent last is still to be read, or passed on. It is mutating only
  /// because the compiler copies the whole flow for a call that could not change it.
  private mutating func isLost(_ index: Int32) -> Bool {
    let exchange = clients[index].exchange
    switch clients[index].state {
    case .exchange: return true
    case .tunnel: return exchanges[exchange].clientHasEnded && !exchanges[exchange].endedToClient
    case .free, .proxyHeader, .idle, .head, .carrier, .lingering: return false
    }
  }

  /// Does what can be done with the client's input. Ends without input, or where the other side must act first.
  mutating func pump(client index: Int32) {
    switch clients[index].state {
    case .free: return
    case .proxyHeader: readProxyHeader(index)
    case .idle, .head: readHead(index)
    case .exchange: readRequestBody(index)
    case .tunnel: pumpTunnel(fromClient: index)
    case .carrier: carry(index)
    case .lingering: discardInput(index)
    }
  }

  /// Reads a request head: usually all of it at once, into the loop's own buffer.
  @inline(__always)
  private mutating func readHead(_ index: Int32) {
    let exchange = clients[index].exchange
    let buffer = exchange >= 0 ? Borrowed(exchanges[exchange].clientInput) : lent.input
    if exchange >= 0, exchanges[exchange].scanned < buffer.with({ $0.count }) {
      return buffer.with { parseHead(index, $0) }
    }
    guard clients[index].inputWaits else { return }
    if exchange < 0 { input.removeAll() }
    switch receive(clients[index].socket, into: buffer) {
    case .count(let count):
      clients[index].inputWaits = count == Self.receiveLimit || clients[index].peerEnded
      metrics.add(count, to: .clientBytesReceived)
      buffer.with { parseHead(index, $0) }
    case .wouldBlock:
      clients[index].inputWaits = false
      if world.isMultiplexed(clients[index].socket) { carry(index) }
    case .ended, .failed:
      if exchange >= 0 { metrics.countShedConnection(.peerGone) }
      close(client: index, reset: false)
    }
  }

  private mutating func parseHead(_ index: Int32, _ buffer: ByteBuffer) {
    let exchange = clients[index].exchange
    let scanned = exchange >= 0 ? exchanges[exchange].scanned : 0
    switch lent.request.with({ $0.parse(buffer, from: scanned, limits: limits.head) }) {
    case .complete(let count):
      guard let exchange = beginExchange(index, buffer, headCount: count) else { return }
      dispatch(exchange)
    case .incomplete:
      guard let exchange = keepIncompleteHead(index, buffer) else { return }
      exchanges[exchange].scanned = buffer.count
      if clients[index].inputWaits { list(client: index) }
    case .refused(let fault):
      if beginsHTTP2(index, buffer) { return }
      guard let exchange = beginExchange(index, buffer, headCount: 0) else { return }
      refuse(exchange, malformed: fault)
    }
  }

  /// Gives the connection an exchange to collect an incomplete head in, and a time limit for its rest.
  private mutating func keepIncompleteHead(_ index: Int32, _ buffer: ByteBuffer) -> Int32? {
    if clients[index].exchange >= 0 { return clients[index].exchange }
    guard let exchange = takeExchange(for: index) else { return nil }
    exchanges[exchange].clientInput.append(buffer.bytes)
    clients[index].state = .head
    enqueue(index, .slow)
    setDeadline(client: index, after: limits.settings.headTimeout)
    return exchange
  }

  /// Takes a slot for the next request of a connection.
  @inline(__always)
  private mutating func takeExchange(for index: Int32) -> Int32? {
    guard let exchange = exchanges.take() else {
      metrics.countShedConnection(.pressure)
      close(client: index, reset: true)
      return nil
    }
    exchanges[exchange].client = index
    exchanges[exchange].exchange.startedAt = loop.now
    clients[index].exchange = exchange
    return exchange
  }

  /// A head is complete (or, with a count of 0, beyond repair): it moves to the exchange's own buffer, what follows it
  /// stays behind as input.
  @inline(__always)
  private mutating func beginExchange(_ index: Int32, _ buffer: ByteBuffer, headCount: Int) -> Int32? {
    var exchange = clients[index].exchange
    if exchange < 0 {
      guard let taken = takeExchange(for: index) else { return nil }
      exchange = taken
    }
    if clients[index].queue == .slow { dequeue(index) }
    clients[index].state = .exchange
    clients[index].served &+= 1
    metrics.add(to: .requestsStarted)
    let head = Borrowed(exchanges[exchange].exchange.head)
    head.with { $0.append(buffer.bytes.extracting(0..<headCount)) }
    buffer.consume(headCount)
    if buffer === input, !buffer.isEmpty { exchanges[exchange].clientInput.append(buffer.bytes) }
    nameExchange(exchange, index)
    if headCount > 0 {
      lent.request.with { request in
        // The slot keeps the buffer, and the head is not looked at any more when the slot has gone.
        head.with { unsafe request.rebind(unowned: $0) }
      }
    }
    return exchange
  }

  /// What is known of every exchange, whatever its head says.
  @inline(__always)
  mutating func nameExchange(_ exchange: Int32, _ client: Int32) {
    exchanges[exchange].begin(under: configuration)
    let decision = DecisionID(high: loop.random(), low: loop.random())
    exchanges[exchange].exchange.decision = decision
    exchanges[exchange].decisionText = HexadecimalText(decision.high, decision.low)
    exchanges[exchange].exchange.peer = clients[client].peer
    exchanges[exchange].exchange.client = clients[client].peer
    exchanges[exchange].exchange.listener = clients[client].listener
    if !Transport<LoopWorld>.isPlain(clients[client].socket) { noteSecurity(exchange, client) }
    exchanges[exchange].exchange.ticket = ticket(of: exchange)
  }

  /// Makes sure that a client's input is looked at again this turn or the next.
  mutating func list(client index: Int32) {
    guard !clients[index].isListed else { return }
    clients[index].isListed = true
    listed.append(Token(.client, index, generation: clients[index].generation).rawValue)
  }

  // MARK: Closing

  /// Closes a client's connection and gives its slot back. Its exchange, if any, must have been recorded.
  mutating func close(client index: Int32, reset: Bool) {
    dequeue(index)
    let exchange = clients[index].exchange
    if exchange >= 0 { giveBack(exchange: exchange) }
    world.close(clients[index].socket, reset: reset)
    let carrier = clients[index].carrier
    if carrier < 0 {
      node.ledger.leave(clients[index].ledgerAddress, countsAddress: clients[index].countsAddress)
      metrics.add(to: .connectionsClosed)
    }
    clients[index].state = .free
    clients[index].socket = .none
    clients[index].exchange = -1
    clients[index].generation &+= 1
    clients[index].deadline = .never
    clients.giveBack(index)
    if carrier >= 0 { leave(carrier: carrier) }
  }

  /// The response is out and no further request is wanted. Where the client may still be sending, closing at once
  /// would reset the connection and could destroy the response on its way (RFC 9112 section 9.6).
  mutating func closeAfterResponse(client index: Int32) {
    if clients[index].carrier >= 0 || (clients[index].peerEnded && !clients[index].inputWaits) {
      return close(client: index, reset: false)
    }
    world.endSending(clients[index].socket)
    clients[index].state = .lingering
    enqueue(index, .slow)
    setDeadline(client: index, after: limits.settings.lingerTimeout)
    if clients[index].inputWaits { list(client: index) }
  }

  private mutating func discardInput(_ index: Int32) {
    input.removeAll()
    switch world.receive(clients[index].socket, into: input, limit: Self.receiveLimit) {
    case .count(let count):
      clients[index].inputWaits = count == Self.receiveLimit || clients[index].peerEnded
      if clients[index].inputWaits { list(client: index) }
    case .wouldBlock: clients[index].inputWaits = false
    case .ended, .failed: close(client: index, reset: false)
    }
  }

  // MARK: Queues for shedding

  /// Puts a connection at the end of a queue, out of the one it was in.
  mutating func enqueue(_ index: Int32, _ queue: ClientSlot.Queue) {
    dequeue(index)
    clients[index].queue = queue
    clients[index].servedWhenQueued = clients[index].served
    let last = queues[queue].last
    clients[index].previous = last
    clients[index].next = -1
    if last >= 0 { clients[last].next = index } else { queues[queue].first = index }
    queues[queue].last = index
  }

  /// Takes a connection out of its queue.
  mutating func dequeue(_ index: Int32) {
    let queue = clients[index].queue
    guard queue != .none else { return }
    let (previous, next) = (clients[index].previous, clients[index].next)
    if previous >= 0 { clients[previous].next = next } else { queues[queue].first = next }
    if next >= 0 { clients[next].previous = previous } else { queues[queue].last = previous }
    clients[index].queue = .none
  }

  /// The connection that has been between two requests the longest; −1 where there is none. Connections stay in their
  /// queue while they serve a request, which spares every request two changes of it: whoever looks puts that right.
  mutating func longestIdle() -> Int32 {
    while true {
      let index = queues[.idle].first
      if index < 0 { return -1 }
      if clients[index].state != .idle, clients[index].state != .carrier || clients[index].streams > 0 {
        dequeue(index)
      } else if clients[index].served != clients[index].servedWhenQueued {
        enqueue(index, .idle)
      } else {
        return index
      }
    }
  }

  /// Closes the `count` connections that are the least loss: first those that make the node wait longest, then those
  /// between requests. Returns how many were found.
  @discardableResult
  mutating func shed(_ count: Int) -> Int {
    for done in 0..<count {
      let victim = queues[.slow].first >= 0 ? queues[.slow].first : longestIdle()
      guard victim >= 0 else { return done }
      metrics.countShedConnection(.pressure)
      let exchange = clients[victim].exchange
      if exchange >= 0, clients[victim].state == .exchange {
        abandon(exchange)
      } else {
        close(client: victim, reset: true)
      }
    }
    return count
  }
}
