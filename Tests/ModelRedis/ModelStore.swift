// Redis without a network: commands in, replies out. The scripts of the house run in a real interpreter (`+Scripts`), the
// commands that they and the nodes use are written here once more; a test compares both with a real server. What is not
// here is refused, and remembered as unknown, so that a test which needs more fails loudly.

import CLua
import Core

/// The keys, scripts and commands of a model of Redis.
public final class ModelStore {
  /// What the server says about itself in `INFO` and `ROLE`.
  public struct Standing {
    /// 40 digits that name this history of writes.
    public var replicationID = String(repeating: "0", count: 40)
    /// Whether it refuses writes.
    public var isReplica = false
    /// Whether it has Functions: versions before 7.0 do not.
    public var hasFunctions = true
    /// Whether it has fewer replicas than it needs to take writes (`min-replicas-to-write`).
    public var lacksReplicas = false
  }

  /// What is known of a key after a write; nil where it is gone.
  struct Change {
    let key: [UInt8]
    let entry: Keyspace.Entry?
  }

  /// The server's own civil time, in microseconds.
  public var clock: () -> Int64
  /// Its standing.
  public var standing = Standing()
  /// Commands that were refused since the model does not know them.
  public private(set) var unknown: [String] = []
  /// What scripts have failed by, other than by a reply of their own.
  public internal(set) var scriptFailures: [String] = []
  /// How many commands scripts and clients have run.
  public private(set) var commandCount = 0

  var keyspace = Keyspace()
  /// Written by the command that runs.
  var changes: [Change] = []
  /// Who hears what is published; returns how many do.
  var publish: (_ channel: [UInt8], _ payload: [UInt8]) -> Int = { _, _ in 0 }
  /// How far it has written, and how far a replica that is online has told to have followed; nil where there is none.
  public var replication: () -> (written: Int64, followed: Int64?) = { (0, nil) }
  /// Has the replica tell.
  var hurryReplica: () -> Void = {}
  var configuration: [(name: String, value: String)] = [
    ("hash-max-listpack-entries", "64"), ("hash-max-ziplist-entries", "64"), ("lazyfree-lazy-expire", "yes"),
    ("min-replicas-to-write", "0"), ("min-slaves-to-write", "0"), ("maxmemory-policy", "noeviction"),
  ]
  var functionEngine: ScriptEngine?
  var scriptEngine: ScriptEngine?
  var libraries: [ModelLibrary] = []
  var scripts: [[UInt8]: Bool] = [:]
  /// The time of the script that runs: Redis 7 lets it go on.
  var isInScript = false

  /// An empty store with this clock.
  public init(clock: @escaping () -> Int64) { self.clock = clock }

  /// Runs one command.
  public func run(_ words: [[UInt8]]) -> ModelReply {
    commandCount += 1
    guard let first = words.first else { return .error("ERR empty command") }
    let name = String(decoding: first, as: UTF8.self).lowercased()
    guard let command = Self.commands[name] else {
      unknown.append(words.prefix(4).map { String(decoding: $0, as: UTF8.self) }.joined(separator: " "))
      return .error(isInScript ? "ERR Unknown Redis command called from script" : "ERR unknown command '\(name)'")
    }
    guard command.arity > 0 ? words.count == command.arity : words.count >= -command.arity else {
      return .error(
        isInScript
          ? "ERR Wrong number of args calling Redis command from script"
          : "ERR wrong number of arguments for '\(name)' command")
    }
    if command.isWrite, standing.isReplica {
      return .error("READONLY You can't write against a read only replica.")
    }
    if command.isWrite, standing.lacksReplicas { return .error(Self.noReplicas) }
    do throws(ModelFault) {
      return try command.run(self, ModelArguments(all: words))
    } catch {
      return .error(error.text)
    }
  }

  /// Names of all keys, in order.
  public var keys: [[UInt8]] { keyspace.keys(milliseconds) }

  static let noReplicas = "NOREPLICAS Not enough good replicas to write."

  /// The text under a key, for whoever looks from outside; nil where there is none.
  public func value(of key: String) -> [UInt8]? {
    if case .string(let bytes)? = entry(Array(key.utf8))?.value { bytes } else { nil }
  }

  // MARK: Keys

  struct Command: Sendable {
    let arity: Int
    let isWrite: Bool
    let run: @Sendable (ModelStore, ModelArguments) throws(ModelFault) -> ModelReply
  }

  static let commands: [String: Command] = {
    var all: [String: Command] = [:]
    for group in [strings, keyCommands, hashes, lists, sets, sortedSets, streams, scripting, server] {
      for (name, command) in group { all[name] = command }
    }
    return all
  }()

  static func read(
    _ arity: Int, _ run: @escaping @Sendable (ModelStore, ModelArguments) throws(ModelFault) -> ModelReply
  ) -> Command {
    Command(arity: arity, isWrite: false, run: run)
  }

  static func write(
    _ arity: Int, _ run: @escaping @Sendable (ModelStore, ModelArguments) throws(ModelFault) -> ModelReply
  ) -> Command {
    Command(arity: arity, isWrite: true, run: run)
  }

  var milliseconds: Int64 { clock() / 1000 }

  func entry(_ key: [UInt8]) -> Keyspace.Entry? { keyspace.entry(key, milliseconds) }

  /// Keeps a value under a key; nil or an empty one removes it. Its end stays, unless told otherwise.
  func put(_ key: [UInt8], _ value: Keyspace.Value?, expiry: Int64?) {
    keyspace.set(key, value.map { Keyspace.Entry(value: $0, expiry: expiry) })
    changes.append(Change(key: key, entry: keyspace.entries[key]))
  }

  func put(_ key: [UInt8], _ value: Keyspace.Value?) { put(key, value, expiry: entry(key)?.expiry) }

  func string(_ key: [UInt8]) throws(ModelFault) -> [UInt8]? {
    switch entry(key)?.value {
    case .string(let bytes): return bytes
    case nil: return nil
    default: throw .wrongType
    }
  }

  func hash(_ key: [UInt8]) throws(ModelFault) -> Keyspace.Fields {
    switch entry(key)?.value {
    case .hash(let fields): return fields
    case nil: return Keyspace.Fields()
    default: throw .wrongType
    }
  }

  func list(_ key: [UInt8]) throws(ModelFault) -> [[UInt8]] {
    switch entry(key)?.value {
    case .list(let all): return all
    case nil: return []
    default: throw .wrongType
    }
  }

  func set(_ key: [UInt8]) throws(ModelFault) -> Keyspace.Fields {
    switch entry(key)?.value {
    case .set(let all): return all
    case nil: return Keyspace.Fields()
    default: throw .wrongType
    }
  }

  func sorted(_ key: [UInt8]) throws(ModelFault) -> [[UInt8]: Double] {
    switch entry(key)?.value {
    case .sorted(let all): return all
    case nil: return [:]
    default: throw .wrongType
    }
  }

  func stream(_ key: [UInt8]) throws(ModelFault) -> Keyspace.Stream? {
    switch entry(key)?.value {
    case .stream(let all): return all
    case nil: return nil
    default: throw .wrongType
    }
  }
}
