extension WallTime {
  /// Reads a moment as RFC 3339 writes it, `2026-03-01T09:30:00Z` or with an offset such as `+01:00`, or a date alone
  /// for its first moment in UTC. Nil for anything else, for days that do not exist, and outside 1970 to 9999.
  public init?(rfc3339 text: String) {
    var scanner = DigitScanner(Array(text.utf8))
    guard let year = scanner.number(4), scanner.skip("-"), let month = scanner.number(2), scanner.skip("-"),
      let day = scanner.number(2), (1970...9999).contains(year), (1...12).contains(month),
      (1...Self.days(month, year)).contains(day)
    else { return nil }
    var seconds = Self.daysSince1970(year, month, day) * 86_400
    var fraction: Int64 = 0
    if !scanner.isAtEnd {
      guard scanner.skip("T") || scanner.skip("t"), let hour = scanner.number(2), hour < 24, scanner.skip(":"),
        let minute = scanner.number(2), minute < 60, scanner.skip(":"), let second = scanner.number(2), second < 60
      else { return nil }
      seconds += hour * 3600 + minute * 60 + second
      if scanner.skip(".") {
        guard let micros = scanner.microseconds() else { return nil }
        fraction = micros
      }
      guard let offset = scanner.offsetSeconds(), scanner.isAtEnd else { return nil }
      seconds -= offset
    }
    guard seconds >= 0 else { return nil }
    self.init(microseconds: seconds * 1_000_000 + fraction)
  }

  private static func days(_ month: Int64, _ year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  /// Days of the Gregorian calendar; years are counted from March, so that the leap day is the last one.
  private static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let shifted = month > 2 ? year : year - 1
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + dayOfYear - 719_468
  }
}

private struct DigitScanner {
  let bytes: [UInt8]
  var position = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { position == bytes.count }

  mutating func skip(_ letter: Unicode.Scalar) -> Bool {
    guard position < bytes.count, bytes[position] == UInt8(ascii: letter) else { return false }
    position += 1
    return true
  }

  /// Exactly `count` digits.
  mutating func number(_ count: Int) -> Int64? {
    guard position + count <= bytes.count else { return nil }
    var value: Int64 = 0
    for byte in bytes[position..<position + count] {
      guard byte >= 48, byte <= 57 else { return nil }
      value = value * 10 + Int64(byte - 48)
    }
    position += count
    return value
  }

  /// The digits behind a point, cut to microseconds.
  mutating func microseconds() -> Int64? {
    var value: Int64 = 0
    var count = 0
    while position < bytes.count, bytes[position] >= 48, bytes[position] <= 57 {
      if count < 6 { value = value * 10 + Int64(bytes[position] - 48) }
      count += 1
      position += 1
    }
    guard count > 0 else { return nil }
    while count < 6 {
      value *= 10
      count += 1
    }
    return value
  }

  /// `Z`, or hours and minutes ahead of (or behind) UTC.
  mutating func offsetSeconds() -> Int64? {
    if skip("Z") || skip("z") { return 0 }
    let isAhead = skip("+")
    guard isAhead || skip("-"), let hours = number(2), hours < 24, skip(":"), let minutes = number(2), minutes < 60
    else { return nil }
    return (hours * 3600 + minutes * 60) * (isAhead ? 1 : -1)
  }
}
