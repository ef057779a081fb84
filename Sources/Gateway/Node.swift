// A node: its loops, its control loop, and what they share.

import Cluster
import Core
import Crypto
import Net
import Pipeline
import Synchronization
import Traffic

/// Where a node's configuration comes from and where its remarks go.
public struct NodeSources: Sendable {
  /// The configuration's name in messages.
  public let file: String
  /// Reads the configuration anew.
  public let read: @Sendable () -> NodeFile
  /// Reads a file that the configuration names.
  public let content: @Sendable (String) -> Result<String, SecretFault>
  /// Tells the operator something, one line.
  public let report: @Sendable (String) -> Void
  /// Starts a service beside the loops; it must call back once, with what went wrong or nil.
  public let service: (@Sendable (Node, Blueprint, _ started: @escaping @Sendable (String?) -> Void) -> Void)?

  /// Called after the configuration has been read again.
  public let reloaded: (@Sendable (Blueprint) -> Void)?

  /// The sources of a node.
  public init(
    file: String, read: @escaping @Sendable () -> NodeFile,
    content: @escaping @Sendable (String) -> Result<String, SecretFault>,
    report: @escaping @Sendable (String) -> Void,
    service: (@Sendable (Node, Blueprint, _ started: @escaping @Sendable (String?) -> Void) -> Void)? = nil,
    reloaded: (@Sendable (Blueprint) -> Void)? = nil
  ) {
    self.file = file
    self.read = read
    self.content = content
    self.report = report
    self.service = service
    self.reloaded = reloaded
  }
}

/// One gateway node of this process.
public final class Node: Sendable {
  /// What its loops share.
  public let shared: NodeShared
  let sources: NodeSources
  let control: Mailbox<ControlMessage>
  let resolver: Resolver
  let passwords: PasswordWorker
  private let log: LogWriter?
  private let store = CounterStore()
  private let subjectKey: SipKey
  private let nodeQuota: NodeQuota
  /// How old the facts are that the loops go by.
  let factClock = FactClock()
  private let mailboxes: [Mailbox<FlowMessage>]
  private let threads = Mutex<[OSThread]>([])
  private let version: String
  let startedAt = Clock.civil()
  /// What it is called in answers, and by the store: the name that it was given, otherwise the machine and the first port
  /// that it serves.
  public let name: String

  /// A node that will serve under `blueprint`, and from now on acts on SIGHUP, SIGTERM, SIGINT and SIGUSR1: to be made
  /// on the main thread before the process has any other. Throws where descriptors have run out or the access log cannot be opened.
  public init(_ blueprint: Blueprint, sources: NodeSources, version: String, processors: Int) throws(NetworkError) {
    self.sources = sources
    self.version = version
    name = Self.name(blueprint)
    let count = blueprint.node.threads > 0 ? blueprint.node.threads : max(1, processors)
    nodeQuota = NodeQuota(loops: count)
    let metrics = Metrics(loops: count, problemCodes: ProblemCatalogue.all.map(\.code))
    shared = NodeShared(metrics: metrics, limits: blueprint.node.limits)
    control = try Mailbox()
    // Signals are delivered to any thread that does not block them, so this comes before the first thread.
    let control = control
    _ = Signals.watch([.hangUp, .terminate, .interrupt, .userOne]) { control.send(.signal($0)) }
    resolver = try Resolver()
    passwords = try PasswordWorker()
    subjectKey = Self.freshKey()
    switch blueprint.accessLog {
    case .off: log = nil
    case .standardOutput: log = try LogWriter(.standardOutput)
    case .file(let path): log = try LogWriter(.file(path: path))
    }
    var mailboxes: [Mailbox<FlowMessage>] = []
    for _ in 0..<count { mailboxes.append(try Mailbox()) }
    self.mailboxes = mailboxes
  }

  private static func name(_ blueprint: Blueprint) -> String {
    if let name = blueprint.node.name { return name }
    guard case .ip(_, let port)? = blueprint.listeners.first?.address else { return ProcessLimits.hostName }
    return "\(ProcessLimits.hostName):\(port)"
  }

