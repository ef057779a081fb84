import Core

/// What a policy wants revoked in the whole cluster: a session whose token was stolen, for example.
public struct RevocationOrder: Equatable, Sendable {
  /// What kind of thing it is.
  public let kind: RevocationKind
  /// What it is called.
  public let name: String
  /// The second since 1970 at which the revocation ends: when the thing would be over anyhow.
  public let expires: UInt32
  /// Why, for people and the audit log; without secrets.
  public let reason: String
  /// Which policy says so.
  public let origin: String
  /// Whether an operator is to hear of it at once: somebody may be at work who should not be.
  public let isAlarm: Bool

  /// An order. Subjects are revoked with all that they were given before the present second.
  public init(
    _ kind: RevocationKind, _ name: String, expires: UInt32, reason: String, origin: String,
    isAlarm: Bool = false
  ) {
    (self.kind, self.name, self.expires) = (kind, name, expires)
    (self.reason, self.origin, self.isAlarm) = (reason, origin, isAlarm)
  }
}
