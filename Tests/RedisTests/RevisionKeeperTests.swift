import Core
import Foundation
import Net
import Pipeline
import Testing

@testable import Cluster

/// T14 of the design, as far as it needs a store: several nodes on one real Redis.
@Suite("RevisionKeeper", .serialized)
struct RevisionKeeperTests {
  private func body(_ text: String) throws -> RevisionBody {
    try #require(RevisionBody(text: Array(text.utf8), values: [.environment("S"): "hush"]))
  }

  /// So many nodes of which the first one to lead has brought along the text `one`.
  private func cluster(_ count: Int, on redis: RealRedis) throws -> AgentRig {
    let rig = try AgentRig(count, on: redis)
    for unit in rig.units { unit.agent.revisions.seed = try body("one") }
    #expect(try rig.run { self.texts(rig) == [String](repeating: "1 one", count: count) })
    return rig
  }

  /// What each node runs: the revision, and what it says.
  private func texts(_ rig: AgentRig) -> [String] {
    rig.units.map { unit in
      unit.agent.revisions.running.map {
        "\($0.head.head.revision) \(String(decoding: $0.body.text, as: UTF8.self))"
      } ?? ""
    }
  }

  private func propose(
    _ text: String, on rig: AgentRig, at index: Int = 0, base: Int64? = nil, tolerance: Int64 = 1
  ) throws -> RevisionOutcome? {
    var draft = RevisionDraft(.apply(try body(text)), base: base, author: "ops", message: "because of \(text)")
    draft.tolerance = tolerance
    var outcome: RevisionOutcome?
    rig.units[index].agent.revisions.propose(draft) { outcome = $0 }
    try rig.run { outcome != nil }
    return outcome
  }

  private func history(_ rig: AgentRig) throws -> [RevisionEntry] {
    var entries: [RevisionEntry]?
    rig.units[0].agent.revisions.history { entries = $0 }
    try rig.run { entries != nil }
    return entries ?? []
  }

  /// Whether the newest revision gets to be like this.
  private func isTold(on rig: AgentRig, _ isWanted: (RevisionEntry) -> Bool) throws -> Bool {
    for _ in 0..<100 {
      if let newest = try history(rig).first, isWanted(newest) { return true }
      try rig.run(milliseconds: 20)
    }
    return false
  }

  private func send(_ words: [[UInt8]], on rig: AgentRig) throws -> AgentReply? {
    var reply: AgentReply?
    rig.units[0].agent.store.send(words) { reply = $0 }
    try rig.run { reply != nil }
    return reply
  }

  private func key(_ name: String, _ rig: AgentRig) -> [UInt8] {
    Array("\(rig.units[0].agent.store.prefix):\(name)".utf8)
  }

