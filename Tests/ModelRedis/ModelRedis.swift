// A Redis in the simulated world: RESP2 over simulated connections, replicas that are behind, and everything that goes wrong
// with a server. What commands do is ``ModelStore``'s; here are connections, faults and replication.
//
// Its answers take no time of their own, only that of the network: a Redis that is slow is one that is frozen for a while.

import Core
import Simulation

/// A server at an address, with a replica that is promoted when it fails.
public final class ModelRedis {
  /// Keys, scripts and clock. A new one with each life.
  public private(set) var store: ModelStore
  /// Where it listens.
  public let address: SocketAddress
  /// How far the replica is behind.
  public var lag: Duration
  /// Whether it is there: listens and answers.
  public private(set) var isAlive = false
  /// By how many microseconds its clock is ahead of the world's.
  public var clockOffsetMicroseconds: Int64 = 0
  /// Called before each command, with the connection's host: whoever checks from outside sees what is asked.
  public var onCommand: (_ words: [[UInt8]]) -> Void = { _ in }
  /// Called behind each command with its answer.
  public var onAnswer: (_ words: [[UInt8]], ModelReply) -> Void = { _, _ in }
  /// Commands that no store of this server knew.
  public var unknownCommands: [String] { formerUnknown + store.unknown }
  /// What scripts failed by.
  public var scriptFailures: [String] { formerFailures + store.scriptFailures }
  /// What the store of every life has run.
  public var commandCount: Int { formerCount + store.commandCount }

  final class Connection {
    let peer: Peer
    /// Whether it is to the primary of before a split.
    var isFormer: Bool
    var input: [UInt8] = []
    var channels: [[UInt8]] = []
    init(_ peer: Peer, isFormer: Bool) { (self.peer, self.isFormer) = (peer, isFormer) }
  }

  let world: SimulatedWorld
  private var random: SeededGenerator
  var server: ScriptedServer?
  var connections: [Connection] = []
  /// The primary of before a split, and the hosts that reach it and not the new one.
  var former: (store: ModelStore, replication: ModelReplication, hosts: [IPAddress])?
  /// Whether the command that is being answered came to the former primary.
  public private(set) var isAnsweringAsFormer = false
  private var isFrozen = false
  /// How far the primary's replica is; the former primary has its own.
  var replication: ModelReplication
  private var replica = Keyspace()
  private var replicaLibraries: [[UInt8]] = []
  /// What the replica has not heard yet.
  private var log: [(time: Instant, changes: [ModelStore.Change])] = []
  private var formerUnknown: [String] = []
  private var formerFailures: [String] = []
  private var formerCount = 0

  /// Whether there are two primaries, or one that only some reach.
  public var isSplit: Bool { former != nil }

  /// Takes Functions away: a server before 7.0. Before anybody connects.
  public func beOld() { store.standing.hasFunctions = false }

  /// An empty server at `address` whose replication ids follow from `seed`.
  public init(_ world: SimulatedWorld, at address: SocketAddress, seed: UInt64, lag: Duration = .milliseconds(5)) {
    self.world = world
    self.address = address
    self.lag = lag
    random = SeededGenerator(seed: seed)
    store = ModelStore { 0 }
    replication = ModelReplication(at: world.now)
    begin(Keyspace(), libraries: [])
  }

  /// Its civil time, in microseconds.
  public var clock: Int64 { world.wallTime.microseconds + clockOffsetMicroseconds }

  /// How many connections stand.
  public var openConnections: Int { connections.count { !$0.peer.isOver } }

  // MARK: Life

  private func begin(_ keyspace: Keyspace, libraries: [[UInt8]]) {
    formerUnknown += store.unknown
    formerFailures += store.scriptFailures
    formerCount += store.commandCount
    let standing = store.standing
    store = ModelStore { [unowned self] in clock }
    store.standing = standing
    store.standing.lacksReplicas = false
    store.standing.replicationID = String(
      (0..<5).map { _ in String(random.next() >> 32 | 1 << 32, radix: 16).suffix(8) }.joined())
    store.keyspace = keyspace
    for source in libraries { _ = try? store.load(source) }
    store.publish = { [unowned self] in publish($0, $1, asFormer: false) }
    store.configuration.removeAll { $0.name.hasSuffix("to-write") }
    store.configuration += [("min-replicas-to-write", "1"), ("min-slaves-to-write", "1")]
    let replication = ModelReplication(at: world.now)
    self.replication = replication
    store.replication = { [unowned self] in (replication.written, replication.followed(at: world.now, lag: lag)) }
    store.hurryReplica = { [unowned self] in replication.ask(at: world.now) }
    replica = keyspace
    replicaLibraries = libraries
    log = []
    isFrozen = false
    isAlive = true
    server?.close()
    server = world.serve(address) { [unowned self] in changed($0) }
  }

