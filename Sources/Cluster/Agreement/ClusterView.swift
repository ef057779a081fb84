import Core

/// What a node knows of its cluster, to be shown: plain values that any thread may have.
public struct ClusterView: Sendable {
  /// Who says so.
  public let own: NodeIdentity
  /// The leader's id; empty where none is known.
  public let leader: String
  /// What people call the leader; empty where that is not known.
  public let leaderName: String
  /// The leader's epoch, and when it began by the store's clock.
  public let epoch: Int64
  /// See ``epoch``.
  public let leaderSince: WallTime
  /// The number of the list of members; 0 where none is known.
  public let generation: Int64
  /// Everybody of whom the store knows, sorted by id: the dead of the last hour too.
  public let members: [Member]
  /// The routers of which the store knows, likewise.
  public let routers: [Member]
  /// Whether the store takes commands.
  public let isStoreUp: Bool
  /// How old ``members`` is, in nanoseconds.
  public let age: Int64
}

extension ClusterAgent {
  /// What this node knows at present; ``Membership/refresh(then:)`` before makes it new.
  public var view: ClusterView {
    ClusterView(
      own: identity, leader: leadership.leader, leaderName: leadership.leaderName, epoch: leadership.epoch,
      leaderSince: WallTime(microseconds: leadership.view.since), generation: members.generation, members: members.all,
      routers: members.routers, isStoreUp: store.isUp, age: max(0, clock() - members.toldAt))
  }
}

/// The few numbers of a cluster that metrics show.
public struct ClusterFacts: Equatable, Sendable {
  /// Whether this node leads.
  public var isLeader = false
  /// The epoch of the leader.
  public var epoch: Int64 = 0
  /// How many members are listed.
  public var members = 0
  /// The number of the list.
  public var generation: Int64 = 0
  /// Whether the store takes commands.
  public var isStoreUp = false
  /// How long the last sign of life took to be answered, in microseconds.
  public var storeMicroseconds: Int64 = 0
  /// The revision in force.
  public var revision: Int64 = 0
  /// How many revocations the node knows of, and how many keys that the cluster has made.
  public var revocations = 0
  /// See ``revocations``.
  public var keys = 0
  /// Requests that met facts which may have lacked something.
  public var staleRequests: UInt64 = 0
  /// How old the node's knowledge of facts is, in milliseconds; 0 before it knew any.
  public var factAge: Int64 = 0

  /// Facts of a cluster of which nothing is known.
  public init() {}
}

extension ClusterAgent {
  /// What metrics show of the cluster at present.
  public var facts: ClusterFacts {
    var facts = ClusterFacts()
    facts.isLeader = leadership.isLeader(at: clock())
    facts.epoch = leadership.epoch
    facts.members = members.listedCount
    facts.generation = members.generation
    facts.isStoreUp = store.isUp
    facts.storeMicroseconds = members.own.storeMicroseconds
    facts.revision = members.own.revision
    facts.revocations = factKeeper.view.revocations.count
    facts.keys = factKeeper.view.keys.count
    facts.staleRequests = factKeeper.verification.staleRequests
    let verifiedAt = factKeeper.verification.verifiedAt
    facts.factAge = verifiedAt > 0 ? max(0, clock() - verifiedAt) / 1_000_000 : 0
    return facts
  }
}
