// Every refusal that a client can receive, in one place.
//
// Codes are a contract: they are never renamed and never reused. Details name no upstream, address or internal state.
// The entries are computed so that their use compiles to constants: a stored `static let` would cost a once-check each.

/// All kinds of refusal, with stable codes.
public enum ProblemCatalogue {
  /// The name of an entry: what a refusal carries, since the entry itself is eighty bytes. By status and code.
  public enum Entry: UInt8, BitwiseCopyable, CaseIterable, Sendable {
    case keyAmbiguous, digestMismatch, loginUnknown, malformedEncoding, malformedPath, malformedRequest
    case tokenAmbiguous
    case keyInvalid, keyMissing, keyMistyped, authenticationRequired
    case credentialsInvalid, credentialsMissing, keyRevoked, loginRequired, sessionOver
    case signatureExpired, signatureIncomplete, signatureInvalid, signatureMissing, signatureReplayed
    case tokenExpired, tokenInactive, tokenInvalid, tokenMissing, tokenNotYetValid, tokenRevoked, tokenUnconfirmed
    case tokenUntrusted
    case proofInvalid, proofMissing, proofNonceMissing, proofRepeated
    case accessDenied, addressDenied, certificateMissing, consumerNotAllowed, scopeInsufficient, loginDenied,
      originDenied, otherTenant, planForbids, planRequired, planUnknown
    case noRoute, methodNotAllowed, requestTimeout, bodyTooLarge
    case targetTooLong, expectationFailed, tooEarly, concurrencyLimited, rateLimited, failuresLimited
    case headTooLarge, notImplemented
    case upgradeNotSupported
    case loginFailed, sessionTooLarge, badGateway
    case authorizationUnavailable, keysUnavailable, loginUnavailable, overloaded, quotaUnavailable, replayUnknown
    case revocationsStale, upstreamBusy, upstreamTokenUnavailable, noUpstream
    case gatewayTimeout
    case versionNotSupported

