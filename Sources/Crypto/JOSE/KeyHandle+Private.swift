import COpenSSL
import Core

extension KeyHandle {
  /// The private key of an object whose public parts are `parts`; throws where its private parts are missing or make
  /// none. Whether both belong together is for the caller to try.
  convenience init(privateKey value: JSONValue, _ parts: KeyParts) throws(JSONWebKeyFault) {
    defer { ERR_clear_error() }
    let secret = try JSONWebKey.bytes(value, "d")
    let text: [UInt8]
    let kind: Int32
    switch parts {
    case .rsa(let modulus, let exponent):
      // RFC 8017 appendix A.1.2. All members but `d` may be left out (RFC 7518 section 6.3.2); nobody does, and without
      // them signing takes four times as long.
      if value["oth"] != nil { throw JSONWebKeyFault("an RSA key has two primes here") }
      var rest: [[UInt8]] = []
      for name in ["p", "q", "dp", "dq", "qi"] { rest.append(DERText.integer(try JSONWebKey.bytes(value, name))) }
      text = DERText.sequence(
        DERText.integer([]), DERText.integer(modulus), DERText.integer(exponent), DERText.integer(secret),
        rest.flatMap { $0 })
      kind = EVP_PKEY_RSA
    case .curve(let curve, let x, let y):
      guard secret.count == curve.fieldBytes else { throw JSONWebKeyFault("\"d\" has not \(curve.fieldBytes) bytes") }
      // RFC 5915 section 3.
      text = DERText.sequence(
        DERText.integer([1]), DERText.octets(secret), DERText.element(0xa0, curve.identifier),
        DERText.element(0xa1, DERText.bits([0x04] + x + y)))
      kind = EVP_PKEY_EC
    case .edwards(let bytes):
      guard secret.count == SigningKey.seedBytes, SigningKey(seed: secret).verifying.bytes == bytes,
        let key = unsafe EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nil, secret, secret.count)
      else { throw JSONWebKeyFault("the private half does not belong to the public one") }
      unsafe self.init(owning: key)
      return
    }
    let read = unsafe text.withUnsafeBufferPointer { bytes in
      // Reads at most `count` bytes from where the text lies.
      var place = bytes.baseAddress
      return unsafe d2i_PrivateKey(kind, nil, &place, bytes.count)
    }
    guard let read = unsafe read else { throw JSONWebKeyFault("these numbers make no private \(parts.type) key") }
    unsafe self.init(owning: read)
  }

  /// A fresh key for `algorithm`; throws for HMAC.
  convenience init(freshFor algorithm: SignatureAlgorithm) throws(JSONWebKeyFault) {
    defer { ERR_clear_error() }
    let kind: Int32
    switch algorithm.family {
    case .code: throw JSONWebKeyFault("a secret for \(algorithm.rawValue) is not made here")
    case .rsa, .probabilistic: kind = EVP_PKEY_RSA
    case .curve: kind = EVP_PKEY_EC
    case .edwards: kind = EVP_PKEY_ED25519
    }
    guard let context = unsafe EVP_PKEY_CTX_new_id(kind, nil) else { preconditionFailure("out of memory") }
    defer { unsafe EVP_PKEY_CTX_free(context) }
    var isReady = unsafe EVP_PKEY_keygen_init(context) == 1
    if kind == EVP_PKEY_RSA {
      isReady = unsafe isReady && EVP_PKEY_CTX_set_rsa_keygen_bits(context, Int32(TokenSigner.freshModulusBits)) == 1
    } else if let curve = NamedCurve.allCases.first(where: { $0.algorithm == algorithm }) {
      isReady = unsafe isReady && EVP_PKEY_CTX_set_group_name(context, curve.nativeName) == 1
    }
    var key: OpaquePointer?
    guard isReady, unsafe EVP_PKEY_generate(context, &key) == 1, let key = unsafe key else {
      throw JSONWebKeyFault("OpenSSL could not make a key")
    }
    unsafe self.init(owning: key)
  }

  /// The secret that an Ed25519 key follows from; nil for other keys and without a private half.
  var seed: [UInt8]? {
    defer { ERR_clear_error() }
    var bytes = [UInt8](repeating: 0, count: SigningKey.seedBytes)
    var count = bytes.count
    // 32 bytes are exactly what this kind of key has.
    guard unsafe EVP_PKEY_get_raw_private_key(pointer, &bytes, &count) == 1, count == bytes.count else { return nil }
    return bytes
  }

  /// The private key as PKCS #8 in PEM form; nil without a private half.
  var privateText: [UInt8]? {
    defer { ERR_clear_error() }
    guard let buffer = unsafe BIO_new(BIO_s_mem()) else { preconditionFailure("out of memory") }
    defer { unsafe BIO_free(buffer) }
    guard unsafe PEM_write_bio_PKCS8PrivateKey(buffer, pointer, nil, nil, 0, nil, nil) == 1 else { return nil }
    var text = unsafe [UInt8](repeating: 0, count: BIO_ctrl_pending(buffer))
    // As many bytes as are waiting.
    let count = unsafe BIO_read(buffer, &text, Int32(text.count))
    return count == text.count ? text : nil
  }
}
