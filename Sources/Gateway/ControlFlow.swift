// The slow side of a node, on a loop of its own: signals, reloads, health checks, names. It never touches a request; it
// tells the loops what is new and lets them take it over between two events.

import Cluster
import Core
import Net
import Pipeline
import Traffic

/// What happens to a node from outside.
enum ControlMessage: Sendable {
  case signal(Signal)
  /// A loop has opened its ports, or says why it could not start.
  case loopStarted(String?)
  /// A loop has nothing left to do.
  case loopEnded
  /// A service beside the loops (the admin port) is up, or says why not.
  case serviceStarted(String?)
  /// What there is to say of the store that nodes share, now that it was asked.
  case storeJudged([StoreRemark])
  /// What the name of an upstream's endpoint stands for; nil where that could not be found out.
  case resolved(upstream: String, endpoint: Int, [IPAddress]?)
  /// What the name of a server of the shared store stands for; nil where that could not be found out.
  case resolvedStore(host: String, [IPAddress]?)
  /// Something that the node fetches by itself.
  case fetch(FetchMessage)
  /// A loop wants something of a shared record.
  case record(RecordOrder, loop: Int)
  /// Somebody has to do with what nodes agree on: called with the node's agent, nil where it has none.
  case agree(@Sendable (ClusterAgent?) -> Void)
  /// Somebody outside has to do with what is in force.
  case consult(@Sendable (ClusterAgent?, Blueprint) -> Void)
  /// All loops serve under a revision, by the number that it was handed to them with.
  case configured(UInt64)
  /// A revision was compiled, or found wrong.
  case compiled(CompiledRevision)
  /// What may become a revision was compiled, or found wrong.
  case judged(JudgedBody)
  /// A loop goes by this configuration no more.
  case retired(Blueprint, BlueprintShared)
}

/// The control loop's logic.
struct ControlFlow: EventHandler {
  /// How long a node waits at its start for names to become addresses, in nanoseconds.
  private static let resolutionGrace: Int64 = 2_000_000_000

  let world: any World
  let node: Node
  private let directory = UpstreamDirectory()
  private var probes: HealthProbes
  /// What the node fetches by itself: what authorities say of certificates, keys of issuers, what policies want.
  var fetches: ControlFetches
  private var resolutions: [String: NameResolution] = [:]
  private var plans: ContiguousArray<UpstreamPlan> = []
  private(set) var blueprint: Blueprint
  /// What is kept in mind about TLS.
  var upkeep = TLSUpkeep()
  private var startsAt: Instant
  private(set) var hasStarted = false
  private var pendingStarts = 0
  private var runningLoops = 0
  private(set) var isRunning = true
  /// Why the node could not start or go on; nil while all is well.
  private(set) var failure: String?
  private var isDraining = false
  /// The node's part in what the cluster agrees on; nil where it has no cluster.
  let agent: ClusterAgent?
  /// When revocations are tried again that the store could not take; never while none waits.
  var ordersAt = Instant.never
  /// What a router knows the nodes by; nil in a node, and where its file says which nodes there are.
  let router: RouterAgent?
  /// Whichever of the two there is.
  private let member: StoreAgent?
  private var clusterFacts = ClusterFacts()
  /// What policies leave for each other where the node has no store.
  var ownRecords = EmbeddedRecords()
  /// What is kept in mind about revisions; nil where there is no agent.
  let desk: RevisionDesk?

  /// `file` is what the blueprint was read from.
  init(world: any World, node: Node, blueprint: Blueprint, file: NodeFile? = nil) {
    (self.world, self.node, self.blueprint) = (world, node, blueprint)
    probes = HealthProbes(world: world)
    fetches = ControlFetches(world: world)
    startsAt = world.now.advanced(byNanoseconds: Self.resolutionGrace)
    agent = node.makeAgent(blueprint, world)
    router = node.makeRouterAgent(blueprint, world)
    member = agent ?? router
    node.shared.hasFacts = agent == nil
    desk = agent.map { node.makeDesk($0, blueprint, file, world) }
    adopt(blueprint)
    resumeRevision()
    member?.start()
  }

