import Core

extension RouteTable {
  /// Compiles the matches of all routes; a route's index is its place in `matches`. The table is nil if one of the
  /// problems is an error. Cost: linear in the routes, except that routes of one host and path are compared pairwise.
  public static func build(_ matches: [RouteMatch]) -> (table: RouteTable?, problems: [RouteProblem]) {
    var builder = RouteTableBuilder()
    for (index, match) in matches.enumerated() { builder.add(match, route: index) }
    let storage = builder.finish()
    let problems = builder.problems.sorted { $0.route < $1.route }
    guard problems.allSatisfy(\.isWarning) else { return (nil, problems) }
    return (RouteTable(storage: storage, captureNames: builder.captureNames), problems)
  }
}

/// Collects routes in dictionaries, which building can afford, and lays them out flat.
struct RouteTableBuilder {
  struct Edge: Hashable {
    var parent: Int32
    var segment: RoutePattern.Segment
  }

  struct Candidate {
    var route: Int
    var named: UInt64
    var conditions: [ConditionKey]

    /// How many methods it takes.
    var methodCount: Int { named == 0 ? 65 : named.nonzeroBitCount }
    var fieldConditions: Int { conditions.count { $0.kind != .query } }
    var queryConditions: Int { conditions.count - fieldConditions }

    /// Whether it is asked before `other`.
    func precedes(_ other: Candidate) -> Bool {
      if methodCount != other.methodCount { return methodCount < other.methodCount }
      if fieldConditions != other.fieldConditions { return fieldConditions > other.fieldConditions }
      return queryConditions > other.queryConditions
    }

    /// Whether a request could satisfy both. A field or parameter has one value in all requests that matter here.
    func overlaps(_ other: Candidate) -> Bool {
      if named != 0, other.named != 0, named & other.named == 0 { return false }
      return !conditions.contains { mine in
        other.conditions.contains { mine.kind == $0.kind && mine.name == $0.name && mine.value != $0.value }
      }
    }
  }

  struct ConditionKey: Hashable {
    var kind: RouteTable.Condition.Kind
    var name: [UInt8]
    var value: [UInt8]
  }

  struct Leaf {
    var exact: [Candidate] = []
    var prefix: [Candidate] = []
  }

  private(set) var problems: [RouteProblem] = []
  private(set) var captureNames: [[String]] = []
  private var storage = RouteTable.Storage()
  private var roots: [RoutePattern.Host: Int32] = [:]
  private var edges: [Edge: Int32] = [:]
  private var leaves: [Leaf] = []
  private var methodBits: [String: UInt64] = [:]
  private var texts: [[UInt8]: Int32] = [:]

  init() {
    for name in RouteTable.knownMethods {
      _ = bit(ofMethod: name, route: 0)
    }
  }

  mutating func add(_ match: RouteMatch, route: Int) {
    let pattern = RoutePattern(match)
    for reason in pattern.problems { problems.append(RouteProblem(route: route, reason: reason)) }
    captureNames.append(pattern.captureNames)
    var named: UInt64 = 0
    for method in match.methods { named |= bit(ofMethod: method, route: route) }
    let candidate = Candidate(route: route, named: named, conditions: conditions(of: match, route: route))
    guard pattern.problems.isEmpty else { return }
    var node = root(of: pattern.host)
    for segment in pattern.segments { node = child(of: node, segment) }
    if pattern.isPrefix {
      leaves[Int(node)].prefix.append(candidate)
    } else {
      leaves[Int(node)].exact.append(candidate)
    }
  }

  private mutating func conditions(of match: RouteMatch, route: Int) -> [ConditionKey] {
    var keys: [ConditionKey] = []
    for header in match.headers { keys.append(key(.header, header.name, header.value)) }
    switch match.version {
    case .header(let name, let value): keys.append(key(.header, name, value))
    case .mediaType(let parameter, let value): keys.append(key(.mediaType, parameter, value))
    case .path, nil: break
    }
    for parameter in match.query {
      keys.append(ConditionKey(kind: .query, name: Array(parameter.name.utf8), value: Array(parameter.value.utf8)))
    }
    for (index, condition) in keys.enumerated() {
      let text = String(decoding: condition.name, as: UTF8.self)
      if condition.name.isEmpty || condition.kind != .query && !condition.name.allSatisfy(isTokenByte) {
        problems.append(RouteProblem(route: route, reason: .conditionName(text)))
      }
      let isContradicted = keys[..<index].contains {
        $0.kind == condition.kind && $0.name == condition.name && $0.value != condition.value
      }
      if condition.kind != .query, isContradicted {
        problems.append(RouteProblem(route: route, reason: .contradiction(header: text)))
      }
    }
    return keys
  }

