/// When a policy runs. Policies run in this order, whatever order a file names them in.
public enum Phase: UInt8, CaseIterable, Sendable {
  /// Who may knock at all: addresses, origins.
  case screen
  /// Who it is.
  case identify
  /// Whether they may, and how often.
  case admit
  /// What is sent on.
  case shape
  /// What is kept of it.
  case record
}

/// What a policy decided about a request.
public enum Verdict: Sendable {
  /// Nothing stands against it.
  case next
  /// The client is refused, with a problem document.
  case refuse(Refusal)
  /// The gateway answers by itself: ``Exchange/reply`` holds the answer.
  case reply
  /// The exchange is parked until its ``Exchange/ticket`` is called, or its deadline passes.
  case wait
}

/// Why a client is refused.
public struct Refusal: Sendable {
  /// The entry of the catalogue.
  public let problem: Problem
  /// Seconds after which a repetition makes sense, sent as `Retry-After`; −1 for none.
  public let retryAfterSeconds: Int32

  /// The refusal for `problem`.
  @inlinable
  public init(_ problem: Problem, retryAfterSeconds: Int32 = -1) {
    self.problem = problem
    self.retryAfterSeconds = retryAfterSeconds
  }

  /// The HTTP status.
  @inlinable
  public var status: UInt16 { problem.status }
  /// The stable code.
  @inlinable
  public var code: StaticString { problem.code }
}
