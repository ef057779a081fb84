// One loop is one thread, one epoll instance and one `World`.
//
// Sockets are registered once, for everything and edge-triggered, so that a request costs only its own receives and
// sends. The clock is read once a turn. The mailbox's eventfd is edge-triggered too and therefore never read: every
// write to it is an edge.
import CLinux
import Core
import Glibc

/// A thread's share of the world over epoll. It is created, used and let go on one thread.
@safe
public final class EventLoop: World {
  /// Events fetched by one system call: enough to amortise it, few enough to keep a turn short.
  static let eventsPerTurn = 512

  /// The token that sockets must not use.
  static let mailboxToken = UInt64.max

  /// Monotonic time at the beginning of this turn.
  public private(set) var now = Clock.monotonic()

  /// Civil time at the beginning of this turn.
  public private(set) var wallTime = Clock.civil()

  /// How long the previous turn worked, from the return of the kernel to the next wait: what a ready socket waited
  /// at most. 0 before the first turn has ended.
  public private(set) var previousTurnNanoseconds: Int64 = 0

  /// How often the loop has asked the kernel for events.
  public private(set) var turnCount: UInt64 = 0

  let epoll: Descriptor
  private let events: UnsafeMutablePointer<epoll_event>
  /// Civil time when it was last read, and when that was.
  private var civilTime = Clock.civil()
  private var civilReading = Clock.monotonic()
  private var randomSource = RandomSource()
  private let precision: TimerPrecision
  /// Paths of the unix sockets that this loop listens on, by descriptor.
  var unixListeners: [Int32: String] = [:]

  /// How exactly the loop wakes up for a deadline.
  public enum TimerPrecision: Sendable {
    /// At most a millisecond late: right for time limits.
    case milliseconds
    /// Some ten microseconds late: right for a load generator. Falls back to milliseconds on kernels before 5.11.
    case nanoseconds
  }

  /// A loop for the calling thread. Throws `.exhausted` where descriptors have run out.
  public init(precision: TimerPrecision = .milliseconds) throws(NetworkError) {
    let number = epoll_create1(Int32(EPOLL_CLOEXEC))
    guard number >= 0 else { throw NetworkError(code: errno) }
    epoll = Descriptor(number)
    self.precision = precision
    if precision == .nanoseconds { sluice_wake_punctually() }
    unsafe events = .allocate(capacity: Self.eventsPerTurn)
    Signals.ignoreBrokenPipes()
  }

  deinit {
    for (_, path) in unixListeners { UnixListeners.shared.leave(path) }
    unsafe events.deallocate()
  }

  /// Runs `handler` on the calling thread until it says that it is done. The handler is first asked for its deadline,
  /// then called for every event and for every message of `mailbox`.
  public func run<Handler: EventHandler & ~Copyable>(
    _ handler: inout Handler, mailbox: Mailbox<Handler.Message>
  ) throws(NetworkError) {
    let wake = mailbox.wakeUp.descriptor.number
    try subscribe(wake, EPOLLIN.rawValue | EPOLLET.rawValue, token: Self.mailboxToken)
    defer { _ = epoll_ctl(epoll.number, EPOLL_CTL_DEL, wake, nil) }
    readClocks()
    var deadline = handler.endTurn()
    while handler.isRunning {
      let count = wait(until: deadline)
      readClocks()
      var hasMail = false
      var index = 0
      while index < count {
        // `wait` initialised the first `count` events.
        let event = unsafe events[index]
        // The union's other members are never used.
        let token = unsafe event.data.u64
        if token == Self.mailboxToken {
          hasMail = true
        } else {
          handler.ready(token: token, Readiness(native: unsafe event.events))
        }
        index &+= 1
      }
      if hasMail {
        for message in mailbox.takeAll() { handler.receive(message) }
      }
      deadline = handler.endTurn()
    }
  }

  /// 64 uniformly random bits; not for keys.
  public func random() -> UInt64 { randomSource.next() }

  func subscribe(_ descriptor: Int32, _ interest: UInt32, token: UInt64) throws(NetworkError) {
    var event = unsafe epoll_event()
    unsafe event.events = interest
    unsafe event.data.u64 = token
    guard unsafe epoll_ctl(epoll.number, EPOLL_CTL_ADD, descriptor, &event) == 0 else {
      throw NetworkError(code: errno)
    }
  }

  /// Civil time is read ten times a second and carried on in between: a clock that is set anew shows soon enough, and a
  /// turn saves a reading.
  private func readClocks() {
    now = Clock.monotonic()
    let elapsed = now.nanoseconds(since: civilReading)
    if elapsed < 100_000_000 {
      wallTime = WallTime(microseconds: civilTime.microseconds &+ elapsed / 1_000)
    } else {
      civilReading = now
      civilTime = Clock.civil()
      wallTime = civilTime
    }
  }

  /// Waits for events until `deadline`, rounded up so that a deadline has passed when the loop wakes up for it.
  private func wait(until deadline: Instant) -> Int {
    let finished = Clock.monotonic()
    previousTurnNanoseconds = finished.nanoseconds(since: now)
    turnCount &+= 1
    let limit = Int32(Self.eventsPerTurn)
    let count: Int32
    if deadline == .never {
      count = unsafe epoll_wait(epoll.number, events, limit, -1)
    } else {
      let nanoseconds = max(deadline.nanoseconds(since: finished), 0)
      if nanoseconds > 0, precision == .nanoseconds {
        count = unsafe sluice_epoll_wait(epoll.number, events, limit, nanoseconds)
      } else {
        let milliseconds = min((nanoseconds + 999_999) / 1_000_000, 86_400_000)
        count = unsafe epoll_wait(epoll.number, events, limit, Int32(milliseconds))
      }
    }
    precondition(count >= 0 || errno == EINTR, "epoll_wait refused its own descriptor")
    return Int(max(count, 0))
  }
}

extension EventLoop {
  /// Runs a handler to which nobody sends messages.
  public func run<Handler: EventHandler & ~Copyable>(_ handler: inout Handler) throws(NetworkError)
  where Handler.Message == Never {
    try run(&handler, mailbox: Mailbox<Never>())
  }
}

extension Readiness {
  @inline(__always)
  init(native events: UInt32) {
    var bits: UInt8 = 0
    if events & EPOLLIN.rawValue != 0 { bits |= Readiness.readable.rawValue }
    if events & EPOLLOUT.rawValue != 0 { bits |= Readiness.writable.rawValue }
    if events & EPOLLRDHUP.rawValue != 0 { bits |= Readiness.peerEnded.rawValue }
    if events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 { bits |= Readiness.broken.rawValue }
    self.init(rawValue: bits)
  }
}

/// The system's clocks, for this room and for helpers that run beside the loops.
public enum Clock {
  /// Time since the machine started, without the time it slept.
  public static func monotonic() -> Instant {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Instant(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
  }

  /// Nanoseconds since the machine started, those included that it slept: what a promise to others goes by, since their
  /// time goes on meanwhile.
  public static func bootTime() -> Int64 {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_BOOTTIME, &time)
    return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
  }

  /// Civil time.
  public static func civil() -> WallTime {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
    return WallTime(microseconds: Int64(time.tv_sec) &* 1_000_000 &+ Int64(time.tv_nsec) / 1_000)
  }
}
