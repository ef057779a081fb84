// Where a request goes: upstream, endpoint, connection; and what happens when that fails.

import Core
import HTTP
import Pipeline
import Traffic

extension RequestFlow {
  /// The station `route`: picks the upstream, or answers by itself where none is asked.
  @inline(__always)
  mutating func chooseUpstream(
    _ exchange: Int32, _ route: Borrowed<RoutePlan>, _ configuration: Borrowed<LoopConfiguration>
  ) -> Borrowed<LoopUpstream>? {
    var index = route.with { $0.onlyUpstream }
    if index < 0 {
      index = upstreamIndex(exchange, route, configuration)
      if index < 0 { return nil }
    }
    let chosen = configuration.with { Borrowed($0.upstreams[Int(index)]) }
    exchanges[exchange].upstream = index
    exchanges[exchange].group = chosen
    chosen.with { upstream in
      exchanges[exchange].timeouts = route.with { route in
        FlowTimeouts(
          connect: upstream.timeouts.connect, response: route.timeouts.response ?? upstream.timeouts.response,
          idle: route.timeouts.idle ?? upstream.timeouts.idle)
      }
      if upstream.hashes { exchanges[exchange].hash = affinityHash(exchange, upstream.plan.spec.hashKey) }
    }
    return chosen
  }

  /// Picks an endpoint that has not been tried; false where there is none.
  @inline(__always)
  mutating func pickEndpoint(_ exchange: Int32, _ upstream: LoopUpstream) -> Bool {
    var position = exchanges[exchange].tried.count == 0 ? upstream.balancer.obviousPick(now: loop.now) : -1
    if position < 0 {
      position = upstream.balancer.pick(
        hash: exchanges[exchange].hash, tried: exchanges[exchange].tried, now: loop.now, random: loop.random())
    }
    exchanges[exchange].position = position
    guard position >= 0 else { return false }
    exchanges[exchange].use(upstream.endpoints, at: position)
    return true
  }

  mutating func open(to endpoint: EndpointState, for exchange: Int32, _ upstream: LoopUpstream) {
    guard let index = servers.take() else {
      CircuitBreaker.release(.connection, upstream.plan.state)
      return refuse(exchange, ProblemCatalogue.overloaded)
    }
    let generation = servers[index].generation &+ 1
    servers[index] = ServerSlot()
    servers[index].generation = generation
    servers[index].line = upstream.line
    do throws(NetworkError) {
      let token = Token(.server, index, generation: generation).rawValue
      if upstream.speaksHTTP2 {
        servers[index].socket = try connectStream(exchange, token, upstream)
        // A stream serves one exchange.
        servers[index].served = .max - 1
      } else if let tls = upstream.plan.spec.tls {
        servers[index].socket = try connectSecurely(exchange, token, tls)
      } else {
        servers[index].socket = try world.connect(to: endpoint.address, token: token)
      }
    } catch {
      servers.giveBack(index)
      CircuitBreaker.release(.connection, upstream.plan.state)
      metrics.add(to: .upstreamConnectFailures)
      // Our own want of descriptors says nothing about the endpoint.
      if error == .exhausted { return refuse(exchange, ProblemCatalogue.overloaded) }
      return attemptFailed(exchange, .connectFailure)
    }
    if !upstream.speaksHTTP2 { metrics.add(to: .upstreamConnectionsOpened) }
    pool.opened(index, to: endpoint)
    servers[index].state = .connecting
    servers[index].exchange = exchange
    servers[index].since = loop.now
    exchanges[exchange].server = index
    exchanges[exchange].stage = .connecting
    if upstream.speaksHTTP2, world.isEstablished(servers[index].socket) { return connected(index) }
    setDeadline(server: index, after: exchanges[exchange].timeouts.connect)
  }

  /// The exchange goes on over this connection.
  @inline(__always)
  mutating func use(_ server: Int32, for exchange: Int32) {
    servers[server].state = .busy
    servers[server].exchange = exchange
    servers[server].served &+= 1
    exchanges[exchange].server = server
    exchanges[exchange].stage = .request
    exchanges[exchange].attempts &+= 1
    exchanges[exchange].scanned = 0
    if exchanges[exchange].upstreamStartedAt == .never {
      exchanges[exchange].upstreamStartedAt = loop.now
      metrics.observe(
        .gateway, nanoseconds: loop.now.nanoseconds(since: exchanges[exchange].exchange.startedAt))
    }
    exchanges[exchange].attemptStartedAt = loop.now
    exchanges[exchange].endpoint?.with { $0.requestStarted() }
    guard !exchanges[exchange].isPostedToServer else { return }
    exchanges[exchange].isPostedToServer = true
    postedToServers.append(ticket(of: exchange))
  }

