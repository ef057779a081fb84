// Civil time by the rules of a place, for limits that begin with the day or the month there.
//
// The compiled tables of the IANA database (TZif, RFC 9636) are read when the configuration is, into one sorted array of
// moments and offsets; the rule at the end of each file is unrolled to the end of the next century. Nothing is read later,
// and a time zone that changes its rules is taken up with the next reload. libc's own functions were rejected: they
// know one zone a process, take a lock, and re-read files.

/// The offsets of one time zone from UTC. Immutable.
public final class TimeZoneTable: Sendable {
  /// The IANA name.
  public let name: String
  /// Moments, in seconds since 1970, at which an offset begins to hold; the first is the beginning of time.
  private let starts: ContiguousArray<Int64>
  /// The offset from then on, in seconds east of UTC.
  private let offsets: ContiguousArray<Int64>

  /// The last year for which the rule at the end of a file is unrolled.
  static let lastYear: Int64 = 2200

  /// Coordinated universal time.
  public static let utc = TimeZoneTable(name: "UTC", starts: [.min], offsets: [0])

  private init(name: String, starts: ContiguousArray<Int64>, offsets: ContiguousArray<Int64>) {
    self.name = name
    self.starts = starts
    self.offsets = offsets
  }

  /// The table in the bytes of a TZif file of version 2 or later; nil where they are anything else.
  public convenience init?(name: String, file: [UInt8]) {
    var reader = TZifReader(file)
    guard let content = reader.read() else { return nil }
    var starts: ContiguousArray<Int64> = [.min]
    var offsets: ContiguousArray<Int64> = [content.firstOffset]
    func add(_ moment: Int64, _ offset: Int64) {
      if offsets[offsets.count - 1] == offset || moment <= starts[starts.count - 1] { return }
      starts.append(moment)
      offsets.append(offset)
    }
    for transition in content.transitions { add(transition.moment, transition.offset) }
    if !content.rule.isEmpty {
      guard let rule = TimeZoneRule(content.rule) else { return nil }
      // Whole years from the one of the last transition on; those that are known already are not added again.
      let last = content.transitions.last?.moment ?? 0
      let first = CivilDate(day: last.floorDivided(by: 86_400)).year
      for transition in rule.transitions(from: first, to: Self.lastYear) where transition.moment > last {
        add(transition.moment, transition.offset)
      }
    }
    self.init(name: name, starts: starts, offsets: offsets)
  }

  /// The segment that `moment` (seconds since 1970) lies in.
  func segment(at moment: Int64) -> Int {
    var low = 0
    var high = starts.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if starts[middle] <= moment { low = middle } else { high = middle }
    }
    return low
  }

  /// Seconds east of UTC in a segment.
  func offset(of segment: Int) -> Int64 { offsets[segment] }

  /// The first second of a segment.
  func start(of segment: Int) -> Int64 { starts[segment] }

  /// The first second after a segment.
  func end(of segment: Int) -> Int64 { segment + 1 < starts.count ? starts[segment + 1] : .max }

  /// The first moment at which a clock there shows `local` (seconds since 1970 as if in UTC) or later. Where clocks go
  /// forward over it, that is the moment at which they do; where they show it twice, the first time.
  func firstMoment(showing local: Int64) -> Int64 {
    // No offset is larger than a day and two hours, in either direction.
    var segment = segment(at: local - 93_600)
    while local - offsets[segment] >= end(of: segment) { segment += 1 }
    return max(local - offsets[segment], starts[segment])
  }
}

extension Int64 {
  /// The quotient rounded down.
  func floorDivided(by divisor: Int64) -> Int64 {
    let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? quotient - 1 : quotient
  }
}

/// Reads TZif (RFC 9636).
private struct TZifReader {
  struct Content {
    var firstOffset: Int64 = 0
    var transitions: [(moment: Int64, offset: Int64)] = []
    var rule = ""
  }

  private struct Counts {
    var utc: Int
    var standard: Int
    var leap: Int
    var time: Int
    var type: Int
    var character: Int

    func byteCount(wordSize: Int) -> Int {
      time * wordSize + time + type * 6 + character + leap * (wordSize + 4) + standard + utc
    }
  }

  /// The largest file that is read; the largest in the database has 4 KiB.
  static let byteLimit = 1 << 20
  private let bytes: [UInt8]
  private var position = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  mutating func read() -> Content? {
    guard bytes.count <= Self.byteLimit, let first = header(), first.version >= 2 else { return nil }
    // The first block holds 32-bit times for old readers: skipped.
    position += first.counts.byteCount(wordSize: 4)
    guard let second = header(), second.counts.leap == 0 else { return nil }
    let counts = second.counts
    guard counts.type > 0, position + counts.byteCount(wordSize: 8) <= bytes.count else { return nil }
    let times = position
    let indexes = times + counts.time * 8
    let types = indexes + counts.time
    func offset(ofType index: Int) -> Int64 { Int64(Int32(truncatingIfNeeded: integer(types + index * 6, 4))) }
    var content = Content(firstOffset: offset(ofType: 0))
    for index in 0..<counts.time {
      let type = Int(bytes[indexes + index])
      guard type < counts.type else { return nil }
      content.transitions.append((integer(times + index * 8, 8), offset(ofType: type)))
    }
    position += counts.byteCount(wordSize: 8)
    guard position < bytes.count, bytes[position] == 10, let end = bytes[(position + 1)...].firstIndex(of: 10) else {
      return nil
    }
    content.rule = String(decoding: bytes[(position + 1)..<end], as: UTF8.self)
    return content
  }

  private mutating func header() -> (version: Int, counts: Counts)? {
    guard position + 44 <= bytes.count, Array(bytes[position..<position + 4]) == Array("TZif".utf8) else { return nil }
    let version = Int(bytes[position + 4]) - 48
    let numbers = (0..<6).map { Int(integer(position + 20 + $0 * 4, 4)) }
    position += 44
    // Every count is bounded by the file's size before it is multiplied.
    guard numbers.allSatisfy({ $0 >= 0 && $0 <= bytes.count }) else { return nil }
    let counts = Counts(
      utc: numbers[0], standard: numbers[1], leap: numbers[2], time: numbers[3], type: numbers[4],
      character: numbers[5])
    return (version, counts)
  }

  private func integer(_ offset: Int, _ count: Int) -> Int64 {
    var value: Int64 = 0
    for index in 0..<count { value = value << 8 | Int64(bytes[offset + index]) }
    return value
  }
}
