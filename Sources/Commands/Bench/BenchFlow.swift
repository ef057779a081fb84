// One thread of the load generator: the life of its connections, as events in and system calls out.
//
//   open      every connection is opened before the clock starts (not without keep-alive); streams are, for each request
//   start     a free connection sends its next request: at once (closed loop) or when one is due (open loop)
//   receive   the response is read to its last byte and its framing checked; the moment is recorded
//   end       nothing new is sent; what is under way may finish until its time limit
//
// A request costs one send and one receive. Its bytes are built before the run; the head of a response that equals the
// one before byte for byte is not parsed again. Moments are read from the clock itself, not from the turn of the loop:
// a turn of 64 responses lasts a tenth of a millisecond, which is what fast servers are measured in.
import Core
import HTTP

/// What the thread in charge tells a generating one.
enum BenchOrder: Sendable {
  /// Requests begin at this moment.
  case begin(Instant)
  /// Nothing new is sent from now on.
  case stop
}

/// What a generating thread tells the one in charge.
enum BenchNews: Sendable {
  /// All connections are open, or as many as could be.
  case ready(BenchOpening)
  /// A second, or whatever the plan's interval is, has passed, or the last part of one: its number, its length, and what was counted in it.
  case second(Int, nanoseconds: Int64, busyNanoseconds: Int64, BenchTally)
  /// The thread is done. The tally holds responses that came after the end; `planned` is how many requests of an open
  /// loop were due, `unfinished` how many were given up.
  case finished(planned: UInt64, unfinished: Int, tail: BenchTally)
  /// The person has asked to stop.
  case interrupted
}

/// What became of a thread's first connections.
struct BenchOpening: Sendable {
  /// How many are open.
  var open = 0
  /// The last error met, and what went wrong in the last handshake.
  var failure: NetworkError?
  var fault: String?
  /// Streams that each connection carries at a time.
  var streams = 1
}

/// The part of a plan that one thread carries out.
struct BenchShare: Sendable {
  let plan: BenchPlan
  let thread: Int

  /// This thread's part of a number that is divided as evenly as it goes.
  func part(of total: Int) -> Int { total / plan.threads + (thread < total % plan.threads ? 1 : 0) }
}

struct BenchFlow<W: BenchWorld>: ~Copyable, EventHandler {
  typealias Message = BenchOrder

  enum Stage { case opening, ready, running, draining, done }

  /// How long a connection that could not be opened rests before it is tried again.
  static var retryNanoseconds: Int64 { 10_000_000 }
  /// Bytes taken from a socket with one system call.
  static var receiveLimit: Int { 65_536 }
  /// System calls in a row for one connection before the others get their turn.
  static var receivesPerTurn: Int { 16 }

  let world: W
  let plan: BenchPlan
  let report: @Sendable (BenchNews) -> Void
  let thread: UInt64
  let quota: UInt64
  let places: [BenchPlace]
  let ledger: BenchLedger
  /// Connections of this thread, and whether they carry many requests at a time. Slot `i` belongs to connection `i` modulo
  /// their number: free slots are then used connection by connection.
  let connections: Int
  let isMultiplexed: Bool
  /// Whether a socket serves one request after another.
  let reuses: Bool
  /// The targets of each place, by number.
  let targetsOf: ContiguousArray<ContiguousArray<Int>>
  let requests: ContiguousArray<ByteBuffer>
  let sweepNanoseconds: Int64

  var stage = Stage.opening
  /// Whether the moment to begin has come.
  var hasStarted = false
  var slots: ContiguousArray<BenchSlot>
  /// What a connection received of an unfinished head, or has not sent yet.
  var leftovers: ContiguousArray<ByteBuffer?>
  var unsent: ContiguousArray<ByteBuffer?>
  var idle: BenchIdleQueue
  /// Connections with bytes waiting that this turn had no time for.
  var again: ContiguousArray<Int32> = []
  let input = ByteBuffer(capacity: 65_536)
  let output = ByteBuffer(capacity: 4096)
  let head = ResponseHead()
  let memory = BenchHeadMemory()
  let headLimits = HeadLimits()

  var schedule: BenchSchedule?
  var begin = Instant.never
  var measureStart = Instant.never
  var end = Instant.never
  var nextCut = Instant.never
  var secondStart = Instant.never
  var second = 0
  var nextSweep: Instant
  /// Requests begun, warm-up included: numbers the targets, the keys and the schedule.
  var issued: UInt64 = 0
  /// Connections with a request under way.
  var busy = 0
  var connecting = 0
  var openCount = 0
  /// Streams that every server so far allows on a connection.
  var streamsAllowed = Int.max
  var lastFailure: NetworkError?
  var tally = BenchTally()
  var busyNanoseconds: Int64 = 0

