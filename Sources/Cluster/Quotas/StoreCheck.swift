// What is asked of a Redis before limits are counted in it. Everything that could make a limit wrong without anybody
// noticing is asked once, at the start, and told to people: what is so, what it costs, and what to do. Rights are found
// out by commands that change nothing even where they are allowed: Redis looks at the rights first, and only then at the
// arguments, which are wrong here.

import Core

/// What a reply to a check says.
public enum StoreReply: Equatable, Sendable {
  /// Bytes or a status.
  case text(String)
  /// A list of texts; those in it that are none are empty.
  case list([String])
  /// A refusal.
  case refused(RedisError)
  /// Anything else; also where no reply came.
  case other

  /// A reply of a server.
  public init(_ value: borrowing RedisValue) {
    switch value.kind {
    case .bytes, .status: self = .text(value.text)
    case .array: self = .list((0..<value.count).map { value[$0].text })
    case .error: self = .refused(value.error ?? .other)
    case .integer, .null: self = .other
    }
  }
}

/// Something about a store that people should know.
public struct StoreRemark: Equatable, Sendable {
  /// What it is about.
  public enum Topic: String, Sendable {
    case version, eviction, memory, listpacks, expiry, partition, durability, rights, unknown
  }

  /// What it is about: stays the same over versions.
  public let topic: Topic
  /// What is so, what it costs, and what to do.
  public let text: String
  /// Whether limits would not be kept exactly: a strict node does not start.
  public let isViolation: Bool
}

/// The questions to a store before limits are counted in it, and what its replies mean. No I/O: the owner sends
/// ``commands`` in this order, on a connection that counts, and hands the replies to ``judge(_:)``. None of them changes
/// anything. On a Redis Cluster each primary is asked.
public struct StoreCheck: Sendable {
  /// What to send: each command with its arguments.
  public let commands: [[String]]
  private let cluster: String
  private let user: String?

  /// The version from which on Redis is known to keep limits.
  static let oldest = (6, 2)
  /// The most entries that a hash should keep as a list.
  static let listpackEntries: Int64 = 64

  /// Questions to the store of `cluster`, asked as `user`; nil for the default user.
  public init(cluster: String, user: String?) {
    self.cluster = cluster
    self.user = user
    commands = Fact.allCases.map(\.command) + Right.allCases.map { $0.command(in: cluster) }
  }

  /// What the replies mean, in the order of ``commands``; missing ones count as not answered.
  public func judge(_ replies: [StoreReply]) -> [StoreRemark] {
    let reply = { (index: Int) -> StoreReply in index < replies.count ? replies[index] : .other }
    var facts = StoreFacts()
    for (index, fact) in Fact.allCases.enumerated() { facts.note(reply(index), to: fact) }
    var missing: Set<Right> = []
    for (index, right) in Right.allCases.enumerated() {
      switch reply(Fact.allCases.count + index) {
      case .refused(.notPermitted), .refused(.unknownCommand): missing.insert(right)
      default: break
      }
    }
    return facts.remarks + remarks(missing, hasFunctions: facts.version.map { $0.0 >= 7 } ?? true)
  }

  private func remarks(_ missing: Set<Right>, hasFunctions: Bool) -> [StoreRemark] {
    var remarks: [StoreRemark] = []
    func add(_ text: String, isViolation: Bool) {
      remarks.append(StoreRemark(topic: .rights, text: text + grant, isViolation: isViolation))
    }
    let lacksFunctions = !hasFunctions || missing.contains(.functionLoad)
    // A connection falls back to scripts where the library cannot be loaded, not where it cannot be called.
    if lacksFunctions ? !missing.isDisjoint(with: [.scriptLoad, .evalsha]) : missing.contains(.fcall) {
      add("the user may not run the decision library: no limit can be decided", isViolation: true)
    } else if lacksFunctions, hasFunctions {
      add(
        "the user may not load Functions, so the decision library runs as a script: each restart or failover costs its "
          + "first requests a round trip more", isViolation: false)
    }
    let commands = missing.intersection(Right.ofLibrary).map(\.rawValue).sorted()
    if !commands.isEmpty {
      add(
        "the user may not run \(commands.joined(separator: ", ")) on keys sluice:\(cluster):*, which the decision library "
          + "needs: limits cannot be decided", isViolation: true)
    }
    if missing.contains(.publish) {
      add(
        "the user may not PUBLISH to sluice:\(cluster):lanes: tokens that other nodes hold come back only when their "
          + "slices end, so that a limit cannot be used up to the last", isViolation: true)
    }
    return remarks
  }

