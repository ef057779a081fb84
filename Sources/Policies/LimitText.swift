import Core
import Pipeline

/// `100/s`, `20000/1m`, `100000/day`: a number of units and a span.
struct LimitText {
  /// Units, 1 to 2⁵³.
  let units: Int64
  /// What stands behind the slash.
  let span: String

  /// The most units that any limit has: beyond, other stores count in doubles.
  static let maximumUnits: Int64 = 1 << 53

  init?(_ text: String) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, let units = Int64(parts[0]), parts[0].first != "+", (1...Self.maximumUnits).contains(units)
    else { return nil }
    self.units = units
    span = String(parts[1])
  }

  /// The span as a duration: `s`, `10s`, `1m`, `minute`, `hour`, `day`; nil for anything else.
  var duration: Duration? {
    switch span {
    case "second": .seconds(1)
    case "minute": .seconds(60)
    case "hour": .seconds(3600)
    case "day": .seconds(86_400)
    case "ms", "s", "m", "h", "d": Duration(text: "1" + span)
    default: Duration(text: span)
    }
  }

  /// The span as a period of the calendar.
  var calendarUnit: CalendarUnit? { CalendarUnit(rawValue: span) }
}
