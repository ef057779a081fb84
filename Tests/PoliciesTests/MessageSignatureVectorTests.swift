import Core
import Crypto
import Pipeline
import Policies
import Testing

/// What RFC 9421 publishes in its appendix B: keys, one request, and signatures of it.
enum MessageSignatureVectors {
  static let pss = """
    -----BEGIN PUBLIC KEY-----
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
    +QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
    oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
    gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
    Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
    aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
    2wIDAQAB
    -----END PUBLIC KEY-----
    """
  static let curve = """
    -----BEGIN PUBLIC KEY-----
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
    w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
    -----END PUBLIC KEY-----
    """
  static let edwards = """
    -----BEGIN PUBLIC KEY-----
    MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
    -----END PUBLIC KEY-----
    """
  static let secret =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
  /// The second at which all are made.
  static let created = 1_618_884_473

  static let content = "{\"hello\": \"world\"}"
  static let request = """
    POST /foo?param=Value&Pet=dog HTTP/1.1
    Host: example.com
    Date: Tue, 20 Apr 2021 02:07:55 GMT
    Content-Type: application/json
    Content-Digest: sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:
    Content-Length: 18
    """

  /// The fields Signature-Input, but for what they all say, and the signatures.
  static let signatures: [(section: String, input: String, signature: String)] = [
    (
      "B.2.1",
      """
      ();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"
      """,
      """
      d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsc\
      kzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXe\
      hhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9\
      mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==
      """
    ),
    (
      "B.2.2",
      """
      ("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss\
      ";tag="header-example"
      """,
      """
      LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkS\
      owOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkj\
      qpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAox\
      k//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==
      """
    ),
    (
      "B.2.3",
      """
      ("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");cr\
      eated=1618884473;keyid="test-key-rsa-pss"
      """,
      """
      bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp76\
      8ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQo\
      Ld7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX\
      2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==
      """
    ),
    (
      "B.2.5",
      """
      ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"
      """,
      """
      pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=
      """
    ),
    (
      "B.2.6",
      """
      ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="te\
      st-key-ed25519"
      """,
      """
      wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==
      """
    ),
  ]

  /// B.2.4 is of a response, of which the gateway verifies none: what is signed, and the signature.
  static let responseBase = """
    "@status": 200
    "content-type": application/json
    "content-digest": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:
    "content-length": 23
    "@signature-params": ("@status" "content-type" "content-digest" "content-length");created=1618884473;\
    keyid="test-key-ecc-p256"
    """
  static let responseSignature =
    "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw=="
}

@Suite("Published vectors, HTTP Message Signatures (RFC 9421)")
struct MessageSignatureVectorTests {
  private typealias Vectors = MessageSignatureVectors

  private static let options: String = {
    let keys = [
      ("test-key-rsa-pss", Vectors.pss), ("test-key-ecc-p256", Vectors.curve), ("test-key-ed25519", Vectors.edwards),
    ]
    .map { "{ id: \"\($0.0)\", publicKey: \"\($0.1.replacing("\n", with: "\\n"))\" }" }
    let secret = "{ id: \"test-shared-secret\", secret: \"\(Vectors.secret)\", encoding: \"base64\" }"
    return "{ type: \"hmac\", keys: [\((keys + [secret]).joined(separator: ", "))], components: [] }"
  }()

  private func send(_ text: String) throws -> String {
    let bench = try Bench()
    bench.world.wallTime = WallTime(microseconds: Int64(Vectors.created) * 1_000_000)
    // Some of the examples cover next to nothing.
    #expect(try bench.use(Self.options).allSatisfy { $0.contains("may change the content") })
    var exchange = Exchange()
    var verdict = bench.begin(text, &exchange)
    if case .gather = verdict { verdict = bench.gather(Vectors.content, &exchange) }
    switch verdict {
    case .next: return exchange.identity?.subject ?? ""
    case .refuse(let refusal): return "\(refusal.code)"
    default: return "else"
    }
  }

  @Test("Each signature of a request is good", arguments: Vectors.signatures)
  func good(section: String, input: String, signature: String) throws {
    let lines = "\nSignature-Input: sig=\(input)\nSignature: sig=:\(signature):"
    #expect(try input.contains("keyid=\"\(send(Vectors.request + lines))\""))
  }

  @Test("Each is wrong where another byte of it, or of what it covers, is another one", arguments: Vectors.signatures)
  func wrong(section: String, input: String, signature: String) throws {
    let first = signature.hasPrefix("A") ? "B" : "A"
    let lines = "\nSignature-Input: sig=\(input)\nSignature: sig=:\(signature):"
    #expect(
      try send(Vectors.request + lines.replacing("=:" + signature.prefix(1), with: "=:" + first)) == "signature-invalid"
    )
    #expect(try send(Vectors.request + lines.replacing("1618884473", with: "1618884472")) == "signature-invalid")
    if input.hasPrefix("()") { return }
    #expect(try send(Vectors.request.replacing("example.com", with: "example.org") + lines) == "signature-invalid")
  }

  @Test("The signature of a response is good, as far as keys go")
  func response() throws {
    let key = try JSONWebKey(pem: Array(Vectors.curve.utf8))
    let base = Array(Vectors.responseBase.utf8)
    let signature = try #require(Base64.decode(Vectors.responseSignature))
    let isGood = key.verifies(.es256, RawSpan(base), RawSpan(signature))
    let other = Array(base.dropLast())
    let isOtherGood = key.verifies(.es256, RawSpan(other), RawSpan(signature))
    #expect(isGood && !isOtherGood)
  }
}
