import Core
import Pipeline
import Synchronization

/// Finds out which consumers have already used more of a limit than it will allow.
struct LimitSurvey: Sendable {
  /// The most consumers who are looked at: what a node can find out while somebody waits.
  private static let most = 200

  private let node: Node
  private let plan: ConfigurationPlan
  private let consumers: [String]

  init(_ node: Node, _ plan: ConfigurationPlan, consumers: [String]) {
    self.node = node
    self.plan = plan
    self.consumers = plan.lowered.isEmpty ? [] : Array(consumers.prefix(Self.most))
  }

  /// Asks for one consumer after the other; `then` gets the plan with what was found, on any thread.
  func run(then: @escaping @Sendable (ConfigurationPlan) -> Void) { proceed(from: 0, plan, then) }

  private func proceed(
    from index: Int, _ plan: ConfigurationPlan, _ then: @escaping @Sendable (ConfigurationPlan) -> Void
  ) {
    guard index < consumers.count else { return then(plan) }
    let consumer = consumers[index]
    node.inquire(
      Inquiry(.usage(consumer: consumer, address: nil)) { answer in
        var plan = plan
        if case .document(let bytes) = answer { Self.note(bytes, of: consumer, in: &plan) }
        proceed(from: index + 1, plan, then)
      })
  }

  private static func note(_ bytes: [UInt8], of consumer: String, in plan: inout ConfigurationPlan) {
    let found = JSONDocument.parse(bytes, dialect: .strict).document?.root["limits"]?.elements ?? []
    for lowered in plan.lowered {
      for limit in found where limit["policy"]?.string == lowered.policy && limit["name"]?.string == lowered.name {
        if let used = limit["used"]?.integer, used > lowered.limit { plan.note(consumer, uses: used, of: lowered) }
      }
    }
  }
}
