// Passwords are checked on one thread of its own, because that takes tens of milliseconds and as many mebibytes on purpose: one
// at a time, so that memory is bounded and loops keep the other cores.
//
// Addresses take turns, and none has more than its share of the queue: whoever floods it waits for himself.
import Core
import Crypto
import Synchronization

/// Checks passwords on a thread that starts with the first one. Bounded in what waits.
public final class PasswordWorker: Sendable {
  /// Passwords that wait at most: some three seconds' worth at the usual cost, which is less than requests wait for.
  public static let capacity = 24
  /// Those of one address, or of one network of IPv6 (64 bits).
  public static let share = 8

  private struct Job {
    let hash: PasswordHash
    let password: [UInt8]
    let reply: @Sendable (Bool) -> Void
  }

  private struct State {
    /// What waits of each address; none is empty.
    var queues: [IPAddress: [Job]] = [:]
    /// The addresses in ``queues``, in the order in which it is their turn.
    var turns: [IPAddress] = []
    var count = 0
    var hasThread = false
    var isStopped = false

    mutating func next() -> Job? {
      guard !turns.isEmpty else { return nil }
      let address = turns.removeFirst()
      guard var queue = queues.removeValue(forKey: address) else { return nil }
      let job = queue.removeFirst()
      count -= 1
      if !queue.isEmpty {
        queues[address] = queue
        turns.append(address)
      }
      return job
    }
  }

  private let state = Mutex(State())
  private let work: WakeUp
  private let check: @Sendable (PasswordHash, [UInt8]) -> Bool

  /// A worker without a thread yet. Throws where descriptors have run out.
  public convenience init() throws(NetworkError) { try self.init { $0.matches($1) } }

  init(check: @escaping @Sendable (PasswordHash, [UInt8]) -> Bool) throws(NetworkError) {
    self.check = check
    work = try WakeUp()
  }

  /// Has a password checked that `address` has sent; `reply` is called once from another thread where it is taken, and never
  /// otherwise. Never blocks.
  public func submit(
    _ hash: PasswordHash, _ password: [UInt8], of address: IPAddress, _ reply: @escaping @Sendable (Bool) -> Void
  ) -> PasswordIntake {
    let place = address.isV4 ? address : IPAddress(high: address.high, low: 0)
    let (intake, isFirst) = state.withLock { state -> (PasswordIntake, Bool) in
      guard !state.isStopped, state.count < Self.capacity else { return (.full, false) }
      let waiting = state.queues[place]?.count ?? 0
      guard waiting < Self.share else { return (.crowded, false) }
      if waiting == 0 { state.turns.append(place) }
      state.queues[place, default: []].append(Job(hash: hash, password: password, reply: reply))
      state.count += 1
      defer { state.hasThread = true }
      return (.taken, !state.hasThread)
    }
    guard intake == .taken else { return intake }
    if isFirst { OSThread.run(name: "passwords") { [self] in checkAll() } }
    work.signal()
    return .taken
  }

  /// Ends the thread after the password that it is at. What waits is not answered any more.
  public func stop() {
    state.withLock {
      $0.isStopped = true
      ($0.queues, $0.turns, $0.count) = ([:], [], 0)
    }
    work.signal()
  }

  /// How many passwords wait.
  public var count: Int { state.withLock { $0.count } }

  private func checkAll() {
    while true {
      let (job, isStopped) = state.withLock { ($0.next(), $0.isStopped) }
      if isStopped { return }
      guard let job else {
        work.wait(milliseconds: -1)
        continue
      }
      job.reply(check(job.hash, job.password))
    }
  }
}
