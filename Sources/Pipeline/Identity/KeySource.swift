import Core
import Crypto

/// Where the keys of an issuer come from.
public struct KeySource: Hashable, Sendable {
  /// How they are found.
  public enum Kind: Hashable, Sendable {
    /// The URL is that of the keys (RFC 7517 section 5).
    case jwks
    /// The URL is that of a document which says where they are (OpenID Connect Discovery 1.0 section 4).
    case discovery
  }

  /// How they are found.
  public let kind: Kind
  /// The URL that is asked first.
  public let url: String
  /// What the document must call the issuer, to the byte; nil for ``Kind/jwks``.
  public let issuer: String?
  /// The PEM text of the authorities whose certificates are good; nil for the system's.
  public let authorities: String?

  private init(_ kind: Kind, _ url: String, issuer: String?, _ authorities: String?) {
    (self.kind, self.url, self.issuer, self.authorities) = (kind, url, issuer, authorities)
  }

  /// Keys at `url`; see ``FetchURL`` for what it may be.
  public static func keys(at url: String, authorities: String? = nil) -> KeySource {
    KeySource(.jwks, url, issuer: nil, authorities)
  }

  /// The keys of `issuer`, which is a URL, as the document below it says.
  public static func discovery(of issuer: String, authorities: String? = nil) -> KeySource {
    let base = issuer.hasSuffix("/") ? String(issuer.dropLast()) : issuer
    return KeySource(.discovery, base + "/.well-known/openid-configuration", issuer: issuer, authorities)
  }

  /// What people call it.
  public var name: String { issuer ?? String(url.prefix { $0 != "?" }) }

  /// Hashes its URL, which tells it from nearly all others.
  public func hash(into hasher: inout Hasher) { hasher.combine(url) }
}

/// A policy that needs keys of issuers.
public protocol KeySourceUser {
  /// Where they come from.
  var keySources: [KeySource] { get }
}

extension ShadowHook: KeySourceUser {
  var keySources: [KeySource] { (hook as? any KeySourceUser)?.keySources ?? [] }
}

/// The keys of an issuer as they were fetched. Immutable.
public final class IssuerKeys: Sendable {
  /// The keys.
  public let keys: JSONWebKeySet
  /// When the issuer said so last, by the node's clock.
  public let fetchedAt: WallTime

  /// Keys that were fetched at a moment.
  public init(_ keys: JSONWebKeySet, fetchedAt: WallTime) { (self.keys, self.fetchedAt) = (keys, fetchedAt) }
}

/// What the control loop lets loops know of an issuer.
public struct IssuerNews: Sendable {
  /// Which one.
  public let source: KeySource
  /// Its keys; nil where none have ever been fetched.
  public let keys: IssuerKeys?
  /// Before, asking again is of no use.
  public let asksAgainAt: Instant
  /// Whether no configuration names it any more; then the rest means nothing.
  public let isGone: Bool

  /// News of an issuer.
  public init(_ source: KeySource, _ keys: IssuerKeys?, asksAgainAt: Instant, isGone: Bool = false) {
    (self.source, self.keys, self.asksAgainAt, self.isGone) = (source, keys, asksAgainAt, isGone)
  }
}