  // MARK: Events of upstream connections

  /// An event of an upstream's socket.
  @inline(__always)
  mutating func serverReady(_ index: Int32, _ readiness: Readiness) {
    if readiness.contains(.peerEnded) { servers[index].peerEnded = true }
    if !readiness.isDisjoint(with: [.readable, .peerEnded, .broken]) { servers[index].inputWaits = true }
    let exchange = servers[index].exchange
    let generation = servers[index].generation
    if servers[index].state == .connecting {
      guard !readiness.isDisjoint(with: [.writable, .broken]) else { return }
      connected(index)
      guard servers[index].generation == generation else { return }
    } else if readiness.contains(.writable), exchange >= 0 {
      if servers[index].state == .tunnel {
        flushTunnel(toServerOf: exchange)
      } else if !exchanges[exchange].isPostedToServer,
        exchanges[exchange].toServerSent < exchanges[exchange].toServer.count
      {
        // What is posted goes out at the end of the turn, behind the look at what came before it was asked for.
        flushToServer(exchange)
      }
      guard servers[index].generation == generation else { return }
    }
    guard servers[index].inputWaits else { return }
    if servers[index].state == .busy { readResponse(index) } else { pump(server: index) }
  }

  private mutating func connected(_ index: Int32) {
    if world.connectFailure(servers[index].socket) != nil { return connectFailed(index, timedOut: false) }
    metrics.observe(.connect, nanoseconds: loop.now.nanoseconds(since: servers[index].since))
    let exchange = servers[index].exchange
    if isPassedThrough(exchange) { beginPassage(exchange) } else { use(index, for: exchange) }
  }

  /// Does what can be done with the upstream's input.
  mutating func pump(server index: Int32) {
    switch servers[index].state {
    case .free, .connecting: return
    case .idle: endIdle(index)
    case .busy: readResponse(index)
    case .tunnel: pumpTunnel(fromServer: index)
    }
  }

  /// Nothing is due between two requests: the upstream is closing, or confused.
  private mutating func endIdle(_ index: Int32) {
    input.removeAll()
    if let endpoint = pool.endpoint(of: index), case .count = receive(servers[index].socket, into: lent.input) {
      distrust(endpoint)
    }
    // Distrust has closed it with the others.
    if servers[index].state == .idle { close(server: index, reset: false) }
  }

  /// The endpoint has sent what nobody asked for: its idle connections may hold more of that, and no further ones are kept.
  mutating func distrust(_ endpoint: EndpointState) {
    metrics.add(to: .upstreamBytesUnasked)
    endpoint.noteUnaskedBytes(now: loop.now)
    while case let idle = pool.takeOldest(endpoint: endpoint.id), idle >= 0 { close(server: idle, reset: false) }
  }

  /// No connection came about.
  mutating func connectFailed(_ index: Int32, timedOut: Bool) {
    metrics.add(to: .upstreamConnectFailures)
    let exchange = servers[index].exchange
    exchanges[exchange].server = -1
    servers[index].exchange = -1
    exchanges[exchange].hasTimedOut = timedOut
    close(server: index, reset: true)
    attemptFailed(exchange, .connectFailure)
  }

  /// The upstream's connection broke, or ended, before its response was complete.
  mutating func serverBroke(_ exchange: Int32) {
    guard exchanges[exchange].stage != .response else { return responseBroke(exchange) }
    attemptFailed(exchange, .reset)
  }

  /// Makes sure that an upstream's input is looked at again this turn or the next.
  mutating func list(server index: Int32) {
    guard !servers[index].isListed else { return }
    servers[index].isListed = true
    listed.append(Token(.server, index, generation: servers[index].generation).rawValue)
  }

  // MARK: Failures and retries

  /// Connections in a row that may turn out to have been closed while idle, before that is held against the upstream.
  private static var staleLimit: UInt8 { 8 }

