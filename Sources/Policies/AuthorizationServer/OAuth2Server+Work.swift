import Core
import Crypto
import Pipeline

// What a call comes to, and what is answered. Everything here follows from what the call says, the keys and the time.

extension OAuth2Server {
  /// Reads what a client wants.
  func work(_ call: OAuthCall, _ services: Services) throws(OAuthFault) -> OAuthWork {
    switch call.endpoint {
    case .token: return try tokenWork(call, services)
    case .revoke:
      guard let text = call.parameters["token"] else { throw .request("token is missing") }
      if let grant = grant(text, as: .refresh, call, services) {
        guard grant.client == call.client.id else { throw .unauthorized("the token is of another client") }
        return .giveUp(grant)
      }
      guard let token = token(text, call, services) else { return .nothing(.empty) }
      guard token.client == call.client.id else { throw .unauthorized("the token is of another client") }
      return .revoke(token)
    case .introspect:
      guard call.client.isConfidential else { throw .client("a public client learns nothing of tokens") }
      guard let text = call.parameters["token"] else { throw .request("token is missing") }
      if let grant = grant(text, as: .refresh, call, services), mayAsk(call.client, about: grant.client) {
        return .describeGrant(grant)
      }
      if let token = token(text, call, services), mayAsk(call.client, about: token.client) {
        return .describeToken(token)
      }
      return .nothing(Self.inactive)
    case .deviceAuthorization:
      guard call.client.grants.contains(.device) else { throw .unauthorized("this client is for no devices") }
      let scopes = try OAuthClient.scopes(call.parameters["scope"], among: call.client.scopes)
      return .start(audience: try call.client.audience(call.parameters["resource"]), scopes: scopes)
    case .metadata, .keys, .authorize, .device: throw .request("nothing is called there")
    }
  }

  private func mayAsk(_ client: OAuthClient, about other: String?) -> Bool {
    client.isResourceServer || other == client.id
  }

  private func tokenWork(_ call: OAuthCall, _ services: Services) throws(OAuthFault) -> OAuthWork {
    guard let name = call.parameters["grant_type"] else { throw .request("grant_type is missing") }
    guard let type = OAuthClient.GrantType(rawValue: name) else { throw .grantType }
    guard call.client.grants.contains(type) else { throw .unauthorized("this client may not use this grant type") }
    switch type {
    case .clientCredentials:
      let scopes = try OAuthClient.scopes(call.parameters["scope"], among: call.client.scopes)
      return .credentials(audience: try call.client.audience(call.parameters["resource"]), scopes: scopes)
    case .code: return try redeemCode(call, services)
    case .refresh: return try redeemRefresh(call, services)
    case .device: return try pollWork(call, call.poll, services)
    }
  }

  private func redeemCode(_ call: OAuthCall, _ services: Services) throws(OAuthFault) -> OAuthWork {
    guard let text = call.parameters["code"] else { throw .request("code is missing") }
    guard let grant = grant(text, as: .code, call, services) else {
      throw noGrant("the code is over, or none of this server", text, .code, call, services)
    }
    guard grant.client == call.client.id else { throw .grant("the code is of another client") }
    guard let address = call.parameters["redirect_uri"], address.utf8.elementsEqual((grant.redirectURI ?? "").utf8),
      !address.isEmpty
    else {
      throw .grant("redirect_uri is not the one to which the code was sent")
    }
    guard let verifier = call.parameters["code_verifier"], let challenge = grant.challenge,
      PKCE.holds(verifier, challenge)
    else { throw .grant("code_verifier does not belong to the code") }
    try checkTarget(call, grant)
    return .redeem(grant, scopes: try scopes(call, of: grant, wanted: nil))
  }

  private func redeemRefresh(_ call: OAuthCall, _ services: Services) throws(OAuthFault) -> OAuthWork {
    guard let text = call.parameters["refresh_token"] else { throw .request("refresh_token is missing") }
    guard let grant = grant(text, as: .refresh, call, services) else {
      throw noGrant("the refresh token is over, or none of this server", text, .refresh, call, services)
    }
    guard grant.client == call.client.id else { throw .grant("the refresh token is of another client") }
    try checkTarget(call, grant)
    return .redeem(grant, scopes: try scopes(call, of: grant, wanted: call.parameters["scope"]))
  }

  /// Nobody gets a token for somebody else than the user has agreed to.
  private func checkTarget(_ call: OAuthCall, _ grant: Grant) throws(OAuthFault) {
    if let wanted = call.parameters["resource"], wanted != grant.audience { throw .target }
    guard call.client.audiences.contains(grant.audience) else { throw .target }
  }

  /// As much of what was granted as is wanted, and as the client may have still.
  private func scopes(_ call: OAuthCall, of grant: Grant, wanted: String?) throws(OAuthFault) -> [String] {
    let left = grant.scopes.filter(call.client.scopes.contains)
    return try OAuthClient.scopes(wanted, among: left)
  }

