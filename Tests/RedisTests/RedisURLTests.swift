import Core
import Testing

@testable import Cluster

@Suite("Redis URLs")
struct RedisURLTests {
  @Test(
    "What is wrong is named",
    arguments: [
      ("", RedisURLFault.scheme), ("http://h", .scheme), ("redis:h", .scheme), ("127.0.0.1:6379", .scheme),
      ("redis://", .host), ("redis:///0", .host), ("redis://a b", .malformed), ("redis://h/0#x", .malformed),
      ("redis://h:0", .port), ("redis://h:65536", .port), ("redis://h:6379x", .port), ("redis://-h", .host),
      ("redis://h/x", .database), ("redis://h/16384", .database), ("redis://h/-1", .database),
      ("redis://h/1/2", .database),
      ("redis://h?db=1", .parameter), ("redis://user@h", .credentials), ("redis://user:@h", .credentials),
      ("redis://@h", .credentials), ("redis://:p%4@h", .escape), ("redis://:p%zz@h", .escape),
      ("redis://:p%00@h", .escape), ("redis://:p%ff@h", .escape), ("unix://run/s", .path), ("unix:///", .path),
      ("unix:///s?x=1", .parameter), ("unix:///s?db=", .database),
      ("unix:///" + String(repeating: "s", count: 107), .path),
      ("redis://" + String(repeating: "h", count: 5000), .malformed),
    ])
  func refusals(text: String, fault: RedisURLFault) {
    #expect(throws: fault) { try RedisURL.parse(text) }
  }

  @Test(
    "Hosts, ports, databases and paths are read",
    arguments: [
      ("redis://127.0.0.1", "redis://127.0.0.1:6379"), ("REDIS://h:1/", "redis://h:1"),
      ("redis://h/7", "redis://h:6379/7"), ("redis://[::1]:80/1", "redis://[::1]:80/1"),
      ("redis://[::1]", "redis://[::1]:6379"), ("rediss://Redis.example", "rediss://redis.example:6379"),
      ("unix:///run/s", "unix:///run/s"), ("unix:///run/s?db=3", "unix:///run/s?db=3"),
      ("redis+unix:///a%20b", "unix:///a%20b"), ("redis://u:p@h", "redis://h:6379"),
      ("unix://u:p@/run/s", "unix:///run/s"),
    ])
  func servers(text: String, description: String) throws {
    let server = try RedisURL.parse(text)
    #expect(server.description == description)
    #expect((server.encryption != nil) == text.hasPrefix("rediss"))
  }

  @Test("Credentials are unescaped and never shown")
  func credentials() throws {
    let server = try RedisURL.parse("redis://o%3aps:p%40ss:w%2Ford@h")
    #expect(server.credentials == RedisCredentials(user: "o:ps", password: "p@ss:w/ord"))
    #expect(try RedisURL.parse("redis://:pw@h").credentials == RedisCredentials(password: "pw"))
    var dumped = "\(server) \(String(reflecting: server)) \(server.credentials.map { "\($0)" } ?? "")"
    dump(server, to: &dumped)
    #expect(!dumped.contains("p@ss") && !dumped.contains("o:ps"))
  }

  @Test(
    "Slots are those of Redis, with and without a hash tag",
    arguments: [
      ("123456789", 0x31c3), ("foo", 12182), ("{user1000}.following", HashSlot.of("user1000")),
      ("foo{}{bar}", 8363), ("foo{{bar}}zap", HashSlot.of("{bar")), ("foo{bar}{zap}", HashSlot.of("bar")), ("", 0),
      ("sluice:c:{rl:3}:m", HashSlot.of("rl:3")),
    ])
  func slots(key: String, slot: Int) {
    #expect(HashSlot.of(key) == slot)
  }

  @Test(
    "A refusal means what its first words say",
    arguments: [
      ("MOVED 3999 127.0.0.1:6381", RedisError.moved(slot: 3999, RedisNode(host: "127.0.0.1", port: 6381))),
      ("ASK 1 ::1:7000", .ask(slot: 1, RedisNode(host: "::1", port: 7000))),
      ("MOVED 1 :7000", .moved(slot: 1, RedisNode(host: "", port: 7000))),
      ("MOVED 16384 h:1", .other), ("MOVED 1 h", .other), ("MOVED", .other), ("", .other),
      ("NOSCRIPT No matching script.", .noScript), ("ERR Function not found", .noFunction),
      ("ERR unknown command `FCALL`", .unknownCommand), ("ERR Library 'x' already exists", .alreadyExists),
      (
        "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't write.",
        .readOnly
      ),
    ])
  func errors(text: String, error: RedisError) {
    let bytes = Array(text.utf8)
    #expect(RedisError(RawSpan(bytes)) == error)
  }
}
