import Core
import Glibc
import Net
import Synchronization

/// What reaches the thread in charge.
struct BenchLetter: Sendable {
  let thread: Int
  let news: BenchNews
}

/// The thread in charge: waits until all are ready, gives the word, collects, shows progress, ends.
struct BenchControl: EventHandler {
  typealias Message = BenchLetter

  /// From the word to the first request, so that all threads have it in time.
  static let headStartNanoseconds: Int64 = 5_000_000
  /// Nanoseconds on end in which the generator is the reason that a rate is missed, before it gives up.
  static let patience: Int64 = 3_000_000_000

  let plan: BenchPlan
  let world: EventLoop
  let orders: [Mailbox<BenchOrder>]
  let showsProgress: Bool
  private(set) var collector: BenchCollector
  private(set) var failure: NetworkError?
  /// What went wrong in a handshake, and how many streams each connection carries.
  private(set) var fault: String?
  private(set) var streams: Int
  private(set) var refusal: String?
  private(set) var interruptions = 0
  private(set) var cpuNanoseconds: Int64 = 0
  private(set) var isRunning = true
  private(set) var openCount = 0
  private var readyCount = 0
  private var measureStart = Instant.never
  private var cpuAtStart: Int64 = 0
  private var strikes = 0

  init(_ plan: BenchPlan, world: EventLoop, orders: [Mailbox<BenchOrder>], showsProgress: Bool) {
    self.plan = plan
    self.world = world
    self.orders = orders
    self.showsProgress = showsProgress
    streams = plan.streams
    collector = BenchCollector(threads: plan.threads, intervalNanoseconds: plan.intervalNanoseconds)
  }

  mutating func ready(token: UInt64, _ readiness: Readiness) {}

  mutating func receive(_ letter: BenchLetter) {
    switch letter.news {
    case .ready(let opening):
      readyCount += 1
      openCount += opening.open
      failure = opening.failure ?? failure
      fault = opening.fault ?? fault
      streams = min(streams, opening.streams)
      if readyCount == plan.threads { begin() }
    case .second(let second, let nanoseconds, let busy, let tally):
      let whole = collector.add(
        thread: letter.thread, second: second, nanoseconds: nanoseconds, busyNanoseconds: busy, tally)
      if let whole { judge(whole) }
    case .finished(let planned, let unfinished, let tail):
      if collector.finish(planned: planned, unfinished: unfinished, tail: tail) {
        cpuNanoseconds = Self.processorTime() - cpuAtStart
        if showsProgress { Console.error("\r\u{1b}[K") }
        isRunning = false
      }
    case .interrupted:
      interruptions += 1
      for mailbox in orders { mailbox.send(.stop) }
    }
  }

  mutating func endTurn() -> Instant {
    if measureStart != .never, world.now >= measureStart {
      cpuAtStart = Self.processorTime()
      measureStart = .never
    }
    return measureStart
  }

  private mutating func begin() {
    guard openCount > 0 || !plan.keepsAlive else {
      for mailbox in orders { mailbox.send(.stop) }
      return
    }
    let start = world.now.advanced(byNanoseconds: Self.headStartNanoseconds)
    measureStart = start.advanced(byNanoseconds: plan.warmupNanoseconds)
    cpuAtStart = Self.processorTime()
    for mailbox in orders { mailbox.send(.begin(start)) }
    if showsProgress && plan.warmupNanoseconds > 0 { Console.error("\r\u{1b}[K  warming up …") }
  }

  /// Shows a second and stops a run whose rate is beyond the generator.
  private mutating func judge(_ second: BenchSecond) {
    if showsProgress { Console.error("\r\u{1b}[K\(Self.progress(second, collector.total.failed))") }
    guard let rate = plan.rate, refusal == nil, second.nanoseconds == plan.intervalNanoseconds else { return }
    let isShort = Double(second.started) < 0.9 * rate * Double(second.nanoseconds) / 1e9
    strikes = isShort && second.busyShare >= BenchResult.saturatedShare ? strikes + 1 : 0
    guard strikes > 0, Int64(strikes) * plan.intervalNanoseconds >= Self.patience else { return }
    refusal =
      "refused: \(BenchFormat.count(rate))/s is beyond this generator, which sent \(BenchFormat.count(Double(second.started)))/s "
      + "with \(plan.threads) thread\(plan.threads == 1 ? "" : "s") \(BenchFormat.share(second.busyShare)) at work; "
      + "try more --threads, a lower --rate or another machine"
    for mailbox in orders { mailbox.send(.stop) }
  }

