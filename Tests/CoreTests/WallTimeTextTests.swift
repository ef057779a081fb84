import Core
import Testing

@Suite("Civil time as text")
struct WallTimeTextTests {
  @Test(
    "refuses what is no moment of RFC 3339",
    arguments: [
      "", "2026", "2026-13-01", "2026-02-29", "2026-03-01T", "2026-03-01T09:30Z", "2026-03-01T24:00:00Z",
      "2026-03-01T09:30:00", "2026-03-01 09:30:00Z", "2026-03-01T09:30:60Z", "2026-03-01T09:30:00.Z",
      "2026-03-01T09:30:00+1:00", "2026-03-01T09:30:00Z ", "1969-12-31", "1970-01-01T00:00:00+00:01",
    ])
  func refuses(text: String) { #expect(WallTime(rfc3339: text) == nil) }

  @Test(
    "reads moments and days",
    arguments: [
      ("1970-01-01", 0), ("1970-01-01T00:00:00.5Z", 500_000), ("2000-02-29", 951_782_400_000_000),
      ("2026-03-01T09:30:00Z", 1_772_357_400_000_000), ("2026-03-01T10:30:00+01:00", 1_772_357_400_000_000),
      ("2026-03-01T04:00:00.0000009-05:30", 1_772_357_400_000_000), ("9999-12-31T23:59:59z", 253_402_300_799_000_000),
    ])
  func reads(text: String, microseconds: Int64) {
    #expect(WallTime(rfc3339: text)?.microseconds == microseconds)
  }
}
