import Crypto

/// What a node hides and signs with, the same on all nodes of a cluster: keys for each purpose follow from its secret.
public struct NodeSecrets: Sendable {
  private let secret: [UInt8]
  private let former: [UInt8]?

  /// The present secret, and the one before it while that is being replaced.
  public init(secret: [UInt8], former: [UInt8]? = nil) { (self.secret, self.former) = (secret, former) }

  /// The key of 32 bytes for a purpose.
  public func key(for purpose: String) -> [UInt8] { KeyDerivation.key(from: secret, purpose: "sluice " + purpose) }

  /// The key that the purpose had under the secret before; nil where there was none.
  public func formerKey(for purpose: String) -> [UInt8]? {
    former.map { KeyDerivation.key(from: $0, purpose: "sluice " + purpose) }
  }

  /// What is sealed for a purpose by one node is opened by all.
  public func ring(for purpose: String) -> SealingRing {
    SealingRing(present: Sealer(key: key(for: purpose)), former: formerKey(for: purpose).map { Sealer(key: $0) })
  }
}

/// Seals with the present key of a cluster, and opens what was sealed with that or the one before.
public struct SealingRing: Sendable {
  private let present: Sealer
  private let former: Sealer?

  init(present: Sealer, former: Sealer?) { (self.present, self.former) = (present, former) }

  /// Seals `bytes`; whoever opens it must give the same `context`, which is not contained.
  public func seal(_ bytes: [UInt8], context: [UInt8]) -> [UInt8] { present.seal(bytes, context: context) }

  /// Opens what a node of the cluster has sealed with this `context`; nil for anything else.
  public func open(_ sealed: [UInt8], context: [UInt8]) -> [UInt8]? {
    present.open(sealed, context: context) ?? former?.open(sealed, context: context)
  }
}
