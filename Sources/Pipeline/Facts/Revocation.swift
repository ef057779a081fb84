import Core
import Crypto

/// What can be revoked.
public enum RevocationKind: UInt8, BitwiseCopyable, CaseIterable, Sendable {
  /// One token, by its `jti`.
  case tokenID = 1
  /// One API key: the id of a key of the cluster, or `consumer/key` for one that the configuration names.
  case key
  /// A session, by its `sid`.
  case session
  /// All tokens and keys that a subject or consumer was given before a moment.
  case subject
  /// A client, by its `client_id`.
  case client
  /// A tenant with all its consumers.
  case tenant
  /// A key by which tokens are signed, by its `kid`.
  case signingKey

  /// Its name in the admin API and on the command line.
  public var name: String {
    switch self {
    case .tokenID: "jti"
    case .key: "key"
    case .session: "session"
    case .subject: "subject"
    case .client: "client"
    case .tenant: "tenant"
    case .signingKey: "signing-key"
    }
  }

  /// The kind of that name.
  public init?(name: some StringProtocol) {
    guard let kind = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = kind
  }
}

/// What a revoked thing is remembered by: 60 bits of a hash under the cluster's key, with the kind in it.
///
/// Equal on all nodes of a cluster. Nobody without the key can make two names with one mark; by chance a name that is not
/// revoked has the mark of one that is with a probability of 2⁻⁶⁰ for each revocation, 10⁻¹¹ with ten million.
public struct RevocationMark: Hashable, Sendable, BitwiseCopyable {
  /// The significant bits of a mark.
  public static let bitCount = 60
  /// From 1 to 2⁶⁰ − 1.
  public let bits: UInt64

  /// The mark of nothing: none that is made of a name is like it.
  static var none: RevocationMark { RevocationMark(anyBits: 0) }

  private init(anyBits bits: UInt64) { self.bits = bits }

  /// The mark with these bits; nil where they are out of bounds.
  public init?(bits: UInt64) {
    guard bits > 0, bits >> UInt64(Self.bitCount) == 0 else { return nil }
    self.bits = bits
  }

  /// The mark of a name, some 20 ns.
  public init(_ kind: RevocationKind, _ name: RawSpan, key: SipKey) {
    let hash = key.hash(name)
    let mixed = key.hash(hash.low &+ UInt64(kind.rawValue) &* 0x9e37_79b9_7f4a_7c15, hash.high).low
    bits = max(mixed >> UInt64(64 - Self.bitCount), 1)
  }

  /// The mark of a name.
  public init(_ kind: RevocationKind, _ name: String, key: SipKey) {
    var name = name
    self = name.withUTF8 { unsafe RevocationMark(kind, RawSpan(_unsafeElements: $0), key: key) }
  }
}

/// One revocation. Of two with one mark the later end and the later moment hold, so that they can be merged in any order.
public struct Revocation: Equatable, Sendable, BitwiseCopyable {
  /// The end of a revocation that never ends.
  public static let never = UInt32.max

  /// Of what.
  public var mark: RevocationMark
  /// The first second since 1970 at which it is over.
  public var expires: UInt32
  /// Only what was issued before this second is revoked; 0 where everything is, and where the end may be late by a quarter
  /// of what was left of it: so that old ones can be packed by their ends.
  public var issuedBefore: UInt32

  /// A revocation of these parts.
  public init(_ mark: RevocationMark, expires: UInt32 = Self.never, issuedBefore: UInt32 = 0) {
    self.mark = mark
    self.expires = expires
    self.issuedBefore = issuedBefore
  }

  /// The revocation of a thing that is called `mark`. A token that is over is of no use, so that nobody minds if its
  /// revocation ends late; that of a key or a client ends when it was said to.
  public init(_ kind: RevocationKind, _ mark: RevocationMark, expires: UInt32 = Self.never, issuedBefore: UInt32 = 0) {
    let mayEndLate = kind == .tokenID || kind == .session || expires == Self.never
    self.init(mark, expires: expires, issuedBefore: issuedBefore == 0 && !mayEndLate ? .max : issuedBefore)
  }

  /// Whether nothing but its mark has to be remembered once it is old: its end is that of its segment then.
  var isCompact: Bool { issuedBefore == 0 }
}
