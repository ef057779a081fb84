// The life of a request, station by station.
//
//   accept    a connection is taken from the listener's queue and counted            (RequestFlow+Clients)
//   parse     bytes become a request head, or a refusal                              (HTTP)
//   match     host, path, method and fields choose the route
//   screen    ┐
//   identify  │ the route's policies, phase by phase; any of them may refuse,
//   admit     │ answer, or park the request
//   shape     ┘
//   route     an upstream and one of its endpoints are chosen                        (RequestFlow+Upstream)
//   connect   an idle connection is reused, a new one opened, or the request waits
//   stream    the body follows, as fast as the upstream takes it                     (RequestFlow+Body)
//   respond   the upstream's head, changed by policies, then its body                (RequestFlow+Response)
//   record    one line in the log, the counters, and what policies give back         (RequestFlow+Record)
//
// One value of this type is one loop's share of the node: it owns its connections and everything that hangs from them,
// and shares nothing but immutable configuration and counters. All I/O goes through `World`, so that the same code runs
// on a simulated network. No station blocks: each acts on what is there and returns, the next event goes on.

import Cluster
import Core
import Crypto
import HTTP
import Net
import Pipeline
import Traffic

/// One loop's connections and requests. Generic over its world, so that a clock or a socket costs no look-up of a witness.
public struct RequestFlow<LoopWorld: World>: ~Copyable, EventHandler {
  /// What the node tells its loops.
  public typealias Message = FlowMessage

  /// Where connections come from and bytes go to: it secures those that are to be secured.
  let world: Transport<LoopWorld>
  /// The world below: its clocks, and the sockets that are its own.
  let loop: LoopWorld
  let node: NodeShared
  let metrics: LoopMetrics
  /// Whether other loops count against the same bounds.
  let hasSiblings: Bool
  let quota: any Quota
  /// The same where the store is shared: it has sockets and a part in every turn.
  let sharedQuota: SharedQuota?
  var quotaNotes = QuotaNotes()
  let hasher = SHA256()
  /// What the cluster has agreed on beside its configuration; nil where the node takes no part.
  let facts: LoopFacts?
  /// What is fetched for policies; nil where nothing is.
  let fetches: LoopFetches?
  var configuration: LoopConfiguration
  /// Earlier configurations, as long as exchanges that began under them last.
  var former: ContiguousArray<LoopConfiguration> = []
  /// Takes what is not needed any more.
  var retire: @Sendable (Blueprint, BlueprintShared) -> Void = { _, _ in }
  var limits: FlowLimits

  var listeners: ContiguousArray<ListenerSlot> = []
  /// Whether some listener sends its clients to https, or takes early data.
  var hasOwnAnswers = false
  var clients: Slab<ClientSlot>
  var servers: Slab<ServerSlot>
  var exchanges: Slab<ExchangeSlot>
  var queues = ClientQueues()
  var clientTimers: TimerWheel
  var serverTimers: TimerWheel
  var pool = ConnectionPool()
  var pending = PendingQueue()
  /// Lines that may move at the end of this turn, and when all are looked at again.
  var movingLines: ContiguousArray<Int32> = []
  var queuesMoveAt = Instant.never
  /// Each upstream's line in ``pending``, by name: lines outlive configurations.
  var lines: [String: Int32] = [:]

  /// Sockets to look at again before the loop sleeps: their input was left in the kernel, and no edge will tell.
  var listed: ContiguousArray<UInt64> = []
  /// Exchanges with bytes to send to their upstreams and to their clients, by ticket. Sending is put off to the end of the
  /// turn: sends wake the other side, and a side that is woken once for several messages sleeps, wakes and displaces us
  /// less often.
  var postedToServers = TicketList()
  var postedToClients = TicketList()
  /// The list being worked through; the two change places each turn.
  var listedBefore: ContiguousArray<UInt64> = []
  var acceptResumesAt = Instant.never
  var drain = DrainState()
  /// Upgraded connections at present.
  var openTunnels = 0
  let log: LogStream?
  let accessLog = AccessLog()
  let inquiries = OpenInquiries()
  let refusals = RefusalRing()
  var dateField = DateField()

  /// Receives what is not part of an unfinished message; never holds anything from one event to the next.
  let input = ByteBuffer(capacity: 65_536 + 4_096)
  let request = RequestHead()
  let forwarded = ForwardedBlock()
  let response = ResponseHead()
  /// These objects once more, lent: what the flow owns, but passes on with every request.
  let lent: LentObjects<LoopWorld>

