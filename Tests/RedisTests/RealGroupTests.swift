import Core
import Foundation
import Testing

@testable import Cluster

/// Sentinel and Cluster as they really are.
@Suite("Redis client and real groups", .serialized)
struct RealGroupTests {
  @Test(
    "A killed primary behind three sentinels is replaced, and writes go on")
  func sentinels() throws {
    let primary = try RealRedis(usesPort: true)
    let replica = try RealRedis(usesPort: true, "--replicaof 127.0.0.1 \(primary.port)")
    // A sentinel looks for replicas when it starts, and then every ten seconds: let it find one.
    #expect(try FailoverGroup.poll(primary.socket, "INFO", "replication") { $0.contains("state=online") })
    let sentinels = try (0..<3).map { _ in try RealRedis(watching: primary.port) }
    let addresses = sentinels.map { AddressText.socket($0.tcp) }
    let real = try RealClient(.sentinel(RedisSentinels(name: "m", addresses: addresses)))
    #expect(try real.run { $0.client.isUp(0) })
    // The replica must be in step, and known to all sentinels, before anything can fail over.
    let isReady = try FailoverGroup.poll(sentinels[0].tcp, "SENTINEL", "MASTER", "m") { text in
      text.contains("\"num-slaves\", \"1\"") && text.contains("\"num-other-sentinels\", \"2\"")
    }
    #expect(isReady)
    let before = try #require(real.owner.client.identity(of: 0)?.replicationID)
    primary.kill()
    #expect(try real.run { !$0.client.isUp(0) })
    #expect(try real.run(within: 20) { $0.client.isUp(0) })
    #expect(real.owner.client.identity(of: 0)?.replicationID != before)
    real.owner.increment(1, "n")
    #expect(try real.run { $0.outcomes == [.reply(1, ":1")] })
    withExtendedLifetime(replica) {}
  }

  @Test("Two nodes of a real cluster share the slots, and a slot that moves is followed")
  func cluster() throws {
    let nodes = try (0..<2).map { _ in try RealRedis(usesPort: true, "--cluster-enabled yes") }
    let links = try nodes.map { try RealLink(RedisServer(address: .socket($0.tcp)), anyRole) }
    func command(_ index: Int, _ tag: UInt64, _ words: [String]) throws -> String {
      _ = links[index].owner.link.send(tag: tag, within: 5_000_000_000) { RedisCommand.append(words, to: $0) }
      try links[index].run { $0.outcomes.contains { $0.settledTag == tag } }
      if case .reply(_, let text)? = links[index].owner.outcomes.last { return text }
      return ""
    }
    for link in links { #expect(try link.run { $0.ups == [1] }) }
    #expect(try command(0, 1, ["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]) == "+OK")
    #expect(try command(1, 1, ["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]) == "+OK")
    #expect(try command(0, 2, ["CLUSTER", "MEET", "127.0.0.1", "\(nodes[1].port)"]) == "+OK")
    let real = try RealClient(.cluster(RedisSeeds(addresses: [.socket(nodes[0].tcp)])))
    var tag: UInt64 = 0
    // Until the nodes agree, they answer CLUSTERDOWN.
    let isAgreed = try real.run(within: 20) { owner in
      if owner.outcomes.count == tag, owner.increment(tag + 1, "foo") == .accepted { tag += 1 }
      if case .reply(_, let text)? = owner.outcomes.last { return text.hasPrefix(":") }
      return false
    }
    #expect(isAgreed)
    let target = String(try command(0, 3, ["CLUSTER", "MYID"]).dropFirst().dropLast())
    #expect(try command(1, 4, ["DEL", "foo"]) == ":1")
    let slot = "\(HashSlot.of("foo"))"
    for (index, number) in [(0, 5), (1, 5)] as [(Int, UInt64)] {
      #expect(try command(index, number, ["CLUSTER", "SETSLOT", slot, "NODE", target]) == "+OK")
    }
    #expect(real.owner.increment(tag + 1, "foo") == .accepted)
    #expect(try real.run { $0.outcomes.last == .reply(tag + 1, ":1") })
    #expect(real.owner.client.primary(of: HashSlot.of("foo")) == real.owner.client.primary(of: 0))
  }

  private var anyRole: RedisLinkSettings {
    var settings = RedisLinkSettings(clientName: "test")
    settings.needsPrimary = false
    return settings
  }
}
