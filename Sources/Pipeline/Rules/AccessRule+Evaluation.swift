import Core
import HTTP

extension AccessRule {
  /// Whether the term at `place` holds. Most kinds are functions of their own that read what they need of the
  /// instruction: one large function would read all of it, and spill most.
  @inline(__always)
  func evaluate(_ place: Int, _ facts: borrowing RuleFacts) -> Bool {
    switch program.instructions[place].kind {
    case .authenticated: facts.isAuthenticated
    case .has: isPresent(program.instructions[place].subject, facts)
    case .anyText: compareText(place, facts)
    case .allTexts: compareAll(place, facts)
    case .otherText: compareOther(place, facts)
    case .number: compareNumber(place, facts)
    case .bool: compareBool(place, facts)
    case .method: compareMethod(place, facts)
    case .path: comparePath(place, facts)
    case .host: compareHost(place, facts)
    case .address: compareAddress(place, facts)
    case .time, .weekday: compareTime(place, facts)
    }
  }

  // MARK: Texts

  // The usual one: in place its closures are inlined, too.
  @inline(__always)
  private func compareText(_ place: Int, _ facts: borrowing RuleFacts) -> Bool {
    let instruction = program.instructions[place]
    return judge(instruction, facts) { isAny(instruction.first, instruction.count, $0) }
  }

  @inline(never)
  private func compareAll(_ place: Int, _ facts: borrowing RuleFacts) -> Bool {
    let instruction = program.instructions[place]
    for index in instruction.first..<(instruction.first &+ instruction.count) {
      let isThere = judge(instruction, facts) { isText(Int(index), $0) }
      if !isThere { return false }
    }
    return true
  }

  @inline(never)
  private func compareOther(_ place: Int, _ facts: borrowing RuleFacts) -> Bool {
    let instruction = program.instructions[place]
    let result = withText(instruction.other, facts) { other in
      judge(instruction, facts) { $0.isSame(as: other) }
    }
    return result ?? false
  }

  /// Whether a text is the rule's at `index`.
  @inline(__always)
  private func isText(_ index: Int, _ found: RawSpan) -> Bool {
    let text = program.texts[index]
    guard Int(text.count) == found.byteCount, text.head == RuleText.head(found) else { return false }
    return text.count <= 8 || isRest(text, found)
  }

  /// Whether a text is one of `count` of the rule from `first` on.
  @inline(__always)
  private func isAny(_ first: UInt16, _ count: UInt16, _ found: RawSpan) -> Bool {
    let head = RuleText.head(found)
    for index in Int(first)..<(Int(first) &+ Int(count)) {
      let text = program.texts[index]
      if text.head == head && Int(text.count) == found.byteCount && (text.count <= 8 || isRest(text, found)) {
        return true
      }
    }
    return false
  }

  /// Whether a text of the rule is the one that has the same length and begins alike.
  private func isRest(_ text: RuleText, _ found: RawSpan) -> Bool {
    program.isSame(text, found)
  }

  /// Whether any text of a fact is one of those that are looked for; for a negative term whether all are others. False where
  /// there is none.
  @inline(__always)
  private func judge(
    _ instruction: RuleInstruction, _ facts: borrowing RuleFacts, _ isWanted: (RawSpan) -> Bool
  ) -> Bool {
    let isNegative = instruction.isNegative
    switch instruction.subject.fact {
    case .role: return facts.identity?.with { Self.judge($0.lists, $0.lists.roles, [], isNegative, isWanted) } ?? false
    case .scope:
      return facts.identity?.with { Self.judge($0.lists, $0.lists.scopes, [], isNegative, isWanted) } ?? false
    case .group: return judgeGroups(facts, isNegative, isWanted)
    case .claim: return judgeClaim(instruction, facts, isWanted)
    default: return withText(instruction.subject, facts) { isWanted($0) != isNegative } ?? false
    }
  }

  /// The same for texts of an identity, and further ones.
  @inline(__always)
  private static func judge(
    _ lists: IdentityLists?, _ texts: Range<Int>, _ more: [String], _ isNegative: Bool, _ isWanted: (RawSpan) -> Bool
  ) -> Bool {
    if texts.isEmpty && more.isEmpty { return false }
    if let lists, lists.contains(texts, isWanted) { return !isNegative }
    for text in more where text.lend(isWanted) { return !isNegative }
    return isNegative
  }

