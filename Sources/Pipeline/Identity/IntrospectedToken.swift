import Core

/// A token that a server has said to be good, and when. Immutable.
public final class IntrospectedToken: Sendable {
  /// The most that a loop remembers: half as many as of signed tokens, since a server may say up to
  /// ``IntrospectionAnswer/longest`` bytes of each.
  public static let cacheCapacity = 8_192

  /// What follows from it.
  public let token: VerifiedToken
  /// When the server said so.
  public let checkedAt: Instant
  /// From this moment on it is asked again.
  public let asksAgainAt: Instant

  /// A token that the server knew at a moment.
  public init(_ token: VerifiedToken, checkedAt: Instant, asksAgainAt: Instant) {
    (self.token, self.checkedAt, self.asksAgainAt) = (token, checkedAt, asksAgainAt)
  }
}

/// A token that is not good, as a server has said. Immutable.
public final class RejectedToken: Sendable {
  /// The most that a loop remembers: whoever invents tokens displaces no others than such.
  public static let cacheCapacity = 4_096

  /// Why it is refused.
  public let problem: Problem
  /// From this moment on the server is asked again.
  public let asksAgainAt: Instant

  /// A token that is refused for a while.
  public init(_ problem: Problem, asksAgainAt: Instant) { (self.problem, self.asksAgainAt) = (problem, asksAgainAt) }
}
