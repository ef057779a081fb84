// One thread of the upstream for trials.
//
// One port takes whatever comes: the first bytes of a connection say whether it is HTTP/1.1, HTTP/2 with prior knowledge or
// TLS, and what TLS agrees on says the rest. A stream of HTTP/2 is a connection with one request on it, which it has from the
// transport below; the connection itself only accepts them.
//
// For every connection one rule holds: while something is unsent, nothing is read and nothing is made up. So a slow
// client stops its own connection and costs at most one block of memory. An idle connection owns no buffer.
import Core
import HTTP
import Net

/// What the main thread tells a serving one.
enum EchoOrder: Sendable {
  /// Finish what is under way and end.
  case stop
}

struct EchoFlow<Base: World>: ~Copyable, EventHandler {
  typealias Message = EchoOrder

  static var listenerToken: UInt64 { UInt64.max - 1 }
  /// What tokens of the transport begin with; those of connections begin with three bits of zero.
  private static var transportMark: UInt64 { 4 << 61 }
  private static var generationMask: UInt32 { 0x1fff_ffff }
  static var receiveLimit: Int { 65_536 }
  /// Bytes gathered before they are sent, and made up at a time.
  static var blockBytes: Int { 65_536 }
  /// Rounds of one connection before the others get their turn.
  static var roundsPerTurn: Int { 16 }
  /// How long requests under way may take once the process is asked to end.
  static var graceNanoseconds: Int64 { 2_000_000_000 }
  /// How long accepting rests when descriptors have run out.
  static var exhaustedNanoseconds: Int64 { 50_000_000 }

  let world: Transport<Base>
  let settings: EchoSettings
  let listener: Socket
  let limits = HeadLimits()
  let head = RequestHead()
  let input = ByteBuffer(capacity: 65_536)
  let output = ByteBuffer(capacity: 65_536)
  let block: ByteBuffer
  let fixed: EchoFixed?

  var slots: ContiguousArray<EchoSlot> = []
  /// What a connection received and has not used yet, has not sent yet, and will answer later.
  var inboxes: ContiguousArray<ByteBuffer?> = []
  var outboxes: ContiguousArray<ByteBuffer?> = []
  var drafts: ContiguousArray<ByteBuffer?> = []
  var unused: ContiguousArray<Int32> = []
  var again: ContiguousArray<Int32> = []
  var wheel: TimerWheel
  var acceptAgainAt = Instant.never
  var stopAt = Instant.never
  var isRunning = true

  /// Serves what `world` accepts on `listener`, which was opened with ``listenerToken``.
  init(_ settings: EchoSettings, world base: Base, listener: Socket) {
    self.settings = settings
    world = Transport(base: base, tokenMark: Self.transportMark)
    world.http2Options.concurrentStreams = EchoSettings.streamLimit
    world.setTickets(settings.tickets)
    self.listener = listener
    wheel = TimerWheel(now: world.now)
    block = ByteBuffer(capacity: Self.blockBytes)
    let letters = Array("abcdefghijklmnopqrstuvwxyz012345".utf8)
    for _ in 0..<Self.blockBytes / letters.count { block.append(letters) }
    fixed = settings.fixedBody.map { EchoFixed($0, settings) }
  }

  mutating func receive(_ message: EchoOrder) {
    guard stopAt == .never else {
      isRunning = false
      return
    }
    stopAt = world.now.advanced(byNanoseconds: Self.graceNanoseconds)
    world.close(listener, reset: false)
    for index in slots.indices {
      switch slots[index].phase {
      case .head where inboxes[index]?.isEmpty ?? true: close(index)
      case .events, .tunnel, .webSocket: close(index)
      case .carrier: world.drain(slots[index].socket, atOnce: true)
      default: slots[index].keepsAlive = false
      }
    }
  }