  private static func freshKey() -> SipKey {
    var words: [UInt64] = [0, 0]
    for (index, byte) in SecureRandom.bytes(16).enumerated() { words[index / 8] = words[index / 8] << 8 | UInt64(byte) }
    return SipKey(low: words[0], high: words[1])
  }

  /// Serves until told to stop by SIGTERM or SIGINT; on the calling thread, which runs the control loop. Returns what
  /// went wrong, nil for an orderly end. `file` is what the blueprint was read from.
  public func run(_ blueprint: Blueprint, file: NodeFile? = nil) -> String? {
    do throws(NetworkError) {
      let loop = try EventLoop()
      var flow = ControlFlow(world: loop, node: self, blueprint: blueprint, file: file)
      try loop.run(&flow, mailbox: control)
      for thread in threads.withLock({ $0 }) { thread.join() }
      log?.close()
      return flow.failure
    } catch {
      return "the control loop cannot run: \(error)"
    }
  }

  // MARK: For the control loop

  /// Starts a thread a loop; returns how many. Each reports once its ports are open, and again when it ends.
  func startLoops(_ blueprint: Blueprint, _ derived: BlueprintShared) -> Int {
    for index in mailboxes.indices {
      let thread = OSThread.spawn(name: "loop \(index)") { [self] in runLoop(index, blueprint, derived) }
      threads.withLock { $0.append(thread) }
    }
    return mailboxes.count
  }

  private func runLoop(_ index: Int, _ blueprint: Blueprint, _ derived: BlueprintShared) {
    defer { control.send(.loopEnded) }
    do throws(NetworkError) {
      let loop = try EventLoop()
      let quota: any Quota
      do throws(RedisFault) { quota = try makeQuota(index, blueprint, loop) } catch {
        control.send(.loopStarted(describe(error)))
        return
      }
      var flow = RequestFlow(
        world: loop, node: shared, loop: index, blueprint: blueprint, shared: derived, quota: quota,
        log: log.map { LogStream($0) }, facts: makeFacts(blueprint, quota), fetches: makeFetches(index, loop))
      flow.world.stopwatch = Clock.monotonic
      do throws(ListenError) {
        try flow.listen(blueprint.listeners)
        control.send(.loopStarted(nil))
      } catch { control.send(.loopStarted(describe(error))) }
      try loop.run(&flow, mailbox: mailboxes[index])
    } catch {
      control.send(.loopStarted(describe(ListenError(address: blueprint.listeners[0].address, cause: error))))
    }
  }

  /// What decides limits on a loop; a shared store begins to connect.
  private func makeQuota(
    _ index: Int, _ blueprint: Blueprint, _ loop: EventLoop
  ) throws(RedisFault) -> any Quota {
    guard case .redis(let store) = blueprint.store, !blueprint.isRouter else {
      return EmbeddedQuota(store: self.store, subjectKey: subjectKey)
    }
    let settings = SharedQuotaSettings(
      store: store, cluster: blueprint.cluster.name, keys: ClusterKeys(secret: blueprint.cluster.nameSecret),
      clientName: "sluice-\(name)-\(index)")
    let quota = try SharedQuota(
      settings, world: loop, node: nodeQuota, clock: Clock.bootTime,
      token: { Token.store(client: $0, link: $1, generation: $2).rawValue })
    let (resolver, mailbox) = (resolver, mailboxes[index])
    quota.onLookUp = { host in
      resolver.resolve(host) { answer in mailbox.send(.resolvedStore(host: host, answer.found)) }
    }
    let control = control
    quota.onRemarks = { control.send(.storeJudged($0)) }
    quota.start()
    return quota
  }

  /// What a node agrees with other nodes by; nil for a router, and where there is no cluster.
  func makeAgent(_ blueprint: Blueprint, _ world: any World) -> ClusterAgent? {
    guard !blueprint.isRouter, var settings = agentSettings(blueprint) else { return nil }
    settings.verification = factClock
    let leads = LeadFile(folder: StateFolder.path(of: blueprint.own, nodeName: name))
    settings.mark = leads.read()
    guard
      let agent = try? ClusterAgent(
        settings, identity: identity(world), world: world, clock: Clock.bootTime,
        token: { Token.store(client: $0, link: $1, generation: $2).rawValue })
    else { return nil }
    agent.keepMarks { leads.write($0) }
    introduce(agent, blueprint, world)
    introduceFacts(agent, blueprint)
    lookUpHosts(of: agent)
    return agent
  }

