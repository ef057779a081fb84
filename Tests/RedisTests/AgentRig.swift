import Core
import Net

@testable import Cluster

/// Several agents on one real loop, which runs on the calling thread while somebody waits. Each can be stopped as SIGSTOP
/// stops a process, and has a boot clock that the test can advance.
final class AgentRig {
  static let secret = Array("a secret of thirty-two bytes, say".utf8)

  final class Unit {
    let agent: ClusterAgent
    let clock: ShiftedClock
    /// Whether it gets its turns; what comes for it meanwhile waits, as in a socket.
    var isDriven = true
    var held: [(token: UInt64, readiness: Readiness)] = []
    var remarks: [String] = []
    /// What it does with a revision, as its owner: takes it over unless told otherwise.
    var take: (RevisionKeeper, RevisionCandidate) -> Void = { $0.adopted($1) }
    /// The epochs of all leaders that it acted on, in order.
    var epochs: [Int64] = []

    init(_ agent: ClusterAgent, _ clock: ShiftedClock) {
      self.agent = agent
      self.clock = clock
      agent.leadership.observers.append { [unowned self] in epochs.append($0.epoch) }
    }

    var isLeader: Bool { agent.leadership.isLeader(at: clock.now()) }
  }

  final class ShiftedClock {
    var shift: Int64 = 0
    func now() -> Int64 { Clock.bootTime() + shift }
  }

  struct Handler: EventHandler {
    typealias Message = Never
    let units: [Unit]
    let goal: () -> Bool
    let limit: Instant
    private(set) var isRunning = true

    mutating func ready(token: UInt64, _ readiness: Readiness) {
      let unit = units[Int(token >> 56)]
      if unit.isDriven { _ = unit.agent.ready(token: token, readiness) } else { unit.held.append((token, readiness)) }
    }

    mutating func receive(_ message: Never) {}

    mutating func endTurn() -> Instant {
      var next = limit
      for unit in units where unit.isDriven {
        for (token, readiness) in unit.held { _ = unit.agent.ready(token: token, readiness) }
        unit.held = []
        unit.agent.work()
        while let event = unit.agent.nextEvent() {
          switch event {
          case .remark(let text): unit.remarks.append(text)
          case .revision(let candidate): unit.take(unit.agent.revisions, candidate)
          case .kept(let candidate): unit.agent.revisions.adopted(candidate)
          default: break
          }
        }
        next = min(next, unit.agent.flush())
      }
      if goal() || Clock.monotonic() >= limit { isRunning = false }
      return next
    }
  }

  let loop: EventLoop
  private(set) var units: [Unit] = []
  let lease: Int64
  private let storeLibrary: StoreLibrary
  /// Kept alive with the agents.
  private var redis: RealRedis?

  /// Agents of one cluster on a server that lives as long as they do.
  convenience init(
    _ count: Int, on redis: RealRedis, lease: Int64 = 1_000_000_000,
    storeLibrary: StoreLibrary = AgreementLibrary.current
  ) throws {
    try self.init(count, .single(RedisServer(address: .socket(redis.socket))), lease: lease, storeLibrary: storeLibrary)
    self.redis = redis
  }

  /// Agents of one cluster whose leases last `lease` nanoseconds.
  init(
    _ count: Int, _ store: RedisStore, lease: Int64 = 1_000_000_000,
    storeLibrary: StoreLibrary = AgreementLibrary.current
  )
    throws
  {
    loop = try EventLoop()
    self.lease = lease
    self.storeLibrary = storeLibrary
    for _ in 0..<count { try add(store) }
  }

  /// One more agent.
  @discardableResult
  func add(_ store: RedisStore, mark: EpochMark? = nil) throws -> Unit {
    let index = units.count
    var settings = AgentSettings(
      store: store, cluster: "t", secrets: ClusterSecrets(secret: Self.secret), clientName: "t-\(index)")
    settings.lease = lease
    settings.storeLibrary = storeLibrary
    settings.mark = mark
    let clock = ShiftedClock()
    let agent = try ClusterAgent(
      settings, identity: NodeIdentity(nonce: UInt64(index + 1), name: "n\(index)", version: "1"), world: loop,
      clock: clock.now
    ) { UInt64(index) << 56 | UInt64($0) << 48 | UInt64($1) << 32 | UInt64($2) }
    let unit = Unit(agent, clock)
    units.append(unit)
    agent.start()
    return unit
  }

  deinit { for unit in units { unit.agent.store.stop() } }

  var leaders: [Int] { units.indices.filter { units[$0].isDriven && units[$0].isLeader } }

  /// Runs until `goal` holds; false where it does not within `milliseconds`.
  @discardableResult
  func run(milliseconds: Int64 = 5000, until goal: @escaping () -> Bool = { false }) throws -> Bool {
    let limit = Clock.monotonic().advanced(byNanoseconds: milliseconds * 1_000_000)
    var handler = Handler(units: units, goal: goal, limit: limit)
    try loop.run(&handler)
    return goal()
  }

  /// Runs until one of those that get their turns leads, and all of them know it; returns which.
  func lead(milliseconds: Int64 = 5000) throws -> Int? {
    let isLed = try run(milliseconds: milliseconds) { [self] in
      let driven = units.filter(\.isDriven)
      guard let leader = leaders.first, leaders.count == 1 else { return false }
      return driven.allSatisfy { $0.agent.leadership.leader == units[leader].agent.identity.id }
    }
    return isLed ? leaders.first : nil
  }

  /// Calls a verb as the agent at `index`, and waits for the answer.
  func call(_ index: Int, _ verb: String, _ arguments: String...) throws -> AgentReply? {
    let store = units[index].agent.store
    return try answer(store) { store.call(verb, arguments, then: $0) }
  }

  /// Sends a command on keys under the prefix, for which `{}` stands.
  @discardableResult
  func send(_ words: String, from unit: Unit? = nil) throws -> AgentReply? {
    let store = (unit ?? units[0]).agent.store
    let command = words.replacing("{}", with: store.prefix).split(separator: " ").map { Array($0.utf8) }
    return try answer(store) { store.send(command, then: $0) }
  }

  private func answer(_ store: AgentStore, _ ask: (@escaping (AgentReply) -> Void) -> Void) throws -> AgentReply? {
    // Who leads may have been heard before the connection for commands was up.
    try run { store.isUp }
    var answer: AgentReply?
    ask { answer = $0 }
    try run { answer != nil }
    return answer
  }
}
