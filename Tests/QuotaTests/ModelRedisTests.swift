import Core
import ModelRedis
import Simulation
import Testing

/// The simulation's Redis is of use only where it is one: everything here is asked of it and of a real server.
@Suite("Model of Redis", .serialized)
struct ModelRedisTests {
  private static let commands = 20_000

  @Test("What is not modelled is refused, and remembered")
  func unknown() {
    let store = ModelStore { 0 }
    #expect(store.run([Array("OBJECT".utf8), Array("HELP".utf8)]) == .error("ERR unknown command 'object'"))
    #expect(store.unknown == ["OBJECT HELP"])
  }

  @Test("Any sequence of commands is answered as a real Redis does")
  func sameAnswers() throws {
    let redis = try RedisServer()
    // Nothing ends by itself: the model's clock stands still, the real one does not.
    let store = ModelStore { 1_000_000_000_000_000 }
    var trace = CommandTrace(seed: 1)
    var kinds: [String: Int] = [:]
    for number in 0..<Self.commands {
      let words = trace.command()
      let real = try redis.send([RedisServer.command(words)])[0]
      let model = store.run(words)
      let text = words.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
      try #require(Self.isSame(real, model, words[0]), "\(number): \(text): \(real), not \(model)")
      if case .error = model { continue }
      kinds[String(decoding: words[0], as: UTF8.self), default: 0] += 1
    }
    // Every command has been understood, and often.
    #expect(kinds.count == trace.kindCount && kinds.values.min()! > 20, "\(kinds)")
    #expect(store.unknown == [])
  }

  @Test("Scripts mean the same", arguments: ScriptTrace.fixed)
  func scripts(source: String) throws {
    let redis = try RedisServer()
    try same(source, redis, ModelStore { 1_700_000_000_123_456 })
  }

  @Test("Numbers and texts are packed and unpacked alike")
  func packing() throws {
    let redis = try RedisServer()
    let store = ModelStore { 0 }
    var trace = ScriptTrace(seed: 2)
    for _ in 0..<2000 { try same(trace.packing(), redis, store) }
  }

  @Test("A script learns of a replica in the same words")
  func replica() throws {
    let (redis, replica) = (try RedisServer(), try RedisServer())
    func real(_ server: RedisServer, _ words: String) throws -> RedisServer.Answer {
      try server.send([RedisServer.command(words.split(separator: " ").map { Array($0.utf8) })])[0]
    }
    #expect(try real(redis, "CONFIG SET repl-diskless-sync-delay 0") == .status("OK"))
    let port = try #require(try (20_000...30_000).first { try real(redis, "CONFIG SET port \($0)") == .status("OK") })
    #expect(try real(replica, "REPLICAOF 127.0.0.1 \(port)") == .status("OK"))
    // Behind the first, a write is there in a moment.
    let isOnline = try (0..<100).contains { _ in
      _ = try real(redis, "SET a b")
      return try real(redis, "WAIT 1 100") == .number(1)
    }
    try #require(isOnline)
    let store = ModelStore { 0 }
    store.replication = { (7, 5) }
    try same(
      """
      local info, told = redis.call('INFO', 'replication'), {}
      for _, name in ipairs({'role', 'connected_slaves', 'slave0', 'slave1', 'master_repl_offset'}) do
        local line = string.match(info, name .. ':([^\\r\\n]*)') or 'none'
        told[#told + 1] = (string.gsub(line, '%d%d*', '0'))
      end
      return told
      """, redis, store)
  }

  private func same(_ source: String, _ redis: RedisServer, _ store: ModelStore) throws {
    let words = ["EVAL", source, "1", "key", "a", "17"].map { Array($0.utf8) }
    let real = try redis.send([RedisServer.command(words)])[0]
    let model = store.run(words)
    try #require(Self.isSame(real, model, words[0]), "\(source): \(real), not \(model)")
  }

