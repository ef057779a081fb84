import Core
import HTTP

/// One comparison, and where to go on after it. Plain data: what does not fit lies in the program's tables.
struct RuleInstruction: BitwiseCopyable, Sendable {
  enum Kind: UInt8 {
    case authenticated, has
    /// One of some texts, all of some texts, the text that another fact is.
    case anyText, allTexts, otherText
    case number, bool
    case method, path, host, address, time, weekday
  }

  var kind: Kind
  var subject: Reference
  var other: Reference
  var relation: Relation = .equal
  /// Whether it holds if nothing of what it looks for is found.
  var isNegative: Bool
  /// Whether a list is no answer.
  var isScalar: Bool
  /// The next instruction where it holds, and where it does not; or one of the two ends.
  var next: Next = Next()
  /// What belongs to it in a table.
  var first: UInt16 = 0
  var count: UInt16 = 0
  /// The methods or days as bits, or a truth value.
  var bits: UInt16 = 0

  struct Next: BitwiseCopyable, Sendable {
    var whenTrue: UInt8 = RuleInstruction.holds
    var whenFalse: UInt8 = RuleInstruction.fails
  }

  /// A fact, and for a claim where its names lie in the table of texts.
  struct Reference: BitwiseCopyable, Sendable {
    var fact: RuleFact
    var firstKey: UInt16 = 0
    var keyCount: UInt16 = 0
  }

  enum Relation: UInt8 { case equal, less, lessOrEqual, greater, greaterOrEqual }

  /// The ends of a program: the rule holds, or it does not.
  static let holds: UInt8 = 254
  static let fails: UInt8 = 255
}

/// A text of a rule: its first eight bytes and its length, by which most others are ruled out, and where all of it lies.
struct RuleText: BitwiseCopyable, Sendable {
  let head: UInt64
  let offset: UInt16
  let count: UInt16

  /// The first eight bytes of a text; all of a shorter one, in an order of their own.
  @inline(__always)
  static func head(_ bytes: RawSpan) -> UInt64 {
    let count = bytes.byteCount
    // RawSpan checks the offsets.
    if count >= 8 { return unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt64.self) }
    if count >= 4 {
      let low = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt32.self)
      let high = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)
      return UInt64(high) << 32 | UInt64(low)
    }
    if count == 0 { return 0 }
    // One to three: the first, the middle and the last.
    let (first, middle) = (UInt64(bytes[byte: 0]), UInt64(bytes[byte: count >> 1]))
    return first | middle << 8 | UInt64(bytes[byte: count &- 1]) << 16
  }
}

/// A path pattern: its segments, and whether more may follow.
struct RulePathEntry: BitwiseCopyable, Sendable {
  let firstSegment: UInt16
  let segmentCount: UInt16
  let isPrefix: Bool
}

/// A rule ready to be evaluated: instructions in the order of the terms, each of which says where to go on, and tables. Jumps
/// lead forward only, so that no rule takes more steps than it has terms. Tables have one owner, so that looking into them
/// counts no references.
struct RuleProgram: ~Copyable, Sendable {
  let instructions: OwnedArray<RuleInstruction>
  /// The bytes of all texts; no more than those of the rule.
  let bytes: OwnedArray<UInt8>
  let texts: OwnedArray<RuleText>
  let numbers: OwnedArray<RuleNumber>
  let networks: OwnedArray<IPNetwork>
  let windows: OwnedArray<RuleWindow>
  let paths: OwnedArray<RulePathEntry>
  /// The segments of all paths, as indexes of texts; −1 for any.
  let segments: OwnedArray<Int32>
  let hosts: OwnedArray<RuleHostEntry>

  /// The program of `terms` that are joined by `node`.
  init(_ terms: [RuleTerm], _ node: RuleNode) {
    let assembler = RuleAssembler(terms, node)
    instructions = OwnedArray(copying: assembler.instructions)
    bytes = OwnedArray(copying: assembler.bytes)
    texts = OwnedArray(copying: assembler.texts)
    numbers = OwnedArray(copying: assembler.numbers)
    networks = OwnedArray(copying: assembler.networks)
    windows = OwnedArray(copying: assembler.windows)
    paths = OwnedArray(copying: assembler.paths)
    segments = OwnedArray(copying: assembler.segments)
    hosts = OwnedArray(copying: assembler.hosts)
  }

  /// Whether a text of the rule is this one.
  @inline(__always)
  func isSame(_ text: RuleText, _ found: RawSpan) -> Bool { bytes(of: text).isSame(as: found) }

  /// Where a claim stands; nil where there is none.
  @inline(__always)
  func find(_ claim: RuleInstruction.Reference, in document: JSONDocument) -> JSONDocument.Place? {
    var place = document.rootPlace
    for key in Int(claim.firstKey)..<(Int(claim.firstKey) &+ Int(claim.keyCount)) {
      guard let member = document.member(bytes(of: texts[key]), of: place) else { return nil }
      place = member
    }
    return place
  }

  @inline(__always)
  @_lifetime(borrow self)
  private func bytes(of text: RuleText) -> RawSpan {
    bytes.bytes.extracting(Int(text.offset)..<(Int(text.offset) &+ Int(text.count)))
  }
}

/// Puts the program of a rule together.
private struct RuleAssembler {
  private(set) var instructions: [RuleInstruction] = []
  private(set) var bytes: [UInt8] = []
  private(set) var texts: [RuleText] = []
  private(set) var numbers: [RuleNumber] = []
  private(set) var networks: [IPNetwork] = []
  private(set) var windows: [RuleWindow] = []
  private(set) var paths: [RulePathEntry] = []
  private(set) var segments: [Int32] = []
  private(set) var hosts: [RuleHostEntry] = []

