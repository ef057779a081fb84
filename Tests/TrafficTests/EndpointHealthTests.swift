import Core
import Testing

@testable import Traffic

@Suite("Ejection")
struct EjectionTests {
  private let ejection: EjectionSpec = {
    var spec = EjectionSpec()
    spec.consecutiveFailures = 3
    spec.baseTime = .seconds(10)
    spec.maxTime = .seconds(25)
    return spec
  }()

  private func fail(_ set: EndpointSet, _ index: Int32, times: Int = 3, at seconds: Double) -> Bool {
    var isEjected = false
    for _ in 0..<times { isEjected = set.recordFailure(index, ejection, now: .at(seconds)) }
    return isEjected
  }

  @Test("A success between failures begins the count anew")
  func success() {
    let set = plan(spec(.random, weights: [1, 1])).endpoints
    #expect(!fail(set, 0, times: 2, at: 1))
    set.recordSuccess(0)
    #expect(!fail(set, 0, times: 2, at: 1))
    #expect(fail(set, 0, times: 1, at: 1))
  }

  @Test("Without ejection failures are only counted")
  func none() {
    let set = plan(spec(.random, weights: [1, 1])).endpoints
    for _ in 0..<100 { #expect(!set.recordFailure(0, nil, now: .at(1))) }
    #expect(set.endpoints[0].state.failures == 100)
    #expect(set.endpoints[0].state.isAvailable(at: .at(1)))
  }

  @Test("A broken upstream is never ejected whole", arguments: 1...6, [50, 100])
  func never(count: Int, percent: Int) {
    let set = plan(spec(.random, weights: Array(repeating: 1, count: count))).endpoints
    var ejection = ejection
    ejection.maxPercent = percent
    for index in 0..<count {
      for _ in 0..<20 { _ = set.recordFailure(Int32(index), ejection, now: .at(1)) }
    }
    let out = set.endpoints.count { !$0.state.isAvailable(at: .at(1)) }
    #expect(out == min(count - 1, max(1, count * percent / 100)))
    #expect(out < count)
  }

  @Test("An endpoint that is ejected again stays out longer, up to the longest time; good behaviour forgives")
  func growth() {
    let set = plan(spec(.random, weights: [1, 1])).endpoints
    let state = set.endpoints[0].state
    #expect(fail(set, 0, at: 0))
    #expect(state.ejectedUntil == .at(10))
    #expect(fail(set, 0, at: 10))
    #expect(state.ejectedUntil == .at(30))
    #expect(fail(set, 0, at: 31))
    #expect(state.ejectedUntil == .at(56))
    #expect(fail(set, 0, at: 500))
    #expect(state.ejectedUntil == .at(510))
    #expect(state.ejections == 4)
  }

  @Test("While it is out further failures change nothing")
  func whileOut() {
    let set = plan(spec(.random, weights: [1, 1])).endpoints
    #expect(fail(set, 0, at: 0))
    #expect(!fail(set, 0, times: 10, at: 5))
    #expect(set.endpoints[0].state.ejectedUntil == .at(10))
  }
}

@Suite("HealthCheck")
struct HealthCheckTests {
  private func check(_ edit: (inout HealthSpec) -> Void = { _ in }) -> (HealthCheck, EndpointState) {
    var health = HealthSpec(path: "/healthz")
    health.interval = .seconds(10)
    health.timeout = .seconds(2)
    edit(&health)
    let state = plan(spec(.random, weights: [1])).endpoints.endpoints[0].state
    return (HealthCheck(health, state, now: .at(0), random: 0), state)
  }

  /// Asks at `seconds` and answers; fails the test if nothing is asked.
  private func answer(_ check: inout HealthCheck, _ status: Int, at seconds: Double) {
    let action = check.advance(now: .at(seconds), random: 0)
    #expect(action == .probe(deadline: .at(seconds + 2)))
    check.answered(status: status, now: .at(seconds))
  }

  @Test("The first answer decides at once", arguments: [(200, EndpointState.Health.healthy), (500, .unhealthy)])
  func first(status: Int, health: EndpointState.Health) {
    var (check, state) = check()
    #expect(state.health == .unknown)
    #expect(state.isAvailable(at: .at(0)))
    answer(&check, status, at: 0)
    #expect(state.health == health)
  }

  @Test("Bad answers in a row make it unhealthy, a good one between them begins the count anew")
  func thresholds() {
    var (check, state) = check()
    let statuses = [200, 500, 301, 200, 500, 500, 404, 200, 503, 200, 200]
    let expected: [EndpointState.Health] = [
      .healthy, .healthy, .healthy, .healthy, .healthy, .healthy, .unhealthy, .unhealthy, .unhealthy, .unhealthy,
      .healthy,
    ]
    for (turn, status) in statuses.enumerated() {
      answer(&check, status, at: Double(turn * 20))
      #expect(state.health == expected[turn], "turn \(turn)")
    }
  }

  @Test("A check without an answer is given up at its deadline and counts as bad; what comes later is ignored")
  func timeout() {
    var (check, state) = check()
    #expect(check.advance(now: .at(1), random: 0) == .probe(deadline: .at(3)))
    #expect(check.advance(now: .at(2), random: 0) == .wait(until: .at(3)))
    #expect(check.advance(now: .at(3), random: 0) == .abandon)
    #expect(state.health == .unhealthy)
    check.answered(status: 200, now: .at(3.5))
    check.failed(now: .at(3.5))
    #expect(state.health == .unhealthy)
  }

  @Test("The next check comes after the interval, give or take half the jitter", arguments: UInt64(0)..<20)
  func jitter(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var (check, _) = check { $0.jitterPercent = 20 }
    #expect(check.advance(now: .at(0), random: generator.next()) == .probe(deadline: .at(2)))
    check.answered(status: 200, now: .at(1))
    guard case .wait(let next) = check.advance(now: .at(1), random: generator.next()) else {
      return #expect(Bool(false), "asked too soon")
    }
    #expect((Instant.at(9)...Instant.at(11)).contains(next))
  }

  @Test("The first checks of many endpoints spread over one interval")
  func spread() {
    var generator = SeededGenerator(seed: 1)
    let state = plan(spec(.random, weights: [1])).endpoints.endpoints[0].state
    var early = 0
    for _ in 0..<1_000 {
      var check = HealthCheck(HealthSpec(path: "/"), state, now: .at(0), random: generator.next())
      guard case .wait(let first) = check.advance(now: .at(0), random: 0) else { continue }
      #expect(first < .at(5))
      if first < .at(2.5) { early += 1 }
    }
    #expect((400...600).contains(early))
  }
}
