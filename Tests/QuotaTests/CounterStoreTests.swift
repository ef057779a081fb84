import Core
import Pipeline
import Testing

@testable import Cluster

@Suite("Counter store")
struct CounterStoreTests {
  @Test("A denial by one level changes no other one, and says which it was")
  func allOrNone() {
    let store = CounterStore()
    let clock = HandClock()
    let wide = LimitRule.window(limit: 100, lengthMicroseconds: 60_000_000)
    let narrow = LimitRule.rate(intervalNanoseconds: 1_000_000_000, burst: 2)
    for _ in 0..<2 { #expect(store.ask(clock, level(wide, key: 1), level(narrow, key: 2)).decision == .admitted) }
    for _ in 0..<50 {
      let denied = store.ask(clock, level(wide, key: 1), level(narrow, key: 2))
      #expect(denied.decision == .denied)
      #expect(denied.bindingIndex == 1)
      #expect(denied[0].remaining == 98 && !denied[0].isDenied)
      #expect(denied[1].isDenied && denied[1].resetNanoseconds == 1_000_000_000)
    }
    #expect(store.ask(clock, level(wide, key: 1))[0].remaining == 97)
  }

  @Test("A cost that does not fit is denied, and a smaller one still passes")
  func costs() {
    let store = CounterStore()
    let clock = HandClock()
    let rule = LimitRule.window(limit: 10, lengthMicroseconds: 1_000_000)
    #expect(store.ask(clock, level(rule, cost: 7)).decision == .admitted)
    #expect(store.ask(clock, level(rule, cost: 4)).decision == .denied)
    #expect(store.ask(clock, level(rule, cost: 3))[0].remaining == 0)
    #expect(store.ask(clock, level(rule, cost: 1 << 31))[0].resetNanoseconds == .max)
  }

  @Test("Slots are given back exactly once, and a denied request holds none")
  func slots() {
    let store = CounterStore()
    let clock = HandClock()
    let rule = LimitRule.concurrency(limit: 2)
    var first = store.ask(clock, level(rule))
    let second = store.ask(clock, level(rule))
    var denied = store.ask(clock, level(rule))
    #expect(second.decision == .admitted && denied.decision == .denied)
    store.release(&denied)
    #expect(store.ask(clock, level(rule)).decision == .denied)
    store.release(&first)
    store.release(&first)
    #expect(store.ask(clock, level(rule)).decision == .admitted)
    #expect(store.ask(clock, level(rule)).decision == .denied)
  }

  @Test("A raised limit keeps what has been used, a lowered one takes effect at once")
  func raisedLimit() {
    let store = CounterStore()
    let clock = HandClock()
    func ask(_ limit: Int64) -> LimitQuestion {
      store.ask(clock, level(.window(limit: limit, lengthMicroseconds: 3_600_000_000)))
    }
    for _ in 0..<10 { #expect(ask(10).decision == .admitted) }
    #expect(ask(10).decision == .denied)
    #expect(ask(15)[0].remaining == 4)
    #expect(ask(5).decision == .denied)
  }

  @Test("The clock of a decision never goes back, whatever a caller brings")
  func lateCallers() {
    let store = CounterStore()
    var clock = HandClock()
    let rule = LimitRule.sliding(limit: 5, lengthMicroseconds: 1_000_000)
    let early = clock
    clock.advance(microseconds: 10_000_000)
    for _ in 0..<5 { #expect(store.ask(clock, level(rule)).decision == .admitted) }
    #expect(store.ask(early, level(rule)).decision == .denied)
  }

  @Test("Dead counters are cleared away by the new ones, so memory follows what is in use")
  func clearing() {
    let store = CounterStore()
    var clock = HandClock()
    let rule = LimitRule.rate(intervalNanoseconds: 1000, burst: 1)
    for key in 0..<20_000 as Range<UInt64> {
      clock.advance(microseconds: 10)
      #expect(store.ask(clock, level(rule, key: key)).decision == .admitted)
    }
    #expect(store.statistics.count < 400)
    #expect(store.statistics.evictedCount == 0)
  }

  @Test("A full store gives up what would end soonest, counts it, and never a held slot")
  func eviction() {
    let store = CounterStore(capacity: 640)
    let clock = HandClock()
    let held = store.ask(clock, level(.concurrency(limit: 1), key: 1))
    #expect(held.decision == .admitted)
    let day = LimitRule.window(limit: 1, lengthMicroseconds: 86_400_000_000)
    for key in 2..<5000 as Range<UInt64> { #expect(store.ask(clock, level(day, key: key)).decision == .admitted) }
    #expect(store.statistics.count <= 640)
    #expect(store.statistics.evictedCount > 4000)
    #expect(store.ask(clock, level(.concurrency(limit: 1), key: 1)).decision == .denied)
  }

  @Test("A store full of held slots can say nothing, and leaves nothing behind")
  func fullOfSlots() {
    let store = CounterStore(capacity: 64)
    let clock = HandClock()
    var held: [LimitQuestion] = []
    for key in 1..<2000 as Range<UInt64> {
      let question = store.ask(clock, level(.concurrency(limit: 1), key: key))
      if question.decision == .admitted { held.append(question) }
    }
    #expect(held.count == 64)
    let denied = store.ask(clock, level(.concurrency(limit: 1), key: 5000), level(.concurrency(limit: 1), key: 6001))
    #expect(denied.decision == .unavailable)
    #expect(store.statistics.count == 64)
    for index in held.indices { store.release(&held[index]) }
    #expect(store.statistics.count == 0)
  }

  @Test(
    "Random hierarchies are decided as a plain model does, and a denial changes nothing",
    arguments: 1...12 as ClosedRange<UInt64>)
  func model(seed: UInt64) {
    var random = Seeded(state: seed)
    let store = CounterStore()
    var model = Model()
    var clock = HandClock()
    let rules: [LimitRule] = [
      .window(limit: 40, lengthMicroseconds: 1_000_000), .window(limit: 15, lengthMicroseconds: 250_000),
      .rate(intervalNanoseconds: 20_000_000, burst: 10), .rate(intervalNanoseconds: 3_000_001, burst: 25),
      .concurrency(limit: 6),
    ]
    var running: [LimitQuestion] = []
    for _ in 0..<4000 {
      clock.advance(microseconds: random.number(0...15_000))
      if !running.isEmpty && random.number(0...2) == 0 {
        var done = running.remove(at: Int(random.number(0...Int64(running.count - 1))))
        model.release(done)
        store.release(&done)
      }
      var asked = LimitQuestion()
      for (index, rule) in rules.enumerated() where random.number(0...1) == 1 {
        let cost = rule.isConcurrency ? 1 : random.number(1...5)
        asked.append(level(rule, cost: cost, key: UInt64(index * 10) + UInt64(random.number(1...2))))
      }
      let expected = model.decide(asked, clock.time)
      store.decide(&asked, clock.time)
      #expect((asked.decision == .admitted) == expected.isAdmitted)
      #expect((0..<asked.count).map { asked[$0].remaining } == expected.remaining)
      if asked.decision == .admitted { running.append(asked) }
    }
  }
}

extension LimitRule {
  var isConcurrency: Bool { if case .concurrency = self { true } else { false } }
}

/// The same limits, kept as lists of what was taken when.
private struct Model {
  struct Entry {
    let time: DecisionTime
    let cost: Int64
  }
  var taken: [QuotaKey: [Entry]] = [:]
  var slots: [QuotaKey: Int64] = [:]

  func room(_ level: QuotaLevel, _ time: DecisionTime) -> Int64 {
    let entries = taken[level.key] ?? []
    switch level.rule {
    case .window(let limit, let length):
      return limit - entries.filter { $0.time.civil / length == time.civil / length }.reduce(0) { $0 + $1.cost }
    case .rate(let interval, let burst):
      // A bucket of nanoseconds that fills up with time.
      var (tokens, last) = (burst * interval, Int64(0))
      for entry in entries {
        tokens = min(burst * interval, tokens + entry.time.now - last) - entry.cost * interval
        last = entry.time.now
      }
      return min(burst * interval, tokens + time.now - last) / interval
    case .concurrency(let limit): return limit - (slots[level.key] ?? 0)
    case .sliding, .calendar: return 0
    }
  }

  mutating func decide(_ question: LimitQuestion, _ time: DecisionTime) -> (isAdmitted: Bool, remaining: [Int64]) {
    let levels = (0..<question.count).map { question[$0] }
    let rooms = levels.map { room($0, time) }
    guard zip(levels, rooms).allSatisfy({ $0.cost <= $1 }) else { return (false, rooms) }
    for level in levels {
      if level.rule.isConcurrency {
        slots[level.key, default: 0] += 1
      } else {
        taken[level.key, default: []].append(Entry(time: time, cost: level.cost))
      }
    }
    return (true, zip(levels, rooms).map { $1 - $0.cost })
  }

  mutating func release(_ question: LimitQuestion) {
    for index in 0..<question.count where question[index].isHeld { slots[question[index].key, default: 0] -= 1 }
  }
}