  /// What a router knows the nodes by; nil for a node, and where the file says which nodes there are.
  func makeRouterAgent(_ blueprint: Blueprint, _ world: any World) -> RouterAgent? {
    guard blueprint.isRouter, let settings = agentSettings(blueprint) else {
      return nil
    }
    let agent = try? RouterAgent(
      settings, identity: identity(world), world: world, clock: Clock.bootTime,
      token: { Token.store(client: $0, link: $1, generation: $2).rawValue })
    if let agent {
      introduce(agent, blueprint, world)
      lookUpHosts(of: agent)
      let file = StateFolder.nodes(of: blueprint.own, nodeName: name)
      if let kept = try? DurableFile.read(file, limit: StateFolder.longestNodes) { agent.directory.begin(with: kept) }
    }
    return agent
  }

  /// Where there is a store that nodes share, and a secret that tells them from others.
  private func agentSettings(_ blueprint: Blueprint) -> AgentSettings? {
    guard case .redis(let store) = blueprint.store, let secrets = blueprint.cluster.secrets else { return nil }
    return AgentSettings(
      store: store, cluster: blueprint.cluster.name, secrets: secrets, clientName: "sluice-\(name)-control")
  }

  private func identity(_ world: any World) -> NodeIdentity {
    NodeIdentity(nonce: world.random(), name: name, version: version)
  }

  private func lookUpHosts(of agent: StoreAgent) {
    let (resolver, control) = (resolver, control)
    agent.onLookUp = { host in
      resolver.resolve(host) { answer in control.send(.resolvedStore(host: host, answer.found)) }
    }
  }

  /// What the control loop keeps in mind about the cluster's revisions.
  func makeDesk(
    _ agent: ClusterAgent, _ blueprint: Blueprint, _ file: NodeFile?, _ world: any World
  ) -> RevisionDesk {
    let keeper = agent.revisions
    let folder = StateFolder.path(of: blueprint.own, nodeName: name) + "/" + StateFolder.revisions
    let shelf = RevisionFolder(folder)
    let sources = sources
    shelf.onFault = { sources.report("the revision is in force, but not kept over a restart: \($0)") }
    keeper.shelf = shelf
    let control = control
    keeper.deliver = { action in
      control.send(.agree { agent in if let agent { action(agent.revisions) } })
    }
    keeper.seed = file?.body
    let hasGood = !shelf.isEmpty
    let grace = hasGood ? RevisionDesk.shortGrace : RevisionDesk.grace
    let desk = RevisionDesk(
      keeper, own: blueprint.own, file: file?.body, isPartial: file?.isPartial ?? false,
      startsAt: world.now.advanced(byNanoseconds: grace))
    keeper.judge = { [weak desk] body, then in
      guard let work = desk?.beginJudging(body, then: then) else { return then("the node ends") }
      OSThread.run(name: "configuration", givesWay: true) { control.send(.judged(work.run())) }
    }
    let metrics = shared.metrics
    agent.contribute { record in
      let total = metrics.requestTotals
      (record.requests, record.failures) = (Int64(clamping: total.requests), Int64(clamping: total.failures))
      record.requestMicroseconds = Int64(clamping: total.nanoseconds / 1000)
    }
    return desk
  }

  /// Runs `action` on the control loop with the node's agent, nil where it has no cluster, and with what is in force. Never,
  /// where the node ends before. From any thread.
  public func consult(_ action: @escaping @Sendable (ClusterAgent?, Blueprint) -> Void) {
    control.send(.consult(action))
  }

  /// Runs `action` on the control loop with the node's agent; with nil where the node has no cluster. Never, where the node
  /// ends before. From any thread.
  public func agree(_ action: @escaping @Sendable (ClusterAgent?) -> Void) { control.send(.agree(action)) }

  /// Starts what runs beside the loops; returns how much that is.
  func startServices(_ blueprint: Blueprint) -> Int {
    guard let service = sources.service else { return 0 }
    let control = control
    service(self, blueprint) { control.send(.serviceStarted($0)) }
    return 1
  }

  /// How many loops there are.
  var loopCount: Int { mailboxes.count }

