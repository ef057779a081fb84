import Core

/// Why the authorization server does not do what it was asked (RFC 6749 sections 4.1.2.1 and 5.2).
struct OAuthFault: Error, Equatable, Sendable {
  /// The code that programs read.
  let code: String
  /// What people read: nothing of the request, and no quotation marks or backslashes.
  let detail: String
  /// The status where the answer goes to the client itself.
  var status: UInt16 = 400

  /// Whether whoever is told so may have guessed: what was shown is nothing that this server has ever made.
  var isGuess = false

  private init(_ code: String, _ detail: String, status: UInt16 = 400, isGuess: Bool = false) {
    (self.code, self.detail, self.status, self.isGuess) = (code, detail, status, isGuess)
  }

  /// A parameter is missing, wrong, or there twice.
  static func request(_ detail: String) -> OAuthFault { OAuthFault("invalid_request", detail) }
  /// The client is not known, or has not proved to be who it says.
  static func client(_ detail: String) -> OAuthFault { OAuthFault("invalid_client", detail, status: 401) }
  /// A code or refresh token is not good, or not for this client.
  static func grant(_ detail: String) -> OAuthFault { OAuthFault("invalid_grant", detail) }
  /// The same for what this server has not made.
  static func guess(_ detail: String) -> OAuthFault { OAuthFault("invalid_grant", detail, isGuess: true) }
  /// The client may not do that.
  static func unauthorized(_ detail: String) -> OAuthFault { OAuthFault("unauthorized_client", detail) }
  /// A scope is not the client's, or was not granted.
  static let scope = OAuthFault("invalid_scope", "a scope is not among those that this client may have")
  /// An audience is not the client's, or was not granted (RFC 8707 section 2).
  static let target = OAuthFault("invalid_target", "the resource is not among those that this client may have")
  /// A way of granting that is not offered.
  static let grantType = OAuthFault("unsupported_grant_type", "this grant type is not offered")
  /// A way of answering that is not offered.
  static let responseType = OAuthFault("unsupported_response_type", "only the response type code is offered")
  /// What cannot be revoked here (RFC 7009 section 2.2.1).
  static let tokenType = OAuthFault(
    "unsupported_token_type", "this node is in no cluster that agrees on what is revoked")
  /// The user has said no, or may not.
  static func denied(_ detail: String) -> OAuthFault { OAuthFault("access_denied", detail) }
  /// The user has not answered yet (RFC 8628 section 3.5).
  static let pending = OAuthFault("authorization_pending", "the user has not answered yet")
  /// A device asks too often: from now on five seconds less often.
  static let slower = OAuthFault("slow_down", "ask less often: five seconds more between two questions")
  /// A device was too slow, or its user.
  static let expired = OAuthFault("expired_token", "the device code is over")
  /// An address asks for too many codes, or all of them together do.
  static let crowded = OAuthFault("slow_down", "too many device codes are asked for at present", status: 429)
  /// Nothing may be shown, and nobody is logged in.
  static let login = OAuthFault("login_required", "nobody is logged in")
  /// Nothing may be shown, and the user has not agreed.
  static let consent = OAuthFault("consent_required", "the user has to agree")
  /// What is granted does not fit.
  static let tooLarge = OAuthFault("server_error", "what is known of the user does not fit into a token", status: 500)

  /// The answer's body.
  var text: [UInt8] {
    let buffer = ByteBuffer(capacity: 160)
    var writer = JSONWriter(buffer)
    writer.beginObject()
    writer.key("error")
    writer.string(code)
    writer.key("error_description")
    writer.string(detail)
    writer.endObject()
    return buffer.array
  }
}

/// What the authorization server answers.
struct OAuthAnswer: Sendable {
  var status: UInt16
  /// Lines `Name: value\r\n`.
  var fields: [UInt8]
  var body: [UInt8] = []

  /// Who keeps an answer with a token or a code could give it to somebody else (RFC 6749 section 5.1).
  private static let unkept = "Cache-Control: no-store\r\nPragma: no-cache\r\n"

  /// An object of JSON that nobody keeps.
  static func object(_ text: [UInt8], status: UInt16 = 200) -> OAuthAnswer {
    OAuthAnswer(status: status, fields: Array("Content-Type: application/json\r\n\(unkept)".utf8), body: text)
  }

  /// A document that may be kept for so many seconds.
  static func document(_ text: [UInt8], seconds: Int) -> OAuthAnswer {
    OAuthAnswer(
      status: 200,
      fields: Array("Content-Type: application/json\r\nCache-Control: public, max-age=\(seconds)\r\n".utf8), body: text)
  }

  /// Nothing.
  static let empty = OAuthAnswer(status: 200, fields: Array(unkept.utf8))

  /// What went wrong; `challenges` where the client has shown credentials in the field `Authorization` (RFC 6749
  /// section 5.2).
  static func fault(_ fault: OAuthFault, challenges: Bool = false) -> OAuthAnswer {
    var answer = object(fault.text, status: fault.status)
    if challenges, fault.status == 401 {
      answer.fields += Array("WWW-Authenticate: Basic realm=\"sluice\"\r\n".utf8)
    }
    return answer
  }

  /// Sends the browser on; 303, so that no form is sent along (RFC 9700 section 4.12).
  static func redirect(to location: String) -> OAuthAnswer {
    OAuthAnswer(
      status: 303, fields: Array("Location: \(location)\r\nReferrer-Policy: no-referrer\r\n\(unkept)".utf8))
  }
}
