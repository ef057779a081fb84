import COpenSSL
import Core
import Glibc

/// A certificate with its chain and the key that belongs to it: what a server shows. Immutable.
@safe
public final class TLSCredential: @unchecked Sendable {
  /// What its key signs with: a server may have one of each for the same name.
  public enum Kind: Hashable, Sendable {
    case ecdsa
    case rsa
    case ed25519
  }

  // `@unchecked`: OpenSSL's keys are only read once they are made, which it allows on several threads.
  let leaf: Certificate
  let chain: [Certificate]
  let key: OpaquePointer
  /// What its authority says of it, as servers staple it (RFC 6066 section 8); empty for nothing.
  public let staple: [UInt8]

  /// The host names that it is good for, lower case, wildcards as `*.example.com`.
  public let names: [String]
  /// What its key signs with.
  public let kind: Kind
  /// From when it is good.
  public let beginsAt: WallTime
  /// Until when it is good.
  public let expiresAt: WallTime

  /// Certificates kept of one file: more than any chain has.
  private static let longestChain = 16
  /// The fewest bits of an RSA key that clients accept today.
  private static let shortestRSA: Int32 = 2048

  /// Reads the PEM texts of a certificate, followed by those of the authorities between it and the root, and of its key.
  /// `staple` is an OCSP response in DER form. Costs about a millisecond.
  public init(certificate: [UInt8], key: [UInt8], staple: [UInt8] = []) throws(TLSFault) {
    ERR_clear_error()
    let certificates = try PEMText.certificates(certificate, limit: Self.longestChain)
    guard let leaf = certificates.first else { throw TLSFault("there is no certificate in PEM form") }
    guard let key = unsafe PEMText.key(key) else {
      throw TLSFault("there is no private key in PEM form, or it is encrypted")
    }
    guard let kind = unsafe Self.kind(of: key) else {
      unsafe EVP_PKEY_free(key)
      throw TLSFault("the key is neither ECDSA nor Ed25519 nor RSA of at least \(Self.shortestRSA) bits")
    }
    guard unsafe X509_check_private_key(leaf.handle, key) == 1 else {
      ERR_clear_error()
      unsafe EVP_PKEY_free(key)
      throw TLSFault("the key does not belong to the certificate")
    }
    self.leaf = leaf
    chain = Array(certificates.dropFirst())
    unsafe self.key = key
    self.staple = staple
    self.kind = kind
    names = leaf.hosts
    beginsAt = unsafe Certificate.time(X509_get0_notBefore(leaf.handle))
    expiresAt = unsafe Certificate.time(X509_get0_notAfter(leaf.handle))
  }

  init(_ other: TLSCredential, staple: [UInt8]) {
    unsafe EVP_PKEY_up_ref(other.key)
    unsafe key = other.key
    (leaf, chain, names, kind) = (other.leaf, other.chain, other.names, other.kind)
    (beginsAt, expiresAt, self.staple) = (other.beginsAt, other.expiresAt, staple)
  }

  deinit { unsafe EVP_PKEY_free(key) }

  private static func kind(of key: OpaquePointer) -> Kind? {
    switch unsafe EVP_PKEY_get_base_id(key) {
    case EVP_PKEY_EC: .ecdsa
    case EVP_PKEY_RSA, EVP_PKEY_RSA_PSS: unsafe EVP_PKEY_get_bits(key) >= shortestRSA ? .rsa : nil
    case EVP_PKEY_ED25519: .ed25519
    default: nil
    }
  }
}

/// Whose certificates are good, and which of them are not any more. Immutable.
@safe
public final class TLSAuthorities: @unchecked Sendable {
  // `@unchecked`: only read once they are made, as ``TLSCredential``.
  let certificates: [Certificate]
  let revoked: [RevocationList]

  /// Certificates of authorities, and lists of revoked certificates, in one file.
  private static let longestBundle = 10_000
  private static let longestRevoked = 1_000

  /// Reads the PEM texts of authorities and, where there are any, of their revocation lists.
  public init(certificates: [UInt8], revoked: [UInt8] = []) throws(TLSFault) {
    self.certificates = try PEMText.certificates(certificates, limit: Self.longestBundle)
    if self.certificates.isEmpty { throw TLSFault("there is no certificate in PEM form") }
    self.revoked = try PEMText.revocationLists(revoked, limit: Self.longestRevoked)
    if self.revoked.isEmpty, !revoked.isEmpty { throw TLSFault("there is no revocation list in PEM form") }
  }
}
