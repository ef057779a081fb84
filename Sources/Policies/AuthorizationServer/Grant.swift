import Core
import Crypto
import Pipeline

/// What a user has granted to a client: the contents of codes, of refresh tokens, and of the form that asks for
/// consent.
///
/// All of it travels with the client, sealed under a key that all nodes share, so that each of them can go on where
/// another one has begun and none has to store anything. What must be remembered, that a code or refresh token was
/// used, is one counter for all that followed from one authorization: see ``GrantFamily``.
struct Grant: Equatable, Sendable {
  /// What a sealed grant is good for; one does not pass for another.
  enum Kind: String, Sendable {
    case code, refresh, consent
    /// What a device wants; the form that asks for it; and what was granted to it.
    case device, deviceConsent, deviceGrant
  }

  /// The most bytes of a sealed grant as text: a code has to fit the head of a request.
  static let longest = 6 << 10

  var client = ""
  var user = GrantUser()
  var scopes: [String] = []
  /// Whom access tokens are for.
  var audience = ""
  var family = GrantFamily(name: "", started: 0, ends: 0)
  /// How many tokens of the family came before: 0 for the code, then 1, 2, ….
  var generation: Int64 = 0
  /// The second since 1970 from which on it is not good any more.
  var expires: Int64 = 0
  /// Of a code and of what asks for one: where the answer goes, what proves who asked, and what an ID token repeats.
  var redirectURI, challenge, nonce: String?
  /// What the client wants to have back beside the code.
  var state: String?
  /// What the login can be revoked by that the user granted it with, and the second at which that was made: where it is
  /// revoked, the grant is over.
  var login: [UInt64] = []
  var loginIssued: UInt32 = 0
  /// The key that it was granted with, where the cluster has made that; otherwise 0.
  var loginKey: UInt64 = 0

  /// The grant as text that nobody but the cluster's nodes can read, change or make; nil where it would be too long.
  func sealed(_ kind: Kind, issuer: String, _ ring: SealingRing) -> String? {
    let text = Base64URL.encode(bytes(kind, issuer: issuer, ring))
    return text.utf8.count <= Self.longest ? text : nil
  }

  /// The same as bytes, of any length.
  func bytes(_ kind: Kind, issuer: String, _ ring: SealingRing) -> [UInt8] {
    ring.seal(text, context: Self.context(kind, issuer))
  }

  /// Opens what ``sealed(_:issuer:_:)`` made as this kind, for this issuer, and that is not over at `now`, in seconds
  /// since 1970; nil for anything else.
  init?(_ sealed: String, as kind: Kind, issuer: String, _ ring: SealingRing, now: Int64) {
    guard sealed.utf8.count <= Self.longest, let bytes = Base64URL.decode(sealed) else { return nil }
    self.init(bytes: bytes, as: kind, issuer: issuer, ring, now: now)
  }

  /// Opens what ``bytes(_:issuer:_:)`` made, in the same way.
  init?(bytes: [UInt8], as kind: Kind, issuer: String, _ ring: SealingRing, now: Int64) {
    guard let text = ring.open(bytes, context: Self.context(kind, issuer)),
      let root = JSONDocument.parse(text, dialect: .strict).document?.root
    else { return nil }
    self.init(root)
    if expires <= now { return nil }
  }

  /// An empty grant.
  init() {}

  private static func context(_ kind: Kind, _ issuer: String) -> [UInt8] { Array("\(kind.rawValue) \(issuer)".utf8) }
}
