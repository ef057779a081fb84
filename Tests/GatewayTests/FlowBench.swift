// A gateway of one loop on a simulated network, with scripted clients before it and scripted origins behind it.

import Cluster
import Core
import Crypto
import Pipeline
import Simulation
import Testing
import Traffic

@testable import Gateway

/// The parts of a configuration that tests vary; all of them are text of the file.
struct FlowSetup: Sendable {
  /// Members of the section `node`.
  var node = ""
  /// Members of the listener.
  var listener = ""
  /// How many endpoints the upstream "main" has, and its other members.
  var endpoints = 1
  var upstream = ""
  /// Further sections, each followed by a comma.
  var sections = ""
  /// Members of the upstream "other", which has one endpoint.
  var other = ""
  /// Members of the route that takes everything.
  var route = "upstream: \"main\""
  /// Further routes, each followed by a comma.
  var routes = ""
  /// Test-only policies of all routes, instead of the ones of the file.
  var chain: [any ChainMember] = []

  var text: String {
    let main = (1...endpoints).map { "\"\(FlowBench.endpoint($0))\"" }.joined(separator: ", ")
    return """
      { listeners: [{ address: "\(FlowBench.port)", \(listener) }], accessLog: "off", node: { \(node) }, \(sections)
        upstreams: {
          main: { endpoints: [\(main)], \(upstream) },
          other: { endpoints: ["\(FlowBench.otherEndpoint)"], \(other) },
        },
        routes: [\(routes) { id: "all", match: { path: "/*" }, \(route) }],
      }
      """
  }

  /// Files that a listener may name.
  static func file(_ source: SecretSource) -> Result<String, SecretFault> {
    switch source {
    case .file("server.pem"): .success(String(decoding: TestCertificates.server, as: UTF8.self))
    case .file("server.key"): .success(String(decoding: TestCertificates.serverKey, as: UTF8.self))
    default: .failure(SecretFault("none"))
    }
  }

  /// Members of a listener that speaks TLS.
  static let secure = "tls: { certificates: [{ certificate: \"server.pem\", key: \"server.key\" }] }"

  func blueprint() throws -> Blueprint {
    let bytes = Array(text.utf8)
    let session = OptionSession(
      text: bytes, secrets: Self.file, toleratesMissingSecrets: false)
    let outcome = JSONDocument.parse(bytes)
    var options = OptionReader(try #require(outcome.document).root, session: session)
    let file = BlueprintFile(&options)
    options.finish()
    let table = file.shared.buildTable(options)
    let errors = session.diagnostics.filter { $0.severity != .warning }.map { $0.text(file: "test") }
    try #require(errors.isEmpty, "\(errors)")
    var routes: ContiguousArray<RoutePlan> = []
    for var draft in file.shared.routes {
      if !chain.isEmpty { draft.chain = PolicyChain(chain) }
      routes.append(RoutePlan(draft))
    }
    return Blueprint(
      file.own, file.shared, table: try #require(table), routes: routes,
      keyRing: try #require(file.shared.consumers.keyRing()), digest: SHA256().digest(of: RawSpan(bytes)),
      isRouter: false)
  }
}

/// One gateway and its surroundings.
final class FlowBench {
  static let port = SocketAddress.ip(IPAddress(v4: 0x0a00_0001), port: 8080)
  static let otherEndpoint = SocketAddress.ip(IPAddress(v4: 0x0a00_0201), port: 9000)
  static func endpoint(_ number: Int) -> SocketAddress {
    .ip(IPAddress(v4: 0x0a00_0100 + UInt32(number)), port: 9000)
  }

  let world: SimulatedWorld
  let shared: NodeShared
  let node: SimulatedNode<RequestFlow<SimulatedLoop>>
  /// All loops of the gateway; most tests have one, ``node``.
  let nodes: [SimulatedNode<RequestFlow<SimulatedLoop>>]
  private let metrics: Metrics
  private let directory = UpstreamDirectory()
  private(set) var plans: ContiguousArray<UpstreamPlan> = []
  /// Sockets of each loop to a store.
  private let storeSockets: Int
  /// What clients speak TLS with; nil for plain HTTP.
  var tls: TLSClientContext?