  init(
    _ share: BenchShare, world: W, ledger: BenchLedger = BenchLedger(connections: 0),
    report: @escaping @Sendable (BenchNews) -> Void
  ) {
    let plan = share.plan
    self.ledger = ledger
    self.world = world
    self.plan = plan
    self.report = report
    thread = UInt64(share.thread)
    if case .requests(let total) = plan.extent { quota = UInt64(share.part(of: Int(total))) } else { quota = .max }
    let places = plan.places
    self.places = places
    targetsOf = ContiguousArray(
      places.map { place in ContiguousArray(plan.targets.indices.filter { plan.targets[$0].place == place }) })
    requests = ContiguousArray(
      plan.requests.map { request in
        let buffer = ByteBuffer(capacity: request.beforeKey.count)
        buffer.append(request.beforeKey)
        return buffer
      })
    connections = share.part(of: plan.connections)
    isMultiplexed = plan.isMultiplexed
    reuses = plan.keepsAlive && !plan.isMultiplexed
    let count = connections * plan.streams
    slots = ContiguousArray(repeating: BenchSlot(), count: count)
    leftovers = ContiguousArray(repeating: nil, count: count)
    unsent = ContiguousArray(repeating: nil, count: count)
    idle = BenchIdleQueue(capacity: count)
    sweepNanoseconds = min(max(plan.timeoutNanoseconds / 10, 5_000_000), 100_000_000)
    nextSweep = world.now.advanced(byNanoseconds: sweepNanoseconds)
    assignPlaces(first: share.thread)
    if plan.keepsAlive {
      for index in 0..<connections { open(index) }
    }
  }

  /// Every place gets a connection, and more in proportion to its targets.
  private mutating func assignPlaces(first: Int) {
    var order: [Int32] = []
    for (place, targets) in targetsOf.enumerated() { order += targets.map { _ in Int32(place) } }
    for index in slots.indices {
      let number = index % connections * plan.threads + first
      slots[index].place = number < places.count ? Int32(number) : order[number % order.count]
    }
  }

  /// No connection gets more streams than every server allows.
  private mutating func limitStreams() -> Int {
    let streams = min(plan.streams, max(1, streamsAllowed))
    let excess = slots.count - connections * streams
    slots.removeLast(excess)
    leftovers.removeLast(excess)
    unsent.removeLast(excess)
    return streams
  }

  var isRunning: Bool { stage != .done }

  mutating func receive(_ message: BenchOrder) {
    switch message {
    case .begin(let start):
      guard stage == .ready else { return }
      stage = .running
      begin = start
      measureStart = start.advanced(byNanoseconds: plan.warmupNanoseconds)
      secondStart = measureStart
      if case .nanoseconds(let length) = plan.extent { end = measureStart.advanced(byNanoseconds: length) }
      nextCut = min(end, measureStart.advanced(byNanoseconds: plan.intervalNanoseconds))
      if let rate = plan.rate {
        schedule = BenchSchedule(start: start, rate: rate, offset: Int(thread), stride: plan.threads)
      }
    case .stop:
      if stage == .running { stopStarting(at: max(world.moment, begin)) } else if stage != .done { finish() }
    }
  }

  mutating func endTurn() -> Instant {
    resumeReceiving()
    if world.now >= nextSweep { sweep() }
    switch stage {
    case .opening:
      if connecting > 0 { return nextSweep }
      stage = .ready
      let opening = BenchOpening(open: openCount, failure: lastFailure, fault: ledger.fault, streams: limitStreams())
      report(.ready(opening))
      return .never
    case .ready: return .never
    case .running: return runTurn()
    case .draining:
      if busy == 0 { finish() }
      return again.isEmpty ? nextSweep : world.now
    case .done: return world.now
    }
  }

  private mutating func runTurn() -> Instant {
    let now = world.now
    if now < begin { return begin }
    ledger.isCounting = now >= measureStart
    if !hasStarted { startAll() }
    while now >= nextCut && nextCut < end { cut(at: now) }
    if schedule != nil { startDue() }
    if now >= end || (issued >= quota && busy == 0) {
      stopStarting(at: now)
      return now
    }
    busyNanoseconds += world.moment.nanoseconds(since: now)
    if !again.isEmpty { return now }
    var next = min(nextSweep, min(nextCut, end))
    if let schedule, idle.count > 0, issued < quota { next = min(next, schedule.due(issued)) }
    return next
  }
}

// The end of a second, and of the run.
extension BenchFlow {
  /// Reports what was counted since the last cut.
  private mutating func cut(at moment: Instant) {
    let length = min(moment, nextCut).nanoseconds(since: secondStart)
    ledger.move(into: &tally)
    report(.second(second, nanoseconds: length, busyNanoseconds: busyNanoseconds, tally))
    tally = BenchTally()
    busyNanoseconds = 0
    second += 1
    secondStart = nextCut
    nextCut = min(end, nextCut.advanced(byNanoseconds: plan.intervalNanoseconds))
  }

  /// Sends nothing new from now on.
  private mutating func stopStarting(at moment: Instant) {
    end = min(end, max(moment, measureStart))
    if secondStart < end {
      nextCut = end
      cut(at: end)
    }
    stage = .draining
    if busy == 0 { finish() }
  }

  private mutating func finish() {
    var planned: UInt64 = 0
    if let schedule {
      planned = min(schedule.count(before: end), quota)
      planned -= min(planned, schedule.count(before: measureStart))
    }
    let unfinished = slots.reduce(0) { $0 + Int($1.outstanding) }
    stage = .done
    for index in slots.indices where slots[index].phase != .closed { world.close(slots[index].socket, reset: true) }
    world.closeCarriers()
    ledger.move(into: &tally)
    report(.finished(planned: planned, unfinished: unfinished, tail: tally))
  }
}