    /// The entry of this name.
    public var problem: Problem {
      switch self {
      case .loginUnknown, .loginRequired, .sessionOver, .loginDenied, .loginFailed, .sessionTooLarge, .loginUnavailable:
        ProblemCatalogue.ofLogin(self)
      case .planForbids: ProblemCatalogue.planForbids
      case .planRequired: ProblemCatalogue.planRequired
      case .planUnknown: ProblemCatalogue.planUnknown
      case .keyAmbiguous: ProblemCatalogue.keyAmbiguous
      case .digestMismatch: ProblemCatalogue.digestMismatch
      case .malformedEncoding: ProblemCatalogue.malformedEncoding
      case .malformedPath: ProblemCatalogue.malformedPath
      case .malformedRequest: ProblemCatalogue.malformedRequest
      case .tokenAmbiguous: ProblemCatalogue.tokenAmbiguous
      case .authenticationRequired: ProblemCatalogue.authenticationRequired
      case .keyInvalid: ProblemCatalogue.keyInvalid
      case .keyMissing: ProblemCatalogue.keyMissing
      case .keyMistyped: ProblemCatalogue.keyMistyped
      case .keyRevoked: ProblemCatalogue.keyRevoked
      case .credentialsInvalid: ProblemCatalogue.credentialsInvalid
      case .credentialsMissing: ProblemCatalogue.credentialsMissing
      case .signatureExpired: ProblemCatalogue.signatureExpired
      case .signatureIncomplete: ProblemCatalogue.signatureIncomplete
      case .signatureInvalid: ProblemCatalogue.signatureInvalid
      case .signatureMissing: ProblemCatalogue.signatureMissing
      case .signatureReplayed: ProblemCatalogue.signatureReplayed
      case .tokenExpired: ProblemCatalogue.tokenExpired
      case .tokenInactive: ProblemCatalogue.tokenInactive
      case .tokenInvalid: ProblemCatalogue.tokenInvalid
      case .tokenMissing: ProblemCatalogue.tokenMissing
      case .tokenNotYetValid: ProblemCatalogue.tokenNotYetValid
      case .tokenRevoked: ProblemCatalogue.tokenRevoked
      case .tokenUnconfirmed: ProblemCatalogue.tokenUnconfirmed
      case .tokenUntrusted: ProblemCatalogue.tokenUntrusted
      case .proofInvalid: ProblemCatalogue.proofInvalid
      case .proofMissing: ProblemCatalogue.proofMissing
      case .proofNonceMissing: ProblemCatalogue.proofNonceMissing
      case .proofRepeated: ProblemCatalogue.proofRepeated
      case .replayUnknown: ProblemCatalogue.replayUnknown
      case .accessDenied: ProblemCatalogue.accessDenied
      case .addressDenied: ProblemCatalogue.addressDenied
      case .certificateMissing: ProblemCatalogue.certificateMissing
      case .consumerNotAllowed: ProblemCatalogue.consumerNotAllowed
      case .scopeInsufficient: ProblemCatalogue.scopeInsufficient
      case .originDenied: ProblemCatalogue.originDenied
      case .otherTenant: ProblemCatalogue.otherTenant
      case .noRoute: ProblemCatalogue.noRoute
      case .methodNotAllowed: ProblemCatalogue.methodNotAllowed
      case .requestTimeout: ProblemCatalogue.requestTimeout
      case .bodyTooLarge: ProblemCatalogue.bodyTooLarge
      case .targetTooLong: ProblemCatalogue.targetTooLong
      case .expectationFailed: ProblemCatalogue.expectationFailed
      case .tooEarly: ProblemCatalogue.tooEarly
      case .concurrencyLimited: ProblemCatalogue.concurrencyLimited
      case .rateLimited: ProblemCatalogue.rateLimited
      case .failuresLimited: ProblemCatalogue.failuresLimited
      case .headTooLarge: ProblemCatalogue.headTooLarge
      case .notImplemented: ProblemCatalogue.notImplemented
      case .upgradeNotSupported: ProblemCatalogue.upgradeNotSupported
      case .authorizationUnavailable: ProblemCatalogue.authorizationUnavailable
      case .badGateway: ProblemCatalogue.badGateway
      case .keysUnavailable: ProblemCatalogue.keysUnavailable
      case .overloaded: ProblemCatalogue.overloaded
      case .quotaUnavailable: ProblemCatalogue.quotaUnavailable
      case .revocationsStale: ProblemCatalogue.revocationsStale
      case .upstreamBusy: ProblemCatalogue.upstreamBusy
      case .upstreamTokenUnavailable: ProblemCatalogue.upstreamTokenUnavailable
      case .noUpstream: ProblemCatalogue.noUpstream
      case .gatewayTimeout: ProblemCatalogue.gatewayTimeout
      case .versionNotSupported: ProblemCatalogue.versionNotSupported
      }
    }
  }

  // MARK: The message

  /// The bytes are not a request.
  public static var malformedRequest: Problem {
    Problem(.malformedRequest, 400, "malformed-request", "Malformed request", "The request does not conform to HTTP.")
  }
  /// The path cannot be judged safely.
  public static var malformedPath: Problem {
    Problem(
      .malformedPath, 400, "malformed-path", "Malformed path",
      "The path holds dot segments or encoded characters that are not allowed."
    )
  }
  /// A call of gRPC-Web whose text is none.
  public static var malformedEncoding: Problem {
    Problem(
      .malformedEncoding, 400, "malformed-encoding", "Malformed encoding",
      "The body of this gRPC-Web call is not Base64.")
  }
  /// No complete request came in time.
  public static var requestTimeout: Problem {
    Problem(
      .requestTimeout, 408, "request-timeout", "Request timeout", "The request did not arrive completely in time.")
  }
  /// The body is larger than the route allows.
  public static var bodyTooLarge: Problem {
    Problem(
      .bodyTooLarge, 413, "body-too-large", "Body too large", "The request body is larger than this route accepts.")
  }
  /// The request line is too long.
  public static var targetTooLong: Problem {
    Problem(
      .targetTooLong, 414, "target-too-long", "Request target too long",
      "The request line is longer than the gateway accepts.")
  }
  /// An expectation other than 100-continue.
  public static var expectationFailed: Problem {
    Problem(
      .expectationFailed, 417, "expectation-failed", "Expectation failed", "Only the expectation 100-continue is known."
    )
  }
  /// The header section is too large.
  public static var headTooLarge: Problem {
    Problem(
      .headTooLarge, 431, "head-too-large", "Header fields too large", "The header fields are too many or too large.")
  }
  /// A transfer coding or method that is not implemented.
  public static var notImplemented: Problem {
    Problem(
      .notImplemented, 501, "not-implemented", "Not implemented",
      "The request uses a feature that the gateway does not offer.")
  }
  /// A version of HTTP that is not spoken here.
  public static var versionNotSupported: Problem {
    Problem(
      .versionNotSupported, 505, "version-not-supported", "HTTP version not supported",
      "Send the request as HTTP/1.1 or HTTP/1.0.")
  }

