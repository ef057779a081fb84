import Core

/// A token that was found good, and what follows from it. Immutable.
public final class VerifiedToken: Sendable {
  /// The most that a loop remembers; with their claims some two or three KiB each.
  public static let cacheCapacity = 16_384

  /// Whom it stands for.
  public let identity: Identity
  /// The consumer of the configuration that it stands for; −1 for none.
  public let consumer: Int32
  /// Lines `Name: value\r\n` for the upstream.
  public let fields: [UInt8]
  /// What a request must show beside the token.
  public let confirmation: Confirmation
  /// From this moment on it is not good any more.
  public let expires: WallTime
  /// What ``IssuerBook/changes`` was when its signature was verified.
  public let keyChanges: UInt64
  /// What the policy that made it wants to know beside; its own.
  public let origin: (any AnyObject & Sendable)?

  /// What a token is bound to (RFC 7800).
  public enum Confirmation: Equatable, Sendable {
    /// Nothing: whoever has it may use it.
    case none
    /// The client certificate with this thumbprint (RFC 8705 section 3.1).
    case certificate(String)
    /// The key with this thumbprint (RFC 9449 section 6.1).
    case key(String)
    /// Something that cannot be checked here.
    case unknown
  }

  /// A token with these consequences.
  public init(
    identity: Identity, consumer: Int32, fields: [UInt8], confirmation: Confirmation, expires: WallTime,
    keyChanges: UInt64, origin: (any AnyObject & Sendable)? = nil
  ) {
    (self.identity, self.consumer, self.fields) = (identity, consumer, fields)
    (self.confirmation, self.expires, self.keyChanges) = (confirmation, expires, keyChanges)
    self.origin = origin
  }
}
