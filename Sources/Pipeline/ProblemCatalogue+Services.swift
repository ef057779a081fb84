// What is refused by the word of another service, or for lack of it.

extension ProblemCatalogue {
  /// A token that its issuer does not call good.
  public static var tokenInactive: Problem {
    Problem(
      .tokenInactive, 401, "token-inactive", "Token not active",
      "The issuer does not know this token, or it has expired or was taken back. Get a new one.")
  }
  /// A caller of another tenant than the route's.
  public static var otherTenant: Problem {
    Problem(.otherTenant, 403, "other-tenant", "Not yours", "Whoever calls has no access to this route.")
  }
  /// The service that would let the request pass does not answer.
  public static var authorizationUnavailable: Problem {
    Problem(
      .authorizationUnavailable, 503, "authorization-unavailable", "Authorization unavailable",
      "Whether this request may pass cannot be found out at the moment. Come back after Retry-After.")
  }
}
