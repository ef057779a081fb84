import Gateway
import Pipeline

extension Verb {
  /// `sluice policies`.
  static let policies = Verb(
    "policies", "[OPTIONS] [NAME]", summary: "list the policies, or explain one and its options",
    options: [
      Option("--json", nil, "print JSON"),
      Option("--markdown", nil, "print all policies and their options as tables"),
    ],
    examples: ["sluice policies", "sluice policies rate-limit"]
  ) { arguments throws(UsageError) in
    guard arguments.operands.count <= 1 else {
      throw UsageError("policies takes one name at most; leave the others out")
    }
    if arguments.has("--markdown") {
      Console.output(PolicyReference.markdown())
      return .done
    }
    let name = arguments.operands.first
    let text: String?
    if arguments.has("--json") {
      text = PolicyReference.json(of: name)
    } else if let name {
      text = PolicyReference.text(of: name)
    } else {
      text = PolicyReference.list()
    }
    guard let text else {
      let names = PolicyReference.names
      let fix = Suggestion.fix(name ?? "", among: names, otherwise: "there are \(names.joined(separator: ", "))")
      Console.error("sluice policies: there is no policy \"\(name ?? "")\"; \(fix)\n")
      return .failed
    }
    Console.output(text)
    return .done
  }
}
