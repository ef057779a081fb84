/// A moment as UTC writes it, in the proleptic Gregorian calendar.
public struct CivilDate: Equatable, Sendable {
  /// The year, 0 to 9999.
  public let year: Int
  /// The month, from 1.
  public let month: Int
  /// The day of the month, from 1.
  public let day: Int
  /// The day of the week, 0 for Sunday.
  public let weekday: Int
  /// The hour, 0 to 23.
  public let hour: Int
  /// The minute, 0 to 59.
  public let minute: Int
  /// The second, 0 to 59.
  public let second: Int

  /// The date and time of a moment between the years 0 and 9999; others are moved to that range.
  public init(_ time: WallTime) {
    let total = Int(min(max(time.seconds, -62_167_219_200), 253_402_300_799))
    let days = (total >= 0 ? total : total - 86_399) / 86_400
    let rest = total - days * 86_400
    (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60)
    weekday = ((days + 4) % 7 + 7) % 7
    // Years begin in March here, so that the leap day is the last one; eras have 400 years (146,097 days).
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let marchMonth = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
    month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  /// The moment as RFC 3339 writes it, in whole seconds: `1994-11-06T08:49:37Z`.
  public var rfc3339: String {
    let date = "\(Self.padded(year, 4))-\(Self.padded(month))-\(Self.padded(day))"
    return "\(date)T\(Self.padded(hour)):\(Self.padded(minute)):\(Self.padded(second))Z"
  }

  /// The value of a Date field: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7).
  public var fieldValue: String {
    let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    let date = "\(Self.padded(day)) \(months[month - 1]) \(Self.padded(year, 4))"
    return "\(weekdays[weekday]), \(date) \(Self.padded(hour)):\(Self.padded(minute)):\(Self.padded(second)) GMT"
  }

  private static func padded(_ value: Int, _ digits: Int = 2) -> String {
    let text = String(value)
    return String(repeating: "0", count: max(digits - text.count, 0)) + text
  }
}
