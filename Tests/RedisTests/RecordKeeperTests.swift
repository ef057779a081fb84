import Core
import Pipeline
import Testing

@testable import Cluster

@Suite("RecordKeeper", .serialized)
struct RecordKeeperTests {
  private let rig: AgentRig

  init() throws { rig = try AgentRig(2, on: RealRedis()) }

  private func wait<Answer>(_ unit: Int, _ ask: (RecordKeeper, @escaping (Answer) -> Void) -> Void) throws -> Answer {
    let agent = rig.units[unit].agent
    try rig.run { agent.store.isUp }
    var answer: Answer?
    ask(agent.records) { answer = $0 }
    try rig.run { answer != nil }
    return try #require(answer)
  }

  private func run(_ action: RecordRequest.Action, _ name: String = "a", on unit: Int = 0) throws -> RecordOutcome {
    let request = try #require(RecordRequest(action, purpose: "test", name: name))
    return try wait(unit) { $0.carryOut(request, then: $1) }
  }

  @Test("Without the store nobody knows")
  func away() throws {
    rig.units[0].agent.store.stop()
    var outcome: RecordOutcome?
    let request = try #require(RecordRequest(.get, purpose: "test", name: "a"))
    rig.units[0].agent.records.carryOut(request) { outcome = $0 }
    #expect(outcome == nil)
    try rig.run { outcome != nil }
    #expect(outcome == .unavailable)
  }

  @Test("What one node puts another takes, once; under an end, and only where nothing is")
  func takes() throws {
    let put = RecordRequest.Action.put(value: [0, 255, 13, 10], lifeSeconds: 60, onlyIfAbsent: true)
    #expect(try run(.get) == .done(nil) && run(.take) == .done(nil))
    #expect(try run(put) == .done(nil) && run(put, on: 1) == .refused)
    let left = try rig.send("PTTL {}:record:test:a")?.number ?? 0
    #expect((50_000...60_000).contains(left))
    #expect(try run(.get, on: 1) == .done([0, 255, 13, 10]))
    #expect(try run(.take, on: 1) == .done([0, 255, 13, 10]) && run(.take) == .done(nil))
  }

  @Test("Of many who take one record at the same time one has it")
  func takesOnce() throws {
    #expect(try run(.put(value: [7], lifeSeconds: 60, onlyIfAbsent: false)) == .done(nil))
    let request = try #require(RecordRequest(.take, purpose: "test", name: "a"))
    var outcomes: [RecordOutcome] = []
    try rig.run { rig.units.allSatisfy { $0.agent.store.isUp } }
    for number in 0..<20 { rig.units[number % 2].agent.records.carryOut(request) { outcomes.append($0) } }
    try rig.run { outcomes.count == 20 }
    #expect(outcomes.count { $0 == .done([7]) } == 1 && outcomes.count { $0 == .done(nil) } == 19)
  }

  @Test("Only what is as expected is replaced, and its end stays")
  func swaps() throws {
    #expect(try run(.swap(expected: [1], value: [2])) == .refused)
    #expect(try run(.put(value: [1], lifeSeconds: 60, onlyIfAbsent: false)) == .done(nil))
    #expect(try run(.swap(expected: [1], value: [2])) == .done(nil))
    #expect(try run(.swap(expected: [1], value: [3]), on: 1) == .refused)
    #expect(try run(.get, on: 1) == .done([2]))
    #expect(try (1...60_000).contains(rig.send("PTTL {}:record:test:a")?.number ?? 0))
  }

  @Test("A shelf takes each name once and no more than it has room for; all of it can be read, changed and taken away")
  func shelf() throws {
    func add(_ name: String, most: Int = 3) throws -> ShelfAnswer {
      try wait(0) { $0.add(Array(name.utf8), to: "s", as: name, most: most, then: $1) }
    }
    #expect(try add("a") == .done && add("a") == .refused && add("b") == .done && add("c") == .done)
    #expect(try add("d") == .full)
    let page: ShelfPage? = try wait(1) { $0.list("s", from: "0", then: $1) }
    #expect(page?.cursor == nil && page?.items.map(\.name).sorted() == ["a", "b", "c"])
    func replace(_ expected: String, _ value: [UInt8]?) throws -> ShelfAnswer {
      try wait(1) { $0.replace(Array(expected.utf8), by: value, on: "s", as: "a", then: $1) }
    }
    #expect(try replace("x", [1]) == .refused && replace("a", [1]) == .done)
    #expect(try wait(0) { $0.find("a", on: "s", then: $1) } == RecordOutcome.done([1]))
    let request = try #require(RecordRequest(.find, purpose: "s", name: "a"))
    #expect(try wait(0) { $0.carryOut(request, then: $1) } == RecordOutcome.done([1]))
    #expect(try wait(1) { $0.replace([1], by: nil, on: "s", as: "a", then: $1) } == ShelfAnswer.done)
    #expect(try wait(0) { $0.find("a", on: "s", then: $1) } == RecordOutcome.done(nil))
    #expect(try add("d") == .done)
  }
}
