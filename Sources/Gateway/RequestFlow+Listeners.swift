// Where connections come from, and what the node says to its loops.

import Cluster
import Core
import HTTP
import Pipeline
import Traffic

extension RequestFlow {
  /// Opens the listeners of `settings` that are not open yet and closes those that are not in it. Throws with the
  /// first address that cannot be had; the others are then in the state that was asked for.
  public mutating func listen(_ settings: [ListenerSettings]) throws(ListenError) {
    var failure: ListenError?
    for index in listeners.indices where !settings.contains(where: { $0.address == listeners[index].address }) {
      closeListener(index)
    }
    for wanted in settings {
      if let index = listeners.firstIndex(where: { $0.address == wanted.address && $0.isOpen }) {
        listeners[index].expectsProxyHeader = wanted.expectsProxyHeader
        listeners[index].passesThrough = wanted.passesThrough
        listeners[index].tls = wanted.tls
        listeners[index].acceptsHTTP2 = wanted.acceptsHTTP2
        listeners[index].redirect = wanted.redirect
        continue
      }
      // Tokens name listeners by position, so a position is used again only once its listener is closed.
      let index = listeners.firstIndex { !$0.isOpen } ?? listeners.count
      do throws(NetworkError) {
        let socket = try world.listen(
          wanted.address, ListenOptions(), token: Token(.listener, Int32(index), generation: 0).rawValue)
        let slot = ListenerSlot(
          address: wanted.address, socket: socket, expectsProxyHeader: wanted.expectsProxyHeader,
          passesThrough: wanted.passesThrough, tls: wanted.tls,
          acceptsHTTP2: wanted.acceptsHTTP2, redirect: wanted.redirect)
        if index == listeners.count { listeners.append(slot) } else { listeners[index] = slot }
      } catch { failure = failure ?? ListenError(address: wanted.address, cause: error) }
    }
    hasOwnAnswers = listeners.contains { $0.isOpen && ($0.redirect != nil || $0.acceptsEarlyData) }
    if let failure { throw failure }
  }

  /// Closes a listener; what the kernel has already queued for it would be reset with it, so it is taken first.
  mutating func closeListener(_ index: Int) {
    guard listeners[index].isOpen else { return }
    listeners[index].isPaused = false
    for _ in 0..<Self.finalAccepts {
      listeners[index].inputWaits = false
      accept(from: Int32(index))
      if !listeners[index].inputWaits { break }
    }
    world.close(listeners[index].socket, reset: false)
    listeners[index].inputWaits = false
    listeners[index].socket = .none
  }

  /// Rounds of accepting before a listener closes: a full queue and some.
  private static var finalAccepts: Int { 128 }

  /// See ``EventHandler/receive(_:)``.
  public mutating func receive(_ message: FlowMessage) {
    switch message {
    case .configure(let blueprint, let shared, let report, let done, let retire):
      self.retire = retire
      configure(blueprint, shared)
      do throws(ListenError) { try listen(drain.isDraining ? [] : blueprint.listeners) } catch { report(error) }
      done()
    case .endpoints(let endpoints):
      for upstream in configuration.upstreams where upstream.plan.state === endpoints.state {
        upstream.adopt(endpoints)
      }
    case .unwell(let endpoints): leave(unwell: endpoints)
    case .inquire(let inquiry): begin(inquiry)
    case .resolvedStore(let host, let addresses): sharedQuota?.resolved(host: host, addresses)
    case .facts(let view, let taken):
      facts?.view = view
      endRevokedTunnels()
      taken()
    case .fetched(let news): take(news)
    case .password(let number, let isRight): take(password: number, isRight: isRight)
    case .record(let outcome, let order): take(record: outcome, of: order)
    case .drain(let nanoseconds): beginDrain(nanoseconds: nanoseconds)
    }
  }

