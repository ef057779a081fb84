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
///
/// The owner calls ``ready(token:_:)`` for events of its sockets, and in each turn ``work()`` first, then ``nextEvent()``
/// until there is none, and ``flush()`` last.
public final class ClusterAgent {
  /// The longest that a node which ends waits for its last words to be heard, in nanoseconds.
  public static let farewell: Int64 = 500_000_000

  /// Who this node is.
  public var identity: NodeIdentity { context.identity }
  /// The store, for commands of the owner's own.
  public var store: AgentStore { context.store }
  /// Who leads.
  public let leadership: Leadership
  /// Who is there.
  public let members: Membership
  /// Which configuration is in force.
  public let revisions: RevisionKeeper
  /// Who changed what.
  public let audit: AuditKeeper
  /// What is revoked, and which keys there are.
  public let factKeeper: FactKeeper

  /// Set by the owner: to look this host up and answer with ``resolved(host:_:)``.
  public var onLookUp: (String) -> Void = { _ in } {
    didSet { context.store.onLookUp = onLookUp }
  }

  let context: AgentContext
  private let parts: [any AgentPart]
  /// When a part must be called again, by the boot clock.
  private var nextDue: Int64 = 0
  /// After ``stop()``: when the node has waited long enough, and whether all has been said.
  private var farewellEnds: Int64?
  private var hasLeft = false

  /// An agent that does nothing before ``start()``. `clock` reads the boot clock (CLOCK_BOOTTIME) in nanoseconds; `token`
  /// makes event tokens out of a client's and a link's number and a number that is another one for every attempt. Throws
  /// ``RedisFault/encryption(_:)`` where a file is of no use.
  public init(
    _ settings: AgentSettings, identity: NodeIdentity, world: any World, clock: @escaping () -> Int64,
    token: @escaping (_ client: Int, _ link: Int, _ generation: UInt32) -> UInt64
  ) throws(RedisFault) {
    let store = try AgentStore(
      settings.store, cluster: settings.cluster, clientName: settings.clientName, storeLibrary: settings.storeLibrary,
      world: world, token: token)
    context = AgentContext(
      identity: identity, store: store, secrets: settings.secrets, world: world, clock: clock,
      advice: StoreCheck.grant(to: settings.store.user, in: settings.cluster))
    leadership = Leadership(context, lease: settings.lease, mark: settings.mark)
    members = Membership(context, leadership)
    revisions = RevisionKeeper(context, leadership, members)
    audit = AuditKeeper(context, members)
    factKeeper = FactKeeper(context, leadership, members, settings.verification)
    parts = [leadership, members, revisions, audit, factKeeper]
  }

  /// The boot clock, in nanoseconds.
  public func clock() -> Int64 { context.clock() }

  /// Adds to what the node says of itself: called before each sign of life.
  public func contribute(_ add: @escaping (inout MemberRecord) -> Void) { members.contributors.append(add) }

  /// Has `keep` called with each higher epoch of a leader, for ``AgentSettings/mark`` of the next life.
  public func keepMarks(_ keep: @escaping (EpochMark) -> Void) { leadership.onMark = keep }

  /// From now on proves and hides with these.
  public func replaceSecrets(_ secrets: ClusterSecrets) { context.secrets = secrets }

  /// Begins to connect. Once.
  public func start() { context.store.start() }

  /// The node takes no more requests: it gives the lead back, and says so.
  public func drain() {
    leadership.withdraw()
    members.noteNews()
  }

  /// The node ends: gives the lead back and leaves the members. Over when ``isStopped``, after ``farewell`` at the latest.
  public func stop() {
    guard farewellEnds == nil else { return }
    farewellEnds = context.clock() + Self.farewell
    leadership.withdraw()
    members.leave { [weak self] in self?.hasLeft = true }
  }

  /// Whether the node has said all that it had to say after ``stop()``, or has waited long enough.
  public var isStopped: Bool {
    guard let farewellEnds else { return false }
    return hasLeft || farewellEnds <= context.clock()
  }

  /// An event of a socket; false where it is none of this agent's.
  public func ready(token: UInt64, _ readiness: Readiness) -> Bool { context.store.ready(token: token, readiness) }

  /// The addresses of a host that was to be looked up; nil or none where that failed.
  public func resolved(host: String, _ addresses: [IPAddress]?) { context.store.resolved(host: host, addresses) }

  /// Takes in what the store has said, and does what is due. First thing in each turn.
  public func work() {
    while let happening = context.store.next() {
      for part in parts {
        switch happening {
        case .connected: part.connected()
        case .disconnected: part.disconnected()
        case .heard(let kind, let payload): part.heard(kind, payload)
        }
      }
    }
    let moment = context.clock()
    context.mustAdvance = false
    nextDue = .max
    for part in parts { nextDue = min(nextDue, part.advance(moment)) }
  }

  /// What the owner must do; nil where that is all for now.
  public func nextEvent() -> AgentEvent? { context.nextEvent() }

  /// Sends what this turn has collected. Last thing in each turn; returns when to be called again at the latest.
  public func flush() -> Instant {
    let deadline = context.store.flush()
    let due = min(nextDue, farewellEnds ?? .max)
    if context.hasEvents || context.mustAdvance { return context.world.now }
    guard due != .max else { return deadline }
    return min(deadline, context.world.now.advanced(byNanoseconds: max(0, due - context.clock())))
  }
}
