import Core
import Crypto
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
private func part(_ text: String) -> String { Base64URL.encode(bytes(text)) }

/// Why a text is no token; nil where it is one.
private func fault(_ text: String) -> CompactTokenFault? {
  do throws(CompactTokenFault) {
    _ = try CompactToken(RawSpan(bytes(text))).algorithm
    return nil
  } catch { return error }
}

/// A token with this header.
private func token(_ header: String, _ payload: String = "{}", _ signature: String = "AAAA") -> String {
  "\(part(header)).\(part(payload)).\(signature)"
}

@Suite("CompactToken")
struct JOSECompactTokenTests {
  @Test(
    "What has not three parts is refused",
    arguments: [
      ("", .partCount), ("a", .partCount), ("a.b", .partCount), ("a.b.c.d", .partCount), ("a.b.c.d.e", .encrypted),
      ("....", .encrypted), ("a.b.c.d.e.f", .partCount), (".......", .partCount), ("..", .notAnObject(.header)),
    ] as [(String, CompactTokenFault)])
  func parts(text: String, wanted: CompactTokenFault) {
    #expect(fault(text) == wanted)
  }

  @Test(
    "A part that is not base64url in its only form is refused, and so is an empty signature",
    arguments: [
      ("eyJhbGciOiJFUzI1NiJ9=.e30.AAAA", .encoding(.header)), (" eyJhbGciOiJFUzI1NiJ9.e30.AAAA", .encoding(.header)),
      ("eyJhbGciOiJFUzI1NiJ9.e31.AAAA", .encoding(.payload)), ("eyJhbGciOiJFUzI1NiJ9.e30=.AAAA", .encoding(.payload)),
      ("eyJhbGciOiJFUzI1NiJ9.e30.AA==", .encoding(.signature)), ("eyJhbGciOiJFUzI1NiJ9.e30.AB", .encoding(.signature)),
      ("eyJhbGciOiJFUzI1NiJ9.e30.AAAA\n", .encoding(.signature)),
      ("eyJhbGciOiJFUzI1NiJ9.e30.A+/A", .encoding(.signature)),
      ("eyJhbGciOiJFUzI1NiJ9.e30.", .unsigned),
    ] as [(String, CompactTokenFault)])
  func encoding(text: String, wanted: CompactTokenFault) {
    #expect(fault(text) == wanted)
  }

  @Test(
    "A header that is no strict object, or has a member twice, is refused",
    arguments: [
      "", "[]", "\"ES256\"", "null", "{\"alg\":\"ES256\"", "{\"alg\":\"ES256\"}x", "{\"alg\":\"ES256\",}",
      "{alg:\"ES256\"}",
      "{\"alg\":\"ES256\"/**/}", "{\"alg\":\"ES256\",\"alg\":\"ES256\"}",
      "{\"alg\":\"ES256\",\"kid\":\"a\",\"kid\":\"b\"}",
      "{\"alg\":\"ES256\",\"\\u0061lg\":\"HS256\"}", "{\"alg\":\"ES256\",\"x\":{\"y\":1,\"y\":2}}",
      "{\"alg\":\"ES256\",\"x\":\(String(repeating: "[", count: 17))\(String(repeating: "]", count: 17))}",
    ])
  func headers(header: String) {
    #expect(fault(token(header)) == .notAnObject(.header))
  }

