import COpenSSL
import Core

// A key knows for itself which algorithms it verifies, and a token's own word is only looked up among them: that an RSA
// key's public text served as the secret of an HMAC (the oldest trick with these tokens) has no way to be said here.

/// A key that verifies signatures (RFC 7517, RFC 7518 section 6, RFC 8037 section 2). Immutable; all threads may use
/// one.
public final class JSONWebKey: Sendable {
  /// What others call it; nil where it has no name.
  public let keyID: String?
  /// What it may verify, never empty.
  public let algorithms: [SignatureAlgorithm]
  /// Which key it is; nil for a secret.
  let parts: KeyParts?

  let keyIDBytes: [UInt8]
  /// How it verifies each algorithm, at the algorithm's place.
  private let verifiers: [Verifier?]

  private enum Verifier: Sendable {
    case prepared(PreparedKey)
    case edwards(VerifyingKey)
    case secret(PreparedSecret)
  }

  /// Bytes of a secret that are taken at most.
  public static let longestSecret = 4_096
  /// Bytes of a name of a key that are taken at most.
  public static let longestKeyID = 1_024

  /// The public key of these parts; `algorithms` narrows what it may verify.
  init(_ parts: KeyParts, keyID: String?, algorithms: [SignatureAlgorithm]? = nil) throws(JSONWebKeyFault) {
    let wanted = try Self.choose(algorithms, among: parts)
    var verifiers = [Verifier?](repeating: nil, count: SignatureAlgorithm.allCases.count)
    if case .edwards(let bytes) = parts {
      guard let key = VerifyingKey(bytes) else { throw JSONWebKeyFault("these bytes make no Ed25519 key") }
      verifiers[SignatureAlgorithm.edDSA.place] = .edwards(key)
    } else {
      let handle = try KeyHandle(parts)
      for algorithm in wanted {
        guard let prepared = PreparedKey(handle, algorithm) else {
          throw JSONWebKeyFault("OpenSSL does not offer \(algorithm.rawValue) with this key")
        }
        verifiers[algorithm.place] = .prepared(prepared)
      }
    }
    self.parts = parts
    self.verifiers = verifiers
    self.algorithms = wanted
    self.keyID = keyID
    keyIDBytes = try Self.bytes(of: keyID)
  }

  private static func choose(
    _ wanted: [SignatureAlgorithm]?, among parts: KeyParts
  ) throws(JSONWebKeyFault) -> [SignatureAlgorithm] {
    guard let wanted else { return parts.algorithms }
    if wanted.isEmpty { throw JSONWebKeyFault("the key has no algorithm") }
    for algorithm in wanted where !parts.algorithms.contains(algorithm) {
      throw JSONWebKeyFault("\(algorithm.rawValue) is not for this kind of key")
    }
    return wanted
  }

  private static func bytes(of keyID: String?) throws(JSONWebKeyFault) -> [UInt8] {
    let bytes = Array((keyID ?? "").utf8)
    if bytes.count > longestKeyID { throw JSONWebKeyFault("the key's name is longer than \(longestKeyID) bytes") }
    return bytes
  }

  /// A secret for one algorithm of HMAC: at least as long as its hash (RFC 7518 section 3.2), at most ``longestSecret``
  /// bytes.
  public init(secret: [UInt8], algorithm: SignatureAlgorithm, keyID: String? = nil) throws(JSONWebKeyFault) {
    guard algorithm.family == .code else { throw JSONWebKeyFault("a secret does not verify \(algorithm.rawValue)") }
    guard secret.count >= algorithm.hash.bytes else {
      throw JSONWebKeyFault("a secret for \(algorithm.rawValue) has at least \(algorithm.hash.bytes) bytes")
    }
    guard secret.count <= Self.longestSecret else {
      throw JSONWebKeyFault("a secret has at most \(Self.longestSecret) bytes")
    }
    // Someone has put a public key where the secret belongs, which then everybody would know.
    if secret.starts(with: Array("-----BEGIN ".utf8)) { throw JSONWebKeyFault("a text in PEM form is no secret") }
    var verifiers = [Verifier?](repeating: nil, count: SignatureAlgorithm.allCases.count)
    verifiers[algorithm.place] = .secret(PreparedSecret(secret, algorithm.hash))
    self.verifiers = verifiers
    parts = nil
    algorithms = [algorithm]
    self.keyID = keyID
    keyIDBytes = try Self.bytes(of: keyID)
  }

  /// Whether it may verify `algorithm`.
  public func fits(_ algorithm: SignatureAlgorithm) -> Bool { verifiers[algorithm.place] != nil }

  /// Whether `signature` is this key's for `message`: false also for an algorithm that is not among ``algorithms``.
  ///
  /// Signatures are as tokens have them: those of ECDSA are two numbers of full length (RFC 7518 section 3.4). The cost
  /// is that of the algorithm, some 15 µs for RSA with 2048 bits and 45 µs for P-256, and less than a microsecond.
  public func verifies(_ algorithm: SignatureAlgorithm, _ message: RawSpan, _ signature: RawSpan) -> Bool {
    guard signature.byteCount > 0, let verifier = verifiers[algorithm.place] else { return false }
    switch verifier {
    case .prepared(let key): return key.verifies(message, signature)
    case .edwards(let key): return key.verifies(message, signature)
    case .secret(let secret): return secret.verifies(message, signature)
    }
  }

  /// Whether this key has signed `token`.
  public func verifies(_ token: borrowing CompactToken) -> Bool {
    verifies(token.algorithm, token.signedText, RawSpan(token.signature))
  }

  /// Whether it is called by these bytes.
  func isCalled(_ name: RawSpan) -> Bool {
    guard keyID != nil, name.byteCount == keyIDBytes.count else { return false }
    for offset in 0..<keyIDBytes.count {
      // Below `byteCount`, which both share.
      if unsafe name.unsafeLoad(fromByteOffset: offset, as: UInt8.self) != keyIDBytes[offset] { return false }
    }
    return true
  }

  /// What says which key this is (RFC 7638), with SHA-256; nil for a secret, of which it would tell something.
  public var thumbprint: String? { parts?.thumbprint }

  /// The thumbprint of a public key from an object of JSON, without the cost of preparing the key; throws where it is none.
  public static func thumbprint(of value: JSONValue) throws(JSONWebKeyFault) -> String {
    guard value.kind == .object else { throw JSONWebKeyFault("a key is an object") }
    return try parts(requiredText(value, "kty"), value).thumbprint
  }

  /// The key as an object of JSON, to be published; nil for a secret.
  public var publicText: String? {
    guard let parts else { return nil }
    let buffer = ByteBuffer(capacity: 512)
    var writer = JSONWriter(buffer)
    writer.beginObject()
    for member in parts.members {
      writer.key(member.name)
      writer.string(member.value)
    }
    writer.key("use")
    writer.literal("sig")
    if algorithms.count == 1 {
      writer.key("alg")
      writer.string(algorithms[0].rawValue)
    }
    if let keyID {
      writer.key("kid")
      writer.string(keyID)
    }
    writer.endObject()
    return buffer.text
  }
}
