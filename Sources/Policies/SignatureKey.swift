import Crypto
import Pipeline

/// A key by which requests are signed, and who signs with it.
struct SignatureKey: Sendable {
  /// How requests are signed (RFC 9421 section 3.3), named as its registry does.
  enum Algorithm: String, CaseIterable {
    case code = "hmac-sha256"
    case ed25519
    case p256 = "ecdsa-p256-sha256"
    case p384 = "ecdsa-p384-sha384"
    case rsaPSS = "rsa-pss-sha512"
    case rsa = "rsa-v1_5-sha256"

    var token: SignatureAlgorithm {
      switch self {
      case .code: .hs256
      case .ed25519: .edDSA
      case .p256: .es256
      case .p384: .es384
      case .rsaPSS: .ps512
      case .rsa: .rs256
      }
    }
  }

  /// How a secret is written.
  private enum Encoding: String, CaseIterable {
    case text, base64
  }

  let id: String
  let algorithm: Algorithm
  /// The consumer of the configuration that signs with it.
  let consumer: String?
  private let key: JSONWebKey

  init?(_ options: inout OptionReader) {
    id = options.string("id", "What signatures call it: keyid. It can be revoked by this name.")
    let secret = options.optionalSecret(
      "secret", "What the signer and the gateway share, for hmac-sha256: 32 bytes or more.")
    let encoding = options.choice("encoding", default: Encoding.text, "How the secret is written.")
    let pem = options.optionalText("publicKey", "The signer's public key or certificate in PEM, for all others.")
    let wanted = options.optionalChoice(
      "algorithm", as: Algorithm.self,
      "How the key signs, whatever a signature says; by default what fits it, rsa-pss-sha512 for RSA.")
    consumer = options.optionalString(
      "consumer", "The consumer of the configuration that signs with it: its limits, groups and tenant hold.")
    if options.isDescribing { return nil }
    if id.isEmpty || id.utf8.contains(where: { $0 < 0x20 || $0 > 0x7e }) {
      options.fail("no signature can name this key", at: "id", fix: "use printable ASCII")
    }
    if options.hasFailed("secret") || options.hasFailed("publicKey") { return nil }
    let made: (JSONWebKey, Algorithm)?
    switch (secret, pem) {
    case (let secret?, nil): made = Self.symmetric(secret, encoding, wanted, &options)
    case (nil, let pem?): made = Self.asymmetric(pem, wanted, &options)
    default:
      options.fail("a key is a secret or a public key", at: secret == nil ? "id" : "secret", fix: "give one of both")
      return nil
    }
    guard let made, !options.hasFailed("id") else { return nil }
    (key, algorithm) = made
  }

  private static func symmetric(
    _ text: String, _ encoding: Encoding, _ wanted: Algorithm?, _ options: inout OptionReader
  ) -> (JSONWebKey, Algorithm)? {
    guard wanted == nil || wanted == .code else {
      options.fail("a secret signs with hmac-sha256", at: "algorithm", fix: "remove it, or give publicKey")
      return nil
    }
    guard let secret = encoding == .text ? Array(text.utf8) : Base64.decode(text) else {
      options.fail("the secret is no Base64", at: "secret", fix: "write it with padding, or remove encoding")
      return nil
    }
    do throws(JSONWebKeyFault) { return (try JSONWebKey(secret: secret, algorithm: .hs256), .code) } catch {
      options.fail(
        "this secret cannot be used: \(error.message)", at: "secret", fix: "write 32 random bytes or more")
      return nil
    }
  }

  private static func asymmetric(
    _ pem: String, _ wanted: Algorithm?, _ options: inout OptionReader
  ) -> (JSONWebKey, Algorithm)? {
    do throws(JSONWebKeyFault) {
      let key = try JSONWebKey(pem: Array(pem.utf8))
      let fitting = Algorithm.allCases.filter { key.fits($0.token) }
      guard let chosen = wanted ?? fitting.first else {
        options.fail("no signatures are made with such a key", at: "publicKey", fix: "use Ed25519, P-256 or RSA")
        return nil
      }
      guard fitting.contains(chosen) else {
        options.fail("\(chosen.rawValue) is not for this kind of key", at: "algorithm", fix: "remove it")
        return nil
      }
      return (key, chosen)
    } catch {
      options.fail(
        "this key cannot be used: \(error.message)", at: "publicKey", fix: "write a public key or certificate in PEM")
      return nil
    }
  }

  /// Whether `signature` is this key's over `base`. Codes are compared in constant time.
  func verifies(_ base: [UInt8], _ signature: [UInt8]) -> Bool {
    key.verifies(algorithm.token, RawSpan(base), RawSpan(signature))
  }
}
