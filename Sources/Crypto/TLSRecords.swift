// The record protocol of TLS 1.3 (RFC 8446 section 5), for connections whose handshake OpenSSL has completed.
//
// OpenSSL keeps 16 KiB for a connection that does nothing. All that the records of TLS 1.3 need is two secrets, so a
// connection takes them over, lets OpenSSL's object go and is left with 250 bytes; it also saves a microsecond a record.
// The ciphers themselves are OpenSSL's, and the keys of the connections used last are kept set.

import COpenSSL
import Core
import Glibc

/// The kinds of records, as they are numbered (RFC 8446 section 5.1).
enum TLSRecordKind {
  static let changeCipherSpec: UInt8 = 20
  static let alert: UInt8 = 21
  static let handshake: UInt8 = 22
  static let data: UInt8 = 23
}

/// Alerts that are sent or understood here (RFC 8446 section 6).
enum TLSAlert {
  static let closeNotify: UInt8 = 0
  static let unexpectedMessage: UInt8 = 10
  static let badRecordMAC: UInt8 = 20
  static let recordOverflow: UInt8 = 22
  static let decodeError: UInt8 = 50
  static let userCanceled: UInt8 = 90
}

/// The cipher suites of TLS 1.3.
enum TLSSuite: Int {
  case aes128 = 0
  case aes256 = 1
  case chacha = 2

  /// The suite with this number (RFC 8446 appendix B.4).
  init?(number: UInt16) {
    switch number {
    case 0x1301: self = .aes128
    case 0x1302: self = .aes256
    case 0x1303: self = .chacha
    default: return nil
    }
  }

  var keyCount: Int { self == .aes128 ? 16 : 32 }
  var secretCount: Int { self == .aes256 ? 48 : 32 }
  var digest: OpaquePointer? { unsafe self == .aes256 ? EVP_sha384() : EVP_sha256() }
  var name: String {
    switch self {
    case .aes128: "AES-128-GCM"
    case .aes256: "AES-256-GCM"
    case .chacha: "ChaCha20-Poly1305"
    }
  }
}

/// What one direction of a connection is encrypted with. Plain data.
struct TLSTrafficKeys {
  /// Records after which a key is changed: below 2^24.5, where AES-GCM begins to wear out (RFC 8446 section 5.5).
  static let longestUse: UInt64 = 1 << 24

  let suite: TLSSuite
  /// Tells these keys from all others of the loop.
  private(set) var identity: UInt64
  private var secret = InlineArray<48, UInt8>(repeating: 0)
  private(set) var key = InlineArray<32, UInt8>(repeating: 0)
  private var iv = InlineArray<12, UInt8>(repeating: 0)
  /// The next record's number.
  var sequence: UInt64

  /// Keys that follow from a traffic secret of as many bytes as the suite's digest has.
  init(_ suite: TLSSuite, secret: [UInt8], sequence: UInt64, identity: UInt64) {
    precondition(secret.count == suite.secretCount)
    self.suite = suite
    self.identity = identity
    self.sequence = sequence
    for index in secret.indices { self.secret[index] = secret[index] }
    derive()
  }

  private mutating func derive() {
    let key = expand("key", suite.keyCount)
    for index in key.indices { self.key[index] = key[index] }
    let iv = expand("iv", 12)
    for index in iv.indices { self.iv[index] = iv[index] }
  }

  /// The next generation of keys (RFC 8446 section 7.2).
  mutating func update(identity: UInt64) {
    let next = expand("traffic upd", suite.secretCount)
    for index in next.indices { secret[index] = next[index] }
    self.identity = identity
    sequence = 0
    derive()
  }

  /// HKDF-Expand-Label without a context (RFC 8446 section 7.1), for at most as many bytes as the digest has.
  private func expand(_ label: String, _ count: Int) -> [UInt8] {
    let name = Array("tls13 ".utf8) + Array(label.utf8)
    let info: [UInt8] = [0, UInt8(count), UInt8(name.count)] + name + [0, 1]
    if suite.secretCount == 32 { return Array(code(of: info).prefix(count)) }
    var output = [UInt8](repeating: 0, count: 64)
    var length: UInt32 = 0
    let isDone = unsafe secret.span.withUnsafeBytes { key in
      // 64 bytes are more than any digest has.
      unsafe HMAC(suite.digest, key.baseAddress, Int32(suite.secretCount), info, info.count, &output, &length) != nil
    }
    precondition(isDone && Int(length) >= count, "OpenSSL could not compute HMAC")
    return Array(output.prefix(count))
  }