  // MARK: Events

  mutating func ready(token: UInt64, _ readiness: Readiness) {
    let known = Token(rawValue: token)
    switch known.kind {
    case .store: _ = member?.ready(token: token, readiness)
    case .client: fetches.ready(known)
    default: probes.ready(known, readiness)
    }
  }

  mutating func receive(_ message: ControlMessage) {
    switch message {
    case .signal(let signal): handle(signal)
    case .loopStarted(let error):
      if let error { fail(error) }
      oneStarted()
    case .serviceStarted(let error):
      if let error { fail(error) }
      oneStarted()
    case .loopEnded:
      runningLoops -= 1
      if runningLoops == 0 { member?.stop() }
    case .storeJudged(let remarks): judge(remarks)
    case .resolved(let upstream, let endpoint, let addresses): resolved(upstream, endpoint, addresses)
    case .fetch(let message): fetches.receive(message)
    case .resolvedStore(let host, let addresses): member?.resolved(host: host, addresses)
    case .record(let order, let loop): carryOut(order, of: loop)
    case .agree(let action): action(agent)
    case .consult(let action): action(agent, blueprint)
    case .configured(let serial): desk?.end(serial)
    case .compiled(let compiled): finish(compiled)
    case .judged(let judged): desk?.endJudging(judged)
    // Perhaps the last reference to millions of names: freed where nobody waits for it.
    case .retired(let blueprint, let shared):
      OSThread.run(name: "configuration", givesWay: true) { withExtendedLifetime((blueprint, shared)) {} }
    }
  }

  mutating func endTurn() -> Instant {
    member?.work()
    if !node.shared.hasFacts { node.shared.hasFacts = agent?.factKeeper.isReady ?? true }
    while let event = member?.nextEvent() { handle(event) }
    let next = endOwnTurn()
    noteCluster()
    let flushed = member?.flush() ?? .never
    // The last words of the node are with the store, or have had their time.
    if hasEnded, member?.isStopped ?? true { isRunning = false }
    return min(next, flushed)
  }

  /// Whether no loop runs any more, or none was started.
  private var hasEnded: Bool { hasStarted ? runningLoops == 0 : isDraining }

  private mutating func endOwnTurn() -> Instant {
    let nextLookUp = min(lookUpNames(), keepUpTLS(), keepUpFetches())
    if !hasStarted, !isDraining, knowsConfiguration(), startsAt <= world.now || hasResolved { start() }
    if probes.nextDeadline <= world.now { probes.advance() }
    let unwell = probes.takeUnwell()
    if !unwell.isEmpty, hasStarted { node.tell { .unwell(unwell) } }
    return min(nextLookUp, probes.endTurn(), probes.nextDeadline, hasStarted ? .never : nextStart)
  }

  /// When the node may have to start although nothing happens.
  private var nextStart: Instant { desk.map { $0.keeper.isSettled ? startsAt : $0.startsAt } ?? startsAt }

  /// Whether all names have been looked up.
  private var hasResolved: Bool {
    resolutions.values.allSatisfy(\.isComplete) && router?.directory.isSettled ?? true
  }

  private mutating func handle(_ signal: Signal) {
    switch signal {
    case .terminate, .interrupt:
      // Whoever asks twice does not want to wait.
      let nanoseconds = isDraining ? 0 : blueprint.node.drain
      isDraining = true
      node.shared.beginDraining()
      member?.drain()
      if !hasStarted { member?.stop() }
      node.tell { .drain(nanoseconds: nanoseconds) }
    case .hangUp:
      node.reopenLog()
      reload()
    case .userOne: node.reopenLog()
    case .userTwo: return
    }
  }

  // MARK: Start and end