  @Test("Libraries are refused and loaded alike")
  func libraries() throws {
    let redis = try RedisServer()
    let store = ModelStore { 0 }
    let good = "#!lua name=l\nlocal n = 0\nredis.register_function('f', function(keys, args) return {keys, args} end)"
    let commands: [[String]] = [
      ["FCALL", "f", "0"], ["FUNCTION", "LOAD", "return 1"], ["FUNCTION", "LOAD", "#!lua name=l\nreturn 1"],
      ["FUNCTION", "LOAD", "#!lua name=l\nlocal a = string.rep('a', 2)"],
      ["FUNCTION", "LOAD", "#!lua name=l\nfunction f() end"], ["FUNCTION", "LOAD", "#!lua name=l\nredis.call('TIME')"],
      ["FUNCTION", "LOAD", good], ["FUNCTION", "LOAD", good], ["FUNCTION", "LOAD", "REPLACE", good],
      ["FCALL", "f", "1", "k", "a", "b"], ["FCALL", "f", "2", "k"], ["FCALL", "f", "-1", "k"], ["FCALL", "g", "0"],
      ["FUNCTION", "FLUSH"], ["FCALL", "f", "0"], ["EVALSHA", String(repeating: "0", count: 40), "0"],
      ["SCRIPT", "LOAD", "return KEYS[1]"], ["EVALSHA", "4d1beab0a0df19c7e23e65a8d25ec5a1f4b4ea4a", "1", "k"],
    ]
    for command in commands {
      let words = command.map { Array($0.utf8) }
      let real = try redis.send([RedisServer.command(words)])[0]
      #expect(Self.isSame(real, store.run(words), words[0]), "\(command): \(real)")
    }
  }

  /// Whether both say the same. What Lua says of its own errors differs in its words; and the order of fields is nobody's.
  private static func isSame(_ real: RedisServer.Answer, _ model: ModelReply, _ command: [UInt8]) -> Bool {
    switch (real, model) {
    case (.error(let one), .error(let other)): return one.prefix { $0 != " " } == other.prefix { $0 != " " }
    case (.list(let one), .list(let other)):
      guard one.count == other.count else { return false }
      let isUnordered = ["HGETALL", "HKEYS", "HVALS", "SMEMBERS"].contains(String(decoding: command, as: UTF8.self))
      if isUnordered { return one.map { "\($0.bytes)" }.sorted() == other.map { "\(bytes($0))" }.sorted() }
      return zip(one, other).allSatisfy { isSame($0, $1, []) }
    case (.bytes(let one), .bytes(let other)): return one == other
    case (.status(let one), .status(let other)): return one == other
    case (.number(let one), .integer(let other)): return one == other
    case (.nothing, .null), (.nothing, .nullList): return true
    default: return false
    }
  }

  private static func bytes(_ reply: ModelReply) -> [UInt8] {
    if case .bytes(let bytes) = reply { bytes } else { [] }
  }
}

/// Commands that anybody could send, right and wrong ones.
struct CommandTrace {
  private var random: SeededGenerator

  /// What commands look like: `k` a key, `f` a field or member, `n` a number, `i` a place, `s` a score, `*` one or several of
  /// the word before it; other words are themselves.
  private static let forms = """
    GET k|MGET k *|SET k v|SET k v NX|SET k v XX GET|SET k v PXAT 4200000000000|SETNX k v|GETDEL k|APPEND k v|STRLEN k
    SETRANGE k p v|GETRANGE k i i|INCR k|DECR k|INCRBY k n|DECRBY k n|SET k n|DEL k *|UNLINK k|EXISTS k *|TYPE k|PERSIST k
    PEXPIREAT k 4200000000000|PEXPIREAT k 4200000000001 GT|PEXPIREAT k 1|EXPIREAT k 4200000000 NX|PEXPIRETIME k|KEYS k|DBSIZE
    HGET k f|HMGET k f *|HSET k f v|HSET k f n f v|HMSET k f v|HSETNX k f v|HDEL k f *|HGETALL k|HKEYS k|HVALS k|HLEN k
    HEXISTS k f|HSTRLEN k f|HINCRBY k f n|SADD k f *|SREM k f *|SMEMBERS k|SISMEMBER k f|SCARD k|LPUSH k v *|RPUSH k v *
    LPOP k|RPOP k|LPOP k p|RPOP k p|LLEN k|LINDEX k i|LSET k i v|LRANGE k i i|LTRIM k i i|LREM k i v|ZADD k s f
    ZADD k s f s f|ZADD k NX s f|ZADD k XX CH s f|ZADD k GT s f|ZINCRBY k n f|ZREM k f *|ZSCORE k f|ZCARD k|ZCOUNT k s s
    ZRANK k f|ZRANGE k i i|ZRANGE k i i REV WITHSCORES|ZREVRANGE k i i|ZRANGEBYSCORE k s s|ZRANGEBYSCORE k (s inf LIMIT 0 2
    ZREMRANGEBYSCORE k s s|ZREMRANGEBYRANK k i i|ZPOPMIN k|XADD k d f v|XADD k MAXLEN = 5 d f v|XADD k NOMKSTREAM d f v|XLEN k
    XRANGE k - +|XRANGE k d + COUNT 2|XRANGE k (d d|XREVRANGE k + - COUNT 3|XREAD COUNT 2 STREAMS k d|XREAD STREAMS k k 0 d
    XTRIM k MAXLEN = 4|XTRIM k MINID = d|XDEL k d|GET|SET k|HSET k f|PING|PING v|ECHO v|SELECT 0|FLUSHALL|WAIT 0 0
    PUBLISH c v|CLIENT SETNAME me|MGET|HELLO 9
    """.split { $0 == "|" || $0.isNewline }.map { $0.split(separator: " ").map(String.init) }

