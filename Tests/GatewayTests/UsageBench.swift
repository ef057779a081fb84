import Cluster
import Core
import Crypto
import Pipeline

@testable import Gateway

/// A quota that lets every look at its counters wait until it is told to answer, as a shared one does.
final class ScriptedQuota: Quota {
  let subjectKey = SipKey(low: 1, high: 2)
  /// Whether the next looks wait.
  var waits = true
  /// What the next answer is instead of the counters' own.
  var decision: LimitDecision?
  /// Who is said to have answered.
  var source = LimitSource.exact
  /// Tickets of those who wait, in their order.
  private(set) var tickets: [UInt64] = []
  private(set) var peekCount = 0
  private let embedded: EmbeddedQuota
  private var answers: [UInt64: LimitQuestion] = [:]

  init() { embedded = EmbeddedQuota(store: CounterStore(capacity: 1024), subjectKey: subjectKey) }

  func civilTime(now: Instant, wall: WallTime) -> WallTime { embedded.civilTime(now: now, wall: wall) }

  func decide(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {
    embedded.decide(&question, ticket: ticket, now: now, civil: civil)
  }

  func peek(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {
    peekCount += 1
    var answer = question
    embedded.peek(&answer, ticket: ticket, now: now, civil: civil)
    answer.source = source
    if let decision { answer.decision = decision }
    decision = nil
    guard waits else { return question = answer }
    question.decision = .waiting
    answers[ticket] = answer
    tickets.append(ticket)
  }

  func collect(_ question: inout LimitQuestion, ticket: UInt64) {
    if let answer = answers.removeValue(forKey: ticket) { question = answer }
  }

  func release(_ question: inout LimitQuestion, now: Instant) { embedded.release(&question, now: now) }

  /// The first who waits.
  func next() -> UInt64? { tickets.isEmpty ? nil : tickets.removeFirst() }
}

extension FlowSetup {
  /// Two consumers of one tenant, keys `one-a`, `one-b` and `two-a`, and routes under a few limits.
  static var usage: FlowSetup {
    func key(_ id: String, _ text: String) -> String {
      let bytes = Array(text.utf8)
      return "{ id: \"\(id)\", sha256: \"\(SHA256().digest(of: RawSpan(bytes)).hexadecimal)\" }"
    }
    var setup = FlowSetup()
    setup.sections = """
      tenants: ["acme"],
      consumers: [
        { id: "one", tenant: "acme", groups: ["gold"], keys: [\(key("a", "one-a")), \(key("b", "one-b"))] },
        { id: "two", tenant: "acme", keys: [\(key("a", "two-a"))] },
      ],
      policies: {
        key: { type: "api-key" }, gold: { type: "api-key", header: "X-Gold", groups: ["gold"] },
        fair: { type: "rate-limit", limits: [
          { per: "consumer", rate: "1/s", burst: 10 }, { per: "tenant", quota: "100/day" } ] },
        each: { type: "rate-limit", limits: [{ per: "key", window: "5/1m" }] },
      },
      """
    setup.routes = """
      { id: "a", match: { path: "/a" }, policies: ["key", "fair"], upstream: "main" },
      { id: "b", match: { path: "/b" }, policies: ["key", "fair", "each"], upstream: "main" },
      { id: "gold", match: { path: "/gold" }, upstream: "main",
        policies: ["gold", { type: "rate-limit", limits: [{ per: "consumer", concurrency: 2 }] }] },
      { id: "open", match: { path: "/open" }, upstream: "main",
        policies: [{ type: "rate-limit", limits: [{ per: "ip", window: "7/1m", algorithm: "sliding" }] }] },
      """
    return setup
  }
}

extension WireMessage {
  /// The body as JSON.
  var json: JSONValue? { JSONDocument.parse(body, dialect: .strict).document?.root }
}

extension JSONValue {
  var isNull: Bool { kind == .null }
}
