/// A moment on a monotonic clock, in nanoseconds since a start that only differences may rely on.
public struct Instant: Comparable, Hashable, Sendable, BitwiseCopyable {
  /// Nanoseconds since the clock's own start; never negative for a moment that a clock returned.
  public var nanoseconds: Int64

  /// The moment `nanoseconds` after the clock's start.
  @inlinable
  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  /// A moment that never comes: the deadline of what may take for ever.
  @inlinable
  public static var never: Instant { Instant(nanoseconds: .max) }

  /// Whether the left moment comes first.
  @inlinable
  public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

  /// The moment `nanoseconds` later, or ``never`` where that cannot be expressed.
  @inlinable
  public func advanced(byNanoseconds nanoseconds: Int64) -> Instant {
    let (sum, overflow) = self.nanoseconds.addingReportingOverflow(nanoseconds)
    return overflow ? .never : Instant(nanoseconds: sum)
  }

  /// Nanoseconds from `earlier` to this moment; negative if `earlier` is in fact later.
  @inlinable
  public func nanoseconds(since earlier: Instant) -> Int64 { nanoseconds &- earlier.nanoseconds }

  /// The moment `duration` later, or ``never`` where that cannot be expressed.
  @inlinable
  public static func + (instant: Instant, duration: Duration) -> Instant {
    instant.advanced(byNanoseconds: duration.wholeNanoseconds)
  }
}

/// A moment of civil time, in microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
public struct WallTime: Comparable, Hashable, Sendable, BitwiseCopyable {
  /// Microseconds since 1970; negative before it.
  public var microseconds: Int64

  /// The moment `microseconds` after the beginning of 1970.
  @inlinable
  public init(microseconds: Int64) { self.microseconds = microseconds }

  /// Whether the left moment comes first.
  @inlinable
  public static func < (left: WallTime, right: WallTime) -> Bool { left.microseconds < right.microseconds }

  /// Whole seconds since 1970, rounded down.
  @inlinable
  public var seconds: Int64 {
    let (quotient, remainder) = microseconds.quotientAndRemainder(dividingBy: 1_000_000)
    return remainder < 0 ? quotient - 1 : quotient
  }
}

extension Duration {
  /// The duration in nanoseconds, rounded towards zero, clamped to what 64 bits hold (292 years).
  @inlinable
  public var wholeNanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    if overflow { return seconds < 0 ? .min : .max }
    let (sum, carried) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
    return carried ? (seconds < 0 ? .min : .max) : sum
  }
}
