import COpenSSL
import Core

// Sluice signs for two readers: upstreams, which want to know who calls, and clients of its authorization server. Both
// read the public key from a set that ``publicText`` goes into.
//
// Fresh keys come from OpenSSL's own generator, which is seeded by the system, as those of every TLS handshake do: a
// generator handed in from outside would not reach into OpenSSL's search for primes.

/// Signs tokens in compact form (RFC 7515 section 7.1) with one key and one algorithm. Immutable; all threads may use
/// one.
public final class TokenSigner: Sendable {
  /// How it signs.
  public let algorithm: SignatureAlgorithm
  /// What verifies its tokens, with the same name and for this algorithm only.
  public let verifyingKey: JSONWebKey

  private let secret: Secret
  private let key: KeyHandle?

  private enum Secret: Sendable {
    case prepared(PreparedKey)
    case edwards(SigningKey)
    case code(PreparedSecret)
  }

  /// Bits of a fresh RSA key: as strong as is asked until 2030 (NIST SP 800-131A), and four times as fast as 4096.
  public static let freshModulusBits = 2_048

  /// The name of the key, which tokens carry; nil where it has none.
  public var keyID: String? { verifyingKey.keyID }

  /// The public key as an object of JSON, for a set; nil for a secret.
  public var publicText: String? { verifyingKey.publicText }

  /// A private key from a text in PEM form, without a password; throws where it is none, or not for `algorithm`. Nil
  /// stands for RS256 with an RSA key and for the only one of other keys.
  public convenience init(
    pem: [UInt8], algorithm: SignatureAlgorithm? = nil, keyID: String? = nil
  ) throws(JSONWebKeyFault) {
    guard pem.count <= JSONWebKey.longestPEM, let key = unsafe PEMText.key(pem) else {
      throw JSONWebKeyFault("there is no private key that needs no password")
    }
    try unsafe self.init(KeyHandle(owning: key), algorithm, keyID: keyID)
  }

  /// A private key or a secret from an object of JSON that a parser has found without duplicate members. Throws where
  /// it is none, where its parts do not belong together, or where it is not for `algorithm`; nil stands for what its
  /// `alg` says, or as in ``init(pem:algorithm:keyID:)``, and HS256 for a secret.
  public convenience init(
    _ value: JSONValue, algorithm: SignatureAlgorithm? = nil
  ) throws(JSONWebKeyFault) {
    guard value.kind == .object else { throw JSONWebKeyFault("a key is an object") }
    let named = try JSONWebKey.algorithm(value)
    if let named, let algorithm, named != algorithm { throw JSONWebKeyFault("the key is for \(named.rawValue)") }
    if let use = value["use"], !use.equals("sig") { throw JSONWebKeyFault("the key is not used for signatures") }
    let keyID = try JSONWebKey.text(value, "kid")
    let type = try JSONWebKey.requiredText(value, "kty")
    if type == "oct" {
      try self.init(secret: JSONWebKey.bytes(value, "k"), algorithm: algorithm ?? named ?? .hs256, keyID: keyID)
    } else {
      let handle = try KeyHandle(privateKey: value, JSONWebKey.parts(type, value))
      try self.init(handle, algorithm ?? named, keyID: keyID)
    }
  }

  /// A secret for an algorithm of HMAC; its length as for ``JSONWebKey/init(secret:algorithm:keyID:)``.
  public init(secret: [UInt8], algorithm: SignatureAlgorithm = .hs256, keyID: String? = nil) throws(JSONWebKeyFault) {
    verifyingKey = try JSONWebKey(secret: secret, algorithm: algorithm, keyID: keyID)
    self.algorithm = algorithm
    self.secret = .code(PreparedSecret(secret, algorithm.hash))
    key = nil
  }

