import Core
import Crypto
import Simulation
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func object(_ text: String) throws -> JSONValue {
  try #require(JSONDocument.parse(bytes(text), dialect: .strict).document).root
}

@Suite("TokenSigner")
struct JOSETokenSignerTests {
  /// RFC 7515 appendix A.3.
  static let curve = [
    "kty": "\"EC\"", "crv": "\"P-256\"", "x": "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"",
    "y": "\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"", "d": "\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"",
  ]
  /// RFC 8037 appendix A.1.
  static let edwards = [
    "kty": "\"OKP\"", "crv": "\"Ed25519\"", "x": "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"",
    "d": "\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"",
  ]

  private func key(_ members: [String: String], _ changes: KeyValuePairs<String, String?> = [:]) throws -> JSONValue {
    var members = members
    for (name, value) in changes { members[name] = value }
    return try object("{" + members.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",") + "}")
  }

  @Test("A key without its private half, or with one of another key, is refused")
  func halves() throws {
    for members in [Self.curve, Self.edwards] {
      #expect(throws: JSONWebKeyFault.self) { try TokenSigner(key(members, ["d": nil])) }
      #expect(throws: JSONWebKeyFault.self) { try TokenSigner(key(members, ["d": "\"AQ\""])) }
      let other = Base64URL.encode([UInt8](repeating: 9, count: 32))
      #expect(throws: JSONWebKeyFault.self) { try TokenSigner(key(members, ["d": "\"\(other)\""])) }
      let zero = Base64URL.encode([UInt8](repeating: 0, count: 32))
      #expect(throws: JSONWebKeyFault.self) { try TokenSigner(key(members, ["d": "\"\(zero)\""])) }
      _ = try TokenSigner(key(members))
    }
  }

  @Test("A key for another algorithm or another use is refused")
  func uses() throws {
    #expect(throws: JSONWebKeyFault.self) { try TokenSigner(key(Self.curve), algorithm: .es384) }
    #expect(throws: JSONWebKeyFault.self) { try TokenSigner(key(Self.curve), algorithm: .hs256) }
    #expect(throws: JSONWebKeyFault.self) { try TokenSigner(key(Self.curve, ["use": "\"enc\""])) }
    #expect(throws: JSONWebKeyFault.self) {
      try TokenSigner(key(Self.edwards, ["alg": "\"EdDSA\""]), algorithm: .es256)
    }
    #expect(throws: JSONWebKeyFault.self) { try TokenSigner(pem: TestCertificates.serverRSAKey, algorithm: .es256) }
    #expect(throws: JSONWebKeyFault.self) { try TokenSigner.fresh(.hs256) }
  }

  @Test(
    "A text without a private key is refused",
    arguments: [[], TestCertificates.server, bytes("-----BEGIN PRIVATE KEY-----")])
  func noKey(text: [UInt8]) {
    #expect(throws: JSONWebKeyFault.self) { try TokenSigner(pem: text) }
  }

  @Test("Claims whose token would be longer than 16 KiB are refused")
  func long() throws {
    let signer = try TokenSigner(key(Self.edwards))
    for count in [12_300, CompactToken.longest, CompactToken.longest + 1] {
      #expect(throws: JSONWebKeyFault.self) { try signer.sign(RawSpan([UInt8](repeating: 0x20, count: count))) }
    }
    let token = try signer.sign(RawSpan([UInt8](repeating: 0x20, count: 12_000)))
    let isVerified = signer.verifyingKey.verifies(try CompactToken(RawSpan(token)))
    #expect(isVerified)
  }

  @Test("Its header says the algorithm, the key and the type")
  func header() throws {
    let signer = try TokenSigner(key(Self.edwards, ["kid": "\"k \\\"1\\\"\""]))
    let text = try signer.sign(RawSpan(bytes("{}")), type: "at+jwt")
    let token = try CompactToken(RawSpan(text))
    let header = token.header.root
    #expect(header["alg"]?.string == "EdDSA" && header["kid"]?.string == "k \"1\"" && header["typ"]?.string == "at+jwt")
    #expect(header.count == 3)
  }

  @Test("The published half holds nothing private, and the private text gives the same key again")
  func texts() throws {
    for signer in [SomeSigners.rsa, SomeSigners.curve, SomeSigners.longCurve, SomeSigners.edwards] {
      let published = try object(#require(signer.publicText))
      for name in ["d", "p", "q", "dp", "dq", "qi", "k"] { #expect(published[name] == nil) }
      let again = try TokenSigner(pem: #require(signer.privateText), algorithm: signer.algorithm, keyID: signer.keyID)
      #expect(again.publicText == signer.publicText)
    }
    let secret = try TokenSigner(secret: [UInt8](repeating: 1, count: 32))
    #expect(secret.publicText == nil && secret.privateText == nil)
  }

  @Test("Fresh keys are called by their thumbprints, and no two are the same")
  func fresh() throws {
    let first = try TokenSigner.fresh(.es256)
    let second = try TokenSigner.fresh(.es256)
    #expect(first.keyID == first.verifyingKey.thumbprint && first.keyID != nil)
    #expect(first.keyID != second.keyID)
  }

  @Test(
    "The keys of certificates sign too",
    arguments: [(TestCertificates.serverRSAKey, SignatureAlgorithm.ps256), (TestCertificates.serverKey, .es256)])
  func certificateKeys(text: [UInt8], algorithm: SignatureAlgorithm) throws {
    let signer = try TokenSigner(pem: text, algorithm: algorithm)
    let token = try signer.sign(RawSpan(bytes("{}")))
    let certificate = algorithm == .es256 ? TestCertificates.server : TestCertificates.serverRSA
    let isVerified = try JSONWebKey(pem: certificate).verifies(CompactToken(RawSpan(token)))
    #expect(isVerified)
  }
}
