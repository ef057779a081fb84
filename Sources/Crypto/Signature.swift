import COpenSSL
import Core

/// Signs with Ed25519 (RFC 8032). Immutable; signing takes some 30 µs.
@safe
public final class SigningKey: @unchecked Sendable {
  /// Bytes of a seed, of a public key, and of a signature.
  public static let seedBytes = 32
  /// Bytes of a signature.
  public static let signatureBytes = 64

  // `@unchecked`: OpenSSL's keys are only read once they are made, which it allows on several threads.
  private let handle: OpaquePointer
  /// What verifies this key's signatures.
  public let verifying: VerifyingKey

  /// The key that follows from a secret seed of ``seedBytes`` bytes.
  public init(seed: [UInt8]) {
    precondition(seed.count == Self.seedBytes)
    guard let handle = unsafe EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nil, seed, seed.count) else {
      preconditionFailure("OpenSSL offers no Ed25519")
    }
    unsafe self.handle = handle
    var bytes = [UInt8](repeating: 0, count: Self.seedBytes)
    var count = bytes.count
    // 32 bytes are exactly what this kind of key has.
    let isRead = unsafe EVP_PKEY_get_raw_public_key(handle, &bytes, &count) == 1
    guard isRead, let verifying = VerifyingKey(bytes) else { preconditionFailure("OpenSSL knows no public key") }
    self.verifying = verifying
  }

  deinit { unsafe EVP_PKEY_free(handle) }

  /// The signature of `bytes`: always the same for the same bytes.
  public func sign(_ bytes: [UInt8]) -> [UInt8] {
    var signature = [UInt8](repeating: 0, count: Self.signatureBytes)
    var count = signature.count
    guard let context = unsafe EVP_MD_CTX_new() else { preconditionFailure("out of memory") }
    defer { unsafe EVP_MD_CTX_free(context) }
    // 64 bytes are exactly what Ed25519 writes.
    let isDone =
      unsafe EVP_DigestSignInit(context, nil, nil, nil, handle) == 1
      && EVP_DigestSign(context, &signature, &count, bytes, bytes.count) == 1
    precondition(isDone && count == Self.signatureBytes, "OpenSSL could not sign")
    return signature
  }
}

/// Verifies Ed25519 signatures (RFC 8032). Immutable; verifying takes some 100 µs.
@safe
public final class VerifyingKey: @unchecked Sendable {
  // `@unchecked`: as for ``SigningKey``.
  private let handle: OpaquePointer
  /// The 32 bytes of it.
  public let bytes: [UInt8]

  /// The public key of these 32 bytes; nil where there is no such key.
  public init?(_ bytes: [UInt8]) {
    guard bytes.count == SigningKey.seedBytes,
      let handle = unsafe EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, bytes, bytes.count)
    else { return nil }
    unsafe self.handle = handle
    self.bytes = bytes
  }

  deinit { unsafe EVP_PKEY_free(handle) }

  /// Whether `signature` is this key's for `bytes`.
  public func verifies(_ bytes: [UInt8], _ signature: [UInt8]) -> Bool {
    verifies(RawSpan(bytes), RawSpan(signature))
  }

  /// Whether `signature` is this key's for `bytes`.
  public func verifies(_ bytes: RawSpan, _ signature: RawSpan) -> Bool {
    guard signature.byteCount == SigningKey.signatureBytes, let context = unsafe EVP_MD_CTX_new() else { return false }
    defer { unsafe EVP_MD_CTX_free(context) }
    ERR_clear_error()
    let isGood = unsafe bytes.withUnsafeBytes { text in
      unsafe signature.withUnsafeBytes { signature in
        // Both outlive the call.
        unsafe EVP_DigestVerifyInit(context, nil, nil, nil, handle) == 1
          && EVP_DigestVerify(
            context, signature.baseAddress?.assumingMemoryBound(to: UInt8.self), signature.count,
            text.baseAddress?.assumingMemoryBound(to: UInt8.self), text.count) == 1
      }
    }
    ERR_clear_error()
    return isGood
  }
}
