import Core
import Foundation
import Net
import Testing

@testable import Cluster

/// T13 of the design: leaders that are stopped, that resign, whose epoch a failover loses, and clocks that are set.
@Suite("Leadership", .serialized)
struct AgentTests {
  private static let lease: Int64 = 1_000_000_000
  /// A takeover: the lease, and half a second.
  private static let bound: Int64 = lease + 500_000_000

  private func rig(_ count: Int, _ redis: RealRedis, storeLibrary: StoreLibrary = AgreementLibrary.current) throws
    -> AgentRig
  {
    try AgentRig(count, on: redis, lease: Self.lease, storeLibrary: storeLibrary)
  }

  /// Waits for another leader than `old`; returns how long that took, in nanoseconds.
  private func takeover(_ rig: AgentRig) throws -> Int64 {
    let began = Clock.monotonic()
    #expect(try rig.run { rig.leaders.count == 1 })
    return Clock.monotonic().nanoseconds(since: began)
  }

  private func expectRisingEpochs(_ rig: AgentRig) {
    for unit in rig.units { #expect(unit.epochs == unit.epochs.sorted(), "\(unit.epochs)") }
  }

  @Test("Without a store nobody leads, and every command is answered once, in a later turn")
  func noStore() throws {
    let redis = try RealRedis()
    redis.kill()
    let rig = try rig(1, redis)
    var answers: [AgentReply] = []
    rig.units[0].agent.store.call("roster", [String]()) { answers.append($0) }
    #expect(answers == [])
    try rig.run(milliseconds: 100)
    #expect(answers == [.failed(mayHaveRun: false)] && rig.leaders == [])
  }

  @Test(
    "A leader that was stopped for longer than its lease is replaced in time, and nothing that it writes takes effect")
  func stopped() throws {
    let redis = try RealRedis()
    let rig = try rig(3, redis)
    var refused = 0
    for _ in 0..<6 {
      let old = try #require(try rig.lead())
      let unit = rig.units[old]
      let epoch = try #require(unit.agent.leadership.fence(at: unit.clock.now()))
      unit.isDriven = false
      let passed = try takeover(rig)
      #expect(passed <= Self.bound, "\(passed) ns")
      // It wakes up, and before anything else it believes to lead no more.
      #expect(!unit.isLeader && unit.agent.leadership.fence(at: unit.clock.now()) == nil)
      unit.isDriven = true
      let answers = [
        try rig.call(old, "list", unit.agent.identity.id, "\(epoch)", "0"),
        try rig.call(old, "renew", unit.agent.identity.id, "\(epoch)", "1000000"),
        try rig.call(old, "resign", unit.agent.identity.id, "\(epoch)"),
      ]
      for case .refused(code: "FENCED", _)? in answers { refused += 1 }
    }
    #expect(refused == 18)
    expectRisingEpochs(rig)
  }

  @Test("A leader whose own clock says that its lease is over does not act, whatever the store would say")
  func selfFence() throws {
    let rig = try rig(2, try RealRedis())
    let leader = rig.units[try #require(try rig.lead())]
    leader.clock.shift += Self.lease
    #expect(leader.agent.leadership.fence(at: leader.clock.now()) == nil)
    #expect(try rig.lead() != nil)
    expectRisingEpochs(rig)
  }

  @Test("Whoever resigns is followed in a round trip, and stands no more")
  func resigned() throws {
    let rig = try rig(3, try RealRedis())
    for left in [3, 2] {
      let old = try #require(try rig.lead())
      rig.units[old].agent.drain()
      let passed = try takeover(rig)
      #expect(passed <= 250_000_000, "\(passed) ns with \(left)")
    }
    let last = try #require(try rig.lead())
    rig.units[last].agent.stop()
    #expect(try rig.run { rig.units[last].agent.isStopped })
    #expect(try !rig.run(milliseconds: 300) { !rig.leaders.isEmpty })
  }

  @Test(
    "An epoch that a failover has lost comes back higher", arguments: ["DEL {}:lead", "HSET {}:lead epoch 7 owner f"])
  func lostEpoch(loss: String) throws {
    let rig = try rig(3, try RealRedis())
    let epoch = rig.units[try #require(try rig.lead())].agent.leadership.epoch
    _ = try rig.send(loss)
    #expect(try rig.run { rig.leaders.count == 1 && rig.units.allSatisfy { $0.agent.leadership.epoch > epoch } })
    #expect(try rig.lead() != nil)
    expectRisingEpochs(rig)
  }

  @Test("Who is elected on the way out gives the lead back")
  func electedTooLate() throws {
    let rig = try rig(1, try RealRedis())
    // Connected, and asked for the lead: the answer comes in a later turn.
    #expect(try rig.run { rig.units[0].agent.store.isUp })
    #expect(rig.leaders == [])
    rig.units[0].agent.drain()
    try rig.run(milliseconds: 100)
    #expect(try rig.send("HGET {}:lead owner") == .bytes([]) && rig.leaders == [])
  }

  @Test("A node that remembers a higher epoch from an earlier life leads above it, and others follow")
  func remembered() throws {
    let redis = try RealRedis()
    let rig = try rig(2, redis)
    let epoch = rig.units[try #require(try rig.lead())].agent.leadership.epoch
    let mark = try #require(EpochMark(epoch: epoch + 1_000_000, owner: "ffffffffffffffff"))
    var kept: [EpochMark] = []
    let unit = try rig.add(.single(RedisServer(address: .socket(redis.socket))), mark: mark)
    unit.agent.keepMarks { kept.append($0) }
    #expect(try rig.run { rig.units.allSatisfy { $0.agent.leadership.epoch == mark.epoch + 1 } })
    #expect(try rig.lead() == 2 && kept.map(\.epoch) == [mark.epoch + 1])
    expectRisingEpochs(rig)
  }

  @Test("Two leaders in one epoch are an alarm, and a third epoch follows")
  func rivals() throws {
    let rig = try rig(3, try RealRedis())
    let old = try #require(try rig.lead())
    // Nobody's first election is still under way.
    #expect(try rig.run { rig.units.allSatisfy { $0.agent.members.listedCount == 3 } })
    let epoch = rig.units[old].agent.leadership.epoch
    rig.units[old].isDriven = false
    let others = rig.units.filter(\.isDriven)
    _ = try rig.send("HSET {}:lead owner ffffffffffffffff expires 9000000000000000", from: others[0])
    others[0].agent.members.noteNews()
    #expect(try rig.run { others.allSatisfy { $0.agent.leadership.epoch > epoch } })
    #expect(others.contains { $0.remarks.contains { $0.contains("two nodes lead") } })
    rig.units[old].isDriven = true
    #expect(try rig.lead() != nil)
    expectRisingEpochs(rig)
  }

  @Test("The store's clock may be set by an hour: no takeover takes longer, and epochs grow", arguments: [3600, -3600])
  func clock(seconds: Int64) throws {
    let shifted = StoreLibrary(
      name: AgreementLibrary.current.name,
      source: AgreementLibrary.current.scriptSource.replacing(
        /local function wall\(\)[^\n]*/,
        with: """
          local function wall()
            local time = redis.call('TIME')
            return (time[1] + tonumber(redis.call('GET', 'offset') or 0)) * 1000000 + time[2]
          end
          """))
    let rig = try rig(3, try RealRedis(), storeLibrary: shifted)
    #expect(try rig.lead() != nil)
    for step in [seconds, 0] {
      _ = try rig.send("SET offset \(step)")
      let old = try #require(try rig.lead())
      rig.units[old].isDriven = false
      let passed = try takeover(rig)
      #expect(passed <= Self.bound, "\(passed) ns")
      rig.units[old].isDriven = true
    }
    #expect(try rig.lead() != nil)
    expectRisingEpochs(rig)
  }

  @Test("A leader on a primary that was not the one takes no lower epoch than others had elsewhere")
  func twoPrimaries() throws {
    let (old, new) = (try RealRedis(usesPort: true), try RealRedis())
    let rig = try rig(1, old)
    #expect(try rig.lead() == 0)
    // The others have seen its epoch, and are with a primary that lacks it.
    let epoch = rig.units[0].agent.leadership.epoch
    for _ in 0..<2 { try rig.add(.single(RedisServer(address: .socket(new.socket)))) }
    let others = [rig.units[1], rig.units[2]]
    #expect(
      try rig.run {
        others.contains { $0.isLeader } && others.allSatisfy { !$0.agent.leadership.leader.isEmpty }
      })
    let next = others[0].agent.leadership.epoch
    #expect(next >= epoch && others[0].epochs == others[0].epochs.sorted())
    // The former primary comes back with the data of the new one.
    #expect(rig.units[0].isLeader)
    _ = try rig.send("HSET {}:lead owner \(others[0].agent.leadership.leader) epoch \(next) serial 1 expires 1")
    #expect(try rig.run { rig.units[0].agent.leadership.maxEpochSeen >= next })
    expectRisingEpochs(rig)
  }
}
