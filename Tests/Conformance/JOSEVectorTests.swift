import Core
import Crypto
import Testing

/// The object that a text in JSON holds.
private func object(_ text: String) throws -> JSONValue {
  let outcome = JSONDocument.parse(Array(text.utf8), dialect: .strict)
  try #require(outcome.faults.isEmpty)
  return try #require(outcome.document).root
}

/// What a set of one key says of a token: `verified`, or why not.
private func judge(_ text: [UInt8], _ key: JSONWebKey) -> String {
  do throws(CompactTokenFault) {
    let token = try CompactToken(RawSpan(text))
    switch JSONWebKeySet([key]).verify(token) {
    case .verified(let found): return found === key ? "verified" : "another key"
    case .unknownKey: return "unknown key"
    case .unfit: return "unfit"
    case .wrong: return "wrong"
    }
  } catch { return error.message }
}

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func keyName(_ token: borrowing CompactToken) -> String? {
  guard let name = token.keyID else { return nil }
  return String(decoding: name.array, as: UTF8.self)
}

extension JOSEVector {
  /// What verifies the token, called as the token says.
  fileprivate func verifyingKey() throws -> JSONWebKey { try signer().verifyingKey }

  fileprivate func signer() throws -> TokenSigner {
    let text = bytes(token)
    let token = try CompactToken(RawSpan(text))
    let key = try object(key)
    // Keys of the published examples have names that their tokens do not always say, and the other way round.
    let names = key["kid"].map { ",\"kid\":\($0.sourceText)" } ?? ""
    let name = keyName(token).map { ",\"kid\":\"\($0)\"" } ?? names
    let members = key.members.filter { !$0.key.equals("kid") && !$0.key.equals("alg") }
      .map { "\($0.key.sourceText):\($0.value.sourceText)" }.joined(separator: ",")
    return try TokenSigner(object("{\(members)\(name)}"), algorithm: token.algorithm)
  }
}

@Suite("Published vectors, JOSE (RFC 7515, RFC 7520, RFC 8037)")
struct JOSEVectorTests {
  static let all = JOSEVector.published + JOSEVector.made

  @Test("RFC 7515 appendix A.5: a token without a signature is refused")
  func unsecured() throws {
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    let token = "eyJhbGciOiJub25lIn0.\(claims)."
    #expect(throws: CompactTokenFault.unsupportedAlgorithm) { _ = try CompactToken(RawSpan(bytes(token))).algorithm }
  }

  @Test("A token is refused when any one of its characters is another one", arguments: all)
  func mutations(vector: JOSEVector) throws {
    let key = try vector.verifyingKey()
    let token = bytes(vector.token)
    var verified: [Int] = []
    for index in token.indices {
      for change: UInt8 in [0x01, 0x20] {
        var changed = token
        changed[index] ^= change
        if judge(changed, key) == "verified" { verified.append(index) }
      }
    }
    #expect(verified == [])
  }

  @Test("A token is refused when it ends early or goes on", arguments: all)
  func lengths(vector: JOSEVector) throws {
    let key = try vector.verifyingKey()
    let token = bytes(vector.token)
    var verified: [Int] = []
    for count in token.indices where judge(Array(token[..<count]), key) == "verified" { verified.append(count) }
    for more in ["A", "AA", "AAAA", "=", ".", " "] where judge(token + bytes(more), key) == "verified" {
      verified.append(token.count)
    }
    #expect(verified == [])
  }

  @Test("A token is wrong for another key of its kind", arguments: all)
  func otherKeys(vector: JOSEVector) throws {
    let signer = try vector.signer()
    let name = signer.keyID
    let other =
      signer.publicText == nil
      ? try JSONWebKey(secret: [UInt8](repeating: 1, count: 64), algorithm: signer.algorithm, keyID: name)
      : try TokenSigner.fresh(signer.algorithm, keyID: name).verifyingKey
    // A fresh key is named by its thumbprint where the token names none.
    #expect(judge(bytes(vector.token), other) == "wrong")
  }

  @Test("A token is verified by its key, also read from what would be published of it", arguments: all)
  func verified(vector: JOSEVector) throws {
    let signer = try vector.signer()
    #expect(judge(bytes(vector.token), signer.verifyingKey) == "verified")
    if let text = signer.publicText {
      #expect(judge(bytes(vector.token), try JSONWebKey(object(text))) == "verified")
    }
  }

