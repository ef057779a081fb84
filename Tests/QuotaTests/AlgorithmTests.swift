import Core
import Pipeline
import Testing

@testable import Cluster

@Suite("Limit algorithms")
struct AlgorithmTests {
  /// One request in the life of a counter.
  struct Taken {
    let time: DecisionTime
    let cost: Int64
  }

  @Test("A rate never admits more than burst + span / interval in any span", arguments: 1...20 as ClosedRange<UInt64>)
  func rateBound(seed: UInt64) {
    var random = Seeded(state: seed)
    let interval = [100, 333_334, 1_000_000, 86_400_000_000_000][Int(random.number(0...3))]
    let gcra = GCRA(interval: Int64(interval), burst: random.number(1...50))
    var (state, clock, taken) = (GCRA.State(0), HandClock(), [Taken]())
    for _ in 0..<400 {
      clock.now.nanoseconds += random.number(0...Int64(interval) * 3)
      let cost = random.number(1...8)
      let before = state
      if gcra.room(state, now: clock.now.nanoseconds) < cost {
        #expect(state == before)
        continue
      }
      gcra.take(cost, from: &state, now: clock.now.nanoseconds)
      taken.append(Taken(time: clock.time, cost: cost))
    }
    for first in taken.indices {
      var sum: Int64 = 0
      for last in first..<taken.count {
        sum += taken[last].cost
        let span = taken[last].time.now - taken[first].time.now
        #expect(sum <= gcra.burst + span / gcra.interval)
      }
    }
  }

  @Test("A request that waits as long as it was told passes then and not a nanosecond earlier")
  func rateWait() {
    let gcra = GCRA(interval: 1_000_000, burst: 10)
    var state = GCRA.State(0)
    gcra.take(10, from: &state, now: 1000)
    let wait = gcra.wait(for: 3, state, now: 1000)
    #expect(wait == 3_000_000)
    #expect(gcra.room(state, now: 1000 + wait - 1) == 2)
    #expect(gcra.room(state, now: 1000 + wait) == 3)
    #expect(gcra.wait(for: 11, state, now: 1000) == .max)
  }

  @Test(
    "The largest and the smallest rates lose nothing and overflow nowhere",
    arguments: [
      (100 as Int64, 10_000_000 as Int64), (86_400_000_000_000, 1), (86_400_000_000_000, 53_000), (1, 1 << 61),
    ])
  func rateExtremes(interval: Int64, burst: Int64) {
    let gcra = GCRA(interval: interval, burst: burst)
    let now: Int64 = 1 << 61
    var state = GCRA.State(0)
    #expect(gcra.room(state, now: now) == burst)
    gcra.take(burst, from: &state, now: now)
    #expect(gcra.room(state, now: now) == 0)
    #expect(gcra.room(state, now: now + interval) == 1)
    #expect(gcra.wait(for: 1 << 31, state, now: now) >= 0)
  }

  @Test(
    "A sliding window never admits more than its limit in any span of its length",
    arguments: 1...30 as ClosedRange<UInt64>)
  func slidingBound(seed: UInt64) {
    var random = Seeded(state: seed)
    let length = [1_000_000, 60_000_000, 7_777_777][Int(random.number(0...2))]
    let window = SlidingWindow(limit: random.number(5...100), length: Int64(length))
    var (state, clock, taken) = (SlidingWindow.State(), HandClock(), [Taken]())
    for _ in 0..<600 {
      clock.advance(microseconds: random.number(0...Int64(length) / 12))
      if random.number(0...40) == 0 { clock.advance(microseconds: random.number(0...Int64(length) * 2)) }
      let cost = random.number(1...6)
      guard window.room(state, civil: clock.time.civil) >= cost else { continue }
      window.take(cost, from: &state, civil: clock.time.civil)
      taken.append(Taken(time: clock.time, cost: cost))
    }
    #expect(taken.count > 20)
    for last in taken.indices {
      let sum = taken[...last].filter { $0.time.civil > taken[last].time.civil - Int64(length) }.reduce(0) {
        $0 + $1.cost
      }
      #expect(sum <= window.limit)
    }
  }

  @Test("A sliding window has all its room again after the length and a ninth, and says when")
  func slidingRecovery() {
    let window = SlidingWindow(limit: 10, length: 9_000_000)
    var state = SlidingWindow.State()
    let start: Int64 = 900_000_000
    window.take(10, from: &state, civil: start)
    #expect(window.room(state, civil: start + 9_999_999) == 0)
    #expect(window.wait(for: 1, state, civil: start) == 10_000_000_000)
    #expect(window.room(state, civil: start + 10_000_000) == 10)
    #expect(window.restoration(state, civil: start) == 10_000_000_000)
  }

  @Test("A fixed window admits its limit in each window and begins again at the boundary")
  func fixedBoundary() {
    let window = FixedWindow(limit: 3, length: 60_000_000)
    var state = PeriodCounter.State()
    let last = window.counter(at: 119_999_999)
    last.take(3, from: &state)
    #expect(last.room(state) == 0)
    #expect(last.wait(for: 1, civil: 119_999_999) == 1000)
    #expect(window.counter(at: 120_000_000).room(state) == 3)
    #expect(window.counter(at: -1).start == -60_000_000)
  }

  @Test("A caller whose clock is behind the boundary draws on the new window, so neither is exceeded")
  func lateCaller() {
    let window = FixedWindow(limit: 3, length: 60_000_000)
    var state = PeriodCounter.State()
    window.counter(at: 120_000_000).take(3, from: &state)
    #expect(window.counter(at: 119_999_999).room(state) == 0)
  }

  @Test("A limit that was lowered below what is used leaves nothing, and a raised one leaves the difference")
  func changedLimit() {
    var state = PeriodCounter.State()
    PeriodCounter(limit: 10, start: 0, end: 100).take(8, from: &state)
    #expect(PeriodCounter(limit: 5, start: 0, end: 100).room(state) == 0)
    #expect(PeriodCounter(limit: 12, start: 0, end: 100).room(state) == 4)
  }

  @Test("A wall clock that is set back goes on at half speed until it has been caught up")
  func civilClock() {
    var clock = CivilClock()
    func civil(_ seconds: Int64, wall: Int64) -> Int64 {
      clock.advance(
        now: Instant(nanoseconds: seconds * 1_000_000_000), wall: WallTime(microseconds: wall * 1_000_000)
      ).microseconds / 1_000_000
    }
    #expect(civil(10, wall: 1000) == 1000)
    #expect(civil(11, wall: 901) == 1000)
    #expect(civil(31, wall: 921) == 1010)
    #expect(civil(231, wall: 1121) == 1121)
    #expect(civil(232, wall: 5000) == 5000)
    #expect(civil(231, wall: 4999) == 5000)
  }
}
