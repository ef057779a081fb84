import Core
import Crypto
import ModelRedis
import Pipeline
import Simulation

@testable import Cluster

/// The control loop of a node, as far as nodes agree there.
final class AgentLoop: EventHandler {
  enum Message: Sendable {
    /// To revoke something.
    case revoke(Int)
    /// To propose something.
    case propose(RevisionDraft, Int)
    /// A revision has been compiled, or could not be.
    case compiled(RevisionCandidate)
    /// The loops go by this view.
    case taken(FactView, Int)
    /// What took long is done.
    case done(Int, FactWork)
    /// To go, in good order.
    case leave
  }

  let agent: ClusterAgent
  let verification = FactClock()
  /// What it has asked people to know.
  private(set) var remarks: [String] = []
  private unowned let cluster: AgentCluster
  private let life: Int

  init(_ cluster: AgentCluster, _ loop: SimulatedLoop, life: Int, place: Int) throws {
    (self.cluster, self.life) = (cluster, life)
    var settings = AgentSettings(
      store: .single(RedisServer(address: .socket(NodeCluster.address))), cluster: "t", secrets: AgentCluster.secrets,
      clientName: "n\(life)")
    settings.verification = verification
    let identity = NodeIdentity(nonce: loop.random(), name: "n\(place)", version: "1")
    agent = try ClusterAgent(settings, identity: identity, world: loop, clock: { loop.bootNanoseconds }) {
      UInt64($0) << 56 | UInt64($1) << 32 | UInt64($2)
    }
    agent.factKeeper.onView = { [unowned cluster] in cluster.deliver($0, $1, to: life) }
    agent.factKeeper.onWork = { [unowned cluster] in cluster.work($0, $1, for: life) }
    agent.factKeeper.snapshots.storeInterval = 1_000_000_000
    cluster.prepare(agent, life: life, place: place)
    agent.factKeeper.restore(from: cluster.shelves[place].facts)
    agent.start()
  }

  var isRunning: Bool { !agent.isStopped }

  func ready(token: UInt64, _ readiness: Readiness) { _ = agent.ready(token: token, readiness) }

  func receive(_ message: Message) {
    switch message {
    case .revoke(let number):
      agent.factKeeper.add([cluster.facts[number].record]) { [unowned self] in
        if case .added(let place) = $0 { cluster.stored(number, at: place, by: agent.factKeeper) }
      }
    case .propose(let draft, let number):
      agent.revisions.propose(draft) { [unowned cluster] in cluster.decided(number, $0) }
    case .compiled(let candidate):
      if AgentCluster.isGood(candidate.body) {
        agent.revisions.adopted(candidate)
      } else {
        agent.revisions.refused(candidate, because: "it is bad")
      }
    case .taken(let view, let number):
      cluster.went(by: view, life)
      agent.factKeeper.taken(number)
    case .done(let number, let result): agent.factKeeper.done(number, result)
    case .leave:
      agent.drain()
      agent.stop()
    }
  }

  func endTurn() -> Instant {
    agent.work()
    while let event = agent.nextEvent() {
      switch event {
      case .remark(let text): remarks.append(text)
      case .revision(let candidate): cluster.compile(candidate, life)
      default: break
      }
    }
    cluster.watch(life)
    return agent.flush()
  }
}

/// Nodes that agree through one Redis, and what is seen of them from outside.
final class AgentCluster: NodeCluster {
  static let secrets = ClusterSecrets(secret: Array("a secret of the cluster".utf8), former: nil)

  private(set) var agents: [AgentLoop] = []
  private(set) var sockets: [SimulatedNode<AgentLoop>] = []
  /// What was revoked.
  var facts: [SimulatedFact] = []
  /// What each life runs; disks by place; when the last revision is compiled; proposals, and what became of them.
  var runs: [SimulatedRun] = []
  var shelves: [SimulatedShelf] = []
  var compiled: [Int: Instant] = [:]
  var proposals = 0
  var outcomes: [RevisionOutcome] = []
  var published: [Int64: Int] = [:]
  /// Receipts that said that all have a fact.
  var receipts = 0
  var texts: [Int64: String] = [:]
  /// How often each verb with arguments was called.
  var calls: [String: Int] = [:]
  /// When the last view reaches the loops of a life.
  var delivered: [Int: Instant] = [:]
  /// The highest epoch that each life has acted on.
  private var epochs: [Int64] = []

