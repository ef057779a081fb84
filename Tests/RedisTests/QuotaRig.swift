import Core
import Foundation
import Net
import Pipeline

@testable import Cluster

/// Several loops' parts of a shared quota, all on one real loop that runs on the calling thread while somebody waits.
final class QuotaRig {
  struct Handler: EventHandler {
    typealias Message = Never
    let quotas: [SharedQuota]
    let goal: () -> Bool
    let limit: Instant
    let answer: (Int, UInt64) -> Void

    var proxy: CuttingProxy?

    mutating func ready(token: UInt64, _ readiness: Readiness) {
      if proxy?.ready(token: token) == true { return }
      _ = quotas[Int(token >> 56)].ready(token: token, readiness)
    }
    mutating func receive(_ message: Never) {}
    mutating func endTurn() -> Instant {
      var next = limit
      for (index, quota) in quotas.enumerated() {
        quota.work()
        while let ticket = quota.nextAnswered() { answer(index, ticket) }
        next = min(next, quota.flush())
      }
      return goal() ? Clock.monotonic() : next
    }
    var isRunning: Bool { !goal() && Clock.monotonic() < limit }
  }

  let loop: EventLoop
  /// Where nodes connect to a proxy: it lives on the same loop.
  private(set) var proxy: CuttingProxy?
  let quotas: [SharedQuota]
  let nodes: [NodeQuota]
  private var nextTicket: UInt64 = 1
  /// Questions under way and answered, by ticket.
  private(set) var answers: [UInt64: LimitQuestion] = [:]
  private var waiting: Set<UInt64> = []

  /// One node that reaches a Redis through a proxy which listens beside it.
  convenience init(cutting redis: RealRedis) throws {
    let loop = try EventLoop()
    let proxy = try CuttingProxy(loop, at: redis.path + ".cut", to: redis.socket)
    try self.init(1, RedisServer(address: .socket(proxy.address)), loop: loop)
    self.proxy = proxy
  }

  /// Nodes of one loop each: they know each other from the beginning, or, where they `meet`, find out by themselves. They
  /// wait for answers so long that a busy machine is no outage, unless they are `hasty` as real nodes are.
  init(
    _ count: Int, _ server: RedisServer, loop: EventLoop? = nil, meet: Bool = false, hasty: Bool = false,
    settings change: (inout SharedQuotaSettings) -> Void = { _ in }
  ) throws {
    let loop = try loop ?? EventLoop()
    var quotas: [SharedQuota] = []
    var nodes: [NodeQuota] = []
    for index in 0..<count {
      let node = NodeQuota(loops: 1)
      if !meet {
        _ = node.claimBeats()
        node.standing = MemberStanding(
          generation: 1, count: count, rank: index, participants: count, isListed: true)
      }
      var settings = SharedQuotaSettings(
        store: .single(server), cluster: "t", keys: ClusterKeys(secret: Array("secret".utf8)), clientName: "t-\(index)")
      if !hasty { settings.deadline = 2_000_000_000 }
      change(&settings)
      let quota = try SharedQuota(settings, world: loop, node: node, clock: { Clock.monotonic().nanoseconds }) {
        UInt64(index) << 56 | UInt64($0) << 48 | UInt64($1) << 32 | UInt64($2)
      }
      quotas.append(quota)
      nodes.append(node)
    }
    (self.loop, self.quotas, self.nodes) = (loop, quotas, nodes)
    for quota in quotas { quota.start() }
  }

  /// Runs until `goal` holds; false where it does not within `milliseconds`.
  @discardableResult
  func run(milliseconds: Int64 = 5000, until goal: @escaping () -> Bool = { false }) throws -> Bool {
    let limit = Clock.monotonic().advanced(byNanoseconds: milliseconds * 1_000_000)
    var handler = Handler(quotas: quotas, goal: goal, limit: limit) { [self] index, ticket in
      guard waiting.remove(ticket) != nil, var question = answers[ticket] else { return }
      quotas[index].collect(&question, ticket: ticket)
      answers[ticket] = question
    }
    handler.proxy = proxy
    try loop.run(&handler)
    return goal()
  }

  /// Runs until every part has a store to ask, and every lane is open.
  func open() throws -> Bool {
    try run { [quotas] in
      quotas.allSatisfy {
        $0.primaries.first?.breaker.state == .closed && $0.lanes.allSatisfy { $0.state == .open }
      }
    }
  }

  /// Asks the part at `index`; the answer is in ``answers`` at once or later.
  func ask(_ index: Int, _ question: LimitQuestion, peek: Bool = false) -> UInt64 {
    let ticket = nextTicket
    nextTicket += 1
    var question = question
    let now = Clock.monotonic()
    let civil = quotas[index].civilTime(now: now, wall: Clock.civil())
    if peek {
      quotas[index].peek(&question, ticket: ticket, now: now, civil: civil)
    } else {
      quotas[index].decide(&question, ticket: ticket, now: now, civil: civil)
    }
    if question.decision == .waiting { waiting.insert(ticket) }
    answers[ticket] = question
    return ticket
  }

  /// Asks and waits for the answer.
  func decide(_ index: Int, _ question: LimitQuestion, peek: Bool = false) throws -> LimitQuestion {
    let ticket = ask(index, question, peek: peek)
    try run { [self] in !waiting.contains(ticket) }
    return answers[ticket] ?? question
  }

  /// Waits until nothing waits.
  func settle() throws -> Bool { try run { [self] in waiting.isEmpty } }
}

/// A question about one level or several.
func question(_ levels: QuotaLevel...) -> LimitQuestion {
  var question = LimitQuestion()
  for level in levels { question.append(level) }
  return question
}

/// A level of a counter called `name`.
func level(
  _ rule: LimitRule, _ name: String = "a", cost: Int64 = 1, mode: LimitMode = .exact, outage: OutageRule = .local,
  owner: UInt16? = nil
) -> QuotaLevel {
  let nothing = WallTime(microseconds: 0)
  return QuotaLevel(
    key: QuotaKey(configured: name), rule: rule, cost: cost, period: CivilPeriod(start: nothing, end: nothing),
    terms: LimitTerms(mode: mode, outage: outage), owner: owner)
}
