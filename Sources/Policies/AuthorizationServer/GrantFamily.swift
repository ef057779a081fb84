import Core
import Pipeline

// Reuse detection without storage of tokens (RFC 9700 section 4.14.2): all that follows from one authorization is a
// family with one counter in the store that limits share. The code is number 0, each refresh token one more than the
// one before, and to use number n means to take one unit where at most n + 1 may have been taken. The first use leaves
// n + 1 behind, so that none of the numbers up to n can ever be used again, on no node; a family that is given up has a
// billion taken at once. The counter is that of a calendar period from the family's day to the end of its last, after
// which its tokens are over anyhow.

/// All that follows from one authorization of a user.
struct GrantFamily: Equatable, Sendable {
  /// What tokens call it (`sid`), so that it can be revoked by that name.
  let name: String
  /// The second since 1970 at which the user has granted it.
  let started: Int64
  /// The second since 1970 at which its last refresh token is over.
  let ends: Int64

  /// Taken where a family is given up; no family comes to as many tokens.
  private static let everything: Int64 = 1 << 30
  private static let dayMicroseconds: Int64 = 86_400_000_000

  /// Uses the token of this number.
  func use(_ generation: Int64, _ exchange: inout Exchange, _ services: Services) -> OnceGuard.Finding {
    ParkedQuestion.ask(
      level(limit: generation + 1, cost: 1, services), peeking: exchange.isShadow, &exchange, services)
  }

  /// Whether the token of this number could be used; changes nothing.
  func look(_ generation: Int64, _ exchange: inout Exchange, _ services: Services) -> OnceGuard.Finding {
    ParkedQuestion.ask(level(limit: generation + 1, cost: 1, services), peeking: true, &exchange, services)
  }

  /// Gives the family up: no token of it can be used any more. ``OnceGuard/Finding/again`` where it had been,
  /// often.
  func giveUp(_ exchange: inout Exchange, _ services: Services) -> OnceGuard.Finding {
    ParkedQuestion.ask(
      level(limit: Self.everything << 3, cost: Self.everything, services), peeking: exchange.isShadow, &exchange,
      services)
  }

  private func level(limit: Int64, cost: Int64, _ services: Services) -> QuotaLevel {
    let name = Array(self.name.utf8)
    let key = QuotaKey(configured: "oauth2-server", "family").combined(with: services.key(ofChosen: RawSpan(name)))
    // Whole days, so that families share periods, and one more at the beginning, for clocks that are apart.
    let first = (started * 1_000_000 / Self.dayMicroseconds - 1) * Self.dayMicroseconds
    let last = (ends * 1_000_000 / Self.dayMicroseconds + 1) * Self.dayMicroseconds
    return QuotaLevel(
      key: key, rule: .calendar(limit: limit), cost: cost,
      period: CivilPeriod(start: WallTime(microseconds: first), end: WallTime(microseconds: last)),
      terms: LimitTerms(mode: .exact, outage: .closed))
  }
}