  init(_ terms: [RuleTerm], _ node: RuleNode) {
    for term in terms { append(term) }
    link(node, RuleInstruction.Next())
  }

  /// Says where each instruction of `node` goes on.
  private mutating func link(_ node: RuleNode, _ next: RuleInstruction.Next) {
    switch node {
    case .term(let index): instructions[index].next = next
    case .not(let node): link(node, .init(whenTrue: next.whenFalse, whenFalse: next.whenTrue))
    case .all(let nodes), .any(let nodes):
      for (position, part) in nodes.enumerated() {
        var own = next
        if position + 1 < nodes.count {
          let following = UInt8(nodes[position + 1].firstTerm)
          if case .all = node { own.whenTrue = following } else { own.whenFalse = following }
        }
        link(part, own)
      }
    }
  }

  private mutating func append(_ term: RuleTerm) {
    var instruction = RuleInstruction(
      kind: .has, subject: reference(term.subject), other: reference(term.subject),
      isNegative: term.comparison.isNegative,
      isScalar: term.comparison == .equal || term.comparison == .notEqual)
    switch term.comparison {
    case .less: instruction.relation = .less
    case .lessOrEqual: instruction.relation = .lessOrEqual
    case .greater: instruction.relation = .greater
    case .greaterOrEqual: instruction.relation = .greaterOrEqual
    default: break
    }
    switch term.operand {
    case .none: instruction.kind = term.comparison == .holds ? .authenticated : .has
    case .texts(let values):
      instruction.kind = term.comparison == .containsAll ? .allTexts : .anyText
      instruction.first = append(values.map { Array($0.utf8) })
      instruction.count = UInt16(values.count)
    case .numbers(let values):
      instruction.kind = .number
      (instruction.first, instruction.count) = append(values, to: \.numbers)
    case .bool(let value):
      instruction.kind = .bool
      instruction.bits = value ? 1 : 0
    case .reference(let other):
      instruction.kind = .otherText
      instruction.other = reference(other)
    case .methods(let names): append(names, to: &instruction)
    case .paths(let patterns): append(patterns, to: &instruction)
    case .hosts(let patterns):
      instruction.kind = .host
      let first = append(patterns.map(\.text))
      let entries = patterns.enumerated().map {
        RuleHostEntry(text: first + UInt16($0.offset), isWildcard: $0.element.isWildcard)
      }
      (instruction.first, instruction.count) = append(entries, to: \.hosts)
    case .networks(let values):
      instruction.kind = .address
      (instruction.first, instruction.count) = append(values, to: \.networks)
    case .windows(let values):
      instruction.kind = .time
      (instruction.first, instruction.count) = append(values, to: \.windows)
    case .days(let bits):
      instruction.kind = .weekday
      instruction.bits = UInt16(bits)
    }
    instructions.append(instruction)
  }

  private mutating func append<T>(
    _ values: [T], to table: WritableKeyPath<RuleAssembler, [T]>
  ) -> (first: UInt16, count: UInt16) {
    let first = UInt16(self[keyPath: table].count)
    self[keyPath: table].append(contentsOf: values)
    return (first, UInt16(values.count))
  }

  /// Adds texts; returns the index of the first.
  private mutating func append(_ values: [[UInt8]]) -> UInt16 {
    let first = UInt16(texts.count)
    for value in values {
      texts.append(
        RuleText(head: RuleText.head(RawSpan(value)), offset: UInt16(bytes.count), count: UInt16(value.count)))
      bytes += value
    }
    return first
  }

  private mutating func reference(_ reference: RuleReference) -> RuleInstruction.Reference {
    let first = append(reference.keys.map { Array($0.utf8) })
    return .init(fact: reference.fact, firstKey: first, keyCount: UInt16(reference.keys.count))
  }

  /// Known methods become bits, others are texts.
  private mutating func append(_ names: [String], to instruction: inout RuleInstruction) {
    instruction.kind = .method
    var others: [[UInt8]] = []
    for name in names {
      let bytes = Array(name.utf8)
      let method = Method.of(RawSpan(bytes))
      if method == .other { others.append(bytes) } else { instruction.bits |= 1 << UInt16(method.rawValue) }
    }
    instruction.first = append(others)
    instruction.count = UInt16(others.count)
  }

  private mutating func append(_ patterns: [RulePathPattern], to instruction: inout RuleInstruction) {
    instruction.kind = .path
    var entries: [RulePathEntry] = []
    for pattern in patterns {
      let first = UInt16(segments.count)
      for segment in pattern.segments { segments.append(segment.map { Int32(append([$0])) } ?? -1) }
      entries.append(
        RulePathEntry(
          firstSegment: first, segmentCount: UInt16(pattern.segments.count), isPrefix: pattern.isPrefix))
    }
    (instruction.first, instruction.count) = append(entries, to: \.paths)
  }
}

/// A host of a rule.
struct RuleHostEntry: BitwiseCopyable, Sendable {
  let text: UInt16
  let isWildcard: Bool
}

extension RuleNode {
  /// The first term in it: terms are numbered as they are read.
  var firstTerm: Int {
    switch self {
    case .term(let index): index
    case .not(let node): node.firstTerm
    case .all(let nodes), .any(let nodes): nodes[0].firstTerm
    }
  }
}
