import Core

/// What a node says of itself to all others, once a second. Parts of the agent fill it in.
public struct MemberRecord: Equatable, Sendable {
  /// Who it is.
  public var identity: NodeIdentity
  /// When the process began.
  public var since = WallTime(microseconds: 0)
  /// The libraries that it calls in the store, by name.
  public var libraries: [String] = []
  /// Where clients connect.
  public var listeners: [String] = []
  /// The machine, network and file system that it sees, so that a router on the same ones can tell; empty where unknown.
  public var host = ""
  /// Where routers reach it.
  public var reach: [String] = []
  /// Where routers reach it that send a PROXY header first.
  public var reachProxied: [String] = []
  /// The cluster's code of ``place``, in Base64: routers send requests nowhere else.
  public var proof = ""
  /// Where its admin port is; nil where it has none.
  public var admin: String?
  /// Whether it takes requests, and whether it is about to end.
  public var isReady = false
  /// Whether it has been told to stop.
  public var isDraining = false
  /// The revision in force; 0 for its own file.
  public var revision: Int64 = 0
  /// SHA-256 of that revision in hexadecimal digits; empty for its own file.
  public var digest = ""
  /// Whether that revision is on its disk, as far as the node knows.
  public var isKept = true
  /// The epoch and the number of the last fact that it applied.
  public var factsEpoch: Int64 = 0
  /// See ``factsEpoch``.
  public var factsSequence: Int64 = 0
  /// Requests of the last seconds, for each.
  public var requestsPerSecond: Double = 0
  /// Requests that ended since the process began.
  public var requests: Int64 = 0
  /// Those of ``requests`` that were answered with 500 or above.
  public var failures: Int64 = 0
  /// How long all ``requests`` took together, in microseconds.
  public var requestMicroseconds: Int64 = 0
  /// Open client connections.
  public var connections: Int64 = 0
  /// How long its last sign of life took to be answered, in microseconds; 0 before the first.
  public var storeMicroseconds: Int64 = 0

  /// A record of a node that has nothing to say yet.
  public init(_ identity: NodeIdentity) { self.identity = identity }

  /// Appends its members to an object that `json` has begun.
  public func write(to json: inout JSONWriter) {
    json.key("id")
    json.string(identity.id)
    json.key("name")
    json.string(identity.name)
    json.key("version")
    json.string(identity.version)
    json.key("since")
    json.integer(since.microseconds)
    json.key("libraries")
    Self.write(libraries, to: &json)
    json.key("listeners")
    Self.write(listeners, to: &json)
    json.key("host")
    json.string(host)
    json.key("reach")
    Self.write(reach, to: &json)
    json.key("reachProxied")
    Self.write(reachProxied, to: &json)
    json.key("proof")
    json.string(proof)
    json.key("admin")
    if let admin { json.string(admin) } else { json.null() }
    json.key("ready")
    json.bool(isReady)
    json.key("draining")
    json.bool(isDraining)
    json.key("revision")
    json.integer(revision)
    json.key("digest")
    json.string(digest)
    if !isKept {
      json.key("kept")
      json.bool(false)
    }
    json.key("factsEpoch")
    json.integer(factsEpoch)
    json.key("factsSequence")
    json.integer(factsSequence)
    json.key("requestsPerSecond")
    json.number(requestsPerSecond)
    json.key("requests")
    json.integer(requests)
    json.key("failures")
    json.integer(failures)
    json.key("requestMicroseconds")
    json.integer(requestMicroseconds)
    json.key("connections")
    json.integer(connections)
    json.key("storeMicroseconds")
    json.integer(storeMicroseconds)
  }

  private static func write(_ texts: [String], to json: inout JSONWriter) {
    json.beginArray()
    for text in texts { json.string(text) }
    json.endArray()
  }

  private static func texts(_ value: JSONValue?) -> [String] { (value?.elements ?? []).compactMap(\.string) }

  /// Who it is and where it is reached; no address has a line end.
  var place: [UInt8] {
    let lines = [identity.id, host, "\(reach.count)"] + reach + reachProxied
    return Array(lines.joined(separator: "\n").utf8)
  }

  /// What routers must know at once.
  struct News: Equatable {
    let isTaking: Bool
    let reach: [String]
    let reachProxied: [String]
  }

  /// See ``News``.
  var news: News { News(isTaking: isTaking, reach: reach, reachProxied: reachProxied) }

  /// Whether it takes requests.
  public var isTaking: Bool { isReady && !isDraining }

  /// The record as a JSON object.
  public var encoded: [UInt8] {
    var json = JSONWriter(ByteBuffer())
    json.beginObject()
    write(to: &json)
    json.endObject()
    return json.buffer.array
  }

  /// Reads a record; nil where it is none. What a later version of the program adds is not read, what an earlier one lacks
  /// has its default.
  public init?(_ bytes: [UInt8]) {
    guard let root = JSONDocument.parse(bytes, dialect: .strict).document?.root, let id = root["id"]?.string,
      let nonce = UInt64(id, radix: 16), id.utf8.count == 16
    else { return nil }
    identity = NodeIdentity(nonce: nonce, name: root["name"]?.string ?? "", version: root["version"]?.string ?? "")
    since = WallTime(microseconds: root["since"]?.integer ?? 0)
    libraries = Self.texts(root["libraries"])
    listeners = Self.texts(root["listeners"])
    host = root["host"]?.string ?? ""
    reach = Self.texts(root["reach"])
    reachProxied = Self.texts(root["reachProxied"])
    proof = root["proof"]?.string ?? ""
    admin = root["admin"]?.string
    isReady = root["ready"]?.bool ?? false
    isDraining = root["draining"]?.bool ?? false
    revision = root["revision"]?.integer ?? 0
    digest = root["digest"]?.string ?? ""
    isKept = root["kept"]?.bool ?? true
    factsEpoch = root["factsEpoch"]?.integer ?? 0
    factsSequence = root["factsSequence"]?.integer ?? 0
    requestsPerSecond = root["requestsPerSecond"]?.number ?? 0
    requests = root["requests"]?.integer ?? 0
    failures = root["failures"]?.integer ?? 0
    requestMicroseconds = root["requestMicroseconds"]?.integer ?? 0
    connections = root["connections"]?.integer ?? 0
    storeMicroseconds = root["storeMicroseconds"]?.integer ?? 0
  }
}

/// A member of the cluster, as the store last told.
public struct Member: Equatable, Sendable {
  /// Nanoseconds after its last sign of life when a node counts as dead; as in the library.
  public static let life: Int64 = 5_000_000_000

  /// What it says of itself.
  public let record: MemberRecord
  /// Nanoseconds since its last sign of life.
  public let age: Int64
  /// Whether it is on the published list.
  public let isListed: Bool

  /// Whether it gave a sign of life lately.
  public var isAlive: Bool { age <= Self.life }
}
