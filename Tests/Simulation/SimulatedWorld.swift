// A machine room in memory: loops that run real handlers, a network between them, and peers that a test scripts.
//
// Everything that happens is an entry of one agenda, ordered by a clock that only the agenda moves, and every choice is
// drawn from one seed: the same seed and the same test make the same trace, to the byte. Nothing iterates over a hash
// table, since their order differs from run to run.
//
// The network behaves as Linux does where handlers could notice: edges, not levels; all bits that hold at the time of an
// edge; descriptors that are used again at once; events collected before a close; resets where unread bytes are closed.
import Core

/// A simulated network and the clock of everything on it.
public final class SimulatedWorld {
  /// The moment everywhere.
  public private(set) var now = Instant(nanoseconds: 1_000_000_000)

  /// How machine and network behave from now on.
  public var conditions: Conditions

  /// A digest of everything that has happened. Equal for equal runs.
  public private(set) var fingerprint: UInt64 = 0xcbf2_9ce4_8422_2325

  /// Whether ``trace`` is written.
  public var isTracing = false

  /// What has happened, a line each, while ``isTracing``.
  public private(set) var trace: [String] = []

  var random: SeededGenerator
  var listeners: [Listener] = []
  // Streams know their owners weakly; the world keeps them.
  var peers: [Peer] = []
  var servers: [ScriptedServer] = []
  var nextStream = 1
  var nextPort: UInt16 = 40_000
  /// Links on which nothing moves at present, and what waits on them.
  var frozen: [SocketAddress] = []
  var cuts: [(from: IPAddress, to: IPAddress)] = []
  var held: [(stream: Stream, action: () -> Void)] = []
  var blackholes: [SocketAddress] = []
  private var agenda = Agenda()
  private var loops: [SimulatedLoop] = []
  private let epochMicroseconds: Int64

  /// A world whose every choice follows from `seed`. Its civil time begins at `wallTime`.
  public init(
    seed: UInt64, _ conditions: Conditions = .rough, wallTime: WallTime = WallTime(microseconds: 1_790_000_000_000_000)
  ) {
    self.conditions = conditions
    random = SeededGenerator(seed: seed)
    epochMicroseconds = wallTime.microseconds - 1_000_000
  }

  deinit {
    // A handler holds its loop, and the loop its handler.
    for loop in loops { loop.body = nil }
  }

  /// Civil time now.
  public var wallTime: WallTime { WallTime(microseconds: epochMicroseconds + now.nanoseconds / 1_000) }

  /// Starts a handler on a loop of its own: `make` creates it, and may listen. Nothing runs before the world does.
  public func start<Handler: EventHandler & ~Copyable>(
    _ name: String = "node", _ make: (SimulatedLoop) throws -> Handler
  ) rethrows -> SimulatedNode<Handler> {
    let loop = SimulatedLoop(self, name: name, seed: random.next())
    let node = SimulatedNode(loop, try make(loop))
    loop.body = node
    loops.append(loop)
    loop.requestTurn()
    return node
  }

  // MARK: Time

  /// Lets `duration` pass.
  public func run(for duration: Duration) {
    let end = now + duration
    while agenda.earliest <= end { step() }
    now = end
  }

  /// Lets time pass until `condition` holds; false where `limit` has passed, or where nothing is left to happen, before
  /// it did.
  @discardableResult
  public func run(within limit: Duration = .seconds(60), until condition: () -> Bool) -> Bool {
    let end = now + limit
    while !condition() {
      guard agenda.earliest <= end else { return false }
      step()
    }
    return true
  }

  /// Lets everything under way arrive and be handled, without waiting for anybody's deadline. Returns false where it
  /// does not come to rest within `limit`.
  @discardableResult
  public func settle(within limit: Duration = .seconds(60)) -> Bool {
    let end = now + limit
    while agenda.busyCount > 0 {
      guard agenda.earliest <= end else { return false }
      step()
    }
    return true
  }

  private func step() {
    guard let entry = agenda.popFirst() else { return }
    now = max(now, entry.time)
    entry.action()
  }

  func schedule(at time: Instant, isTimer: Bool = false, _ action: @escaping () -> Void) {
    agenda.add(at: time, isTimer: isTimer, action)
  }

  /// Does something after `delay`; it keeps nothing busy, see ``settle(within:)``.
  public func after(_ delay: Duration, _ action: @escaping () -> Void) {
    schedule(at: now + delay, isTimer: true, action)
  }

  func draw(_ range: ClosedRange<Duration>) -> Int64 {
    random.number(in: range.lowerBound.wholeNanoseconds...range.upperBound.wholeNanoseconds)
  }

  /// Records that something happened.
  func note(_ what: StaticString, _ numbers: Int...) {
    for number in [Int(now.nanoseconds), what.utf8CodeUnitCount] + numbers {
      fingerprint = (fingerprint ^ UInt64(bitPattern: Int64(number))) &* 0x100_0000_01b3
    }
    if isTracing {
      trace.append("\(now.nanoseconds / 1_000) µs: \(what) \(numbers.map(String.init).joined(separator: " "))")
    }
  }
}
