import Core
import Testing

@testable import Traffic

@Suite("Balancer")
struct BalancerTests {
  private func pick(_ balancer: inout Balancer, tried: TriedEndpoints = TriedEndpoints(), at seconds: Double = 1)
    -> Int32
  {
    balancer.pick(hash: 7, tried: tried, now: .at(seconds), random: 0x1234_5678_9abc_def0)
  }

  @Test("Without endpoints nothing is chosen", arguments: Balance.allCases)
  func noEndpoints(balance: Balance) {
    var spec = spec(balance, weights: [])
    spec.endpoints = [EndpointSpec(address: .name("later.example", port: 80))]
    var balancer = Balancer(plan(spec), random: 0)
    #expect(pick(&balancer) == -1)
  }

  @Test("An endpoint that was tried is not chosen again, and in the end none is", arguments: Balance.allCases)
  func tried(balance: Balance) {
    var balancer = Balancer(plan(spec(balance, weights: [1, 2, 3, 1])), random: 0)
    var tried = TriedEndpoints()
    var seen = Set<Int32>()
    for _ in 0..<4 {
      let index = pick(&balancer, tried: tried)
      #expect(index >= 0)
      #expect(seen.insert(index).inserted == true)
      tried.insert(balancer.current.endpoints[Int(index)].state.id)
    }
    #expect(pick(&balancer, tried: tried) == -1)
  }

  @Test("An unhealthy or ejected endpoint gets nothing, at once", arguments: Balance.allCases)
  func unavailable(balance: Balance) {
    let plan = plan(spec(balance, weights: [1, 1, 2, 1]))
    var balancer = Balancer(plan, random: 0)
    #expect(balancer.shares(400).allSatisfy { $0 > 0 })
    plan.endpoints.endpoints[1].state.setHealth(.unhealthy, now: .at(1))
    var ejection = EjectionSpec()
    ejection.consecutiveFailures = 1
    #expect(plan.endpoints.recordFailure(2, ejection, now: .at(1)))
    let shares = balancer.shares(400, now: .at(1))
    #expect(shares[1] == 0 && shares[2] == 0 && shares[0] > 0 && shares[3] > 0)
    plan.endpoints.endpoints[1].state.setHealth(.healthy, now: .at(2))
    #expect(balancer.shares(400, now: .at(2))[1] > 0)
    #expect(balancer.shares(400, now: .at(40))[2] > 0)
  }

  @Test("When all are unhealthy all are used, and none of them is favoured", arguments: Balance.allCases)
  func panic(balance: Balance) {
    let plan = plan(spec(balance, weights: [1, 1, 1]))
    var balancer = Balancer(plan, random: 0)
    for endpoint in plan.endpoints.endpoints { endpoint.state.setHealth(.unhealthy, now: .at(1)) }
    #expect(balancer.shares(300).allSatisfy { $0 > 50 })
    #expect(balancer.isPanicking)
    plan.endpoints.endpoints[0].state.setHealth(.healthy, now: .at(2))
    #expect(balancer.shares(300) == [300, 0, 0])
    #expect(!balancer.isPanicking)
  }

  @Test("Below the panic percentage all are used")
  func panicPercent() {
    var spec = spec(.roundRobin, weights: [1, 1, 1, 1])
    spec.panicPercent = 50
    let plan = plan(spec)
    var balancer = Balancer(plan, random: 0)
    for index in 0..<2 { plan.endpoints.endpoints[index].state.setHealth(.unhealthy, now: .at(1)) }
    #expect(balancer.shares(100) == [0, 0, 50, 50])
    plan.endpoints.endpoints[2].state.setHealth(.unhealthy, now: .at(1))
    #expect(balancer.shares(100) == [25, 25, 25, 25])
  }

  @Test("Round-robin is exact over each full turn of the weights, and smooth within it", arguments: UInt64(0)..<8)
  func roundRobin(random: UInt64) {
    var balancer = Balancer(plan(spec(.roundRobin, weights: [5, 1, 1])), random: random << 33)
    var order: [Int32] = []
    for _ in 0..<14 { order.append(pick(&balancer)) }
    #expect(order[..<7].count { $0 == 0 } == 5)
    #expect(order[..<7] == order[7...])
    let turn = order + order
    let others = turn.indices.filter { turn[$0] != 0 }
    #expect(zip(others, others.dropFirst()).allSatisfy { $1 - $0 >= 2 }, "\(order)")
  }

  @Test("Loops begin their turn at different endpoints")
  func start() {
    let plan = plan(spec(.roundRobin, weights: [1, 1, 1, 1]))
    let starts = Set(
      (0..<32).map { (loop: UInt64) -> Int32 in
        var balancer = Balancer(plan, random: loop &* 0x9e37_79b9_7f4a_7c15)
        return pick(&balancer)
      })
    #expect(starts.count == 4)
  }