  static func progress(_ second: BenchSecond, _ failed: UInt64) -> String {
    let clock = BenchFormat.seconds(Double(second.startNanoseconds + second.nanoseconds) / 1e9)
    return "  \(clock)  \(BenchFormat.count(second.rate))/s  p50 \(BenchFormat.duration(second.p50))"
      + "  p99 \(BenchFormat.duration(second.p99))  max \(BenchFormat.duration(second.maximum))  errors \(failed)"
  }

  /// User and system time of this process so far, in nanoseconds.
  private static func processorTime() -> Int64 {
    var usage = rusage()
    _ = unsafe getrusage(RUSAGE_SELF.rawValue, &usage)
    let microseconds =
      (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1_000_000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec
    return Int64(microseconds) * 1000
  }
}

/// Runs a plan on threads of its own and waits for its end.
enum BenchRunner {
  /// Why there is no result.
  struct Failure: Error {
    let message: String
  }

  static func run(_ plan: BenchPlan, showsProgress: Bool) throws(Failure) -> BenchResult {
    let control: BenchControl
    do throws(NetworkError) {
      control = try measure(plan, showsProgress: showsProgress)
    } catch {
      throw unreachable(plan, error, nil)
    }
    if control.openCount == 0 && plan.keepsAlive && control.interruptions == 0 {
      throw unreachable(plan, control.failure ?? .refused, control.fault)
    }
    var result = BenchResult(plan, control.collector, cpuNanoseconds: control.cpuNanoseconds)
    result.isInterrupted = control.interruptions > 0
    result.refusal = control.refusal
    result.streams = control.streams
    return result
  }

  private static func unreachable(_ plan: BenchPlan, _ error: NetworkError, _ fault: String?) -> Failure {
    let places = plan.places.map(\.address.description).joined(separator: ", ")
    if let fault { return Failure(message: "\(places): no TLS: \(fault); \(BenchSecurity.advice(on: fault))") }
    let doubt = plan.isMultiplexed && error == .reset ? "does it speak HTTP/2 there" : "is the address right"
    return Failure(message: "\(places): \(error.explanation); is the server running, and \(doubt)?")
  }

  private static func measure(_ plan: BenchPlan, showsProgress: Bool) throws(NetworkError) -> BenchControl {
    let news = try Mailbox<BenchLetter>()
    Signals.watch([.interrupt, .terminate]) { _ in news.send(BenchLetter(thread: -1, news: .interrupted)) }
    let loop = try EventLoop()
    var orders: [Mailbox<BenchOrder>] = []
    for _ in 0..<plan.threads { orders.append(try Mailbox()) }
    let threads = orders.enumerated().map { index, mailbox in
      OSThread.spawn(name: "bench \(index)") { generate(BenchShare(plan: plan, thread: index), mailbox, news) }
    }
    var control = BenchControl(plan, world: loop, orders: orders, showsProgress: showsProgress)
    try loop.run(&control, mailbox: news)
    for thread in threads { thread.join() }
    return control
  }

  private static func generate(_ share: BenchShare, _ orders: Mailbox<BenchOrder>, _ news: Mailbox<BenchLetter>) {
    let report: @Sendable (BenchNews) -> Void = { news.send(BenchLetter(thread: share.thread, news: $0)) }
    do throws(NetworkError) {
      let loop = try EventLoop(precision: share.plan.rate == nil ? .milliseconds : .nanoseconds)
      if share.plan.isPlain {
        var flow = BenchFlow(share, world: loop, report: report)
        try loop.run(&flow, mailbox: orders)
      } else {
        var flow = BenchTransportFlow(share, world: loop, report: report)
        try loop.run(&flow, mailbox: orders)
      }
    } catch {
      report(.ready(BenchOpening(failure: error)))
      report(.finished(planned: 0, unfinished: 0, tail: BenchTally()))
    }
  }
}

extension NetworkError {
  /// What went wrong, for a person.
  var explanation: String {
    switch self {
    case .refused: "connection refused"
    case .reset: "connection reset"
    case .unreachable: "no route to it"
    case .timedOut: "connection timed out"
    case .addressInUse: "address already in use"
    case .notPermitted: "not permitted"
    case .exhausted: "out of descriptors, ports or memory"
    case .system(let code): unsafe String(cString: strerror(code))
    }
  }
}
