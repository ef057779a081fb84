import Core
import HTTP

/// Checks what a term compares, and brings it into the form in which evaluation needs it.
struct RuleChecker {
  typealias Written = RuleParser.Written

  let lexer: RuleLexer
  let subject: RuleReference
  let subjectRange: Range<Int>
  let comparison: RuleOperator

  private var name: String { "`\(lexer.text(subjectRange))`" }

  private func fault(_ offset: Int, _ message: String, _ fix: String) -> RuleFault { lexer.fault(offset, message, fix) }

  /// The operand of the term.
  func operand(_ written: Written) throws(RuleFault) -> RuleTerm.Operand {
    let kind = subject.fact.kind
    if comparison == .holds { return .none }
    if comparison == .has {
      if [.set, .text, .claim].contains(kind) && subject.fact != .route { return .none }
      let fix = kind == .authenticated ? "write `authenticated`" : "compare it with something"
      throw fault(subjectRange.lowerBound, "`has` does not go with \(name), which is always there", fix)
    }
    try checkOperator(kind, written)
    if let reference = written.reference { return try other(reference, written) }
    switch kind {
    case .set, .text: return .texts(try texts(written))
    case .claim: return try claimOperand(written)
    case .method: return .methods(try methods(written))
    case .path: return .paths(try paths(written))
    case .host: return .hosts(try hosts(written))
    case .address:
      return .networks(try values(written, "an address or a network such as \"10.0.0.0/8\"") { IPNetwork($0) })
    case .time: return .windows(try values(written, "a part of the day such as \"08:00-18:00\"") { RuleWindow($0) })
    case .weekday:
      let days = try values(written, "a day or some, such as \"mon\" or \"mon-fri\"") { RuleDays.bits($0) }
      return .days(days.reduce(0, |))
    case .authenticated: return .none
    }
  }

  /// Whether the operator goes with the fact, and a list with the operator.
  private func checkOperator(_ kind: RuleFact.Kind, _ written: Written) throws(RuleFault) {
    let allowed: [RuleOperator] =
      switch kind {
      case .set: [.within, .notWithin, .contains, .containsAll]
      case .text, .method, .weekday, .address: [.equal, .notEqual, .within, .notWithin]
      case .claim: RuleOperator.allCases.filter { ![.matches, .has, .holds].contains($0) }
      case .path, .host: [.equal, .notEqual, .within, .notWithin, .matches]
      case .time: [.within, .notWithin]
      case .authenticated: []
      }
    guard allowed.contains(comparison) else {
      if kind == .set && comparison == .equal {
        throw fault(subjectRange.lowerBound, "\(name) is a set, and equals no single text", "write `contains`")
      }
      throw fault(
        subjectRange.lowerBound, "`\(comparison.rawValue)` does not go with \(name)",
        "write \(subject.fact.operators)")
    }
    switch comparison {
    case .within, .notWithin, .containsAll:
      let isRange = kind == .time || kind == .weekday || kind == .address
      if !written.isList && !(isRange && written.reference == nil) {
        throw fault(
          written.range.lowerBound, "a list should be here",
          "put it in [ ]\(comparison == .containsAll ? "" : ", or write `==` or `contains`")")
      }
    case .matches: break
    default:
      if written.isList {
        let fix =
          comparison == .notEqual
          ? "write `not in`" : comparison == .contains ? "write `in` or `contains all`" : "write `in`"
        throw fault(written.range.lowerBound, "`\(comparison.rawValue)` takes one value, not a list", fix)
      }
    }
  }