  /// An attempt has failed before a response began: tries elsewhere if that is safe, otherwise tells the client.
  mutating func attemptFailed(_ exchange: Int32, _ failure: AttemptFailure) {
    let server = exchanges[exchange].server
    if server >= 0, world.isInexpressible(servers[server].socket) { return refuseInexpressible(exchange) }
    let isUnprocessed = server >= 0 && world.isUnprocessed(servers[server].socket)
    if isUnprocessed { exchanges[exchange].toServerSent = 0 }
    let isStale =
      failure == .reset && server >= 0 && exchanges[exchange].attempts < Self.staleLimit
      && (isUnprocessed || (servers[server].isReused && exchanges[exchange].serverInput.isEmpty))
    if !isStale { noteFailure(exchange) }
    if retry(exchange, after: failure, isFree: isStale) { return }
    let isTimeout = failure == .timeout || exchanges[exchange].hasTimedOut
    refuse(exchange, isTimeout ? ProblemCatalogue.gatewayTimeout : ProblemCatalogue.badGateway)
  }

  /// Whether the response's status is worth another try, and that try has begun.
  @inline(__always)
  mutating func retriesStatus(_ exchange: Int32) -> Bool {
    response.status >= 500 && retriesFailure(exchange)
  }

  private mutating func retriesFailure(_ exchange: Int32) -> Bool {
    guard let spec = retrySpec(exchange), spec.conditions.contains(status: response.status)
    else { return false }
    return retry(exchange, after: .status(response.status), isFree: false)
  }

  private func retrySpec(_ exchange: Int32) -> RetrySpec? {
    // A mirrored copy is sent once.
    guard !exchanges[exchange].isMirror, let group = exchanges[exchange].group else { return nil }
    return exchanges[exchange].route?.with { $0.retries } ?? group.with { $0.plan.spec.retries }
  }

  /// Begins another attempt where that is allowed and safe. `isFree` marks a connection that the upstream closed while
  /// it was idle: that is nobody's failure, so it counts neither as an attempt nor against the budget.
  private mutating func retry(_ exchange: Int32, after failure: AttemptFailure, isFree: Bool) -> Bool {
    guard let upstream = exchanges[exchange].group?.with({ $0 }), let spec = retrySpec(exchange),
      !node.isDraining || isFree
    else { return false }
    let isIdempotent = exchanges[exchange].method.isIdempotent
    let isSafe = exchanges[exchange].isReplayable && (isIdempotent || exchanges[exchange].toServerSent == 0)
    if isFree, isSafe {
      metrics.countRetry(.reset)
    } else {
      guard
        RetryPolicy.allows(
          spec, after: failure, retried: Int(exchanges[exchange].retries), isIdempotent: isIdempotent,
          sentBytes: exchanges[exchange].toServerSent > 0, canReplay: exchanges[exchange].isReplayable)
      else { return false }
      guard exchanges[exchange].holdsRetry || RetryBudget.acquire(spec, upstream.plan.state) else {
        metrics.countRetry(.overBudget)
        return false
      }
      exchanges[exchange].holdsRetry = true
      exchanges[exchange].retries += 1
      metrics.countRetry(RetryReason(failure))
      if let id = exchanges[exchange].endpoint?.with({ $0.id }) { exchanges[exchange].tried.insert(id) }
    }
    dropServer(of: exchange)
    exchanges[exchange].serverInput.removeAll()
    exchanges[exchange].toServerSent = 0
    exchanges[exchange].scanned = 0
    exchanges[exchange].hasTimedOut = false
    exchanges[exchange].isCutOff = false
    exchanges[exchange].stage = .pending
    // Elsewhere if there is another endpoint, otherwise at the same.
    if !pickEndpoint(exchange, upstream) { exchanges[exchange].tried = TriedEndpoints() }
    if exchanges[exchange].position >= 0 || pickEndpoint(exchange, upstream) {
      connect(exchange, upstream)
    } else {
      refuse(exchange, ProblemCatalogue.badGateway)
    }
    return true
  }

  /// Sends elsewhere what waits for these endpoints, where the upstream is one to do so for, nothing of an answer has come,
  /// and it may be tried again. What must not be repeated goes on waiting.
  mutating func leave(unwell endpoints: [Int32]) {
    for index in exchanges.touchedIndexes {
      guard exchanges[index].stage == .request || exchanges[index].stage == .connecting, exchanges[index].server >= 0,
        exchanges[index].serverInput.isEmpty, !exchanges[index].isMirror,
        exchanges[index].group?.with({ $0.plan.spec.leavesUnwell }) == true,
        let id = exchanges[index].endpoint?.with({ $0.id }), endpoints.contains(id)
      else { continue }
      _ = retry(index, after: exchanges[index].stage == .connecting ? .connectFailure : .reset, isFree: false)
    }
  }

