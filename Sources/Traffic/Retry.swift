import Core
import Synchronization

/// When a request is tried again, and how often.
public struct RetrySpec: Hashable, Sendable {
  /// Tries after the first one, ``attemptRange``.
  public var attempts = 1
  /// What is worth another try.
  public var conditions = RetryConditions.default
  /// Retries that may run at once, in percent of the requests that run.
  public var budgetPercent = 20
  /// Retries that may run at once however few requests run.
  public var budgetMinimum = 3

  /// How many retries a request may have; ``TriedEndpoints`` has room for them.
  public static let attemptRange = 0...5

  /// The default: one retry where it is safe.
  public init() {}

  /// No retries at all.
  public static var none: RetrySpec {
    var spec = RetrySpec()
    spec.attempts = 0
    return spec
  }
}

/// Kinds of failure that are worth another try: `connect-failure`, `reset`, `timeout`, and statuses 500 to 599.
public struct RetryConditions: Hashable, Sendable {
  /// No connection could be opened, or it broke before anything was sent.
  public var connectFailure = false
  /// The connection broke after something was sent and before a response began.
  public var reset = false
  /// No response began in time.
  public var timeout = false
  private var statusBits: UInt128 = 0

  /// No conditions.
  public init() {}

  /// `connect-failure` and `reset`.
  public static let `default`: RetryConditions = {
    var conditions = RetryConditions()
    conditions.connectFailure = true
    conditions.reset = true
    return conditions
  }()

  /// Adds the condition with that name in the file; false if there is none of that name.
  public mutating func insert(named name: String) -> Bool {
    switch name {
    case "connect-failure": connectFailure = true
    case "reset": reset = true
    case "timeout": timeout = true
    case "5xx": for status in 500...599 { insert(status: status) }
    default:
      guard let status = Int(name), (500...599).contains(status) else { return false }
      insert(status: status)
    }
    return true
  }

  /// The names that ``insert(named:)`` takes, for messages.
  public static let names = ["connect-failure", "reset", "timeout", "5xx", "500", "502", "503", "504"]

  private mutating func insert(status: Int) { statusBits |= 1 << UInt128(status - 500) }

  /// Whether a response with this status is worth another try.
  public func contains(status: Int) -> Bool {
    (500...599).contains(status) && statusBits >> UInt128(status - 500) & 1 == 1
  }

}

/// How a try failed.
public enum AttemptFailure: Equatable, Sendable {
  /// No connection stood, or it broke before a byte of the request was sent.
  case connectFailure
  /// It broke before a response began.
  case reset
  /// No response began in time.
  case timeout
  /// A response with this status began.
  case status(Int)
}

/// Whether a failed try may be followed by another.
public enum RetryPolicy {
  /// Whether trying again is asked for and safe.
  ///
  /// Safe means: nothing of the request was sent, or its method is idempotent (RFC 9110 section 9.2.2); and the whole
  /// request can be sent again, `canReplay`: it has no body, or what was read of the body is still held. A status is
  /// proof that the request arrived, so only idempotent requests are tried again for one.
  ///
  /// - Parameters:
  ///   - retried: how many retries the request already had.
  ///   - sentBytes: whether any byte of the request may have left in this try.
  public static func allows(
    _ spec: RetrySpec, after failure: AttemptFailure, retried: Int, isIdempotent: Bool, sentBytes: Bool, canReplay: Bool
  ) -> Bool {
    guard retried < spec.attempts, canReplay, isIdempotent || !sentBytes else { return false }
    switch failure {
    case .connectFailure: return spec.conditions.connectFailure
    case .reset: return sentBytes ? spec.conditions.reset : spec.conditions.reset || spec.conditions.connectFailure
    case .timeout: return spec.conditions.timeout
    case .status(let status): return isIdempotent && spec.conditions.contains(status: status)
    }
  }
}

/// Keeps retries from multiplying the load on an upstream that is failing: on each node at most a percentage of the
/// requests that run may be retries.
public enum RetryBudget {
  /// Takes a place for a retry, or refuses. A place must be given back by ``release(_:)`` when the retry has ended.
  public static func acquire(_ spec: RetrySpec, _ state: UpstreamState) -> Bool {
    let running = Int(state.requestCount.load(ordering: .relaxed))
    let allowed = max(spec.budgetMinimum, running * spec.budgetPercent / 100)
    let (before, _) = state.retryCount.add(1, ordering: .relaxed)
    if Int(before) >= allowed {
      state.retryCount.wrappingSubtract(1, ordering: .relaxed)
      state.refusedRetryTotal.wrappingAdd(1, ordering: .relaxed)
      return false
    }
    state.retryTotal.wrappingAdd(1, ordering: .relaxed)
    return true
  }

  /// Gives a place back.
  public static func release(_ state: UpstreamState) { state.retryCount.wrappingSubtract(1, ordering: .relaxed) }
}

/// The endpoints that a request has already been sent to, by their ids; plain data.
public struct TriedEndpoints: BitwiseCopyable, Sendable {
  @usableFromInline var ids: InlineArray<6, Int32>
  /// How many there are.
  public var count: Int32 { inserted }
  @usableFromInline var inserted: Int32

  /// None yet.
  @inlinable
  @inline(__always)
  public init() {
    ids = InlineArray(repeating: -1)
    inserted = 0
  }

  /// Adds an endpoint; beyond six the oldest is forgotten.
  public mutating func insert(_ id: Int32) {
    ids[Int(count) % ids.count] = id
    inserted &+= 1
  }

  /// Whether the endpoint was tried.
  @inline(__always)
  public func contains(_ id: Int32) -> Bool { count != 0 && holds(id) }

  private func holds(_ id: Int32) -> Bool {
    for index in 0..<min(Int(count), ids.count) where ids[index] == id { return true }
    return false
  }
}