  /// With `prepare` something of the world is there before the loops are, such as a store with which `store` decides limits
  /// on a loop; otherwise `quota` does.
  init(
    _ setup: FlowSetup = FlowSetup(), seed: UInt64 = 1, _ conditions: Conditions = .rough, loops: Int = 1,
    quota: (() -> any Quota)? = nil,
    prepare: (SimulatedWorld) -> Void = { _ in }, store: ((SimulatedLoop) throws -> SharedQuota)? = nil,
    fetches: ((SimulatedLoop) -> LoopFetches)? = nil
  ) throws {
    storeSockets = store == nil ? 0 : 2
    let quota = quota ?? { EmbeddedQuota(store: CounterStore(capacity: 64), subjectKey: SipKey(low: 1, high: 2)) }
    let metrics = Metrics(loops: loops, problemCodes: ProblemCatalogue.all.map(\.code))
    self.metrics = metrics
    let world = SimulatedWorld(seed: seed, conditions)
    self.world = world
    prepare(world)
    let blueprint = try setup.blueprint()
    let shared = NodeShared(metrics: metrics, limits: blueprint.node.limits)
    self.shared = shared
    let plans = Self.plans(of: blueprint, directory, world.now)
    self.plans = plans
    nodes = try (0..<loops).map { index in
      try world.start("loop \(index)") { loop in
        var flow = try RequestFlow(
          world: loop, node: shared, loop: index, blueprint: blueprint,
          shared: BlueprintShared(blueprint, upstreams: plans, metrics: metrics),
          quota: store?(loop) ?? quota(), log: nil, fetches: fetches?(loop))
        try flow.listen(blueprint.listeners)
        return flow
      }
    }
    node = nodes[0]
    world.settle()
  }

  private static func plans(
    of blueprint: Blueprint, _ directory: UpstreamDirectory, _ now: Instant
  ) -> ContiguousArray<UpstreamPlan> {
    ContiguousArray(
      blueprint.upstreams.map { UpstreamPlan(spec: $0, endpoints: directory.endpoints(of: $0, now: now)) })
  }

  /// What is known of an upstream.
  func state(_ name: String = "main") -> UpstreamState { plans.first { $0.spec.name == name }!.state }

  /// A counter of the loop.
  func count(_ counter: Counter) -> UInt64 { metrics.loops[0].value(counter) }

  /// A server at an endpoint of "main".
  @discardableResult
  func origin(_ number: Int = 1, _ answer: @escaping (Origin.Connection, WireMessage) -> Void = Origin.echo) -> Origin {
    Origin(world, Self.endpoint(number), answer)
  }

  /// A server at the endpoint of "other".
  @discardableResult
  func otherOrigin(_ answer: @escaping (Origin.Connection, WireMessage) -> Void = Origin.echo) -> Origin {
    Origin(world, Self.otherEndpoint, answer)
  }

  /// A client that knows the server of ``FlowSetup/secure``.
  static func trusting() throws -> TLSClientContext {
    var settings = TLSClientSettings()
    settings.authorities = try TLSAuthorities(certificates: TestCertificates.authority)
    return try TLSClientContext(settings)
  }

  /// A client's connection, that sends `text` at once.
  func client(_ text: String = "", from source: IPAddress = IPAddress(v4: 0xcb00_7101)) -> FlowClient {
    let client = FlowClient(world.connect(to: Self.port, from: source), tls)
    if !text.isEmpty { client.send(text) }
    return client
  }

