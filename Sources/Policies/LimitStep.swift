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
  /// Whether what is counted belongs to one consumer, so that it lies where the consumer's tenant does.
  let isConsumers: Bool
  let terms: LimitTerms
  /// Whether the client is told about it.
  let isTold: Bool
  /// Where its opening lies among all.
  let openingStart: Int
  let openingCount: Int

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
          subject: level.plainSubject ?? .address, isConcurrency: level.isConcurrency,
          isConsumers: level.isConsumers, terms: level.terms, isTold: level.isTold,
          openingStart: start, openingCount: openings.count - start))
    }
    openings += [UInt8](repeating: 0, count: LimitFieldText.slack)
    return (steps, openings)
  }

  /// The step of a route that has no other, where it is plain.
  static func only(_ steps: ContiguousArray<LimitStep>) -> LimitStep? {
    steps.count == 1 && steps[0].isPlain ? steps[0] : nil
  }

  /// The question about whoever sent a request; for a plain step.
  @inline(__always)
  func level(_ services: Services, _ exchange: inout Exchange, _ civil: WallTime) -> QuotaLevel {
    QuotaLevel(
      key: identity.combined(with: services.key(of: subject, &exchange)), rule: rule, cost: cost,
      period: CivilPeriod(start: civil, end: civil), terms: terms,
      owner: isConsumers ? services.owner(ofConsumer: exchange.consumer) : nil)
  }
}

/// The fields `RateLimit-Policy` and `RateLimit` of one answer, written in one go.
struct LimitFieldText {
  /// Bytes that must be readable behind the openings.
  static let slack = 16

  /// Where the opening lies among all.
  let start: Int
  let count: Int
  /// Whether anything stands behind the opening.
  let isTold: Bool
  let remaining: UInt64
  /// Nil where nobody knows.
  let seconds: UInt64?

  /// The most bytes that ``write(_:to:)`` touches: two numbers of 20 digits, what stands around them, and a vector beyond.
  @inline(__always)
  var maximumCount: Int { count &+ 64 }

  /// Writes the text; `target` has room for ``maximumCount`` bytes. Returns how many it is.
  @inline(__always)
  func write(_ openings: [UInt8], to target: UnsafeMutableRawBufferPointer) -> Int {
    precondition(target.count >= maximumCount && start >= 0 && count >= 0)
    precondition(start &+ count &+ Self.slack <= openings.count)
    guard let front = target.baseAddress else { return 0 }
    unsafe openings.withUnsafeBytes { source in
      guard let source = source.baseAddress else { return }
      // The last vector begins before `count`, or at 0, and reaches less than `slack` beyond it.
      var offset = 0
      repeat {
        let bytes = unsafe (source + (start &+ offset)).loadUnaligned(as: SIMD16<UInt8>.self)
        unsafe (front + offset).storeBytes(of: bytes, as: SIMD16<UInt8>.self)
        offset &+= 16
      } while offset < count
    }
    // What follows the opening is at most 20 + 3 + 20 + 2 bytes, and the last word of each reaches 8 beyond its start.
    var end = unsafe front + count
    guard isTold else { return count }
    unsafe Self.write(remaining, to: &end)
    if let seconds {
      unsafe end.storeBytes(of: UInt32(0x3d74_3b).littleEndian, as: UInt32.self)  // ";t="
      unsafe end += 3
      unsafe Self.write(seconds, to: &end)
    }
    unsafe end.storeBytes(of: UInt16(0x0a0d).littleEndian, as: UInt16.self)
    return unsafe end - front &+ 2
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
