import Core

/// What a loop runs, whatever its handler.
protocol LoopBody: AnyObject {
  /// Hands over collected events and messages; returns the next deadline, nil where the handler is done.
  func turn(_ events: [(token: UInt64, readiness: Readiness)]) -> Instant?
}

/// The world as one handler sees it.
public final class SimulatedLoop: World, StreamOwner {
  private enum Kind {
    case listener(Listener)
    case stream(Stream)
  }

  private struct Slot {
    var kind: Kind
    /// Nil until the socket is registered.
    var token: UInt64?
    var hasEdge = false
  }

  private static let firstDescriptor: Int32 = 3

  /// Names the loop in a failure's trace.
  public let name: String
  /// The host that connections come from; nil where nobody asks.
  public var host: IPAddress?
  /// The machine's clocks.
  public var clocks = MachineClocks()
  /// How many sockets may be open; what is beyond it is exhausted.
  public var descriptorLimit = 1_000_000
  /// How many turns the loop has made.
  public private(set) var turnCount = 0
  /// Whether the handler is done or was killed.
  public private(set) var isStopped = false

  // The world is the test's; loops do not outlive it.
  unowned let universe: SimulatedWorld
  var body: (any LoopBody)?
  private var generator: SeededGenerator
  private var slots: [Slot?] = []
  /// Descriptors with an edge, in the order of the edges.
  private var edges: [Int32] = []
  private var isTurnScheduled = false
  private var pausedAt: Instant?
  /// What the handler asked for last.
  private var wanted = Instant.never
  /// When the loop is next woken up for a deadline, by the world's clock.
  private var alarm = Instant.never

  init(_ universe: SimulatedWorld, name: String, seed: UInt64) {
    self.universe = universe
    self.name = name
    generator = SeededGenerator(seed: seed)
  }

  /// How many sockets are open, listeners included. 0 at the end of a test, or something leaks.
  public var openSockets: Int { slots.count { $0 != nil } }

  // MARK: World

  /// The moment of this turn.
  public var now: Instant { clocks.monotonic(universe.now) }

  /// The machine's clock that also counts the time of its sleep, in nanoseconds.
  public var bootNanoseconds: Int64 { clocks.boot(universe.now).nanoseconds }

  /// Turns take no time in the simulation.
  public var previousTurnNanoseconds: Int64 { 0 }

  /// Civil time of this turn.
  public var wallTime: WallTime {
    WallTime(microseconds: universe.wallTime.microseconds + clocks.wallOffsetMicroseconds)
  }

  /// 64 bits that follow from the world's seed.
  public func random() -> UInt64 { generator.next() }

  /// Opens a listening socket.
  public func listen(_ address: SocketAddress, _ options: ListenOptions, token: UInt64) throws(NetworkError) -> Socket {
    guard openSockets < descriptorLimit else { throw .exhausted }
    let descriptor = lowestFree()
    let listener = try universe.open(address, options) { [unowned self] in raise(descriptor) }
    put(Slot(kind: .listener(listener), token: token), descriptor)
    return Socket(descriptor: descriptor)
  }

  /// The address of a listener or of the near end of a connection.
  public func localAddress(of socket: Socket) -> SocketAddress? {
    switch slot(socket)?.kind {
    case .listener(let listener): listener.address
    case .stream(let stream): stream.local
    case nil: nil
    }
  }

  /// Takes one waiting connection.
  public func accept(_ listener: Socket) -> AcceptResult {
    guard case .listener(let listener)? = slot(listener)?.kind else { return .failed }
    guard !listener.queue.isEmpty else { return .wouldBlock }
    guard openSockets < descriptorLimit else { return .exhausted }
    let stream = listener.queue.removeFirst()
    if case .broken = stream.phase, universe.random.chance(0.5) {
      universe.close(stream, reset: true)
      return .failed
    }
    let descriptor = lowestFree()
    put(Slot(kind: .stream(stream), token: nil), descriptor)
    stream.owner = self
    universe.note("accept", stream.number)
    return .accepted(Socket(descriptor: descriptor), peer: stream.peer)
  }

