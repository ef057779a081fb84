import Core
import Testing

private func milliseconds(_ count: Int64) -> Instant { Instant(nanoseconds: count * 1_000_000) }

private func popAll(_ wheel: inout TimerWheel, now: Instant) -> [Int32] {
  var popped: [Int32] = []
  while let slot = wheel.pop(now: now) { popped.append(slot) }
  return popped
}

@Suite struct TimerWheelTests {
  @Test("A deadline that never comes arms nothing")
  func never() {
    var wheel = TimerWheel(now: milliseconds(5))
    wheel.schedule(3, at: .never)
    #expect(wheel.armedCount == 0)
    #expect(wheel.nextDeadline == .never)
    #expect(wheel.pop(now: .never) == nil)
  }

  @Test("A cancelled slot is not popped, and can be scheduled again")
  func cancelled() {
    var wheel = TimerWheel(now: milliseconds(0))
    wheel.schedule(0, at: milliseconds(10))
    wheel.cancel(0)
    wheel.cancel(7)
    #expect(popAll(&wheel, now: milliseconds(100)).isEmpty)
    wheel.schedule(0, at: milliseconds(200))
    #expect(popAll(&wheel, now: milliseconds(200)) == [0])
  }

  @Test("A slot is popped neither before its deadline nor after the millisecond that follows it")
  func rounding() {
    var wheel = TimerWheel(now: milliseconds(0))
    wheel.schedule(1, at: Instant(nanoseconds: 7_000_001))
    #expect(wheel.pop(now: Instant(nanoseconds: 7_999_999)) == nil)
    #expect(wheel.pop(now: milliseconds(8)) == 1)
    #expect(wheel.pop(now: milliseconds(8)) == nil)
  }

  @Test("A later deadline leaves an armed slot where it is, an earlier one moves it")
  func lazy() {
    var wheel = TimerWheel(now: milliseconds(0))
    wheel.schedule(1, at: milliseconds(50))
    wheel.schedule(1, at: milliseconds(90))
    #expect(wheel.nextDeadline == milliseconds(50))
    wheel.schedule(1, at: milliseconds(20))
    #expect(popAll(&wheel, now: milliseconds(20)) == [1])
    #expect(wheel.armedCount == 0)
    #expect(popAll(&wheel, now: milliseconds(1000)).isEmpty)
  }

  @Test("A deadline that has passed comes with the next millisecond, not at once")
  func past() {
    var wheel = TimerWheel(now: milliseconds(100))
    wheel.schedule(1, at: milliseconds(3))
    #expect(wheel.pop(now: milliseconds(100)) == nil)
    #expect(wheel.pop(now: milliseconds(101)) == 1)
  }

  @Test("Slots come in the order of their milliseconds, over any distance")
  func order() {
    var wheel = TimerWheel(now: milliseconds(4_095))
    let deadlines: [Int64] = [4_096, 4_159, 4_160, 8_192, 300_000, 16_777_216, 86_400_000 * 365]
    for (slot, deadline) in deadlines.enumerated().reversed() {
      wheel.schedule(Int32(slot), at: milliseconds(deadline))
    }
    #expect(popAll(&wheel, now: milliseconds(86_400_000 * 366)) == Array(0..<Int32(deadlines.count)))
  }

  @Test("The next deadline leads to every slot within seven wake-ups")
  func wakeUps() {
    var wheel = TimerWheel(now: milliseconds(123_456_789))
    let deadline = milliseconds(123_456_789 + 987_654_321)
    wheel.schedule(9, at: deadline)
    var wakeUps = 0
    while true {
      let next = wheel.nextDeadline
      #expect(next <= deadline)
      wakeUps += 1
      if wheel.pop(now: next) != nil { break }
      guard wakeUps < 8 else { break }
    }
    #expect(wakeUps <= 7)
  }

  @Test("Random operations agree with a plain table", arguments: 1...40)
  func model(seed: UInt64) {
    var random = Generator(state: seed)
    var now = Int64.random(in: 0...(1 << 40), using: &random)
    var wheel = TimerWheel(now: Instant(nanoseconds: now))
    var table: [Int32: Int64] = [:]
    /// The tick from which on a slot may be popped: its deadline rounded up, but after the last tick handed out.
    var processed = now / 1_000_000
    for _ in 0..<3_000 {
      let slot = Int32.random(in: 0..<200, using: &random)
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<6:
        let reach = Int64(1) << Int64.random(in: 0..<45, using: &random)
        let deadline = now - reach / 8 + Int64.random(in: 0..<reach, using: &random)
        wheel.schedule(slot, at: Instant(nanoseconds: deadline))
        let tick = max((max(deadline, 0) + 999_999) / 1_000_000, processed + 1)
        table[slot] = min(table[slot] ?? .max, tick)
      case 6:
        wheel.cancel(slot)
        table[slot] = nil
      default:
        now += Int64.random(in: 0..<(Int64(1) << Int64.random(in: 1..<38, using: &random)), using: &random)
        let tick = now / 1_000_000
        let next = wheel.nextDeadline
        #expect((table.values.min() ?? .max) >= (next == .never ? .max : next.nanoseconds / 1_000_000))
        let expected = table.filter { $0.value <= tick }
        let popped = popAll(&wheel, now: Instant(nanoseconds: now))
        #expect(Set(popped) == Set(expected.keys) && popped.count == expected.count)
        let ticks = popped.map { expected[$0] ?? 0 }
        #expect(ticks == ticks.sorted())
        for slot in popped { table[slot] = nil }
        processed = max(processed, tick)
      }
      #expect(wheel.armedCount == table.count)
    }
  }

  private struct Generator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ state >> 29
    }
  }
}