  @Test("What was made for another revision than that in force is refused, whoever proposes it")
  func refusesOldBases() throws {
    let redis = try RealRedis()
    let rig = try cluster(3, on: redis)
    for index in 0..<3 { #expect(try propose("two", on: rig, at: index, base: 7) == .conflict(current: 1)) }
    #expect(try propose("two", on: rig, base: 1) == .published(2))
    #expect(try propose("three", on: rig, at: 1, base: 1) == .conflict(current: 2))
    #expect(try rig.run { texts(rig) == ["2 two", "2 two", "2 two"] })
  }

  @Test("What no member made is neither taken for a proposal nor for a head, and the queue goes on")
  func refusesForgeries() throws {
    let redis = try RealRedis()
    let rig = try cluster(3, on: redis)
    _ = try send([Array("RPUSH".utf8), key("proposals", rig), [1, 2, 3]], on: rig)
    #expect(try propose("two", on: rig) == .published(2))
    #expect(try rig.run { texts(rig) == ["2 two", "2 two", "2 two"] })
    #expect(rig.units.contains { $0.remarks.contains { $0.contains("no member of the cluster made") } })
    // A head that somebody without the secret has changed: a byte of what it says, under a higher number.
    let head = try #require(try send([Array("HGET".utf8), key("head", rig), Array("bytes".utf8)], on: rig)?.bytes)
    var forged = head
    forged[20] ^= 1
    _ = try send(
      [Array("HSET".utf8), key("head", rig), Array("bytes".utf8), forged, Array("revision".utf8), [51]], on: rig)
    #expect(try rig.run { rig.units.allSatisfy { $0.remarks.contains { $0.contains("it is not signed") } } })
    #expect(texts(rig) == ["2 two", "2 two", "2 two"])
  }

  @Test("A body that was changed in the store is not run, and a node that joins waits for a better one")
  func refusesChangedBodies() throws {
    let redis = try RealRedis()
    let rig = try cluster(2, on: redis)
    let name = try #require(rig.units[0].agent.revisions.current?.head.body)
    _ = try send([Array("SETRANGE".utf8), key("body:\(name)", rig), [48], [0]], on: rig)
    let late = try rig.add(.single(RedisServer(address: .socket(redis.socket))))
    #expect(try rig.run { late.remarks.contains { $0.contains("SHA-256 differs") } })
    #expect(late.agent.revisions.running == nil && late.agent.revisions.isSettled)
    #expect(try propose("two", on: rig) == .published(2))
    #expect(try rig.run { texts(rig) == ["2 two", "2 two", "2 two"] })
  }

  @Test("What is running is taken over anew where another revision was on its way to the loops")
  func goesBackInTime() throws {
    let redis = try RealRedis()
    let rig = try cluster(1, on: redis)
    let keeper = rig.units[0].agent.revisions
    var taken: [RevisionCandidate] = []
    rig.units[0].take = { taken.append($1) }
    #expect(try propose("two", on: rig) == .published(2))
    #expect(try rig.run { taken.count == 1 })
    #expect(try propose("one", on: rig) == .published(3))
    #expect(try rig.run { taken.count == 2 })
    #expect(taken.allSatisfy { keeper.isWanted($0) })
    for candidate in taken { keeper.adopted(candidate) }
    #expect(texts(rig) == ["3 one"])
    #expect(!taken.contains { keeper.isWanted($0) })
  }

  @Test("Where a node refuses, all go back to what was before, and the history says why", arguments: [1, 2])
  func goesBack(tolerance: Int64) throws {
    let redis = try RealRedis()
    let rig = try cluster(3, on: redis)
    rig.units[1].take = { keeper, candidate in
      if candidate.body.text == Array("bad".utf8) {
        keeper.refused(candidate, because: "not for me")
      } else {
        keeper.adopted(candidate)
      }
    }
    #expect(try propose("bad", on: rig, tolerance: tolerance) == .published(2))
    if tolerance == 2 {
      #expect(try rig.run { texts(rig) == ["2 bad", "1 one", "2 bad"] })
      try rig.run(milliseconds: 300)
      #expect(texts(rig) == ["2 bad", "1 one", "2 bad"])
      return
    }
    #expect(try rig.run { texts(rig) == ["3 one", "3 one", "3 one"] })
    let newest = try #require(try history(rig).first)
    #expect(newest.head.cause == .reverted && newest.head.origin == 1)
    #expect(newest.head.message == "revision 2 refused by n1: not for me")
    #expect(try isTold(on: rig) { $0.acks.count == 3 })
  }

  @Test("What an emptied store has lost is given back, and goes on with the next number")
  func restores() throws {
    let redis = try RealRedis()
    let rig = try cluster(3, on: redis)
    #expect(try propose("two", on: rig) == .published(2))
    #expect(try rig.run { texts(rig) == ["2 two", "2 two", "2 two"] })
    _ = try send([Array("FLUSHALL".utf8)], on: rig)
    #expect(try isTold(on: rig) { $0.head.revision == 2 })
    #expect(try rig.run(milliseconds: 8000) { rig.leaders.count == 1 })
    #expect(try propose("three", on: rig, base: 2) == .published(3))
    #expect(try rig.run { texts(rig) == ["3 three", "3 three", "3 three"] })
  }

  @Test("A node that knows more than the store, which went on without it, has the numbers go on behind it")
  func renumbers() throws {
    let redis = try RealRedis()
    let rig = try cluster(3, on: redis)
    #expect(try propose("two", on: rig) == .published(2))
    #expect(try rig.run { texts(rig) == ["2 two", "2 two", "2 two"] })
    // The store is back where it was before, and the others with it: as after a failover, but for the leader's epoch.
    let leader = try #require(rig.leaders.first)
    let other = rig.units[(leader + 1) % 3]
    var lost = try #require(other.agent.revisions.running)
    let head = RevisionHead(
      revision: 5, epoch: lost.head.head.epoch - 1, body: lost.head.head.body, previous: .none, time: 1,
      cause: .applied,
      author: "ops", message: "")
    lost = RevisionCandidate(
      head: SignedHead(head, ClusterSecrets(secret: AgentRig.secret)), body: lost.body, bytes: lost.bytes)
    other.agent.revisions.resume(lost)
    #expect(try rig.run { texts(rig) == ["6 two", "6 two", "6 two"] })
    #expect(try history(rig).first?.head.cause == .restored)
  }

  @Test("A proposal outlives the leader that dies before it has decided")
  func outlivesLeaders() throws {
    let redis = try RealRedis()
    let rig = try cluster(3, on: redis)
    let leader = try #require(rig.leaders.first)
    rig.units[leader].isDriven = false
    #expect(try propose("two", on: rig, at: (leader + 1) % 3) == .published(2))
    #expect(try rig.run { texts(rig).filter { $0 == "2 two" }.count == 2 })
    rig.units[leader].isDriven = true
    #expect(try rig.run { texts(rig) == ["2 two", "2 two", "2 two"] })
  }

  @Test("A stage is for the first nodes by name, keeps others from applying, and goes to all once it was held")
  func stages() throws {
    let redis = try RealRedis()
    let rig = try cluster(3, on: redis)
    #expect(try rig.run { rig.units.allSatisfy { $0.agent.members.listed.count == 3 } })
    var draft = RevisionDraft(.apply(try body("two")), base: 1, author: "ops", message: "")
    (draft.stage, draft.holdMilliseconds) = (3, 1500)
    var outcome: RevisionOutcome?
    rig.units[0].agent.revisions.propose(draft) { outcome = $0 }
    try rig.run { outcome != nil }
    #expect(outcome == .refused("a stage must leave a node out: there are 3 nodes"))
    (draft.stage, outcome) = (1, nil)
    rig.units[0].agent.revisions.propose(draft) { outcome = $0 }
    #expect(try rig.run { texts(rig) == ["2 two", "1 one", "1 one"] })
    guard case .refused(let reason) = try propose("three", on: rig) else {
      Issue.record("something was applied over a stage")
      return
    }
    #expect(reason == "revision 2 is staged; wait for its end, or roll back to 1")
    #expect(try rig.run { texts(rig) == ["3 two", "3 two", "3 two"] })
    #expect(try history(rig).first?.head.cause == .promoted)
  }

  @Test("Of 1,100 revisions the last 1,000 are kept, and no body but theirs")
  func isBounded() throws {
    let redis = try RealRedis()
    let rig = try cluster(1, on: redis)
    for number in 2...1100 {
      guard try propose("text \(number)", on: rig) == .published(Int64(number)) else {
        Issue.record("revision \(number) was not published")
        return
      }
    }
    #expect(try send([Array("HLEN".utf8), key("history", rig)], on: rig)?.number == 1000)
    #expect(try send([Array("HLEN".utf8), key("bodies", rig)], on: rig)?.number == 1000)
    var oldest: [RevisionEntry]?
    rig.units[0].agent.revisions.history(from: 101, count: 5) { oldest = $0 }
    try rig.run { oldest != nil }
    #expect(oldest?.map(\.head.revision) == [101])
  }
}
