// One connection to one Redis, as a machine over `World`.
//
// The owner calls `ready` for events of its socket, and once a turn `next` until it says nothing, then `flush`. Commands
// are written as bytes into one buffer, sent as they lie at the end of the turn, and kept until they are answered: replies
// come in order, so the buffer's front always belongs to the oldest command. What was refused because the library was
// missing can therefore be sent again without its owner, and when a connection dies it is known of every command
// whether all its bytes had left: a command that is not complete cannot run.
//
// Rejected: RESP 3 (the reader has none, and nothing here needs it), a connection pool (one connection a loop answers a
// million decisions a second), and resending what was sent: `apply` debits.

import Core
import Crypto

/// One pipelined connection that makes itself anew whenever it is lost. It belongs to one loop.
public final class RedisLink {
  enum Phase {
    case idle, resolving, pausing, connecting, securing, greeting, up, draining, stopped
  }

  enum Notice {
    case up(RedisIdentity), expired(UInt64), lost(UInt64, mayHaveRun: Bool), silent, responsive, down(RedisFault)
    case lookUp(String)
  }

  /// Received at once, and how often in a turn.
  static let piece = 64 << 10
  static let piecesPerTurn = 4

  /// The server it connects to.
  public let server: RedisServer
  let settings: RedisLinkSettings
  let world: any World
  let security: TLSClientContext?
  let makeToken: (UInt32) -> UInt64

  var phase = Phase.idle
  /// When the present phase has taken too long, or a pause ends.
  var phaseDeadline = Instant.never
  var socket = Socket.none
  var generation: UInt32 = 0
  var token: UInt64 = 0
  /// Attempts since the connection was last up.
  var attempts = 0
  /// Addresses of the server's name, as far as they are known.
  var candidates: [SocketAddress] = []

  var reader = RedisReader()
  /// Bytes of all commands under way: sent ones first, behind those that ``finished`` still belong to.
  let outgoing = ByteBuffer()
  var sentCount = 0
  var canWrite = false
  let incoming = ByteBuffer()
  /// Nil on connections that are not encrypted; ``plain`` is what came through it.
  var tls: TLSClient?
  let plain = ByteBuffer()
  var mustReadAgain = false
  /// Bytes at the front of ``outgoing`` whose command was answered by the event that was last handed out.
  var finished = 0
  /// The command that was answered last.
  var answeredCommand: PendingCommand?

  var ring = CommandRing()
  /// Commands that wait for the library, and their bytes.
  var held: [PendingCommand] = []
  let heldBytes = ByteBuffer()
  var outstandingLoads = 0
  var loadFailure: RedisError?
  /// Channels that the server has not confirmed.
  var unconfirmed = 0
  /// No command expires before this, in nanoseconds.
  var nextExpiry = Int64.max
  var lastReceived = Instant(nanoseconds: 0)
  var lastSent = Instant(nanoseconds: 0)

  var notices: [Notice] = []
  var noticesTaken = 0
  /// Why the connection must go, once everything that was received has been handed out.
  var fault: RedisFault?
  /// Why no more commands are taken while those under way are answered.
  var drainFault = RedisFault.stopped
  var greeting = RedisGreeting()

  /// What the server said of itself when the connection last came up.
  public internal(set) var identity = RedisIdentity()
  /// Whether a command's time ran out and nothing has been received since.
  public internal(set) var isSilent = false

  /// A connection to `server` that does nothing before ``start()``. `token` makes the event token of its socket out of a
  /// number that is another one for every attempt. `security` is needed exactly where the server has an encryption.
  public init(
    _ server: RedisServer, _ settings: RedisLinkSettings, world: any World, security: TLSClientContext? = nil,
    token: @escaping (UInt32) -> UInt64
  ) {
    precondition((server.encryption == nil) == (security == nil), "a connection would be in the open")
    self.security = security
    self.server = server
    self.settings = settings
    self.world = world
    makeToken = token
  }

  /// Whether commands are accepted, or, on a connection that listens, messages come.
  public var isUp: Bool { phase == .up && fault == nil }

  /// Commands that are neither answered nor lost, given-up ones and the link's own included.
  public var pendingCount: Int { ring.count + held.count }

  /// Begins to connect. Once.
  public func start() {
    precondition(phase == .idle)
    begin()
  }

  /// Ends the connection for good. What is under way is lost; ``next()`` still tells.
  public func stop() {
    guard phase != .stopped else { return }
    tearDown(.stopped)
    phase = .stopped
    phaseDeadline = .never
  }