  /// Another fact in place of a text.
  private func other(_ reference: RuleReference, _ written: Written) throws(RuleFault) -> RuleTerm.Operand {
    guard [.equal, .notEqual, .contains].contains(comparison), [.set, .text, .claim].contains(subject.fact.kind) else {
      throw fault(
        written.range.lowerBound, "a value should be here, not another fact", "write a text in quotation marks")
    }
    guard reference.fact.kind == .text || reference.fact.kind == .claim else {
      throw fault(
        written.range.lowerBound, "`\(reference.fact.rawValue)` is no text to compare with",
        "write tenant, consumer, subject, issuer, client, route or a claim")
    }
    guard reference != subject else {
      throw fault(written.range.lowerBound, "it is compared with itself", "compare it with something else")
    }
    return .reference(reference)
  }

  /// The texts of the operand.
  private func texts(_ written: Written) throws(RuleFault) -> [String] {
    var result: [String] = []
    for literal in written.literals {
      guard case .text(let text) = literal.value else {
        throw fault(literal.offset, "\(name) is compared with texts", "put it in quotation marks")
      }
      result.append(text)
    }
    return result
  }

  private func values<T>(_ written: Written, _ form: String, _ parse: (String) -> T?) throws(RuleFault) -> [T] {
    var result: [T] = []
    for (text, literal) in zip(try texts(written), written.literals) {
      guard let value = parse(text) else {
        throw fault(literal.offset, "\"\(text)\" is none of what \(name) can be", "write \(form)")
      }
      result.append(value)
    }
    return result
  }

  /// What a claim is compared with: texts, numbers or a truth value.
  private func claimOperand(_ written: Written) throws(RuleFault) -> RuleTerm.Operand {
    let first = written.literals[0]
    if case .bool(let value) = first.value {
      guard comparison == .equal || comparison == .notEqual, !written.isList else {
        throw fault(first.offset, "true and false are compared with `==` and `!=` only", "write `==`")
      }
      return .bool(value)
    }
    if case .number = first.value {
      guard comparison != .contains, comparison != .containsAll else {
        throw fault(first.offset, "`\(comparison.rawValue)` looks for texts", "put it in quotation marks")
      }
      var numbers: [RuleNumber] = []
      for literal in written.literals {
        guard case .number(let number) = literal.value else {
          throw fault(literal.offset, "the entries of a list are of one kind", "write numbers only, or texts only")
        }
        numbers.append(number)
      }
      return .numbers(numbers)
    }
    if comparison.isOrdering {
      throw fault(first.offset, "`\(comparison.rawValue)` compares numbers", "write a number without quotation marks")
    }
    for literal in written.literals {
      guard case .text = literal.value else {
        throw fault(literal.offset, "the entries of a list are of one kind", "write numbers only, or texts only")
      }
    }
    return .texts(try texts(written))
  }

  private func methods(_ written: Written) throws(RuleFault) -> [String] {
    let texts = try texts(written)
    for (text, literal) in zip(texts, written.literals) {
      let bytes = Array(text.utf8)
      guard FieldSelector(text) != nil else {
        throw fault(literal.offset, "\"\(text)\" is no method", "write one such as \"GET\"")
      }
      let upper = Array(text.uppercased().utf8)
      if Method.of(RawSpan(bytes)) == .other && Method.of(RawSpan(upper)) != .other {
        throw fault(literal.offset, "methods are written in capitals", "write \"\(text.uppercased())\"")
      }
    }
    return texts
  }

  private func paths(_ written: Written) throws(RuleFault) -> [RulePathPattern] {
    var result: [RulePathPattern] = []
    for (text, literal) in zip(try texts(written), written.literals) {
      do throws(RulePathPattern.Fault) {
        result.append(try RulePathPattern(text, allowsWildcards: comparison == .matches))
      } catch {
        throw fault(literal.offset, error.message, error.fix)
      }
    }
    return result
  }

  private func hosts(_ written: Written) throws(RuleFault) -> [RuleHostPattern] {
    let isPattern = comparison == .matches
    let form = isPattern ? "a host such as \"*.example.com\"" : "a host without port, or `matches` for \"*.…\""
    return try values(written, form) { RuleHostPattern($0, allowsWildcards: isPattern) }
  }
}
