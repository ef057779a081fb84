import Core
import Foundation
import Net
import Pipeline
import Testing

@testable import Cluster

@Suite("Shared quota on a Redis Cluster", .serialized)
struct SharedQuotaClusterTests {
  private let hour: Int64 = 3_600_000_000

  @Test("Counters lie on both servers of a cluster, each limit is exact, and a lane that moves is followed")
  func cluster() throws {
    let servers = try (0..<2).map { _ in try RealRedis(usesPort: true, "--cluster-enabled yes") }
    let links = try servers.map { try RealLink(RedisServer(address: .socket($0.tcp))) }
    for link in links { #expect(try link.run { $0.ups == [1] }) }
    var tag: UInt64 = 0
    @discardableResult
    func order(_ index: Int, _ words: String) throws -> String {
      tag += 1
      let number = tag
      _ = links[index].owner.link.send(tag: number, within: 5_000_000_000) {
        RedisCommand.append(words.split(separator: " ").map(String.init), to: $0)
      }
      try links[index].run { $0.outcomes.contains { $0.settledTag == number } }
      if case .reply(_, let text)? = links[index].owner.outcomes.last { return text }
      return ""
    }
    try order(0, "CLUSTER ADDSLOTSRANGE 0 8191")
    try order(1, "CLUSTER ADDSLOTSRANGE 8192 16383")
    try order(0, "CLUSTER MEET 127.0.0.1 \(servers[1].port)")
    let rig = try QuotaRig(2, RedisServer(address: .socket(servers[0].tcp))) { settings in
      settings.store = .cluster(RedisSeeds(addresses: [.socket(servers[0].tcp)]))
    }
    let levels = (0..<16).map { number in
      level(.window(limit: 20, lengthMicroseconds: hour), "\(number)", owner: UInt16(number))
    }
    // Until the servers agree they answer CLUSTERDOWN: a limit that matters to nobody finds out.
    for number in 0..<16 {
      let probe = question(level(.window(limit: .max, lengthMicroseconds: hour), "p\(number)", owner: UInt16(number)))
      for node in 0..<2 {
        let end = Clock.monotonic().advanced(byNanoseconds: 20_000_000_000)
        while try rig.decide(node, probe).source != .exact && Clock.monotonic() < end { try rig.run(milliseconds: 20) }
      }
    }
    var admitted = [Int](repeating: 0, count: 16)
    func spend() throws {
      for round in 0..<30 {
        for number in 0..<16 where try rig.decide(round % 2, question(levels[number])).decision == .admitted {
          admitted[number] += 1
        }
      }
    }
    for number in 0..<16 {
      for _ in 0..<10 where try rig.decide(0, question(levels[number])).decision == .admitted { admitted[number] += 1 }
    }
    #expect(rig.quotas[0].primaries.filter { $0.caller != nil }.count == 2)
    // The lane with its counters moves to the other server.
    let lane = rig.quotas[0].lanes.indices.first { rig.quotas[0].lanes[$0].slot < 8192 } ?? 0
    try move(lane, rig, servers, order)
    try spend()
    #expect(admitted == [Int](repeating: 20, count: 16))
  }

  /// Moves a lane's slot and all its keys from the first server to the second, as a resharding does.
  private func move(
    _ lane: Int, _ rig: QuotaRig, _ servers: [RealRedis], _ order: (Int, String) throws -> String
  ) throws {
    let slot = rig.quotas[0].lanes[lane].slot
    let names = try (0..<2).map { String(try order($0, "CLUSTER MYID").dropFirst().dropLast()) }
    _ = try order(1, "CLUSTER SETSLOT \(slot) IMPORTING \(names[0])")
    _ = try order(0, "CLUSTER SETSLOT \(slot) MIGRATING \(names[1])")
    let keys = try order(0, "CLUSTER GETKEYSINSLOT \(slot) 100").split(whereSeparator: { "[], \"".contains($0) })
    #expect(!keys.isEmpty)
    for key in keys { #expect(try order(0, "MIGRATE 127.0.0.1 \(servers[1].port) \(key) 0 5000") == "+OK") }
    for index in [1, 0] { _ = try order(index, "CLUSTER SETSLOT \(slot) NODE \(names[1])") }
  }
}
