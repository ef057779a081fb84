import Core
import Foundation
import Net
import Testing

@testable import Cluster

@Suite("Redis link and a real server", .serialized)
struct RealRedisTests {
  private static let functionLibrary = RedisLibrary(
    name: "t_1",
    source: "#!lua name=t_1\nredis.register_function('bump', function(k) return redis.call('INCR', k[1]) end)",
    scripts: ["return redis.call('INCR', KEYS[1])"])

  @Test("Ten thousand commands over a unix socket are answered in order")
  func pipelines() throws {
    let redis = try RealRedis()
    let real = try RealLink(RedisServer(address: .socket(redis.socket), database: 3))
    #expect(try real.run { $0.ups == [1] })
    #expect(real.owner.link.identity.isPrimary && real.owner.link.identity.replicationID.count == 40)
    var sent: UInt64 = 0
    let isComplete = try real.run { owner in
      while sent < 10_000, owner.send(sent, "INCR", "n", within: 5_000_000_000) == .accepted { sent += 1 }
      return owner.outcomes.count == 10_000
    }
    #expect(isComplete && real.owner.outcomes == (0..<10_000).map { .reply($0, ":\($0 + 1)") })
  }

  @Test("An ACL user enters over TCP with the password, and nobody without; the client has its name")
  func accessControl() throws {
    let redis = try RealRedis(usesPort: true, "--user ops on >hush ~* &* +@all --user default off")
    let address = AddressText.socket(redis.tcp)
    let wrong = try RealLink(
      RedisServer(address: address, credentials: RedisCredentials(user: "ops", password: "hash")))
    #expect(try wrong.run { $0.downs.contains(.refused(.wrongCredentials)) } && wrong.owner.ups.isEmpty)
    let nobody = try RealLink(RedisServer(address: address))
    #expect(try nobody.run { $0.downs.contains(.refused(.unauthenticated)) } && nobody.owner.ups.isEmpty)
    let right = try RealLink(
      RedisServer(address: address, credentials: RedisCredentials(user: "ops", password: "hush")),
      RedisLinkSettings(clientName: "sluice-n1-0"))
    #expect(try right.run { $0.ups == [1] })
    right.owner.send(1, "CLIENT", "GETNAME", within: 1_000_000_000)
    #expect(try right.run { $0.outcomes == [.reply(1, "\"sluice-n1-0\"")] })
  }

  @Test("A function library is loaded, survives its removal, and every call runs once")
  func functions() throws {
    let redis = try RealRedis()
    let real = try RealLink(
      RedisServer(address: .socket(redis.socket)), RedisLinkSettings(clientName: "test", library: Self.functionLibrary))
    #expect(try real.run { $0.ups == [1] } && real.owner.link.identity.dialect == .functions)
    real.owner.send(100, "FUNCTION", "FLUSH", within: 1_000_000_000)
    for tag in 0..<50 as Range<UInt64> { real.owner.send(tag, "FCALL", "bump", "1", "n", within: 1_000_000_000) }
    #expect(try real.run { $0.outcomes.count == 51 })
    let values = real.owner.outcomes.compactMap { if case .reply(0..<50, let text) = $0 { text } else { nil } }
    #expect(values.sorted() == (1...50).map { ":\($0)" }.sorted())
  }

  @Test("A user who may not load functions gets scripts")
  func scripts() throws {
    let redis = try RealRedis("--user ops on >hush ~* &* +@all -function")
    let server = RedisServer(
      address: .socket(redis.socket), credentials: RedisCredentials(user: "ops", password: "hush"))
    let real = try RealLink(server, RedisLinkSettings(clientName: "test", library: Self.functionLibrary))
    #expect(try real.run { $0.ups == [1] } && real.owner.link.identity.dialect == .scripts)
    // SHA-1 of the library's only script.
    let digest = "61636018f4e6b5817b89791bbed242f93fa089e3"
    for round in 1...2 as ClosedRange<UInt64> {
      real.owner.send(round, "EVALSHA", digest, "1", "n", within: 1_000_000_000)
      real.owner.send(round + 10, "SCRIPT", "FLUSH", within: 1_000_000_000)
    }
    #expect(try real.run { $0.outcomes.count == 4 })
    let calls = Set(real.owner.said.filter { [.reply(1, ":1"), .reply(2, ":2")].contains($0) }.map { "\($0)" })
    #expect(calls.count == 2)
  }

