// Names become addresses on threads of their own, because the C library's look-up blocks: it reads files, asks servers,
// waits for time limits of its own. A loop hands over a name and gets an answer by its mailbox, in time: where the
// look-up takes too long the answer is that it did, and what it finds later is dropped.
//
// The library does not tell how long an answer may be kept, so a name that matters is watched: looked up again and again
// at an interval, and reported when its addresses have changed.
import CLinux
import Core
import Glibc
import Synchronization

/// Looks names up on threads of its own. Bounded in threads, in waiting names and in time.
public final class Resolver: Sendable {
  /// What a look-up came to.
  public enum Answer: Equatable, Sendable {
    /// The addresses in the order in which they should be tried, at least one, each once.
    case addresses([IPAddress])
    /// No addresses.
    case failed(Failure)

    /// The addresses; nil where there are none.
    public var found: [IPAddress]? {
      if case .addresses(let addresses) = self { addresses } else { nil }
    }
  }

  /// Why there is no address.
  public enum Failure: Error, Hashable, Sendable {
    /// The name does not exist or has no address.
    case notFound
    /// The name service does not work at present.
    case unavailable
    /// The time limit passed.
    case timedOut
    /// Too many names wait already.
    case overloaded
  }

  /// Names the watch of one name, to end it.
  public struct WatchID: Hashable, Sendable { fileprivate let number: Int }

  /// How often a watched name is looked up unless said otherwise: the time to live that most services give their names.
  public static let defaultInterval = Duration.seconds(30)
  /// How long a look-up may take unless said otherwise: the C library's own limit for one server.
  public static let defaultTimeout = Duration.seconds(5)

  private struct Job {
    var host: String
    var deadline: Instant
    var reply: @Sendable (Answer) -> Void
  }

  private struct Watch {
    var host: String
    var interval: Duration
    /// ``Instant/never`` while a look-up is under way.
    var next: Instant
    var last: Answer?
    var report: @Sendable (Answer) -> Void
  }

  private struct State {
    var queue: [Int] = []
    /// Those that wait and those that are being looked up.
    var jobs: [Int: Job] = [:]
    var watches: [Int: Watch] = [:]
    var nextNumber = 0
    var isStopped = false
    var random = RandomSource()
  }

  private let state = Mutex(State())
  private let work: WakeUp
  private let clock: WakeUp
  private let limit: Int
  private let lookUp: @Sendable (String) -> Answer
  private let threads = Mutex<[OSThread]>([])

  /// Starts `threads` look-up threads. At most `limit` names wait; only watched ones are never refused.
  public convenience init(threads: Int = 2, limit: Int = 1024) throws(NetworkError) {
    try self.init(threads: threads, limit: limit, lookUp: Self.ask)
  }

  init(threads: Int, limit: Int, lookUp: @escaping @Sendable (String) -> Answer) throws(NetworkError) {
    precondition(threads > 0 && limit > 0)
    self.limit = limit
    self.lookUp = lookUp
    work = try WakeUp(wakesOneByOne: true)
    clock = try WakeUp()
    var started = [OSThread.spawn(name: "resolver-time") { [self] in keepTime() }]
    for _ in 0..<threads { started.append(OSThread.spawn(name: "resolver") { [self] in answerJobs() }) }
    self.threads.withLock { $0 = started }
  }

  /// Looks `host` up and calls `reply` exactly once, from another thread or, where too many names wait, from this one.
  /// A text that is an address is answered at once. Never blocks.
  public func resolve(
    _ host: String, timeout: Duration = Resolver.defaultTimeout, _ reply: @escaping @Sendable (Answer) -> Void
  ) {
    if let address = IPAddress(host) { return reply(.addresses([address])) }
    let refusal = state.withLock { state -> Failure? in
      guard !state.isStopped else { return .unavailable }
      guard state.queue.count < limit else { return .overloaded }
      Self.enqueue(&state, Job(host: host, deadline: Clock.monotonic() + timeout, reply: reply))
      return nil
    }
    if let refusal { return reply(.failed(refusal)) }
    work.signal()
    clock.signal()
  }

  /// Looks `host` up now and every `interval` (give or take a tenth, so that nodes spread), and calls `report` with the
  /// first answer and with every later one that differs. A failure after a success is not reported: the last addresses
  /// are better than none. `report` is called from another thread.
  public func watch(
    _ host: String, every interval: Duration = Resolver.defaultInterval,
    _ report: @escaping @Sendable (Answer) -> Void
  ) -> WatchID {
    let id = state.withLock { state in
      state.nextNumber += 1
      state.watches[state.nextNumber] = Watch(
        host: host, interval: interval, next: Clock.monotonic(), last: nil, report: report)
      return WatchID(number: state.nextNumber)
    }
    clock.signal()
    return id
  }