  mutating func ready(token: UInt64, _ readiness: Readiness) {
    if token == Self.listenerToken {
      accept()
      return
    }
    if token & Self.transportMark != 0 {
      if let event = world.ready(token: token, readiness) { ready(token: event.token, event.readiness) }
      return
    }
    let index = Int(token & 0xffff_ffff)
    guard index < slots.count, slots[index].generation & Self.generationMask == UInt32(token >> 32) else { return }
    if slots[index].isFresh, world.isMultiplexed(slots[index].socket) { slots[index].phase = .carrier }
    if slots[index].phase == .carrier {
      carry(index)
      return
    }
    if readiness.contains(.broken) {
      close(index)
      return
    }
    if readiness.contains(.peerEnded) { slots[index].peerEnded = true }
    if readiness.contains(.readable) { slots[index].isReadable = true }
    handle(index)
  }

  mutating func endTurn() -> Instant {
    while let event = world.nextEvent() { ready(token: event.token, event.readiness) }
    let next = endOwnTurn()
    return min(next, world.endTurn())
  }

  private mutating func endOwnTurn() -> Instant {
    let now = world.now
    while let slot = wheel.pop(now: now) { wake(Int(slot)) }
    if !again.isEmpty {
      let waiting = again
      again.removeAll(keepingCapacity: true)
      for index in waiting where slots[Int(index)].phase != .unused { handle(Int(index)) }
    }
    if now >= acceptAgainAt {
      acceptAgainAt = .never
      accept()
    }
    if stopAt != .never && (now >= stopAt || unused.count == slots.count) { isRunning = false }
    if !again.isEmpty { return now }
    return min(wheel.nextDeadline, min(acceptAgainAt, stopAt))
  }

  private mutating func accept() {
    while stopAt == .never {
      if unused.isEmpty && slots.count >= EchoSettings.connectionLimit {
        acceptAgainAt = world.now.advanced(byNanoseconds: Self.exhaustedNanoseconds)
        return
      }
      switch world.accept(listener) {
      case .accepted(let socket, peer: _): admit(world.adopt(socket), isStream: false)
      case .wouldBlock: return
      case .failed: continue
      case .exhausted:
        acceptAgainAt = world.now.advanced(byNanoseconds: Self.exhaustedNanoseconds)
        return
      }
    }
  }

  /// Takes the streams that a client has opened, and lets the connection go where no more will come.
  private mutating func carry(_ index: Int) {
    slots[index].isFresh = false
    while let socket = world.acceptStream(on: slots[index].socket) {
      if unused.isEmpty && slots.count >= EchoSettings.connectionLimit {
        world.close(socket, reset: true)
      } else {
        handle(admit(socket, isStream: true))
      }
    }
    if world.isOver(slots[index].socket) { close(index) }
  }

  /// Gives a slot to a connection, or to a stream, whose request can be read at once.
  @discardableResult
  private mutating func admit(_ socket: Socket, isStream: Bool) -> Int {
    let index: Int
    if let free = unused.popLast() {
      index = Int(free)
    } else {
      index = slots.count
      slots.append(EchoSlot())
      inboxes.append(nil)
      outboxes.append(nil)
      drafts.append(nil)
    }
    let generation = slots[index].generation &+ 1
    slots[index] = EchoSlot()
    slots[index].generation = generation
    slots[index].phase = .head
    slots[index].socket = socket
    slots[index].isStream = isStream
    slots[index].isFresh = !isStream
    slots[index].isReadable = isStream
    do throws(NetworkError) {
      try world.register(socket, token: UInt64(generation & Self.generationMask) << 32 | UInt64(index))
    } catch {
      close(index)
    }
    return index
  }

  mutating func close(_ index: Int) {
    world.close(slots[index].socket, reset: false)
    wheel.cancel(Int32(truncatingIfNeeded: index))
    slots[index].phase = .unused
    slots[index].generation &+= 1
    slots[index].socket = .none
    inboxes[index] = nil
    outboxes[index] = nil
    drafts[index] = nil
    unused.append(Int32(truncatingIfNeeded: index))
  }

  /// The slot's moment has come, or will come later.
  private mutating func wake(_ index: Int) {
    guard slots[index].phase == .waiting || slots[index].phase == .events else { return }
    if world.now < slots[index].wakeAt {
      wheel.schedule(Int32(truncatingIfNeeded: index), at: slots[index].wakeAt)
      return
    }
    slots[index].wakeAt = .never
    handle(index)
  }
}
