// What a generator's connections are made of.
//
// Cleartext HTTP/1.1 goes to the loop itself: a request costs what it costs there, and nothing for what others speak. All
// else goes through a `Transport` above it, for which a flow is compiled once more; to that, a stream of HTTP/2 is a
// connection that carries one request of HTTP/1.1.
import Core
import Crypto
import Net

/// Where connections lead to. Places that differ have connections of their own.
struct BenchPlace: Hashable, Sendable {
  let address: SocketAddress
  /// What the server's certificate must be good for, which it is told before; nil for cleartext.
  let serverName: String?
  /// Sessions of connections with the same one are resumed.
  let resumption: String?

  init(_ address: SocketAddress, serverName: String? = nil) {
    self.address = address
    self.serverName = serverName
    resumption = serverName.map { "\(address) \($0)" }
  }
}

/// A world whose clock can be read between two events of a turn, and which knows how a plan's connections are opened.
protocol BenchWorld: World {
  /// This very moment.
  var moment: Instant { get }

  /// Begins to connect to `place`, or to open a stream on the connection with that number. The first `writable` event means
  /// that ``World/connectFailure(_:)`` can be asked how it went, unless it ``isEstablished(_:)`` at once.
  func open(_ place: BenchPlace, of plan: BenchPlan, connection: Int, token: UInt64) throws(NetworkError) -> Socket

  /// Whether requests can be sent on a socket that has just been opened.
  func isEstablished(_ socket: Socket) -> Bool

  /// How many streams the connection of a stream may have.
  func streamLimit(of socket: Socket) -> Int

  /// How to count what was under way on a socket that broke.
  func failure(of socket: Socket) -> BenchFailure

  /// Closes what is left where no socket is open any more.
  func closeCarriers()
}

extension BenchWorld {
  @inline(__always)
  func open(_ place: BenchPlace, of plan: BenchPlan, connection: Int, token: UInt64) throws(NetworkError) -> Socket {
    try connect(to: place.address, token: token)
  }

  @inline(__always)
  func isEstablished(_ socket: Socket) -> Bool { false }

  func streamLimit(of socket: Socket) -> Int { 1 }

  func failure(of socket: Socket) -> BenchFailure { .broken }

  func closeCarriers() {}
}

extension EventLoop: BenchWorld {
  var moment: Instant { Clock.monotonic() }
}

extension Transport: BenchWorld where Base: BenchWorld {
  /// A connection is kept for as long as a run may last: a day, and the warm-up before it.
  private static var idleNanoseconds: Int64 { 2 * 86_400_000_000_000 }

  var moment: Instant { base.moment }

  func open(_ place: BenchPlace, of plan: BenchPlan, connection: Int, token: UInt64) throws(NetworkError) -> Socket {
    let resumption = plan.resumes ? place.resumption : nil
    guard plan.isMultiplexed else {
      guard let name = place.serverName, let context = plan.security else {
        return try connect(to: place.address, token: token)
      }
      return try connect(to: place.address, token: token, context, name: name, resumption: resumption)
    }
    var security: StreamSecurity?
    if let name = place.serverName, let context = plan.security {
      security = StreamSecurity(context, name: name, resumption: resumption)
    }
    return try connectStream(
      to: place.address, endpoint: Int32(connection), token: token, security,
      StreamLimits(connect: plan.timeoutNanoseconds, idle: Self.idleNanoseconds))
  }

  func failure(of socket: Socket) -> BenchFailure {
    switch cause(of: socket) {
    case .server: .streamReset
    case .goAway: .goAway
    case .connection: .broken
    }
  }
}

/// What happens to a thread's connections beside its requests.
final class BenchLedger {
  /// Whether what happens is counted: not during the warm-up.
  var isCounting = true
  /// Why the last handshake failed.
  private(set) var fault: String?
  private var handshakes = BenchHandshakes()
  private var reopened: UInt64 = 0
  private var opened = 0
  private let connections: Int

  /// For so many connections that are opened first.
  init(connections: Int) { self.connections = connections }

  /// Has `transport` tell it.
  func watch<Base: BenchWorld>(_ transport: Transport<Base>) {
    transport.onServerFault = { [self] in fault = $0.message }
    transport.onServerHandshake = { [self] in note($0, nanoseconds: $1) }
    transport.onCarrier = { [self] isOpened in
      guard isOpened else { return }
      opened += 1
      if isCounting, opened > connections { reopened += 1 }
    }
  }

  private func note(_ outcome: HandshakeOutcome, nanoseconds: Int64) {
    switch outcome {
    case .failed(.noCommonProtocol): fault = "the server does not choose HTTP/2 (ALPN)"
    case .failed, .full, .resumed: break
    case .abandoned, .timedOut, .tooLarge: fault = "the server ended the connection"
    }
    guard isCounting else { return }
    switch outcome {
    case .full: handshakes.full.record(UInt64(nanoseconds))
    case .resumed: handshakes.resumed.record(UInt64(nanoseconds))
    default:
      handshakes.failed += 1
      handshakes.fault = fault
    }
  }

  /// Moves what was counted into `tally`.
  func move(into tally: inout BenchTally) {
    tally.reconnections &+= reopened
    reopened = 0
    if handshakes.isEmpty { return }
    tally.handshakes.merge(handshakes)
    handshakes = BenchHandshakes()
  }
}

/// A flow whose connections are more than descriptors.
struct BenchTransportFlow<Base: BenchWorld>: ~Copyable, EventHandler {
  typealias Message = BenchOrder

  /// What tokens of the transport begin with; those of the flow begin with three bits of zero.
  static var mark: UInt64 { 4 << 61 }

  private let transport: Transport<Base>
  private var flow: BenchFlow<Transport<Base>>

  init(_ share: BenchShare, world: Base, report: @escaping @Sendable (BenchNews) -> Void) {
    transport = Transport(base: world, tokenMark: Self.mark)
    transport.stopwatch = { world.moment }
    let ledger = BenchLedger(connections: share.part(of: share.plan.connections))
    ledger.watch(transport)
    flow = BenchFlow(share, world: transport, ledger: ledger, report: report)
  }

  var isRunning: Bool { flow.isRunning }

  mutating func ready(token: UInt64, _ readiness: Readiness) {
    guard token & Self.mark != 0 else { return flow.ready(token: token, readiness) }
    if let event = transport.ready(token: token, readiness) { flow.ready(token: event.token, event.readiness) }
  }

  mutating func receive(_ message: BenchOrder) { flow.receive(message) }

  mutating func endTurn() -> Instant {
    while let event = transport.nextEvent() { flow.ready(token: event.token, event.readiness) }
    let next = flow.endTurn()
    return min(next, transport.endTurn())
  }
}
