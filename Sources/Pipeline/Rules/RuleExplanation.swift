import Core
import HTTP

/// Why a rule holds or does not: for operators, never for clients.
public struct RuleExplanation: Equatable, Sendable {
  /// One term of the rule.
  public struct Term: Equatable, Sendable {
    /// The term as it is written.
    public let text: String
    /// What was found in its place, in at most ``RuleExplanation/foundBytes`` bytes; nil where nothing was.
    public let found: String?
    /// Whether the term holds.
    public let holds: Bool
    /// Whether it is one of those that made the rule hold, or not hold.
    public let isDecisive: Bool
  }

  /// The most bytes of what was found that are shown.
  public static let foundBytes = 64
  /// The most terms that ``reason`` names.
  static let reasonLimit = 4

  /// Whether the rule holds.
  public let holds: Bool
  /// All terms, in the order of the rule, also those that need not have been looked at.
  public let terms: [Term]
  /// The decisive terms in one line without a full stop: `claim.org is "globex", the rule wants "acme"`.
  public let reason: String
}

/// What made a rule hold, or not hold.
public struct RuleBlame: Equatable, Sendable {
  /// Whether it was anything about the caller.
  public let isAboutCaller: Bool
  /// The scopes that a term needs that does not hold; of several that would each do, the first.
  public let missingScopes: [String]

  /// Blame of these parts.
  public init(isAboutCaller: Bool, missingScopes: [String]) {
    self.isAboutCaller = isAboutCaller
    self.missingScopes = missingScopes
  }
}

extension AccessRule {
  /// Evaluates all terms and says what came of each.
  public func explain(_ facts: borrowing RuleFacts) -> RuleExplanation {
    let outcomes = outcomes(facts)
    let holds = node.holds(outcomes)
    let decisive = node.decisive(outcomes)
    let excluded = node.negated(false)
    var explained: [RuleExplanation.Term] = []
    var reasons: [String] = []
    for (index, term) in terms.enumerated() {
      let bit: UInt64 = 1 << index
      let found = found(term.subject, program.instructions[index].subject, facts)
      let isDecisive = decisive & bit != 0
      let isHeld = outcomes & bit != 0
      explained.append(.init(text: source(term.range), found: found, holds: isHeld, isDecisive: isDecisive))
      if isDecisive {
        reasons.append(
          reason(term, program.instructions[index], found, isHeld: isHeld, isExcluded: excluded & bit != 0, facts))
      }
    }
    let more = reasons.count - RuleExplanation.reasonLimit
    var text = reasons.prefix(RuleExplanation.reasonLimit).joined(separator: "; ")
    if more > 0 { text += "; and \(more) more" }
    return RuleExplanation(holds: holds, terms: explained, reason: text)
  }

  /// What made the rule hold, or not hold. Costs all terms; for refusals.
  public func blame(_ facts: borrowing RuleFacts) -> RuleBlame {
    let outcomes = outcomes(facts)
    let decisive = node.decisive(outcomes)
    let excluded = node.negated(false)
    var isAboutCaller = false
    var scopes: [String] = []
    for (index, term) in terms.enumerated() where decisive >> index & 1 != 0 {
      if term.subject.fact.isAboutCaller { isAboutCaller = true }
      guard term.subject.fact == .scope, (outcomes | excluded) >> index & 1 == 0, !term.comparison.isNegative,
        case .texts(let wanted) = term.operand
      else { continue }
      // Of several that would each do, the first.
      let needed = term.comparison == .within ? wanted.prefix(1) : wanted[...]
      scopes += needed.filter { !scopes.contains($0) }
    }
    return RuleBlame(isAboutCaller: isAboutCaller, missingScopes: scopes)
  }

  private func source(_ range: Range<Int>) -> String {
    let bytes = Array(text.utf8)[range]
    // A rule may stand on several lines; an explanation stands on one.
    return String(decoding: bytes.map { $0 < 32 ? 32 : $0 }, as: UTF8.self)
  }

  private func reason(
    _ term: RuleTerm, _ instruction: RuleInstruction, _ found: String?, isHeld: Bool, isExcluded: Bool,
    _ facts: borrowing RuleFacts
  ) -> String {
    let state: String
    if term.comparison == .holds {
      state = isHeld ? "the caller is identified" : "nobody is identified"
    } else {
      state = "\(source(term.subjectRange)) is \(found ?? "absent")"
    }
    if isHeld != isExcluded { return "\(state), as the rule wants" }
    if isExcluded { return "\(state), and the rule excludes `\(source(term.range))`" }
    var wanted = Self.cut(source(term.operandRange), to: 2 * RuleExplanation.foundBytes)
    if case .reference(let reference) = term.operand {
      wanted += ", which is \(self.found(reference, instruction.other, facts) ?? "absent")"
    }
    return "\(state), the rule wants \(term.comparison.phrase(wanted))"
  }

