import Core
import Crypto

/// When an authority is asked again, and until when its last answer can be shown.
///
/// An answer is replaced at half of its time, so that a responder may be gone for as long as the other half. After a failure it
/// is asked again soon, then less and less often.
struct StapleClock: Equatable {
  /// The first wait after a failure, which doubles with each, and the longest, in seconds.
  static let firstRetry: Int64 = 5
  static let longestRetry: Int64 = 3600
  /// The shortest time between two good answers, in seconds: some authorities sign ahead, all from the same moment on.
  static let shortestRest: Int64 = 10
  /// For how long an answer without an end is shown, in seconds.
  static let usualLife: Int64 = 7200

  /// When to ask next.
  private(set) var asksAt: Instant
  /// When the answer that is shown must not be any more; never where there is none.
  private(set) var endsAt = Instant.never
  private var failures: Int64 = 0

  /// A clock of a certificate about which nobody has been asked.
  init(now: Instant) { asksAt = now }

  /// A good answer has come.
  mutating func answered(_ staple: OCSPStaple, now: Instant, wallTime: WallTime) {
    failures = 0
    let begins = min(staple.beginsAt.seconds, wallTime.seconds)
    let ends = staple.endsAt?.seconds ?? wallTime.seconds + Self.usualLife
    let left = ends - wallTime.seconds
    let half = begins + (ends - begins) / 2 - wallTime.seconds
    asksAt = Self.after(now, max(half > 0 ? half : left / 2, Self.shortestRest))
    endsAt = Self.after(now, left)
  }

  /// None has come, or no good one. `random` keeps nodes from asking in step.
  mutating func failed(now: Instant, random: UInt64) {
    let seconds = min(Self.firstRetry << min(failures, 16), Self.longestRetry)
    failures += 1
    let spread = UInt64(seconds) * 250_000_000
    asksAt = now.advanced(byNanoseconds: seconds * 1_000_000_000 + Int64(random % spread))
  }

  /// The answer is not shown any more.
  mutating func dropped() { endsAt = .never }

  private static func after(_ now: Instant, _ seconds: Int64) -> Instant {
    now.advanced(byNanoseconds: min(seconds, 365 * 86_400) * 1_000_000_000)
  }
}
