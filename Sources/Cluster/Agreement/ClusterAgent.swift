// What a node does to agree with the others, all of it on the control loop: it keeps one connection to the store for
// commands and one that listens, and hands what comes to its parts. None of it is on the way of a request.
//
//   leadership   one node leads; whoever writes as the leader is checked where it is written
//   members      who is there, and what they say of themselves
//   audit        who changed what, or was refused to
//   facts        what is revoked, and the keys that the cluster has made

import Core
import Pipeline

/// What an agent must know of its cluster.
public struct AgentSettings: Sendable {
  /// The Redis in which nodes agree.
  public var store: RedisStore
  /// The cluster's name.
  public var cluster: String
  /// What members prove and hide with.
  public var secrets: ClusterSecrets
  /// What connections are called in Redis's list of clients, without spaces.
  public var clientName: String
  /// What tells the loops how old the facts are that they go by.
  public var verification = FactClock()
  /// The highest epoch that the node has seen in an earlier life; nil where it remembers none.
  public var mark: EpochMark?
  /// How long a leader's lease lasts, in nanoseconds.
  var lease = Leadership.lease
  /// The library that is called.
  var storeLibrary = AgreementLibrary.current

  /// Settings of one node.
  public init(store: RedisStore, cluster: String, secrets: ClusterSecrets, clientName: String) {
    self.store = store
    self.cluster = cluster
    self.secrets = secrets
    self.clientName = clientName
  }
}

/// A node's part in what all nodes of a cluster agree on.
public final class ClusterAgent: StoreAgent {
  /// Which configuration is in force.
  public let revisions: RevisionKeeper
  /// Who changed what.
  public let audit: AuditKeeper
  /// What is revoked, and which keys there are.
  public let factKeeper: FactKeeper
  /// What policies leave for each other.
  public let records: RecordKeeper
  let libraries: LibrarySweep

  /// An agent that does nothing before ``StoreAgent/start()``. `clock` reads the boot clock (CLOCK_BOOTTIME) in nanoseconds;
  /// `token` makes event tokens out of a client's and a link's number and a number that is another one for every attempt.
  /// Throws ``RedisFault/encryption(_:)`` where a file is of no use.
  public init(
    _ settings: AgentSettings, identity: NodeIdentity, world: any World, clock: @escaping () -> Int64,
    token: @escaping (_ client: Int, _ link: Int, _ generation: UInt32) -> UInt64
  ) throws(RedisFault) {
    let base = try AgentFoundation(
      settings, identity: identity, isRouter: false, world: world, clock: clock, token: token)
    revisions = RevisionKeeper(base.context, base.leadership, base.members)
    audit = AuditKeeper(base.context, base.members)
    factKeeper = FactKeeper(base.context, base.leadership, base.members, settings.verification)
    records = RecordKeeper(base.context.store)
    libraries = LibrarySweep(base.context, base.leadership, base.members)
    super.init(base, [revisions, audit, factKeeper, libraries])
  }

  /// Has `keep` called with each higher epoch of a leader, for ``AgentSettings/mark`` of the next life.
  public func keepMarks(_ keep: @escaping (EpochMark) -> Void) { leadership.onMark = keep }
}