  /// `text` in at most so many bytes, with an ellipsis where something is missing.
  static func cut(_ text: String, to limit: Int) -> String {
    guard text.utf8.count > limit else { return text }
    var count = 0
    let kept = text.unicodeScalars.prefix { scalar in
      count += String(scalar).utf8.count
      return count <= limit - 3
    }
    return String(kept) + "…"
  }

  // MARK: What is found

  private func found(
    _ subject: RuleReference, _ reference: RuleInstruction.Reference, _ facts: borrowing RuleFacts
  ) -> String? {
    let text: String?
    switch subject.fact {
    case .role: text = Self.list(facts.identity?.with { $0.roles } ?? [])
    case .group: text = Self.list((facts.identity?.with { $0.groups } ?? []) + facts.consumerGroups)
    case .scope: text = Self.list(facts.identity?.with { $0.scopes } ?? [])
    case .claim: text = withClaim(reference, facts) { $0.value(at: $1).sourceText }
    case .method: text = facts.methodText.isEmpty ? nil : Self.quoted(facts.methodText)
    case .path: text = facts.path.isEmpty ? nil : Self.quoted(facts.path)
    case .host: text = facts.host.isEmpty ? nil : Self.quoted(facts.host)
    case .address: text = facts.address.map { "\($0)" }
    case .time, .weekday: text = clock(subject.fact, facts.time)
    case .authenticated: text = "\(facts.isAuthenticated)"
    case .tenant, .consumer, .subject, .issuer, .client, .route: text = withText(reference, facts) { Self.quoted($0) }
    }
    return text.map { text in
      let plain = String(
        String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 32 || $0.value == 127 ? " " : $0 }))
      return Self.cut(plain, to: RuleExplanation.foundBytes)
    }
  }

  private func clock(_ fact: RuleFact, _ time: WallTime) -> String {
    let local = time.seconds + zone.offset(of: zone.segment(at: time.seconds))
    let day = local.floorDivided(by: 86_400)
    if fact == .weekday { return RuleDays.names[Int(day + 3 - (day + 3).floorDivided(by: 7) * 7)] }
    let minute = (local - day * 86_400) / 60
    func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(two(minute / 60)):\(two(minute % 60)) in \(zone.name)"
  }

  private static func list(_ texts: [String]) -> String? {
    texts.isEmpty ? nil : "[\(texts.prefix(listLimit).map { quoted($0) }.joined(separator: ", "))]"
  }

  private static func quoted(_ text: RawSpan) -> String { quoted(String(decoding: text.array, as: UTF8.self)) }

  private static func quoted(_ text: String) -> String {
    let buffer = ByteBuffer()
    buffer.appendJSON(string: text)
    return buffer.text
  }
}

extension RuleOperator {
  /// What a rule with it wants, in words.
  fileprivate func phrase(_ operand: String) -> String {
    switch self {
    case .equal: operand
    case .notEqual: "anything but \(operand)"
    case .less: "less than \(operand)"
    case .lessOrEqual: "at most \(operand)"
    case .greater: "more than \(operand)"
    case .greaterOrEqual: "at least \(operand)"
    case .within: operand.hasPrefix("[") ? "one of \(operand)" : operand
    case .notWithin: "none of \(operand)"
    case .contains: "\(operand) among it"
    case .containsAll: "all of \(operand)"
    case .matches: "a match of \(operand)"
    case .has: "it to be there"
    case .holds: "somebody who is identified"
    }
  }
}

extension RuleNode {
  /// Whether it holds, given which terms do.
  func holds(_ outcomes: UInt64) -> Bool {
    switch self {
    case .term(let index): outcomes >> index & 1 != 0
    case .not(let node): !node.holds(outcomes)
    case .all(let nodes): nodes.allSatisfy { $0.holds(outcomes) }
    case .any(let nodes): nodes.contains { $0.holds(outcomes) }
    }
  }

  /// The terms that made it what it is: of several that would each do, the first.
  func decisive(_ outcomes: UInt64) -> UInt64 {
    switch self {
    case .term(let index): return 1 << index
    case .not(let node): return node.decisive(outcomes)
    case .all(let nodes), .any(let nodes):
      let settled = if case .all = self { false } else { true }
      if let first = nodes.first(where: { $0.holds(outcomes) == settled }) { return first.decisive(outcomes) }
      return nodes.reduce(0) { $0 | $1.decisive(outcomes) }
    }
  }

  /// The terms that must not hold for it to hold: those below an odd number of `not`.
  func negated(_ isNegated: Bool) -> UInt64 {
    switch self {
    case .term(let index): isNegated ? 1 << index : 0
    case .not(let node): node.negated(!isNegated)
    case .all(let nodes), .any(let nodes): nodes.reduce(0) { $0 | $1.negated(isNegated) }
    }
  }
}
