// Every wait has an end. A slot has one deadline; what it means follows from the slot's state.

import Core
import HTTP
import Pipeline

extension RequestFlow {
  /// Gives the client so long for what it has to do next.
  @inline(__always)
  mutating func setDeadline(client index: Int32, after nanoseconds: Int64) {
    let deadline = loop.now.advanced(byNanoseconds: nanoseconds)
    clients[index].deadline = deadline
    let exchange = clients[index].exchange
    clientTimers.schedule(index, at: exchange < 0 ? deadline : min(deadline, exchanges[exchange].totalDeadline))
  }

  /// Gives the upstream so long for what it has to do next.
  @inline(__always)
  mutating func setDeadline(server index: Int32, after nanoseconds: Int64) {
    servers[index].deadline = loop.now.advanced(byNanoseconds: nanoseconds)
    serverTimers.schedule(index, at: servers[index].deadline)
  }

  /// Acts on every deadline that has passed.
  mutating func expireTimers() {
    let now = loop.now
    while let index = clientTimers.pop(now: now) { clientTimerFired(index, now) }
    while let index = serverTimers.pop(now: now) { serverTimerFired(index, now) }
    if pool.nextExpiry <= now { closeExpired(now) }
    if acceptResumesAt <= now { resumeAccepting() }
    if drain.isDraining { advanceDrain() }
  }

  /// When the next deadline may pass.
  func nextWake() -> Instant {
    min(
      clientTimers.nextDeadline, serverTimers.nextDeadline, pool.nextExpiry, acceptResumesAt, drain.nextStep,
      queuesMoveAt,
      log?.deadline ?? .never)
  }

  private mutating func closeExpired(_ now: Instant) {
    while true {
      let index = pool.expired(now: now)
      if index < 0 { return }
      close(server: index, reset: false)
    }
  }

  private mutating func resumeAccepting() {
    acceptResumesAt = .never
    for index in listeners.indices {
      listeners[index].isPaused = false
      accept(from: Int32(index))
    }
  }

  /// The wheel keeps the earliest deadline a slot ever had: most calls only find that it has moved on.
  private mutating func clientTimerFired(_ index: Int32, _ now: Instant) {
    guard clients[index].state != .free else { return }
    let exchange = clients[index].exchange
    let total = exchange < 0 ? Instant.never : exchanges[exchange].totalDeadline
    if total <= now, clients[index].state == .exchange { return totalTimePassed(exchange) }
    if total <= now, clients[index].state == .tunnel { return endTunnel(exchange, .callerExpired) }
    guard clients[index].deadline <= now else {
      clientTimers.schedule(index, at: min(clients[index].deadline, total))
      return
    }
    clientTimedOut(index, exchange)
  }

  private mutating func clientTimedOut(_ index: Int32, _ exchange: Int32) {
    switch clients[index].state {
    case .free: return
    case .idle, .lingering:
      metrics.countShedConnection(.idle)
      close(client: index, reset: false)
    case .carrier:
      metrics.countShedConnection(.idle)
      endCarrying(index)
    case .proxyHeader:
      metrics.countRefusedConnection(.proxyHeader)
      close(client: index, reset: true)
    case .head:
      metrics.countShedConnection(.headTimeout)
      beginTimedOutHead(index)
    case .tunnel: tunnelTimedOut(exchange)
    case .exchange: exchangeTimedOut(index, exchange)
    }
  }

  /// A request is in progress and its client has let time pass: it is to blame if its body is due or a response waits
  /// to be read; otherwise the upstream is at work, and its own deadline counts.
  private mutating func exchangeTimedOut(_ index: Int32, _ exchange: Int32) {
    if !exchanges[exchange].toClient.isEmpty {
      breakOff(exchange, .slowReader)
    } else if !exchanges[exchange].requestBody.isComplete, exchanges[exchange].stage != .response,
      exchanges[exchange].toServerSent == exchanges[exchange].toServer.count,
      exchanges[exchange].server >= 0 || exchanges[exchange].stage == .gathering
    {
      metrics.countShedConnection(.bodyTimeout)
      refuse(exchange, ProblemCatalogue.requestTimeout)
    } else {
      setDeadline(client: index, after: bodyTimeout(exchange))
    }
  }

  private mutating func totalTimePassed(_ exchange: Int32) {
    // The end of the response has come in this turn: it goes out with it.
    if exchanges[exchange].stage == .flushing, exchanges[exchange].isPostedToClient {
      exchanges[exchange].totalDeadline = .never
      return
    }
    metrics.countShedConnection(.deadline)
    switch exchanges[exchange].stage {
    case .response, .flushing: breakOff(exchange, .deadline)
    case .head, .parked, .gathering, .pending, .connecting, .request:
      if exchanges[exchange].server >= 0, !isGivenUp(exchange) { noteFailure(exchange) }
      // The refusal has a time limit of its own.
      exchanges[exchange].totalDeadline = .never
      refuse(exchange, ProblemCatalogue.gatewayTimeout)
    }
  }

  private mutating func serverTimerFired(_ index: Int32, _ now: Instant) {
    guard servers[index].state != .free else { return }
    guard servers[index].deadline <= now else {
      serverTimers.schedule(index, at: servers[index].deadline)
      return
    }
    let exchange = servers[index].exchange
    switch servers[index].state {
    case .free: return
    case .idle: return
    case .connecting: connectFailed(index, timedOut: true)
    case .tunnel: tunnelTimedOut(exchange)
    case .busy: responseTimedOut(index, exchange)
    }
  }

  /// The upstream is silent. Where the client is what holds things up, the upstream is given more time.
  private mutating func responseTimedOut(_ index: Int32, _ exchange: Int32) {
    let waitsForClient =
      !exchanges[exchange].toClient.isEmpty
      || (exchanges[exchange].stage == .request && !exchanges[exchange].requestBody.isComplete
        && exchanges[exchange].toServerSent == exchanges[exchange].toServer.count)
    if waitsForClient { return setDeadline(server: index, after: exchanges[exchange].timeouts.idle) }
    if exchanges[exchange].stage == .response {
      noteFailure(exchange)
      return breakOff(exchange, .upstreamBroke)
    }
    attemptFailed(exchange, .timeout)
  }
}