  var kindCount: Int { Set(Self.forms.map { $0[0] }).subtracting(["HELLO"]).count }
  private var identifier: Int64 = 1

  init(seed: UInt64) { random = SeededGenerator(seed: seed) }

  mutating func command() -> [[UInt8]] {
    while true {
      let form = Self.forms[random.number(in: 0...(Self.forms.count - 1))]
      // Once in a while is enough of what ends everything.
      if form[0] != "FLUSHALL" || random.chance(0.3) { return fill(form) }
    }
  }

  private mutating func fill(_ form: [String]) -> [[UInt8]] {
    // Keys of one kind mostly meet commands of their kind, so that there is something to find.
    let isSet = ["SADD", "SREM", "SMEMBERS", "SISMEMBER", "SCARD"].contains(form[0])
    let kind = isSet ? "s" : ["H", "L", "X", "Z"].contains(form[0].prefix(1)) ? form[0].prefix(1).lowercased() : "t"
    var words: [String] = []
    for part in form {
      switch part {
      case "*": for _ in 0..<random.number(in: 0...2) { words.append(word(String(form[form.count - 2]), kind)) }
      default: words.append(word(part, kind))
      }
    }
    return words.map { Array($0.utf8) }
  }

  private mutating func word(_ part: String, _ kind: String) -> String {
    switch part {
    case "k": return "\(random.chance(0.05) ? "t" : kind)\(random.number(in: 0...2))"
    case "f": return "f\(random.number(in: 0...5))"
    case "v": return random.chance(0.1) ? "" : "v\(random.number(in: 0...9))"
    case "n": return random.chance(0.1) ? "x1" : "\(random.number(in: -5...90))"
    case "p": return "\(random.number(in: 0...6))"
    case "i": return "\(random.number(in: -4...4))"
    case "s":
      return random.chance(0.1)
        ? "-inf" : random.chance(0.3) ? "\(random.number(in: 0...9)).5" : "\(random.number(in: 0...9))"
    case "(s": return "(\(random.number(in: 0...9))"
    case "d", "(d":
      if random.chance(0.6) { identifier += 1 }
      return (part == "(d" ? "(" : "")
        + "\(random.chance(0.3) ? max(1, identifier - 4) : identifier)-\(random.number(in: 0...2))"
    default: return part
    }
  }
}

