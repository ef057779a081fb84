import Core
import Testing

@testable import Cluster

@Suite("Checks of a store", .serialized)
struct StoreCheckTests {
  private let check = StoreCheck(cluster: "c", user: "u")

  /// What a server's replies to all questions mean.
  private func judge(_ redis: RedisServer) throws -> [StoreRemark] {
    let replies = try redis.send(check.commands.map { RedisServer.command($0.map { Array($0.utf8) }) })
    return check.judge(replies.map(Self.reply))
  }

  private static func reply(_ answer: RedisServer.Answer) -> StoreReply {
    switch answer {
    case .bytes(let bytes): .text(String(decoding: bytes, as: UTF8.self))
    case .status(let text): .text(text)
    case .list(let list): .list(list.map { String(decoding: $0.bytes, as: UTF8.self) })
    case .error(let text): .refused(RedisError(RawSpan(Array(text.utf8))))
    case .number, .nothing: .other
    }
  }

  /// A server as it is set up best, an append-only file included.
  private func server() throws -> RedisServer {
    let redis = try RedisServer()
    try redis.ask("CONFIG", "SET", "lazyfree-lazy-expire", "yes")
    try redis.ask("CONFIG", "SET", "appendonly", "yes")
    return redis
  }

  /// Goes on as a user with these rights.
  private func enter(_ redis: RedisServer, _ rights: String...) throws {
    let words = ["ACL", "SETUSER", "u", "on", ">p", "~sluice:c:*", "&sluice:c:*"] + rights
    _ = try redis.send([RedisServer.command(words.map { Array($0.utf8) })])
    try redis.ask("AUTH", "u", "p")
  }

  private func topics(_ remarks: [StoreRemark]) -> [StoreRemark.Topic] { remarks.map(\.topic) }

  @Test("Of a Redis that is set up well there is nothing to say, and asking leaves nothing behind")
  func good() throws {
    let redis = try server()
    #expect(try judge(redis) == [])
    #expect(try redis.ask("DBSIZE").number == 0)
    let errors = try redis.send([RedisServer.command(["FUNCTION", "LIST"].map { Array($0.utf8) })])
    #expect(errors == [.list([])])
  }

  @Test("What a default Redis costs is said, and none of it makes limits wrong")
  func standard() throws {
    let redis = try RedisServer()
    try redis.ask("CONFIG", "SET", "hash-max-listpack-entries", "512")
    let remarks = try judge(redis)
    #expect(topics(remarks) == [.listpacks, .expiry, .durability])
    #expect(remarks[0].text.contains("is 512") && remarks[0].text.contains("3.5 µs"))
    #expect(remarks[0].text.hasSuffix("CONFIG SET hash-max-listpack-entries 64"))
    #expect(remarks.allSatisfy { !$0.isViolation })
  }

  @Test("Eviction of counters is a violation where there is a bound of memory, and a warning without")
  func eviction() throws {
    let redis = try server()
    for policy in ["allkeys-lru", "volatile-ttl"] {
      try redis.ask("CONFIG", "SET", "maxmemory-policy", policy)
      try redis.ask("CONFIG", "SET", "maxmemory", "0")
      var remarks = try judge(redis)
      #expect(topics(remarks) == [.eviction] && !remarks[0].isViolation)
      try redis.ask("CONFIG", "SET", "maxmemory", "64mb")
      remarks = try judge(redis)
      #expect(topics(remarks) == [.eviction] && remarks[0].isViolation)
      #expect(remarks[0].text.contains(policy) && remarks[0].text.contains("64 MiB"))
    }
    try redis.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    #expect(try judge(redis) == [])
    try redis.ask("CONFIG", "SET", "maxmemory", "1mb")
    #expect(try topics(judge(redis)) == [.memory])
  }

  @Test("The rights that are advised are enough")
  func enough() throws {
    let redis = try server()
    try redis.ask("FUNCTION", "LOAD", LaneLibrary.current.functionSource)
    let words = ["ACL", "SETUSER", "u", "on", ">p", "~sluice:c:*", "&sluice:c:*"] + Right.granted.map { "+\($0)" }
    let granted = try redis.send([RedisServer.command(words.map { Array($0.utf8) })])
    #expect(granted == [.status("OK")])
    try redis.ask("AUTH", "u", "p")
    #expect(try judge(redis) == [])
    var beat = MemberBeat(cluster: "c", node: 1, participants: 1, name: "n")
    let buffer = ByteBuffer()
    beat.encode(for: LaneRig.caller(), clock: 0, into: buffer)
    #expect(try redis.send([(0..<buffer.count).map { buffer[$0] }])[0].bytes.count == 49)
  }

