import Core
import Testing

@testable import Cluster

@Suite("LibrarySweep", .serialized)
struct LibrarySweepTests {
  @Test(
    "Only what our versions load is known by its name",
    arguments: [
      ("gwrl_12", true), ("gwcl_404323f1", true), ("gwcl_", false), ("gwcl_keep", false), ("gwcl_404323F1", false),
      ("gwrl_1_copy", false), ("gwxl_1", false), ("mygwrl_1", false), ("gwcl_0123456789abcdef0", false),
    ])
  func knowsOurs(name: String, isOurs: Bool) { #expect(LibrarySweep.isOurs(name) == isOurs) }

  /// A leader and a follower who look often, and a store with libraries of others.
  private func rig(on redis: RealRedis, _ names: [String]) throws -> AgentRig {
    let rig = try AgentRig(2, on: redis)
    for unit in rig.units { (unit.agent.libraries.pause, unit.agent.libraries.patience) = (20_000_000, 3_000_000_000) }
    #expect(try rig.run { rig.leaders.count == 1 && rig.units[0].agent.members.all.count == 2 })
    for name in names {
      let source = "#!lua name=\(name)\nredis.register_function('\(name)', function() return 1 end)"
      #expect(try ask(["FUNCTION", "LOAD", source], on: rig)?.text == name)
    }
    return rig
  }

  private func ask(_ words: [String], on rig: AgentRig) throws -> AgentReply? {
    var reply: AgentReply?
    rig.units[0].agent.store.send(words.map { Array($0.utf8) }) { reply = $0 }
    try rig.run { reply != nil }
    return reply
  }

  private func names(on rig: AgentRig) throws -> Set<String> {
    Set((try ask(["FUNCTION", "LIST"], on: rig)?.items ?? []).compactMap { $0["library_name"]?.text })
  }

  private func isGone(_ name: String, on rig: AgentRig) throws -> Bool {
    for _ in 0..<900 {
      if !(try names(on: rig).contains(name)) { return true }
      try rig.run(milliseconds: 10)
    }
    return false
  }

  @Test("What a member names, what is not ours and what runs stays; what nobody names goes after a while")
  func sweeps() throws {
    let redis = try RealRedis()
    let rig = try rig(on: redis, ["gwcl_00000001", "gwrl_7", "gwcl_keep", "mine"])
    rig.units[1].agent.members.contributors.append {
      $0.libraries = [LaneLibrary.current.name, AgreementLibrary.current.name, "gwrl_7"]
    }
    #expect(try isGone("gwcl_00000001", on: rig))
    try rig.run(milliseconds: 500)
    #expect(try names(on: rig).isSuperset(of: ["gwrl_7", "gwcl_keep", "mine", AgreementLibrary.current.name]))
    #expect(rig.units.contains { $0.remarks.contains { $0.contains("library gwcl_00000001") } })
    // Once its last member is of this version, the other one goes too.
    rig.units[1].agent.members.contributors.append {
      $0.libraries = [LaneLibrary.current.name, AgreementLibrary.current.name]
    }
    #expect(try isGone("gwrl_7", on: rig))
  }

  @Test("While another cluster works with the store, nothing is deleted")
  func sparesOthers() throws {
    let redis = try RealRedis()
    let rig = try rig(on: redis, ["gwcl_00000001"])
    var settings = RedisLinkSettings(clientName: "other")
    settings.channels = ["sluice:other:lanes"]
    let other = try RealLink(RedisServer(address: .socket(redis.socket)), settings)
    #expect(try other.run { !$0.ups.isEmpty })
    try rig.run(milliseconds: 4500)
    #expect(try names(on: rig).contains("gwcl_00000001"))
    other.owner.link.stop()
    #expect(try isGone("gwcl_00000001", on: rig))
  }
}
