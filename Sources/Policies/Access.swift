import Core
import HTTP
import Pipeline

/// Lets pass who may call, by rules in a small language: see ``AccessRule``.
///
/// Rules are asked in order, and the first that holds decides; where none does, `otherwise` does. Refuses with 403
/// `access-denied`, or 401 `authentication-required` where nobody is identified and the outcome hung on that. A token whose
/// scopes do not suffice is told which ones would (RFC 6750 section 3.1); nobody is told anything else of a rule. Needs
/// nothing but memory, so there is no failure mode.
public final class Access: Policy, RequestHook {
  /// The name in the configuration.
  public static let name = "access"
  /// Behind whatever says who it is.
  public static let phase = Phase.admit
  /// What it does.
  public static let summary = "Lets pass who may call, by rules about caller, request and time."

  /// The most rules.
  static let ruleLimit = 64
  /// The most bytes of scopes that a client is told.
  static let scopeBytes = 512

  /// A rule, and what it decides where it holds.
  struct Step: Sendable {
    let name: String
    let rule: AccessRule
    let isAllowed: Bool
  }

  private enum Otherwise: String, CaseIterable { case deny, allow }

  let steps: [Step]
  private let allowsOthers: Bool

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    let zone = Self.zone(&options)
    var steps: [Step] = []
    if let rule = options.rule("allow", "The rule by which callers pass, in place of `rules`.", zone: zone) {
      steps.append(Step(name: "allow", rule: rule, isAllowed: true))
    }
    let hasShortForm = options.has("allow")
    steps += options.objects(
      "rules", shorthand: "allow", "Rules in order, each with either allow or deny; the first that holds decides."
    ) { reader in
      let name = reader.optionalString("name", "What explanations call it.")
      let allow = reader.rule("allow", "The rule by which callers pass.", zone: zone)
      let deny = reader.rule("deny", "The rule by which callers are refused.", zone: zone)
      if reader.has("allow") == reader.has("deny") && !reader.isDescribing {
        reader.fail("a rule either allows or denies", at: "deny", fix: "give allow or deny")
        return nil
      }
      guard let rule = allow ?? deny else { return nil }
      return Step(name: name ?? "rules[\(reader.position)]", rule: rule, isAllowed: allow != nil)
    }
    let otherwise = options.choice(
      "otherwise", default: Otherwise.deny, "What becomes of a request for which no rule holds.")
    if !options.isDescribing {
      if options.has("rules") == hasShortForm {
        options.fail("there is not one set of rules", at: "rules", fix: "give either allow or rules")
      } else if steps.count > Self.ruleLimit {
        options.fail("these are too many rules", at: "rules", fix: "give at most \(Self.ruleLimit)")
      }
    }
    self.steps = steps
    allowsOthers = otherwise == .allow
  }

  /// Reads in which time zone rules are meant; UTC after an error.
  static func zone(_ options: inout OptionReader) -> TimeZoneTable {
    let name = options.string("timezone", default: "UTC", "The IANA time zone of `time` and `weekday`.")
    do throws(TimeZoneFiles.Fault) {
      return try TimeZoneFiles.table(named: name)
    } catch {
      options.fail(
        "there is no table of a time zone \"\(name)\"", at: "timezone",
        fix: "write an IANA name like \"Europe/Berlin\", and have tzdata installed")
      return .utc
    }
  }

  /// Asks the rules.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    let route = services.routes[exchange.route]
    let facts = RuleFacts(exchange, request, route: RawSpan(route), services)
    for step in steps where step.rule.holds(facts) {
      return step.isAllowed ? .next : refuse(facts, by: step, &exchange)
    }
    return allowsOthers ? .next : refuse(facts, by: nil, &exchange)
  }

  /// Refuses, and says what would help; `step` is the rule that has held, nil where none has.
  @inline(never)
  private func refuse(_ facts: borrowing RuleFacts, by step: Step?, _ exchange: inout Exchange) -> Verdict {
    let (problem, scopes) = problem(facts, by: step)
    guard problem.entry == .accessDenied else {
      // RFC 9110 section 15.5.2: a challenge goes with every 401. Who has looked for credentials has said which.
      exchange.responseFields.append(
        exchange.challenges.isEmpty ? Array("WWW-Authenticate: Bearer realm=\"sluice\"\r\n".utf8) : exchange.challenges)
      return .refuse(Refusal(problem))
    }
    if facts.identity != nil, let line = Self.challenge(scopes) { exchange.responseFields.append(line) }
    return .refuse(Refusal(problem))
  }

  /// Why a request is refused, and the scopes that would help.
  private func problem(_ facts: borrowing RuleFacts, by step: Step?) -> (Problem, scopes: [String]) {
    var isAboutCaller = false
    var scopes: [String] = []
    for other in steps where step.map({ $0.rule === other.rule }) ?? other.isAllowed {
      let blame = other.rule.blame(facts)
      isAboutCaller = isAboutCaller || blame.isAboutCaller
      if scopes.isEmpty { scopes = blame.missingScopes }
    }
    let isUnknown = isAboutCaller && !facts.isAuthenticated
    return (isUnknown ? ProblemCatalogue.authenticationRequired : ProblemCatalogue.accessDenied, scopes)
  }

  /// What a token lacks (RFC 6750 section 3.1); nil where it is nothing that can be said.
  private static func challenge(_ scopes: [String]) -> [UInt8]? {
    let isSayable = scopes.allSatisfy { scope in
      scope.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
    }
    let text = scopes.joined(separator: " ")
    guard isSayable, (1...scopeBytes).contains(text.utf8.count) else { return nil }
    return Array("WWW-Authenticate: Bearer realm=\"sluice\", error=\"insufficient_scope\", scope=\"\(text)\"\r\n".utf8)
  }
}

extension Access {
  /// What the rules make of a request, for operators.
  public struct Explanation: Sendable {
    /// Whether it passes.
    public let isAllowed: Bool
    /// How it is refused; nil where it passes.
    public let problem: Problem?
    /// What the rule that decides is called; nil where none holds.
    public let decidedBy: String?
    /// Every rule's name, whether it allows, and what comes of it.
    public let rules: [(name: String, allows: Bool, explanation: RuleExplanation)]
  }

  /// Evaluates all rules and explains them. Allocates freely.
  public func explain(_ facts: borrowing RuleFacts) -> Explanation {
    var rules: [(name: String, allows: Bool, explanation: RuleExplanation)] = []
    for step in steps { rules.append((step.name, step.isAllowed, step.rule.explain(facts))) }
    let decisive = rules.firstIndex { $0.explanation.holds }
    let isAllowed = decisive.map { rules[$0].allows } ?? allowsOthers
    let problem = isAllowed ? nil : problem(facts, by: decisive.map { steps[$0] }).0
    return Explanation(
      isAllowed: isAllowed, problem: problem, decidedBy: decisive.map { rules[$0].name }, rules: rules)
  }
}
