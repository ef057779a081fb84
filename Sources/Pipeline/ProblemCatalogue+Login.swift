// Refusals of logins and of the sessions that follow.

extension ProblemCatalogue {
  /// The entry of a login that is called so.
  static func ofLogin(_ entry: Entry) -> Problem {
    switch entry {
    case .loginUnknown: loginUnknown
    case .loginRequired: loginRequired
    case .sessionOver: sessionOver
    case .loginDenied: loginDenied
    case .loginFailed: loginFailed
    case .sessionTooLarge: sessionTooLarge
    default: loginUnavailable
    }
  }

  /// A browser comes back from a login that it has not begun, or that is over.
  public static var loginUnknown: Problem {
    Problem(
      .loginUnknown, 400, "login-unknown", "Login not known",
      "This login was not begun in this browser, took too long, or is over already. Open the page again.")
  }
  /// No session where one is needed.
  public static var loginRequired: Problem {
    Problem(
      .loginRequired, 401, "login-required", "Login required",
      "This needs a session, and the request shows none. Open a page of the site in a browser to log in.")
  }
  /// A session that is of no use.
  public static var sessionOver: Problem {
    Problem(
      .sessionOver, 401, "session-over", "Session over",
      "The session has taken its time, was ended, or cannot be read. Open a page of the site to log in again.")
  }
  /// The provider has not let somebody log in, or whoever did may not come in.
  public static var loginDenied: Problem {
    Problem(.loginDenied, 403, "login-denied", "Login denied", "The login was broken off or not allowed.")
  }
  /// What the provider says is not good.
  public static var loginFailed: Problem {
    Problem(
      .loginFailed, 502, "login-failed", "Login failed",
      "The provider of the login has answered with something that cannot be believed. Open the page again.")
  }
  /// A session that browsers would not keep.
  public static var sessionTooLarge: Problem {
    Problem(
      .sessionTooLarge, 502, "session-too-large", "Session too large",
      "The provider says more about whoever has logged in than fits into cookies.")
  }
  /// The provider, or the store, cannot be asked.
  public static var loginUnavailable: Problem {
    Problem(
      .loginUnavailable, 503, "login-unavailable", "Login unavailable",
      "Nobody can log in at the moment. Come back after Retry-After.")
  }
}
