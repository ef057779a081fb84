import COpenSSL
import Core

// How one key object serves all threads.
//
// Setting up a context costs OpenSSL several microseconds of look-ups by name. So each key has one context for each of
// its algorithms, made and set up with the key; a call copies it, works with the copy and frees it. The original is
// never used for an operation: the copy reads it and raises counters that OpenSSL keeps atomic (its source is a const
// pointer), and the key beneath both is only read, which OpenSSL allows on any number of threads. Copying and freeing
// take fewer than 2,000 instructions. A context for each thread would save them, and would need to know of threads.

/// A key set up for one algorithm of RSA or ECDSA, to verify or to sign.
@safe
final class PreparedKey: @unchecked Sendable {
  // `@unchecked`: see above.
  private let context: OpaquePointer
  private let hash: FetchedHash
  /// Keeps the key, although OpenSSL counts its users itself.
  private let key: KeyHandle
  private let form: Form

  /// What a signature looks like to a token.
  enum Form {
    /// As OpenSSL takes it, of so many bytes.
    case plain(bytes: Int)
    /// Two numbers of so many bytes each, one behind the other (RFC 7518 section 3.4).
    case pair(bytes: Int)
  }

  /// Room for two numbers of P-521 in DER: two bytes of kind and length and a zero for each, three around them.
  private static let longestPair = 3 + 2 * (3 + 66)
  /// Room for the longest hash.
  private static let longestHash = 64

  /// A key that verifies, or with `signing` signs; nil where OpenSSL refuses the two together.
  init?(_ key: KeyHandle, _ algorithm: SignatureAlgorithm, signing: Bool = false) {
    defer { ERR_clear_error() }
    guard let context = unsafe EVP_PKEY_CTX_new(key.pointer, nil) else { preconditionFailure("out of memory") }
    let size = unsafe Int(EVP_PKEY_get_size(key.pointer))
    var isReady = unsafe (signing ? EVP_PKEY_sign_init(context) : EVP_PKEY_verify_init(context)) == 1
    var form = Form.plain(bytes: size)
    switch algorithm.family {
    case .rsa: isReady = unsafe isReady && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1
    case .probabilistic:
      isReady =
        unsafe isReady && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1
        && EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1
    case .curve:
      let curve = NamedCurve.allCases.first { $0.algorithm == algorithm }
      form = .pair(bytes: curve?.fieldBytes ?? 0)
    case .code, .edwards: isReady = false
    }
    // The hash of the mask follows this one.
    guard isReady, unsafe EVP_PKEY_CTX_set_signature_md(context, algorithm.hash.native) == 1 else {
      unsafe EVP_PKEY_CTX_free(context)
      return nil
    }
    unsafe self.context = context
    hash = algorithm.hash.fetched
    self.key = key
    self.form = form
  }

  deinit { unsafe EVP_PKEY_CTX_free(context) }