  private func key(_ kind: RouteTable.Condition.Kind, _ name: String, _ value: String) -> ConditionKey {
    ConditionKey(kind: kind, name: Array(name.lowercased().utf8), value: Array(value.utf8))
  }

  private mutating func bit(ofMethod name: String, route: Int) -> UInt64 {
    if let bit = methodBits[name] { return bit }
    let bytes = Array(name.utf8)
    guard !bytes.isEmpty, bytes.count <= 16, bytes.allSatisfy(isTokenByte) else {
      problems.append(RouteProblem(route: route, reason: .method(name)))
      return 0
    }
    guard storage.methods.count < 63 else {
      problems.append(RouteProblem(route: route, reason: .methodCount))
      return 0
    }
    let bit: UInt64 = 1 << UInt64(storage.methods.count)
    methodBits[name] = bit
    storage.methods.append(UInt128(loadWord(RawSpan(bytes), 0)) | UInt128(loadWord(RawSpan(bytes), 8)) << 64)
    storage.methodNames.append(name)
    return bit
  }

  private mutating func root(of host: RoutePattern.Host) -> Int32 {
    if let root = roots[host] { return root }
    let root = node(parent: -1, text: [])
    roots[host] = root
    switch host {
    case .any: storage.anyHostRoot = root
    case .exact(let name, let port): addHost(name, port: port, root: root, isWildcard: false)
    case .wildcard(let name, let port): addHost(name, port: port, root: root, isWildcard: true)
    }
    return root
  }

  private mutating func addHost(_ name: [UInt8], port: UInt16, root: Int32, isWildcard: Bool) {
    if isWildcard { storage.wildcardLabels = max(storage.wildcardLabels, name.count { $0 == UInt8(ascii: ".") }) }
    if port != 0 { storage.hasPorts = true }
    storage.hosts.append(
      RouteTable.Host(
        root: root, textStart: text(name), textCount: Int32(name.count), port: port, isWildcard: isWildcard)
    )
  }

  private mutating func node(parent: Int32, text bytes: [UInt8]) -> Int32 {
    storage.nodes.append(RouteTable.Node(parent: parent, textStart: text(bytes), textCount: Int32(bytes.count)))
    leaves.append(Leaf())
    return Int32(storage.nodes.count - 1)
  }

  private mutating func child(of parent: Int32, _ segment: RoutePattern.Segment) -> Int32 {
    let edge = Edge(parent: parent, segment: segment)
    if let child = edges[edge] { return child }
    let child: Int32
    switch segment {
    case .literal(let bytes):
      child = node(parent: parent, text: bytes)
      storage.nodes[Int(parent)].literalChildren += 1
    case .capture:
      child = node(parent: parent, text: [])
      storage.nodes[Int(parent)].captureChild = child
    }
    edges[edge] = child
    return child
  }

  /// Where `bytes` stand in the arena; equal texts stand there once.
  private mutating func text(_ bytes: [UInt8]) -> Int32 {
    if let start = texts[bytes] { return start }
    let start = Int32(storage.arena.count)
    storage.arena += bytes
    texts[bytes] = start
    return start
  }

  // MARK: Laying out

  mutating func finish() -> RouteTable.Storage {
    for index in leaves.indices {
      storage.nodes[index].entryStart = Int32(storage.entries.count)
      let leaf = leaves[index]
      storage.nodes[index].exactCount = place(leaf.exact)
      storage.nodes[index].prefixCount = place(leaf.prefix)
    }
    fillSlots()
    return storage
  }

