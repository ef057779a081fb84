// One node of a shared quota without the gateway around it: it asks at a given rate and writes down what it was told. The
// safety tests start several, kill them, stop them, and then read what all of them have admitted.

#if DEBUG
  import Core
  import Net
  import Pipeline

  @testable import Cluster

  /// Asks until its time is over.
  final class Driver: EventHandler {
    /// A question that waits for its answer.
    struct Question {
      var question: LimitQuestion
      var asked: Int64
      var key: UInt16
    }

    /// An exchange that holds a slot.
    struct Exchange {
      var question: LimitQuestion
      var part: Int
      var record: Int
      var ends: Int64
    }

    let options: DriverOptions
    let journal: Journal
    let loop: EventLoop
    private let node: NodeQuota
    private var parts: [SharedQuota] = []
    private var keys: [QuotaKey] = []
    private var pending: [UInt64: Question] = [:]
    private var running: [Exchange] = []
    private var firstRunning = 0
    private var nextTicket: UInt64 = 1
    private var offered = 0
    private var leased: [UInt64]
    /// When it began to ask, by the monotonic clock; 0 before.
    private var began: Int64 = 0
    private var isStopping = false
    private(set) var isRunning = true

    init(_ options: DriverOptions) throws {
      self.options = options
      journal = Journal(path: options.journal)
      loop = try EventLoop()
      leased = Array(repeating: 0, count: options.parts)
      guard let store = options.redis() else { fatalError("no store") }
      let node = NodeQuota(loops: options.parts)
      if !options.meets {
        _ = node.claimBeats()
        node.standing = MemberStanding(
          generation: 1, count: options.nodes, rank: options.rank, participants: options.nodes * options.parts,
          isListed: true)
      }
      self.node = node
      let (start, rate) = (Clock.bootTime(), options.clock)
      for index in 0..<options.parts {
        var settings = SharedQuotaSettings(
          store: store, cluster: "t", keys: ClusterKeys(secret: Array("secret".utf8)), clientName: "n-\(options.rank)")
        settings.deadline = options.deadline * 1_000_000
        let quota = try SharedQuota(
          settings, world: loop, node: node,
          clock: { rate == 1000 ? Clock.bootTime() : start + (Clock.bootTime() - start) / 1000 * rate },
          token: { UInt64(index) << 56 | UInt64($0) << 48 | UInt64($1) << 32 | UInt64($2) })
        parts.append(quota)
      }
      for index in 0..<options.keys { keys.append(QuotaKey(configured: "key", "\(index)")) }
      for quota in parts { quota.start() }
    }

    func ready(token: UInt64, _ readiness: Readiness) {
      _ = parts[Int(token >> 56)].ready(token: token, readiness)
    }

    func receive(_ message: Never) {}

    func endTurn() -> Instant {
      for (index, quota) in parts.enumerated() {
        quota.work()
        noteLeases(quota, index)
        while let ticket = quota.nextAnswered() {
          guard var asked = pending.removeValue(forKey: ticket) else { continue }
          quota.collect(&asked.question, ticket: ticket)
          decided(asked, index)
        }
      }
      if began == 0 { begin() } else if !isStopping { ask() }
      endExchanges()
      var next = loop.now.advanced(byNanoseconds: 1_000_000)
      for quota in parts { next = min(next, quota.flush()) }
      note()
      return next
    }

    /// Begins once all lanes are open, the node is a member and the time has come.
    private func begin() {
      guard node.standing?.isListed == true,
        parts.allSatisfy({ !$0.primaries.isEmpty && $0.lanes.allSatisfy { $0.state == .open } })
      else { return }
      journal[.isReady] = 1
      if Clock.civil().microseconds >= options.start { began = Clock.monotonic().nanoseconds }
    }

    /// Asks for what the rate says is due. What could not be asked within 50 ms, since the process was stopped, is
    /// forgotten.
    private func ask() {
      let elapsed = Clock.monotonic().nanoseconds - began
      if elapsed >= options.milliseconds * 1_000_000 { return stop() }
      let due = Int(Double(elapsed) / 1e9 * options.rate)
      offered = max(offered, due - Int(options.rate / 20) - 1)
      if journal[.isPaused] != 0 || !options.asks(at: Clock.civil()) { offered = due }
      while offered < due {
        offered += 1
        askOnce(part: offered % parts.count, key: offered / parts.count % keys.count)
      }
    }

    private func askOnce(part: Int, key: Int) {
      let nothing = CivilPeriod(start: WallTime(microseconds: 0), end: WallTime(microseconds: 0))
      var asked = Question(question: LimitQuestion(), asked: Clock.civil().microseconds, key: UInt16(key))
      asked.question.append(
        QuotaLevel(
          key: keys[key], rule: options.rule(journal[.limit]), cost: 1, period: nothing,
          terms: LimitTerms(mode: options.mode, outage: options.outage)))
      let quota = parts[part]
      let ticket = nextTicket
      nextTicket += 1
      let civil = quota.civilTime(now: loop.now, wall: loop.wallTime)
      quota.decide(&asked.question, ticket: ticket, now: loop.now, civil: civil)
      if asked.question.decision == .waiting { pending[ticket] = asked } else { decided(asked, part) }
    }

    private func decided(_ asked: Question, _ part: Int) {
      let answered = Clock.civil().microseconds
      let source = asked.question.source
      let kind: JournalRecord.Kind =
        switch asked.question.decision {
        case .admitted: .admitted
        case .denied: .denied
        default: .unavailable
        }
      if source != .denyCache {
        let place = journal.append(
          JournalRecord(
            asked: asked.asked, answered: answered, kind: kind,
            source: UInt8(LimitSource.allCases.firstIndex(of: source) ?? 0), limit: asked.key, ended: 0))
        if kind == .admitted, case .concurrency = options.rule {
          running.append(
            Exchange(question: asked.question, part: part, record: place, ends: answered + options.hold * 1000))
        }
      }
      journal[.decisions] += 1
      switch kind {
      case .denied where source == .denyCache: journal[.deniedFromMemory] += 1
      case .denied: journal[.denied] += 1
      case .unavailable: journal[.unavailable] += 1
      case .admitted, .lease: break
      }
      let taken = Int(answered - asked.asked)
      journal[.slowest] = max(journal[.slowest], taken)
      if taken > 15_000 { journal[.slow] += 1 }
    }

    private func endExchanges() {
      while firstRunning < running.count {
        let moment = Clock.civil().microseconds
        guard running[firstRunning].ends <= moment else { break }
        journal.end(running[firstRunning].record, at: moment)
        parts[running[firstRunning].part].release(&running[firstRunning].question, now: loop.now)
        firstRunning += 1
      }
      if firstRunning > 1000 {
        running.removeSubrange(..<firstRunning)
        firstRunning = 0
      }
    }

    /// Writes down that tokens came: the store has decided something.
    private func noteLeases(_ quota: SharedQuota, _ part: Int) {
      let units = quota.counts.leasedUnits
      guard units != leased[part] else { return }
      leased[part] = units
      let moment = Clock.civil().microseconds
      _ = journal.append(
        JournalRecord(asked: moment, answered: moment, kind: .lease, source: 0, limit: 0, ended: Int64(part)))
    }

    private func note() {
      var sum = SharedQuotaStatistics()
      for quota in parts { sum.add(quota.counts) }
      journal[.calls] = Int(sum.calls)
      journal[.items] = Int(sum.items)
      journal[.recalls] = Int(sum.recalls)
      journal[.leased] = Int(sum.leasedUnits)
      journal[.returned] = Int(sum.returnedUnits)
      journal[.spent] = Int(sum.spentUnits)
      journal[.openings] = parts.reduce(0) { $0 + $1.primaries.reduce(0) { $0 + $1.breaker.openings } }
    }

    /// Gives back what is held, and leaves once that can have arrived.
    private func stop() {
      isStopping = true
      for quota in parts { quota.stop() }
      for quota in parts { _ = quota.flush() }
      isRunning = false
    }
  }

  @main
  enum Main {
    static func main() throws {
      var driver = try Driver(DriverOptions(Array(CommandLine.arguments.dropFirst())))
      try driver.loop.run(&driver)
    }
  }
#else
  @main
  enum Main {
    static func main() { print("only for tests: a release build has no way inside") }
  }
#endif
