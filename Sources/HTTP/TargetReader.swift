import CLinux
import Core

// Path and query of a request target.
//
// Routes are chosen by what the segments of a path stand for, and the path goes on as it was sent. That is safe only if
// no upstream sees other segments in it than we do. So a path that could be cut differently is refused instead of being
// normalised: dot segments in any spelling, empty segments, escapes of "/" and "\" and of control bytes. Some APIs need
// the second and the third (a name with a slash in it as one segment); `PathTolerance` lets them through. The query,
// which nobody routes by spelling, is left alone.
//
// Beyond RFC 3986, what browsers send unencoded (WHATWG URL) is let through: [ ] | in paths, and \ ^ ` { | } in queries.

enum TargetReader {
  /// Reads a path that begins with `/`, and the query behind it; 0 or a refusal. At `end` stands a space.
  @inline(__always)
  static func read(
    _ window: borrowing HeadWindow, _ start: Int, _ end: Int, _ paths: PathTolerance,
    _ line: inout RequestHead.Facts
  ) -> Int {
    // Most paths are made of letters, digits, dashes, dots and single slashes; where no dot follows a slash, nobody can
    // cut them differently.
    var at = start
    var carried: UInt32 = 0
    while at < end {
      let stop = window.pathStop16(at)
      let slash = window.equal16(at, 47)
      let suspicious = window.dotOrSlash16(at) & (slash &<< 1 | carried)
      if stop != 0 {
        let pathEnd = at &+ Int(sluice_lowest(stop))
        // Below the first byte that is no part of a plain path.
        if suspicious & ((stop & (0 &- stop)) &- 1) != 0 { break }
        if pathEnd == end {
          line.path = ByteRange(start, upTo: end)
          return 0
        }
        if window.byte(pathEnd) != 63 { break }
        line.path = ByteRange(start, upTo: pathEnd)
        return readQuery(window, pathEnd, end, &line)
      }
      if suspicious != 0 { break }
      carried = slash &>> 15
      at &+= 16
    }
    return readStrange(window, start, end, paths, &line)
  }

  /// The whole truth about paths.
  @inline(never)
  private static func readStrange(
    _ window: borrowing HeadWindow, _ start: Int, _ end: Int, _ paths: PathTolerance,
    _ line: inout RequestHead.Facts
  ) -> Int {
    var at = start
    var pathEnd = end
    var suspicious: UInt32 = 0
    // Whether the byte before the next block is a slash.
    var carried: UInt32 = 0
    while at < pathEnd {
      let left = pathEnd &- at
      var inside: UInt32 = left >= 16 ? 0xffff : (1 &<< UInt32(truncatingIfNeeded: left)) &- 1
      let question = window.equal16(at, 63) & inside
      if question != 0 {
        pathEnd = at &+ question.trailingZeroBitCount
        inside &= (question & (0 &- question)) &- 1
      }
      let stop = window.targetStop16(at) & inside
      if stop != 0 { return refusal(window.byte(at &+ stop.trailingZeroBitCount)) }
      let slash = window.equal16(at, 47)
      let followsSlash = slash &<< 1 | carried
      suspicious |= (window.equal16(at, 37) | (window.equal16(at, 46) | slash) & followsSlash) & inside
      carried = slash &>> 15
      at &+= 16
    }
    line.path = ByteRange(start, upTo: pathEnd)
    line.isPathUnusual = suspicious != 0
    if suspicious != 0, let fault = PathRules.fault(window, start, pathEnd, paths) { return LineEnd.refusal(fault) }
    return pathEnd == end ? 0 : readQuery(window, pathEnd, end, &line)
  }

  /// Reads `?` and what follows; 0 or a refusal.
  @inline(never)
  static func readQuery(
    _ window: borrowing HeadWindow, _ start: Int, _ end: Int, _ line: inout RequestHead.Facts
  ) -> Int {
    if window.byte(start) != 63 { return refusal(window.byte(start)) }
    line.query = ByteRange(start &+ 1, upTo: end)
    var at = start &+ 1
    while at < end {
      var stop = window.targetStop16(at)
      while stop != 0 {
        let found = at &+ stop.trailingZeroBitCount
        if found >= end { return 0 }
        switch window.byte(found) {
        case 92, 94, 96, 123, 124, 125: stop &= stop &- 1
        case let byte: return refusal(byte)
        }
      }
      at &+= 16
    }
    return 0
  }

  private static func refusal(_ byte: UInt8) -> Int {
    LineEnd.refusal(byte == 35 ? .fragmentInTarget : byte == 32 ? .malformedRequestLine : .malformedTarget)
  }
}

/// What a path must not hold; see the head of this file.
enum PathRules {
  /// The first rule that the path from `start` up to `end` breaks, or nil.
  static func fault(
    _ window: borrowing HeadWindow, _ start: Int, _ end: Int, _ tolerance: PathTolerance
  ) -> HTTPFault? {
    var index = start
    var segment = start
    while index < end {
      switch window.byte(index) {
      case 47:
        if index > start, let fault = segmentFault(window, segment, index, tolerance) { return fault }
        segment = index + 1
      case 37:
        guard end - index > 2, let high = ByteClass.hexadecimalValue(window.byte(index + 1)),
          let low = ByteClass.hexadecimalValue(window.byte(index + 2))
        else { return .malformedEscape }
        let decoded = high << 4 | low
        if decoded == 47 || decoded == 92, !tolerance.contains(.encodedSlashes) { return .encodedSeparator }
        if decoded < 32 || decoded == 127 { return .encodedControl }
        if decoded == 46 { return .encodedDot }
        index += 2
      default: break
      }
      index += 1
    }
    // An empty last segment is the slash at the end.
    return segment == end ? nil : segmentFault(window, segment, end, tolerance)
  }

  private static func segmentFault(
    _ window: borrowing HeadWindow, _ start: Int, _ end: Int, _ tolerance: PathTolerance
  ) -> HTTPFault? {
    if start == end { return tolerance.contains(.emptySegments) ? nil : .emptySegment }
    // Some servers cut parameters off before they look for dots: "..;x" climbs there. Some decode a slash before they
    // do: where it may be encoded, no part of a segment may be dots either.
    var part = start
    while part < end {
      var last = part
      while last < end, window.byte(last) == 46 { last += 1 }
      let isDots = last - part == 1 || last - part == 2
      if isDots, last == end || window.byte(last) == 59 || isEncodedSlash(window, last, end) { return .dotSegment }
      while last < end, !isEncodedSlash(window, last, end) { last += 1 }
      part = last + 3
    }
    return nil
  }

  /// Whether an escape of "/" or "\\" begins at `index`.
  private static func isEncodedSlash(_ window: borrowing HeadWindow, _ index: Int, _ end: Int) -> Bool {
    guard end - index > 2, window.byte(index) == 37 else { return false }
    let (high, low) = (window.byte(index + 1), window.byte(index + 2) | 0x20)
    return high == 50 && low == 102 || high == 53 && low == 99
  }
}

/// Paths that are refused unless somebody asks for them, since servers disagree on what they mean.
public struct PathTolerance: OptionSet, BitwiseCopyable, Sendable {
  /// The bits, as declared below.
  public let rawValue: UInt8
  /// The set with these bits.
  public init(rawValue: UInt8) { self.rawValue = rawValue }
  /// `%2F` and `%5C` inside a segment.
  public static let encodedSlashes = PathTolerance(rawValue: 1)
  /// Two slashes in a row.
  public static let emptySegments = PathTolerance(rawValue: 2)
}