  private mutating func place(_ unordered: [Candidate]) -> Int32 {
    var candidates = unordered
    if candidates.count > 1 {
      // The standard sort is stable in fact but not by contract, hence the index.
      candidates.sort { $0.precedes($1) || !$1.precedes($0) && $0.route < $1.route }
      report(candidates)
    }
    let head = methodBits["HEAD"] ?? 0
    let get = methodBits["GET"] ?? 0
    for candidate in candidates {
      var methods = candidate.named == 0 ? UInt64.max : candidate.named
      let isHeadTaken = candidates.contains { $0.named & head != 0 && $0.conditions == candidate.conditions }
      if candidate.named & get != 0, !isHeadTaken { methods |= head }
      storage.entries.append(
        RouteTable.Entry(
          methods: methods, route: Int32(candidate.route), conditionStart: Int32(storage.conditions.count),
          conditionCount: Int32(candidate.conditions.count)))
      for condition in candidate.conditions {
        storage.conditions.append(
          RouteTable.Condition(
            kind: condition.kind, nameStart: text(condition.name), nameCount: Int32(condition.name.count),
            valueStart: text(condition.value), valueCount: Int32(condition.value.count)))
      }
    }
    return Int32(candidates.count)
  }

  private mutating func report(_ candidates: [Candidate]) {
    for (place, candidate) in candidates.enumerated() {
      var taken: UInt64 = 0
      for earlier in candidates[..<place] {
        if !earlier.precedes(candidate), earlier.overlaps(candidate) {
          problems.append(RouteProblem(route: candidate.route, reason: .tie(with: earlier.route)))
          break
        }
        guard earlier.conditions.allSatisfy({ candidate.conditions.contains($0) }) else { continue }
        taken |= earlier.named == 0 ? .max : earlier.named
        let wanted = candidate.named == 0 ? UInt64.max : candidate.named
        if wanted & ~taken == 0 {
          problems.append(RouteProblem(route: candidate.route, reason: .unreachable(because: earlier.route)))
          break
        }
      }
    }
  }

  private mutating func fillSlots() {
    let edgeCount = storage.nodes.count
    storage.edgeSlots = ContiguousArray(repeating: 0, count: Self.slotCount(edgeCount))
    for (index, node) in storage.nodes.enumerated() where node.parent >= 0 {
      guard storage.nodes[Int(node.parent)].captureChild != Int32(index) else { continue }
      let start = Int(node.textStart)
      let segment = literalHash(Array(storage.arena[start..<start + Int(node.textCount)]))
      Self.insert(index, RouteTable.edgeHash(parent: node.parent, segment: segment), into: &storage.edgeSlots)
    }
    storage.hostSlots = ContiguousArray(repeating: 0, count: Self.slotCount(storage.hosts.count))
    for (index, host) in storage.hosts.enumerated() {
      let start = Int(host.textStart)
      let end = start + Int(host.textCount)
      let hash = RouteTable.hostHash(
        RawSpan(storage.arena), start, end, port: host.port, isWildcard: host.isWildcard)
      Self.insert(index, hash, into: &storage.hostSlots)
    }
  }

  /// The hash of a decoded literal, by the same words as ``scanEncodedSegment(_:from:)`` feeds.
  private func literalHash(_ bytes: [UInt8]) -> UInt64 {
    var hash = WordHash()
    let span = RawSpan(bytes)
    var at = 0
    while at + 8 <= bytes.count {
      hash.mix(loadWord(span, at))
      at += 8
    }
    hash.mix(loadWord(span, at))
    return hash.state
  }

  /// A power of two that leaves at least a third free.
  private static func slotCount(_ count: Int) -> Int {
    var slots = 1
    while slots * 2 < count * 3 + 2 { slots *= 2 }
    return slots
  }

  private static func insert(_ index: Int, _ hash: UInt64, into slots: inout ContiguousArray<UInt64>) {
    var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
    while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
    slots[slot] = (hash & ~0xffff_ffff) | UInt64(index + 1)
  }
}

/// Whether a byte may stand in a method or field name (RFC 9110 section 5.6.2).
func isTokenByte(_ letter: UInt8) -> Bool {
  switch letter {
  case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
  default: "!#$%&'*+-.^_`|~".utf8.contains(letter)
  }
}