  /// A flow that serves under `blueprint` until it is told otherwise. `loop` is its index among the node's loops.
  public init(
    world: LoopWorld, node: NodeShared, loop: Int, blueprint: Blueprint, shared: BlueprintShared, quota: any Quota,
    log: LogStream?, facts: LoopFacts? = nil, fetches: LoopFetches? = nil
  ) {
    let transport = Transport(
      base: world, tokenMark: Token(.transport, 0, generation: 0).rawValue)
    self.world = transport
    self.loop = world
    self.node = node
    self.quota = quota
    sharedQuota = quota as? SharedQuota
    (self.log, self.facts, self.fetches) = (log, facts, fetches)
    metrics = node.metrics.loops[loop]
    lent = LentObjects(
      world: transport, loop: world, input: input, request: request, response: response, forwarded: forwarded)
    hasSiblings = node.metrics.loops.count > 1
    transport.onHandshake = { [metrics] in metrics.countHandshake($0) }
    transport.onCarrier = { [metrics] in
      metrics.add(to: $0 ? .upstreamConnectionsOpened : .upstreamConnectionsClosed)
    }
    transport.onHTTP2Limit = { [metrics] in metrics.note($0, $1) }
    transport.onServerFault = { [metrics] _ in metrics.add(to: .upstreamHandshakeFailures) }
    limits = FlowLimits(blueprint.node)
    (transport.http2Options, transport.sendTimeout) = (limits.http2, limits.settings.sendTimeout)
    transport.onSlowReader = { [metrics] in metrics.countShedConnection(.slowReader) }
    var lines: [String: Int32] = [:]
    configuration = LoopConfiguration(
      blueprint, shared, Services(world: world, quota: quota, blueprint, shared, hasher, facts, fetches, node),
      lines: &lines)
    self.lines = lines
    // Connections are bounded by the node's ledger; one loop may happen to hold them all.
    let connections = blueprint.node.limits.connectionsPerNode
    // Their streams take slots too.
    clients = Slab(capacity: connections * 3)
    servers = Slab(capacity: connections * 4)
    exchanges = Slab(capacity: connections * 4)
    clientTimers = TimerWheel(now: world.now)
    serverTimers = TimerWheel(now: world.now)
  }

  // MARK: The stations

  /// A request head is complete: takes it through the stations as far as it gets at once.
  mutating func dispatch(_ exchange: Int32) {
    guard let configuration = exchanges[exchange].configuration else { return }
    begin(exchange)
    if hasOwnAnswers, isAnswered(exchange) { return }
    guard let route = match(exchange, configuration) else { return }
    guard checkMessage(exchange, route) else { return }
    let (chain, services) = (route.part { $0.chain }, configuration.part { $0.services })
    let verdict = lent.request.with { request in
      services.with { services in chain.with { $0.run(&exchanges[exchange].exchange, request, services) } }
    }
    decide(exchange, route, configuration, verdict)
  }

  /// Acts on what the policies decided.
  @inline(__always)
  mutating func decide(
    _ exchange: Int32, _ route: Borrowed<RoutePlan>, _ configuration: Borrowed<LoopConfiguration>, _ verdict: Verdict
  ) {
    switch verdict {
    case .next: forward(exchange, route, configuration)
    case .refuse(let refusal): refuse(exchange, refusal)
    case .reply: reply(exchange)
    case .wait: park(exchange)
    case .gather: gather(exchange)
    }
  }

  /// Notes what the head says of the message, and finds out who the client really is.
  @inline(__always)
  private mutating func begin(_ index: Int32) {
    let client = exchanges[index].client
    exchanges[index].method = request.method
    exchanges[index].clientIsHTTP10 = request.isHTTP10
    exchanges[index].requestBody.begin(request.framing)
    if !request.keepsAlive { clients[client].closesAfterResponse = true }
    lent.request.with { request in
      lent.loop.with { ClientIdentity.establish(&exchanges[index], request, world: $0) }
    }
    if exchanges[index].isHTTP2 { noteCall(index) }
    if !limits.trustedProxies.isEmpty {
      ClientIdentity.believe(&exchanges[index], request, trusted: limits.trustedProxies)
    }
    if exchanges[index].requestBody.isComplete {
      // Nothing is due from the client until it has an answer.
      clients[client].deadline = .never
    } else {
      if case .chunked = request.framing { exchanges[index].requestIsChunked = true }
      setDeadline(client: client, after: bodyTimeout(index))
    }
  }