  /// Ends the process. What its replica has not heard is lost, as far as the replica is promoted.
  public func crash() {
    guard isAlive else { return }
    replicate()
    isAlive = false
    server?.close()
    // Whoever reaches the former primary still does.
    server = former == nil ? nil : world.serve(address) { [unowned self] in changed($0) }
    reset { !$0.isFormer }
  }

  /// Tears connections down.
  func reset(_ which: (Connection) -> Bool) {
    for connection in connections where which(connection) { connection.peer.reset() }
    connections.removeAll(where: which)
  }

  /// Starts again, and has forgotten everything.
  public func restartEmpty() {
    crash()
    begin(Keyspace(), libraries: [])
  }

  /// Lets the replica serve at the primary's address: without the writes that it has not heard of, and with another
  /// replication id. Functions it has, scripts it has not.
  public func promoteReplica() {
    crash()
    begin(replica, libraries: replicaLibraries)
  }

  /// Stops the process; its kernel still takes connections and bytes.
  public func freeze() { isFrozen = true }

  /// Lets a stopped process go on with what has come meanwhile.
  public func thaw() {
    guard isFrozen else { return }
    isFrozen = false
    for connection in connections { serve(connection) }
  }

  /// Tears all connections down.
  public func cutConnections() {
    reset { _ in true }
  }

  /// Forgets functions and scripts.
  public func forgetScripts() {
    store.flushFunctions()
    _ = store.run([Array("SCRIPT".utf8), Array("FLUSH".utf8)])
  }

  // MARK: Replication

  /// Brings the replica to where it is by now.
  func replicate() {
    let heard = world.now.advanced(byNanoseconds: -lag.wholeNanoseconds)
    let count = log.firstIndex { $0.time > heard } ?? log.count
    for entry in log[..<count] {
      for change in entry.changes { replica.set(change.key, change.entry) }
    }
    log.removeFirst(count)
    replicaLibraries = store.libraries.map(\.source)
  }

  // MARK: Connections

  private func changed(_ peer: Peer) {
    let connection: Connection
    if let known = connections.first(where: { $0.peer === peer }) {
      connection = known
    } else if peer.isOver {
      return
    } else {
      var isFormer = false
      if let former, case .ip(let host, port: _) = peer.remote { isFormer = former.hosts.contains(host) }
      guard isFormer || isAlive else { return peer.reset() }
      connection = Connection(peer, isFormer: isFormer)
      connections.append(connection)
    }
    if !isFrozen { serve(connection) }
    if peer.isOver, !isFrozen { connections.removeAll { $0.peer === peer } }
  }

  private func serve(_ connection: Connection) {
    let peer = connection.peer
    if !peer.received.isEmpty { connection.input += peer.take() }
    var output: [UInt8] = []
    var position = 0
    while position < connection.input.count, let reply = ModelReply(connection.input, &position) {
      guard case .list(let all) = reply else { preconditionFailure("a client sends \(reply)") }
      let words = all.map { if case .bytes(let bytes) = $0 { bytes } else { [UInt8]() } }
      answer(words, connection, &output)
    }
    connection.input.removeFirst(position)
    if !output.isEmpty, !peer.isOver { peer.send(output) }
    if peer.hasEnded { peer.close() }
  }

  private func answer(_ words: [[UInt8]], _ connection: Connection, _ output: inout [UInt8]) {
    if words.first.map({ String(decoding: $0, as: UTF8.self).uppercased() }) == "SUBSCRIBE" {
      for channel in words.dropFirst() {
        connection.channels.append(channel)
        ModelReply.list([.text("subscribe"), .bytes(channel), .integer(Int64(connection.channels.count))])
          .encode(into: &output)
      }
      return
    }
    onCommand(words)
    isAnsweringAsFormer = connection.isFormer
    let reply = (connection.isFormer ? former?.store ?? store : store).run(words)
    if connection.isFormer {
      if let former, !former.store.changes.isEmpty { former.replication.write(1, at: world.now) }
      former?.store.changes = []
    } else {
      noteChanges()
    }
    onAnswer(words, reply)
    reply.encode(into: &output)
  }

  func noteChanges() {
    if !store.changes.isEmpty {
      log.append((world.now, store.changes))
      replication.write(store.changes.count, at: world.now)
      store.changes = []
      if log.count >= 512 { replicate() }
    }
  }

  func publish(_ channel: [UInt8], _ payload: [UInt8], asFormer isFormer: Bool) -> Int {
    var count = 0
    for connection in connections where connection.isFormer == isFormer && !connection.peer.isOver {
      guard connection.channels.contains(channel) else { continue }
      var bytes: [UInt8] = []
      ModelReply.list([.text("message"), .bytes(channel), .bytes(payload)]).encode(into: &bytes)
      connection.peer.send(bytes)
      count += 1
    }
    return count
  }
}
