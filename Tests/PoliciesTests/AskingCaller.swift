import Core
import Crypto
import HTTP
import Pipeline
import Policies

/// A caller whose request may be parked, and goes on as the flow has it go on: with a head that is read again.
final class AskingCaller {
  let ticket: UInt64
  private(set) var exchange = Exchange()
  private let bench: Bench
  private var dropped: [Int] = []

  init(_ bench: Bench, ticket: UInt64 = 1, from client: String = "192.0.2.1", certificate: TLSPeer? = nil) {
    (self.bench, self.ticket) = (bench, ticket)
    exchange.ticket = ticket
    exchange.client = IPAddress(client) ?? IPAddress(v4: 0)
    exchange.decision = DecisionID(high: 0, low: 0xabc)
    exchange.certificate = certificate
    exchange.route = 0
  }

  /// Sends its request as far as it goes.
  func send(_ text: String) -> Outcome { outcome(bench.begin(text, &exchange)) }

  /// Goes on behind what it has waited for.
  func resume() -> Outcome {
    guard case .complete = bench.request.parse(exchange.head, limits: HeadLimits()) else {
      return Outcome(verdict: "malformed")
    }
    for index in dropped { bench.request.drop(index) }
    return outcome(bench.chain.resume(&exchange, bench.request, bench.services))
  }

  private func outcome(_ verdict: Verdict) -> Outcome {
    var outcome = Outcome()
    switch verdict {
    case .next: outcome.verdict = "next"
    case .wait: outcome.verdict = "wait"
    case .gather: outcome.verdict = "gather"
    case .reply: outcome.verdict = "\(exchange.replyStatus)"
    case .refuse(let refusal):
      outcome.verdict = "\(refusal.status)"
      outcome.code = "\(refusal.code)"
      outcome.retryAfter = refusal.retryAfterSeconds
    }
    outcome.requestFields = exchange.requestFieldsIfAny?.text ?? ""
    outcome.responseFields = exchange.responseFieldsIfAny?.text ?? ""
    outcome.body = exchange.replyBodyIfAny?.text ?? ""
    outcome.consumer = exchange.consumer
    let request = bench.request
    dropped = (0..<request.fieldCount).filter { request.field($0).isDropped }
    for index in 0..<request.fieldCount where !dropped.contains(index) {
      outcome.passed.append(String(decoding: request.name(of: index).array, as: UTF8.self).lowercased())
    }
    return outcome
  }
}

extension Bench {
  /// Answers the oldest fetch; returns what becomes of those who have waited for it, in their order.
  func answer(_ answer: FetchOutcome, to callers: AskingCaller...) -> [Outcome] { self.answer(answer, to: callers) }

  /// The same for a list of callers.
  func answer(_ answer: FetchOutcome, to callers: [AskingCaller]) -> [Outcome] {
    guard !fetches.orders.isEmpty else { return [] }
    desk.take(answer, of: fetches.orders.removeFirst().number)
    var outcomes: [Outcome] = []
    while let ticket = desk.nextCalled() {
      if let caller = callers.first(where: { $0.ticket == ticket }) { outcomes.append(caller.resume()) }
    }
    return outcomes
  }

  /// A request, and the answer to what is asked about it; what was not asked comes out at once.
  func ask(
    _ text: String, _ answer: FetchOutcome, from client: String = "192.0.2.1", certificate: TLSPeer? = nil
  ) -> Outcome {
    let caller = AskingCaller(self, from: client, certificate: certificate)
    let outcome = caller.send(text)
    return outcome.verdict == "wait" ? self.answer(answer, to: caller).first ?? outcome : outcome
  }
}

/// An answer of JSON.
func json(_ text: String, status: UInt16 = 200) -> FetchOutcome {
  .answered(status: status, fields: [FetchField("content-type", "application/json")], body: Array(text.utf8))
}
