import Core
import Simulation

extension ModelRedis {
  /// Cuts the primary and some hosts off from everybody else: they go on together, and ``promoteReplica()`` makes another
  /// primary for the rest. The former one notices that it has no replica left when ``refuseWrites()`` says so.
  public func split(with hosts: [IPAddress]) {
    precondition(isAlive && !isSplit)
    replication.cut(at: world.now, lag: lag)
    former = (store, replication, hosts)
    store.publish = { [unowned self] in publish($0, $1, asFormer: true) }
    for connection in connections {
      if case .ip(let host, port: _) = connection.peer.remote { connection.isFormer = hosts.contains(host) }
    }
    crash()
  }

  /// The former primary takes no writes any more (`min-replicas-to-write 1`).
  public func refuseWrites() { former?.store.standing.lacksReplicas = true }

  /// The former primary is gone, and what only it knew; its hosts reach the new one.
  public func heal() {
    former = nil
    if !isAlive { server?.close() }
    reset(\.isFormer)
  }

  /// Trims a stream of whole numbers below one of them.
  public func trim(_ key: String, below number: UInt64) {
    let key = Array(key.utf8)
    guard isAlive, case .stream(var stream)? = store.entry(key)?.value else { return }
    stream.entries.removeAll { $0.id.milliseconds < number }
    store.put(key, .stream(stream))
    noteChanges()
  }
}
