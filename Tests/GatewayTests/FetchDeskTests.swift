import Core
import Pipeline
import Simulation
import Testing

@testable import Gateway

@Suite struct FetchDeskTests {
  private func request(_ host: String = "127.0.0.1") throws -> FetchRequest {
    FetchRequest(try #require(FetchURL("http://\(host):8080/a")))
  }

  @Test("Where too many wait, or nobody takes the order, nothing is begun")
  func refused() throws {
    let world = SimulatedWorld(seed: 1, .calm)
    let node = world.start { FetchHandler($0, FetchHandler.Letters()) }
    var takes = false
    let desk = FetchDesk(world: node.loop) { _ in takes }
    #expect(try !desk.begin(request(), ticket: 1) && desk.count == 0)
    takes = true
    let most = FetchDesk.waitingPerServer
    for ticket in 1...UInt64(most) { #expect(try desk.begin(request(), key: [1], ticket: ticket)) }
    #expect(try !desk.begin(request(), key: [1], ticket: 9_999) && !desk.begin(request(), ticket: 9_999))
    // Another server has what is left.
    for ticket in most + 1...FetchDesk.waitingLimit {
      #expect(try desk.begin(request("127.0.0.2"), ticket: UInt64(ticket)))
    }
    #expect(try !desk.begin(request("127.0.0.3"), ticket: 9_999) && desk.count == FetchDesk.waitingLimit)
  }

  @Test("Orders that are never answered do not fill the desk for ever")
  func lost() throws {
    let world = SimulatedWorld(seed: 1, .calm)
    let node = world.start { FetchHandler($0, FetchHandler.Letters()) }
    let desk = FetchDesk(world: node.loop) { _ in true }
    for ticket in 1...UInt64(FetchDesk.waitingPerServer) { #expect(try desk.begin(request(), ticket: ticket)) }
    #expect(try !desk.begin(request(), ticket: 9_999))
    world.run(for: .seconds(14))
    #expect(try desk.begin(request(), ticket: 9_999) && desk.count == 1)
  }

  @Test("Who gives the key of a fetch under way shares it; behind its end a new one begins")
  func singleFlight() throws {
    let bench = FetchBench()
    var answers = 0
    bench.serve { _ in
      answers += 1
      return FetchBench.answer("\(answers)")
    }
    for ticket in UInt64(1)...100 { #expect(try bench.desk.begin(request(), key: [1], ticket: ticket)) }
    #expect(try bench.desk.begin(request(), key: [2], ticket: 101))
    bench.world.run(within: .seconds(5)) { bench.outcomes.count == 101 }
    #expect(answers == 2 && bench.called.filter { $0 <= 100 } == Array(1...100))
    #expect((2...100).allSatisfy { bench.outcomes[UInt64($0)] == bench.outcomes[1] })
    #expect(try bench.desk.begin(request(), key: [1], ticket: 102))
    bench.world.run(within: .seconds(5)) { bench.outcomes.count == 102 }
    #expect(answers == 3 && bench.desk.count == 0)
  }

  @Test("An outcome is taken once, by whom it is for, and not kept for those who are gone")
  func onceOnly() throws {
    let bench = FetchBench()
    bench.serve { _ in FetchBench.answer("a") }
    var taken: [Bool] = []
    bench.onCall = { [unowned bench] ticket in
      taken.append(bench.desk.outcome(ticket: ticket + 1) != nil)
      // The second has gone.
      if ticket == 2 { return }
      taken.append(bench.desk.outcome(ticket: ticket) != nil)
      taken.append(bench.desk.outcome(ticket: ticket) != nil)
    }
    for ticket in UInt64(1)...3 { #expect(try bench.desk.begin(request(), key: [1], ticket: ticket)) }
    bench.world.run(within: .seconds(5)) { bench.called.count == 3 }
    #expect(taken == [false, true, false, false, false, true, false])
    #expect((1...3).allSatisfy { bench.desk.outcome(ticket: $0) == nil } && bench.desk.count == 0)
  }

  @Test("Who is called may begin the next fetch under the same ticket")
  func chained() throws {
    let bench = FetchBench()
    bench.serve { FetchBench.answer($0.target) }
    let request = try request()
    var bodies: [FetchOutcome] = []
    bench.onCall = { [unowned bench] ticket in
      if let outcome = bench.desk.outcome(ticket: ticket) { bodies.append(outcome) }
      if bodies.count < 3 { _ = bench.desk.begin(request, ticket: ticket) }
    }
    #expect(bench.desk.begin(request, ticket: 1))
    bench.world.run(within: .seconds(5)) { bodies.count == 3 }
    #expect(bodies.count == 3 && bench.called == [1, 1, 1] && bench.desk.count == 0)
  }
}