  private func judgeGroups(
    _ facts: borrowing RuleFacts, _ isNegative: Bool, _ isWanted: (RawSpan) -> Bool
  ) -> Bool {
    let own = facts.consumerGroups
    return facts.identity?.with { Self.judge($0.lists, $0.lists.groups, own, isNegative, isWanted) }
      ?? Self.judge(nil, 0..<0, own, isNegative, isWanted)
  }

  @inline(__always)
  private func judgeClaim(
    _ instruction: RuleInstruction, _ facts: borrowing RuleFacts, _ isWanted: (RawSpan) -> Bool
  ) -> Bool {
    let result = withClaim(instruction.subject, facts) { document, place in
      if let found = document.withString(at: place, isWanted) { return found != instruction.isNegative }
      guard !instruction.isScalar, document.kind(at: place) == .array else { return false }
      return judge(document, place, instruction.isNegative, isWanted)
    }
    return result ?? false
  }

  /// The same for the elements of a list; in a negative term each must be a text.
  private func judge(
    _ document: JSONDocument, _ list: JSONDocument.Place, _ isNegative: Bool, _ isWanted: (RawSpan) -> Bool
  ) -> Bool {
    let count = document.count(at: list)
    if count == 0 { return false }
    var element = document.firstElement(of: list)
    for index in 0..<count {
      if index > 0 { element = document.element(after: element) }
      let found = document.withString(at: element, isWanted)
      if found == true { return !isNegative }
      if found == nil && isNegative { return false }
    }
    return isNegative
  }

  /// Lends the text that a fact is; nil where it is none.
  @inline(__always)
  func withText<Result>(
    _ reference: RuleInstruction.Reference, _ facts: borrowing RuleFacts, _ body: (RawSpan) -> Result
  ) -> Result? {
    switch reference.fact {
    case .tenant:
      if let consumer = facts.withConsumer({ Self.lend($0.tenant, body) }), let result = consumer { return result }
      return facts.identity?.with { Self.lend($0.tenant, body) } ?? nil
    case .consumer: return facts.withConsumer { $0.id.lend(body) }
    case .subject: return facts.identity?.with { Self.lend($0.subject, body) } ?? nil
    case .issuer: return facts.identity?.with { Self.lend($0.issuer, body) } ?? nil
    case .client: return facts.identity?.with { Self.lend($0.client, body) } ?? nil
    case .route: return facts.route.isEmpty ? nil : body(facts.route)
    case .claim: return withClaim(reference, facts) { $0.withString(at: $1, body) } ?? nil
    default: return nil
    }
  }

  @inline(__always)
  private static func lend<Result>(_ text: borrowing String?, _ body: (RawSpan) -> Result) -> Result? {
    switch text {
    case .some(let text): text.lend(body)
    case .none: nil
    }
  }

  // MARK: Claims

  /// Finds a claim; nil where there is none, and for null.
  @inline(__always)
  func withClaim<Result>(
    _ reference: RuleInstruction.Reference, _ facts: borrowing RuleFacts,
    _ body: (JSONDocument, JSONDocument.Place) -> Result
  ) -> Result? {
    // The identity keeps its claims.
    guard let claims = facts.identity?.with({ $0.claims.map { Borrowed($0) } }) ?? nil else { return nil }
    return claims.with { document in
      guard let place = program.find(reference, in: document) else { return nil }
      return document.kind(at: place) == .null ? nil : body(document, place)
    }
  }

  @inline(never)
  private func compareNumber(_ place: Int, _ facts: borrowing RuleFacts) -> Bool {
    let instruction = program.instructions[place]
    let result = withClaim(instruction.subject, facts) { document, place in
      if document.kind(at: place) == .number { return isNumber(instruction, document, place) }
      guard !instruction.isScalar, instruction.relation == .equal, document.kind(at: place) == .array else {
        return Bool?.none
      }
      let count = document.count(at: place)
      if count == 0 { return nil }
      var element = document.firstElement(of: place)
      var isFound = false
      for index in 0..<count {
        if index > 0 { element = document.element(after: element) }
        let found = isNumber(instruction, document, element)
        if found == nil && instruction.isNegative { return nil }
        isFound = isFound || found == true
      }
      return isFound
    }
    guard let result, let isFound = result else { return false }
    return isFound != instruction.isNegative
  }

