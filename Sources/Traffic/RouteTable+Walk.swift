import Core

/// Where a walk through a tree stands.
struct Walk: BitwiseCopyable {
  /// The bit of the request's method.
  let method: UInt64
  /// The node at which this walk, or this branch of it, began: it does not fall back beyond.
  let root: Int32
  var node: Int32
  /// In the path: at a slash, or at the end.
  var position = 0
  /// Segments captured so far.
  var captured = 0

  @inline(__always)
  init(method: UInt64, root: Int32) {
    self.method = method
    self.root = root
    node = root
  }

  /// The branch of this walk that begins with a child.
  @inline(__always)
  func branch(to child: Int32, at position: Int) -> Walk {
    var branch = Walk(method: method, root: child)
    branch.position = position
    branch.captured = captured
    return branch
  }
}

extension RouteTable {
  /// The route below the walk's root, −1 if there is none. Goes down as far as the path leads, then back up through the
  /// nodes whose star takes the rest. Only where a literal and a capture both fit does a branch of its own begin: the
  /// depth of the recursion is bounded by ``RoutePattern/segmentLimit``, and no node is visited twice.
  func visit<Request: RoutableRequest>(
    _ request: Request, _ path: RawSpan, _ arena: RawSpan, _ start: Walk, captures: inout RouteCaptures,
    allowed: inout UInt64
  ) -> Int32 {
    var walk = start
    while walk.position < path.byteCount, byte(path, walk.position) == UInt8(ascii: "/") {
      let node = storage.nodes[Int(walk.node)]
      if node.isLeaf { break }
      let first = walk.position &+ 1
      let segment = scanSegment(path, from: first)
      let child = node.literalChildren > 0 ? literalChild(of: walk.node, path, arena, start: first, segment) : -1
      let takesCapture = node.captureChild >= 0 && segment.end > first
      if child >= 0 {
        if takesCapture {
          let branch = walk.branch(to: child, at: segment.end)
          let route = visit(request, path, arena, branch, captures: &captures, allowed: &allowed)
          if route >= 0 { return route }
        } else {
          walk.node = child
          walk.position = segment.end
          continue
        }
      }
      guard takesCapture else { break }
      captures.set(walk.captured, start: first, end: segment.end)
      walk.captured &+= 1
      walk.node = node.captureChild
      walk.position = segment.end
    }
    return settle(request, path, arena, walk, captures: &captures, allowed: &allowed)
  }

  /// Tries what hangs at the walk's node, then at the nodes above it.
  @inline(__always)
  func settle<Request: RoutableRequest>(
    _ request: Request, _ path: RawSpan, _ arena: RawSpan, _ end: Walk, captures: inout RouteCaptures,
    allowed: inout UInt64
  ) -> Int32 {
    var walk = end
    var isAtEnd = walk.position >= path.byteCount
    while true {
      let node = storage.nodes[Int(walk.node)]
      let skipped = isAtEnd ? 0 : node.exactCount
      let count = node.exactCount &+ node.prefixCount &- skipped
      if count > 0 {
        let route = choose(
          request, arena, node.entryStart &+ skipped, count, method: walk.method, allowed: &allowed)
        if route >= 0 {
          captures.captured = Int32(truncatingIfNeeded: walk.captured)
          captures.rest = Int32(truncatingIfNeeded: min(walk.position &+ 1, path.byteCount))
          return route
        }
      }
      if walk.node == walk.root { return -1 }
      if storage.nodes[Int(node.parent)].captureChild == walk.node { walk.captured &-= 1 }
      walk.node = node.parent
      isAtEnd = false
      walk.position = min(walk.position, path.byteCount) &- 1
      while byte(path, walk.position) != UInt8(ascii: "/") { walk.position &-= 1 }
    }
  }

  @inline(__always)
  static func edgeHash(parent: Int32, segment: UInt64) -> UInt64 {
    var hash = WordHash(seed: UInt64(UInt32(bitPattern: parent)))
    hash.mix(segment)
    return hash.state
  }

  @inline(__always)
  private func literalChild(
    of parent: Int32, _ path: RawSpan, _ arena: RawSpan, start: Int, _ segment: Segment
  ) -> Int32 {
    let hash = Self.edgeHash(parent: parent, segment: segment.hash)
    let mask = storage.edgeSlots.count &- 1
    var slot = Int(truncatingIfNeeded: hash) & mask
    while true {
      let value = storage.edgeSlots[slot]
      if value == 0 { return -1 }
      if value >> 32 == hash >> 32 {
        let child = Int32(truncatingIfNeeded: value) &- 1
        let node = storage.nodes[Int(child)]
        if node.parent == parent, equals(path, start, segment, arena, node) { return child }
      }
      slot = (slot &+ 1) & mask
    }
  }

  @inline(__always)
  private func equals(_ path: RawSpan, _ start: Int, _ segment: Segment, _ arena: RawSpan, _ node: Node) -> Bool {
    if segment.isEncoded {
      return equalDecoded(path, start, segment.end, arena, Int(node.textStart), Int(node.textCount))
    }
    return Int(node.textCount) == segment.end &- start
      && equalPadded(path, start, arena, Int(node.textStart), Int(node.textCount))
  }

  /// The first of `count` entries whose conditions hold, −1 if none; methods that would have done go to `allowed`.
  @inline(__always)
  private func choose<Request: RoutableRequest>(
    _ request: Request, _ arena: RawSpan, _ start: Int32, _ count: Int32, method: UInt64, allowed: inout UInt64
  ) -> Int32 {
    var index = Int(start)
    let end = index &+ Int(count)
    while index < end {
      let entry = storage.entries[index]
      if entry.conditionCount == 0 || holds(request, arena, entry) {
        if entry.methods & method != 0 { return entry.route }
        allowed |= entry.methods
      }
      index &+= 1
    }
    return -1
  }

  private func holds<Request: RoutableRequest>(_ request: Request, _ arena: RawSpan, _ entry: Entry) -> Bool {
    var index = Int(entry.conditionStart)
    let end = index &+ Int(entry.conditionCount)
    while index < end {
      let condition = storage.conditions[index]
      let isMet =
        switch condition.kind {
        case .header: hasField(request, arena, condition)
        case .mediaType: hasMediaTypeParameter(request, arena, condition)
        case .query: hasQueryParameter(request.queryBytes, arena, condition)
        }
      if !isMet { return false }
      index &+= 1
    }
    return true
  }
}
