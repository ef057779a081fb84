import Core
import HTTP
import Pipeline

/// What reading and evaluating access rules promises, whatever they say.
enum RuleTargets {
  /// No rule and a fault inside the text, or one whose jumps and whose explanation come to the same end.
  @Sendable
  static func rule(_ bytes: RawSpan) {
    let text = String(decoding: bytes.array, as: UTF8.self)
    let rule: AccessRule
    do throws(RuleFault) {
      rule = try AccessRule(text)
    } catch {
      precondition(error.column >= 1 && error.column <= text.unicodeScalars.count + 1, "a fault lies outside the rule")
      precondition(!error.message.isEmpty && !error.fix.isEmpty)
      return
    }
    let (path, host, method) = (Array("/a/%62".utf8), Array("a.example.com.".utf8), Array("GET".utf8))
    var facts = RuleFacts(
      method: .get, methodText: RawSpan(method), path: RawSpan(path), host: RawSpan(host), route: RawSpan(host),
      address: IPAddress(v4: 0x0a00_0001), time: WallTime(microseconds: 1_790_000_000_000_000))
    check(rule, facts)
    facts.setConsumer(Consumer(id: "shop", tenant: "acme", groups: ["gold", "staff"]))
    check(rule, facts)
  }

  private static func check(_ rule: AccessRule, _ facts: borrowing RuleFacts) {
    let explanation = rule.explain(facts)
    precondition(explanation.holds == rule.holds(facts), "a rule and its explanation differ")
    precondition(explanation.terms.contains { $0.isDecisive }, "nothing decides")
    precondition(!explanation.reason.isEmpty && !explanation.reason.utf8.contains { $0 < 32 })
    for term in explanation.terms { precondition(term.found?.utf8.count ?? 0 <= RuleExplanation.foundBytes) }
    _ = rule.blame(facts)
  }
}
