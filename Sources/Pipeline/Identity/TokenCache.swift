import Core
import Crypto

/// A token that was found good, and what follows from it. Immutable.
public final class VerifiedToken: Sendable {
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
    keyChanges: UInt64
  ) {
    (self.identity, self.consumer, self.fields) = (identity, consumer, fields)
    (self.confirmation, self.expires, self.keyChanges) = (confirmation, expires, keyChanges)
  }
}

/// Tokens that a loop has found good, by the SHA-256 digests of all their bytes, so that the next request with one needs no
/// signature verified.
///
/// Only good tokens come in, so that nobody without one displaces anybody; what a token is found by cannot be chosen. When a
/// token is over, which keys its issuer has, and whether it is revoked, is asked each time.
public final class TokenCache {
  /// The most tokens; with their claims some two or three KiB each.
  public static let capacity = 16_384
  /// Places that one digest may be in.
  private static let ways = 4

  private struct Entry {
    let digest: Digest
    /// The policy whose rules it keeps.
    let policy: ObjectIdentifier
    let token: VerifiedToken
    var usedAt: UInt64
  }

  private var entries: ContiguousArray<Entry?> = []
  private var uses: UInt64 = 0

  init() {}

  /// What was found for a token under the rules of `policy`; nil for one that is not there.
  public func find(_ digest: Digest, of policy: AnyObject) -> VerifiedToken? {
    if entries.isEmpty { return nil }
    let first = Self.place(of: digest)
    for index in first..<first + Self.ways {
      guard let entry = entries[index], entry.digest == digest, entry.policy == ObjectIdentifier(policy) else {
        continue
      }
      uses += 1
      entries[index]?.usedAt = uses
      return entry.token
    }
    return nil
  }

  /// Remembers a token; in the place of what was not used for longest where there is no other.
  public func remember(_ token: VerifiedToken, _ digest: Digest, of policy: AnyObject) {
    if entries.isEmpty { entries = ContiguousArray(repeating: nil, count: Self.capacity) }
    let first = Self.place(of: digest)
    let policy = ObjectIdentifier(policy)
    var chosen = first
    for index in first..<first + Self.ways {
      guard let entry = entries[index] else {
        chosen = index
        break
      }
      if entry.digest == digest, entry.policy == policy {
        chosen = index
        break
      }
      if entry.usedAt < entries[chosen]?.usedAt ?? 0 { chosen = index }
    }
    uses += 1
    entries[chosen] = Entry(digest: digest, policy: policy, token: token, usedAt: uses)
  }

  private static func place(of digest: Digest) -> Int {
    Int(truncatingIfNeeded: digest.words.0 % UInt64(capacity / ways)) * ways
  }
}