  @Test("A header that is not UTF-8 is refused")
  func notUnicode() {
    #expect(
      fault("\(Base64URL.encode(bytes("{\"alg\":\"ES256\",\"x\":\"") + [0xff] + bytes("\"}"))).e30.AAAA")
        == .notAnObject(.header))
  }

  @Test(
    "A header without an algorithm, or with an alg, kid or typ that is no string, is refused",
    arguments: [
      "{}", "{\"alg\":1}", "{\"alg\":null}", "{\"alg\":[\"ES256\"]}", "{\"Alg\":\"ES256\"}",
      "{\"alg\":\"ES256\",\"kid\":1}",
      "{\"alg\":\"ES256\",\"kid\":null}", "{\"alg\":\"ES256\",\"typ\":{}}",
    ])
  func names(header: String) {
    #expect(fault(token(header)) == .header)
  }

  @Test(
    "An algorithm that is not offered is refused, in whatever case it is written",
    arguments: [
      "none", "None", "NONE", "nOnE", "", "es256", "Es256", "ES256K", "HS1", "RS1", "ES25", "ES2566", "dir", "A128KW",
      "RSA-OAEP", "EDDSA", "Ed448", "ES256 ", "HS256\u{0}",
    ])
  func algorithms(name: String) {
    let escaped = name.replacing("\u{0}", with: "\\u0000")
    #expect(fault(token("{\"alg\":\"\(escaped)\"}")) == .unsupportedAlgorithm)
    #expect(fault(token("{\"alg\":\"\(escaped)\"}", "{}", "")) == .unsupportedAlgorithm)
  }

  @Test(
    "A header with critical members is refused, whatever they say",
    arguments: [
      "\"crit\":[\"b64\"],\"b64\":false", "\"crit\":[]", "\"crit\":null", "\"b64\":true", "\"b64\":false",
      "\"\\u0063rit\":[\"exp\"]",
    ])
  func critical(members: String) {
    #expect(fault(token("{\"alg\":\"ES256\",\(members)}")) == .critical)
    #expect(fault(token("{\(members),\"alg\":\"ES256\"}")) == .critical)
  }

  @Test("A token of 16 KiB and a byte is refused, one of 16 KiB is read")
  func length() {
    let header = part("{\"alg\":\"ES256\"}")
    let start = "\(header).\(String(repeating: "A", count: 4_000))."
    let rest = CompactToken.longest - start.utf8.count
    let full = start + String(repeating: "A", count: rest)
    #expect(fault(full + "A") == .tooLong)
    #expect(fault(String(repeating: ".", count: CompactToken.longest + 1)) == .tooLong)
    // The signature's length is one that a text of base64url can have.
    #expect(fault(full) == (rest % 4 == 1 ? .encoding(.signature) : nil))
    #expect(fault(String(full.dropLast(rest % 4))) == nil)
  }

  @Test(
    "Claims that are no strict object, or have a member twice, are refused",
    arguments: [
      "", "[]", "1", "{\"a\":1", "{\"a\":1,\"a\":2}", "{\"a\":{\"b\":1,\"b\":1}}", "{\"exp\":01}", "{\"a\":'b'}",
      "{} {}",
    ])
  func claims(payload: String) throws {
    let text = bytes(token("{\"alg\":\"ES256\"}", payload))
    let token = try CompactToken(RawSpan(text))
    #expect(token.payload == bytes(payload))
    do throws(CompactTokenFault) {
      _ = try token.claims()
      Issue.record("these claims were read")
    } catch { #expect(error == .notAnObject(.payload)) }
  }

  @Test("The algorithm is read whether it is written plainly or with escapes", arguments: SignatureAlgorithm.allCases)
  func algorithm(algorithm: SignatureAlgorithm) throws {
    let escaped = algorithm.rawValue.unicodeScalars.map { "\\u00" + String($0.value, radix: 16) }.joined()
    for name in [algorithm.rawValue, escaped] {
      let text = bytes(token("{\"alg\":\"\(name)\"}"))
      let token = try CompactToken(RawSpan(text))
      #expect(token.algorithm == algorithm)
    }
  }

  @Test(
    "The name of the key is read byte by byte, escapes and all",
    arguments: [
      ("\"a\"", "a"), ("\"\"", ""), ("\"caf\\u00e9\"", "café"), ("\"café\"", "café"), ("\"a\\\"b\"", "a\"b"),
      ("\"\\u0061\"", "a"),
      ("\"\\ud83d\\ude00\"", "😀"),
    ])
  func keyID(written: String, name: String) throws {
    let text = bytes(token("{\"kid\":\(written),\"alg\":\"ES256\"}"))
    let token = try CompactToken(RawSpan(text))
    let found = token.keyID
    let read = found?.array
    #expect(read == bytes(name))
  }

  @Test("A token without a name or a type has none, and where its key lies is not looked at")
  func others() throws {
    let elsewhere = "\"jwk\":{\"kty\":\"oct\"},\"jku\":\"https://elsewhere.test\",\"x5u\":1,\"x5c\":[]"
    let text = bytes(token("{\(elsewhere),\"alg\":\"ES256\",\"cty\":\"x\"}"))
    let token = try CompactToken(RawSpan(text))
    let found = token.keyID
    let hasName = found != nil
    let isType = token.isType("JWT")
    #expect(!hasName && !token.hasType && !isType)
  }

  @Test(
    "The type is compared in any case, and the prefix of media types may be there",
    arguments: [
      ("JWT", "jwt", true), ("at+jwt", "AT+JWT", true), ("application/at+jwt", "at+jwt", true),
      ("Application/AT+JWT", "at+jwt", true), ("at+jwt", "jwt", false), ("text/at+jwt", "at+jwt", false),
      ("", "jwt", false),
      ("application/", "jwt", false), ("application/application/jwt", "jwt", false), ("jwtx", "jwt", false),
      ("[wt", "{wt", false),
    ])
  func types(written: String, name: String, isSame: Bool) throws {
    let text = bytes(token("{\"typ\":\"\(written)\",\"alg\":\"ES256\"}"))
    let token = try CompactToken(RawSpan(text))
    let isType = token.isType(name)
    #expect(isType == isSame && token.hasType)
  }

  @Test("What is signed is the text of the first two parts, and the rest is decoded")
  func whole() throws {
    let text = bytes(token("{\"alg\":\"ES256\"}", "{\"sub\":\"alice\"}", "AQID"))
    let token = try CompactToken(RawSpan(text))
    let signed = token.signedText.array
    let subject = try token.claims().root["sub"]?.string
    #expect(signed == bytes("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9"))
    #expect(token.signature == [1, 2, 3] && subject == "alice")
    #expect(token.header.root["alg"]?.string == "ES256")
  }
}
