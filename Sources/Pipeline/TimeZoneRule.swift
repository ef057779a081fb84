/// The rule by which offsets change for ever after: the text at the end of a TZif file (POSIX TZ, RFC 9636 section 3.3.1).
struct TimeZoneRule {
  private let standardOffset: Int64
  private let summerTime: (offset: Int64, begin: Change, end: Change)?

  /// When in a year the offset changes.
  private struct Change {
    enum Day {
      /// The n-th day, 1 to 365, February 29 never counted.
      case withoutLeapDay(Int64)
      /// The day after so many, 0 to 365.
      case zeroBased(Int64)
      /// A day of the week (0 for Sunday) in the n-th week (5: the last) of a month.
      case weekday(month: Int64, week: Int64, day: Int64)
    }
    var day: Day
    /// Seconds after midnight by the clock that is about to change; −167 to 167 hours.
    var time: Int64

    /// Seconds since 1970 by that clock.
    func moment(in year: Int64) -> Int64 {
      let newYear = CivilDate(year: year, month: 1, day: 1).dayNumber
      let number: Int64
      switch day {
      case .withoutLeapDay(let day): number = newYear + day - 1 + (CivilDate.isLeap(year) && day >= 60 ? 1 : 0)
      case .zeroBased(let day): number = newYear + day
      case .weekday(let month, let week, let weekday):
        let first = CivilDate(year: year, month: month, day: 1).dayNumber
        // 1970-01-01 was a Thursday.
        let ahead = (weekday - (first + 4)) % 7
        var candidate = first + (ahead < 0 ? ahead + 7 : ahead) + (week - 1) * 7
        let next =
          month == 12 ? CivilDate(year: year + 1, month: 1, day: 1) : CivilDate(year: year, month: month + 1, day: 1)
        if candidate >= next.dayNumber { candidate -= 7 }
        number = candidate
      }
      return number * 86_400 + time
    }
  }

  /// Reads `CET-1CEST,M3.5.0,M10.5.0/3` and the like; nil for what is no such text.
  init?(_ text: String) {
    var scanner = Scanner(text)
    guard scanner.name(), let standard = scanner.time() else { return nil }
    standardOffset = -standard
    if scanner.isAtEnd {
      summerTime = nil
      return
    }
    guard scanner.name() else { return nil }
    var offset = standardOffset + 3600
    if !scanner.isNext(",") {
      guard let west = scanner.time() else { return nil }
      offset = -west
    }
    guard scanner.skip(","), let begin = scanner.change(), scanner.skip(","), let end = scanner.change(),
      scanner.isAtEnd
    else { return nil }
    summerTime = (offset, begin, end)
  }

  /// Every change from the first year to the last, in order.
  func transitions(from first: Int64, to last: Int64) -> [(moment: Int64, offset: Int64)] {
    guard let summer = summerTime else { return [] }
    var result: [(moment: Int64, offset: Int64)] = []
    for year in stride(from: first, through: last, by: 1) {
      result.append((summer.begin.moment(in: year) - standardOffset, summer.offset))
      result.append((summer.end.moment(in: year) - summer.offset, standardOffset))
    }
    return result.sorted { $0.moment < $1.moment }
  }

  private struct Scanner {
    private var rest: Substring.UTF8View

    init(_ text: String) { rest = Substring(text).utf8 }

    var isAtEnd: Bool { rest.isEmpty }

    func isNext(_ character: Unicode.Scalar) -> Bool { rest.first == UInt8(ascii: character) }

    mutating func skip(_ character: Unicode.Scalar) -> Bool {
      guard isNext(character) else { return false }
      rest.removeFirst()
      return true
    }

    /// An abbreviation: three letters or more, or anything between angle brackets.
    mutating func name() -> Bool {
      if skip("<") {
        while let byte = rest.popFirst() { if byte == UInt8(ascii: ">") { return true } }
        return false
      }
      let letters = rest.prefix { ($0 | 32) >= 97 && ($0 | 32) <= 122 }.count
      rest.removeFirst(letters)
      return letters >= 3
    }

    mutating func number() -> Int64? {
      let digits = rest.prefix { $0 >= 48 && $0 <= 57 }
      guard !digits.isEmpty && digits.count <= 3 else { return nil }
      rest.removeFirst(digits.count)
      return digits.reduce(0) { $0 * 10 + Int64($1 - 48) }
    }

    /// `[+-]hours[:minutes[:seconds]]` in seconds.
    mutating func time() -> Int64? {
      let isNegative = skip("-")
      if !isNegative { _ = skip("+") }
      guard let hours = number(), hours <= 167 else { return nil }
      var seconds = hours * 3600
      for unit in [Int64(60), 1] {
        guard skip(":") else { break }
        guard let value = number(), value < 60 else { return nil }
        seconds += value * unit
      }
      return isNegative ? -seconds : seconds
    }

    mutating func change() -> Change? {
      let day: Change.Day
      if skip("M") {
        guard let month = number(), skip("."), let week = number(), skip("."), let weekday = number(),
          (1...12).contains(month), (1...5).contains(week), weekday <= 6
        else { return nil }
        day = .weekday(month: month, week: week, day: weekday)
      } else if skip("J") {
        guard let number = number(), (1...365).contains(number) else { return nil }
        day = .withoutLeapDay(number)
      } else {
        guard let number = number(), number <= 365 else { return nil }
        day = .zeroBased(number)
      }
      guard skip("/") else { return Change(day: day, time: 7200) }
      return time().map { Change(day: day, time: $0) }
    }
  }
}

/// A day of the Gregorian calendar.
struct CivilDate: Equatable {
  var year: Int64
  /// 1 to 12.
  var month: Int64
  /// 1 to 31.
  var day: Int64

  init(year: Int64, month: Int64, day: Int64) {
    self.year = year
    self.month = month
    self.day = day
  }

  /// The date so many days after 1970-01-01. The year is taken to begin in March, so that the leap day is its last.
  init(day number: Int64) {
    let shifted = number + 719_468
    let era = shifted.floorDivided(by: 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  /// Days since 1970-01-01.
  var dayNumber: Int64 {
    let shiftedYear = month <= 2 ? year - 1 : year
    let era = shiftedYear.floorDivided(by: 400)
    let yearOfEra = shiftedYear - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  static func isLeap(_ year: Int64) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }
}
