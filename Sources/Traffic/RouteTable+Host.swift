import Core

/// An authority taken apart: the name ends at `nameEnd`, the port is −1 where there is none that is a number.
struct Authority {
  var nameEnd: Int
  var port: Int32

  @inline(__always)
  init(_ text: RawSpan) {
    var end = text.byteCount
    port = -1
    var at = end &- 1
    var value: Int32 = 0
    var scale: Int32 = 1
    // A port has at most five digits; what is longer is part of a name that no pattern has.
    while at >= 0, at >= text.byteCount &- 6 {
      let digit = byte(text, at)
      if digit == UInt8(ascii: ":") {
        end = at
        if at != text.byteCount &- 1 { port = value }
        break
      }
      guard digit >= 0x30, digit <= 0x39 else { break }
      value &+= Int32(digit &- 0x30) &* scale
      scale &*= 10
      at &-= 1
    }
    if end > 1, byte(text, end &- 1) == UInt8(ascii: ".") { end &-= 1 }
    nameEnd = end
  }
}

extension RouteTable {
  /// The hash of a name without regard to case. Wildcards are hashed from the end, so one pass finds all suffixes.
  @inline(__always)
  static func hostHash(_ text: RawSpan, end: Int, port: Int32) -> UInt64 {
    var hash = WordHash(seed: UInt64(UInt32(bitPattern: port)))
    var at = 0
    while true {
      let width = min(8, end &- at)
      hash.mix(lowercased(firstBytes(loadWord(text, at), width)))
      if width < 8 { return hash.state }
      at &+= 8
    }
  }

  static func suffixSeed(port: Int32) -> WordHash {
    var hash = WordHash(seed: UInt64(UInt32(bitPattern: port)))
    hash.mix(0x2a)
    return hash
  }

  @inline(__always)
  func findHosts(_ authority: RawSpan, _ roots: inout HostRoots) {
    if storage.hosts.count > 0 { findNamedHosts(authority, &roots) }
    if storage.anyHostRoot >= 0 { roots.append(storage.anyHostRoot) }
  }

  func findNamedHosts(_ text: RawSpan, _ roots: inout HostRoots) {
    let authority = Authority(text)
    if storage.hasPorts, authority.port >= 0 {
      find(
        text, 0, authority.nameEnd, authority.port, Self.hostHash(text, end: authority.nameEnd, port: authority.port),
        &roots)
    }
    find(text, 0, authority.nameEnd, -1, Self.hostHash(text, end: authority.nameEnd, port: -1), &roots)
    if storage.wildcardLabels > 0 { findWildcards(text, authority, &roots) }
  }

  private func findWildcards(_ text: RawSpan, _ authority: Authority, _ roots: inout HostRoots) {
    // The longest suffix is the most specific, but the shortest is met first: collect, then reverse.
    var found = HostRoots()
    var general = Self.suffixSeed(port: -1)
    var ported = Self.suffixSeed(port: authority.port)
    var labels = 0
    var at = authority.nameEnd &- 1
    while at > 0, labels < storage.wildcardLabels {
      let letter = UInt64(truncatingIfNeeded: lowercased(UInt64(byte(text, at))))
      general.mix(letter)
      ported.mix(letter)
      if letter == UInt64(UInt8(ascii: ".")) {
        labels &+= 1
        find(text, at, authority.nameEnd, -1, general.state, &found)
        if storage.hasPorts, authority.port >= 0 {
          find(text, at, authority.nameEnd, authority.port, ported.state, &found)
        }
      }
      at &-= 1
    }
    var index = found.count &- 1
    while index >= 0 {
      roots.append(found[index])
      index &-= 1
    }
  }

  @inline(__always)
  private func find(_ text: RawSpan, _ start: Int, _ end: Int, _ port: Int32, _ hash: UInt64, _ roots: inout HostRoots)
  {
    let mask = storage.hostSlots.count &- 1
    var slot = Int(truncatingIfNeeded: hash) & mask
    while true {
      let value = storage.hostSlots[slot]
      if value == 0 { return }
      if value >> 32 == hash >> 32 {
        let host = storage.hosts[Int(truncatingIfNeeded: value & 0xffff_ffff) &- 1]
        if host.hash == hash, host.port == port, host.isWildcard == (start != 0), Int(host.textCount) == end &- start,
          equalsHost(text, start, host)
        {
          roots.append(host.root)
          return
        }
      }
      slot = (slot &+ 1) & mask
    }
  }

  @inline(__always)
  private func equalsHost(_ text: RawSpan, _ start: Int, _ host: Host) -> Bool {
    let arena = texts
    var done = 0
    while done < Int(host.textCount) {
      let width = Int(host.textCount) &- done
      let word = lowercased(firstBytes(loadWord(text, start &+ done), width))
      if word != firstBytes(loadWord(arena, Int(host.textStart) &+ done), width) { return false }
      done &+= 8
    }
    return true
  }
}