  /// The route that takes the request; answers by itself where there is none.
  @inline(__always)
  private mutating func match(
    _ exchange: Int32, _ configuration: Borrowed<LoopConfiguration>
  ) -> Borrowed<RoutePlan>? {
    if lent.request.with({ $0.isPathUnusual }), request.isReserved { return matchReserved(exchange, configuration) }
    let table = configuration.part { $0.blueprint.table }
    let match = lent.request.with { request in
      table.with { $0.match(request, captures: &exchanges[exchange].captures) }
    }
    switch match {
    case .route(let index): return take(exchange, index, configuration)
    case .notFound: refuse(exchange, ProblemCatalogue.noRoute)
    case .methodNotAllowed(let allowed):
      let index = configuration.with { matchPreflight(exchange, $0.blueprint, allowed) }
      return index.map { take(exchange, $0, configuration) }
    }
    return nil
  }

  /// No route takes this method: a preflight may pass all the same, anything else is told what would.
  private mutating func matchPreflight(_ exchange: Int32, _ blueprint: Blueprint, _ allowed: MethodSet) -> Int32? {
    if let index = blueprint.table.matchPreflight(request, captures: &exchanges[exchange].captures),
      blueprint.routes[Int(index)].chain.answersPreflights
    {
      return index
    }
    let fields = exchanges[exchange].exchange.responseFields
    fields.append("Allow: ")
    blueprint.table.appendMethods(allowed, to: fields)
    fields.append("\r\n")
    refuse(exchange, ProblemCatalogue.methodNotAllowed)
    return nil
  }

  /// The exchange goes by this route.
  @inline(__always)
  mutating func take(
    _ exchange: Int32, _ index: Int32, _ configuration: Borrowed<LoopConfiguration>
  ) -> Borrowed<RoutePlan> {
    let route = configuration.with { Borrowed($0.blueprint.routes[Int(index)]) }
    exchanges[exchange].exchange.route = index
    exchanges[exchange].route = route
    exchanges[exchange].series = configuration.with { $0.series(ofRoute: index) }
    route.with { route in
      exchanges[exchange].hasResponseHooks = route.chain.hasResponseHooks
      exchanges[exchange].hasEndHooks = route.chain.hasEndHooks
      exchanges[exchange].exchange.bodyLimit = route.bodyLimit
      guard route.timeouts.total != .max else { return }
      exchanges[exchange].totalDeadline = min(
        exchanges[exchange].callDeadline,
        exchanges[exchange].exchange.startedAt.advanced(byNanoseconds: route.timeouts.total))
      clientTimers.schedule(exchanges[exchange].client, at: exchanges[exchange].totalDeadline)
    }
    return route
  }

  /// What must hold of the message itself before any policy spends time on it.
  @inline(__always)
  private mutating func checkMessage(_ exchange: Int32, _ route: Borrowed<RoutePlan>) -> Bool {
    if case .length(let count) = request.framing, count > route.with({ $0.bodyLimit }) {
      refuse(exchange, ProblemCatalogue.bodyTooLarge)
      return false
    }
    return true
  }

  /// `route`, `connect`, `stream`.
  @inline(__always)
  private mutating func forward(
    _ exchange: Int32, _ route: Borrowed<RoutePlan>, _ configuration: Borrowed<LoopConfiguration>
  ) {
    // A policy may have lowered the limit.
    if case .length(let count) = request.framing, count > exchanges[exchange].exchange.bodyLimit {
      return refuse(exchange, ProblemCatalogue.bodyTooLarge)
    }
    guard let upstream = chooseUpstream(exchange, route, configuration) else { return }
    upstream.with { forward(exchange, to: $0, route, configuration) }
  }

