import COpenSSL
import Core
import Crypto
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func object(_ text: String) throws -> JSONValue {
  try #require(JSONDocument.parse(bytes(text), dialect: .strict).document).root
}

/// Why a key is refused; nil where it is not.
private func refusal(_ text: String) throws -> String? {
  let value = try object(text)
  do throws(JSONWebKeyFault) {
    _ = try JSONWebKey(value)
    return nil
  } catch { return error.message }
}

/// A published key with a member changed, added, or with nil removed.
private func changed(_ text: String, _ name: String, _ value: String?) throws -> String {
  var members = try object(text).members.filter { !$0.key.equals(name) }
    .map { "\($0.key.sourceText):\($0.value.sourceText)" }
  if let value { members.append("\"\(name)\":\(value)") }
  return "{\(members.joined(separator: ","))}"
}

/// A number of `count` bytes between its first and its last.
private func number(_ first: UInt8, _ count: Int, _ last: UInt8) -> String {
  "\"" + Base64URL.encode([first] + [UInt8](repeating: 0x5a, count: count - 2) + [last]) + "\""
}

/// Signers that the tests share, since an RSA key is slow to make.
enum SomeSigners {
  static let rsa = make(.rs256)
  static let curve = make(.es256)
  static let longCurve = make(.es512)
  static let edwards = make(.edDSA)

  private static func make(_ algorithm: SignatureAlgorithm) -> TokenSigner {
    do { return try TokenSigner.fresh(algorithm, keyID: "a") } catch { preconditionFailure("\(error)") }
  }
}

@Suite("JSONWebKey")
struct JSONWebKeyTests {
  static let rsa = SomeSigners.rsa.publicText ?? ""
  static let curve = SomeSigners.curve.publicText ?? ""
  static let edwards = SomeSigners.edwards.publicText ?? ""

  @Test(
    "What is no key, or not for verifying, is refused",
    arguments: [
      ("kty", nil, "\"kty\" is missing"), ("kty", "1", "\"kty\" is no string"),
      ("kty", "\"XYZ\"", "keys of this type are not known"),
      ("kty", "\"oct\"", "a secret is not taken from a published key"),
      ("use", "\"enc\"", "the key is not used for signatures"), ("use", "1", "the key is not used for signatures"),
      ("key_ops", "[\"sign\",\"encrypt\"]", "the key is not for verifying"),
      ("key_ops", "[]", "the key is not for verifying"),
      ("key_ops", "\"verify\"", "\"key_ops\" is no array"),
      ("alg", "\"none\"", "its algorithm is none of those that are verified here"),
      ("alg", "\"RSA-OAEP\"", "its algorithm is none of those that are verified here"),
      ("alg", "1", "\"alg\" is no string"), ("alg", "\"HS256\"", "HS256 is not for this kind of key"),
      ("alg", "\"ES384\"", "ES384 is not for this kind of key"), ("kid", "1", "\"kid\" is no string"),
      ("d", "\"AQ\"", "the key is published with its private member \"d\""),
      ("k", "\"AQ\"", "the key is published with its private member \"k\""),
    ] as [(String, String?, String)])
  func members(name: String, value: String?, message: String) throws {
    for key in [Self.rsa, Self.curve, Self.edwards] { #expect(try refusal(changed(key, name, value)) == message) }
  }

  @Test("What is no object is refused", arguments: ["[]", "\"a\"", "1", "null"])
  func notAnObject(text: String) throws {
    #expect(try refusal(text) == "a key is an object")
  }

  @Test(
    "An RSA key whose numbers are none is refused",
    arguments: [
      ("n", nil, "\"n\" is missing"), ("n", "\"AA==\"", "\"n\" is not base64url without padding"),
      ("n", "\"\"", "the modulus does not begin with a digit other than 0"),
      ("n", number(0x00, 257, 1), "the modulus does not begin with a digit other than 0"),
      ("n", number(0x80, 128, 1), "an RSA key has 2048 to 8192 bits, not 1024"),
      ("n", number(0x7f, 256, 1), "an RSA key has 2048 to 8192 bits, not 2047"),
      ("n", number(0x01, 1_025, 1), "an RSA key has 2048 to 8192 bits, not 8193"),
      ("n", number(0x80, 256, 2), "the modulus is an even number"),
      ("e", "\"AQ\"", "the exponent is not an odd number above 1"),
      ("e", "\"AQAA\"", "the exponent is not an odd number above 1"),
      ("e", "\"AAEAAQ\"", "the exponent has not 1 to 5 bytes without a 0 in front"),
      ("e", "\"\"", "the exponent has not 1 to 5 bytes without a 0 in front"),
      ("e", "\"AQAAAAAB\"", "the exponent has not 1 to 5 bytes without a 0 in front"),
      ("p", "\"AQ\"", "the key is published with its private member \"p\""),
    ] as [(String, String?, String)])
  func rsaNumbers(name: String, value: String?, message: String) throws {
    #expect(try refusal(changed(Self.rsa, name, value)) == message)
  }

  @Test("An RSA key at either end of the range of sizes is taken", arguments: [256, 1_024])
  func rsaSizes(count: Int) throws {
    #expect(try refusal(changed(Self.rsa, "n", number(0x80, count, 1))) == nil)
  }

  @Test(
    "A point that is not on its curve, or no point, is refused",
    arguments: [
      ("crv", "\"P-384\"", "a coordinate on P-384 has 48 bytes"),
      ("crv", "\"secp256k1\"", "the curve is not P-256, P-384 or P-521"),
      ("crv", nil, "\"crv\" is missing"), ("x", nil, "\"x\" is missing"),
      ("x", number(1, 31, 1), "a coordinate on P-256 has 32 bytes"),
      ("x", number(0, 33, 1), "a coordinate on P-256 has 32 bytes"),
      ("y", number(1, 32, 1), "these numbers make no EC key"), ("x", number(1, 32, 1), "these numbers make no EC key"),
      ("y", "\"__________________________________________8\"", "these numbers make no EC key"),
    ] as [(String, String?, String)])
  func points(name: String, value: String?, message: String) throws {
    #expect(try refusal(changed(Self.curve, name, value)) == message)
    #expect(ERR_peek_error() == 0)
  }

  @Test(
    "An Ed25519 key on another curve or of another length is refused",
    arguments: [
      ("crv", "\"Ed448\"", "the curve is not Ed25519"), ("crv", "\"X25519\"", "the curve is not Ed25519"),
      ("x", number(1, 31, 1), "an Ed25519 key has 32 bytes"), ("x", number(1, 33, 1), "an Ed25519 key has 32 bytes"),
    ])
  func edwardsParts(name: String, value: String, message: String) throws {
    #expect(try refusal(changed(Self.edwards, name, value)) == message)
  }

  @Test(
    "A secret shorter than its hash, too long, or for a public algorithm is refused",
    arguments: [
      (31, .hs256), (47, .hs384), (63, .hs512), (0, .hs256), (4_097, .hs256), (256, .rs256), (64, .edDSA),
    ] as [(Int, SignatureAlgorithm)])
  func secrets(count: Int, algorithm: SignatureAlgorithm) {
    #expect(throws: JSONWebKeyFault.self) {
      try JSONWebKey(secret: [UInt8](repeating: 1, count: count), algorithm: algorithm)
    }
  }

