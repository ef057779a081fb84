import Core
import Testing

@testable import Traffic

@Suite("RetryPolicy")
struct RetryPolicyTests {
  private func spec(_ names: String..., attempts: Int = 2) -> RetrySpec {
    var spec = RetrySpec()
    spec.attempts = attempts
    spec.conditions = RetryConditions()
    for name in names { #expect(spec.conditions.insert(named: name) == true) }
    return spec
  }

  @Test(
    "A request that may have been carried out is not sent again unless its method is idempotent",
    arguments: [AttemptFailure.reset, .timeout, .status(503)])
  func unsafe(failure: AttemptFailure) {
    let spec = spec("connect-failure", "reset", "timeout", "5xx")
    #expect(
      !RetryPolicy.allows(spec, after: failure, retried: 0, isIdempotent: false, sentBytes: true, canReplay: true))
    #expect(RetryPolicy.allows(spec, after: failure, retried: 0, isIdempotent: true, sentBytes: true, canReplay: true))
  }

  @Test("A request of which nothing was sent is sent again whatever its method")
  func nothingSent() {
    let spec = spec("connect-failure")
    #expect(
      RetryPolicy.allows(
        spec, after: .connectFailure, retried: 0, isIdempotent: false, sentBytes: false, canReplay: true))
    #expect(RetryPolicy.allows(spec, after: .reset, retried: 0, isIdempotent: false, sentBytes: false, canReplay: true))
  }

  @Test("A body that is gone cannot be sent again")
  func replay() {
    let spec = spec("connect-failure", "reset", "5xx")
    for failure in [AttemptFailure.connectFailure, .reset, .status(500)] {
      #expect(
        !RetryPolicy.allows(spec, after: failure, retried: 0, isIdempotent: true, sentBytes: false, canReplay: false))
    }
  }

  @Test("The number of retries is bounded")
  func attempts() {
    for attempts in RetrySpec.attemptRange {
      let spec = spec("reset", attempts: attempts)
      let allowed = (0...6).count {
        RetryPolicy.allows(spec, after: .reset, retried: $0, isIdempotent: true, sentBytes: true, canReplay: true)
      }
      #expect(allowed == attempts)
    }
  }

  @Test("Only what the list names is worth another try")
  func list() {
    let spec = spec("503")
    func allows(_ failure: AttemptFailure) -> Bool {
      RetryPolicy.allows(spec, after: failure, retried: 0, isIdempotent: true, sentBytes: true, canReplay: true)
    }
    #expect(!allows(.connectFailure) && !allows(.reset) && !allows(.timeout))
    #expect(!allows(.status(502)) && !allows(.status(403)) && allows(.status(503)))
  }

  @Test("Unknown conditions are refused", arguments: ["", "403", "600", "5XX", "resets", "499"])
  func unknown(name: String) {
    var conditions = RetryConditions()
    #expect(conditions.insert(named: name) == false)
    #expect(conditions == RetryConditions())
  }

  @Test("All the names that are offered are taken", arguments: RetryConditions.names)
  func names(name: String) {
    var conditions = RetryConditions()
    #expect(conditions.insert(named: name) == true)
  }
}

@Suite("RetryBudget")
struct RetryBudgetTests {
  @Test("Beyond the percentage of running requests retries are refused, below the minimum never")
  func budget() {
    let state = UpstreamState(name: "u")
    var spec = RetrySpec()
    spec.budgetPercent = 20
    spec.budgetMinimum = 3
    #expect((0..<10).count { _ in RetryBudget.acquire(spec, state) } == 3)
    for _ in 0..<100 { #expect(CircuitBreaker.acquire(.request, BreakerSpec(), state)) }
    #expect((0..<100).count { _ in RetryBudget.acquire(spec, state) } == 17)
    RetryBudget.release(state)
    #expect(RetryBudget.acquire(spec, state))
    #expect(!RetryBudget.acquire(spec, state))
    #expect(state.retriesBegun == 21)
    #expect(state.retriesRefused == 91)
  }
}

@Suite("CircuitBreaker")
struct CircuitBreakerTests {
  @Test("A resource is refused at its bound and given again when one comes back")
  func bounds() {
    let state = UpstreamState(name: "u")
    var spec = BreakerSpec()
    spec.maxConnections = 2
    spec.maxPending = 0
    #expect(!CircuitBreaker.acquire(.pending, spec, state))
    #expect(CircuitBreaker.acquire(.connection, spec, state))
    #expect(CircuitBreaker.acquire(.connection, spec, state))
    #expect(!CircuitBreaker.acquire(.connection, spec, state))
    #expect(state.connections == 2 && state.pending == 0 && state.overflows == 2)
    CircuitBreaker.release(.connection, state)
    #expect(CircuitBreaker.acquire(.connection, spec, state))
  }
}

@Suite("TriedEndpoints")
struct TriedEndpointsTests {
  @Test("It holds as many as a request can have tried")
  func holds() {
    var tried = TriedEndpoints()
    #expect(!tried.contains(-1) && !tried.contains(0))
    for id in 0...Int32(RetrySpec.attemptRange.upperBound) { tried.insert(id) }
    #expect((0...Int32(RetrySpec.attemptRange.upperBound)).allSatisfy { tried.contains($0) })
    #expect(!tried.contains(6))
  }
}