  /// Whether a number of a claim stands in the relation to any of the rule's; nil for what is no number.
  private func isNumber(
    _ instruction: RuleInstruction, _ document: JSONDocument, _ place: JSONDocument.Place
  ) -> Bool? {
    let integer = document.integer(at: place)
    guard let value = integer.map({ Double($0) }) ?? document.value(at: place).number else { return nil }
    for index in instruction.first..<(instruction.first &+ instruction.count) {
      let wanted = program.numbers[Int(index)]
      let holds =
        if let integer, let whole = wanted.integer { instruction.relation.holds(integer, whole) } else {
          instruction.relation.holds(value, wanted.value)
        }
      if holds { return true }
    }
    return false
  }

  @inline(never)
  private func compareBool(_ place: Int, _ facts: borrowing RuleFacts) -> Bool {
    let instruction = program.instructions[place]
    let found = withClaim(instruction.subject, facts) { $0.bool(at: $1) } ?? nil
    guard let found else { return false }
    return (found == (instruction.bits == 1)) != instruction.isNegative
  }

  // MARK: The rest

  private func isPresent(_ reference: RuleInstruction.Reference, _ facts: borrowing RuleFacts) -> Bool {
    switch reference.fact {
    case .role: facts.identity?.with { !$0.roles.isEmpty } ?? false
    case .scope: facts.identity?.with { !$0.scopes.isEmpty } ?? false
    case .group: !facts.consumerGroups.isEmpty || facts.identity?.with { !$0.groups.isEmpty } ?? false
    case .claim: withClaim(reference, facts) { $0.kind(at: $1) != .array || $0.count(at: $1) > 0 } ?? false
    default: withText(reference, facts) { _ in true } ?? false
    }
  }

  @inline(never)
  private func compareMethod(_ place: Int, _ facts: borrowing RuleFacts) -> Bool {
    let instruction = program.instructions[place]
    if facts.methodText.isEmpty { return false }
    let isFound =
      facts.method == .other
      ? isAny(instruction.first, instruction.count, facts.methodText)
      : instruction.bits >> UInt16(facts.method.rawValue) & 1 != 0
    return isFound != instruction.isNegative
  }

  @inline(never)
  private func compareAddress(_ place: Int, _ facts: borrowing RuleFacts) -> Bool {
    let instruction = program.instructions[place]
    guard let address = facts.address else { return false }
    for index in instruction.first..<(instruction.first &+ instruction.count)
    where program.networks[Int(index)].contains(address) {
      return !instruction.isNegative
    }
    return instruction.isNegative
  }

  @inline(never)
  private func compareTime(_ place: Int, _ facts: borrowing RuleFacts) -> Bool {
    let instruction = program.instructions[place]
    let seconds = facts.time.seconds
    let local = seconds + zone.offset(of: zone.segment(at: seconds))
    let day = local.floorDivided(by: 86_400)
    if instruction.kind == .weekday {
      // 1970-01-01 was a Thursday.
      let weekday = day + 3 - (day + 3).floorDivided(by: 7) * 7
      return (instruction.bits >> UInt16(weekday) & 1 != 0) != instruction.isNegative
    }
    let minute = UInt16((local - day * 86_400) / 60)
    for index in instruction.first..<(instruction.first &+ instruction.count)
    where program.windows[Int(index)].contains(minute) {
      return !instruction.isNegative
    }
    return instruction.isNegative
  }
}

extension RuleInstruction.Relation {
  @inline(__always)
  func holds<T: Comparable>(_ found: T, _ wanted: T) -> Bool {
    switch self {
    case .equal: found == wanted
    case .less: found < wanted
    case .lessOrEqual: found <= wanted
    case .greater: found > wanted
    case .greaterOrEqual: found >= wanted
    }
  }
}

extension String {
  /// Lends the text as UTF-8. Copies nothing and counts no reference where it lies in one piece, as all texts do that were
  /// made here.
  @inline(__always)
  func lend<Result>(_ body: (RawSpan) -> Result) -> Result {
    let result = unsafe utf8.withContiguousStorageIfAvailable { unsafe body(RawSpan(_unsafeElements: $0)) }
    if let result { return result }
    let bytes = Array(utf8)
    return body(RawSpan(bytes))
  }
}

extension RuleFacts {
  /// Lends the consumer that calls; nil where there is none.
  @inline(__always)
  func withConsumer<Result>(_ body: (borrowing Consumer) -> Result) -> Result? {
    if let ring, consumer >= 0 { return ring.with { body($0.consumers[consumer]) } }
    return ownConsumer.map { body($0) }
  }

  /// The groups of the consumer that calls.
  var consumerGroups: [String] { withConsumer { $0.groups } ?? [] }
}
