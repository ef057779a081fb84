import Core
import Crypto

extension Services {
  /// The key by which the nodes of a cluster sign for a purpose: Ed25519, made of their secret, and so the same on all of
  /// them; called by its thumbprint. Made once a loop and blueprint, about a millisecond.
  public func signer(for purpose: String) -> TokenSigner { signers(for: purpose).present }

  /// The key that the purpose had under the secret before; nil where there was none.
  public func formerSigner(for purpose: String) -> TokenSigner? { signers(for: purpose).former }

  private func signers(for purpose: String) -> (present: TokenSigner, former: TokenSigner?) {
    if let known = signers[purpose] { return known }
    let made = (
      present: Self.signer(seed: secrets.key(for: purpose)),
      former: secrets.formerKey(for: purpose).map { Self.signer(seed: $0) }
    )
    signers[purpose] = made
    return made
  }

  private static func signer(seed: [UInt8]) -> TokenSigner {
    do { return try TokenSigner(seed: seed) } catch {
      // Every 32 bytes are a key, and that many are derived.
      preconditionFailure(error.message)
    }
  }
}
