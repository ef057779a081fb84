import COpenSSL
import Core

extension JSONWebKey {
  /// Members that only the owner of a key may know (RFC 7518 section 6): whoever publishes them has lost the key.
  private static let privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]

  /// A public key from an object of JSON that a parser has found without duplicate members.
  ///
  /// Throws for a key that is not for verifying (`use`, `key_ops`), that holds private members, that is a secret, or
  /// that is no key at all. `x5u` and `x5c` are not looked at: a key is trusted for where it was read, not for what it
  /// says.
  public convenience init(_ value: JSONValue) throws(JSONWebKeyFault) {
    guard value.kind == .object else { throw JSONWebKeyFault("a key is an object") }
    let type = try Self.requiredText(value, "kty")
    if type == "oct" { throw JSONWebKeyFault("a secret is not taken from a published key") }
    for name in Self.privateMembers where value[name] != nil {
      throw JSONWebKeyFault("the key is published with its private member \"\(name)\"")
    }
    try Self.checkUse(value)
    let algorithm = try Self.algorithm(value)
    let parts = try Self.parts(type, value)
    try self.init(parts, keyID: try Self.text(value, "kid"), algorithms: algorithm.map { [$0] })
  }

  /// A public key from a text in PEM form: a public key (RFC 7468 section 13) or one certificate, of which only the key
  /// is taken; neither its times nor who has issued it are looked at. Throws for a private key.
  ///
  /// `algorithms` narrows what it may verify; nil for all that fit it.
  public convenience init(
    pem: [UInt8], keyID: String? = nil, algorithms: [SignatureAlgorithm]? = nil
  ) throws(JSONWebKeyFault) {
    guard pem.count <= Self.longestPEM else {
      throw JSONWebKeyFault("the text is longer than \(Self.longestPEM) bytes")
    }
    if pem.contains(Array("PRIVATE KEY-----".utf8)) { throw JSONWebKeyFault("this is a private key") }
    try self.init(Self.publicKey(pem).parts(), keyID: keyID, algorithms: algorithms)
  }

  /// Bytes of a text in PEM form that are read at most.
  public static let longestPEM = 64 << 10

  private static func publicKey(_ pem: [UInt8]) throws(JSONWebKeyFault) -> KeyHandle {
    if let key = unsafe PEMText.publicKey(pem) { return unsafe KeyHandle(owning: key) }
    let certificates = (try? PEMText.certificates(pem, limit: 1)) ?? []
    guard let certificate = certificates.first, let key = unsafe X509_get_pubkey(certificate.handle) else {
      ERR_clear_error()
      throw JSONWebKeyFault("there is neither a public key nor exactly one certificate")
    }
    return unsafe KeyHandle(owning: key)
  }

  private static func checkUse(_ value: JSONValue) throws(JSONWebKeyFault) {
    if let use = value["use"], !use.equals("sig") { throw JSONWebKeyFault("the key is not used for signatures") }
    guard let operations = value["key_ops"] else { return }
    guard operations.kind == .array else { throw JSONWebKeyFault("\"key_ops\" is no array") }
    guard operations.elements.contains(where: { $0.equals("verify") }) else {
      throw JSONWebKeyFault("the key is not for verifying")
    }
  }

  /// The algorithm that it names; nil where it names none.
  static func algorithm(_ value: JSONValue) throws(JSONWebKeyFault) -> SignatureAlgorithm? {
    guard let name = try text(value, "alg") else { return nil }
    guard let algorithm = SignatureAlgorithm(rawValue: name) else {
      throw JSONWebKeyFault("its algorithm is none of those that are verified here")
    }
    return algorithm
  }

  /// The public parts of a key of the type `type`.
  static func parts(_ type: String, _ value: JSONValue) throws(JSONWebKeyFault) -> KeyParts {
    switch type {
    case "RSA": return try KeyParts(modulus: try bytes(value, "n"), exponent: try bytes(value, "e"))
    case "EC":
      guard let curve = NamedCurve(rawValue: try requiredText(value, "crv")) else {
        throw JSONWebKeyFault("the curve is not P-256, P-384 or P-521")
      }
      return try KeyParts(curve, x: try bytes(value, "x"), y: try bytes(value, "y"))
    case "OKP":
      guard try requiredText(value, "crv") == "Ed25519" else { throw JSONWebKeyFault("the curve is not Ed25519") }
      return try KeyParts(edwards: try bytes(value, "x"))
    default: throw JSONWebKeyFault("keys of this type are not known")
    }
  }

  /// A member that is a string; nil where there is none.
  static func text(_ value: JSONValue, _ name: String) throws(JSONWebKeyFault) -> String? {
    guard let member = value[name] else { return nil }
    guard let text = member.string else { throw JSONWebKeyFault("\"\(name)\" is no string") }
    return text
  }

  static func requiredText(_ value: JSONValue, _ name: String) throws(JSONWebKeyFault) -> String {
    guard let text = try text(value, name) else { throw JSONWebKeyFault("\"\(name)\" is missing") }
    return text
  }

  /// A member that is a string of base64url.
  static func bytes(_ value: JSONValue, _ name: String) throws(JSONWebKeyFault) -> [UInt8] {
    guard let bytes = Base64URL.decode(try requiredText(value, name)) else {
      throw JSONWebKeyFault("\"\(name)\" is not base64url without padding")
    }
    return bytes
  }
}
