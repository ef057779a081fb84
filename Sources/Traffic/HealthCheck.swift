import Core

/// The active checks of one endpoint: says when to ask, and what the answers mean. The owner does the asking.
///
/// A new endpoint is taken for good until its first answer, which decides at once; from then on it takes as many
/// answers in a row as the thresholds say.
public struct HealthCheck: Sendable {
  /// What to do now.
  public enum Action: Equatable, Sendable {
    /// Nothing until then.
    case wait(until: Instant)
    /// Ask; give up at the deadline (``advance(now:random:)`` will say so).
    case probe(deadline: Instant)
    /// Give the question up: the deadline has passed. It has been counted as a bad answer.
    case abandon
  }

  private let intervalNanoseconds: Int64
  private let jitterPercent: Int64
  private let timeoutNanoseconds: Int64
  private let healthyThreshold: Int
  private let unhealthyThreshold: Int
  private let statuses: ClosedRange<Int>
  private let state: EndpointState
  private var next: Instant
  private var deadline: Instant?
  /// Answers in a row that speak against the present health.
  private var contrary = 0

  /// Checks of `state`; the first comes within one interval, at a random moment.
  public init(_ spec: HealthSpec, _ state: EndpointState, now: Instant, random: UInt64) {
    intervalNanoseconds = max(1_000_000, spec.interval.wholeNanoseconds)
    jitterPercent = Int64(min(100, max(0, spec.jitterPercent)))
    timeoutNanoseconds = max(1_000_000, spec.timeout.wholeNanoseconds)
    healthyThreshold = max(1, spec.healthyThreshold)
    unhealthyThreshold = max(1, spec.unhealthyThreshold)
    statuses = spec.statuses
    self.state = state
    next = now.advanced(byNanoseconds: scaled(random, below: intervalNanoseconds))
  }

  /// The endpoint that is checked.
  public var endpoint: EndpointState { state }

  /// Says what to do at `now`. Call again at the moment it names, and after every answer.
  public mutating func advance(now: Instant, random: UInt64) -> Action {
    if let deadline {
      if now < deadline { return .wait(until: deadline) }
      record(isGood: false, now: now)
      return .abandon
    }
    guard next <= now else { return .wait(until: next) }
    let jitter = intervalNanoseconds / 100 * jitterPercent
    let delay = intervalNanoseconds &- jitter / 2 &+ scaled(random, below: max(1, jitter))
    next = now.advanced(byNanoseconds: max(1, delay))
    let limit = now.advanced(byNanoseconds: timeoutNanoseconds)
    deadline = limit
    return .probe(deadline: limit)
  }

  /// An answer with this status has come. Ignored if the question had been given up.
  public mutating func answered(status: Int, now: Instant) { answered(isGood: statuses.contains(status), now: now) }

  /// An answer has come that says how the endpoint is. Ignored if the question had been given up.
  public mutating func answered(isGood: Bool, now: Instant) {
    guard deadline != nil else { return }
    record(isGood: isGood, now: now)
  }

  /// No answer will come: no connection, a reset, or not HTTP. Ignored if the question had been given up.
  public mutating func failed(now: Instant) {
    guard deadline != nil else { return }
    record(isGood: false, now: now)
  }

  private mutating func record(isGood: Bool, now: Instant) {
    deadline = nil
    let present = state.health
    if present == .unknown {
      contrary = 0
      return state.setHealth(isGood ? .healthy : .unhealthy, now: now)
    }
    guard isGood != (present == .healthy) else {
      contrary = 0
      return
    }
    contrary += 1
    guard contrary >= (isGood ? healthyThreshold : unhealthyThreshold) else { return }
    contrary = 0
    state.setHealth(isGood ? .healthy : .unhealthy, now: now)
  }
}

/// A number below `bound` drawn by 64 random bits.
@inline(__always)
func scaled(_ random: UInt64, below bound: Int64) -> Int64 {
  Int64(truncatingIfNeeded: random.multipliedFullWidth(by: UInt64(bound)).high)
}
