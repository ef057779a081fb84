import COpenSSL
import Core

/// A key as OpenSSL holds it; only read once it is made.
@safe
final class KeyHandle: @unchecked Sendable {
  // `@unchecked`: OpenSSL allows several threads to read a key.
  let pointer: OpaquePointer

  /// Takes over OpenSSL's object.
  init(owning pointer: OpaquePointer) { unsafe self.pointer = pointer }

  deinit { unsafe EVP_PKEY_free(pointer) }

  /// The public key of these parts: throws where they make none, for example where a point is not on its curve.
  convenience init(_ parts: KeyParts) throws(JSONWebKeyFault) {
    let text = parts.subjectPublicKey
    defer { ERR_clear_error() }
    let read = unsafe text.withUnsafeBufferPointer { bytes in
      // Reads at most `count` bytes from where the text lies.
      var place = bytes.baseAddress
      return unsafe d2i_PUBKEY(nil, &place, bytes.count)
    }
    guard let read = unsafe read else { throw JSONWebKeyFault("these numbers make no \(parts.type) key") }
    unsafe self.init(owning: read)
    // Reading a point checks the curve's equation; this also its order. For RSA it would try to factor the modulus.
    if case .curve = parts, !isConsistent { throw JSONWebKeyFault("the point is not on its curve") }
  }

  private var isConsistent: Bool {
    guard let context = unsafe EVP_PKEY_CTX_new(pointer, nil) else { preconditionFailure("out of memory") }
    defer { unsafe EVP_PKEY_CTX_free(context) }
    return unsafe EVP_PKEY_public_check(context) == 1
  }

  /// Its public half as numbers; throws for kinds and curves that are not offered. Whatever else a file says of a key,
  /// for example a curve of its own making, is lost on this way.
  func parts() throws(JSONWebKeyFault) -> KeyParts {
    defer { ERR_clear_error() }
    switch unsafe EVP_PKEY_get_base_id(pointer) {
    case EVP_PKEY_RSA:
      guard let modulus = number(OSSL_PKEY_PARAM_RSA_N), let exponent = number(OSSL_PKEY_PARAM_RSA_E) else { break }
      return try KeyParts(modulus: modulus, exponent: exponent)
    case EVP_PKEY_EC:
      var name = [CChar](repeating: 0, count: 64)
      var count = 0
      guard unsafe EVP_PKEY_get_group_name(pointer, &name, name.count, &count) == 1,
        let text = String(validating: name[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self),
        let curve = NamedCurve.allCases.first(where: { $0.nativeName == text }),
        let x = number(OSSL_PKEY_PARAM_EC_PUB_X, count: curve.fieldBytes),
        let y = number(OSSL_PKEY_PARAM_EC_PUB_Y, count: curve.fieldBytes)
      else { throw JSONWebKeyFault("the key is not on P-256, P-384 or P-521") }
      return try KeyParts(curve, x: x, y: y)
    case EVP_PKEY_ED25519:
      var bytes = [UInt8](repeating: 0, count: SigningKey.seedBytes)
      var count = bytes.count
      guard unsafe EVP_PKEY_get_raw_public_key(pointer, &bytes, &count) == 1 else { break }
      return try KeyParts(edwards: bytes)
    default: break
    }
    throw JSONWebKeyFault("the key is neither RSA nor on a curve of the NIST nor Ed25519")
  }

  /// One of its numbers, with `count` bytes or as few as hold it.
  private func number(_ name: String, count: Int? = nil) -> [UInt8]? {
    var number: OpaquePointer?
    guard unsafe EVP_PKEY_get_bn_param(pointer, name, &number) == 1, let found = unsafe number else { return nil }
    defer { unsafe BN_free(found) }
    let least = unsafe Int(BN_num_bits(found) + 7) / 8
    guard least <= count ?? least else { return nil }
    var bytes = [UInt8](repeating: 0, count: count ?? least)
    // As many bytes as there is room for.
    return unsafe BN_bn2binpad(found, &bytes, Int32(bytes.count)) == bytes.count ? bytes : nil
  }
}
