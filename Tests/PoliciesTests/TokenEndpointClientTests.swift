import Core
import Crypto
import Pipeline
import Testing

@Suite("Clients of token endpoints")
struct TokenEndpointClientTests {
  private func request(
    _ proof: TokenEndpointClient.Proof, _ parameters: [FormField], clientID: String = "s6BhdRkqt3"
  ) throws -> FetchRequest? {
    let url = try #require(FetchURL("https://as.example.com/as/token.oauth2"))
    return TokenEndpointClient(clientID: clientID, proof: proof).request(parameters, at: url, StillWorld())
  }

  private func authorization(_ request: FetchRequest?) -> String? {
    request?.fields.first { $0.name == "Authorization" }?.value
  }

  private func body(_ request: FetchRequest?) -> String { String(decoding: request?.body ?? [], as: UTF8.self) }

  @Test("What is too long to be sent is not begun")
  func tooLong() throws {
    let long = String(repeating: "a", count: FetchRequest.bodyLimit)
    #expect(try request(.post(secret: "s"), [FormField("subject_token", long)]) == nil)
    #expect(try request(.basic(secret: String(repeating: "a", count: FetchRequest.headLimit)), []) == nil)
  }

  @Test("The example of RFC 6749 section 4.4.2, to the byte")
  func basic() throws {
    let made = try request(.basic(secret: "gX1fBat3bV"), [FormField("grant_type", "client_credentials")])
    let message = String(decoding: made?.message ?? [], as: UTF8.self)
    #expect(
      message
        == """
        POST /as/token.oauth2 HTTP/1.1
        Host: as.example.com
        User-Agent: sluice
        Connection: close
        Content-Type: application/x-www-form-urlencoded
        Accept: application/json
        Authorization: Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW
        Content-Length: 29

        grant_type=client_credentials
        """.replacing("\n", with: "\r\n"))
  }

  @Test("The example of RFC 8693 section 2.3, to the byte")
  func exchange() throws {
    let prefix = "urn:ietf:params:oauth:"
    let made = try request(
      .basic(secret: "long-secure-random-secret"),
      [
        FormField("grant_type", prefix + "grant-type:token-exchange"),
        FormField("resource", "https://backend.example.com/api"),
        FormField("subject_token", "accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC"),
        FormField("subject_token_type", prefix + "token-type:access_token"),
      ], clientID: "rs08")
    #expect(authorization(made) == "Basic cnMwODpsb25nLXNlY3VyZS1yYW5kb20tc2VjcmV0")
    #expect(
      body(made)
        == "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"
        + "&resource=https%3A%2F%2Fbackend.example.com%2Fapi"
        + "&subject_token=accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC"
        + "&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token")
  }

  @Test("Both halves of Basic are form-encoded, so that a colon in one does not end it")
  func encoded() throws {
    let made = try request(.basic(secret: "p w%ü"), [], clientID: "a:b")
    let text = try #require(authorization(made)?.dropFirst(6))
    #expect(Base64.decode(String(text)).map { String(decoding: $0, as: UTF8.self) } == "a%3Ab:p%20w%25%C3%BC")
  }

  @Test("The example of RFC 6749 section 2.3.1: name and secret in the body")
  func post() throws {
    let made = try request(
      .post(secret: "7Fjfp0ZBr1KtDRbnfVdmIw"),
      [FormField("grant_type", "refresh_token"), FormField("refresh_token", "tGzv3JOkF0XG5Qx2TlKWIA")])
    #expect(
      body(made) == "grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA"
        + "&client_id=s6BhdRkqt3&client_secret=7Fjfp0ZBr1KtDRbnfVdmIw")
    #expect(authorization(made) == nil)
  }

  @Test("A public client says its name and nothing else")
  func none() throws {
    let made = try request(.none, [FormField("grant_type", "a")])
    #expect(body(made) == "grant_type=a&client_id=s6BhdRkqt3" && authorization(made) == nil)
  }

  @Test(
    "A client with a key signs who it is, for the endpoint or whom it is told, for a minute",
    arguments: [nil, "https://as"])
  func privateKey(audience: String?) throws {
    let signer = try TokenSigner.fresh(.es256, keyID: "k1")
    let made = try request(.privateKey(signer, audience: audience), [FormField("grant_type", "a")])
    let sent = try #require(made).body
    let form = try FormFields(RawSpan(sent))
    #expect(form.fields.map(\.name) == ["grant_type", "client_id", "client_assertion_type", "client_assertion"])
    #expect(form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
    let text = Array(try #require(form["client_assertion"]).utf8)
    let token = try CompactToken(RawSpan(text))
    #expect(signer.verifyingKey.verifies(token) && token.algorithm == .es256)
    let claims = try token.claims().root
    #expect(claims["iss"]?.string == "s6BhdRkqt3" && claims["sub"]?.string == "s6BhdRkqt3")
    #expect(claims["aud"]?.string == audience ?? "https://as.example.com/as/token.oauth2")
    #expect(claims["exp"]?.integer == Int64(TestIssuer.now) + 60 && claims["iat"]?.integer == Int64(TestIssuer.now))
    #expect(claims["jti"]?.string?.utf8.count == 32)
  }
}