  /// Ends a watch. One report may still be under way.
  public func endWatch(_ id: WatchID) {
    state.withLock { $0.watches[id.number] = nil }
  }

  /// Ends the threads. Whoever waits is answered `.unavailable`. Does not wait for look-ups under way: the C library
  /// cannot be interrupted.
  public func stop() {
    let waiting = state.withLock { state in
      let waiting = state.jobs.values.map(\.reply)
      state.isStopped = true
      state.jobs = [:]
      state.queue = []
      state.watches = [:]
      return waiting
    }
    for reply in waiting { reply(.failed(.unavailable)) }
    clock.signal()
    let count = threads.withLock { $0.count }
    for _ in 0..<count { work.signal() }
  }

  private static func enqueue(_ state: inout State, _ job: Job) {
    state.nextNumber += 1
    state.jobs[state.nextNumber] = job
    state.queue.append(state.nextNumber)
  }

  private func answerJobs() {
    while true {
      let (taken, isStopped) = state.withLock { state -> ((Int, String)?, Bool) in
        while !state.queue.isEmpty {
          let number = state.queue.removeFirst()
          // A job that is gone has been answered: its time was up.
          if let job = state.jobs[number] { return ((number, job.host), false) }
        }
        return (nil, state.isStopped)
      }
      if isStopped { return }
      guard let (number, host) = taken else {
        work.wait(milliseconds: -1)
        continue
      }
      let answer = lookUp(host)
      let job = state.withLock { $0.jobs.removeValue(forKey: number) }
      job?.reply(answer)
    }
  }

  /// Answers what takes too long, and begins the look-ups of watched names.
  private func keepTime() {
    while true {
      let now = Clock.monotonic()
      var late: [@Sendable (Answer) -> Void] = []
      var due = 0
      var next = Instant.never
      let isStopped = state.withLock { state in
        for (number, job) in state.jobs where job.deadline <= now {
          late.append(job.reply)
          state.jobs[number] = nil
        }
        for (number, watch) in state.watches where watch.next <= now {
          state.watches[number]?.next = .never
          let reply: @Sendable (Answer) -> Void = { [self] in conclude(number, $0) }
          Self.enqueue(&state, Job(host: watch.host, deadline: now + Self.defaultTimeout, reply: reply))
          due += 1
        }
        for job in state.jobs.values { next = min(next, job.deadline) }
        for watch in state.watches.values { next = min(next, watch.next) }
        return state.isStopped
      }
      for reply in late { reply(.failed(.timedOut)) }
      for _ in 0..<due { work.signal() }
      if isStopped { return }
      let rest = next == .never ? -1 : Int64(min(max(next.nanoseconds(since: now) / 1_000_000 + 1, 0), 3_600_000))
      clock.wait(milliseconds: Int32(rest))
    }
  }

  /// A look-up of a watched name has ended.
  private func conclude(_ number: Int, _ answer: Answer) {
    let report = state.withLock { state -> (@Sendable (Answer) -> Void)? in
      guard var watch = state.watches[number] else { return nil }
      let interval = watch.interval.wholeNanoseconds
      let spread = max(interval / 5, 1)
      let jitter = Int64(state.random.next() % UInt64(spread)) - spread / 2
      watch.next = Clock.monotonic().advanced(byNanoseconds: interval + jitter)
      let isNews: Bool
      switch (watch.last, answer) {
      case (nil, _): isNews = true
      case (.addresses(let before)?, .addresses(let after)): isNews = Set(before) != Set(after)
      case (.addresses?, .failed): isNews = false
      case (let before?, let after): isNews = before != after
      }
      if isNews { watch.last = answer }
      state.watches[number] = watch
      return isNews ? watch.report : nil
    }
    clock.signal()
    report?(answer)
  }

  /// Asks the C library: files, then servers, as the machine is set up.
  private static func ask(_ host: String) -> Answer {
    var hints = unsafe addrinfo()
    unsafe hints.ai_family = AF_UNSPEC
    unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    let code = unsafe getaddrinfo(host, nil, &hints, &list)
    defer { if let list = unsafe list { unsafe freeaddrinfo(list) } }
    guard code == 0 else {
      // EAI_NODATA, a name without addresses, is a GNU extension that the Glibc module does not show.
      return .failed(code == EAI_NONAME || code == -5 ? .notFound : .unavailable)
    }
    var addresses: [IPAddress] = []
    var entry = unsafe list
    while let current = unsafe entry {
      if let native = unsafe NativeAddress(copying: current.pointee.ai_addr, count: current.pointee.ai_addrlen),
        let ip = native.socketAddress?.ip, !addresses.contains(ip)
      {
        addresses.append(ip)
      }
      unsafe entry = current.pointee.ai_next
    }
    return addresses.isEmpty ? .failed(.notFound) : .addresses(addresses)
  }
}
