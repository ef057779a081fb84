import Core
import Crypto
import Testing

@testable import Gateway

@Suite struct StapleClockTests {
  private let start = Instant(nanoseconds: 1_000_000_000)
  private let wall = WallTime(microseconds: 1_800_000_000_000_000)

  private func staple(from: Int64, to end: Int64?) -> OCSPStaple {
    func time(_ seconds: Int64) -> WallTime { WallTime(microseconds: (wall.seconds + seconds) * 1_000_000) }
    return OCSPStaple(bytes: [1], beginsAt: time(from), endsAt: end.map(time))
  }

  private func seconds(_ instant: Instant) -> Int64 { instant.nanoseconds(since: start) / 1_000_000_000 }

  @Test(
    "An answer is replaced at half of its time, and shown to its end",
    arguments: [
      (from: 0, to: 1000, asks: 500, ends: 1000), (from: -200, to: 800, asks: 300, ends: 800),
      // Half of its time is over: half of what is left.
      (from: -900, to: 100, asks: 50, ends: 100), (from: 0, to: 8, asks: 10, ends: 8),
      // An authority's clock that is ahead, and an answer without an end.
      (from: 100, to: 1000, asks: 500, ends: 1000), (from: 0, to: nil, asks: 3600, ends: 7200),
    ])
  func answered(from: Int64, to: Int64?, asks: Int64, ends: Int64) {
    var clock = StapleClock(now: start)
    #expect(clock.asksAt == start && clock.endsAt == .never)
    clock.answered(staple(from: from, to: to), now: start, wallTime: wall)
    #expect(seconds(clock.asksAt) == asks && seconds(clock.endsAt) == ends)
  }

  @Test("After failures it is asked less and less often; what is shown goes on to its end")
  func failures() {
    var (clock, last) = (StapleClock(now: start), StapleClock(now: start))
    for wait in [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600] as [Int64] {
      clock.failed(now: start, random: 0)
      last.failed(now: start, random: UInt64(wait) * 250_000_000 - 1)
      #expect(seconds(clock.asksAt) == wait && (wait..<wait * 5 / 4 + 1).contains(seconds(last.asksAt)))
    }
    clock.answered(staple(from: 0, to: 1000), now: start, wallTime: wall)
    clock.failed(now: start, random: 0)
    #expect(seconds(clock.asksAt) == 5 && seconds(clock.endsAt) == 1000)
    clock.dropped()
    #expect(clock.endsAt == .never)
  }
}
