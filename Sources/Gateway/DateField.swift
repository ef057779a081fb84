import Core

/// The value of a Date field (RFC 9110 section 5.6.7), made once a second.
struct DateField: ~Copyable {
  /// `Sun, 06 Nov 1994 08:49:37 GMT`
  let text = ByteBuffer(capacity: 32)
  private var second = Int64.min

  init() {}

  /// Makes ``text`` say `time`.
  mutating func update(_ time: WallTime) {
    let now = time.seconds
    guard now != second else { return }
    second = now
    text.removeAll()
    let days = now >= 0 ? now / 86_400 : (now - 86_399) / 86_400
    let (year, month, day) = Self.civil(days)
    let ofDay = now - days * 86_400
    let weekdays: [StaticString] = ["Thu, ", "Fri, ", "Sat, ", "Sun, ", "Mon, ", "Tue, ", "Wed, "]
    let months: [StaticString] = [
      " Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ", " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec ",
    ]
    text.append(weekdays[Int(((days % 7) + 7) % 7)])
    appendPair(day)
    text.append(months[Int(month - 1)])
    text.append(decimal: year)
    text.append(UInt8(ascii: " "))
    appendPair(ofDay / 3600)
    text.append(UInt8(ascii: ":"))
    appendPair(ofDay / 60 % 60)
    text.append(UInt8(ascii: ":"))
    appendPair(ofDay % 60)
    text.append(" GMT")
  }

  private func appendPair(_ value: Int64) {
    text.append(UInt8(48 + value / 10))
    text.append(UInt8(48 + value % 10))
  }

  /// Days since 1970 as a date of the Gregorian calendar: years are counted from 1 March, so that the leap day is last.
  private static func civil(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
  }
}
