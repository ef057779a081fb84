import Core
import Pipeline

/// Windows of one length, counted from 1970; each begins with the full limit.
struct FixedWindow: Sendable {
  /// Units a window.
  let limit: Int64
  /// Microseconds a window, at least 1.
  let length: Int64

  /// The window that `civil` lies in, and the counter's rules in it.
  func counter(at civil: Int64) -> PeriodCounter {
    let offset = civil % length
    let start = civil &- (offset < 0 ? offset &+ length : offset)
    return PeriodCounter(limit: limit, start: start, end: start &+ length)
  }
}

/// A limit within one stretch of civil time, a window or a calendar period.
///
/// The latest period that a counter has seen is the current one: a caller whose clock is a little behind the boundary
/// draws on the new period, so neither period ever exceeds its limit.
struct PeriodCounter: Sendable {
  /// Units in the period.
  let limit: Int64
  /// Microseconds since 1970 of its first moment.
  let start: Int64
  /// Microseconds since 1970 of the first moment after it.
  let end: Int64

  /// What has been used since when.
  struct State: Equatable, Sendable, BitwiseCopyable {
    var start: Int64 = .min
    var used: Int64 = 0
  }

  /// Units that can be had. A limit that was lowered below what is used leaves none.
  func room(_ state: State) -> Int64 { state.start < start ? limit : max(0, limit &- state.used) }

  /// Takes `cost` units, for which there must be room.
  func take(_ cost: Int64, from state: inout State) {
    if state.start < start { state = State(start: start) }
    state.used &+= cost
  }

  /// Nanoseconds from `civil` until `cost` units can be had; `Int64.max` if never.
  func wait(for cost: Int64, civil: Int64) -> Int64 { cost > limit ? .max : restoration(civil: civil) }

  /// Nanoseconds from `civil` until the next period.
  func restoration(civil: Int64) -> Int64 { max(0, end &- civil).multipliedOrClamped(by: 1000) }
}

extension Int64 {
  /// The product, or `Int64.max` where it is larger. For numbers that are not negative.
  func multipliedOrClamped(by factor: Int64) -> Int64 {
    let (product, overflow) = multipliedReportingOverflow(by: factor)
    return overflow ? .max : product
  }
}