  /// Whether `signature` is this key's for `message`. OpenSSL's list of errors is empty afterwards.
  func verifies(_ message: RawSpan, _ signature: RawSpan) -> Bool {
    // The two parts lie behind each other, and nothing reads what was not written.
    let isGood = unsafe withUnsafeTemporaryAllocation(byteCount: Self.longestHash + Self.longestPair, alignment: 8) {
      memory in
      let digest = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[..<Self.longestHash])
      guard unsafe hash.digest(message, digest) else { return false }
      return unsafe signature.withUnsafeBytes { bytes in
        switch form {
        case .plain(let count): return unsafe bytes.count == count && verifies(digest, bytes)
        case .pair(let count):
          guard bytes.count == 2 * count else { return false }
          let pair = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[Self.longestHash...])
          guard let length = unsafe Self.write(bytes, to: pair) else { return false }
          return unsafe verifies(digest, UnsafeRawBufferPointer(rebasing: pair[..<length]))
        }
      }
    }
    if !isGood { ERR_clear_error() }
    return isGood
  }

  private func verifies(_ digest: UnsafeMutableRawBufferPointer, _ signature: UnsafeRawBufferPointer) -> Bool {
    guard let copy = unsafe EVP_PKEY_CTX_dup(context) else { return false }
    defer { unsafe EVP_PKEY_CTX_free(copy) }
    // Both live until the call returns, and are at least as long as said.
    return unsafe EVP_PKEY_verify(
      copy, signature.baseAddress?.assumingMemoryBound(to: UInt8.self), signature.count,
      digest.baseAddress?.assumingMemoryBound(to: UInt8.self), hash.count) == 1
  }

  /// Two numbers in DER, which OpenSSL reads (RFC 3279 section 2.2.3); nil where one of them is 0. `target` has room.
  private static func write(_ pair: UnsafeRawBufferPointer, to target: UnsafeMutableRawBufferPointer) -> Int? {
    let half = pair.count / 2
    var contents = 0
    for start in [0, half] {
      guard let first = (start..<start + half).first(where: { unsafe pair[$0] != 0 }) else { return nil }
      contents += 2 + start + half - first + (unsafe pair[first] & 0x80 != 0 ? 1 : 0)
    }
    var at = 0
    func put(_ byte: UInt8) {
      unsafe target[at] = byte
      at += 1
    }
    put(DERText.sequenceTag)
    // Two numbers of P-521 are longer than one byte of length tells, and shorter than 256.
    if contents >= 0x80 { put(0x81) }
    put(UInt8(contents))
    for start in [0, half] {
      let first = (start..<start + half).first { unsafe pair[$0] != 0 } ?? start
      let needsZero = unsafe pair[first] & 0x80 != 0
      put(0x02)
      put(UInt8(start + half - first + (needsZero ? 1 : 0)))
      if needsZero { put(0) }
      for index in first..<start + half { unsafe put(pair[index]) }
    }
    return at
  }

  /// The signature of `message` in the form of a token; nil where OpenSSL cannot, for example without a private half.
  func sign(_ message: RawSpan) -> [UInt8]? {
    defer { ERR_clear_error() }
    guard let copy = unsafe EVP_PKEY_CTX_dup(context) else { return nil }
    defer { unsafe EVP_PKEY_CTX_free(copy) }
    var digest = [UInt8](repeating: 0, count: Self.longestHash)
    let isHashed = unsafe digest.withUnsafeMutableBytes { unsafe hash.digest(message, $0) }
    var signature = unsafe [UInt8](repeating: 0, count: Int(EVP_PKEY_get_size(key.pointer)))
    var count = signature.count
    // OpenSSL writes at most as many bytes as it has said for this key.
    guard isHashed, unsafe EVP_PKEY_sign(copy, &signature, &count, digest, hash.count) == 1 else { return nil }
    signature.removeLast(signature.count - count)
    guard case .pair(let half) = form else { return signature }
    return Self.pair(signature, half: half)
  }

  /// The two numbers of a signature in DER, `half` bytes each.
  private static func pair(_ signature: [UInt8], half: Int) -> [UInt8]? {
    let read = unsafe signature.withUnsafeBufferPointer { bytes in
      // Reads at most `count` bytes from where the signature lies.
      var place = bytes.baseAddress
      return unsafe d2i_ECDSA_SIG(nil, &place, bytes.count)
    }
    guard let read = unsafe read else { return nil }
    defer { unsafe ECDSA_SIG_free(read) }
    var first = [UInt8](repeating: 0, count: half)
    var second = first
    // As many bytes as there is room for.
    guard unsafe BN_bn2binpad(ECDSA_SIG_get0_r(read), &first, Int32(half)) == half,
      unsafe BN_bn2binpad(ECDSA_SIG_get0_s(read), &second, Int32(half)) == half
    else { return nil }
    return first + second
  }
}

/// A hash that OpenSSL has looked up by its name, which costs more than to hash a token.
@safe
struct FetchedHash: @unchecked Sendable {
  // `@unchecked`: OpenSSL's hashes are never written to, and these are kept for ever.
  private let pointer: OpaquePointer
  /// Bytes of a digest.
  let count: Int

