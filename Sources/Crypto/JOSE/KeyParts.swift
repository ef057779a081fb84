import COpenSSL
import Core

/// Why something is no key that Sluice verifies or signs with.
public struct JSONWebKeyFault: Error, Hashable, Sendable {
  /// What is wrong, a phrase; never a secret.
  public let message: String

  init(_ message: String) { self.message = message }
}

/// A curve of the NIST (RFC 7518 section 6.2.1.1).
enum NamedCurve: String, CaseIterable, Sendable {
  case p256 = "P-256"
  case p384 = "P-384"
  case p521 = "P-521"

  /// Bytes of a coordinate, and of either half of a signature.
  var fieldBytes: Int {
    switch self {
    case .p256: 32
    case .p384: 48
    case .p521: 66
    }
  }

  var algorithm: SignatureAlgorithm {
    switch self {
    case .p256: .es256
    case .p384: .es384
    case .p521: .es512
    }
  }

  /// What OpenSSL calls it.
  var nativeName: String {
    switch self {
    case .p256: "prime256v1"
    case .p384: "secp384r1"
    case .p521: "secp521r1"
    }
  }

  /// The object identifier as DER writes it.
  var identifier: [UInt8] {
    switch self {
    case .p256: [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]
    case .p384: [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]
    case .p521: [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]
    }
  }
}

/// A public key as numbers, whose form has been checked; whether they make a key is for ``KeyHandle`` to say.
enum KeyParts: Equatable, Sendable {
  case rsa(modulus: [UInt8], exponent: [UInt8])
  case curve(NamedCurve, x: [UInt8], y: [UInt8])
  case edwards([UInt8])

  /// Bits of an RSA modulus: what is shorter can be broken (RFC 7518 section 3.3), what is longer costs too much.
  static let modulusBits = 2_048...8_192
  /// Bytes of an RSA exponent: 2³² + 1 has five, and larger ones only cost.
  static let longestExponent = 5

  /// The parts of an RSA key.
  init(modulus: [UInt8], exponent: [UInt8]) throws(JSONWebKeyFault) {
    guard let top = modulus.first, top != 0, let last = modulus.last else {
      throw JSONWebKeyFault("the modulus does not begin with a digit other than 0")
    }
    let bits = modulus.count * 8 - top.leadingZeroBitCount
    guard Self.modulusBits.contains(bits) else {
      throw JSONWebKeyFault(
        "an RSA key has \(Self.modulusBits.lowerBound) to \(Self.modulusBits.upperBound) bits, not \(bits)")
    }
    guard last & 1 == 1 else { throw JSONWebKeyFault("the modulus is an even number") }
    guard let first = exponent.first, first != 0, exponent.count <= Self.longestExponent else {
      throw JSONWebKeyFault("the exponent has not 1 to \(Self.longestExponent) bytes without a 0 in front")
    }
    guard exponent[exponent.count - 1] & 1 == 1, exponent != [1] else {
      throw JSONWebKeyFault("the exponent is not an odd number above 1")
    }
    self = .rsa(modulus: modulus, exponent: exponent)
  }

  /// The parts of a key on a curve.
  init(_ curve: NamedCurve, x: [UInt8], y: [UInt8]) throws(JSONWebKeyFault) {
    guard x.count == curve.fieldBytes, y.count == curve.fieldBytes else {
      throw JSONWebKeyFault("a coordinate on \(curve.rawValue) has \(curve.fieldBytes) bytes")
    }
    self = .curve(curve, x: x, y: y)
  }

  /// The parts of an Ed25519 key.
  init(edwards bytes: [UInt8]) throws(JSONWebKeyFault) {
    guard bytes.count == SigningKey.seedBytes else {
      throw JSONWebKeyFault("an Ed25519 key has \(SigningKey.seedBytes) bytes")
    }
    self = .edwards(bytes)
  }

  var type: String {
    switch self {
    case .rsa: "RSA"
    case .curve: "EC"
    case .edwards: "OKP"
    }
  }

  /// All that such a key can verify.
  var algorithms: [SignatureAlgorithm] {
    switch self {
    case .rsa: [.rs256, .rs384, .rs512, .ps256, .ps384, .ps512]
    case .curve(let curve, _, _): [curve.algorithm]
    case .edwards: [.edDSA]
    }
  }

  /// What says which key it is (RFC 7638), with SHA-256.
  var thumbprint: String {
    let members = members.map { "\"\($0.name)\":\"\($0.value)\"" }.joined(separator: ",")
    let text = Array("{\(members)}".utf8)
    return Base64URL.encode(SHA256().digest(of: RawSpan(text)).bytes)
  }

  /// The members that say which key it is, in the order of RFC 7638 section 3.2; none needs an escape.
  var members: [(name: String, value: String)] {
    switch self {
    case .rsa(let modulus, let exponent):
      [("e", Base64URL.encode(exponent)), ("kty", type), ("n", Base64URL.encode(modulus))]
    case .curve(let curve, let x, let y):
      [("crv", curve.rawValue), ("kty", type), ("x", Base64URL.encode(x)), ("y", Base64URL.encode(y))]
    case .edwards(let bytes): [("crv", "Ed25519"), ("kty", type), ("x", Base64URL.encode(bytes))]
    }
  }

  /// The subject's public key as a certificate holds it (RFC 5280 section 4.1.2.7).
  var subjectPublicKey: [UInt8] {
    switch self {
    case .rsa(let modulus, let exponent):
      DERText.sequence(
        DERText.rsaEncryption,
        DERText.bits(DERText.sequence(DERText.integer(modulus), DERText.integer(exponent))))
    case .curve(let curve, let x, let y):
      DERText.sequence(
        DERText.sequence(DERText.ellipticCurveKey, curve.identifier), DERText.bits([0x04] + x + y))
    case .edwards(let bytes):
      // 1.3.101.112
      DERText.sequence(DERText.sequence([0x06, 0x03, 0x2b, 0x65, 0x70]), DERText.bits(bytes))
    }
  }
}
