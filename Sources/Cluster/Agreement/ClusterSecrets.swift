import Core
import Crypto

/// What the nodes of a cluster prove and hide with: keys that all follow from the cluster's secret. Each purpose has keys
/// of its own, so that what is made for one is worth nothing for another.
///
/// While a secret is being replaced there are two: the new one makes, both are accepted. Immutable.
public struct ClusterSecrets: Sendable {
  /// What is signed or sealed.
  public enum Purpose: String, Sendable {
    /// Heads of configuration revisions, and last-good files.
    case head
    /// Values of references in a configuration.
    case value
    /// Manifests of snapshots of facts, and copies on disk.
    case snapshot
    /// Entries of the audit log.
    case audit
    /// Where routers reach a node.
    case place
  }

  private struct Keys: Sendable {
    let sealer: Sealer
    let signing: SigningKey
    let codes: [UInt8]

    init(_ secret: [UInt8]) {
      func key(_ name: String) -> [UInt8] { KeyDerivation.key(from: secret, salt: ClusterSecrets.salt, purpose: name) }
      sealer = Sealer(key: key("seal"))
      signing = SigningKey(seed: key("sign"))
      codes = key("code")
    }
  }

  private static let salt = Array("sluice cluster 1".utf8)

  /// For the names of facts: the same on all nodes.
  public let factKey: SipKey
  private let current: Keys
  private let former: Keys?

  /// The keys that follow from `secret`, and from `former`, which is accepted as well. `names` is what names of facts are
  /// hashed with, the first secret that there was; nil for `secret` itself.
  public init(secret: [UInt8], former: [UInt8]? = nil, names: [UInt8]? = nil) {
    current = Keys(secret)
    self.former = former.map { Keys($0) }
    factKey = SipKey(bytes: KeyDerivation.key(from: names ?? secret, salt: Self.salt, purpose: "facts", count: 16))
  }

  /// Hides `bytes`. `name` says whose they are: they open under that name only.
  public func seal(_ bytes: [UInt8], for purpose: Purpose, name: String) -> [UInt8] {
    current.sealer.seal(bytes, context: Self.context(purpose, Array(name.utf8)))
  }

  /// What was sealed for this purpose under this name; nil for anything else.
  public func open(_ sealed: [UInt8], for purpose: Purpose, name: String) -> [UInt8]? {
    let context = Self.context(purpose, Array(name.utf8))
    return current.sealer.open(sealed, context: context) ?? former?.sealer.open(sealed, context: context)
  }

  /// The cluster's signature of `bytes`, 64 bytes.
  public func sign(_ bytes: [UInt8], for purpose: Purpose) -> [UInt8] {
    current.signing.sign(Self.context(purpose, bytes))
  }

  /// Whether the cluster has signed `bytes` for this purpose. Some 100 µs.
  public func verifies(_ bytes: [UInt8], _ signature: [UInt8], for purpose: Purpose) -> Bool {
    let message = Self.context(purpose, bytes)
    return current.signing.verifying.verifies(message, signature)
      || former?.signing.verifying.verifies(message, signature) == true
  }

  /// Whether whoever has the secret behind `key` has signed `bytes` for this purpose: for those who do not have it.
  static func verifies(_ bytes: [UInt8], _ signature: [UInt8], for purpose: Purpose, by key: VerifyingKey) -> Bool {
    key.verifies(context(purpose, bytes), signature)
  }

  /// What verifies lines of the audit log: no secret.
  var auditKeys: [VerifyingKey] { [current, former].compactMap { $0?.signing.verifying } }

  /// The same as bytes, 32 each.
  var auditKeyBytes: [[UInt8]] { auditKeys.map(\.bytes) }

  /// A code of 32 bytes that only the cluster can compute, cheaper than a signature.
  public func code(of bytes: [UInt8], for purpose: Purpose) -> [UInt8] {
    HMACSHA256.code(of: RawSpan(Self.context(purpose, bytes)), key: current.codes)
  }

  /// Whether `code` is the cluster's for `bytes`, in constant time.
  public func matches(_ bytes: [UInt8], code: [UInt8], for purpose: Purpose) -> Bool {
    let message = Self.context(purpose, bytes)
    return [current.codes, former?.codes].contains { key in
      guard let key else { return false }
      let expected = HMACSHA256.code(of: RawSpan(message), key: key)
      return ConstantTime.equal(RawSpan(expected), RawSpan(code))
    }
  }

  /// No purpose's name is the beginning of another's with a zero behind it.
  private static func context(_ purpose: Purpose, _ bytes: [UInt8]) -> [UInt8] {
    Array(purpose.rawValue.utf8) + [0] + bytes
  }
}
