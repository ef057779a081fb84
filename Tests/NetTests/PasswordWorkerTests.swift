import Core
import Crypto
import Synchronization
import Testing

@testable import Net

/// A check of passwords that a test holds up, and what came of those that were checked.
private final class HeldChecks: Sendable {
  private let begun: WakeUp
  private let gate: WakeUp
  private let ended: WakeUp
  private let order = Mutex<[UInt8]>([])

  init() throws {
    begun = try WakeUp(wakesOneByOne: true)
    gate = try WakeUp(wakesOneByOne: true)
    ended = try WakeUp(wakesOneByOne: true)
  }

  /// Called by the worker: waits until it may go on.
  func check(_ password: [UInt8]) -> Bool {
    begun.signal()
    gate.wait(milliseconds: -1)
    return password.first == 1
  }

  func note(_ number: UInt8) {
    order.withLock { $0.append(number) }
    ended.signal()
  }

  func waitUntilBegun() { begun.wait(milliseconds: -1) }

  /// Lets so many go on; returns which have ended, in their order.
  func finish(_ count: Int) -> [UInt8] {
    for _ in 0..<count { gate.signal() }
    for _ in 0..<count { ended.wait(milliseconds: -1) }
    return order.withLock { $0 }
  }
}

@Suite struct PasswordWorkerTests {
  private let hash = PasswordHash(of: [1], cost: 14)

  private func address(_ number: Int) -> IPAddress { IPAddress(v4: UInt32(number)) }

  @Test("No address has more than its share of the queue, and the queue is bounded; whoever is refused is not answered")
  func bounded() throws {
    let checks = try HeldChecks()
    let worker = try PasswordWorker { checks.check($1) }
    #expect(worker.submit(hash, [1], of: address(1)) { _ in checks.note(0) } == .taken)
    checks.waitUntilBegun()
    for _ in 0..<PasswordWorker.share {
      #expect(worker.submit(hash, [1], of: address(2)) { _ in checks.note(1) } == .taken)
    }
    #expect(worker.submit(hash, [1], of: address(2)) { _ in checks.note(9) } == .crowded)
    for number in PasswordWorker.share..<PasswordWorker.capacity {
      #expect(worker.submit(hash, [1], of: address(100 + number)) { _ in checks.note(2) } == .taken)
    }
    #expect(worker.submit(hash, [1], of: address(3)) { _ in checks.note(9) } == .full)
    #expect(worker.count == PasswordWorker.capacity)
    let ended = checks.finish(PasswordWorker.capacity + 1)
    #expect(ended.count == PasswordWorker.capacity + 1 && !ended.contains(9) && worker.count == 0)
    worker.stop()
    #expect(worker.submit(hash, [1], of: address(1)) { _ in checks.note(9) } == .full)
  }

  @Test("Addresses take turns, and networks of IPv6 are one address")
  func turns() throws {
    let checks = try HeldChecks()
    let worker = try PasswordWorker { checks.check($1) }
    _ = worker.submit(hash, [1], of: address(1)) { _ in checks.note(0) }
    checks.waitUntilBegun()
    for host in 1...3 {
      _ = worker.submit(hash, [1], of: IPAddress(high: 7, low: UInt64(host))) { _ in checks.note(1) }
    }
    for _ in 0..<2 { _ = worker.submit(hash, [1], of: address(2)) { _ in checks.note(2) } }
    #expect(checks.finish(6) == [0, 1, 2, 1, 2, 1])
    worker.stop()
  }

  @Test("A password is right that has the hash, and wrong otherwise", arguments: [(1, true), (2, false)])
  func answers(password: UInt8, isRight: Bool) throws {
    let worker = try PasswordWorker()
    let answer = try Answer()
    #expect(worker.submit(hash, [password], of: address(1)) { answer.take($0) } == .taken)
    #expect(answer.wait() == isRight)
    worker.stop()
  }
}

/// One answer that is waited for.
private final class Answer: Sendable {
  private let value = Mutex(false)
  private let wakeUp: WakeUp

  init() throws { wakeUp = try WakeUp() }

  func take(_ isRight: Bool) {
    value.withLock { $0 = isRight }
    wakeUp.signal()
  }

  func wait() -> Bool {
    wakeUp.wait(milliseconds: -1)
    return value.withLock { $0 }
  }
}
