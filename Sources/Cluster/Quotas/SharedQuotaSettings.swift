import Crypto

/// What a shared quota must know of its cluster and of its node. Nodes that share a Redis must agree on the cluster's part.
public struct SharedQuotaSettings: Sendable {
  /// The Redis that counts.
  public var store: RedisStore
  /// The cluster's name: every Redis key begins with `sluice:<name>:`.
  public var cluster: String
  /// What the cluster hashes with.
  public var keys: ClusterKeys
  /// Lanes that counters are spread over: a power of two, at most ``LaneMap/maximumLaneCount``.
  public var laneCount = 16
  /// The decision library.
  var laneLibrary = LaneLibrary.current
  /// How long a request waits for a decision, in nanoseconds.
  public var deadline = RedisLink.decisionTime
  /// What connections are called in Redis's list of clients, without spaces.
  public var clientName: String

  /// Settings of one loop.
  public init(store: RedisStore, cluster: String, keys: ClusterKeys, clientName: String) {
    self.store = store
    self.cluster = cluster
    self.keys = keys
    self.clientName = clientName
  }
}

/// The keys that nodes of a cluster hash with, all from the cluster's secret. Clients do not know them, and so cannot
/// choose names that collide.
public struct ClusterKeys: Sendable {
  /// For the names of counters in Redis.
  public let fields: SipKey
  /// For what clients choose: addresses and fields of requests.
  public let subjects: SipKey

  /// The keys that follow from `secret`. An empty one gives keys that everybody can know.
  public init(secret: [UInt8]) {
    let text = Array("sluice quota keys\0".utf8) + secret
    let words = SHA256().digest(of: RawSpan(text)).words
    fields = SipKey(low: words.0, high: words.1)
    subjects = SipKey(low: words.2, high: words.3)
  }
}
