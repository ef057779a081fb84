import Core

/// What a rule can ask about, by the name that it has there.
enum RuleFact: String, CaseIterable, Sendable {
  case role, group, scope
  case tenant, consumer, subject, issuer, client
  case claim
  case method, path, host, route
  case address, time, weekday
  case authenticated

  /// What can be asked of it.
  enum Kind {
    /// Several texts, or none.
    case set
    /// A text, or nothing.
    case text
    /// Whatever an issuer says, or nothing.
    case claim
    /// One of those that have a form of their own.
    case method, path, host, address, time, weekday, authenticated
  }

  var kind: Kind {
    switch self {
    case .role, .group, .scope: .set
    case .tenant, .consumer, .subject, .issuer, .client, .route: .text
    case .claim: .claim
    case .method: .method
    case .path: .path
    case .host: .host
    case .address: .address
    case .time: .time
    case .weekday: .weekday
    case .authenticated: .authenticated
    }
  }

  /// Whether it is about who calls: of nobody it cannot be known.
  var isAboutCaller: Bool {
    switch self {
    case .role, .group, .scope, .tenant, .consumer, .subject, .issuer, .client, .claim, .authenticated: true
    case .method, .path, .host, .route, .address, .time, .weekday: false
    }
  }

  /// Whether it is about whom an issuer vouches for, and nothing else.
  var isAboutIdentity: Bool { isAboutCaller && self != .consumer && self != .authenticated }

  /// The operators that can follow it, as a hint.
  var operators: String {
    switch kind {
    case .set: "`in`, `not in`, `contains` or `contains all`"
    case .text, .method, .weekday: "`==`, `!=`, `in` or `not in`"
    case .claim: "`==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`, `contains` or `contains all`"
    case .path, .host: "`==`, `!=`, `in`, `not in` or `matches`"
    case .address: "`==`, `!=`, `in` or `not in`"
    case .time: "`in` or `not in`"
    case .authenticated: "nothing"
    }
  }
}

/// A fact, and for a claim the way to it.
struct RuleReference: Hashable, Sendable {
  var fact: RuleFact
  /// The names from the outermost object inwards; empty for all but claims.
  var keys: [String] = []
}

/// How a fact is compared.
enum RuleOperator: String, CaseIterable, Sendable {
  case equal = "=="
  case notEqual = "!="
  case less = "<"
  case lessOrEqual = "<="
  case greater = ">"
  case greaterOrEqual = ">="
  case within = "in"
  case notWithin = "not in"
  case contains
  case containsAll = "contains all"
  case matches
  case has
  /// Nothing follows.
  case holds = ""

  /// Whether it asks that something is not so.
  var isNegative: Bool { self == .notEqual || self == .notWithin }
  /// Whether it asks for order.
  var isOrdering: Bool { [.less, .lessOrEqual, .greater, .greaterOrEqual].contains(self) }
}

/// One comparison of a rule, checked.
struct RuleTerm: Sendable {
  /// What it is compared with, in the form in which evaluation needs it.
  enum Operand: Sendable {
    case none
    /// Any of these, or all of them.
    case texts([String])
    case numbers([RuleNumber])
    case bool(Bool)
    case reference(RuleReference)
    case methods([String])
    case paths([RulePathPattern])
    case hosts([RuleHostPattern])
    case networks([IPNetwork])
    case windows([RuleWindow])
    /// One bit a day, Monday lowest.
    case days(UInt8)
  }

  let subject: RuleReference
  let comparison: RuleOperator
  let operand: Operand
  /// Where it stands in the rule, in bytes.
  let range: Range<Int>
  /// Where the fact stands.
  let subjectRange: Range<Int>
  /// Where what it is compared with stands.
  let operandRange: Range<Int>
}

/// A number of a rule.
struct RuleNumber: Sendable, BitwiseCopyable {
  /// Present where it is whole.
  var integer: Int64?
  var value: Double

  /// The largest whole number that a rule may hold: what is larger, a double cannot tell from its neighbours.
  static let largest: Int64 = 1 << 53
}

/// How terms are joined; terms by their index.
indirect enum RuleNode: Sendable {
  case term(Int)
  case not(RuleNode)
  case all([RuleNode])
  case any([RuleNode])
}

/// Why a text is no rule.
public struct RuleFault: Error, Hashable, Sendable {
  /// Where, in characters from 1.
  public let column: Int
  /// What is wrong, a phrase without a full stop.
  public let message: String
  /// What to do, a phrase without a full stop.
  public let fix: String
}