  /// Begins to connect.
  public func connect(to address: SocketAddress, token: UInt64) throws(NetworkError) -> Socket {
    guard openSockets < descriptorLimit else { throw .exhausted }
    if universe.listener(for: address) == nil, !universe.blackholes.contains(address),
      universe.random.chance(universe.conditions.immediateRefusalChance)
    {
      throw .refused
    }
    let stream = universe.connect(from: host, to: address)
    let descriptor = lowestFree()
    put(Slot(kind: .stream(stream), token: token), descriptor)
    stream.owner = self
    return Socket(descriptor: descriptor)
  }

  /// Why a connection attempt failed.
  public func connectFailure(_ socket: Socket) -> NetworkError? { stream(socket).takeError() }

  /// Subscribes an accepted socket: what already holds is reported with the next turn.
  public func register(_ socket: Socket, token: UInt64) throws(NetworkError) {
    _ = stream(socket)
    slots[Int(socket.descriptor - Self.firstDescriptor)]?.token = token
    raise(socket.descriptor)
  }

  /// Receives what has arrived.
  public func receive(_ socket: Socket, into buffer: ByteBuffer, limit: Int) -> TransferResult {
    precondition(limit > 0)
    let stream = stream(socket)
    if !stream.inbox.isEmpty { return .count(universe.receive(stream, into: buffer, limit: limit)) }
    if let error = stream.takeError() { return .failed(error) }
    if case .broken = stream.phase { return .ended }
    return stream.hasReceivedEnd ? .ended : .wouldBlock
  }

  /// Sends a part.
  public func send(_ socket: Socket, _ bytes: RawSpan) -> TransferResult {
    precondition(!bytes.isEmpty)
    return send(stream(socket), bytes.byteCount) { bytes.extracting(first: $0).array }
  }

  /// Sends a part of two spans.
  public func send(_ socket: Socket, _ first: RawSpan, _ second: RawSpan) -> TransferResult {
    precondition(!first.isEmpty || !second.isEmpty)
    return send(stream(socket), first.byteCount + second.byteCount) { count in
      first.extracting(first: count).array + second.extracting(first: max(count - first.byteCount, 0)).array
    }
  }

  private func send(_ stream: Stream, _ offered: Int, _ copy: (Int) -> [UInt8]) -> TransferResult {
    switch stream.phase {
    case .connecting: return .wouldBlock
    case .broken: return .failed(stream.takeError() ?? .reset)
    case .open:
      if stream.hasSentEnd { return .failed(.reset) }
      let count = universe.send(stream, offered, copy)
      return count == 0 ? .wouldBlock : .count(count)
    }
  }

  /// Sends the end of the stream.
  public func endSending(_ socket: Socket) { universe.end(stream(socket)) }

  /// Closes. The descriptor is free for the next socket at once.
  public func close(_ socket: Socket, reset: Bool) {
    guard socket.descriptor >= 0 else { return }
    guard let slot = slot(socket) else { preconditionFailure("\(name) closes \(socket.descriptor), which is not open") }
    slots[Int(socket.descriptor - Self.firstDescriptor)] = nil
    edges.removeAll { $0 == socket.descriptor }
    switch slot.kind {
    case .listener(let listener): universe.close(listener)
    case .stream(let stream): universe.close(stream, reset: reset)
    }
  }

  // MARK: Sockets

  private func slot(_ socket: Socket) -> Slot? {
    let index = Int(socket.descriptor - Self.firstDescriptor)
    return slots.indices.contains(index) ? slots[index] : nil
  }

  private func stream(_ socket: Socket) -> Stream {
    guard case .stream(let stream)? = slot(socket)?.kind else {
      preconditionFailure("\(name) uses descriptor \(socket.descriptor), which is not open or not a connection")
    }
    return stream
  }

  /// As with Linux the lowest free number is used again, so that a stale descriptor hits somebody else's connection.
  private func lowestFree() -> Int32 {
    Int32(slots.firstIndex { $0 == nil } ?? slots.count) + Self.firstDescriptor
  }

  private func put(_ slot: Slot, _ descriptor: Int32) {
    let index = Int(descriptor - Self.firstDescriptor)
    if index == slots.count { slots.append(slot) } else { slots[index] = slot }
  }

