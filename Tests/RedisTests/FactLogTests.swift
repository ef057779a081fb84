import Core
import Crypto
import Net
import Pipeline
import Testing

@testable import Cluster

/// Nodes that keep facts, on a Redis that forgets, repeats and mixes things up.
private final class FactRig {
  let rig: AgentRig
  /// Where new nodes find the others.
  let store: RedisStore
  /// Kept alive with the nodes.
  private let redis: RealRedis?
  private let secrets = ClusterSecrets(secret: AgentRig.secret)
  private(set) var marks: [RevocationMark] = []
  /// When each was known to be added, by the boot clock.
  private var addedAt: [Int64] = []
  /// Times that somebody vouched for what it did not have.
  private(set) var breaches: [String] = []

  convenience init(_ count: Int = 3) throws {
    let redis = try RealRedis()
    try self.init(count, .single(RedisServer(address: .socket(redis.socket))), redis)
  }

  init(_ count: Int, _ store: RedisStore, _ redis: RealRedis? = nil) throws {
    (self.store, self.redis) = (store, redis)
    rig = try AgentRig(count, store)
    #expect(try rig.lead() != nil)
    #expect(try settle())
  }

  func keeper(_ index: Int) -> FactKeeper { rig.units[index].agent.factKeeper }

  /// Revokes one more token through a node; returns whether the log has it.
  @discardableResult
  func revoke(by index: Int = 0) throws -> Bool {
    let mark = RevocationMark(.tokenID, "t\(marks.count)", key: secrets.factKey)
    var answer: FactAnswer?
    keeper(index).add([.revocation(RevocationRecord(Revocation(mark), kind: .tokenID, name: "t\(marks.count)"))]) {
      answer = $0
    }
    try run { answer != nil }
    guard case .added? = answer else { return false }
    marks.append(mark)
    addedAt.append(Clock.bootTime())
    return true
  }

  /// Runs; in every turn each node that vouches for its knowledge must have all that was added two seconds before.
  @discardableResult
  func run(milliseconds: Int64 = 5000, until goal: @escaping () -> Bool = { false }) throws -> Bool {
    try rig.run(milliseconds: milliseconds) { [self] in
      acknowledge()
      check()
      return goal()
    }
  }

  /// Stands in for the loops: they go by a view at once.
  private func acknowledge() {
    for index in rig.units.indices where rig.units[index].isDriven { keeper(index).taken(.max) }
  }

  private func check() {
    let now = Clock.bootTime()
    for index in rig.units.indices {
      let verified = keeper(index).verification.verifiedAt
      guard verified > 0, now - verified < LoopFacts.bound else { continue }
      for (mark, added) in zip(marks, addedAt) where now - added > LoopFacts.bound && !holds(index, mark) {
        breaches.append("node \(index)")
      }
    }
  }

  func holds(_ index: Int, _ mark: RevocationMark) -> Bool { keeper(index).view.revocations.holds(mark, now: 1) }

  /// Whether all nodes come to hold everything, and to know that they do.
  func settle(milliseconds: Int64 = 6000) throws -> Bool {
    let began = Clock.bootTime()
    return try run(milliseconds: milliseconds) { [self] in
      rig.units.indices.allSatisfy { index in
        keeper(index).verification.verifiedAt > began && marks.allSatisfy { holds(index, $0) }
          && keeper(index).lost.isEmpty
      }
    }
  }

  func chain(_ number: Int) throws -> String {
    let entry = try rig.send("XRANGE {}:facts:log \(number)-0 \(number)-0")
    return entry?.items.first?.items.last?.items.last?.text ?? ""
  }
}

@Suite("Fact log", .serialized) struct FactLogTests {
  @Test("What is revoked through one node is known to all, who prove that nothing is missing")
  func spreads() throws {
    let facts = try FactRig()
    for index in 0..<3 { #expect(try facts.revoke(by: index)) }
    #expect(try facts.settle())
    #expect(
      facts.keeper(0).position == facts.keeper(1).position && facts.keeper(1).position == facts.keeper(2).position)
    // Once more changes nothing.
    let before = facts.keeper(0).position
    var answer: FactAnswer?
    facts.keeper(2).add([.revocation(RevocationRecord(Revocation(facts.marks[0])))]) { answer = $0 }
    try facts.run { answer != nil }
    #expect(facts.keeper(0).position == before)
    #expect(facts.breaches.isEmpty)
  }

