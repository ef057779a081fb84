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
public enum Verdict: Sendable, BitwiseCopyable {
  /// Nothing stands against it.
  case next
  /// The client is refused, with a problem document.
  case refuse(Refusal)
  /// The gateway answers by itself: ``Exchange/reply`` holds the answer.
  case reply
  /// The exchange is parked until its ``Exchange/ticket`` is called, or its deadline passes.
  case wait
  /// The request's body is read, at most ``Exchange/gatherLimit`` bytes; the policy goes on with ``Exchange/gatheredBody``. A
  /// longer one is refused.
  case gather
}

/// Why a client is refused. A few bytes, and a ``Verdict`` no more, so that policies answer in a register.
public struct Refusal: Sendable, BitwiseCopyable {
  /// Which entry of the catalogue.
  public let entry: ProblemCatalogue.Entry
  /// Seconds after which a repetition makes sense, sent as `Retry-After`; −1 for none.
  public let retryAfterSeconds: Int32

  /// The refusal for `problem`, which must be one of the catalogue.
  public init(_ problem: Problem, retryAfterSeconds: Int32 = -1) {
    guard let entry = problem.entry else { preconditionFailure("clients are refused by what is in the catalogue") }
    self.entry = entry
    self.retryAfterSeconds = retryAfterSeconds
  }

  /// The entry of the catalogue.
  public var problem: Problem { entry.problem }
  /// The HTTP status.
  public var status: UInt16 { problem.status }
  /// The stable code.
  public var code: StaticString { problem.code }
}
