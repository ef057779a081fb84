import Core
import HTTP

// Paths and hosts.

extension AccessRule {
  @inline(never)
  func comparePath(_ place: Int, _ facts: borrowing RuleFacts) -> Bool {
    let instruction = program.instructions[place]
    let path = facts.path
    if path.isEmpty { return false }
    for index in instruction.first..<(instruction.first &+ instruction.count)
    where isPath(program.paths[Int(index)], path) {
      return !instruction.isNegative
    }
    return instruction.isNegative
  }

  private func isPath(_ pattern: RulePathEntry, _ path: RawSpan) -> Bool {
    var position = 0
    for index in pattern.firstSegment..<(pattern.firstSegment &+ pattern.segmentCount) {
      guard position < path.byteCount, path[byte: position] == UInt8(ascii: "/") else { return false }
      let start = position &+ 1
      position = start
      while position < path.byteCount, path[byte: position] != UInt8(ascii: "/") { position &+= 1 }
      let segment = program.segments[Int(index)]
      if segment < 0 {
        if position == start { return false }
      } else if !isDecoded(program.texts[Int(segment)], path.extracting(start..<position)) {
        return false
      }
    }
    // `*`, the target of OPTIONS, is no path.
    return pattern.isPrefix ? path[byte: 0] == UInt8(ascii: "/") : position == path.byteCount
  }

  /// Whether a segment, once it is decoded, is this text.
  private func isDecoded(_ text: RuleText, _ segment: RawSpan) -> Bool {
    var offset = 0
    for index in Int(text.offset)..<(Int(text.offset) &+ Int(text.count)) {
      guard offset < segment.byteCount else { return false }
      let (byte, width) = segment.decodedByte(at: offset)
      if byte != program.bytes[index] { return false }
      offset &+= width
    }
    return offset == segment.byteCount
  }

  @inline(never)
  func compareHost(_ place: Int, _ facts: borrowing RuleFacts) -> Bool {
    let instruction = program.instructions[place]
    var host = facts.host
    if host.isEmpty { return false }
    // A point at the end says that the name is complete, and names the same host.
    let last = host.byteCount &- 1
    if last > 0 && host[byte: last] == UInt8(ascii: ".") { host = host.extracting(0..<last) }
    for index in instruction.first..<(instruction.first &+ instruction.count)
    where isHost(program.hosts[Int(index)], host) {
      return !instruction.isNegative
    }
    return instruction.isNegative
  }

  private func isHost(_ entry: RuleHostEntry, _ host: RawSpan) -> Bool {
    let text = program.texts[Int(entry.text)]
    let start = host.byteCount &- Int(text.count)
    guard entry.isWildcard ? start > 0 : start == 0 else { return false }
    for offset in 0..<Int(text.count) {
      let byte = host[byte: start &+ offset]
      if (byte >= 65 && byte <= 90 ? byte | 32 : byte) != program.bytes[Int(text.offset) &+ offset] { return false }
    }
    return true
  }
}
