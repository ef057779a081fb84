import Core

/// Reads a rule.
///
///     rule   = all *("or" all)
///     all    = part *("and" part)
///     part   = "not" part / "(" rule ")" / term
///     term   = "authenticated" / "has" fact / fact operator operand
///     fact   = a name of RuleFact / "claim" 1*("." name)
///     operator = "==" / "!=" / "<" / "<=" / ">" / ">=" / "in" / "not in" / "contains" ["all"] / "matches"
///     operand  = literal / "[" literal *("," literal) "]" / fact
///     literal  = a text between " or ' / a number / "true" / "false"
struct RuleParser {
  /// An operand as it is written.
  struct Written {
    enum Literal {
      case text(String)
      case number(RuleNumber)
      case bool(Bool)
    }
    var literals: [(value: Literal, offset: Int)] = []
    var reference: RuleReference?
    var isList = false
    var range = 0..<0
  }

  private(set) var lexer: RuleLexer
  private(set) var token: RuleToken
  private(set) var terms: [RuleTerm] = []
  private var depth = 0
  /// Where the token before this one ends.
  private var lastEnd = 0

  /// Begins to read `bytes`.
  init(_ bytes: [UInt8]) throws(RuleFault) {
    lexer = RuleLexer(bytes)
    guard bytes.count <= AccessRule.textBytes else {
      throw lexer.fault(0, "a rule has at most \(AccessRule.textBytes) bytes", "make several of it")
    }
    token = try lexer.token()
  }

  /// The whole rule.
  mutating func parse() throws(RuleFault) -> RuleNode {
    if token.kind == .end { throw lexer.fault(0, "there is no rule", "write one, or `authenticated`") }
    let node = try parseAny()
    guard token.kind != .end else { return node }
    if token.isSymbol(")") { throw fault("nothing was opened that `)` could close", "remove it") }
    let fix =
      token.kind == .word
      ? Suggestion.fix(token.text, among: ["and", "or"], otherwise: "write `and` or `or` in front of it")
      : "write `and` or `or` between two terms"
    throw fault("\(token.name) cannot follow a term", fix)
  }

  func fault(_ message: String, _ fix: String) -> RuleFault { lexer.fault(token.range.lowerBound, message, fix) }

  mutating func advance() throws(RuleFault) {
    lastEnd = token.range.upperBound
    token = try lexer.token()
  }

  private mutating func parseAny() throws(RuleFault) -> RuleNode {
    var nodes = [try parseAll()]
    while token.isWord("or") {
      try advance()
      nodes.append(try parseAll())
    }
    return nodes.count == 1 ? nodes[0] : .any(nodes)
  }

  private mutating func parseAll() throws(RuleFault) -> RuleNode {
    var nodes = [try parsePart()]
    while token.isWord("and") {
      try advance()
      nodes.append(try parsePart())
    }
    return nodes.count == 1 ? nodes[0] : .all(nodes)
  }

  private mutating func parsePart() throws(RuleFault) -> RuleNode {
    let isNegation = token.isWord("not")
    guard isNegation || token.isSymbol("(") else { return try parseTerm() }
    depth += 1
    guard depth <= AccessRule.nesting else {
      throw fault("brackets and `not` are nested more than \(AccessRule.nesting) deep", "make several rules of it")
    }
    let opening = token.range.lowerBound
    try advance()
    let node: RuleNode
    if isNegation {
      node = .not(try parsePart())
    } else {
      node = try parseAny()
      guard token.isSymbol(")") else {
        if token.kind == .end { throw lexer.fault(opening, "this bracket is never closed", "add `)`") }
        throw fault("\(token.name) cannot follow a term", "write `and`, `or` or `)`")
      }
      try advance()
    }
    depth -= 1
    return node
  }

  private mutating func parseTerm() throws(RuleFault) -> RuleNode {
    guard terms.count < AccessRule.termLimit else {
      throw fault("a rule has at most \(AccessRule.termLimit) terms", "make several rules of it, or use lists")
    }
    let start = token.range.lowerBound
    let asksPresence = token.isWord("has")
    if asksPresence { try advance() }
    let subjectStart = token.range.lowerBound
    let subject = try parseReference()
    let subjectRange = subjectStart..<lastEnd
    var comparison = RuleOperator.has
    var written = Written()
    if !asksPresence {
      if subject.fact == .authenticated {
        comparison = .holds
      } else {
        comparison = try parseOperator(subject.fact)
        written = try parseOperand()
      }
    }
    let checker = RuleChecker(lexer: lexer, subject: subject, subjectRange: subjectRange, comparison: comparison)
    let operand = try checker.operand(written)
    terms.append(
      RuleTerm(
        subject: subject, comparison: comparison, operand: operand, range: start..<lastEnd, subjectRange: subjectRange,
        operandRange: written.range))
    return .term(terms.count - 1)
  }