  /// Whose writes an epoch's were, by what the store accepted.
  private var owners: [Int64: String] = [:]
  /// The highest epoch that the store has accepted a leader's write of, since it last forgot anything.
  private var highest: Int64 = 0
  /// The same of the store that was cut off.
  private var formerHighest: Int64 = 0
  /// When somebody led, by what the store accepted.
  private(set) var leadTimes: [Instant] = []
  /// When a leader gave the lead back.
  private(set) var resignations: [Instant] = []

  override init(seed: UInt64, nodes: Int, _ conditions: Conditions, lag: Duration) throws {
    try super.init(seed: seed, nodes: nodes, conditions, lag: lag)
    redis.onAnswer = { [unowned self] in heard($0, $1) }
  }

  override func makeLife(_ number: Int, place: Int, host: IPAddress, _ clocks: MachineClocks) throws -> NodeLife {
    let node = try world.start("node \(number)") { loop in
      loop.host = host
      loop.clocks = clocks
      return try AgentLoop(self, loop, life: number, place: place)
    }
    agents.append(node.handler)
    sockets.append(node)
    epochs.append(0)
    runs.append(SimulatedRun())
    return NodeLife([node.loop], host: host, began: world.now) { node.send(.leave) }
  }

  override func trimLog() { trimFactLog() }

  // MARK: At the store

  /// Verbs that only a leader may call: their first arguments are the node and its epoch.
  private static let fenced: Set<String> = [
    "renew", "resign", "list", "publish", "dismiss", "fact-sweep",
  ]

  private func heard(_ words: [[UInt8]], _ reply: ModelReply) {
    guard words.count > 6, words[0] == Array("FCALL".utf8) || words[0] == Array("EVALSHA".utf8) else { return }
    let texts = words[4...].prefix(3).map { String(decoding: $0, as: UTF8.self) }
    calls[texts[0], default: 0] += 1
    switch reply {
    case .error, .null, .nullList: return
    default: break
    }
    if texts[0] == "elect", case .list(let told) = reply, told.count > 1, told[1] == .bytes(words[5]),
      case .bytes(let epoch) = told[0]
    {
      accepted(texts[1], Int64(String(decoding: epoch, as: UTF8.self)) ?? 0, texts[0])
    } else if Self.fenced.contains(texts[0]) {
      accepted(texts[1], Int64(texts[2]) ?? 0, texts[0])
    }
  }

  /// The store has let `node` act as the leader.
  private func accepted(_ node: String, _ epoch: Int64, _ verb: String) {
    if let owner = owners[epoch], owner != node {
      problems.append("\(world.now.nanoseconds / 1_000_000) ms: \(owner) and \(node) lead in epoch \(epoch)")
    }
    owners[epoch] = node
    let isFormer = redis.isAnsweringAsFormer
    if restored > (leadTimes.last ?? Instant(nanoseconds: 0)), !isFormer { highest = 0 }
    let before = isFormer ? formerHighest : highest
    if epoch < before {
      problems.append("\(world.now.nanoseconds / 1_000_000) ms: \(verb) of epoch \(epoch) is accepted behind \(before)")
    }
    if isFormer { formerHighest = max(before, epoch) } else { highest = max(before, epoch) }
    if verb == "resign" { resignations.append(world.now) } else { leadTimes.append(world.now) }
  }

  // MARK: At the nodes