  private func noGrant(
    _ detail: String, _ text: String, _ kind: Grant.Kind, _ call: OAuthCall, _ services: Services
  ) -> OAuthFault {
    let former = Grant(text, as: kind, issuer: call.site.issuer, ring(services), now: 0)
    return former == nil ? .guess(detail) : .grant(detail)
  }

  private func grant(_ text: String, as kind: Grant.Kind, _ call: OAuthCall, _ services: Services) -> Grant? {
    Grant(text, as: kind, issuer: call.site.issuer, ring(services), now: call.now)
  }

  private func token(_ text: String, _ call: OAuthCall, _ services: Services) -> OwnToken? {
    let issuer = call.site.issuer
    return OwnToken(text, issuer: issuer, keys.published(issuer: issuer, services), now: call.now)
  }

  // MARK: Tokens

  private func mint(_ call: OAuthCall, _ services: Services) -> TokenMint {
    let issuer = call.site.issuer
    return TokenMint(
      signer: keys.signer(issuer: issuer, services), issuer: issuer, now: call.now, lifetime: accessTime)
  }

  /// A token for the client itself.
  func answer(
    _ call: OAuthCall, audience: String, scopes: [String], _ services: Services
  ) throws(OAuthFault) -> OAuthAnswer {
    let mint = mint(call, services)
    guard let token = mint.access(call.client, audience: audience, scopes: scopes) else { throw .tooLarge }
    return answer(token, scopes)
  }

  /// Tokens for what a user has granted, the next refresh token among them.
  func answer(
    _ call: OAuthCall, _ grant: Grant, scopes: [String], _ services: Services
  ) throws(OAuthFault) -> OAuthAnswer {
    guard let user = grant.user.current(services)?.user else { throw .grant("the user is not there any more") }
    let mint = mint(call, services)
    guard let access = mint.access(grant, user, scopes: scopes) else { throw .tooLarge }
    var refresh: String?
    if call.client.grants.contains(.refresh) {
      guard let text = grant.next.sealed(.refresh, issuer: call.site.issuer, ring(services)) else { throw .tooLarge }
      refresh = text
    }
    let identity = scopes.contains("openid") ? mint.identity(grant, user) : nil
    return answer(access, scopes, refresh: refresh, identity: identity)
  }

  private func answer(
    _ access: String, _ scopes: [String], refresh: String? = nil, identity: String? = nil
  ) -> OAuthAnswer {
    let buffer = ByteBuffer(capacity: 2_048)
    var writer = JSONWriter(buffer)
    writer.beginObject()
    writer.member("access_token", access)
    writer.member("token_type", "Bearer")
    writer.member("expires_in", accessTime)
    if !scopes.isEmpty { writer.member("scope", scopes.joined(separator: " ")) }
    if let refresh { writer.member("refresh_token", refresh) }
    if let identity { writer.member("id_token", identity) }
    writer.endObject()
    return .object(buffer.array)
  }
}

extension Grant {
  /// What the next refresh token of the family holds.
  var next: Grant {
    var next = self
    next.generation += 1
    next.expires = family.ends
    (next.redirectURI, next.challenge, next.nonce, next.state) = (nil, nil, nil, nil)
    return next
  }

  /// Whom it stands for, as far as that can be revoked.
  func parts(_ user: GrantUser) -> Identity.Parts {
    var parts = Identity.Parts()
    (parts.subject, parts.client, parts.session, parts.tenant) = (user.subject, client, family.name, user.tenant)
    // The second before, as for tokens: those of the very second of a revocation may be from before.
    parts.issued = UInt32(clamping: family.started - 1)
    return parts
  }

  /// What is said of a refresh token that is good (RFC 7662 section 2.2).
  func description(issuer: String) -> OAuthAnswer {
    let buffer = ByteBuffer(capacity: 512)
    var writer = JSONWriter(buffer)
    writer.beginObject()
    writer.key("active")
    writer.bool(true)
    writer.member("iss", issuer)
    writer.member("client_id", client)
    writer.member("sub", user.subject)
    if !scopes.isEmpty { writer.member("scope", scopes.joined(separator: " ")) }
    writer.member("exp", expires)
    writer.member("sid", family.name)
    writer.endObject()
    return .object(buffer.array)
  }
}

extension OwnToken {
  private static let said = ["iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti", "sid", "auth_time"]

  /// What is said of an access token that is good (RFC 7662 section 2.2).
  var description: OAuthAnswer {
    let buffer = ByteBuffer(capacity: 512)
    var writer = JSONWriter(buffer)
    writer.beginObject()
    writer.key("active")
    writer.bool(true)
    writer.member("token_type", "Bearer")
    for name in Self.said {
      guard let value = claims.root[name] else { continue }
      writer.key(name)
      if let text = value.string { writer.string(text) } else { writer.raw(value.sourceText) }
    }
    writer.endObject()
    return .object(buffer.array)
  }
}