  private mutating func start() {
    hasStarted = true
    pendingStarts = node.startLoops(blueprint, sharedNow())
    runningLoops = pendingStarts
    pendingStarts += node.startServices(blueprint)
  }

  private mutating func oneStarted() {
    pendingStarts -= 1
    guard pendingStarts == 0, failure == nil else { return }
    if let user = blueprint.node.user {
      if member != nil {
        StateFolder.give(blueprint.own, nodeName: node.name, toUser: user, report: node.sources.report)
      }
      do throws(PrivilegeError) { try Privileges.drop(toUser: user) } catch {
        return fail("cannot become the user \"\(user)\": \(error); start as root, or remove node.user")
      }
    }
    node.shared.becomeReady()
    node.announce(blueprint)
  }

  /// What cannot be helped ends the node: half a node would be found out too late.
  mutating func fail(_ reason: String) {
    if failure == nil { failure = reason }
    node.tell { .drain(nanoseconds: 0) }
    guard !hasStarted else { return }
    isDraining = true
    member?.stop()
  }

  /// Says what people should know of the store; a strict node does not serve with one that would keep limits wrong.
  private mutating func judge(_ remarks: [StoreRemark]) {
    for remark in remarks { node.sources.report("store: \(remark.text)") }
    guard blueprint.store.isStrict, let worst = remarks.first(where: \.isViolation) else { return }
    fail("the store would not keep limits exactly, and store.strict is set: \(worst.text)")
  }

  /// Lets metrics know how the cluster stands, and the cluster whether the node takes requests.
  private mutating func noteCluster() {
    if let member, member.members.own.isReady != node.shared.takesRequests { member.members.noteNews() }
    guard let facts = agent?.facts, facts != clusterFacts else { return }
    clusterFacts = facts
    node.shared.cluster = facts
  }

  private mutating func handle(_ event: AgentEvent) {
    switch event {
    case .revision(let candidate): take(candidate)
    case .kept(let candidate): swap(to: candidate)
    case .remark(let text): node.sources.report("cluster: \(text)")
    case .audit(let line): node.sources.report("audit \(line)")
    case .nodes: adoptNodes()
    }
  }

  // MARK: Configuration

  private mutating func reload() {
    let file = node.sources.read()
    for diagnostic in file.diagnostics { node.sources.report(diagnostic.text(file: node.sources.file)) }
    node.shared.metrics.countReload(succeeded: file.blueprint != nil, at: world.wallTime)
    guard let read = file.blueprint else {
      return node.sources.report("the configuration is unchanged, since the file has errors")
    }
    node.warnOfFixed(blueprint, read)
    guard let fresh = renew(file, read) else { return }
    adopt(fresh)
    publish()
    node.sources.reloaded?(fresh)
    node.sources.report("the configuration has been read again: \(fresh.routes.count) routes")
  }

  /// Makes `read` the configuration, with the endpoints that are known now.
  mutating func adopt(_ read: Blueprint) {
    let fresh = stapled(read)
    blueprint = fresh
    fetches.issuers.adopt(fresh.routes.flatMap(\.chain.keySources))
    upkeep.ticketsChangeAt = world.now
    if node.shared.own != fresh.own {
      node.shared.own = fresh.own
      member?.members.noteNews()
    }
    node.shared.setConsumers(fresh.keyRing, tenants: fresh.tenantSpecs)
    var kept: [String: NameResolution] = [:]
    for spec in fresh.upstreams {
      let resolution = NameResolution(spec, known: known(of: spec), now: world.now)
      if resolution.isNeeded { kept[spec.name] = resolution }
    }
    resolutions = kept
    rebuildPlans()
  }