  /// HMAC with SHA-256 (RFC 2104), keyed by the secret. OpenSSL's own looks five objects up and
  /// lets them go again, eight thousand instructions more each; every handshake needs four of these.
  private func code(of message: [UInt8]) -> [UInt8] {
    var (inner, outer) = ([UInt8](repeating: 0x36, count: 64), [UInt8](repeating: 0x5c, count: 64))
    for index in 0..<32 {
      inner[index] ^= secret[index]
      outer[index] ^= secret[index]
    }
    inner += message
    outer += SHA256().digest(of: RawSpan(inner)).bytes
    return SHA256().digest(of: RawSpan(outer)).bytes
  }

  /// The nonce of the next record (RFC 8446 section 5.3).
  var nonce: InlineArray<12, UInt8> {
    var nonce = iv
    unsafe withUnsafeMutableBytes(of: &nonce) {
      // Twelve bytes, of which these are the last eight.
      let last = unsafe $0.loadUnaligned(fromByteOffset: 4, as: UInt64.self)
      unsafe $0.storeBytes(of: last ^ sequence.bigEndian, toByteOffset: 4, as: UInt64.self)
    }
    return nonce
  }
}

/// Encrypts and decrypts records for all connections of a loop.
@safe
struct TLSRecordCiphers: ~Copyable {
  /// Bytes before and behind what a record says.
  static let headerCount = 5
  static let tagCount = 16
  /// The most bytes of content (RFC 8446 section 5.1), and of a record's body (section 5.2).
  static let longestContent = 16_384
  static let longestBody = 16_384 + 256

  /// A cipher with the keys of one connection; another's take their place.
  @safe
  private struct Cipher {
    var context: OpaquePointer?
    /// Whose key it has.
    var identity: UInt64 = 0
  }

  /// How many connections' keys are kept set for each suite and direction: a kilobyte each, once they have been used. Setting a
  /// key takes 0.14 µs.
  private static let places = 256

  /// By suite, then by place; empty before the first use.
  private var sealing: [Cipher] = []
  private var opening: [Cipher] = []
  private var identities: UInt64 = 0

  init() {}

  deinit {
    for cipher in sealing + opening { unsafe EVP_CIPHER_CTX_free(cipher.context) }
  }

  private static func context(_ suite: TLSSuite, seals: Bool) -> OpaquePointer {
    guard let algorithm = unsafe EVP_CIPHER_fetch(nil, suite.name, nil), let context = unsafe EVP_CIPHER_CTX_new(),
      unsafe EVP_CipherInit_ex2(context, algorithm, nil, nil, seals ? 1 : 0, nil) == 1
    else { preconditionFailure("OpenSSL offers no \(suite.name)") }
    // The context has a reference of its own.
    unsafe EVP_CIPHER_free(algorithm)
    return unsafe context
  }

  /// The place for these keys; those of a connection's two directions are numbered one after the other.
  private static func place(_ keys: borrowing TLSTrafficKeys) -> Int {
    keys.suite.rawValue * places + Int(truncatingIfNeeded: keys.identity / 2 % UInt64(places))
  }

  /// The cipher at a place of `ciphers`, and whether the key has still to be set.
  private static func take(
    _ ciphers: inout [Cipher], _ keys: borrowing TLSTrafficKeys, seals: Bool
  ) -> (context: OpaquePointer, isNew: Bool) {
    if ciphers.isEmpty { ciphers = [Cipher](repeating: Cipher(), count: 3 * places) }
    let place = place(keys)
    let isNew = ciphers[place].identity != keys.identity
    ciphers[place].identity = keys.identity
    if let context = unsafe ciphers[place].context { return unsafe (context, isNew) }
    let context = unsafe Self.context(keys.suite, seals: seals)
    unsafe ciphers[place].context = context
    return unsafe (context, isNew)
  }

  /// A number that no other keys of this loop have.
  mutating func nextIdentity() -> UInt64 {
    identities += 1
    return identities
  }

  /// Bytes of content up to which a copy, and one call for all of it, cost less than a call for each piece.
  private static let copiedContent = 2_048

  /// Copies `bytes` to where there is room for them; returns what lies behind.
  @discardableResult
  private static func copy(_ bytes: RawSpan, to place: UnsafeMutablePointer<UInt8>) -> UnsafeMutablePointer<UInt8> {
    unsafe bytes.withUnsafeBytes { input in
      if let start = input.baseAddress {
        unsafe UnsafeMutableRawPointer(place).copyMemory(from: start, byteCount: input.count)
      }
    }
    return unsafe place + bytes.byteCount
  }

  /// Encrypts a piece of a record to where there is room for it.
  private static func encrypt(
    _ bytes: RawSpan, to place: UnsafeMutablePointer<UInt8>, with context: OpaquePointer
  ) -> Bool {
    if bytes.isEmpty { return true }
    var written: Int32 = 0
    return unsafe bytes.withUnsafeBytes {
      unsafe EVP_EncryptUpdate(context, place, &written, $0.baseAddress, Int32($0.count)) == 1
    }
  }

