import Core
import Glibc
import Pipeline
import Testing

// The expected moments were computed with another implementation (Python's zoneinfo) of the same database.
@Suite("Civil calendar")
struct CivilCalendarTests {
  func table(_ zone: String) throws -> TimeZoneTable { try TimeZoneFiles.table(named: zone) }

  /// First second and length in seconds of the period around `moment`.
  func period(_ calendar: CivilCalendar, _ moment: Int64) -> (start: Int64, length: Int64) {
    let period = calendar.period(at: WallTime(microseconds: moment * 1_000_000 + 999_999))
    return (period.start.seconds, period.end.seconds - period.start.seconds)
  }

  @Test(
    "A name that is no zone is refused, also one that leads elsewhere",
    arguments: ["", "Mars/Olympus", "../passwd", "/etc/passwd", "Europe/../Europe/Berlin", "Europe", "zone.tab"])
  func unknownZones(name: String) {
    #expect(throws: TimeZoneFiles.Fault.self) { try TimeZoneFiles.table(named: name) }
  }

  @Test("A file that is cut off anywhere, or says nonsense, is no table")
  func brokenFiles() throws {
    let descriptor = unsafe open("\(TimeZoneFiles.directory)/Europe/Berlin", O_RDONLY)
    var file = [UInt8](repeating: 0, count: 8192)
    let count = unsafe read(descriptor, &file, file.count)
    close(descriptor)
    file.removeLast(file.count - count)
    #expect(TimeZoneTable(name: "x", file: file) != nil)
    for length in 0..<count { #expect(TimeZoneTable(name: "x", file: Array(file[..<length])) == nil) }
    for position in 20..<44 {
      var wrong = file
      wrong[position] = 0xff
      _ = TimeZoneTable(name: "x", file: wrong)
    }
  }

  @Test(
    "The day on which clocks change has 23 or 25 hours",
    arguments: [
      ("Europe/Berlin", 1_774_738_800, 23), ("Europe/Berlin", 1_792_879_200, 25), ("Europe/Berlin", 1_792_969_200, 24),
      ("America/New_York", 1_772_946_000, 23), ("America/New_York", 1_793_505_600, 25),
      ("Europe/Berlin", 3_194_809_200, 23), ("America/Havana", 1_793_505_600, 25), ("Asia/Kolkata", 1_774_722_600, 24),
    ] as [(String, Int64, Int64)])
  func changingDays(zone: String, start: Int64, hours: Int64) throws {
    let calendar = CivilCalendar(.day, in: try table(zone))
    for moment in [start, start + 3 * 3600, start + hours * 3600 - 1] {
      #expect(period(calendar, moment) == (start, hours * 3600))
    }
    #expect(period(calendar, start - 1).start < start)
    #expect(period(calendar, start + hours * 3600).start == start + hours * 3600)
  }

  @Test("Where midnight is skipped the day begins when the clocks change")
  func skippedMidnight() throws {
    // Santiago goes from 24:00 to 01:00 on the 6th of September 2026; this is its noon.
    let calendar = CivilCalendar(.day, in: try table("America/Santiago"))
    #expect(period(calendar, 1_788_706_800) == (1_788_667_200, 23 * 3600))
  }

  @Test("A day that a place left out has no period")
  func skippedDay() throws {
    // Samoa went from the 29th to the 31st of December 2011; these are their noons.
    let calendar = CivilCalendar(.day, in: try table("Pacific/Apia"))
    let before = period(calendar, 1_325_196_000)
    let after = period(calendar, 1_325_282_400)
    #expect(before.start + before.length == after.start)
    #expect(before.length == 86_400)
  }

  @Test("Half an hour more or less makes a short hour, and every moment has one period")
  func halfHours() throws {
    // Lord Howe Island goes back by half an hour in the night that follows this moment.
    let calendar = CivilCalendar(.hour, in: try table("Australia/Lord_Howe"))
    var moment: Int64 = 1_775_293_200
    var lengths: Set<Int64> = []
    for _ in 0..<12 {
      let hour = period(calendar, moment)
      #expect(hour.start <= moment && moment < hour.start + hour.length)
      lengths.insert(hour.length)
      moment = hour.start + hour.length
    }
    #expect(lengths == [1800, 3600])
  }

  @Test("The hour that clocks show twice is two periods")
  func repeatedHour() throws {
    let calendar = CivilCalendar(.hour, in: try table("Europe/Berlin"))
    let first: Int64 = 1_792_886_400
    #expect(period(calendar, first) == (first, 3600))
    #expect(period(calendar, first + 3600) == (first + 3600, 3600))
  }

  @Test(
    "Weeks begin on Monday, months and years on their first, in the zone",
    arguments: [
      (.week, 1_793_593_800, 1_792_987_200, 1_793_595_600), (.month, 1_796_101_140, 1_793_505_600, 1_796_101_200),
      (.month, 1_835_456_400, 1_832_994_000, 1_835_499_600), (.year, 1_798_779_540, 1_767_243_600, 1_798_779_600),
      (.minute, 1_782_923_641, 1_782_923_640, 1_782_923_700),
    ] as [(CalendarUnit, Int64, Int64, Int64)])
  func longPeriods(unit: CalendarUnit, moment: Int64, start: Int64, end: Int64) throws {
    let calendar = CivilCalendar(unit, in: try table("America/New_York"))
    #expect(period(calendar, moment) == (start, end - start))
  }

  @Test(
    "Days follow one another without a gap, and only the known ones are longer or shorter",
    arguments: [
      ("UTC", 1_735_776_000, [:]),
      ("America/Sao_Paulo", 1_735_700_400, [:]),
      (
        "Europe/Berlin", 1_735_772_400,
        [1_743_289_200: 82_800, 1_761_429_600: 90_000, 1_774_738_800: 82_800, 1_792_879_200: 90_000]
      ),
      (
        "Asia/Beirut", 1_735_768_800,
        [1_743_285_600: 82_800, 1_761_339_600: 90_000, 1_774_735_200: 82_800, 1_792_789_200: 90_000]
      ),
      (
        "Pacific/Auckland", 1_735_729_200,
        [1_743_850_800: 90_000, 1_758_974_400: 82_800, 1_775_300_400: 90_000, 1_790_424_000: 82_800]
      ),
    ] as [(String, Int64, [Int64: Int64])])
  func withoutGaps(zone: String, first: Int64, irregular: [Int64: Int64]) throws {
    let calendar = CivilCalendar(.day, in: try table(zone))
    var moment = first
    for _ in 0..<700 {
      #expect(period(calendar, moment) == (moment, irregular[moment] ?? 86_400))
      #expect(period(calendar, moment + (irregular[moment] ?? 86_400) - 1).start == moment)
      moment += irregular[moment] ?? 86_400
    }
  }
}
