import Core
import Pipeline

/// What a client asks of a user through the browser (RFC 6749 section 4.1.1), checked.
///
/// Nothing is sent to an address before it is known to be the client's own: whatever is wrong until then is shown to
/// the user here (RFC 9700 section 4.11). Proof Key for Code Exchange is asked of every client, and only in its one
/// safe form.
struct AuthorizationRequest: Sendable {
  /// What comes of a request.
  enum Reading: Sendable {
    case valid(AuthorizationRequest)
    /// It is not known where an answer could go.
    case shown(OAuthFault)
    /// The client learns what is wrong.
    case answered(location: String)
  }

  let client: OAuthClient
  let redirectURI: String
  let state: String?
  let scopes: [String]
  let audience: String
  /// The digest of what the client proves itself by when it redeems the code (RFC 7636 section 4.2).
  let challenge: String
  let nonce: String?
  /// Whether nothing may be shown to the user.
  let isSilent: Bool
  /// Whether the user is to be asked, whatever the configuration says.
  let wantsConsent: Bool

  /// The most bytes of what is only passed through: `state` and `nonce`.
  static let longestText = 1_024

  /// Checks what a browser has sent for this client.
  static func read(_ parameters: OAuthParameters, _ client: OAuthClient, issuer: String) -> Reading {
    guard let address = parameters["redirect_uri"], client.redirects.contains(where: { $0.matches(address) }) else {
      return .shown(.request("the client has not registered the address that the answer is to be sent to"))
    }
    do throws(OAuthFault) {
      return .valid(try AuthorizationRequest(parameters, client, address))
    } catch {
      let state = parameters["state"].flatMap { $0.utf8.count <= longestText ? $0 : nil }
      return .answered(location: location(of: error, to: address, state: state, issuer: issuer))
    }
  }

  private init(
    _ parameters: OAuthParameters, _ client: OAuthClient, _ address: String
  ) throws(OAuthFault) {
    guard parameters["response_type"] == "code" else {
      throw parameters["response_type"] == nil ? .request("response_type is missing") : .responseType
    }
    guard parameters["response_mode"] ?? "query" == "query" else { throw .request("answers come in the query only") }
    for name in ["request", "request_uri"] where parameters[name] != nil {
      throw .request("requests are not sent as objects here")
    }
    guard client.grants.contains(.code) else { throw .unauthorized("this client gets no codes") }
    // A method that is left out means plain (RFC 7636 section 4.3), which is no proof to whoever has seen the request.
    guard parameters["code_challenge_method"] == "S256" else { throw .request("code_challenge_method is S256") }
    guard let challenge = parameters["code_challenge"], PKCE.isDigest(challenge) else {
      throw .request("code_challenge is no SHA-256 digest in base64url")
    }
    let (state, nonce) = (parameters["state"], parameters["nonce"])
    guard (state?.utf8.count ?? 0) <= Self.longestText, (nonce?.utf8.count ?? 0) <= Self.longestText else {
      throw .request("state or nonce is too long")
    }
    let prompts = parameters["prompt"]?.split(separator: " ") ?? []
    let areKnown = prompts.allSatisfy { ["none", "consent"].contains($0) }
    guard areKnown, !prompts.contains("none") || prompts.count == 1 else {
      // Whoever logs users in does so before this server is asked; it cannot make them do it again.
      throw prompts.contains("none") ? .request("prompt is none or something else") : .login
    }
    scopes = try OAuthClient.scopes(parameters["scope"], among: client.scopes)
    audience = try client.audience(parameters["resource"])
    self.client = client
    redirectURI = address
    (self.state, self.nonce, self.challenge) = (state, nonce, challenge)
    isSilent = prompts.contains("none")
    wantsConsent = prompts.contains("consent")
  }

  /// Where the client learns of a fault (RFC 6749 section 4.1.2.1); the issuer tells it whose answer it is (RFC 9207).
  static func location(of fault: OAuthFault, to address: String, state: String?, issuer: String) -> String {
    RedirectTarget.url(
      address,
      adding: [("error", fault.code), ("error_description", fault.detail), ("state", state), ("iss", issuer)])
  }

  /// What the user grants by agreeing, without a name yet; `ends` is when the last token of the family is over.
  func grant(_ user: GrantUser, _ family: GrantFamily, expires: Int64) -> Grant {
    var grant = Grant()
    (grant.client, grant.user, grant.scopes, grant.audience) = (client.id, user, scopes, audience)
    (grant.family, grant.expires) = (family, expires)
    (grant.redirectURI, grant.challenge, grant.nonce, grant.state) = (redirectURI, challenge, nonce, state)
    return grant
  }
}