  @Test("What is published is heard")
  func channels() throws {
    let redis = try RealRedis()
    var settings = RedisLinkSettings(clientName: "test")
    settings.channels = ["a", "b"]
    let listener = try RealLink(RedisServer(address: .socket(redis.socket)), settings)
    let speaker = try RealLink(RedisServer(address: .socket(redis.socket)))
    #expect(try listener.run { $0.ups == [1] } && speaker.run { $0.ups == [1] })
    speaker.owner.send(1, "PUBLISH", "b", "news", within: 1_000_000_000)
    #expect(try speaker.run { $0.outcomes == [.reply(1, ":1")] })
    #expect(try listener.run { $0.said.last == .message("[\"message\", \"b\", \"news\"]") })
  }

  @Test("A frozen server costs one deadline and is back as soon as it goes on")
  func frozen() throws {
    let redis = try RealRedis()
    let real = try RealLink(RedisServer(address: .socket(redis.socket)))
    #expect(try real.run { $0.ups == [1] })
    redis.freeze()
    defer { redis.thaw() }
    real.owner.send(1, "INCR", "n")
    #expect(try real.run { $0.said.contains(.silent) } && real.owner.outcomes == [.expired(1)])
    redis.thaw()
    #expect(try real.run { $0.said.contains(.late(1, ":1")) } && real.owner.ups == [1])
  }

  @Test("A killed server takes its commands along, and a new one is found within half a second of its start")
  func killed() throws {
    let redis = try RealRedis()
    let real = try RealLink(RedisServer(address: .socket(redis.socket)))
    #expect(try real.run { $0.ups == [1] })
    let before = real.owner.link.identity.replicationID
    redis.freeze()
    real.owner.send(1, "INCR", "n", within: 5_000_000_000)
    try real.run(milliseconds: 20)
    redis.kill()
    #expect(try real.run { $0.outcomes == [.lost(1, mayHaveRun: true)] })
    try real.run(milliseconds: 700)
    #expect(real.owner.send(2, "INCR", "n") == .down)
    try redis.start()
    #expect(try real.run { $0.ups == [1, 2] } && real.owner.link.identity.replicationID != before)
  }

  @Test("A replica is refused and left alone; promoted, it serves with another replication id")
  func replica() throws {
    let primary = try RealRedis(usesPort: true)
    let real = try RealLink(RedisServer(address: .socket(primary.socket)))
    #expect(try real.run { $0.ups == [1] })
    let before = real.owner.link.identity.replicationID
    real.owner.send(1, "REPLICAOF", "127.0.0.1", "1", within: 1_000_000_000)
    real.owner.send(2, "INCR", "n", within: 1_000_000_000)
    #expect(try real.run { $0.downs.contains(.notPrimary) })
    #expect(real.owner.outcomes.last == .reply(2, "-READONLY You can't write against a read only replica."))
    var settings = RedisLinkSettings(clientName: "test")
    settings.needsPrimary = false
    let other = try RealLink(RedisServer(address: .socket(primary.socket)), settings)
    #expect(try other.run { $0.ups == [1] } && !other.owner.link.identity.isPrimary)
    other.owner.send(3, "REPLICAOF", "NO", "ONE", within: 1_000_000_000)
    #expect(try other.run { $0.outcomes.count == 1 })
    #expect(try real.run { $0.ups == [1, 2] } && real.owner.link.identity.replicationID != before)
  }
}
