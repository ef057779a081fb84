import Pipeline

/// A window that slides in steps: ten sub-counters that together reach back at least the whole length.
///
/// Each sub-counter stands for a ninth of the length. The running one and the nine before it cover every moment of the
/// last `length` microseconds, and the oldest is counted whole although only a part of it still lies within. So the limit
/// holds for *any* span of that length, adversarial ones included; the price is that what was used comes back up to a
/// ninth of the length late. The usual interpolation between two windows is cheaper and can admit twice the limit.
struct SlidingWindow: Sendable {
  /// Units in any span of the length, at most 2³² − 1.
  let limit: Int64
  /// Microseconds, at least 9.
  let length: Int64

  /// Sub-counters a window.
  static let steps = 10

  /// What was used in which step.
  struct State: Sendable, BitwiseCopyable {
    /// The number of the step that was written last.
    var newest: Int64 = .min
    /// The units of step n at n modulo ten.
    var used = InlineArray<10, UInt32>(repeating: 0)
  }

  /// Microseconds of a step: rounded up, so that nine of them are never shorter than the window.
  private var step: Int64 { (length &+ 8) / 9 }

  /// The number of the running step: never before the newest one that was written.
  private func running(_ state: State, _ civil: Int64) -> Int64 {
    let number = civil >= 0 ? civil / step : (civil &+ 1) / step &- 1
    return max(number, state.newest)
  }

  /// Units that can be had at `civil`.
  func room(_ state: State, civil: Int64) -> Int64 { max(0, limit &- total(state, running(state, civil))) }

  /// Takes `cost` units, for which there must be room.
  func take(_ cost: Int64, from state: inout State, civil: Int64) {
    let running = running(state, civil)
    if state.newest < running &- Int64(Self.steps) {
      state = State()
    } else {
      var number = state.newest
      while number < running {
        number &+= 1
        state.used[Self.place(number)] = 0
      }
    }
    state.newest = running
    // The sum of all steps stays within the limit, and that within 32 bits.
    state.used[Self.place(running)] += UInt32(cost)
  }

  /// Nanoseconds from `civil` until `cost` units can be had; `Int64.max` if never.
  func wait(for cost: Int64, _ state: State, civil: Int64) -> Int64 {
    if cost > limit { return .max }
    let running = running(state, civil)
    var room = limit &- total(state, running)
    var oldest = running &- 9
    while room < cost && oldest <= state.newest {
      room &+= units(state, oldest)
      oldest &+= 1
    }
    // Step n has left the window when step n + 10 begins.
    return max(0, (oldest &+ 9) &* step &- civil).multipliedOrClamped(by: 1000)
  }

  /// Nanoseconds from `civil` until all units can be had.
  func restoration(_ state: State, civil: Int64) -> Int64 {
    state.newest == .min ? 0 : max(0, end(state) &- civil).multipliedOrClamped(by: 1000)
  }

  /// The moment from which on nothing of `state` matters, in microseconds since 1970.
  func end(_ state: State) -> Int64 { (state.newest &+ 10) &* step }

  private func total(_ state: State, _ running: Int64) -> Int64 {
    var sum: Int64 = 0
    if state.newest < running &- 9 { return 0 }
    var number = running &- 9
    while number <= state.newest {
      sum &+= units(state, number)
      number &+= 1
    }
    return sum
  }

  private func units(_ state: State, _ number: Int64) -> Int64 {
    number > state.newest || number < state.newest &- 9 ? 0 : Int64(state.used[Self.place(number)])
  }

  private static func place(_ number: Int64) -> Int {
    let remainder = Int(truncatingIfNeeded: number % 10)
    return remainder < 0 ? remainder &+ 10 : remainder
  }
}
