import Core
import Crypto
import Glibc
import Pipeline
import Synchronization
import Testing

@testable import Cluster

@Suite("Embedded quota")
struct EmbeddedQuotaTests {
  /// What four threads need, as one object that outlives them.
  final class Race: Sendable {
    let store = CounterStore()
    let admitted = Atomic<Int>(0)
    let running = Atomic<Int>(0)
    let mostRunning = Atomic<Int>(0)
  }

  /// Runs `body` on four threads at once and waits for all of them.
  func onFourThreads(_ body: @escaping @Sendable (Int) -> Void) {
    final class Job: Sendable {
      let body: @Sendable (Int) -> Void
      let index: Int
      init(_ index: Int, _ body: @escaping @Sendable (Int) -> Void) {
        self.index = index
        self.body = body
      }
    }
    var threads: [pthread_t] = []
    for index in 0..<4 {
      var thread = pthread_t()
      let job = unsafe Unmanaged.passRetained(Job(index, body)).toOpaque()
      // The thread takes over the reference that was retained for it.
      let status = unsafe pthread_create(
        &thread, nil,
        { argument in
          guard let argument = unsafe argument else { return nil }
          let job = unsafe Unmanaged<Job>.fromOpaque(argument).takeRetainedValue()
          job.body(job.index)
          return nil
        }, job)
      #expect(status == 0)
      threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
  }

  @Test("Four threads together get exactly the limit, over all levels")
  func exactLimit() {
    let race = Race()
    onFourThreads { index in
      let quota = EmbeddedQuota(store: race.store, subjectKey: SipKey(low: 1, high: 2))
      let clock = HandClock()
      for round in 0..<5000 {
        // A key of its own that always admits, and one for all that does not.
        var asked = question(
          level(.window(limit: .max, lengthMicroseconds: 3_600_000_000), key: UInt64(100 + index * 5000 + round)),
          level(.window(limit: 7777, lengthMicroseconds: 3_600_000_000), key: 7))
        quota.decide(&asked, ticket: 0, now: clock.now, civil: clock.wall)
        if asked.decision == .admitted { race.admitted.add(1, ordering: .relaxed) }
      }
    }
    #expect(race.admitted.load(ordering: .relaxed) == 7777)
  }

  @Test("Four threads never hold more slots than there are, and all come back")
  func exactSlots() {
    let race = Race()
    onFourThreads { _ in
      let quota = EmbeddedQuota(store: race.store, subjectKey: SipKey(low: 1, high: 2))
      let clock = HandClock()
      for _ in 0..<5000 {
        var asked = question(level(.concurrency(limit: 2)))
        quota.decide(&asked, ticket: 0, now: clock.now, civil: clock.wall)
        guard asked.decision == .admitted else { continue }
        let running = race.running.add(1, ordering: .sequentiallyConsistent).newValue
        race.mostRunning.max(running, ordering: .relaxed)
        race.running.subtract(1, ordering: .sequentiallyConsistent)
        quota.release(&asked, now: clock.now)
      }
    }
    #expect(race.mostRunning.load(ordering: .relaxed) <= 2)
    #expect(race.store.statistics.count == 0)
  }

  @Test("To look at a limit takes nothing and tells what a decision would find")
  func peek() {
    let quota = EmbeddedQuota(store: CounterStore(), subjectKey: SipKey(low: 1, high: 2))
    let clock = HandClock()
    let asked = question(level(.window(limit: 2, lengthMicroseconds: 60_000_000)))
    for used in 0...2 {
      for _ in 0..<3 {
        var look = asked
        quota.peek(&look, ticket: 0, now: clock.now, civil: clock.wall)
        #expect(look.decision == (used < 2 ? .admitted : .denied))
        #expect(look[0].remaining == Int64(2 - used))
      }
      var decided = asked
      quota.decide(&decided, ticket: 0, now: clock.now, civil: clock.wall)
      #expect(decided.decision == (used < 2 ? .admitted : .denied))
    }
  }
}