  static let sha256 = FetchedHash("SHA256")
  static let sha384 = FetchedHash("SHA384")
  static let sha512 = FetchedHash("SHA512")

  private init(_ name: String) {
    guard let pointer = unsafe EVP_MD_fetch(nil, name, nil) else { preconditionFailure("OpenSSL offers no \(name)") }
    unsafe self.pointer = pointer
    count = unsafe Int(EVP_MD_get_size(pointer))
  }

  /// Writes the digest of `bytes` to `target`, which has room for 64 bytes. False where OpenSSL cannot.
  func digest(_ bytes: RawSpan, _ target: UnsafeMutableRawBufferPointer) -> Bool {
    precondition(target.count >= count)
    return unsafe bytes.withUnsafeBytes { input in
      unsafe EVP_Digest(
        input.baseAddress, input.count, target.baseAddress?.assumingMemoryBound(to: UInt8.self), nil, pointer, nil) == 1
    }
  }
}

extension SignatureAlgorithm.Hash {
  var fetched: FetchedHash {
    switch self {
    case .sha256: .sha256
    case .sha384: .sha384
    case .sha512: .sha512
    }
  }

  /// OpenSSL's constant of it.
  var native: OpaquePointer? {
    switch self {
    case .sha256: unsafe EVP_sha256()
    case .sha384: unsafe EVP_sha384()
    case .sha512: unsafe EVP_sha512()
    }
  }

  /// What OpenSSL calls it.
  var name: String {
    switch self {
    case .sha256: "SHA256"
    case .sha384: "SHA384"
    case .sha512: "SHA512"
    }
  }

  /// Bytes of a digest.
  var bytes: Int { fetched.count }
}

/// HMAC (RFC 2104) set up with a secret. Copied for each call, as ``PreparedKey`` is.
@safe
final class PreparedSecret: @unchecked Sendable {
  private let context: OpaquePointer
  private let codeBytes: Int

  init(_ secret: [UInt8], _ hash: SignatureAlgorithm.Hash) {
    guard let code = unsafe EVP_MAC_fetch(nil, "HMAC", nil), let context = unsafe EVP_MAC_CTX_new(code) else {
      preconditionFailure("OpenSSL offers no HMAC")
    }
    unsafe EVP_MAC_free(code)
    var name = Array(hash.name.utf8CString)
    let isReady = unsafe OSSL_MAC_PARAM_DIGEST.withCString { digest in
      unsafe name.withUnsafeMutableBufferPointer { text in
        // Both texts are there until OpenSSL has read the parameters.
        let parameters = unsafe [
          OSSL_PARAM_construct_utf8_string(digest, text.baseAddress, 0), OSSL_PARAM_construct_end(),
        ]
        return unsafe EVP_MAC_init(context, secret, secret.count, parameters) == 1
      }
    }
    precondition(isReady, "OpenSSL could not set up HMAC")
    unsafe self.context = context
    codeBytes = hash.bytes
  }

  deinit { unsafe EVP_MAC_CTX_free(context) }

  /// The code of `message`; nil where OpenSSL has no memory.
  func code(_ message: RawSpan) -> [UInt8]? {
    guard let copy = unsafe EVP_MAC_CTX_dup(context) else { return nil }
    defer { unsafe EVP_MAC_CTX_free(copy) }
    var code = [UInt8](repeating: 0, count: codeBytes)
    var count = codeBytes
    let isDone = unsafe message.withUnsafeBytes { bytes in
      // The code has as many bytes as its hash.
      unsafe EVP_MAC_update(copy, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count) == 1
        && EVP_MAC_final(copy, &code, &count, codeBytes) == 1
    }
    return isDone && count == codeBytes ? code : nil
  }

  /// Whether `code` is that of `message`, in a time that does not depend on where it differs.
  func verifies(_ message: RawSpan, _ code: RawSpan) -> Bool {
    guard let right = self.code(message) else { return false }
    return ConstantTime.equal(RawSpan(right), code)
  }
}
