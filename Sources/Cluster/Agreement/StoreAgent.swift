// The agent's owner and its turn. All of it is on the control loop; none of it is on the way of a request.

import Core

/// What takes part in a cluster: it keeps a connection to the store for commands and one that listens, and knows who is there.
///
/// The owner calls ``ready(token:_:)`` for events of its sockets, and in each turn ``work()`` first, then ``nextEvent()``
/// until there is none, and ``flush()`` last.
public class StoreAgent {
  /// The longest that a process which ends waits for its last words to be heard, in nanoseconds.
  public static let farewell: Int64 = 500_000_000

  /// Who this is.
  public var identity: NodeIdentity { context.identity }
  /// The store, for commands of the owner's own.
  public var store: AgentStore { context.store }
  /// Who leads.
  public let leadership: Leadership
  /// Who is there.
  public let members: Membership

  /// Set by the owner: to look this host up and answer with ``resolved(host:_:)``.
  public var onLookUp: (String) -> Void = { _ in } {
    didSet { context.store.onLookUp = onLookUp }
  }

  let context: AgentContext
  /// Called in this order for whatever happens.
  private let parts: [any AgentPart]
  /// When a part must be called again, by the boot clock.
  private var nextDue: Int64 = 0
  /// After ``stop()``: when there was time enough for the last words, and whether all has been said.
  private var farewellEnds: Int64?
  private var hasLeft = false

  /// An agent that does nothing before ``start()``; `parts` come behind those of the foundation.
  init(_ foundation: AgentFoundation, _ parts: [any AgentPart]) {
    (context, leadership, members) = (foundation.context, foundation.leadership, foundation.members)
    self.parts = [leadership, members] + parts
  }

  /// The boot clock, in nanoseconds.
  public func clock() -> Int64 { context.clock() }

  /// Adds to what it says of itself: called before each sign of life.
  public func contribute(_ add: @escaping (inout MemberRecord) -> Void) { members.contributors.append(add) }

  /// From now on proves and hides with these.
  public func replaceSecrets(_ secrets: ClusterSecrets) { context.secrets = secrets }

  /// Begins to connect. Once.
  public func start() { context.store.start() }

  /// It takes no more requests: it gives the lead back, and says so.
  public func drain() {
    leadership.withdraw()
    members.noteNews()
  }

  /// It ends: gives the lead back and leaves the members. Over when ``isStopped``, after ``farewell`` at the latest.
  public func stop() {
    guard farewellEnds == nil else { return }
    farewellEnds = context.clock() + Self.farewell
    leadership.withdraw()
    members.leave { [weak self] in self?.hasLeft = true }
  }

  /// Whether all has been said that there was to say after ``stop()``, or there was time enough.
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

/// What every agent begins with.
struct AgentFoundation {
  let context: AgentContext
  let leadership: Leadership
  let members: Membership

  /// Of a node, or of a router, which never leads. Throws ``RedisFault/encryption(_:)`` where a file is of no use.
  init(
    _ settings: AgentSettings, identity: NodeIdentity, isRouter: Bool, world: any World,
    clock: @escaping () -> Int64, token: @escaping (_ client: Int, _ link: Int, _ generation: UInt32) -> UInt64
  ) throws(RedisFault) {
    let store = try AgentStore(
      settings.store, cluster: settings.cluster, clientName: settings.clientName, storeLibrary: settings.storeLibrary,
      world: world, token: token)
    context = AgentContext(
      identity: identity, store: store, secrets: settings.secrets, world: world, clock: clock,
      advice: StoreCheck.grant(to: settings.store.user, in: settings.cluster))
    leadership = Leadership(context, lease: settings.lease, mark: settings.mark, isCandidate: !isRouter)
    members = Membership(context, leadership, isRouter: isRouter)
  }
}
