import Core
import Crypto
import Pipeline

/// Skeleton: see the notes.
public final class SharedQuota: Quota {
  public let subjectKey: SipKey
  /// Set by the owner: look this host up and answer with ``resolved(host:_:)``.
  public var onLookUp: (String) -> Void = { _ in }

  public init(
    _ settings: SharedQuotaSettings, world: any World, node: NodeQuota, clock: @escaping () -> Int64,
    token: @escaping (_ client: Int, _ link: Int, _ generation: UInt32) -> UInt64
  ) throws(RedisFault) {
    subjectKey = settings.keys.subjects
  }
  public func start() {}
  public func stop() {}
  public func ready(token: UInt64, _ readiness: Readiness) -> Bool { false }
  public func work() {}
  public func nextAnswered() -> UInt64? { nil }
  public func flush() -> Instant { .never }
  public func resolved(host: String, _ addresses: [IPAddress]?) {}
  public func civilTime(now: Instant, wall: WallTime) -> WallTime { wall }
  public func decide(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {}
  public func peek(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {}
  public func collect(_ question: inout LimitQuestion, ticket: UInt64) {}
  public func release(_ question: inout LimitQuestion, now: Instant) {}
}

/// What the loops of one node share of the quota.
public final class NodeQuota: Sendable {
  public init() {}
}
