// The language in which a route says who may call it:
//
//     role in ["admin", "ops"] and claim.org == tenant and not path matches "/internal/*"
//
// A rule is read once, when the configuration is, into instructions and tables of plain data (`RuleProgram`); a request walks
// through them without allocating anything. There is no evaluation of text at run time, there are no regular expressions, no
// loops and no functions: a rule takes at most as many steps as it has terms.
//
// Nobody gains access by lacking something. A comparison with what is absent does not hold, whichever it is: `!=` and `not in`
// neither. An empty set and an empty list are absent, too, and so is a claim of another kind than it is compared with: `"1"`
// is not `1`, and not different from it either. Who wants the opposite says `not (…)`, which inverts whatever stands in it.
//
// Texts are compared byte by byte; only hosts are compared without regard to case. Paths are compared decoded, segment by
// segment, as routes compare them.

import Core
import HTTP

/// A rule about who may call, compiled. Immutable, used by all loops.
public final class AccessRule: Sendable {
  /// The longest rule in bytes.
  public static let textBytes = 4096
  /// The most terms of a rule.
  public static let termLimit = 64
  /// The most entries of a list.
  public static let listLimit = 256
  /// How deep brackets and `not` may be nested: reading recurses.
  public static let nesting = 16
  /// The most names on the way to a claim.
  public static let claimDepth = 8

  /// The rule as it is written.
  public let text: String
  /// Whether it asks who calls.
  public let isAboutCaller: Bool

  /// Whether it asks for nothing but what an issuer says of whom it vouches for.
  public var isAboutIdentity: Bool {
    terms.allSatisfy { term in
      guard term.subject.fact.isAboutIdentity else { return false }
      if case .reference(let other) = term.operand { return other.fact.isAboutIdentity }
      return true
    }
  }

  let terms: [RuleTerm]
  let node: RuleNode
  let program: RuleProgram
  let zone: TimeZoneTable

  /// Compiles `text`; times of the day and days of the week are those of `zone`.
  public init(_ text: String, zone: TimeZoneTable = .utc) throws(RuleFault) {
    var parser = try RuleParser(Array(text.utf8))
    node = try parser.parse()
    terms = parser.terms
    program = RuleProgram(terms, node)
    isAboutCaller = terms.contains { $0.subject.fact.isAboutCaller }
    self.text = text
    self.zone = zone
  }

  /// Whether the rule holds. Allocates nothing, except for claims that are written with escapes or fractions.
  public func holds(_ facts: borrowing RuleFacts) -> Bool {
    var place: UInt8 = 0
    repeat {
      let holds = evaluate(Int(place), facts)
      let next = program.instructions[Int(place)].next
      place = holds ? next.whenTrue : next.whenFalse
    } while place < RuleInstruction.holds
    return place == RuleInstruction.holds
  }

  /// Which terms hold, one bit each, all of them evaluated.
  func outcomes(_ facts: borrowing RuleFacts) -> UInt64 {
    var result: UInt64 = 0
    for index in program.instructions.indices where evaluate(index, facts) {
      result |= 1 << index
    }
    return result
  }
}
