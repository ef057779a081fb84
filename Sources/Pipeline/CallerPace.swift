import Core

/// Holds callers to a pace in asking about themselves: what costs a node more than a request and takes nothing from any
/// limit would otherwise be free. Plain data of one loop.
public struct CallerPace {
  /// Between two inquiries of one caller in the mean, in nanoseconds.
  public static let interval: Int64 = 100_000_000
  /// Inquiries at once.
  public static let burst: Int64 = 10
  /// Callers remembered before those who have been quiet are forgotten.
  static let capacity = 4096

  /// When each caller will have been forgotten to have asked, by the caller's index.
  private var clearAt: [Int32: Instant] = [:]

  /// Nobody has asked.
  public init() {}

  /// Whether a caller may ask now; that is then taken into account.
  public mutating func admits(_ caller: Int32, now: Instant) -> Bool {
    let clear = max(clearAt[caller] ?? now, now)
    guard clear.nanoseconds(since: now) <= (Self.burst - 1) * Self.interval else { return false }
    if clearAt.count >= Self.capacity, clearAt[caller] == nil { clearAt = clearAt.filter { $0.value > now } }
    // Full of those who ask all the time: the others are let through.
    if clearAt.count < Self.capacity || clearAt[caller] != nil {
      clearAt[caller] = clear.advanced(byNanoseconds: Self.interval)
    }
    return true
  }
}
