import Core
import Pipeline
import Simulation
import Testing

@testable import Cluster

@Suite("Lanes and their embedded twin")
struct LaneTwinTests {
  @Test("Lanes and the embedded store agree on every decision", arguments: 1...8 as ClosedRange<UInt64>)
  func sameDecisions(seed: UInt64) throws {
    let rig = try LaneRig()
    try rig.open()
    var trace = LaneTrace(seed: seed)
    let (store, batch) = (CounterStore(), LaneBatch(map: rig.map))
    var (admitted, denied) = (0, 0)
    for _ in 0..<80 {
      rig.wall += abs(trace.step()) / 4
      let time = DecisionTime(now: rig.wall * 1000, civil: rig.wall)
      batch.begin(lane: 0)
      var asked: [(LanePlace, LimitQuestion)] = []
      for _ in 0..<trace.random.number(1...12) {
        let question = trace.question(at: rig.wall)
        if let place = batch.append(question) { asked.append((place, question)) }
      }
      try #require(try rig.decide(batch) == .answered)
      // What the batch put in another order is asked in that order.
      asked.sort { (batch.items[$0.0.item].order, $0.0.position) < (batch.items[$1.0.item].order, $1.0.position) }
      for (place, question) in asked {
        var (here, there) = (question, question)
        store.decide(&here, time)
        batch.answer(place, &there)
        try #require(here.decision == there.decision)
        try #require((here.decision == .admitted) == batch.isAdmitted(place))
        if here.decision == .admitted { admitted += 1 } else { denied += 1 }
        for level in 0..<question.count {
          try #require(here[level].isDenied == there[level].isDenied)
          let text = "\(question[level].rule) cost \(question[level].cost) at \(rig.wall)"
          try #require(here[level].remaining == there[level].remaining, "\(text)")
          // Of a counter that nobody has touched one store knows since when, the other does not know it at all.
          if here.decision == .denied && here[level].remaining == question[level].rule.limit { continue }
          try #require(here[level].resetNanoseconds == there[level].resetNanoseconds, "\(text)")
        }
      }
    }
    #expect(admitted > 30 && denied > 30)
  }

  @Test(
    "Merged questions are admitted like the same ones in a row, the first of them first",
    arguments: 1...8 as ClosedRange<UInt64>)
  func merging(seed: UInt64) throws {
    let (merged, single) = (try LaneRig(), try LaneRig())
    try merged.open()
    try single.open()
    var trace = LaneTrace(seed: seed)
    let (batch, other) = (LaneBatch(map: merged.map), LaneBatch(map: merged.map))
    var mergedCount = 0
    for _ in 0..<60 {
      merged.wall += abs(trace.step()) / 10
      single.wall = merged.wall
      let choice = (0..<6).map { _ in trace.question(at: merged.wall) }
      batch.begin(lane: 0)
      var asked: [(place: LanePlace, question: LimitQuestion)] = []
      for _ in 0..<40 {
        let question = choice[Int(trace.random.number(0...5))]
        if let place = batch.append(question) { asked.append((place, question)) }
      }
      mergedCount += asked.count - batch.count
      try #require(try merged.decide(batch) == .answered)
      let inOrder = asked.enumerated().sorted {
        (batch.items[$0.element.place.item].order, $0.offset) < (batch.items[$1.element.place.item].order, $1.offset)
      }
      for (_, one) in inOrder {
        other.begin(lane: 0)
        let place = try #require(other.append(one.question))
        try #require(try single.decide(other) == .answered)
        #expect(other.isAdmitted(place) == batch.isAdmitted(one.place))
      }
      #expect(merged.model.hashes == single.model.hashes)
    }
    #expect(mergedCount > 100)
  }

  @Test("Questions that have one counter in different places are each answered in their own")
  func places() throws {
    let rig = try LaneRig()
    try rig.open()
    let window = level(.window(limit: 1, lengthMicroseconds: 60_000_000), key: 1)
    let slot = level(.concurrency(limit: 3), key: 9)
    let batch = LaneBatch(map: rig.map)
    batch.begin(lane: 0)
    var (alone, second, first) = (LimitQuestion(), LimitQuestion(), LimitQuestion())
    alone.append(window)
    for one in [slot, window] { second.append(one) }
    for one in [window, slot] { first.append(one) }
    var asked = [alone, second, first, second, alone].map { (place: batch.append($0)!, question: $0) }
    try #require(try rig.decide(batch) == .answered)
    for index in asked.indices { batch.answer(asked[index].place, &asked[index].question) }
    let admitted = asked.filter { $0.question.decision == .admitted }
    #expect(admitted.count == 1)
    for (_, question) in asked where question.decision == .denied {
      let windows = (0..<question.count).filter { question[$0].rule != slot.rule }
      #expect(windows.allSatisfy { question[$0].isDenied })
    }
  }

  @Test("A slot is admitted by both while one is free")
  func slots() throws {
    let rig = try LaneRig()
    try rig.open()
    let (store, clock) = (CounterStore(), HandClock())
    let one = level(.concurrency(limit: 3), key: 9)
    for used in 0..<5 {
      var slots = LaneSlots(map: rig.map, lane: 0)
      _ = slots.append(one, wanted: Int64(used) + 1)
      let answer = try rig.call { slots.encode(for: LaneRig.caller(), leaseMicroseconds: 3_000_000, into: $0) }
      guard case .granted(_, let grants) = slots.read(RawSpan(answer)) else {
        Issue.record("not granted")
        return
      }
      #expect((grants[0].slots > used) == (store.ask(clock, one).decision == .admitted))
    }
  }
}
