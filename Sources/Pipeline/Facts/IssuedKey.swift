import Core
import Crypto

/// A key that the cluster has made, as its record tells. The record of the highest version holds, so that they can be
/// merged in any order.
public struct IssuedKey: Equatable, Sendable {
  /// Whether it can be used.
  public enum State: UInt8, BitwiseCopyable, Sendable {
    /// It can, within its time.
    case active = 0
    /// Not until it is enabled again.
    case disabled
    /// Never again. The record stays for a while, so that no older one brings the key back.
    case deleted
  }

  /// The longest name of a consumer, tenant or group, in bytes.
  public static let nameBytes = 128
  /// The most groups of a consumer.
  public static let groupCount = 16

  /// Its name.
  public var id: KeyID
  /// Microseconds since 1970 when this record was made, or one more than the record before it.
  public var version: UInt64
  /// SHA-256 of the key's text.
  public var digest: Digest
  /// Whose it is.
  public var consumer: KeyConsumer
  /// Whether it can be used.
  public var state: State
  /// The second at which the key was made.
  public var created: UInt32
  /// The first second at which it is valid; 0 for always.
  public var notBefore: UInt32
  /// The first second at which it is no longer valid; `UInt32.max` for never.
  public var expires: UInt32

  /// A record of these parts.
  public init(
    id: KeyID, version: UInt64, digest: Digest, consumer: KeyConsumer, state: State = .active, created: UInt32,
    notBefore: UInt32 = 0, expires: UInt32 = .max
  ) {
    self.id = id
    self.version = version
    self.digest = digest
    self.consumer = consumer
    self.state = state
    self.created = created
    self.notBefore = notBefore
    self.expires = expires
  }
}

/// Whose a key of the cluster is: a consumer of the configuration, or one that only its keys know of.
public struct KeyConsumer: Hashable, Sendable {
  /// What a consumer is that the configuration does not know.
  public struct Own: Hashable, Sendable {
    /// Its tenant, if any.
    public var tenant: String?
    /// Its groups.
    public var groups: [String]
    /// Its usage plan, if any.
    public var plan: String?

    /// A consumer of this tenant, in these groups, with this plan.
    public init(tenant: String? = nil, groups: [String] = [], plan: String? = nil) {
      self.tenant = tenant
      self.groups = groups
      self.plan = plan
    }
  }

  /// The consumer's name.
  public var id: String
  /// Nil where the configuration tells what the consumer is: without it there, its keys are nobody's.
  public var own: Own?

  /// A consumer of this name.
  public init(id: String, own: Own? = nil) {
    self.id = id
    self.own = own
  }
}

/// What all keys have in common whose consumers are alike but for their names.
final class ConsumerProfile: Sendable {
  let own: KeyConsumer.Own?
  let tenantKey: QuotaKey?
  let groupKey: QuotaKey?
  let planKey: QuotaKey?

  init(_ own: KeyConsumer.Own?) {
    self.own = own
    tenantKey = own?.tenant.map { QuotaKey(configured: "tenant", $0) }
    groupKey = own?.groups.first.map { QuotaKey(configured: "group", $0) }
    planKey = own?.plan.map { QuotaKey(plan: $0) }
  }
}