  /// What a failed attempt tells of the endpoint.
  mutating func noteFailure(_ exchange: Int32) {
    guard let endpoints = exchanges[exchange].endpoints?.with({ $0.set }), exchanges[exchange].position >= 0,
      let spec = exchanges[exchange].group?.with({ $0.plan.spec.ejection })
    else { return }
    _ = endpoints.recordFailure(exchanges[exchange].position, spec, now: loop.now)
  }

  /// What a response tells of the endpoint.
  @inline(__always)
  mutating func noteResponse(_ exchange: Int32) {
    let elapsed = loop.now.nanoseconds(since: exchanges[exchange].attemptStartedAt)
    metrics.observe(.upstream, nanoseconds: elapsed)
    // What 500 says of is the request as likely as the endpoint.
    if (502...504).contains(response.status) {
      noteFailure(exchange)
    } else {
      exchanges[exchange].endpoint?.with { $0.recordSuccess() }
    }
    guard exchanges[exchange].group?.with({ $0.measuresLatency }) == true else { return }
    let now = loop.now
    exchanges[exchange].endpoint?.with { $0.recordLatency(nanoseconds: elapsed, now: now) }
  }

  // MARK: Giving connections back

  /// Takes the exchange's connection away from it, into the pool or out of the world.
  mutating func releaseServer(of exchange: Int32, isReusable: Bool, reset: Bool) {
    let server = exchanges[exchange].server
    guard server >= 0 else { return }
    exchanges[exchange].server = -1
    servers[server].exchange = -1
    if servers[server].state != .connecting { exchanges[exchange].endpoint?.with { $0.requestEnded() } }
    let line = servers[server].line
    guard isReusable, !servers[server].peerEnded, !servers[server].inputWaits, !node.isDraining,
      exchanges[exchange].endpoint?.with({ $0.mayReuseConnections(at: loop.now) }) == true,
      let limits = exchanges[exchange].group?.with({ $0.isReplaced ? nil : $0.pool }),
      servers[server].served < limits.maxRequestsPerConnection, !keepsOthersWaiting(exchange, line),
      pool.release(server, limits, now: loop.now)
    else { return close(server: server, reset: reset) }
    servers[server].state = .idle
    servers[server].isReused = true
    servers[server].deadline = .never
    noteRoom(line)
  }

  /// Breaks off whatever the exchange has going with its upstream.
  mutating func dropServer(of exchange: Int32) {
    leaveQueue(exchange)
    releaseServer(of: exchange, isReusable: false, reset: true)
  }

  /// Closes an upstream connection that no exchange uses.
  mutating func close(server index: Int32, reset: Bool) {
    let line = servers[index].line
    if let endpoint = pool.endpoint(of: index) { CircuitBreaker.release(.connection, endpoint.upstream) }
    pool.closed(index)
    if !world.isStream(servers[index].socket) { metrics.add(to: .upstreamConnectionsClosed) }
    world.close(servers[index].socket, reset: reset)
    servers[index].state = .free
    servers[index].socket = .none
    servers[index].generation &+= 1
    servers[index].deadline = .never
    servers.giveBack(index)
    noteRoom(line)
  }

  /// Gives back what an exchange has taken of its upstream's bounds.
  @inline(__always)
  mutating func endUpstreamRequest(_ exchange: Int32) {
    if exchanges[exchange].server >= 0 || exchanges[exchange].isQueued { dropServer(of: exchange) }
    guard exchanges[exchange].holdsRequest, let group = exchanges[exchange].group else { return }
    exchanges[exchange].holdsRequest = false
    group.with { $0.endRequest() }
    if exchanges[exchange].holdsRetry {
      exchanges[exchange].holdsRetry = false
      group.with { RetryBudget.release($0.plan.state) }
    }
  }
}

extension RetryReason {
  init(_ failure: AttemptFailure) {
    switch failure {
    case .connectFailure: self = .connectFailure
    case .reset: self = .reset
    case .timeout: self = .timeout
    case .status: self = .status
    }
  }
}
