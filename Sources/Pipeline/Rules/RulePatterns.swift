import Core

/// A pattern of paths: `/a`, `/a/{id}`, `/a/*`, as routes have them. `/a/*` takes `/a` too.
struct RulePathPattern: Hashable, Sendable {
  /// Segments that a pattern may have.
  static let segmentLimit = 64

  /// What the segments must be, decoded; nil for any that is not empty.
  var segments: [[UInt8]?] = []
  /// Whether more may follow.
  var isPrefix = false

  /// Why a text is no pattern.
  struct Fault: Error {
    let message: String
    let fix: String
  }

  /// Reads a pattern; a path alone where it is not to be one.
  init(_ text: String, allowsWildcards: Bool) throws(Fault) {
    guard text.hasPrefix("/") else { throw Fault(message: "a path begins with a slash", fix: "write \"/…\"") }
    var parts = text.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
      .map { Array($0) }
    guard parts.count <= Self.segmentLimit else {
      throw Fault(message: "a path has \(Self.segmentLimit) segments at most", fix: "shorten it")
    }
    let star = [UInt8(ascii: "*")]
    if allowsWildcards, parts.last == star {
      isPrefix = true
      parts.removeLast()
    }
    for part in parts {
      let isCapture = part.first == UInt8(ascii: "{") && part.last == UInt8(ascii: "}") && part.count > 2
      if isCapture && allowsWildcards {
        segments.append(nil)
        continue
      }
      if part.contains(where: { "*{}".utf8.contains($0) }) {
        throw allowsWildcards
          ? Fault(
            message: "`*` stands for the rest of a path, `{name}` for one segment",
            fix: "write a whole segment, with `*` at the end alone")
          : Fault(message: "`*` and `{name}` mean something in patterns only", fix: "write `matches`")
      }
      if part.contains(where: { $0 <= 32 || $0 == 127 || "?#".utf8.contains($0) }) {
        throw Fault(message: "a path holds neither blanks nor `?` nor `#`", fix: "write the path alone")
      }
      let decoded = Self.decoded(part)
      if decoded == [46] || decoded == [46, 46] {
        throw Fault(message: "no request has such a segment", fix: "remove `.` and `..`")
      }
      segments.append(decoded)
    }
  }

  private static func decoded(_ bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var offset = 0
    while offset < bytes.count {
      let (byte, width) = RawSpan(bytes).decodedByte(at: offset)
      result.append(byte)
      offset += width
    }
    return result
  }
}

extension RawSpan {
  /// The byte that stands at `offset`, a percent triplet decoded, and how many bytes it is written with.
  @inline(__always)
  func decodedByte(at offset: Int) -> (value: UInt8, width: Int) {
    let first = self[byte: offset]
    guard first == UInt8(ascii: "%"), offset &+ 2 < byteCount, let high = Self.digit(self[byte: offset &+ 1]),
      let low = Self.digit(self[byte: offset &+ 2])
    else { return (first, 1) }
    return (high << 4 | low, 3)
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte &- 0x30
    case 0x41...0x46: byte &- 0x37
    case 0x61...0x66: byte &- 0x57
    default: nil
    }
  }
}

/// A host, or with a star in front all below it: `*.example.com` takes `a.b.example.com`, not `example.com`.
struct RuleHostPattern: Hashable, Sendable {
  /// In lower case; begins with a point where all below it are meant.
  let text: [UInt8]
  let isWildcard: Bool

  /// Nil for what is no host.
  init?(_ text: String, allowsWildcards: Bool) {
    var bytes = Array(text.utf8).map { $0 >= 65 && $0 <= 90 ? $0 | 32 : $0 }
    isWildcard = bytes.starts(with: "*.".utf8)
    if isWildcard && !allowsWildcards { return nil }
    if isWildcard { bytes.removeFirst() }
    let isAddress = bytes.first == UInt8(ascii: "[") && bytes.last == UInt8(ascii: "]")
    let labels = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
      .dropFirst(isWildcard ? 1 : 0)
    guard (1...255).contains(bytes.count), isAddress || labels.allSatisfy({ !$0.isEmpty }),
      bytes.allSatisfy({ byte in
        switch byte {
        case 97...122, 48...57, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"): true
        default: isAddress && "[]:".utf8.contains(byte)
        }
      })
    else { return nil }
    self.text = bytes
  }
}

/// A part of the day, in minutes after midnight; over midnight where the end comes before the start.
struct RuleWindow: Hashable, Sendable, BitwiseCopyable {
  /// The first minute.
  let start: UInt16
  /// The first minute after it, up to 1440.
  let end: UInt16

  /// Reads `08:00-18:00`; nil for anything else, and where both are the same.
  init?(_ text: String) {
    let bytes = Array(text.utf8)
    guard bytes.count == 11, bytes[5] == UInt8(ascii: "-"), let start = Self.minutes(bytes[0..<5]),
      let end = Self.minutes(bytes[6..<11]), start < 1440, start != end
    else { return nil }
    self.start = start
    self.end = end
  }

  private static func minutes(_ text: ArraySlice<UInt8>) -> UInt16? {
    let digits = text.map { UInt16($0) &- 48 }
    guard digits[2] == 10, [0, 1, 3, 4].allSatisfy({ digits[$0] < 10 }) else { return nil }
    let (hour, minute) = (digits[0] * 10 + digits[1], digits[3] * 10 + digits[4])
    return hour < 24 && minute < 60 || hour == 24 && minute == 0 ? hour * 60 + minute : nil
  }

  @inline(__always)
  func contains(_ minute: UInt16) -> Bool {
    start < end ? minute >= start && minute < end : minute >= start || minute < end
  }
}

/// Days of the week, as bits.
enum RuleDays {
  static let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

  /// The days of `mon` or of `fri-mon`; nil for anything else.
  static func bits(_ text: String) -> UInt8? {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { names.firstIndex(of: String($0)) }
    guard (1...2).contains(parts.count), let first = parts[0], let last = parts[parts.count - 1] else { return nil }
    var bits: UInt8 = 0
    var day = first
    while true {
      bits |= 1 << day
      if day == last { return bits }
      day = (day + 1) % 7
    }
  }
}