  /// Sends one loop a message.
  func tell(_ loop: Int, _ message: FlowMessage) { mailboxes[loop].send(message) }

  /// Sends each loop a message.
  func tell(_ message: () -> FlowMessage) {
    for mailbox in mailboxes { mailbox.send(message()) }
  }

  /// Has the loops find out what `inquiry` asks: one of them, or all where only one can know. From any thread.
  public func inquire(_ inquiry: Inquiry) {
    if case .refusal = inquiry.topic {
      let all = inquiry.toAll(mailboxes.count)
      for mailbox in mailboxes where !mailbox.send(.inquire(all)) { all.answer(.busy) }
      return
    }
    if !mailboxes[0].send(.inquire(inquiry)) { inquiry.answer(.busy) }
  }

  func reopenLog() { log?.reopen() }

  /// Says that the node serves.
  func announce(_ blueprint: Blueprint) {
    let ports = blueprint.listeners.map(\.address.description).joined(separator: ", ")
    let what =
      blueprint.isRouter ? "routing to \(shared.upstreams[0].count) nodes" : "serving \(blueprint.routes.count) routes"
    sources.report("\(what) on \(ports) with \(mailboxes.count) loops")
  }

  /// Names what a reload cannot change.
  func warnOfFixed(_ before: Blueprint, _ after: Blueprint) {
    var fixed: [String] = []
    if before.node.threads != after.node.threads { fixed.append("node.threads") }
    if before.node.user != after.node.user { fixed.append("node.user") }
    if before.node.limits.connectionsPerNode < after.node.limits.connectionsPerNode {
      fixed.append("a larger node.limits.connectionsPerNode")
    }
    if before.admin?.address != after.admin?.address { fixed.append("admin.address") }
    if before.store != after.store { fixed.append("store") }
    if before.cluster.name != after.cluster.name { fixed.append("cluster.name") }
    if before.cluster.secret != after.cluster.secret { fixed.append("cluster.secret, as far as limits go by it,") }
    if before.node.name != after.node.name { fixed.append("node.name") }
    if before.accessLog != after.accessLog { fixed.append("accessLog") }
    for name in fixed { sources.report("\(name) takes effect only when the node is started again") }
  }

  /// A port that cannot be opened, in words.
  func describe(_ error: ListenError) -> String {
    let reason =
      switch error.cause {
      case .addressInUse: "another process has it; stop that process or choose another port"
      case .notPermitted: "the process may not open it; use a port above 1023, or start as root with node.user"
      case .exhausted: "descriptors have run out; raise the limit of open files"
      default: "\(error.cause)"
      }
    return "cannot listen on \(error.address): \(reason)"
  }

  /// A store that cannot be used, in words.
  private func describe(_ fault: RedisFault) -> String {
    if case .encryption(let reason) = fault { return "cannot encrypt connections to the store: \(reason)" }
    return "cannot use the store: \(fault)"
  }

  // MARK: For the admin port

  /// What the node knows of itself, for metrics and the admin API. From any thread.
  public func facts() -> NodeFacts {
    var facts = NodeFacts()
    facts.version = version
    facts.startedAt = startedAt
    facts.isDraining = shared.isDraining
    facts.isReady = shared.takesRequests
    if let statistics = log?.statistics {
      facts.accessLogLines = UInt64(statistics.writtenLines)
      facts.accessLogDropped = UInt64(statistics.droppedLines)
    }
    facts.cluster = shared.cluster
    (facts.certificates, facts.issuers) = (shared.certificates, shared.issuers)
    facts.revision = UInt64(clamping: shared.cluster?.revision ?? 0)
    let now = Clock.monotonic()
    for set in shared.upstreams {
      for endpoint in set.endpoints { facts.upstreams.append(UpstreamFacts(endpoint.state, at: now)) }
    }
    return facts
  }
}

extension UpstreamFacts {
  init(_ state: EndpointState, at now: Instant) {
    self.init(upstream: state.upstream.name, endpoint: state.address.description)
    isHealthy = state.health != .unhealthy
    isEjected = state.ejectedUntil > now
    activeRequests = UInt64(max(0, state.activeRequests))
    requests = state.requests
    failures = state.failures
  }
}
