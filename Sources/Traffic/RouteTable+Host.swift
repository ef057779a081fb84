import Core

/// An authority taken apart: the name ends at `nameEnd`, the port is 0 where there is none that is a number.
struct Authority {
  var nameEnd: Int
  var port: UInt16 = 0

  init(_ text: RawSpan) {
    nameEnd = text.byteCount
    var at = text.byteCount &- 1
    var value: UInt32 = 0
    var scale: UInt32 = 1
    // A port has at most five digits; what is longer is part of a name that no pattern has.
    while at >= 0, at >= text.byteCount &- 6 {
      let digit = byte(text, at)
      if digit == UInt8(ascii: ":") {
        nameEnd = at
        port = UInt16(exactly: value) ?? 0
        break
      }
      guard digit >= 0x30, digit <= 0x39 else { break }
      value &+= UInt32(digit &- 0x30) &* scale
      scale &*= 10
      at &-= 1
    }
  }
}

extension RouteTable {
  /// The hash of `text[start..<end]` without regard to case; names, suffixes and ports must not be taken for each other.
  @inline(__always)
  static func hostHash(_ text: RawSpan, _ start: Int, _ end: Int, port: UInt16, isWildcard: Bool) -> UInt64 {
    var hash = WordHash(seed: UInt64(port) << 1 | (isWildcard ? 1 : 0))
    var at = start
    while true {
      let width = min(8, end &- at)
      hash.mix(lowercased(firstBytes(loadWord(text, at), width)))
      if width < 8 { return hash.state }
      at &+= 8
    }
  }

  /// The root of the tree for exactly this host, −1 if there is none. A port of 0 asks for the pattern that takes any.
  @inline(__always)
  func findHost(_ text: RawSpan, _ start: Int, _ end: Int, port: UInt16, isWildcard: Bool, _ arena: RawSpan) -> Int32 {
    let hash = Self.hostHash(text, start, end, port: port, isWildcard: isWildcard)
    let mask = storage.hostSlots.count &- 1
    var slot = Int(truncatingIfNeeded: hash) & mask
    while true {
      let value = storage.hostSlots[slot]
      if value == 0 { return -1 }
      if value >> 32 == hash >> 32 {
        let host = storage.hosts[Int(truncatingIfNeeded: value & 0xffff_ffff) &- 1]
        if host.port == port, host.isWildcard == isWildcard, Int(host.textCount) == end &- start,
          equalsHost(text, start, arena, Int(host.textStart), Int(host.textCount))
        {
          return host.root
        }
      }
      slot = (slot &+ 1) & mask
    }
  }

  @inline(__always)
  private func equalsHost(_ text: RawSpan, _ start: Int, _ arena: RawSpan, _ nameStart: Int, _ count: Int) -> Bool {
    var done = 0
    while done < count {
      let width = count &- done
      let word = firstBytes(loadWord(text, start &+ done), width)
      let expected = firstBytes(loadWord(arena, nameStart &+ done), width)
      if word != expected, lowercased(word) != expected { return false }
      done &+= 8
    }
    return true
  }
}

/// The trees in which a request is looked up, most specific host first, found one by one: most requests need only the
/// first.
struct HostSearch {
  private enum Stage { case port, exact, wildcard, any, end }

  private var stage = Stage.port
  private var end = 0
  /// Where the next suffix to look for begins, and whether it is looked for with the port.
  private var dot = -1
  private var isPortNext = false

  @inline(__always)
  init() {}

  /// The next root for the host of `request`, −1 when there are no more.
  @inline(never)
  mutating func next<Request: RoutableRequest>(_ table: RouteTable, _ request: Request, _ arena: RawSpan) -> Int32 {
    next(table, request.hostBytes, port: request.port, arena)
  }

  /// The next root, −1 when there are no more.
  mutating func next(_ table: RouteTable, _ host: RawSpan, port: UInt16, _ arena: RawSpan) -> Int32 {
    if stage == .port {
      end = host.byteCount
      // A name may be written with the dot of the root of all names.
      if end > 1, byte(host, end &- 1) == UInt8(ascii: ".") { end &-= 1 }
      stage = table.storage.hosts.isEmpty ? .any : .exact
      if stage == .exact, table.storage.hasPorts, port != 0 {
        let root = table.findHost(host, 0, end, port: port, isWildcard: false, arena)
        if root >= 0 { return root }
      }
    }
    if stage == .exact {
      stage = table.storage.wildcardLabels > 0 ? .wildcard : .any
      let root = table.findHost(host, 0, end, port: 0, isWildcard: false, arena)
      if root >= 0 { return root }
    }
    while stage == .wildcard {
      let root = nextWildcard(table, host, port: port, arena)
      if root >= 0 { return root }
    }
    if stage == .any {
      stage = .end
      return table.storage.anyHostRoot
    }
    return -1
  }

  /// Looks for one suffix, with the port first; sets the stage when none is left.
  private mutating func nextWildcard(_ table: RouteTable, _ host: RawSpan, port: UInt16, _ arena: RawSpan) -> Int32 {
    let asksForPort = table.storage.hasPorts && port != 0
    if dot < 0 {
      dot = firstDot(host, labels: table.storage.wildcardLabels)
      isPortNext = asksForPort
    }
    guard dot < end else {
      stage = .any
      return -1
    }
    if isPortNext {
      isPortNext = false
      return table.findHost(host, dot, end, port: port, isWildcard: true, arena)
    }
    let root = table.findHost(host, dot, end, port: 0, isWildcard: true, arena)
    isPortNext = asksForPort
    dot &+= 1
    while dot < end, byte(host, dot) != UInt8(ascii: ".") { dot &+= 1 }
    return root
  }

  /// The dot with at most `labels` labels behind it, the first byte of the host not counted; `end` if there is none.
  private func firstDot(_ host: RawSpan, labels: Int) -> Int {
    var found = end
    var count = 0
    var at = end &- 1
    while at > 0, count < labels {
      if byte(host, at) == UInt8(ascii: ".") {
        found = at
        count &+= 1
      }
      at &-= 1
    }
    return found
  }
}