  @inline(__always)
  private mutating func forward(
    _ exchange: Int32, to upstream: LoopUpstream, _ route: Borrowed<RoutePlan>,
    _ configuration: Borrowed<LoopConfiguration>
  ) {
    guard upstream.beginRequest() else { return refuse(exchange, ProblemCatalogue.upstreamBusy) }
    exchanges[exchange].holdsRequest = true
    guard pickEndpoint(exchange, upstream) else { return refuse(exchange, ProblemCatalogue.noUpstream) }
    if request.upgrade != nil, exchanges[exchange].requestBody.isComplete {
      exchanges[exchange].wantsUpgrade = !upstream.speaksHTTP2 || request.upgradesToWebSocket
    }
    if exchanges[exchange].exchange.webCall != nil { beginWebCall(exchange) }
    // A slot keeps its buffers for ever.
    let toServer = Borrowed(exchanges[exchange].toServer)
    lent.request.with { request in
      lent.forwarded.with { forwarded in
        route.with { route in
          toServer.with { RequestWriter.write(request, &exchanges[exchange], route, forwarded, into: $0) }
        }
      }
    }
    exchanges[exchange].stage = .pending
    if !exchanges[exchange].requestBody.isComplete {
      takeRequestBody(exchange, exchanges[exchange].clientInput)
      guard exchanges[exchange].stage == .pending else { return }
      if !exchanges[exchange].requestBody.isComplete { enqueue(exchanges[exchange].client, .slow) }
    }
    if route.with({ $0.mirror != nil }) { mirror(exchange, route, configuration) }
    connect(exchange, upstream)
  }

  // MARK: Events

  /// See ``EventHandler/ready(token:_:)``.
  public mutating func ready(token: UInt64, _ readiness: Readiness) {
    let token = Token(rawValue: token)
    let index = token.index
    if token.isOf(.client) {
      guard clients.touchedIndexes.contains(index), token.matches(generation: clients[index].generation) else { return }
      clientReady(index, readiness)
    } else if token.isOf(.server) {
      guard servers.touchedIndexes.contains(index), token.matches(generation: servers[index].generation) else { return }
      serverReady(index, readiness)
    } else if token.isOf(.listener) {
      accept(from: index)
    } else if token.isOf(.store) {
      _ = sharedQuota?.ready(token: token.rawValue, readiness)
    } else if token.isOf(.transport) {
      transportReady(token, readiness)
    }
  }

  /// See ``EventHandler/endTurn()``.
  public mutating func endTurn() -> Instant {
    if let sharedQuota { return endTurn(sharedQuota) }
    return endOwnTurn()
  }

  /// Everything of a turn but the store that nodes share; returns when to be called again.
  mutating func endOwnTurn() -> Instant {
    metrics.add(to: .turns)
    metrics.observe(.turn, nanoseconds: loop.previousTurnNanoseconds)
    if world.isUsed { takeTransportEvents() }
    workListedSockets()
    expireTimers()
    moveQueues()
    sendPosted()
    if !former.isEmpty { dropFormer() }
    log?.flush(now: loop.now)
    let transportWake = world.isUsed ? world.endTurn() : .never
    if !listed.isEmpty || !movingLines.isEmpty { return loop.now }
    return min(nextWake(), transportWake)
  }

  /// See ``EventHandler/isRunning``.
  public var isRunning: Bool { !drain.isOver }

  /// Looks at each socket that was listed, once; what lists itself again waits for the next turn.
  private mutating func workListedSockets() {
    for index in listeners.indices where listeners[index].inputWaits && !listeners[index].isPaused {
      listeners[index].inputWaits = false
      accept(from: Int32(index))
    }
    guard !listed.isEmpty else { return }
    swap(&listed, &listedBefore)
    for raw in listedBefore {
      let (token, index) = (Token(rawValue: raw), Token(rawValue: raw).index)
      if token.kind == .client {
        guard token.matches(generation: clients[index].generation) else { continue }
        clients[index].isListed = false
        pump(client: index)
      } else {
        guard token.matches(generation: servers[index].generation) else { continue }
        servers[index].isListed = false
        pump(server: index)
      }
    }
    listedBefore.removeAll(keepingCapacity: true)
  }

  /// What an exchange is called by as long as its request lasts.
  @inline(__always)
  func ticket(of exchange: Int32) -> UInt64 {
    UInt64(exchanges[exchange].generation) << 32 | UInt64(UInt32(bitPattern: exchange))
  }

  /// Sends what this turn has produced: everything for upstreams first, so that they are at work while clients are
  /// served. What is posted meanwhile is sent too.
  private mutating func sendPosted() {
    while !postedToServers.isEmpty || !postedToClients.isEmpty {
      while let ticket = postedToServers.next() {
        let exchange = Int32(truncatingIfNeeded: ticket)
        guard ticket == self.ticket(of: exchange) else { continue }
        exchanges[exchange].isPostedToServer = false
        flushToServer(exchange)
      }
      while postedToServers.isEmpty, let ticket = postedToClients.next() {
        let exchange = Int32(truncatingIfNeeded: ticket)
        guard ticket == self.ticket(of: exchange) else { continue }
        exchanges[exchange].isPostedToClient = false
        flushToClient(exchange)
      }
    }
  }
}