  @Test("What a user is granted is all that the libraries call")
  func complete() {
    for library in [LaneLibrary.current, AgreementLibrary.current] {
      let calls = library.scriptSource.matches(of: /redis\.call\('([A-Z]+)'/).map { $0.output.1.lowercased() }
      #expect(calls.count > 10 && Set(calls).subtracting(Right.granted) == [])
    }
  }

  @Test("A user without Functions costs round trips; without scripts either nothing can be decided")
  func functions() throws {
    let redis = try server()
    try enter(redis, "+@all", "-function")
    var remarks = try judge(redis)
    #expect(topics(remarks) == [.rights] && !remarks[0].isViolation)
    try redis.ask("ACL", "SETUSER", "u", "-evalsha")
    remarks = try judge(redis)
    #expect(topics(remarks) == [.rights] && remarks[0].isViolation)
    #expect(remarks[0].text.contains("ACL SETUSER u ~sluice:c:* &sluice:c:* +fcall"))
  }

  @Test("Missing commands and keys are named, and so is a missing channel")
  func commands() throws {
    let redis = try server()
    try enter(redis, "+@all", "-hset", "-pexpireat", "-publish")
    let remarks = try judge(redis)
    #expect(topics(remarks) == [.rights, .rights] && remarks.allSatisfy(\.isViolation))
    #expect(remarks[0].text.hasPrefix("the user may not run hset, pexpireat on keys sluice:c:*"))
    #expect(remarks[1].text.contains("PUBLISH to sluice:c:lanes"))
    let other = try server()
    try enter(other, "+@all", "resetkeys", "~other:*", "resetchannels")
    #expect(try judge(other).filter(\.isViolation).count == 2)
  }

  @Test("What CONFIG hides is to be checked by hand; eviction is found all the same")
  func hidden() throws {
    let redis = try server()
    try redis.ask("CONFIG", "SET", "maxmemory", "64mb")
    try redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    try enter(redis, "+@all", "-config")
    let remarks = try judge(redis)
    #expect(topics(remarks) == [.eviction, .unknown] && remarks[0].isViolation && !remarks[1].isViolation)
    #expect(remarks[1].text.contains("CONFIG GET is refused"))
    #expect(remarks[1].text.contains("hash-max-listpack-entries (64), lazyfree-lazy-expire (yes); see"))
  }

  @Test(
    "Versions before 6.2 are a violation, later ones not, with the names of their time",
    arguments: [("6.0.16", true), ("5.0.3", true), ("6.2.7", false), ("7.2.4", false), ("8.0.0", false)])
  func versions(version: String, isOld: Bool) {
    let names = version < "7" ? ["hash-max-ziplist-entries", "512"] : ["hash-max-listpack-entries", "64"]
    let isBefore7 = version < "7"
    let replies: [StoreReply] = [
      .text("# Server\r\nredis_version:\(version)\r\n"),
      .text("used_memory:1000\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"),
      .text("role:master\r\nconnected_slaves:1\r\n"), .text("aof_enabled:0\r\n"), .list(names),
      .list(["lazyfree-lazy-expire", "yes"]), .list(["min-slaves-to-write", "0", "min-replicas-to-write", "0"]),
      isBefore7 ? .refused(.unknownCommand) : .refused(.noFunction), .refused(.noScript), .other,
      isBefore7 ? .refused(.unknownCommand) : .refused(.other),
    ]
    let expected: [StoreRemark.Topic] = (isOld ? [.version] : []) + (isBefore7 ? [.listpacks] : []) + [.partition]
    #expect(topics(check.judge(replies)) == expected)
    #expect(check.judge(replies).contains(where: \.isViolation) == isOld)
  }

  @Test("Without replies everything is unknown")
  func silent() {
    let remarks = check.judge([])
    #expect(topics(remarks) == [.unknown] && remarks[0].text.contains("the server did not say: the version"))
  }

  @Test("Replies are read as they come from the wire")
  func wire() throws {
    var reader = RedisReader()
    let bytes = Array("$2\r\nhi\r\n*2\r\n$1\r\na\r\n:1\r\n-NOPERM no\r\n:3\r\n".utf8)
    _ = reader.feed(RawSpan(bytes))
    for expected in [StoreReply.text("hi"), .list(["a", ""]), .refused(.notPermitted), .other] {
      guard case .reply(let reply) = reader.next() else {
        Issue.record("there is no reply")
        return
      }
      let read = StoreReply(reply.value)
      #expect(read == expected)
    }
  }
}