  @Test("A node that was stopped for five seconds vouches for nothing, and has what it missed 250 ms after it goes on")
  func stopped() throws {
    let facts = try FactRig(2)
    facts.rig.units[1].isDriven = false
    #expect(try facts.revoke())
    let clock = facts.rig.units[1].clock
    clock.shift = 5_000_000_000
    let loop = LoopFacts(
      markKey: SipKey(low: 1, high: 2), clock: facts.keeper(1).verification, bootTime: clock.now)
    #expect(loop.isStale)
    facts.rig.units[1].isDriven = true
    #expect(try facts.run(milliseconds: 250) { facts.holds(1, facts.marks[0]) })
    #expect(try facts.run(milliseconds: 1000) { !loop.isStale })
  }

  @Test("An entry that was dropped, or all that were trimmed, come from a snapshot", arguments: ["XDEL 2-0", "XTRIM"])
  func gaps(how: String) throws {
    let facts = try FactRig()
    facts.rig.units[2].isDriven = false
    for _ in 0..<3 { #expect(try facts.revoke()) }
    try facts.rig.send(how == "XTRIM" ? "XTRIM {}:facts:log MAXLEN 1" : "XDEL {}:facts:log 2-0")
    // The leader that is left makes a snapshot of what is there.
    facts.keeper(0).snapshots.isDue = true
    facts.keeper(1).snapshots.isDue = true
    try facts.run(milliseconds: 1500)
    facts.rig.units[2].isDriven = true
    #expect(try facts.settle())
    #expect(facts.breaches.isEmpty)
  }

  @Test("A chain that is not the one that nodes compute ends the epoch, and nothing is lost")
  func changed() throws {
    let facts = try FactRig()
    for _ in 0..<3 { #expect(try facts.revoke()) }
    #expect(try facts.settle())
    let epoch = facts.keeper(0).position.epoch
    try facts.rig.send("HSET {}:facts:meta chain 0000000000000000000000000000000000000000")
    #expect(try facts.run { (0..<3).allSatisfy { facts.keeper($0).position.epoch > epoch } })
    #expect(try facts.revoke(by: 1))
    #expect(try facts.settle())
    #expect(facts.breaches.isEmpty)
  }

  @Test("Writes that a failover lost are added again by whoever applied them", arguments: [false, true])
  func lostWrites(wereFollowed: Bool) throws {
    let facts = try FactRig()
    #expect(try facts.revoke())
    #expect(try facts.settle())
    // The third node sees nothing of what is about to be lost.
    facts.rig.units[2].isDriven = false
    for _ in 0..<3 { #expect(try facts.revoke()) }
    try facts.run { facts.keeper(1).position.sequence == 4 }
    let first = try facts.chain(1)
    for number in 2...4 { try facts.rig.send("XDEL {}:facts:log \(number)-0") }
    try facts.rig.send("DEL {}:facts:r")
    try facts.rig.send("HSET {}:facts:meta seq 1 chain \(first)")
    try facts.rig.send("XSETID {}:facts:log 1-0")
    if wereFollowed {
      facts.rig.units[2].isDriven = true
      #expect(try facts.revoke(by: 2))
    }
    facts.rig.units[2].isDriven = true
    #expect(try facts.settle())
    #expect(try facts.rig.send("HLEN {}:facts:r")?.number ?? 0 >= 3)
    #expect(facts.breaches.isEmpty)
  }

  @Test("What a primary took with it that was killed while its replicas were behind is back on all nodes")
  func killed() throws {
    let group = try FailoverGroup(lag: 400)
    let facts = try FactRig(3, group.redisStore)
    #expect(try facts.revoke())
    #expect(try facts.settle())
    // Replicas have that one, and none of the next.
    try facts.run(milliseconds: 600)
    facts.rig.units[2].isDriven = false
    for index in 0..<4 { #expect(try facts.revoke(by: index % 2)) }
    group.primary.kill()
    try facts.run(milliseconds: 500)
    facts.rig.units[2].isDriven = true
    #expect(try facts.settle(milliseconds: 12_000))
    #expect(try facts.rig.send("HLEN {}:facts:r")?.number == 5)
    // The second one finds what the first one has added again.
    #expect(facts.rig.units.contains { $0.remarks.contains { $0.contains("facts; they are added again") } })
    #expect(facts.breaches.isEmpty)
  }

  @Test("A primary whose replica is silent proves nothing any more; before, the proof is never old")
  func silentReplica() throws {
    let primary = try RealRedis(usesPort: true, "--repl-diskless-sync-delay 0")
    #expect(try FailoverGroup.poll(primary.socket, "PING") { $0 == "+PONG" })
    let replica = try RealRedis(usesPort: true, "--replicaof 127.0.0.1 \(primary.port)")
    #expect(try FailoverGroup.poll(primary.socket, "INFO", "replication") { $0.contains("state=online,offset=") })
    let facts = try FactRig(1, .single(RedisServer(address: .socket(primary.socket))), primary)
    let verification = facts.keeper(0).verification
    var oldest: Int64 = 0
    try facts.run(milliseconds: 3000) {
      oldest = max(oldest, Clock.bootTime() - verification.verifiedAt)
      return false
    }
    #expect(oldest < 1_800_000_000)
    #expect(try facts.rig.call(0, "fact-held", "12345678") == .list([.null]))
    replica.freeze()
    let frozen = Clock.bootTime()
    try facts.run(milliseconds: 2200)
    // What it had told by then may prove a look of just before.
    #expect(verification.verifiedAt < frozen)
    let loop = LoopFacts(markKey: SipKey(low: 1, high: 2), clock: verification, bootTime: Clock.bootTime)
    #expect(loop.isStale)
    let reason = "ALONE no replica has told anything for two seconds"
    #expect(try facts.rig.call(0, "fact-held", "12345678") == .refused(code: "ALONE", reason: reason))
    #expect(try facts.revoke())
    replica.thaw()
    #expect(try facts.run(milliseconds: 3000) { !loop.isStale })
    #expect(facts.breaches.isEmpty)
  }

  @Test("After all was lost the nodes bring everything back, and a newcomer learns it")
  func flushed() throws {
    let facts = try FactRig()
    for _ in 0..<5 { #expect(try facts.revoke()) }
    #expect(try facts.settle())
    try facts.rig.send("FLUSHALL")
    #expect(try facts.settle())
    try facts.rig.add(facts.store)
    #expect(try facts.settle(milliseconds: 9000))
    #expect(try facts.revoke(by: 3))
    #expect(try facts.settle())
  }

  @Test("A receipt counts live nodes that go by it, and names those that do not")
  func receipts() throws {
    let facts = try FactRig()
    try facts.run(milliseconds: 3000) { facts.rig.units[0].agent.members.all.filter(\.isAlive).count == 3 }
    #expect(try facts.revoke())
    var receipt: FactReceipt?
    facts.keeper(0).wait(for: facts.keeper(0).position, nanoseconds: 2_000_000_000) { receipt = $0 }
    try facts.run { receipt != nil }
    #expect(receipt?.nodes == 3 && receipt?.of == 3 && receipt?.missing == [])
    facts.rig.units[2].isDriven = false
    #expect(try facts.revoke())
    try facts.run(milliseconds: 1000) { facts.keeper(0).position.sequence == 2 }
    receipt = nil
    facts.keeper(0).wait(for: facts.keeper(0).position, nanoseconds: 300_000_000) { receipt = $0 }
    try facts.run { receipt != nil }
    #expect(receipt?.nodes == 2 && receipt?.of == 3 && receipt?.missing == ["n2"])
  }
}