  private mutating func parseReference() throws(RuleFault) -> RuleReference {
    let names = RuleFact.allCases.map(\.rawValue)
    guard token.kind == .word else {
      throw fault("a fact should be here, not \(token.name)", "write one of \(names.joined(separator: ", "))")
    }
    guard let fact = RuleFact(rawValue: token.text) else {
      let fix: String
      if ["and", "or", "in", "contains", "matches", "true", "false"].contains(token.text) {
        fix = "write a fact in front of it"
      } else {
        let nearest = Suggestion.nearest(to: token.text, among: names + ["not", "has"])
        fix = nearest.map { "did you mean `\($0)`?" } ?? "there are \(names.joined(separator: ", "))"
      }
      throw fault("there is no fact `\(token.text)`", fix)
    }
    var reference = RuleReference(fact: fact)
    while let name = try lexer.claimName() {
      guard fact == .claim else { throw fault("`\(fact.rawValue)` has no parts", "write `\(fact.rawValue)` alone") }
      reference.keys.append(name)
      guard reference.keys.count <= AccessRule.claimDepth else {
        throw fault("a claim is at most \(AccessRule.claimDepth) objects deep", "shorten the way to it")
      }
    }
    if fact == .claim && reference.keys.isEmpty {
      throw fault("`claim` needs a name", "write `claim.name`, or `claim.\"https://…\"`")
    }
    lastEnd = lexer.position
    token = try lexer.token()
    return reference
  }

  private mutating func parseOperator(_ fact: RuleFact) throws(RuleFault) -> RuleOperator {
    let found = token
    var name = found.text
    if found.isWord("not") {
      try advance()
      guard token.isWord("in") else {
        throw fault("`not` here goes with `in` only", "write `not in`, or put `not` in front of the term")
      }
      name = "not in"
    }
    guard found.kind == .word || found.kind == .symbol, let comparison = RuleOperator(rawValue: name),
      comparison != .has
    else {
      let names = RuleOperator.allCases.map(\.rawValue).filter { !$0.isEmpty && $0 != "has" }
      let nearest = found.kind == .word ? Suggestion.nearest(to: found.text, among: names) : nil
      throw lexer.fault(
        found.range.lowerBound, "an operator should be here, not \(found.name)",
        nearest.map { "did you mean `\($0)`?" } ?? "write \(fact.operators)")
    }
    try advance()
    if comparison == .contains && token.isWord("all") {
      try advance()
      return .containsAll
    }
    return comparison
  }

  private mutating func parseOperand() throws(RuleFault) -> Written {
    var written = Written()
    let start = token.range.lowerBound
    if token.isSymbol("[") {
      written.isList = true
      try advance()
      while !token.isSymbol("]") {
        guard written.literals.count < AccessRule.listLimit else {
          throw fault("a list has at most \(AccessRule.listLimit) entries", "make several of it")
        }
        written.literals.append((try parseLiteral(), token.range.lowerBound))
        try advance()
        if token.isSymbol("]") { break }
        guard token.isSymbol(",") else {
          if token.kind == .end { throw lexer.fault(start, "this list is never closed", "add `]`") }
          throw fault("\(token.name) cannot stand in a list", "write `,` or `]`")
        }
        try advance()
      }
      if written.literals.isEmpty { throw lexer.fault(start, "this list is empty", "add at least one entry") }
      try advance()
    } else if token.kind == .word && token.text != "true" && token.text != "false" {
      written.reference = try parseReference()
    } else {
      written.literals.append((try parseLiteral(), start))
      try advance()
    }
    written.range = start..<lastEnd
    return written
  }

  private func parseLiteral() throws(RuleFault) -> Written.Literal {
    switch token.kind {
    case .string: return .text(token.text)
    case .number:
      guard let value = Double(token.text), value.magnitude <= Double(RuleNumber.largest), token.text.utf8.count <= 20
      else {
        throw fault("this number is too large or too long", "write one up to \(RuleNumber.largest)")
      }
      return .number(RuleNumber(integer: Int64(token.text), value: value))
    case .word where token.text == "true": return .bool(true)
    case .word where token.text == "false": return .bool(false)
    default:
      throw fault(
        "a value should be here, not \(token.name)", "write a text in quotation marks, a number, true or false")
    }
  }
}