  /// The Ed25519 key that follows from a secret seed of ``SigningKey/seedBytes`` bytes; throws for any other number of them.
  /// It is called by its thumbprint unless it has another name.
  public convenience init(seed: [UInt8], keyID: String? = nil) throws(JSONWebKeyFault) {
    guard seed.count == SigningKey.seedBytes,
      let key = unsafe EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nil, seed, seed.count)
    else { throw JSONWebKeyFault("a seed has \(SigningKey.seedBytes) bytes") }
    let handle = unsafe KeyHandle(owning: key)
    let thumbprint = try JSONWebKey(handle.parts(), keyID: nil).thumbprint
    try self.init(handle, .edDSA, keyID: keyID ?? thumbprint)
  }

  private init(_ key: KeyHandle, _ wanted: SignatureAlgorithm?, keyID: String?) throws(JSONWebKeyFault) {
    let parts = try key.parts()
    guard let algorithm = wanted ?? parts.algorithms.first else { throw JSONWebKeyFault("the key has no algorithm") }
    verifyingKey = try JSONWebKey(parts, keyID: keyID, algorithms: [algorithm])
    self.algorithm = algorithm
    self.key = key
    if case .edwards = parts {
      guard let seed = key.seed else { throw JSONWebKeyFault("the key has no private half") }
      secret = .edwards(SigningKey(seed: seed))
    } else {
      guard let prepared = PreparedKey(key, algorithm, signing: true) else {
        throw JSONWebKeyFault("OpenSSL does not sign \(algorithm.rawValue) with this key")
      }
      secret = .prepared(prepared)
    }
    // A private half that belongs to another public one would sign what nobody can verify.
    let probe: [UInt8] = Array("probe".utf8)
    guard let signature = signature(RawSpan(probe)),
      verifyingKey.verifies(algorithm, RawSpan(probe), RawSpan(signature))
    else { throw JSONWebKeyFault("the private half does not belong to the public one") }
  }

  /// A fresh key for `algorithm`, called by its thumbprint unless it has another name: for ECDSA and Ed25519 well below
  /// a millisecond, for RSA a tenth of a second or more. Throws for HMAC, whose secrets are not OpenSSL's to make.
  public static func fresh(_ algorithm: SignatureAlgorithm, keyID: String? = nil) throws(JSONWebKeyFault) -> TokenSigner
  {
    let handle = try KeyHandle(freshFor: algorithm)
    if let keyID { return try TokenSigner(handle, algorithm, keyID: keyID) }
    return try TokenSigner(handle, algorithm, keyID: JSONWebKey(handle.parts(), keyID: nil).thumbprint)
  }

  /// The private key as PKCS #8 in PEM form, to be kept where nobody else reads it; nil for a secret.
  public var privateText: [UInt8]? { key?.privateText }

  /// A token with these claims, a text in JSON that is taken as it is, and this `typ`; where it `showsKey`, with the public key
  /// itself in place of its name, as a proof of possession has it (RFC 9449 section 4.2). Throws where the token would be
  /// longer than ``CompactToken/longest``, or OpenSSL cannot sign.
  ///
  /// The cost is the algorithm's: about 25 µs for P-256, 50 µs for Ed25519 and 600 µs for RSA with 2048 bits.
  public func sign(
    _ claims: RawSpan, type: String = "JWT", showsKey: Bool = false
  ) throws(JSONWebKeyFault) -> [UInt8] {
    guard claims.byteCount <= CompactToken.longest else { throw Self.tooLong }
    let header = ByteBuffer(capacity: showsKey ? 1_024 : 128)
    var writer = JSONWriter(header)
    writer.beginObject()
    writer.key("alg")
    writer.string(algorithm.rawValue)
    if showsKey, let publicText {
      writer.key("jwk")
      writer.raw(publicText)
    } else if let keyID {
      writer.key("kid")
      writer.string(keyID)
    }
    writer.key("typ")
    writer.string(type)
    writer.endObject()
    let token = ByteBuffer(capacity: (header.count + claims.byteCount) / 3 * 4 + 720)
    Base64URL.encode(header.bytes, into: token)
    token.append(UInt8(ascii: "."))
    Base64URL.encode(claims, into: token)
    guard let signature = signature(token.bytes) else { throw JSONWebKeyFault("OpenSSL could not sign") }
    token.append(UInt8(ascii: "."))
    Base64URL.encode(RawSpan(signature), into: token)
    guard token.count <= CompactToken.longest else { throw Self.tooLong }
    return token.array
  }

  private static let tooLong = JSONWebKeyFault("the token would be longer than \(CompactToken.longest) bytes")

  private func signature(_ text: RawSpan) -> [UInt8]? {
    switch secret {
    case .prepared(let key): key.sign(text)
    case .edwards(let key): key.sign(text.array)
    case .code(let secret): secret.code(text)
    }
  }
}