  /// Appends a record that holds `first` and then `second`, at most ``longestContent`` bytes together, to `target`.
  mutating func seal(
    _ kind: UInt8, _ first: RawSpan, _ second: RawSpan, with keys: inout TLSTrafficKeys, into target: ByteBuffer
  ) {
    let count = first.byteCount + second.byteCount
    precondition(count <= Self.longestContent)
    let (context, isNew) = unsafe Self.take(&sealing, keys, seals: true)
    let body = count + 1 + Self.tagCount
    let nonce = keys.nonce
    unsafe target.append(limit: Self.headerCount + body) { room in
      guard let base = unsafe room.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return 0 }
      // Sealed like data, whatever it is (RFC 8446 section 5.2).
      unsafe (base[0], base[1], base[2]) = (TLSRecordKind.data, 3, 3)
      unsafe (base[3], base[4]) = (UInt8(truncatingIfNeeded: body >> 8), UInt8(truncatingIfNeeded: body))
      let content = unsafe base + Self.headerCount
      let end = unsafe content + count
      unsafe end.pointee = kind
      var written: Int32 = 0
      var isDone = unsafe nonce.span.withUnsafeBytes { nonce in
        unsafe keys.key.span.withUnsafeBytes { key in
          unsafe EVP_EncryptInit_ex2(context, nil, isNew ? key.baseAddress : nil, nonce.baseAddress, nil) == 1
        }
      }
      unsafe isDone = isDone && EVP_EncryptUpdate(context, nil, &written, base, Int32(Self.headerCount)) == 1
      if count <= Self.copiedContent {
        unsafe Self.copy(second, to: Self.copy(first, to: content))
        unsafe isDone = isDone && EVP_EncryptUpdate(context, content, &written, content, Int32(count + 1)) == 1
      } else {
        unsafe isDone = isDone && Self.encrypt(first, to: content, with: context)
        unsafe isDone = isDone && Self.encrypt(second, to: content + first.byteCount, with: context)
        unsafe isDone = isDone && EVP_EncryptUpdate(context, end, &written, end, 1) == 1
      }
      unsafe isDone = isDone && EVP_EncryptFinal_ex(context, end + 1, &written) == 1
      unsafe isDone =
        isDone
        && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, Int32(Self.tagCount), end + 1) == 1
      precondition(isDone, "OpenSSL could not encrypt")
      return Self.headerCount + body
    }
    keys.sequence += 1
  }

  /// Decrypts a whole record, header included, of at least a tag's length, to the end of `target`: its content, its kind and
  /// any padding. Returns how many bytes that were, nil where it is not genuine and nothing was added.
  mutating func open(_ record: RawSpan, with keys: inout TLSTrafficKeys, into target: ByteBuffer) -> Int? {
    let count = record.byteCount - Self.headerCount - Self.tagCount
    precondition(count >= 0)
    let (context, isNew) = unsafe Self.take(&opening, keys, seals: false)
    let nonce = keys.nonce
    var isGenuine = false
    unsafe target.append(limit: count) { room in
      var written: Int32 = 0
      unsafe record.withUnsafeBytes { record in
        guard let base = unsafe record.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return }
        let content = unsafe base + Self.headerCount
        // OpenSSL reads the tag only, although it asks for a pointer that may write.
        let tag = unsafe UnsafeMutablePointer(mutating: content + count)
        isGenuine = unsafe nonce.span.withUnsafeBytes { nonce in
          unsafe keys.key.span.withUnsafeBytes { key in
            unsafe EVP_DecryptInit_ex2(context, nil, isNew ? key.baseAddress : nil, nonce.baseAddress, nil) == 1
          }
        }
        unsafe isGenuine = isGenuine && EVP_DecryptUpdate(context, nil, &written, base, Int32(Self.headerCount)) == 1
        let place = unsafe room.baseAddress?.assumingMemoryBound(to: UInt8.self)
        unsafe isGenuine = isGenuine && EVP_DecryptUpdate(context, place, &written, content, Int32(count)) == 1
        unsafe isGenuine =
          isGenuine && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagCount), tag) == 1
        var rest: Int32 = 0
        unsafe isGenuine = isGenuine && EVP_DecryptFinal_ex(context, place.map { unsafe $0 + count }, &rest) == 1
      }
      return isGenuine ? count : 0
    }
    guard isGenuine else {
      ERR_clear_error()
      return nil
    }
    keys.sequence += 1
    return count
  }
}
