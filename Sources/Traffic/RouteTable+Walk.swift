import Core

extension RouteTable {
  /// Walks the tree of a host. Recursive because a literal child that leads nowhere gives way to a capture; the depth is
  /// that of the deepest pattern, which ``RoutePattern/segmentLimit`` bounds, and no node is visited twice.
  @inline(__always)
  func walk<Request: RoutableRequest>(
    _ request: Request, root: Int32, method: UInt64, captures: inout RouteCaptures, allowed: inout UInt64
  ) -> Int32 {
    captures.count = 0
    return visit(
      request, request.pathBytes, texts, node: root, at: 0, captured: 0, method: method,
      captures: &captures, allowed: &allowed)
  }

  /// Looks for a route below `node`; `position` is that of a slash or the end of the path.
  private func visit<Request: RoutableRequest>(
    _ request: Request, _ path: RawSpan, _ arena: RawSpan, node index: Int32, at position: Int, captured: Int,
    method: UInt64, captures: inout RouteCaptures, allowed: inout UInt64
  ) -> Int32 {
    let node = storage.nodes[Int(index)]
    if position >= path.byteCount {
      let count = node.exactCount &+ node.prefixCount
      let route = choose(request, arena, node.entryStart, count, method: method, allowed: &allowed)
      if route >= 0 {
        captures.count = Int32(truncatingIfNeeded: captured)
        captures.restStart = Int32(truncatingIfNeeded: path.byteCount)
      }
      return route
    }
    if (node.literalChildren > 0 || node.captureChild >= 0) && byte(path, position) == UInt8(ascii: "/") {
      let segment = scanSegment(path, from: position &+ 1)
      if node.literalChildren > 0 {
        let child = literalChild(of: index, path, arena, start: position &+ 1, segment)
        if child >= 0 {
          let route = visit(
            request, path, arena, node: child, at: segment.end, captured: captured, method: method,
            captures: &captures, allowed: &allowed)
          if route >= 0 { return route }
        }
      }
      if node.captureChild >= 0, segment.end > position &+ 1 {
        let route = visit(
          request, path, arena, node: node.captureChild, at: segment.end, captured: captured &+ 1, method: method,
          captures: &captures, allowed: &allowed)
        if route >= 0 {
          captures.set(captured, start: position &+ 1, end: segment.end)
          return route
        }
      }
    }
    if node.prefixCount == 0 { return -1 }
    let route = choose(
      request, arena, node.entryStart &+ node.exactCount, node.prefixCount, method: method, allowed: &allowed)
    if route >= 0 {
      captures.count = Int32(truncatingIfNeeded: captured)
      captures.restStart = Int32(truncatingIfNeeded: position &+ 1)
    }
    return route
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
      && equalBytes(path, start, arena, Int(node.textStart), Int(node.textCount))
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
