import Core
import Synchronization

/// The length of a calendar period.
public enum CalendarUnit: String, CaseIterable, Sendable {
  /// From one full minute to the next.
  case minute
  /// From one full hour to the next; shorter where clocks change by less than an hour.
  case hour
  /// From midnight to midnight: 23 or 25 hours where clocks change.
  case day
  /// From Monday to Sunday (ISO 8601).
  case week
  /// From the first of a month on.
  case month
  /// From the first of January on.
  case year

  /// The usual length in seconds, for those who must name one number.
  public var nominalSeconds: Int64 {
    switch self {
    case .minute: 60
    case .hour: 3600
    case .day: 86_400
    case .week: 604_800
    case .month: 2_592_000
    case .year: 31_536_000
    }
  }
}

/// Cuts time into the calendar periods of a place. Immutable but for a memory of the last answer; used by all loops.
public final class CivilCalendar: Sendable {
  private let unit: CalendarUnit
  private let zone: TimeZoneTable
  /// The last period: its first minute since 1970 in the high half, its length in minutes in the low half. One word, so
  /// that loops need no lock to share it.
  private let last = Atomic<UInt64>(0)

  /// The periods of `unit` in `zone`.
  public init(_ unit: CalendarUnit, in zone: TimeZoneTable) {
    self.unit = unit
    self.zone = zone
  }

  /// The period that `time` lies in. A few ns, except for the first time in a period.
  @inline(__always)
  public func period(at time: WallTime) -> CivilPeriod {
    let known = last.load(ordering: .relaxed)
    let start = Int64(bitPattern: known >> 32) &* 60_000_000
    let end = start &+ Int64(bitPattern: known & 0xffff_ffff) &* 60_000_000
    if time.microseconds >= start && time.microseconds < end {
      return CivilPeriod(start: WallTime(microseconds: start), end: WallTime(microseconds: end))
    }
    return remember(time.seconds)
  }

  private func remember(_ moment: Int64) -> CivilPeriod {
    let (start, end) = find(moment)
    // Offsets of today's zones are whole minutes; older ones were not, and are computed each time.
    if start >= 0 && start % 60 == 0 && end % 60 == 0 && end / 60 < 1 << 32 {
      last.store(UInt64(start / 60) << 32 | UInt64((end - start) / 60), ordering: .relaxed)
    }
    return CivilPeriod(
      start: WallTime(microseconds: start &* 1_000_000), end: WallTime(microseconds: end &* 1_000_000))
  }

  /// First second of the period around `moment`, and first second after it.
  private func find(_ moment: Int64) -> (start: Int64, end: Int64) {
    let segment = zone.segment(at: moment)
    let local = moment + zone.offset(of: segment)
    if unit == .minute || unit == .hour {
      // Cut by elapsed time, and anew where clocks change: the hour that clocks show twice is two periods.
      let length = unit.nominalSeconds
      let start = moment - (local - local.floorDivided(by: length) * length)
      let end = min(start + length, zone.end(of: segment))
      return (max(start, zone.start(of: segment)), end)
    }
    let first = firstDay(of: local.floorDivided(by: 86_400))
    var start = zone.firstMoment(showing: first * 86_400)
    var next = following(first)
    var end = zone.firstMoment(showing: next * 86_400)
    // Clocks that are set back over midnight show the old date again; the new day has begun all the same.
    while end <= moment {
      start = end
      next = following(next)
      end = zone.firstMoment(showing: next * 86_400)
    }
    return (start, end)
  }

  /// The first day of the period that `day` lies in, both as days since 1970.
  private func firstDay(of day: Int64) -> Int64 {
    switch unit {
    case .minute, .hour, .day: return day
    case .week:
      // 1970-01-01 was a Thursday.
      return (day + 3).floorDivided(by: 7) * 7 - 3
    case .month:
      let date = CivilDate(day: day)
      return CivilDate(year: date.year, month: date.month, day: 1).dayNumber
    case .year: return CivilDate(year: CivilDate(day: day).year, month: 1, day: 1).dayNumber
    }
  }

  /// The first day of the period after the one that begins with `first`.
  private func following(_ first: Int64) -> Int64 {
    switch unit {
    case .minute, .hour, .day: return first + 1
    case .week: return first + 7
    case .month: return firstDay(of: first + 31)
    case .year: return firstDay(of: first + 366)
    }
  }
}
