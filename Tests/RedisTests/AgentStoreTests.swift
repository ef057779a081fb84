import Core
import Foundation
import Net
import Testing

@testable import Cluster

@Suite("Agents on every kind of Redis", .serialized)
struct AgentStoreTests {
  /// Runs until one leads and all have its list of all.
  private func agree(_ rig: AgentRig, milliseconds: Int64 = 5000) throws -> Bool {
    guard try rig.lead(milliseconds: milliseconds) != nil else { return false }
    return try rig.run(milliseconds: milliseconds) {
      rig.units.allSatisfy { $0.agent.members.listedCount == rig.units.count }
    }
  }

  @Test("Where Functions are refused, scripts do the same")
  func scripts() throws {
    let redis = try RealRedis("--user default on nopass ~* &* +@all -function -fcall")
    let rig = try AgentRig(3, on: redis)
    #expect(try agree(rig))
    #expect(
      try rig.call(0, "renew", "x", "1", "1") == .refused(code: "FENCED", reason: "FENCED the lease of epoch 1 is over")
    )
    #expect(try rig.call(0, "nothing")?.code == "UNKNOWN" && rig.call(0, "leave")?.code == "MALFORMED")
  }

  private func redis(granting rights: [String]) throws -> RealRedis {
    try RealRedis(
      "--user default reset on nopass ~sluice:t:* &sluice:t:* " + rights.map { "+\($0)" }.joined(separator: " "))
  }

  @Test("A user who lacks a right is told which, once; with what the check of the store grants all goes well")
  func rights() throws {
    let lacking = try AgentRig(1, on: redis(granting: Right.granted.filter { $0 != "hexists" }))
    #expect(try lacking.run { !lacking.units[0].remarks.isEmpty })
    try lacking.run(milliseconds: 1200)
    #expect(lacking.units[0].remarks.count == 1)
    let text = lacking.units[0].remarks[0]
    #expect(text.contains("the store refuses") && text.contains("ACL SETUSER default ~sluice:t:* "), "\(text)")
    let rig = try AgentRig(2, on: redis(granting: Right.granted))
    #expect(try agree(rig))
    #expect(rig.units.allSatisfy { $0.remarks == [] })
  }

  @Test("A library that was flushed is loaded again")
  func flushed() throws {
    let rig = try AgentRig(2, on: RealRedis())
    #expect(try agree(rig))
    _ = try rig.send("FUNCTION FLUSH")
    #expect(try rig.call(0, "roster")?.items.count == 8)
  }

  @Test("A store that holds another version of the library serves both")
  func versions() throws {
    let redis = try RealRedis()
    let old = AgreementLibrary.made(
      of:
        "local function run() return redis.error_reply('OLD version') end\n" + """
          if redis.register_function then redis.register_function('gwcl_NAME', run) else return run() end
          """)
    #expect(old.name != AgreementLibrary.current.name)
    let former = try AgentRig(1, on: redis, storeLibrary: old)
    #expect(try former.call(0, "roster")?.code == "OLD")
    let rig = try AgentRig(2, on: redis)
    #expect(try agree(rig))
    #expect(try former.call(0, "roster")?.code == "OLD")
  }

  @Test("A Redis that stood still for longer than a lease: one leads again, and nobody was missed")
  func frozen() throws {
    let redis = try RealRedis()
    let rig = try AgentRig(3, on: redis)
    #expect(try agree(rig))
    let generation = rig.units[0].agent.members.generation
    redis.freeze()
    try rig.run(milliseconds: 1500)
    #expect(rig.leaders == [])
    redis.thaw()
    #expect(try rig.lead() != nil)
    #expect(rig.units.allSatisfy { $0.agent.members.generation == generation })
  }

  @Test(
    "A member that is silent for five seconds is listed no more, and is again when it comes back; one that leaves goes at once"
  )
  func silent() throws {
    let rig = try AgentRig(3, on: RealRedis())
    #expect(try agree(rig))
    rig.units[2].isDriven = false
    let began = Clock.monotonic()
    #expect(try rig.run(milliseconds: 9000) { rig.units[..<2].allSatisfy { $0.agent.members.listedCount == 2 } })
    let passed = Clock.monotonic().nanoseconds(since: began)
    #expect(4_000_000_000...7_000_000_000 ~= passed, "\(passed) ns")
    rig.units[2].isDriven = true
    #expect(try rig.run { rig.units.allSatisfy { $0.agent.members.listedCount == 3 } })
    rig.units[2].agent.stop()
    #expect(try rig.run(milliseconds: 1000) { rig.units[..<2].allSatisfy { $0.agent.members.listedCount == 2 } })
  }

  @Test("What a node says of itself reaches the others at once when it has changed")
  func records() throws {
    let rig = try AgentRig(2, on: RealRedis())
    #expect(try agree(rig))
    var revision: Int64 = 0
    rig.units[0].agent.contribute { $0.revision = revision }
    revision = 41
    rig.units[0].agent.members.noteNews()
    try rig.run(milliseconds: 200)
    var isRead = false
    rig.units[1].agent.members.refresh { isRead = $0 }
    #expect(try rig.run { isRead })
    #expect(rig.units[1].agent.members.all.first?.record.revision == 41)
    #expect(rig.units[1].agent.members.all.map(\.record.identity.name) == ["n0", "n1"])
  }

  @Test("On a Redis Cluster the agents find the server of their keys")
  func cluster() throws {
    let servers = try (0..<2).map { _ in try RealRedis(usesPort: true, "--cluster-enabled yes") }
    for (server, slots) in zip(servers, ["0 8191", "8192 16383"]) {
      let words = ["CLUSTER", "ADDSLOTSRANGE"] + slots.split(separator: " ").map(String.init)
      #expect(try FailoverGroup.poll(server.tcp, words[0], words[1], words[2], words[3]) { $0 == "+OK" })
    }
    let (address, port) = ("127.0.0.1", "\(servers[1].port)")
    #expect(try FailoverGroup.poll(servers[0].tcp, "CLUSTER", "MEET", address, port) { $0 == "+OK" })
    let rig = try AgentRig(2, .cluster(RedisSeeds(addresses: [.socket(servers[0].tcp)])))
    #expect(try agree(rig, milliseconds: 15_000))
  }

  @Test("Behind sentinels the agents go on with the next primary, and epochs do not fall")
  func sentinel() throws {
    let group = try FailoverGroup(lag: 0)
    let rig = try AgentRig(3, group.redisStore)
    #expect(try agree(rig))
    let epoch = rig.units[0].agent.leadership.epoch
    group.primary.kill()
    #expect(try rig.run { rig.units.allSatisfy { !$0.agent.store.isUp } })
    #expect(try rig.run(milliseconds: 30_000) { rig.units.allSatisfy { $0.agent.store.isUp } })
    #expect(try agree(rig))
    for unit in rig.units {
      #expect(unit.agent.leadership.epoch >= epoch && unit.epochs == unit.epochs.sorted())
    }
  }
}

extension AgentReply {
  /// The code of a refusal; nil for everything else.
  var code: String? { if case .refused(let code, _) = self { code } else { nil } }
}