  /// Sends a request on a connection of its own and returns the response.
  func exchange(_ request: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> WireMessage {
    let client = client(request)
    world.run(within: .seconds(40)) { !client.responses.isEmpty || client.peer.isOver }
    defer { client.peer.close() }
    return try #require(client.responses.first, "no response", sourceLocation: sourceLocation)
  }

  /// Serves new requests under another configuration.
  func reload(_ setup: FlowSetup) throws {
    let blueprint = try setup.blueprint()
    plans = Self.plans(of: blueprint, directory, world.now)
    directory.retain(only: plans.map(\.endpoints))
    shared.setLimits(blueprint.node.limits)
    node.send(.configure(blueprint, BlueprintShared(blueprint, upstreams: plans, metrics: metrics)) { _ in })
    world.run(for: .milliseconds(1))
  }

  /// Resumes a parked exchange, as a message to the loop would.
  func resume(_ ticket: UInt64) {
    node.handler.resume(ticket: ticket)
    // A turn of the loop follows every message.
    node.send(.endpoints(plans[0].endpoints))
  }

  /// Begins to drain, as the control loop does.
  func drain(seconds: Int64) {
    shared.beginDraining()
    node.send(.drain(nanoseconds: seconds * 1_000_000_000))
  }

  /// Checks that nothing is left but idle upstream connections; clients must be gone.
  func expectRest(sourceLocation: SourceLocation = #_sourceLocation) {
    world.settle()
    #expect(node.handler.clients.count == 0, "clients", sourceLocation: sourceLocation)
    #expect(node.handler.exchanges.count == 0, "exchanges", sourceLocation: sourceLocation)
    #expect(node.handler.servers.count == node.handler.pool.idleCount, "servers", sourceLocation: sourceLocation)
    #expect(node.handler.pool.totalCount == node.handler.servers.count, "pool", sourceLocation: sourceLocation)
    #expect(shared.ledger.total == 0, "ledger", sourceLocation: sourceLocation)
    #expect(
      node.loop.openSockets == node.handler.servers.count + 1 + storeSockets, "sockets", sourceLocation: sourceLocation)
    #expect(count(.requestsStarted) == count(.requestsEnded), "requests", sourceLocation: sourceLocation)
    var connections: Int32 = 0
    for plan in plans {
      connections += plan.state.connections
      #expect(plan.state.pending == 0, "pending", sourceLocation: sourceLocation)
      #expect(plan.state.requests == 0, "running", sourceLocation: sourceLocation)
      #expect(plan.state.retries == 0, "retries", sourceLocation: sourceLocation)
      for endpoint in plan.endpoints.endpoints {
        #expect(endpoint.state.activeRequests == 0, "active", sourceLocation: sourceLocation)
      }
    }
    #expect(Int(connections) == node.handler.servers.count, "connections", sourceLocation: sourceLocation)
  }
}

/// A client of the gateway that reads responses by itself.
final class FlowClient {
  let peer: Peer
  let reader = WireReader(isResponse: true)
  private let tls: TLSClient?
  private var hasEnded = false
  private var mustEnd = false
  private var hasEndedSending = false
  /// What waits for the end of the handshake.
  private var waiting: [UInt8] = []
  /// Why it gave up.
  private(set) var fault: TLSFault?

  /// A client on a connection; with `context` it speaks TLS.
  init(_ peer: Peer, _ context: TLSClientContext? = nil) {
    self.peer = peer
    tls = context.flatMap { try? TLSClient($0, name: "server.test") }
    precondition((tls == nil) == (context == nil))
    peer.onChange = { [weak self] in self?.changed($0) }
    flush()
  }

  private func changed(_ peer: Peer) {
    let arrived = peer.take()
    if let tls, !arrived.isEmpty, fault == nil {
      let plain = ByteBuffer()
      do throws(TLSFault) { try tls.receive(RawSpan(arrived), into: plain) } catch { fault = error }
      reader.read(plain.array)
    } else {
      reader.read(arrived)
    }
    flush()
    guard peer.isOver, !hasEnded else { return }
    hasEnded = true
    reader.end(torn: peer.wasReset)
  }

  private func flush() {
    guard let tls, !peer.isOver, !hasEndedSending else { return }
    if tls.isEstablished, !tls.hasEnded, !waiting.isEmpty {
      do throws(TLSFault) { try tls.send(RawSpan(waiting)) } catch { fault = error }
      waiting = []
    }
    let outgoing = tls.outgoing
    if !outgoing.isEmpty { peer.send(outgoing.array) }
    outgoing.removeAll()
    guard mustEnd, tls.isEstablished else { return }
    hasEndedSending = true
    peer.endSending()
  }

  /// Ends its stream behind what it sends.
  func endSending() {
    guard tls != nil else { return peer.endSending() }
    mustEnd = true
    flush()
  }

  var responses: [WireMessage] { reader.messages }
  var statuses: [Int] { reader.messages.map(\.status) }

  func send(_ text: String) {
    guard tls != nil else { return peer.send(text) }
    waiting += Array(text.utf8)
    flush()
  }
}

/// A GET in full.
func get(_ target: String, _ fields: String = "") -> String {
  "GET \(target) HTTP/1.1\r\nHost: api.example\r\n\(fields)\r\n"
}

/// A POST with a body of known length.
func post(_ target: String, _ body: String, _ fields: String = "") -> String {
  "POST \(target) HTTP/1.1\r\nHost: api.example\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)"
}

/// A POST whose chunked body is given as it is on the wire.
func postChunks(_ target: String, _ chunks: String, _ fields: String = "") -> String {
  "POST \(target) HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n\(fields)\r\n\(chunks)"
}

extension ConnectionPool {
  /// Idle connections to all endpoints.
  var idleCount: Int {
    var count = 0
    for endpoint in 0..<endpointBound { count += idle(endpoint: endpoint) }
    return count
  }

  /// Connections to all endpoints.
  var totalCount: Int {
    var count = 0
    for endpoint in 0..<endpointBound { count += total(endpoint: endpoint) }
    return count
  }
}