  // MARK: Turns

  func changed(_ stream: Stream) {
    for (index, slot) in slots.enumerated() {
      if case .stream(let mine)? = slot?.kind, mine === stream { raise(Int32(index) + Self.firstDescriptor) }
    }
  }

  private func raise(_ descriptor: Int32) {
    let index = Int(descriptor - Self.firstDescriptor)
    guard var slot = slots[index], slot.token != nil, !slot.hasEdge else { return }
    slot.hasEdge = true
    slots[index] = slot
    edges.append(descriptor)
    requestTurn()
  }

  /// Makes the loop take a turn although nothing has happened: a test has done something to the handler by hand.
  public func poke() { requestTurn() }

  /// Stops the process as SIGSTOP does: its kernel goes on without it.
  public func pause() { pausedAt = pausedAt ?? universe.now }

  /// Lets the process go on. With `asAfterSleep` the machine has slept: the monotonic clock has stood still.
  public func resume(asAfterSleep: Bool = false) {
    guard let began = pausedAt else { return }
    pausedAt = nil
    if asAfterSleep {
      clocks.sleptNanoseconds += clocks.boot(universe.now).nanoseconds(since: clocks.boot(began))
    }
    alarm = .never
    requestTurn()
  }

  func requestTurn() {
    guard !isTurnScheduled, !isStopped, pausedAt == nil else { return }
    isTurnScheduled = true
    universe.schedule(at: universe.now.advanced(byNanoseconds: universe.draw(universe.conditions.turnDelay))) {
      [self] in
      turn()
    }
  }

  private func turn() {
    guard !isStopped, let body else { return }
    guard pausedAt == nil else {
      isTurnScheduled = false
      return
    }
    turnCount += 1
    if universe.random.chance(universe.conditions.spuriousEventChance), !slots.isEmpty {
      raise(Int32(universe.random.number(in: 0...(slots.count - 1))) + Self.firstDescriptor)
    }
    isTurnScheduled = false
    let events = collect()
    universe.note("turn", events.count)
    guard let deadline = body.turn(events) else { return stop() }
    wanted = deadline
    if deadline <= now {
      // A turn takes time: a handler that comes back at once must not stop the clock.
      universe.schedule(at: universe.now.advanced(byNanoseconds: 1_000)) { [self] in requestTurn() }
    } else {
      setAlarm()
    }
  }

  /// Makes sure that the loop wakes up for its deadline, rounded up to the millisecond as the kernel does. An alarm that
  /// comes too early is cheaper than one that is moved.
  private func setAlarm() {
    guard wanted != .never else { return }
    let rest = wanted.nanoseconds % 1_000_000
    let time = clocks.worldTime(of: rest == 0 ? wanted : wanted.advanced(byNanoseconds: 1_000_000 - rest))
    guard time < alarm else { return }
    alarm = time
    universe.schedule(at: time, isTimer: true) { [self] in
      guard alarm == time else { return }
      alarm = .never
      if wanted <= now { requestTurn() } else { setAlarm() }
    }
  }

  /// The events of all edges so far, in any order.
  private func collect() -> [(token: UInt64, readiness: Readiness)] {
    var events: [(token: UInt64, readiness: Readiness)] = []
    for descriptor in edges {
      let index = Int(descriptor - Self.firstDescriptor)
      guard var slot = slots[index], let token = slot.token else { continue }
      slot.hasEdge = false
      slots[index] = slot
      switch slot.kind {
      case .listener(let listener): if !listener.queue.isEmpty { events.append((token, .readable)) }
      case .stream(let stream):
        let readiness = stream.readiness
        if !readiness.isEmpty { events.append((token, readiness)) }
      }
    }
    edges = []
    events.shuffle(using: &universe.random)
    return events
  }

  /// Ends the process between two turns, as a crash would: the handler is not asked.
  public func kill() { stop() }

  /// Ends the process: the kernel closes what it had open.
  func stop() {
    isStopped = true
    for index in slots.indices where slots[index] != nil {
      close(Socket(descriptor: Int32(index) + Self.firstDescriptor), reset: false)
    }
  }
}