  private var grant: String { "; " + Self.grant(to: user, in: cluster) }

  /// What to tell somebody whose user of the store lacks rights.
  static func grant(to user: String?, in cluster: String) -> String {
    "ACL SETUSER \(user ?? "default") ~sluice:\(cluster):* &sluice:\(cluster):* "
      + Right.granted.map { "+\($0)" }.joined(separator: " ") + " gives all that is needed"
  }
}

/// What is asked of the server.
enum Fact: CaseIterable {
  case server, memory, replication, persistence, listpacks, expiry, quorum

  var command: [String] {
    switch self {
    case .server: ["INFO", "server"]
    case .memory: ["INFO", "memory"]
    case .replication: ["INFO", "replication"]
    case .persistence: ["INFO", "persistence"]
    // Called ziplist before 7.0.
    case .listpacks: ["CONFIG", "GET", "hash-max-*-entries"]
    case .expiry: ["CONFIG", "GET", "lazyfree-lazy-expire"]
    case .quorum: ["CONFIG", "GET", "min-*-to-write"]
    }
  }
}

/// What the user must be allowed to do. The raw value is what ACLs call it.
enum Right: String, CaseIterable {
  case fcall, evalsha, publish
  case functionLoad = "function|load"
  case scriptLoad = "script|load"
  case get, set, setrange, hget, hmget, hgetall, hlen, hset, hdel, pexpireat, time

  /// What the decision library calls.
  static let ofLibrary: Set<Right> = [
    .get, .set, .setrange, .hget, .hmget, .hgetall, .hlen, .hset, .hdel, .pexpireat, .time,
  ]

  /// What the library of what nodes agree on calls besides, and the agent itself.
  private static let ofAgreement = [
    "del", "exists", "hexists", "hkeys", "hscan", "hsetnx", "lindex", "llen", "lrange", "lrem", "persist", "pttl",
    "rpush", "strlen", "wait", "xadd", "xrange", "xrevrange", "pubsub|channels", "function|list", "function|delete",
  ]

  /// All that a user of sluice needs, as an ACL names it.
  static let granted =
    allCases.map(\.rawValue) + ["subscribe", "role", "info", "client|setname", "config|get", "ping"] + ofAgreement

  /// Asks for the right, and does nothing.
  func command(in cluster: String) -> [String] {
    let key = "sluice:\(cluster):check"
    return switch self {
    case .fcall: ["FCALL", "sluice_check", "0"]
    case .evalsha: ["EVALSHA", String(repeating: "0", count: 40), "0"]
    // Nodes ignore what names no counter.
    case .publish: ["PUBLISH", SharedQuota.channel(of: cluster), ""]
    case .functionLoad: ["FUNCTION", "LOAD", "no library"]
    case .scriptLoad: ["SCRIPT", "LOAD", "return 0"]
    case .get, .hgetall, .hlen: [rawValue.uppercased(), key]
    case .set: ["SET", key, "", "no option"]
    case .setrange: ["SETRANGE", key, "0", ""]
    case .hget, .hmget, .hdel: [rawValue.uppercased(), key, "field"]
    case .hset: ["HSET", key, "field", "value", "odd"]
    case .pexpireat: ["PEXPIREAT", key, "no number"]
    case .time: ["TIME"]
    }
  }
}