  /// Looked at in every turn of a node.
  func watch(_ life: Int) {
    guard agents.indices.contains(life) else { return }
    watchFacts(life)
    watchRevision(life)
    let leadership = agents[life].agent.leadership
    if leadership.epoch < epochs[life] {
      problems.append("node \(life) goes back from epoch \(epochs[life]) to \(leadership.epoch)")
    }
    epochs[life] = max(epochs[life], leadership.epoch)
    // Two that believe to lead at the same time do no harm, but without a reason there are none: a clock that was set, or
    // a vote that was forgotten.
    guard clockSteps.isEmpty, failures.isEmpty else { return }
    let leaders = lives.indices.filter { number in
      lives[number].isAlive && lives[number].pausedUntil <= world.now
        && agents[number].agent.leadership.isLeader(at: lives[number].loops[0].bootNanoseconds)
    }
    if leaders.count > 1 { problems.append("\(world.now.nanoseconds / 1_000_000) ms: nodes \(leaders) lead") }
  }

  // MARK: In the end

  var summary: String {
    "\(lives.count) lives, \(leadTimes.count) accepted writes of leaders in \(owners.count) epochs, "
      + "\(facts.count { $0.stored != nil }) of \(facts.count) facts stored, \(receipts) receipts, "
      + "\(runs.map(\.revision).max() ?? 0) revisions of \(proposals) proposals, \(redis.commandCount) commands, \(calls.sorted { $0.key < $1.key })\n"
      + agents.indices.map { "node \($0): \(agents[$0].remarks)" }.joined(separator: "\n")
  }

  /// How long nobody may lead while the store is there: a lease and half a second.
  private static let takeover: Int64 = 3_500_000_000
  /// How long nodes need to reach a store that is back: the longest pause between attempts, and a greeting.
  private static let reconnection: Int64 = 700_000_000

  /// That somebody led at all times at which somebody could.
  func checkLeads(until end: Instant) {
    var last = lives[0].began
    for time in leadTimes + [end] {
      defer { last = time }
      guard time.nanoseconds(since: last) > Self.takeover else { continue }
      // The longest stretch without trouble.
      var from = last
      var worst: Int64 = 0
      let troubles = (storeTroubles + standstills).sorted { $0.from < $1.from }
      for trouble in troubles where trouble.to + .nanoseconds(Self.reconnection) > from && trouble.from < time {
        worst = max(worst, trouble.from.nanoseconds(since: from))
        from = max(from, trouble.to + .nanoseconds(Self.reconnection))
      }
      worst = max(worst, time.nanoseconds(since: from))
      if worst > Self.takeover {
        problems.append("nobody leads for \(worst / 1_000_000) ms before \(time.nanoseconds / 1_000_000) ms")
      }
    }
  }

  /// Times at which nobody was left to lead.
  private var standstills: [(from: Instant, to: Instant)] {
    let bounds = Set(
      lives.flatMap { life in [life.began, life.ended] + life.troubles.flatMap { [$0.from, $0.to] } } + [world.now]
    ).filter { $0 <= world.now }.sorted()
    return zip(bounds, bounds.dropFirst()).filter { from, to in
      !lives.contains { life in
        life.began <= from && life.ended >= to && !life.troubles.contains { $0.from < to && $0.to > from }
      }
    }.map { ($0, $1) }
  }

  /// That all who live agree, some time after everything was whole again.
  func checkAgreement() {
    let alive = current.filter { lives[$0].isAlive }
    let ids = alive.map { agents[$0].agent.identity.id }.sorted()
    for number in alive {
      let agent = agents[number].agent
      let listed = agent.members.listed.map(\.record.identity.id)
      if listed != ids { problems.append("node \(number) lists \(listed), not \(ids)") }
      if agent.leadership.leader != agents[alive[0]].agent.leadership.leader {
        problems.append("nodes \(number) and \(alive[0]) follow different leaders")
      }
      if sockets[number].loop.openSockets != 2 {
        problems.append("node \(number) has \(sockets[number].loop.openSockets) sockets")
      }
    }
    if !alive.isEmpty, !ids.contains(agents[alive[0]].agent.leadership.leader) {
      problems.append("nobody leads in the end")
    }
    if !redis.unknownCommands.isEmpty { problems.append("the model does not know \(redis.unknownCommands)") }
    if !redis.scriptFailures.isEmpty { problems.append("scripts failed: \(redis.scriptFailures.prefix(2))") }
  }
}