  /// An event of a socket. False where it is not this link's present one: the event is another's, or stale.
  public func ready(token: UInt64, _ readiness: Readiness) -> Bool {
    guard socket != .none, token == self.token else { return false }
    if phase == .connecting {
      guard !readiness.isDisjoint(with: [.writable, .broken]) else { return true }
      connected()
    }
    guard fault == nil, phase != .connecting else { return true }
    if readiness.contains(.writable) { canWrite = true }
    if !readiness.isDisjoint(with: [.readable, .peerEnded, .broken]) {
      receive(untilEnd: !readiness.isDisjoint(with: [.peerEnded, .broken]))
    }
    return true
  }

  /// What happened, in order; nil where that is all for now. To be called until then in every turn. Invalidates
  /// ``request``.
  public func next() -> RedisEvent? {
    release()
    while true {
      if noticesTaken < notices.count {
        let notice = notices[noticesTaken]
        noticesTaken += 1
        return Self.event(notice)
      }
      notices.removeAll(keepingCapacity: true)
      noticesTaken = 0
      switch nextReply() {
      case .event(let event): return event
      case .again: continue
      case .none: break
      }
      if let fault {
        tearDown(fault)
        continue
      }
      keepTime()
      if notices.isEmpty && fault == nil { return nil }
    }
  }

  /// The bytes of the command that the last event answered, for sending it elsewhere; empty after other events.
  public var request: RawSpan {
    @_lifetime(borrow self)
    get {
      let outgoing = outgoing
      // The link keeps the buffer, and it changes only through the link.
      return unsafe _overrideLifetime(outgoing.bytes.extracting(first: finished), borrowing: self)
    }
  }

  /// Takes a command: `write` appends its bytes, one whole command that is answered once and no other bytes. It has
  /// `nanoseconds` to be answered, then ``RedisEvent/expired(tag:)`` comes. Never blocks.
  public func send(
    tag: UInt64, within nanoseconds: Int64 = RedisLink.decisionTime, _ write: (ByteBuffer) -> Void
  ) -> RedisAdmission {
    guard isUp, settings.channels.isEmpty else { return .down }
    guard pendingCount < settings.limits.commands else { return .full }
    let before = outgoing.count
    write(outgoing)
    let count = outgoing.count - before
    precondition(count > 0, "a command without bytes")
    guard outgoing.count + heldBytes.count <= settings.limits.bytes else {
      outgoing.truncate(to: before)
      return .full
    }
    let deadline = world.now.advanced(byNanoseconds: nanoseconds).nanoseconds
    nextExpiry = min(nextExpiry, deadline)
    ring.append(
      PendingCommand(
        tag: tag, since: world.now.nanoseconds, deadline: deadline, byteCount: count, step: .user))
    return .accepted
  }

  /// How long a decision may take: 10 ms.
  public static let decisionTime: Int64 = 10_000_000

  /// The addresses of the name that was asked for; nil or none where the look-up failed: the last known ones serve on.
  public func resolved(_ addresses: [IPAddress]?) {
    guard phase == .resolving, case .name(_, let port) = server.address else { return }
    if let addresses, !addresses.isEmpty { candidates = addresses.map { .ip($0, port: port) } }
    guard !candidates.isEmpty else {
      fault = .unknownHost
      return
    }
    connect(to: candidates[attempts % candidates.count])
  }

  /// Sends what this turn has collected. Returns when ``next()`` must be called again at the latest.
  public func flush() -> Instant {
    release()
    if mustReadAgain {
      mustReadAgain = false
      receive(untilEnd: false)
      return world.now
    }
    transmit()
    return noticesTaken < notices.count || fault != nil ? world.now : nextDeadline
  }

  static func event(_ notice: Notice) -> RedisEvent {
    switch notice {
    case .up(let identity): .up(identity)
    case .expired(let tag): .expired(tag: tag)
    case .lost(let tag, let mayHaveRun): .lost(tag: tag, mayHaveRun: mayHaveRun)
    case .silent: .silent
    case .responsive: .responsive
    case .down(let fault): .down(fault)
    case .lookUp(let host): .lookUp(host: host)
    }
  }

  /// Lets go of the bytes of the command that was answered last.
  func release() {
    if finished > 0 {
      outgoing.consume(finished)
      finished = 0
    }
  }
}
