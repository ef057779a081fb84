import Core
import Crypto
import Pipeline
import Simulation

@testable import Cluster

/// A limit that a fleet keeps together.
struct FleetLimit {
  let name: String
  let rule: LimitRule
  let terms: LimitTerms

  var level: QuotaLevel {
    let nothing = WallTime(microseconds: 0)
    return QuotaLevel(
      key: QuotaKey(configured: name), rule: rule, cost: 1, period: CivilPeriod(start: nothing, end: nothing),
      terms: terms)
  }

  var isConcurrency: Bool { if case .concurrency = rule { true } else { false } }
}

/// A question and how it went.
struct FleetRecord {
  /// Which limits, by their places.
  let limits: [Int]
  /// The life of the node that asked.
  let life: Int
  /// By the world's clock, and by Redis's in microseconds.
  let asked: Instant
  let askedAt: Int64
  var answered = Instant.never
  var answeredAt: Int64 = 0
  var decision = LimitDecision.waiting
  var source = LimitSource.exact
  /// When slots were given back.
  var released = Instant.never
}

/// One loop of a node: what RequestFlow does with a shared quota, and nothing else.
final class FleetLoop: EventHandler {
  enum Message: Sendable {
    /// To ask about these limits.
    case ask([Int])
    /// To give back the slots of a question.
    case release(Int)
    /// To go, in good order.
    case leave
  }

  let quota: SharedQuota
  private let loop: SimulatedLoop
  private unowned let fleet: Fleet
  private let life: Int
  private let index: Int
  /// Questions by ticket, which are the places of their records.
  private(set) var open: [UInt64: LimitQuestion] = [:]
  private(set) var isRunning = true
  private var isLeaving = false

  init(
    _ fleet: Fleet, _ loop: SimulatedLoop, life: Int, index: Int, _ settings: SharedQuotaSettings, _ node: NodeQuota
  ) throws {
    (self.fleet, self.loop, self.life, self.index) = (fleet, loop, life, index)
    quota = try SharedQuota(settings, world: loop, node: node, clock: { loop.bootNanoseconds }) {
      UInt64($0) << 56 | UInt64($1) << 32 | UInt64($2)
    }
    quota.start()
  }

  func ready(token: UInt64, _ readiness: Readiness) { _ = quota.ready(token: token, readiness) }

  func receive(_ message: Message) {
    switch message {
    case .ask(let limits): ask(limits)
    case .release(let record):
      guard var question = open.removeValue(forKey: UInt64(record)) else { return }
      fleet.records[record].released = fleet.world.now
      quota.release(&question, now: loop.now)
    case .leave: isLeaving = true
    }
  }

  private func ask(_ limits: [Int]) {
    var question = LimitQuestion()
    for limit in limits { question.append(fleet.limits[limit].level) }
    let ticket = fleet.begin(limits, life: life)
    let civil = quota.civilTime(now: loop.now, wall: loop.wallTime)
    quota.decide(&question, ticket: ticket, now: loop.now, civil: civil)
    open[ticket] = question
    if question.decision != .waiting { decided(ticket) }
  }

  private func decided(_ ticket: UInt64) {
    guard let question = open[ticket] else { return }
    let holds = (0..<question.count).contains { question[$0].isHeld }
    if !holds { open[ticket] = nil }
    fleet.end(ticket, question, life: life, loop: index, holds: holds)
  }

  func endTurn() -> Instant {
    quota.work()
    while let ticket = quota.nextAnswered() {
      guard var question = open[ticket], question.decision == .waiting else {
        fleet.problems.append("ticket \(ticket) is answered, and nobody waits for it")
        continue
      }
      quota.collect(&question, ticket: ticket)
      open[ticket] = question
      if question.decision == .waiting { fleet.problems.append("ticket \(ticket) is answered and undecided") }
      decided(ticket)
    }
    if isLeaving {
      quota.stop()
      isRunning = false
    }
    return quota.flush()
  }
}

/// Several nodes that share limits in one Redis.
final class Fleet: NodeCluster {
  let limits: [FleetLimit]
  var records: [FleetRecord] = []
  /// The loops of each life.
  private(set) var nodes: [[SimulatedNode<FleetLoop>]] = []
  private var isOffering = false

  init(seed: UInt64, _ limits: [FleetLimit], nodes: Int, _ conditions: Conditions, lag: Duration) throws {
    self.limits = limits
    try super.init(seed: seed, nodes: nodes, conditions, lag: lag)
  }

  override func makeLife(_ number: Int, place: Int, host: IPAddress, _ clocks: MachineClocks) throws -> NodeLife {
    let count = random.number(in: 1...2)
    let node = NodeQuota(loops: count)
    let loops = try (0..<count).map { index in
      try world.start("node \(number) loop \(index)") { loop in
        loop.host = host
        loop.clocks = clocks
        var settings = SharedQuotaSettings(
          store: .single(RedisServer(address: .socket(Self.address))), cluster: "t",
          keys: ClusterKeys(secret: Array("secret".utf8)), clientName: "n\(number)-\(index)")
        settings.laneCount = 4
        return try FleetLoop(self, loop, life: number, index: index, settings, node)
      }
    }
    nodes.append(loops)
    return NodeLife(loops.map(\.loop), host: host, began: world.now) { for loop in loops { loop.send(.leave) } }
  }

  // MARK: Questions

  func begin(_ limits: [Int], life: Int) -> UInt64 {
    records.append(FleetRecord(limits: limits, life: life, asked: world.now, askedAt: redis.clock))
    return UInt64(records.count - 1)
  }

  func end(_ ticket: UInt64, _ question: borrowing LimitQuestion, life: Int, loop: Int, holds: Bool) {
    let place = Int(ticket)
    records[place].answered = world.now
    records[place].answeredAt = redis.clock
    records[place].decision = question.decision
    records[place].source = question.source
    guard holds else { return }
    let loop = nodes[life][loop]
    world.after(.microseconds(random.number(in: 2_000...150_000))) { [unowned self] in
      if lives[life].isAlive { loop.send(.release(place)) }
    }
  }

  /// Every node asks now and then, `rate` times a second each at the most, about one limit or two.
  func offer(rate: Int64) {
    isOffering = true
    for place in current.indices { offer(place, rate: random.number(in: rate / 4...rate)) }
  }

  func stopOffering() { isOffering = false }

  private func offer(_ place: Int, rate: Int64) {
    guard isOffering else { return }
    let life = life(at: place)
    // What comes to a stopped process waits, up to a backlog.
    if life.isAlive, life.pausedUntil <= world.now || random.chance(0.1) {
      var chosen = [random.number(in: 0...(limits.count - 1))]
      if random.chance(0.2) {
        let other = random.number(in: 0...(limits.count - 1))
        if other != chosen[0] { chosen.append(other) }
      }
      let loops = nodes[current[place]]
      loops[random.number(in: 0...(loops.count - 1))].send(.ask(chosen))
    }
    world.after(.nanoseconds(random.number(in: 1...2_000_000_000 / rate))) { [unowned self] in
      offer(place, rate: rate)
    }
  }
}
