// The store as the agent sees it: verbs of the agreement library, plain commands on keys under the cluster's prefix, and
// what nodes publish for each other. One connection takes commands, another one listens.

import Core

/// What an agent and its parts say to the store. It belongs to one loop; nothing blocks.
public final class AgentStore {
  /// How long a command may take unless told otherwise, in nanoseconds. What agents ask is never urgent for a request.
  public static let patience: Int64 = 1_000_000_000
  /// Bytes of commands under way: whole configurations are among them.
  private static let mostBytes = 64 << 20

  /// What happened, apart from answers.
  enum Happening: Equatable {
    case connected, disconnected
    case heard(kind: String, [UInt8])
  }

  /// Before the name of every key: `sluice:<cluster>:{cluster}`.
  public let prefix: String
  /// Set by the owner: to look this host up and answer with ``resolved(host:_:)``.
  var onLookUp: (String) -> Void = { _ in }

  private let world: any World
  private let client: RedisClient
  private let listener: RedisClient
  private let storeLibrary: StoreLibrary
  private let slot: Int
  private var nextTag: UInt64 = 0
  private var pending: [UInt64: (AgentReply) -> Void] = [:]
  /// Commands that were not taken: told in the next turn, so that nobody is answered while he asks.
  private var untaken: [(AgentReply) -> Void] = []
  /// The server and connection that were last reported; nil while there is none.
  private var standing: Standing?
  private var happenings: [Happening] = []

  private struct Standing: Equatable {
    let primary: Int
    let epoch: UInt64
  }

  init(
    _ store: RedisStore, cluster: String, clientName: String, storeLibrary: StoreLibrary, world: any World,
    token: @escaping (_ client: Int, _ link: Int, _ generation: UInt32) -> UInt64
  ) throws(RedisFault) {
    prefix = Self.prefix(of: cluster)
    slot = HashSlot.of(prefix)
    self.storeLibrary = storeLibrary
    self.world = world
    var settings = RedisLinkSettings(clientName: clientName, library: storeLibrary.redis)
    settings.limits.bytes = Self.mostBytes
    client = try RedisClient(store, settings, world: world) { token(0, $0, $1) }
    var listening = RedisLinkSettings(clientName: clientName)
    listening.channels = ["sluice:\(cluster):cluster"]
    listening.needsPrimary = false
    listener = try RedisClient(store, listening, world: world) { token(1, $0, $1) }
  }

  /// Whether commands are taken.
  public var isUp: Bool { client.primary(of: slot).map { client.isUp($0) } ?? false }

  /// The replication id of the primary that commands go to: another one after a failover. Empty while there is none.
  public var replicationID: String { identity?.replicationID ?? "" }

  /// The address by which the store knows this end; nil while there is no connection.
  public var localAddress: SocketAddress? { client.primary(of: slot).flatMap { client.localAddress(to: $0) } }

  private var identity: RedisIdentity? {
    guard let primary = client.primary(of: slot), client.isUp(primary) else { return nil }
    return client.identity(of: primary)
  }

  /// Before the name of every key of a cluster.
  static func prefix(of cluster: String) -> String { "sluice:\(cluster):{cluster}" }

  // MARK: Commands

  /// Calls a verb of the agreement library. `then` is called exactly once, in a later turn, also where there is no
  /// connection; whoever asks again must pause. A command may take `within` nanoseconds.
  public func call(
    _ verb: String, _ arguments: [[UInt8]], within nanoseconds: Int64 = AgentStore.patience,
    then: @escaping (AgentReply) -> Void
  ) {
    let call = storeLibrary.call(verb, prefix: prefix, as: identity?.dialect)
    send(call + arguments, within: nanoseconds, then: then)
  }

  /// Calls a verb of the agreement library with texts as arguments: the same promise.
  public func call(
    _ verb: String, _ arguments: [String], within nanoseconds: Int64 = AgentStore.patience,
    then: @escaping (AgentReply) -> Void
  ) {
    call(verb, arguments.map { Array($0.utf8) }, within: nanoseconds, then: then)
  }

  /// Sends one command on keys under the prefix, with the same promise.
  public func send(
    _ command: [[UInt8]], within nanoseconds: Int64 = AgentStore.patience, then: @escaping (AgentReply) -> Void
  ) {
    nextTag += 1
    let admission = client.send(slot: slot, tag: nextTag, within: nanoseconds) {
      RedisCommand.append(command, to: $0)
    }
    if admission == .accepted { pending[nextTag] = then } else { untaken.append(then) }
  }

  // MARK: For the agent

  func start() {
    client.start()
    listener.start()
  }

  /// Ends the connections: what is under way fails.
  func stop() {
    client.stop()
    listener.stop()
  }

  func ready(token: UInt64, _ readiness: Readiness) -> Bool {
    client.ready(token: token, readiness) || listener.ready(token: token, readiness)
  }

  func resolved(host: String, _ addresses: [IPAddress]?) {
    client.resolved(host: host, addresses)
    listener.resolved(host: host, addresses)
  }

  /// Hands out answers, then what else happened, in order; nil where that is all for now.
  func next() -> Happening? {
    if happenings.isEmpty { collect() }
    return happenings.isEmpty ? nil : happenings.removeFirst()
  }

  func flush() -> Instant {
    let deadline = min(client.flush(), listener.flush())
    return untaken.isEmpty && happenings.isEmpty ? deadline : world.now
  }

  private func collect() {
    let refused = untaken
    untaken = []
    for then in refused { then(.failed(mayHaveRun: false)) }
    while let event = client.next() { digest(event) }
    while let event = listener.next() { hear(event) }
    compareStanding()
  }

  private func digest(_ event: consuming RedisEvent) {
    switch consume event {
    case .reply(let tag, let reply, let isLate):
      // A late one has been told to be missing.
      if !isLate { settle(tag, AgentReply(reply.value)) }
    case .expired(let tag): settle(tag, .failed(mayHaveRun: true))
    case .lost(let tag, let mayHaveRun): settle(tag, .failed(mayHaveRun: mayHaveRun))
    case .lookUp(let host): onLookUp(host)
    case .up: compareStanding()
    case .down: compareStanding()
    case .message: break
    case .silent: break
    case .responsive: break
    }
  }

  private func settle(_ tag: UInt64, _ reply: AgentReply) { pending.removeValue(forKey: tag)?(reply) }

  private func hear(_ event: consuming RedisEvent) {
    switch consume event {
    case .message(let reply):
      guard reply.value.count == 3, case .bytes(let text) = AgentReply(reply.value[2]),
        let space = text.firstIndex(of: UInt8(ascii: " "))
      else { return }
      let kind = String(decoding: text[..<space], as: UTF8.self)
      happenings.append(.heard(kind: kind, Array(text[(space + 1)...])))
    case .lookUp(let host): onLookUp(host)
    default: break
    }
  }

  /// In a Redis Cluster it may become known later than its server came up who serves the prefix.
  private func compareStanding() {
    if client.primary(of: slot) == nil { client.seekSlots() }
    let present = identity.flatMap { identity in
      client.primary(of: slot).map { Standing(primary: $0, epoch: identity.epoch) }
    }
    guard present != standing else { return }
    if standing != nil { happenings.append(.disconnected) }
    if present != nil { happenings.append(.connected) }
    standing = present
  }
}