/// Scripts that say what an interpreter and Redis's libraries in it do.
struct ScriptTrace {
  static let fixed = [
    "return 1", "return 1.9", "return -1.9", "return 'a'", "return true", "return false", "return nil",
    "return {1,'a',{2},nil,3}",
    "return {ok='fine'}", "return {err='CODE no'}", "return redis.status_reply('s')",
    "return redis.error_reply('CODE x y')",
    "return redis.error_reply('word')", "return {KEYS[1], ARGV[1], ARGV[2] + 1, #KEYS, #ARGV}",
    "return redis.call('SET', KEYS[1], ARGV[1])", "return redis.call('GET', 'nothing')",
    "return redis.call('HGETALL', 'nothing')",
    "return redis.call('INCRBY', KEYS[1], 2.5)", "return redis.call('SET', KEYS[1], 12345678901234)",
    "return redis.call('SET', KEYS[1], 0.1) and redis.call('GET', KEYS[1])", "return redis.call('NOSUCH')",
    "return redis.pcall('NOSUCH')", "return redis.call('GET')", "return redis.call()", "return redis.call({})",
    "redis.call('LPUSH', 'l', 1) return redis.call('INCR', 'l')",
    "redis.call('LPUSH', 'l', 1) return redis.pcall('INCR', 'l').err",
    "return select(2, pcall(redis.call, 'GET')) ~= nil", "return type(redis.call('TIME')[1])", "x = 1", "return x",
    "local f = function() return 5 end return f()", "error('no')", "error({err='MINE own'})", "return tostring(1e15)",
    "return string.format('%.0f', 2^53)", "return redis.sha1hex('')", "return redis.sha1hex('abc')",
    "return tostring(redis.call('GET','q'))",
    "return cjson.encode({1,2,3})", "return cjson.encode({})", "return cjson.encode({a='b/\"\\\\\\n\\1'})",
    "return cjson.encode('x')",
    "return cjson.encode({1.5, 100000000000000, 1e20, 0.1, true, false, cjson.null})",
    "return cjson.encode({[1]=1,[3]=3})",
    "return cjson.encode({[100]=1})", "return cjson.encode({[1]='a',x='b'}) ~= nil", "return cjson.encode(print)",
    "return cjson.decode('{\"a\":[1,2,{\"b\":null}],\"c\":\"\\\\u00e9\\\\ud83d\\\\ude00\"}').c",
    "return cjson.decode('[1,2.5,true,false,null]')[2] * 2", "return cjson.decode('[1,')", "return cjson.decode('')",
    "return cjson.decode('[null]')[1] == cjson.null",
    "return cjson.decode(' { } ') ~= nil", "return cjson.decode('{\"a\":1}x')",
    "return cjson.encode(cjson.decode('{\"a\":{\"b\":[]}}'))",
    "return bit.band(0xff, 0x0f)", "return bit.bor(1, 2, 4)", "return bit.bxor(5, 1)", "return bit.bnot(0)",
    "return bit.lshift(1, 31)",
    "return bit.rshift(-1, 4)", "return struct.size('<dI4c3')", "return struct.pack('<q', 1)",
    "return struct.unpack('<d', 'short')",
    "return {struct.unpack('<I2c0', '\\3\\0abcd')}", "return struct.pack('>I4', 258)",
    "return struct.pack('c5', 'abc')", "return struct.pack('s', 'abc')",
    "return {struct.unpack('ss', 'ab\\0c\\0')}", "return unpack({1,2})", "return math.floor(-1.5)",
    "return table.concat({1,2},',')", "return os == nil",
    "return redis.call('XADD', 'x', '5-1', 'a', 'b')", "return redis.call('SUBSCRIBE', 'c')",
    "return redis.call('PUBLISH', 'c', 'd')",
    "local t = {} for i = 1, 100 do t[i] = i end return t", "return loadstring('return 4')()",
    "return string.rep('ab', 3, ',')", "return #redis.call('INFO', 'replication') > 0",
  ]

  private var random: SeededGenerator
  init(seed: UInt64) { random = SeededGenerator(seed: seed) }

  /// Packs some values and unpacks them again.
  mutating func packing() -> String {
    let letters = ["d", "I4", "I2", "I1", "i4", "b", "B", "h", "H", "I8", "i8", "c8", "f", "L", "x"]
    var format = random.chance(0.5) ? "<" : ">"
    var values: [String] = []
    for _ in 0..<random.number(in: 1...6) {
      let letter = letters[random.number(in: 0...(letters.count - 1))]
      format += letter
      switch letter {
      case "x": break
      case "c8": values.append("'\(random.number(in: 10_000_000...99_999_999))'")
      case "d": values.append("\(random.number(in: -(1 << 53)...(1 << 53)))")
      case "I8", "L": values.append("\(random.number(in: 0...(1 << 53)))")
      default: values.append("\(random.number(in: -300...70_000))")
      }
    }
    let list = ([format].map { "'\($0)'" } + values).joined(separator: ",")
    return """
      local s = struct.pack(\(list)) local all = {struct.unpack('\(format)', s)}
      for i = 1, #all do if type(all[i]) == 'number' then all[i] = string.format('%.17g', all[i]) end end
      return {s, all, struct.size('\(format)')}
      """
  }
}
