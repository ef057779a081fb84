import Core

/// When an issuer is asked for its keys, and when asking it for a missing one makes sense.
///
/// Keys are replaced ahead of their time, so that a new one is known before it is used. Whoever invents names of keys
/// causes one question an interval; after a failure the interval is short at first.
struct IssuerClock: Equatable {
  /// The shortest, the usual and the longest time between two answers, in seconds.
  static let shortestRest: Int64 = 300
  static let usualRest: Int64 = 3_600
  static let longestRest: Int64 = 86_400
  /// For how long after an answer it is not asked for missing keys, in seconds.
  static let interval: Int64 = 30
  /// The first wait after a failure, which doubles with each, and the longest, in seconds; up to a quarter comes on
  /// top.
  static let firstRetry: Int64 = 1
  static let longestRetry: Int64 = 48

  /// When to ask next.
  private(set) var asksAt: Instant
  /// When it may be asked for a missing key.
  private(set) var asksAgainAt: Instant
  private var failures: Int64 = 0

  /// A clock of an issuer that has not been asked.
  init(now: Instant) { (asksAt, asksAgainAt) = (now, now) }

  /// It has answered, and lets its keys be kept for `maxAge` seconds; nil where it does not say. `random` keeps nodes
  /// from asking in step: up to a tenth earlier.
  mutating func answered(maxAge: Int64?, now: Instant, random: UInt64) {
    failures = 0
    let rest = maxAge.map { min(max($0 / 2, Self.shortestRest), Self.longestRest) } ?? Self.usualRest
    let spread = min(rest / 10, rest - Self.shortestRest) * 1_000
    asksAt = now.advanced(byNanoseconds: (rest * 1_000 - Int64(random % UInt64(spread + 1))) * 1_000_000)
    asksAgainAt = now.advanced(byNanoseconds: Self.interval * 1_000_000_000)
  }

  /// It has not, or nothing of use.
  mutating func failed(now: Instant, random: UInt64) {
    let seconds = min(Self.firstRetry << min(failures, 16), Self.longestRetry)
    failures += 1
    let spread = UInt64(seconds) * 250_000_000
    asksAt = now.advanced(byNanoseconds: seconds * 1_000_000_000 + Int64(random % spread))
    asksAgainAt = asksAt
  }

  /// Somebody misses a key: it is asked now where that makes sense. Returns whether it does.
  mutating func isMissed(now: Instant) -> Bool {
    guard asksAgainAt <= now else { return false }
    asksAt = min(asksAt, now)
    return true
  }
}
