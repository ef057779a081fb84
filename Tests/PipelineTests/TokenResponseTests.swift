import Pipeline
import Testing

@Suite("Answers of token endpoints")
struct TokenResponseTests {
  private static let secret = "2YotnFZFEjr1zCsicMWpAA"

  private func read(_ body: String, status: UInt16 = 200, _ fields: [FetchField] = []) throws -> TokenResponse {
    try TokenResponse(.answered(status: status, fields: fields, body: Array(body.utf8)))
  }

  private func fault(_ body: String, status: UInt16 = 200, _ fields: [FetchField] = []) -> TokenResponse.Fault? {
    do { _ = try read(body, status: status, fields) } catch { return error as? TokenResponse.Fault }
    return nil
  }

  @Test(
    "What is no answer of a token endpoint is not used",
    arguments: [
      "", "null", "[]", "{", "{}", "access_token=a&token_type=bearer", "{\"access_token\":\"a\"}",
      "{\"token_type\":\"Bearer\"}", "{\"access_token\":1,\"token_type\":\"Bearer\"}",
      "{\"access_token\":\"\",\"token_type\":\"Bearer\"}", "{\"access_token\":\"a b\",\"token_type\":\"Bearer\"}",
      "{\"access_token\":\"a\\r\\nX: 1\",\"token_type\":\"Bearer\"}",
      "{\"access_token\":\"ä\",\"token_type\":\"Bearer\"}", "{\"access_token\":\"a\",\"token_type\":\"mac\"}",
      "{\"access_token\":\"a\",\"token_type\":\"DPoP\"}", "{\"access_token\":\"a\",\"token_type\":\"\"}",
      "{\"access_token\":\"a\",\"token_type\":[\"Bearer\"]}",
      "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":-1}",
      "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":\"soon\"}",
      "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":\"1e3\"}",
      "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":true}",
      "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"scope\":[\"a\"]}",
      "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"refresh_token\":7}",
      "{\"access_token\":\"a\",\"access_token\":\"b\",\"token_type\":\"Bearer\"}",
      "{\"access_token\":\"a\",\"token_type\":\"Bearer\"} x",
    ])
  func malformed(body: String) {
    guard case .malformed = fault(body) else {
      Issue.record("\(String(describing: fault(body)))")
      return
    }
  }

  @Test("What is too long is not used: a token, an answer, levels")
  func bounds() {
    func token(_ count: Int) -> String {
      "{\"access_token\":\"\(String(repeating: "a", count: count))\",\"token_type\":\"Bearer\"}"
    }
    #expect(fault(token(TokenResponse.longestToken)) == nil)
    #expect(fault(token(TokenResponse.longestToken + 1)) != nil)
    let good = "{\"access_token\":\"a\",\"token_type\":\"Bearer\""
    let padding = String(repeating: "x", count: TokenResponse.longest)
    #expect(fault("\(good),\"padding\":\"\(padding)\"}") != nil)
    #expect(fault("\(good),\"deep\":\(String(repeating: "[", count: 30))\(String(repeating: "]", count: 30))}") != nil)
  }

  @Test(
    "A refusal is known by its code, whatever its status",
    arguments: [
      (400, "{\"error\":\"invalid_request\"}", "invalid_request"),
      (401, "{\"error\":\"invalid_client\",\"error_uri\":\"https://a\"}", "invalid_client"),
      (400, "{\"error\":\"invalid_target\"}", "invalid_target"), (200, "{\"error\":\"bad_code\"}", "bad_code"),
      (400, "{\"error\":\"a\\nb\"}", "unreadable"), (400, "{\"error\":\"\"}", "unreadable"),
      (400, "{\"error\":7}", "status_400"), (403, "<html>", "status_403"), (404, "{}", "status_404"),
      (400, "{\"access_token\":\"a\",\"token_type\":\"Bearer\"}", "status_400"),
    ])
  func refused(status: UInt16, body: String, code: String) {
    #expect(fault(body, status: status) == .refused(code: code, description: ""))
  }

  @Test("The server's own words come along, and stand in one line of a log")
  func description() {
    let found = fault("{\"error\":\"invalid_grant\",\"error_description\":\"no\\r\\nway\"}", status: 400)
    #expect(found == .refused(code: "invalid_grant", description: "no\r\nway"))
    #expect(found?.message == "it refuses: invalid_grant, \"no??way\"")
  }

  @Test(
    "A server that cannot answer is not one that refuses, and may say when it can",
    arguments: [(500, nil, nil), (503, "7", 7), (429, "120", 120), (429, "soon", nil), (502, "-5", nil), (408, "0", 0)]
      as [(UInt16, String?, Int64?)])
  func unavailable(status: UInt16, after: String?, seconds: Int64?) {
    let found = fault(
      "{\"error\":\"server_error\"}", status: status, after.map { [FetchField("retry-after", $0)] } ?? [])
    #expect(found == .unavailable("it answers with status \(status)", retryAfterSeconds: seconds))
    #expect(throws: TokenResponse.Fault.unavailable("timed out", retryAfterSeconds: nil)) {
      try TokenResponse(.failed("timed out"))
    }
  }

  @Test("Where it leads elsewhere, or says nothing, there is no token", arguments: [201, 204, 302, 304, 399])
  func elsewhere(status: UInt16) {
    let body = "{\"access_token\":\"a\",\"token_type\":\"Bearer\"}"
    #expect(fault(body, status: status) == .malformed("status \(status)"))
  }

  @Test("Nothing of a token is said of an answer that cannot be used")
  func silent() {
    for body in ["{\"access_token\":\"\(Self.secret)\"}", "{\"access_token\":\"\(Self.secret)\",", Self.secret] {
      let said = "\(String(describing: fault(body))) \(fault(body)?.message ?? "")"
      #expect(!said.contains(Self.secret) && said.contains("malformed"))
    }
  }

  @Test("The example of RFC 6749 section 5.1 is read")
  func example() throws {
    let answer = try read(
      """
      {"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"example","expires_in":3600,
       "refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA","example_parameter":"example_value"}
      """.replacing("\"example\",", with: "\"bEaReR\","))
    #expect(answer.accessToken == Self.secret && answer.isBearer && answer.lifetimeSeconds == 3600)
    #expect(answer.refreshToken == "tGzv3JOkF0XG5Qx2TlKWIA" && answer.scopes == nil && answer.idToken == nil)
  }

  @Test("The example of RFC 8693 section 2.3 is read, and what is no access token is told from one")
  func exchanged() throws {
    let type = "urn:ietf:params:oauth:token-type:access_token"
    let answer = try read(
      "{\"access_token\":\"eyJh\",\"issued_token_type\":\"\(type)\",\"token_type\":\"Bearer\",\"expires_in\":60}")
    #expect(answer.issuedTokenType == type && answer.lifetimeSeconds == 60 && answer.isBearer)
    #expect(try !read("{\"access_token\":\"<a/>\",\"token_type\":\"N_A\"}").isBearer)
  }

  @Test(
    "Lifetimes are read as servers write them",
    arguments: [
      ("3600", 3600), ("0", 0), ("\"3599\"", 3599), ("1.9", 1), ("1e2", 100), ("null", nil),
      ("1e300", TokenResponse.longestLifetime), ("999999999999", TokenResponse.longestLifetime),
    ] as [(String, Int64?)])
  func lifetimes(text: String, seconds: Int64?) throws {
    let answer = try read(
      "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":\(text),\"scope\":\"a b\",\"id_token\":null}")
    #expect(answer.lifetimeSeconds == seconds && answer.scopes == ["a", "b"])
  }
}