  @Test("A secret as long as its hash is taken, for its algorithm only, and is never told")
  func secret() throws {
    let key = try JSONWebKey(secret: [UInt8](repeating: 1, count: 48), algorithm: .hs384)
    #expect(key.algorithms == [.hs384])
    #expect(key.publicText == nil && key.thumbprint == nil)
  }

  @Test("A key verifies what its alg says, or all that is for its kind")
  func algorithms() throws {
    let open = try JSONWebKey(object(changed(Self.rsa, "alg", nil)))
    #expect(open.algorithms == [.rs256, .rs384, .rs512, .ps256, .ps384, .ps512])
    #expect(try JSONWebKey(object(changed(Self.rsa, "alg", "\"PS384\""))).algorithms == [.ps384])
    #expect(try JSONWebKey(object(changed(Self.curve, "alg", nil))).algorithms == [.es256])
    #expect(try JSONWebKey(object(changed(Self.edwards, "alg", nil))).algorithms == [.edDSA])
    for algorithm in SignatureAlgorithm.allCases {
      #expect(open.fits(algorithm) == open.algorithms.contains(algorithm))
    }
  }

  @Test(
    "A key that is for verifying among other things is taken, and what it says of its certificates is not looked at")
  func otherMembers() throws {
    let text = try changed(changed(Self.rsa, "key_ops", "[\"sign\",\"verify\"]"), "x5c", "[\"nonsense\"]")
    #expect(try refusal(changed(text, "x5u", "\"https://elsewhere.test\"")) == nil)
  }

  @Test("What is published of a key is the key, in members that RFC 7638 orders")
  func published() throws {
    for text in [Self.rsa, Self.curve, Self.edwards] {
      let key = try JSONWebKey(object(text))
      #expect(key.publicText == text && key.keyID == "a")
    }
  }
}

@Suite("JSONWebKey signatures")
struct JSONWebKeySignatureTests {
  static let message = bytes("what is signed")
  static let curveBytes: [(TokenSigner, Int)] = [(SomeSigners.curve, 32), (SomeSigners.longCurve, 66)]

