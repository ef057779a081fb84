import Core
import Crypto
import Pipeline

/// Decides limits inside the node, at once and exactly: a loop's own access to the ``CounterStore`` that all loops share.
///
/// What has been used is lost when the process ends; a new process begins with full limits.
public final class EmbeddedQuota: Quota {
  /// The key for subjects that clients choose.
  public let subjectKey: SipKey
  private let store: CounterStore
  private var clock = CivilClock()

  /// A loop's access to `store`. All loops of a node must have the same `subjectKey`, 16 random bytes that nobody knows.
  public init(store: CounterStore, subjectKey: SipKey) {
    self.store = store
    self.subjectKey = subjectKey
  }

  /// The wall clock, except that it never goes backwards.
  public func civilTime(now: Instant, wall: WallTime) -> WallTime { clock.advance(now: now, wall: wall) }

  /// Decides at once; never answers ``LimitDecision/waiting``. ``LimitDecision/unavailable`` only where every counter of
  /// a full store is a held slot.
  public func decide(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {
    store.decide(&question, DecisionTime(now: now.nanoseconds, civil: civil.microseconds))
  }

  /// Says at once how the levels stand, and whether they would admit.
  public func peek(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {
    store.peek(&question, DecisionTime(now: now.nanoseconds, civil: civil.microseconds))
  }

  /// Does nothing: every question is decided at once.
  public func collect(_ question: inout LimitQuestion, ticket: UInt64) {}

  /// Gives back the slots that `question` holds; takes no lock where it holds none.
  public func release(_ question: inout LimitQuestion, now: Instant) {
    for index in 0..<question.count where question[index].isHeld {
      store.release(&question)
      return
    }
  }
}
