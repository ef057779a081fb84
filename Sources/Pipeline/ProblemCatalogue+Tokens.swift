// What is wrong with tokens, and with what must go with them.

extension ProblemCatalogue {
  /// A token that is bound to a key, and no proof of that key.
  public static var proofMissing: Problem {
    Problem(
      .proofMissing, 401, "proof-missing", "Proof missing",
      "The token is bound to a key. Send it as Authorization: DPoP, with a proof of that key in the field DPoP.")
  }
  /// A proof that does not prove anything here.
  public static var proofInvalid: Problem {
    Problem(
      .proofInvalid, 401, "proof-invalid", "Proof invalid",
      "The proof in the field DPoP was not made just now, for this request and this token, with the key that it names.")
  }
  /// A proof without one of the cluster's nonces.
  public static var proofNonceMissing: Problem {
    Problem(
      .proofNonceMissing, 401, "proof-nonce-missing", "Nonce missing",
      "The proof must hold the nonce that the field DPoP-Nonce of this response names.")
  }
  /// A proof that was shown before.
  public static var proofRepeated: Problem {
    Problem(
      .proofRepeated, 401, "proof-repeated", "Proof repeated",
      "This proof was shown before. Make one for each request.")
  }
  /// Nobody can say whether something was used before that may be used once.
  public static var replayUnknown: Problem {
    Problem(
      .replayUnknown, 503, "replay-unknown", "Replay cannot be excluded",
      "The gateway cannot find out whether this was sent before. Come back after Retry-After.")
  }
  /// A good token that does not allow this.
  public static var scopeInsufficient: Problem {
    Problem(
      .scopeInsufficient, 403, "insufficient-scope", "Insufficient scope",
      "The token does not have the scopes that this route needs. The field WWW-Authenticate names them.")
  }
  /// The issuer's keys have not been had yet, or it does not say what a token is.
  public static var keysUnavailable: Problem {
    Problem(
      .keysUnavailable, 503, "issuer-unavailable", "Issuer unavailable",
      "Whether this token is good cannot be found out at the moment. Come back after Retry-After.")
  }
  /// A token that is bound to something else than the request shows, or to nothing.
  public static var tokenUnconfirmed: Problem {
    Problem(
      .tokenUnconfirmed, 401, "token-unconfirmed", "Token not confirmed",
      "The token is good only together with the certificate or key that it was given to, which the request does not show."
    )
  }
}
