import Core
import Pipeline

/// What `rate-limit` needs of a level for nearly every request, as plain data: a ``LimitLevel`` holds references, which
/// would be counted.
struct LimitStep: Sendable, BitwiseCopyable {
  /// See ``LimitLevel/identity``.
  let identity: QuotaKey
  let rule: LimitRule
  let cost: Int64
  /// Whether one thing is counted, no field of the request, and not in periods of a calendar.
  let isPlain: Bool
  /// That thing.
  let subject: Subject
  let isConcurrency: Bool
  /// Whether the client is told about it.
  let isTold: Bool
  /// Where its opening begins and ends among all.
  let openingStart: Int
  let openingEnd: Int

  /// The steps for `levels`, and for each what clients are told when it binds, up to the number: `RateLimit-Policy: …` as
  /// a whole line and `RateLimit: "name";r=`; the line alone where the level is not told of.
  static func all(_ levels: ContiguousArray<LimitLevel>) -> (steps: ContiguousArray<LimitStep>, openings: [UInt8]) {
    let items = levels.filter(\.isTold).map(\.policyItem).joined(separator: ", ")
    let policy = items.isEmpty ? "" : "RateLimit-Policy: \(items)\r\n"
    var steps: ContiguousArray<LimitStep> = []
    var openings: [UInt8] = []
    for level in levels {
      let start = openings.count
      openings += Array((policy + (level.isTold ? "RateLimit: \"\(level.name)\";r=" : "")).utf8)
      steps.append(
        LimitStep(
          identity: level.identity, rule: level.rule, cost: level.cost, isPlain: level.plainSubject != nil,
          subject: level.plainSubject ?? .address, isConcurrency: level.isConcurrency, isTold: level.isTold,
          openingStart: start, openingEnd: openings.count))
    }
    return (steps, openings)
  }
}

/// The fields `RateLimit-Policy` and `RateLimit` of one answer, written in one go.
struct LimitFieldText {
  /// Where the opening lies among all.
  let opening: Range<Int>
  /// Whether anything stands behind the opening.
  let isTold: Bool
  let remaining: UInt64
  /// Nil where nobody knows.
  let seconds: UInt64?

  /// The most bytes that ``write(_:to:)`` writes: two numbers of 20 digits, what stands around them, and a word beyond.
  @inline(__always)
  var maximumCount: Int { opening.upperBound &- opening.lowerBound &+ 64 }

  /// Writes the text; `target` has room for ``maximumCount`` bytes. Returns how many it is.
  @inline(__always)
  func write(_ openings: [UInt8], to target: UnsafeMutableRawBufferPointer) -> Int {
    precondition(target.count >= maximumCount)
    let source = RawSpan(openings).extracting(opening)
    guard let start = target.baseAddress else { return 0 }
    // What follows the opening is at most 20 + 3 + 20 + 2 bytes, and the last word of each reaches 8 beyond its start.
    unsafe source.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
    var end = unsafe start + source.byteCount
    guard isTold else { return source.byteCount }
    unsafe Self.write(remaining, to: &end)
    if let seconds {
      unsafe end.storeBytes(of: UInt32(0x3d74_3b).littleEndian, as: UInt32.self)  // ";t="
      unsafe end += 3
      unsafe Self.write(seconds, to: &end)
    }
    unsafe end.storeBytes(of: UInt16(0x0a0d).littleEndian, as: UInt16.self)
    return unsafe end - start &+ 2
  }

  /// Writes the decimal digits of `value`, and up to seven bytes of nothing behind them.
  @inline(__always)
  private static func write(_ value: UInt64, to end: inout UnsafeMutableRawPointer) {
    if value < 10 {
      unsafe end.storeBytes(of: UInt8(truncatingIfNeeded: value &+ 48), as: UInt8.self)
      unsafe end += 1
    } else if value < DecimalDigits.bound {
      let (digits, count) = DecimalDigits.significant(value)
      unsafe end.storeBytes(of: digits.littleEndian, as: UInt64.self)
      unsafe end += count
    } else {
      unsafe writeLong(value, to: &end)
    }
  }

  @inline(never)
  private static func writeLong(_ value: UInt64, to end: inout UnsafeMutableRawPointer) {
    unsafe write(value / DecimalDigits.bound, to: &end)
    unsafe end.storeBytes(of: DecimalDigits.eight(value % DecimalDigits.bound).littleEndian, as: UInt64.self)
    unsafe end += 8
  }
}