  // MARK: The route

  /// No route matches.
  public static var noRoute: Problem {
    Problem(.noRoute, 404, "no-route", "Not found", "No route matches this host and path.")
  }
  /// Routes match, but for other methods.
  public static var methodNotAllowed: Problem {
    Problem(
      .methodNotAllowed, 405, "method-not-allowed", "Method not allowed",
      "The field Allow names the methods of this resource.")
  }

  // MARK: Identity

  /// No key where one is needed.
  public static var keyMissing: Problem {
    Problem(
      .keyMissing, 401, "api-key-missing", "API key missing",
      "This route needs an API key, and the request carries none.")
  }
  /// A key that nobody holds.
  public static var keyInvalid: Problem {
    Problem(
      .keyInvalid, 401, "api-key-invalid", "API key not valid",
      "The API key is not known, not yet valid or no longer valid.")
  }
  /// A key in more than one place or more than once.
  public static var keyAmbiguous: Problem {
    Problem(.keyAmbiguous, 400, "api-key-ambiguous", "More than one API key", "Send exactly one API key, in one place.")
  }
  /// A known consumer who may not use this route.
  public static var consumerNotAllowed: Problem {
    Problem(
      .consumerNotAllowed, 403, "consumer-not-allowed", "Consumer not allowed",
      "The consumer of this key may not use this route.")
  }

  /// A key of which a letter is wrong.
  public static var keyMistyped: Problem {
    Problem(
      .keyMistyped, 401, "api-key-mistyped", "API key mistyped",
      "This cannot be a key: its checksum is wrong. A character was lost or changed on the way.")
  }
  /// A key that was revoked, or whose holder was.
  public static var keyRevoked: Problem {
    Problem(
      .keyRevoked, 401, "key-revoked", "Revoked",
      "This key, or whoever it belongs to, has been revoked. Ask the owner of the API for a new one.")
  }

  /// No token where one is needed.
  public static var tokenMissing: Problem {
    Problem(
      .tokenMissing, 401, "token-missing", "Token missing",
      "This route needs an access token, and the request carries none.")
  }
  /// A token in more than one place or more than once.
  public static var tokenAmbiguous: Problem {
    Problem(.tokenAmbiguous, 400, "token-ambiguous", "More than one token", "Send exactly one token, in one place.")
  }
  /// What is no token, or whose signature is wrong.
  public static var tokenInvalid: Problem {
    Problem(
      .tokenInvalid, 401, "token-invalid", "Token not valid",
      "This is no token that could be verified: it is malformed, or its signature is wrong.")
  }
  /// A token of somebody, for somebody or by a key that the route does not trust.
  public static var tokenUntrusted: Problem {
    Problem(
      .tokenUntrusted, 401, "token-untrusted", "Token not trusted",
      "The token is of an issuer, for an audience, of a type or signed by a key that this route does not accept.")
  }
  /// A token whose time is over.
  public static var tokenExpired: Problem {
    Problem(.tokenExpired, 401, "token-expired", "Token expired", "The token is no longer valid. Get a new one.")
  }
  /// A token whose time has not come.
  public static var tokenNotYetValid: Problem {
    Problem(
      .tokenNotYetValid, 401, "token-not-yet-valid", "Token not yet valid",
      "The token says that it is valid later only.")
  }
  /// A token that was revoked, or whose subject, client or key was.
  public static var tokenRevoked: Problem {
    Problem(
      .tokenRevoked, 401, "token-revoked", "Token revoked",
      "This token, or whoever it belongs to, has been revoked. Get a new one.")
  }
  /// No client certificate where one is needed.
  public static var certificateMissing: Problem {
    Problem(
      .certificateMissing, 403, "certificate-missing", "Certificate missing",
      "This route needs a client certificate, and the connection was made without one.")
  }

