import COpenSSL
import Core

/// Seals bytes with AES-256-GCM (NIST SP 800-38D): nobody without the key reads or changes them unnoticed.
///
/// What is sealed carries its own random nonce of 96 bits, so that one key is good for some 2³² messages.
public struct Sealer: Sendable {
  /// Bytes of a key.
  public static let keyBytes = 32
  /// Bytes by which what is sealed is longer: a nonce before it and a tag behind it.
  public static let overhead = nonceBytes + tagBytes

  private static let nonceBytes = 12
  private static let tagBytes = 16

  private let key: [UInt8]

  /// A sealer with a key of ``keyBytes`` bytes.
  public init(key: [UInt8]) {
    precondition(key.count == Self.keyBytes)
    self.key = key
  }

  /// Seals `bytes`; whoever opens it must give the same `context`, which is not contained.
  public func seal(_ bytes: [UInt8], context: [UInt8]) -> [UInt8] {
    let nonce = SecureRandom.bytes(Self.nonceBytes)
    var text = [UInt8](repeating: 0, count: bytes.count)
    var tag = [UInt8](repeating: 0, count: Self.tagBytes)
    var count: Int32 = 0
    let cipher = CipherState()
    // `text` is as long as `bytes`, which is what this mode writes; the tag has its 16 bytes.
    let isDone =
      unsafe EVP_EncryptInit_ex2(cipher.handle, EVP_aes_256_gcm(), key, nonce, nil) == 1
      && EVP_EncryptUpdate(cipher.handle, nil, &count, context, Int32(context.count)) == 1
      && EVP_EncryptUpdate(cipher.handle, &text, &count, bytes, Int32(bytes.count)) == 1
      && EVP_EncryptFinal_ex(cipher.handle, nil, &count) == 1
      && EVP_CIPHER_CTX_ctrl(cipher.handle, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagBytes), &tag) == 1
    precondition(isDone, "OpenSSL could not encrypt")
    return nonce + text + tag
  }

  /// Opens what was sealed under this key and with this `context`; nil for anything else.
  public func open(_ sealed: [UInt8], context: [UInt8]) -> [UInt8]? {
    guard sealed.count >= Self.overhead else { return nil }
    let nonce = Array(sealed[..<Self.nonceBytes])
    let text = Array(sealed[Self.nonceBytes..<sealed.count - Self.tagBytes])
    var tag = Array(sealed[(sealed.count - Self.tagBytes)...])
    var bytes = [UInt8](repeating: 0, count: text.count)
    var count: Int32 = 0
    let cipher = CipherState()
    // As in `seal`. Nothing of `bytes` is used unless the tag is right.
    let isGood =
      unsafe EVP_DecryptInit_ex2(cipher.handle, EVP_aes_256_gcm(), key, nonce, nil) == 1
      && EVP_DecryptUpdate(cipher.handle, nil, &count, context, Int32(context.count)) == 1
      && EVP_DecryptUpdate(cipher.handle, &bytes, &count, text, Int32(text.count)) == 1
      && EVP_CIPHER_CTX_ctrl(cipher.handle, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagBytes), &tag) == 1
      && EVP_DecryptFinal_ex(cipher.handle, nil, &count) == 1
    ERR_clear_error()
    return isGood ? bytes : nil
  }
}

/// OpenSSL's state of one message, freed with its owner.
@safe
private struct CipherState: ~Copyable {
  let handle: OpaquePointer

  init() {
    guard let handle = unsafe EVP_CIPHER_CTX_new() else { preconditionFailure("out of memory") }
    unsafe self.handle = handle
  }

  deinit { unsafe EVP_CIPHER_CTX_free(handle) }
}
