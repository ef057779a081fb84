import COpenSSL
import Core

/// HKDF with SHA-256 (RFC 5869): several independent keys from one secret.
public enum KeyDerivation {
  /// The most bytes of one key (RFC 5869 section 2.3).
  public static let longestKey = 255 * 32

  /// A key of `count` bytes, 1 to ``longestKey``, that follows from `secret`, `salt` and `purpose`: keys for different
  /// purposes tell nothing of each other, nor of the secret. Some microseconds.
  public static func key(from secret: [UInt8], salt: [UInt8] = [], purpose: String, count: Int = 32) -> [UInt8] {
    precondition((1...longestKey).contains(count))
    var key = [UInt8](repeating: 0, count: count)
    let info = Array(purpose.utf8)
    // OpenSSL takes no secret without a byte; HMAC pads with zeros, so that one zero is the same key as none.
    let secret = secret.isEmpty ? [0] : secret
    guard let context = unsafe EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nil) else { preconditionFailure("out of memory") }
    defer { unsafe EVP_PKEY_CTX_free(context) }
    var length = count
    // Each array outlives the call that reads it; `key` has `count` bytes.
    let isDone =
      unsafe EVP_PKEY_derive_init(context) > 0
      && EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) > 0
      && EVP_PKEY_CTX_set1_hkdf_salt(context, salt, Int32(salt.count)) > 0
      && EVP_PKEY_CTX_set1_hkdf_key(context, secret, Int32(secret.count)) > 0
      && EVP_PKEY_CTX_add1_hkdf_info(context, info, Int32(info.count)) > 0
      && EVP_PKEY_derive(context, &key, &length) > 0
    precondition(isDone && length == count, "OpenSSL could not derive a key")
    return key
  }
}

/// HMAC with SHA-256 (RFC 2104).
public enum HMACSHA256 {
  /// The 32 bytes of the code of `bytes` under `key`. Fetches the algorithm each time, about a microsecond.
  public static func code(of bytes: RawSpan, key: [UInt8]) -> [UInt8] {
    var code = [UInt8](repeating: 0, count: 32)
    var length: UInt32 = 32
    let isDone = unsafe bytes.withUnsafeBytes { input in
      // 32 bytes are exactly what HMAC with SHA-256 writes.
      unsafe HMAC(
        EVP_sha256(), key, Int32(key.count), input.baseAddress?.assumingMemoryBound(to: UInt8.self), input.count, &code,
        &length) != nil
    }
    precondition(isDone && length == 32, "OpenSSL could not compute HMAC")
    return code
  }
}