  @Test("What the same key signs here is verified", arguments: all)
  func signs(vector: JOSEVector) throws {
    let signer = try vector.signer()
    let token = try signer.sign(RawSpan(bytes("{\"sub\":\"alice\"}")))
    #expect(judge(token, signer.verifyingKey) == "verified")
  }

  @Test(
    "A token whose signature leaves nothing to chance is the one that another implementation writes, to the last byte",
    arguments: JOSEVector.made.filter { !$0.testDescription.hasPrefix("ES") && !$0.testDescription.hasPrefix("PS") })
  func deterministic(vector: JOSEVector) throws {
    let text = bytes(vector.token)
    let token = try CompactToken(RawSpan(text))
    #expect(try vector.signer().sign(RawSpan(token.payload)) == text)
  }
}

@Suite("Thumbprints (RFC 7638)")
struct ThumbprintVectorTests {
  @Test(
    "They are those of RFC 7638 section 3.1 and RFC 8037 appendix A.3",
    arguments: [
      (
        """
        {"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhD\
        R1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0\
        _FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6\
        WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS25\
        6","kid":"2011-04-29"}
        """, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
      ),
      (
        #"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
      ),
    ])
  func published(key: String, thumbprint: String) throws {
    #expect(try JSONWebKey(object(key)).thumbprint == thumbprint)
  }
}

@Suite("Keys in PEM form (RFC 7468)")
struct PEMKeyVectorTests {
  @Test(
    "A private key, a short one and one on another curve are refused",
    arguments: [
      (JOSEVector.privatePEM, "this is a private key"),
      (JOSEVector.shortPEM, "an RSA key has 2048 to 8192 bits, not 1024"),
      (JOSEVector.otherCurvePEM, "the key is not on P-256, P-384 or P-521"),
      ("", "there is neither a public key nor exactly one certificate"),
      (
        JOSEVector.certificatePEM + "\n" + JOSEVector.certificatePEM,
        "there is neither a public key nor exactly one certificate"
      ),
    ])
  func refused(text: String, message: String) {
    #expect(throws: JSONWebKeyFault.self) { try JSONWebKey(pem: bytes(text)) }
    do { _ = try JSONWebKey(pem: bytes(text)) } catch { #expect(error.message == message) }
  }

  @Test("The public key of RSA verifies no HMAC whose secret is its own text")
  func confusion() throws {
    let text = bytes(JOSEVector.publicPEM)
    #expect(throws: JSONWebKeyFault.self) { try JSONWebKey(secret: text, algorithm: .hs256) }
    // The forger's tool has no such scruples; the text without its frame stands for that.
    let forger = try TokenSigner(secret: Array(text.dropFirst()), algorithm: .hs256)
    let forged = try forger.sign(RawSpan(bytes("{\"sub\":\"admin\"}")))
    let key = try JSONWebKey(pem: text)
    #expect(judge(forged, key) == "unknown key")
    #expect(!key.fits(.hs256) && !key.algorithms.contains(.hs256))
    let named = try JSONWebKey(pem: text, keyID: "a")
    let forgedByName = try TokenSigner(secret: Array(text.dropFirst()), algorithm: .hs256, keyID: "a")
      .sign(RawSpan(bytes("{}")))
    #expect(judge(forgedByName, named) == "unfit")
  }

  @Test("A public key and a certificate verify what their private key has signed")
  func verified() throws {
    for vector in JOSEVector.made {
      let text = bytes(vector.token)
      let token = try CompactToken(RawSpan(text))
      let name = keyName(token) ?? ""
      if ["made-RS256", "made-PS512"].contains(name) {
        let isVerified = try JSONWebKey(pem: bytes(JOSEVector.publicPEM)).verifies(token)
        #expect(isVerified)
      }
      if name == "made-ES256" {
        let isVerified = try JSONWebKey(pem: bytes(JOSEVector.certificatePEM)).verifies(token)
        #expect(isVerified)
      }
    }
    #expect(try TokenSigner(pem: bytes(JOSEVector.privatePEM)).algorithm == .rs256)
  }
}
