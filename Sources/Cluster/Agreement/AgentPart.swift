import Core

/// One thing that nodes agree on, as a part of the agent. All of it runs on the control loop.
protocol AgentPart: AnyObject {
  /// The store is there, with commands taken from now on: at the start, after an interruption, and after a failover, when
  /// ``AgentStore/replicationID`` is another one.
  func connected()
  /// The store is not there any more.
  func disconnected()
  /// A script published something on the cluster's channel. What is published while nobody listens is never heard, and in a
  /// Redis Cluster it may be heard more than once.
  func heard(_ kind: String, _ payload: [UInt8])
  /// Does what is due at `moment`, of the boot clock in nanoseconds; returns when it must be called again at the latest,
  /// `.max` for never. Called in every turn.
  func advance(_ moment: Int64) -> Int64
}

extension AgentPart {
  func connected() {}
  func disconnected() {}
  func heard(_ kind: String, _ payload: [UInt8]) {}
}

/// What an agent asks of its owner.
public enum AgentEvent: Equatable, Sendable {
  /// People should know this.
  case remark(String)
  /// A line of the audit log is new.
  case audit(String)
  /// This configuration must be compiled, and taken over or refused.
  case revision(RevisionCandidate)
  /// Other nodes take requests than before.
  case nodes
  /// This configuration compiles, the disk has it as far as it can be had, and it must be taken over.
  case kept(RevisionCandidate)
}

/// What all parts of an agent share.
final class AgentContext {
  /// The most events that wait for the owner, who takes them in every turn.
  static let mostEvents = 1024

  let identity: NodeIdentity
  let store: AgentStore
  /// What members prove and hide with; another one while the node runs, where the secret is being replaced.
  var secrets: ClusterSecrets
  let world: any World
  /// The boot clock, in nanoseconds, read anew at every call: a process that was stopped must notice.
  let clock: () -> Int64
  /// What to do where the store refuses what it is asked.
  private let advice: String
  private var lastRefusal: String?
  private var events: [AgentEvent] = []

  init(
    identity: NodeIdentity, store: AgentStore, secrets: ClusterSecrets, world: any World,
    clock: @escaping () -> Int64, advice: String = ""
  ) {
    self.identity = identity
    self.store = store
    self.secrets = secrets
    self.advice = advice
    self.world = world
    self.clock = clock
  }

  /// Asks something of the owner.
  func emit(_ event: AgentEvent) {
    if events.count < Self.mostEvents { events.append(event) }
  }

  /// Tells people something.
  func remark(_ text: String) { emit(.remark(text)) }

  /// Tells people once that the store refuses what it is asked, until it does not any more.
  func note(refusal reason: String?) {
    if let reason, lastRefusal == nil { remark("the store refuses what nodes agree on (\(reason)); \(advice)") }
    lastRefusal = reason
  }

  /// Parts must be called again at once: something has become due since they were.
  var mustAdvance = false

  var hasEvents: Bool { !events.isEmpty }

  func nextEvent() -> AgentEvent? { events.isEmpty ? nil : events.removeFirst() }

  /// Up to so many nanoseconds.
  func jitter(_ most: Int64) -> Int64 { Int64(world.random() % UInt64(most)) }
}