  private func verifies(_ signer: TokenSigner, _ signature: [UInt8], _ algorithm: SignatureAlgorithm? = nil) -> Bool {
    signer.verifyingKey.verifies(algorithm ?? signer.algorithm, RawSpan(Self.message), RawSpan(signature))
  }

  /// A token and its signature.
  private func signed(_ signer: TokenSigner) throws -> (text: [UInt8], signature: [UInt8]) {
    let token = try signer.sign(RawSpan(Self.message))
    let parts = token.split(separator: UInt8(ascii: "."))
    let signature = try #require(Base64URL.decode(String(decoding: parts[2], as: UTF8.self)))
    return (Array(parts[0] + [UInt8(ascii: ".")] + parts[1]), signature)
  }

  @Test("Nothing, zeros and too much are no signature, for any algorithm")
  func nonsense() throws {
    let secret = try TokenSigner(secret: [UInt8](repeating: 3, count: 32))
    for signer in [SomeSigners.rsa, SomeSigners.curve, SomeSigners.longCurve, SomeSigners.edwards, secret] {
      for count in [0, 1, 31, 32, 63, 64, 65, 132, 255, 256, 257, 16_384] {
        for byte: UInt8 in [0, 1, 0xff] {
          for algorithm in SignatureAlgorithm.allCases {
            let isVerified = verifies(signer, [UInt8](repeating: byte, count: count), algorithm)
            #expect(!isVerified)
          }
        }
      }
    }
    #expect(ERR_peek_error() == 0)
  }

  @Test(
    "A signature of ECDSA with a half that is 0 or the order, or in DER, is refused", arguments: curveBytes.map(\.1))
  func pairs(half: Int) throws {
    let signer = try #require(Self.curveBytes.first { $0.1 == half }).0
    let (text, signature) = try signed(signer)
    let key = signer.verifyingKey
    func isGood(_ signature: [UInt8]) -> Bool { key.verifies(signer.algorithm, RawSpan(text), RawSpan(signature)) }
    let zero = [UInt8](repeating: 0, count: half)
    let first = Array(signature[..<half])
    let second = Array(signature[half...])
    let largest = [UInt8](repeating: 0xff, count: half)
    for wrong in [
      zero + zero, zero + second, first + zero, largest + second, first + largest, second + first, [0] + signature,
      signature + [0], Array(signature.dropLast()), [0] + first + [0] + second,
    ] { #expect(!isGood(wrong)) }
    func der(_ number: [UInt8]) -> [UInt8] { [2, UInt8(number.count + 1), 0] + number }
    let body = der(first) + der(second)
    #expect(!isGood([0x30, UInt8(truncatingIfNeeded: body.count)] + body))
    #expect(isGood(signature))
    #expect(ERR_peek_error() == 0)
  }

  @Test(
    "Halves that begin with zeros or a high bit are read right, over many signatures", arguments: curveBytes.map(\.1))
  func manyPairs(half: Int) throws {
    let signer = try #require(Self.curveBytes.first { $0.1 == half }).0
    for _ in 0..<300 {
      let (text, signature) = try signed(signer)
      let isGood = signer.verifyingKey.verifies(signer.algorithm, RawSpan(text), RawSpan(signature))
      #expect(isGood && signature.count == 2 * half)
    }
  }

  @Test("A signature is not one of another algorithm of the same key")
  func otherAlgorithm() throws {
    let pem = try #require(SomeSigners.rsa.privateText)
    let all = [SignatureAlgorithm.rs256, .rs384, .rs512, .ps256, .ps384, .ps512]
    let open = try JSONWebKey(object(changed(JSONWebKeyTests.rsa, "alg", nil)))
    for algorithm in all {
      let (text, signature) = try signed(TokenSigner(pem: pem, algorithm: algorithm))
      for other in SignatureAlgorithm.allCases {
        let isGood = open.verifies(other, RawSpan(text), RawSpan(signature))
        #expect(isGood == (other == algorithm))
      }
    }
    #expect(ERR_peek_error() == 0)
  }

  @Test("One key verifies on many threads at a time, right ones and wrong ones")
  func threads() async throws {
    for signer in [SomeSigners.rsa, SomeSigners.curve, SomeSigners.edwards] {
      let (text, signature) = try signed(signer)
      let key = signer.verifyingKey
      let algorithm = signer.algorithm
      let right = await withTaskGroup(of: Int.self) { group in
        for task in 0..<8 {
          group.addTask {
            (0..<100).count { round in
              var signature = signature
              if round % 2 == 1 { signature[(task + round) % signature.count] ^= 1 }
              return key.verifies(algorithm, RawSpan(text), RawSpan(signature)) == (round % 2 == 0)
            }
          }
        }
        return await group.reduce(0, +)
      }
      #expect(right == 800)
    }
  }
}
