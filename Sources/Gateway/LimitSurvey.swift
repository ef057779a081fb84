import Core
import Net
import Pipeline
import Synchronization

/// Finds out which consumers have already used more of a limit than it will allow: as many as can be asked about while
/// somebody waits.
struct LimitSurvey: Sendable {
  /// How long the whole may take, in nanoseconds.
  private static let patience: Int64 = 2_000_000_000
  /// Questions that are open at the same time; a loop takes 64.
  private static let width = 32
  /// The most consumers that one plan names.
  private static let mostNamed = 100

  private let node: Node
  private let plan: ConfigurationPlan
  private let consumers: [String]
  private let deadline: Instant

  /// `consumers` are those of the configuration, and those that exists through keys of the cluster alone.
  init(_ node: Node, _ plan: ConfigurationPlan, consumers: [String]) {
    self.node = node
    self.plan = plan
    self.consumers = plan.lowered.isEmpty ? [] : consumers
    deadline = Clock.monotonic().advanced(byNanoseconds: Self.patience)
  }

  /// Asks for all consumers, or until the time is over; `then` gets the plan with what was found, on any thread.
  func run(then: @escaping @Sendable (ConfigurationPlan) -> Void) {
    guard !consumers.isEmpty else { return then(plan) }
    let round = Round(self, then)
    for _ in 0..<min(Self.width, consumers.count) { round.goOn() }
  }

  /// What has been asked and answered. Loops answer on threads of their own, so there is a lock; nothing is called under it.
  private final class Round: Sendable {
    private struct State {
      var plan: ConfigurationPlan
      var asked = 0
      var open = 0
      var looked = 0
      var found = 0
    }

    private let survey: LimitSurvey
    private let then: @Sendable (ConfigurationPlan) -> Void
    private let state: Mutex<State>

    init(_ survey: LimitSurvey, _ then: @escaping @Sendable (ConfigurationPlan) -> Void) {
      (self.survey, self.then) = (survey, then)
      state = Mutex(State(plan: survey.plan))
    }

    /// Asks for the next consumer; ends the round where that was the last answer.
    func goOn() {
      let isOver = Clock.monotonic() >= survey.deadline
      let (next, result) = state.withLock { state -> (String?, ConfigurationPlan?) in
        if !isOver, state.asked < survey.consumers.count {
          (state.asked, state.open) = (state.asked + 1, state.open + 1)
          return (survey.consumers[state.asked - 1], nil)
        }
        guard state.open == 0 else { return (nil, nil) }
        // Others who find nothing open must not end it again.
        state.open = -1
        state.plan.survey = ConfigurationPlan.Survey(
          consumers: state.looked, of: survey.consumers.count, over: state.found)
        return (nil, state.plan)
      }
      if let result { then(result) }
      guard let next else { return }
      survey.node.inquire(
        Inquiry(.usage(consumer: next, address: nil)) { [self] answer in
          note(answer, of: next)
          goOn()
        })
    }

    private func note(_ answer: Inquiry.Answer, of consumer: String) {
      let uses: [(limit: LoweredLimit, used: Int64)]?
      switch answer {
      case .document(let bytes): uses = LimitSurvey.uses(bytes, beyond: survey.plan.lowered)
      // Nobody has used anything whom the present configuration does not know.
      case .unknown: uses = []
      case .consumerNeeded, .busy: uses = nil
      }
      state.withLock { state in
        state.open -= 1
        guard let uses else { return }
        state.looked += 1
        guard !uses.isEmpty else { return }
        state.found += 1
        guard state.found <= LimitSurvey.mostNamed else { return }
        for use in uses { state.plan.note(consumer, uses: use.used, of: use.limit) }
      }
    }
  }

  private static func uses(_ bytes: [UInt8], beyond lowered: [LoweredLimit]) -> [(limit: LoweredLimit, used: Int64)] {
    let found = JSONDocument.parse(bytes, dialect: .strict).document?.root["limits"]?.elements ?? []
    return lowered.flatMap { lowered in
      found.compactMap { limit in
        guard limit["policy"]?.string == lowered.policy, limit["name"]?.string == lowered.name,
          let used = limit["used"]?.integer, used > lowered.limit
        else { return nil }
        return (lowered, used)
      }
    }
  }
}