  // MARK: Admission

  /// Nobody is identified, and somebody would have to be.
  public static var authenticationRequired: Problem {
    Problem(
      .authenticationRequired, 401, "authentication-required", "Authentication required",
      "This needs a caller who is known. The field WWW-Authenticate says how to become one.")
  }
  /// The rules of a route do not let the request pass.
  public static var accessDenied: Problem {
    Problem(
      .accessDenied, 403, "access-denied", "Access denied", "This route does not let this request pass.")
  }
  /// The address may not come in.
  public static var addressDenied: Problem {
    Problem(
      .addressDenied, 403, "address-denied", "Address not allowed", "Requests from this address are not accepted here.")
  }
  /// A preflight for an origin, method or field that is not allowed.
  public static var originDenied: Problem {
    Problem(
      .originDenied, 403, "origin-denied", "Origin not allowed",
      "Cross-origin requests from this origin are not accepted here.")
  }
  /// A rate or quota is used up.
  public static var rateLimited: Problem {
    Problem(
      .rateLimited, 429, "rate-limited", "Rate limit exceeded",
      "A limit that applies to this request is used up. The field RateLimit names it; Retry-After says when to come back."
    )
  }
  /// Too many wrong credentials from one address.
  public static var failuresLimited: Problem {
    Problem(
      .failuresLimited, 429, "too-many-failures", "Too many failures",
      "Too many credentials from this address were wrong. Come back after Retry-After.")
  }
  /// What changes something must not come in early data (RFC 8470 section 5.2).
  public static var tooEarly: Problem {
    Problem(
      .tooEarly, 425, "too-early", "Too early",
      "The request came before the TLS handshake was complete. Send it again once it is.")
  }
  /// Too many requests at the same time.
  public static var concurrencyLimited: Problem {
    Problem(
      .concurrencyLimited, 429, "concurrency-limited", "Too many concurrent requests",
      "As many requests as allowed are running. Wait until one has ended.")
  }
  /// A limit cannot be checked and is set to refuse then.
  public static var quotaUnavailable: Problem {
    Problem(
      .quotaUnavailable, 503, "quota-unavailable", "Quota unavailable",
      "A limit cannot be checked at the moment. Come back after Retry-After.")
  }
  /// The node may have missed a revocation, and the route does not accept that.
  public static var revocationsStale: Problem {
    Problem(
      .revocationsStale, 503, "revocations-stale", "Revocations not known",
      "Whether this key is revoked cannot be found out at the moment. Come back after Retry-After.")
  }
  /// The node has no room left.
  public static var overloaded: Problem {
    Problem(.overloaded, 503, "overloaded", "Overloaded", "The gateway has no capacity for this request at the moment.")
  }

  // MARK: Upstream

  /// The upstream could not be reached, broke off, or sent what is not HTTP.
  public static var badGateway: Problem {
    Problem(
      .badGateway, 502, "upstream-failed", "Upstream failed", "The service behind the gateway did not answer properly.")
  }
  /// The upstream takes no WebSocket connections over HTTP/2.
  public static var upgradeNotSupported: Problem {
    Problem(
      .upgradeNotSupported, 501, "upgrade-not-supported", "Upgrade not supported",
      "The service behind the gateway takes no WebSocket connections.")
  }
  /// No endpoint is fit to serve.
  public static var noUpstream: Problem {
    Problem(
      .noUpstream, 503, "upstream-unavailable", "Upstream unavailable",
      "No instance of the service is available at the moment.")
  }
  /// There is no token that the upstream would take.
  public static var upstreamTokenUnavailable: Problem {
    Problem(
      .upstreamTokenUnavailable, 503, "upstream-token-unavailable", "Upstream token unavailable",
      "The token that the service behind the gateway asks for cannot be had at the moment. Come back after Retry-After."
    )
  }
  /// More requests wait for the upstream than allowed.
  public static var upstreamBusy: Problem {
    Problem(
      .upstreamBusy, 503, "upstream-busy", "Upstream busy", "As many requests as allowed are waiting for the service.")
  }
  /// No answer in time.
  public static var gatewayTimeout: Problem {
    Problem(
      .gatewayTimeout, 504, "upstream-timeout", "Upstream timeout",
      "The service behind the gateway did not answer in time.")
  }
}
