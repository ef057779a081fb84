// The end of an exchange: counted, logged, and what it held given back.

import Core
import HTTP
import Net
import Pipeline

extension RequestFlow {
  /// The last byte of the response is on its way: the connection goes on, or ends.
  mutating func finish(_ exchange: Int32) {
    noteEnd(exchange)
    let client = exchanges[exchange].client
    guard client >= 0 else { return giveBack(exchange: exchange) }
    if clients[client].closesAfterResponse {
      clients[client].exchange = -1
      giveBack(exchange: exchange)
      return closeAfterResponse(client: client)
    }
    guard exchanges[exchange].clientInput.isEmpty else { return startNext(exchange, client) }
    clients[client].exchange = -1
    clients[client].state = .idle
    giveBack(exchange: exchange)
    if clients[client].queue != .idle { enqueue(client, .idle) }
    setDeadline(client: client, after: limits.settings.idleTimeout)
    if clients[client].inputWaits { list(client: client) }
  }

  /// The client has sent its next request already (pipelining): the same slot goes on with it.
  private mutating func startNext(_ exchange: Int32, _ client: Int32) {
    exchanges[exchange].reset(keepingInput: true)
    exchanges[exchange].client = client
    exchanges[exchange].exchange.startedAt = loop.now
    clients[client].state = .head
    enqueue(client, .slow)
    setDeadline(client: client, after: limits.settings.headTimeout)
    list(client: client)
  }

  /// Gives an exchange's slot back, for the next request.
  @inline(__always)
  mutating func giveBack(exchange: Int32) {
    let client = exchanges[exchange].client
    if client >= 0, clients[client].exchange == exchange { clients[client].exchange = -1 }
    exchanges[exchange].reset()
    exchanges.giveBack(exchange)
  }

  /// Counts and logs an exchange, once, however it ended, and lets its policies give back what they hold.
  mutating func record(_ exchange: Int32) { noteEnd(exchange) }

  @inline(__always)
  private mutating func noteEnd(_ exchange: Int32) {
    guard !exchanges[exchange].isRecorded, let configuration = exchanges[exchange].configuration else { return }
    exchanges[exchange].isRecorded = true
    endUpstreamRequest(exchange)
    guard !exchanges[exchange].isMirror else { return }
    if exchanges[exchange].hasEndHooks { runEndHooks(exchange) }
    let elapsed = loop.now.nanoseconds(since: exchanges[exchange].exchange.startedAt)
    metrics.add(to: .requestsEnded)
    metrics.countRequest(
      route: exchanges[exchange].series, status: Int(exchanges[exchange].status), nanoseconds: elapsed)
    if exchanges[exchange].exchange.limits.count > 0 { countLimits(exchange) }
    if configuration.with({ $0.countsTenants }) { countTenant(exchange, configuration) }
    writeLog(exchange, elapsed)
  }

  /// Counts a request by the tenant of whoever has sent it.
  @inline(never)
  private mutating func countTenant(_ exchange: Int32, _ configuration: Borrowed<LoopConfiguration>) {
    guard exchanges[exchange].exchange.isIdentified else { return }
    let (consumer, identity) = (exchanges[exchange].exchange.consumer, exchanges[exchange].exchange.identity)
    let series = configuration.with { $0.tenantSeries(ofConsumer: consumer, identity) }
    guard series >= 0 else { return }
    metrics.countTenant(
      series, status: Int(exchanges[exchange].status), isRefusal: exchanges[exchange].refusal != nil)
  }

  /// Counts what policies in shadow decided: a route that has any has end hooks.
  private mutating func countShadows(_ exchange: Int32) {
    guard let configuration = exchanges[exchange].configuration else { return }
    let (route, verdicts) = (exchanges[exchange].exchange.route, exchanges[exchange].exchange.shadows)
    for index in 0..<ShadowVerdicts.capacity where verdicts.hasDecided(index) {
      let series = configuration.with { $0.shadowSeries[Int($0.firstShadow(ofRoute: route)) + index] }
      metrics.countShadow(policy: series, verdicts.hasRefused(index) ? .refused : .passed)
    }
  }

  /// Counts what was decided, by the name of each limit: those that refused, or all of them where none did.
  @inline(__always)
  private mutating func countLimits(_ exchange: Int32) {
    guard let configuration = exchanges[exchange].configuration else { return }
    let first =
      Int(configuration.with { $0.firstLimit(ofRoute: exchanges[exchange].exchange.route) })
      &+ Int(exchanges[exchange].exchange.limits.firstName)
    let count = exchanges[exchange].exchange.limits.count
    guard exchanges[exchange].exchange.limits.decision == .admitted,
      exchanges[exchange].exchange.limits.source == .embedded
    else { return countOthers(exchange, configuration, first) }
    for index in 0..<count {
      metrics.countLimit(policy: configuration.with { $0.limitSeries[first &+ index] }, .admitted)
    }
  }

  @inline(never)
  private mutating func countOthers(_ exchange: Int32, _ configuration: Borrowed<LoopConfiguration>, _ first: Int) {
    let (decision, source) = (exchanges[exchange].exchange.limits.decision, exchanges[exchange].exchange.limits.source)
    for index in 0..<exchanges[exchange].exchange.limits.count {
      let outcome: LimitOutcome
      switch decision {
      case .none, .waiting, .stale: return
      case .admitted: outcome = source == .open ? .failedOpen : .admitted
      case .unavailable: outcome = .failedClosed
      case .denied where exchanges[exchange].exchange.limits[index].isDenied: outcome = .denied
      case .denied: continue
      }
      metrics.countLimit(policy: configuration.with { $0.limitSeries[first &+ index] }, outcome)
    }
    if source != .embedded { metrics.countDecision(by: source) }
  }

  private mutating func runEndHooks(_ exchange: Int32) {
    guard let configuration = exchanges[exchange].configuration, let route = exchanges[exchange].route else { return }
    configuration.with { configuration in
      route.with { $0.chain.end(&exchanges[exchange].exchange, configuration.services) }
    }
    if !exchanges[exchange].exchange.shadows.isEmpty { countShadows(exchange) }
  }

  @inline(__always)
  private mutating func writeLog(_ exchange: Int32, _ elapsed: Int64) {
    let stream: Borrowed<LogStream>
    // The flow keeps it and the formatter as long as it lives.
    if let log { stream = Borrowed(log) } else { return }
    let formatter = Borrowed(accessLog)
    let wallTime = lent.loop.with { $0.wallTime }
    stream.with { stream in
      formatter.with { exchanges[exchange].writeLog($0, to: stream, wallTime: wallTime, elapsed: elapsed) }
    }
  }
}