  /// Serves new requests under another blueprint; those in progress end under the one they began with.
  private mutating func configure(_ blueprint: Blueprint, _ shared: BlueprintShared) {
    limits = FlowLimits(blueprint.node)
    (world.http2Options, world.sendTimeout) = (limits.http2, limits.settings.sendTimeout)
    former.append(configuration)
    configuration = LoopConfiguration(
      blueprint, shared, Services(world: loop, quota: quota, blueprint, shared, hasher, facts, fetches, node),
      lines: &lines)
    leaveReplaced(former[former.count - 1])
    dropFormer()
    closeUnwantedIdle()
  }

  /// Gives away the configurations under which nothing is in progress any more.
  mutating func dropFormer() {
    former.removeAll { configuration in
      guard configuration.users == 0 else { return false }
      retire(configuration.blueprint, configuration.shared)
      return true
    }
  }

  /// Closes idle connections to endpoints that no upstream has any more.
  private mutating func closeUnwantedIdle() {
    var wanted: Set<Int32> = []
    for upstream in configuration.upstreams {
      for endpoint in upstream.plan.endpoints.endpoints { wanted.insert(endpoint.state.id) }
    }
    for endpoint in 0..<pool.endpointBound where !wanted.contains(endpoint) {
      while case let connection = pool.takeOldest(endpoint: endpoint), connection >= 0 {
        close(server: connection, reset: false)
      }
    }
  }

  // MARK: The PROXY protocol

  /// Reads the PROXY header that must come first on this listener.
  mutating func readProxyHeader(_ index: Int32) {
    guard clients[index].inputWaits else { return }
    guard let exchange = proxyHeaderExchange(index) else { return }
    let buffer = exchanges[exchange].clientInput
    switch world.receive(clients[index].socket, into: buffer, limit: Self.receiveLimit) {
    case .count(let count):
      clients[index].inputWaits = count == Self.receiveLimit || clients[index].peerEnded
      metrics.add(count, to: .clientBytesReceived)
    case .wouldBlock:
      clients[index].inputWaits = false
      return
    case .ended, .failed: return close(client: index, reset: false)
    }
    switch ProxyHeader.parse(buffer.bytes) {
    case .incomplete: if clients[index].inputWaits { list(client: index) }
    case .malformed: refuseProxyHeader(index)
    case .complete(let byteCount, let source, _):
      buffer.consume(byteCount)
      acceptProxyHeader(index, exchange, source)
    }
  }

  /// The header may come in pieces, which an exchange's buffer collects.
  private mutating func proxyHeaderExchange(_ index: Int32) -> Int32? {
    if clients[index].exchange >= 0 { return clients[index].exchange }
    guard let exchange = exchanges.take() else {
      metrics.countShedConnection(.pressure)
      close(client: index, reset: true)
      return nil
    }
    exchanges[exchange].client = index
    clients[index].exchange = exchange
    return exchange
  }

  private mutating func refuseProxyHeader(_ index: Int32) {
    metrics.countRefusedConnection(.proxyHeader)
    close(client: index, reset: true)
  }

  private mutating func acceptProxyHeader(_ index: Int32, _ exchange: Int32, _ source: SocketAddress?) {
    if case .ip(let address, let port)? = source {
      guard node.ledger.enterAddress(address) else {
        metrics.countRefusedConnection(.addressLimit)
        return close(client: index, reset: true)
      }
      clients[index].peer = address
      clients[index].peerPort = port
      clients[index].ledgerAddress = address
      clients[index].countsAddress = true
    }
    if listeners[Int(clients[index].listener)].passesThrough { return passThrough(index, exchange) }
    clients[index].state = .idle
    enqueue(index, .idle)
    setDeadline(client: index, after: limits.settings.idleTimeout)
    if listeners[Int(clients[index].listener)].tls != nil {
      secure(index, exchange)
      return
    }
    if exchanges[exchange].clientInput.isEmpty {
      giveBack(exchange: exchange)
    } else {
      exchanges[exchange].exchange.startedAt = loop.now
      clients[index].state = .head
      enqueue(index, .slow)
      setDeadline(client: index, after: limits.settings.headTimeout)
      list(client: index)
    }
  }
}

/// A port that cannot be opened.
public struct ListenError: Error, Sendable {
  /// The address that was asked for.
  public let address: SocketAddress
  /// Why it cannot be had.
  public let cause: NetworkError
}
