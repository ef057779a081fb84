import Core
import Testing

@testable import Cluster

/// A disk that a test holds in its hands.
private final class HeldShelf: RevisionShelf, @unchecked Sendable {
  // All of it happens on the test's thread.
  var files: [(name: String, bytes: [UInt8])] = []
  /// What is wrong with the disk; nil for nothing.
  var fault: String?
  /// Whether the disk answers.
  var answers = true
  private var waiting: [@Sendable (String?) -> Void] = []

  var waitingCount: Int { waiting.count }

  func load() -> [(name: String, bytes: [UInt8])] { files }

  func keep(_ bytes: [UInt8], revision: Int64, done: @escaping @Sendable (String?) -> Void) {
    waiting.append { [self] fault in
      if fault == nil { files.append(("\(revision)", bytes)) }
      done(fault)
    }
    if answers { settle() }
  }

  func settle() {
    while !waiting.isEmpty { waiting.removeFirst()(fault) }
  }
}

/// How a shelf reaches the keeper; on one thread.
private final class Reach: @unchecked Sendable {
  let keeper: RevisionKeeper
  init(_ keeper: RevisionKeeper) { self.keeper = keeper }
}

@Suite("RevisionKeeper and the disk", .serialized)
struct RevisionKeepingTests {
  /// Two nodes under revision 1, of which the second one's disk is held.
  private func pair(on redis: RealRedis) throws -> (AgentRig, HeldShelf) {
    let rig = try AgentRig(2, on: redis)
    let shelf = HeldShelf()
    let keeper = rig.units[1].agent.revisions
    keeper.shelf = shelf
    let reach = Reach(keeper)
    keeper.deliver = { action in action(reach.keeper) }
    rig.units[1].take = { keeper, candidate in keeper.keep(candidate) }
    for unit in rig.units {
      unit.agent.revisions.seed = RevisionBody(text: Array("one".utf8), values: [:])
    }
    #expect(try rig.run { self.running(rig) == [1, 1] })
    return (rig, shelf)
  }

  private func running(_ rig: AgentRig) -> [Int64] {
    rig.units.map { $0.agent.revisions.running?.head.head.revision ?? 0 }
  }

  private func apply(_ text: String, on rig: AgentRig) throws {
    let body = try #require(RevisionBody(text: Array(text.utf8), values: [:]))
    var outcome: RevisionOutcome?
    let draft = RevisionDraft(.apply(body), base: nil, author: "ops", message: "")
    rig.units[0].agent.revisions.propose(draft) { outcome = $0 }
    try rig.run { outcome != nil }
  }

  /// What the second node says of the newest revision, once it says something.
  private func ack(on rig: AgentRig) throws -> RevisionAck? {
    for _ in 0..<200 {
      var entries: [RevisionEntry]?
      rig.units[0].agent.revisions.history { entries = $0 }
      try rig.run { entries != nil }
      if let ack = entries?.first?.acks.first(where: { $0.node == rig.units[1].agent.identity.name }),
        ack.revision == entries?.first?.head.revision
      {
        return ack
      }
      try rig.run(milliseconds: 10)
    }
    return nil
  }

  @Test("What is not on the disk yet is not in force, and nothing is said of it")
  func waitsForTheDisk() throws {
    let redis = try RealRedis()
    let (rig, shelf) = try pair(on: redis)
    shelf.answers = false
    try apply("two", on: rig)
    #expect(try rig.run { running(rig)[0] == 2 })
    try rig.run(milliseconds: 200)
    #expect(running(rig) == [2, 1])
    shelf.settle()
    #expect(shelf.files.map(\.name) == ["1", "2"])
    #expect(try rig.run { running(rig) == [2, 2] })
    #expect(try ack(on: rig)?.reason == "")
  }

  @Test("The disk is given one at a time, and of those that come meanwhile the newest alone")
  func writesOneAtATime() throws {
    let redis = try RealRedis()
    let (rig, shelf) = try pair(on: redis)
    shelf.answers = false
    for text in ["two", "three", "four"] { try apply(text, on: rig) }
    #expect(try rig.run { rig.units[1].agent.revisions.filed?.head.revision == 4 })
    #expect(shelf.waitingCount == 1)
    shelf.settle()
    #expect(shelf.files.map(\.name) == ["1", "2", "4"])
    #expect(try rig.run { running(rig) == [4, 4] })
    #expect(try ack(on: rig)?.reason == "")
  }

  @Test("A full disk keeps no node from following, and its ack and its sign of life say so until it has room again")
  func goesOnWithoutRoom() throws {
    let redis = try RealRedis()
    let (rig, shelf) = try pair(on: redis)
    shelf.fault = "/state: the disk is full"
    try apply("two", on: rig)
    #expect(try rig.run { running(rig) == [2, 2] })
    let said = try #require(try ack(on: rig))
    #expect(said.state == .active && said.reason == "not kept over a restart: /state: the disk is full")
    #expect(try rig.run { !rig.units[1].agent.members.own.isKept })
    shelf.fault = nil
    // The body is the same: nothing is compiled, but the head is new.
    var outcome: RevisionOutcome?
    let draft = RevisionDraft(.rollBack(to: 1), base: nil, author: "ops", message: "")
    rig.units[0].agent.revisions.propose(draft) { outcome = $0 }
    #expect(try rig.run { running(rig) == [3, 3] })
    #expect(outcome == .published(3))
    #expect(try ack(on: rig)?.reason == "")
    #expect(try rig.run { rig.units[1].agent.members.own.isKept })
  }

  @Test("A disk that does not answer is waited for two seconds, not longer")
  func goesOnWithoutAnAnswer() throws {
    let redis = try RealRedis()
    let (rig, shelf) = try pair(on: redis)
    shelf.answers = false
    try apply("two", on: rig)
    try rig.run(milliseconds: 100)
    #expect(running(rig) == [2, 1])
    rig.units[1].clock.shift += RevisionKeeper.diskPatience
    #expect(try rig.run { running(rig) == [2, 2] })
    #expect(try ack(on: rig)?.reason.contains("the disk has not answered") == true)
    // What it says later changes nothing.
    shelf.settle()
    try rig.run(milliseconds: 50)
    #expect(running(rig) == [2, 2])
  }
}