  /// Addresses of the same names from before; positions in the file may have moved.
  private func known(of spec: UpstreamSpec) -> [Int: [SocketAddress]] {
    guard let before = plans.first(where: { $0.spec.name == spec.name }), let old = resolutions[spec.name] else {
      return [:]
    }
    var known: [Int: [SocketAddress]] = [:]
    for (index, endpoint) in spec.endpoints.enumerated() {
      if let position = before.spec.endpoints.firstIndex(where: { $0.address == endpoint.address }) {
        known[index] = old.addresses[position]
      }
    }
    return known
  }

  private mutating func rebuildPlans() {
    plans = ContiguousArray(
      blueprint.upstreams.map { known in
        var spec = known
        if let router, known.endpoints.isEmpty {
          spec.endpoints = Self.endpoints(
            of: router.directory.nodes, isProxied: spec.name == RouterSettings.proxiedName)
        }
        return UpstreamPlan(
          spec: spec,
          endpoints: directory.endpoints(
            of: spec, addresses: resolutions[spec.name]?.addresses ?? [:], now: world.now))
      })
    directory.retain(only: plans.map(\.endpoints))
    node.shared.setUpstreams(plans.map(\.endpoints))
    probes.replace(with: plans)
  }

  private func sharedNow() -> BlueprintShared {
    BlueprintShared(blueprint, upstreams: plans, metrics: node.shared.metrics, nodeName: node.name)
  }

  /// Has all loops serve under the configuration; `done` is called once they do, on one of their threads.
  mutating func publish(done: @escaping @Sendable () -> Void = {}) {
    // Before a listener of these can seal its first ticket.
    if blueprint.listeners.contains(where: { $0.tls != nil }) { renewTickets() }
    let shared = sharedNow()
    let (blueprint, node) = (blueprint, node)
    node.shared.setLimits(blueprint.node.limits)
    let last = LastOfLoops(runningLoops, done)
    let control = node.control
    node.tell {
      .configure(
        blueprint, shared, report: { error in node.sources.report(node.describe(error)) }, done: { last.count() },
        retire: { control.send(.retired($0, $1)) })
    }
  }

  // MARK: Names

  /// Asks for every name that is due; returns when the next one is.
  private mutating func lookUpNames() -> Instant {
    var next = Instant.never
    for upstream in resolutions.keys {
      asking: while let action = resolutions[upstream]?.advance(now: world.now) {
        switch action {
        case .wait(let until):
          next = min(next, until)
          break asking
        case .lookUp(let endpoint, let name, _):
          let mailbox = node.control
          node.resolver.resolve(name) { answer in
            mailbox.send(.resolved(upstream: upstream, endpoint: endpoint, answer.found))
          }
        }
      }
    }
    return next
  }

  private mutating func resolved(_ upstream: String, _ endpoint: Int, _ addresses: [IPAddress]?) {
    let changed = resolutions[upstream]?.resolved(
      endpoint: endpoint, addresses, now: world.now, random: world.random())
    guard changed == true else { return }
    rebuildPlans()
    guard hasStarted, let plan = plans.first(where: { $0.spec.name == upstream }) else { return }
    node.tell { .endpoints(plan.endpoints) }
  }

  // MARK: Nodes of a router

  /// The nodes that take requests are others now.
  private mutating func adoptNodes() {
    rebuildPlans()
    guard let directory = router?.directory else { return }
    keep(directory.kept)
    guard hasStarted else { return }
    let nodes = directory.nodes
    for plan in plans { node.tell { .endpoints(plan.endpoints) } }
    node.sources.report("routing to \(nodes.map(\.identity.name).joined(separator: ", "))")
  }

  /// Writes down which nodes there are, for a start without the store.
  private func keep(_ nodes: [UInt8]) {
    let file = StateFolder.nodes(of: blueprint.own, nodeName: node.name)
    do throws(DurableFile.Failure) {
      try DurableFile.makeFolder(StateFolder.path(of: blueprint.own, nodeName: node.name))
      try DurableFile.write(nodes, to: file)
    } catch {
      node.sources.report(
        "which nodes there are is not kept over a restart: \(file): \(RevisionFolder.describe(error))")
    }
  }
}