  @Test("A draw by weight comes close to the weights", arguments: [Balance.random, .leastRequest, .latency])
  func weights(balance: Balance) {
    var balancer = Balancer(plan(spec(balance, weights: [1, 2, 5])), random: 0)
    let shares = balancer.shares(80_000)
    // All are idle and unknown: what is left is the draw. Two choices prefer the first drawn, three sigma is 400.
    if balance == .latency { return #expect(shares.allSatisfy { $0 > 5_000 }) }
    for (share, weight) in zip(shares, [1, 2, 5]) { #expect(abs(share - weight * 10_000) < 800, "\(shares)") }
  }

  @Test("Least-request keeps the running requests level, in proportion to the weights")
  func leastRequest() {
    let plan = plan(spec(.leastRequest, weights: [1, 1, 1, 1, 4]))
    var balancer = Balancer(plan, random: 0)
    var generator = SeededGenerator(seed: 3)
    for _ in 0..<800 {
      let index = balancer.pick(hash: 0, tried: TriedEndpoints(), now: .at(1), random: generator.next())
      plan.endpoints.endpoints[Int(index)].state.requestStarted()
    }
    let active = plan.endpoints.endpoints.map { Int($0.state.activeRequests) }
    for (count, expected) in zip(active, [100, 100, 100, 100, 400]) {
      #expect(abs(count - expected) <= 20, "\(active)")
    }
  }

  @Test("Latency leaves a slow endpoint at its first slow answer and comes back by and by")
  func latency() {
    let plan = plan(spec(.latency, weights: [1, 1]))
    var balancer = Balancer(plan, random: 0)
    let states = plan.endpoints.endpoints.map(\.state)
    for state in states { state.recordLatency(nanoseconds: 1_000_000, now: .at(1)) }
    #expect(balancer.shares(100).allSatisfy { $0 > 20 })
    states[0].recordLatency(nanoseconds: 500_000_000, now: .at(1))
    #expect(balancer.shares(100) == [0, 100])
    for _ in 0..<100 { states[0].recordLatency(nanoseconds: 1_000_000, now: .at(2)) }
    #expect(states[0].latency(at: .at(2)) < 1_100_000)
    #expect(states[0].latency(at: .at(60)) < states[0].latency(at: .at(2)) / 4)
  }

  @Test("An endpoint that never answered is tried by one request, not by all")
  func latencyUnknown() {
    let plan = plan(spec(.latency, weights: [1, 1]))
    var balancer = Balancer(plan, random: 0)
    let states = plan.endpoints.endpoints.map(\.state)
    states[0].recordLatency(nanoseconds: 1_000_000, now: .at(1))
    #expect(pick(&balancer) == 1)
    states[1].requestStarted()
    #expect(balancer.shares(100) == [100, 0])
  }

  @Test("An endpoint that joins is led to its share")
  func slowStart() {
    var spec = spec(.random, weights: [1, 1])
    spec.slowStart = .seconds(10)
    let directory = UpstreamDirectory()
    var balancer = Balancer(UpstreamPlan(spec: spec, endpoints: directory.endpoints(of: spec, now: .at(0))), random: 0)
    #expect(balancer.shares(1_000, now: .at(1))[1] > 400)
    spec.endpoints.append(EndpointSpec(address: .socket(address(3))))
    balancer.adopt(directory.endpoints(of: spec, now: .at(100)))
    #expect((10...100).contains(balancer.shares(1_000, now: .at(100.1))[2]))
    #expect((150...250).contains(balancer.shares(1_000, now: .at(105))[2]))
    #expect((280...390).contains(balancer.shares(1_000, now: .at(111))[2]))
  }

  @Test("Slow start with equal weights shares exactly as without once it is over")
  func slowStartEnds() {
    var spec = spec(.roundRobin, weights: [1, 1])
    spec.slowStart = .seconds(10)
    let plan = plan(spec)
    var balancer = Balancer(plan, random: 0)
    plan.endpoints.endpoints[0].state.setHealth(.unhealthy, now: .at(1))
    plan.endpoints.endpoints[0].state.setHealth(.healthy, now: .at(2))
    #expect(balancer.shares(100, now: .at(2.5))[0] < 20)
    #expect(balancer.shares(100, now: .at(13)) == [50, 50])
  }

  @Test("A key keeps its endpoint until that runs more than its bound, and then has a second one")
  func boundedLoads() {
    var spec = spec(.consistentHash, weights: [1, 1, 1, 1])
    spec.boundPercent = 125
    let plan = plan(spec)
    var balancer = Balancer(plan, random: 0)
    let home = pick(&balancer)
    var given: [Int32] = []
    // Of the nth request in all, nobody may run more than a quarter and a quarter of that, rounded up; eight always.
    for count in 1...100 {
      let index = pick(&balancer)
      if count <= Balancer.boundSlack { #expect(index == home) }
      plan.endpoints.endpoints[Int(index)].state.requestStarted()
      given.append(index)
      let most = plan.endpoints.endpoints.map { Int($0.state.activeRequests) }.max() ?? 0
      #expect(most <= max(Int(Balancer.boundSlack), (count * 125 + 399) / 400))
    }
    #expect(given[0] == home && Set(given).count == 4)
    for index in given { plan.endpoints.endpoints[Int(index)].state.requestEnded() }
    #expect(pick(&balancer) == home)
  }

  @Test("Where all run more than their bound, an endpoint is chosen all the same")
  func boundNeverRefuses() {
    var spec = spec(.consistentHash, weights: [1, 1])
    spec.boundPercent = 100
    let plan = plan(spec)
    var balancer = Balancer(plan, random: 0)
    var tried = TriedEndpoints()
    let first = pick(&balancer)
    tried.insert(plan.endpoints.endpoints[Int(first)].state.id)
    for _ in 0..<50 { plan.endpoints.endpoints[Int(1 - first)].state.requestStarted() }
    #expect(pick(&balancer, tried: tried) == 1 - first)
  }
}
