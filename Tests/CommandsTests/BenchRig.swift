import Core
import Simulation
import Synchronization

@testable import Commands

extension SimulatedLoop: BenchWorld {
  /// The moment of the turn; simulated time does not pass within one.
  public var moment: Instant { now }
}

/// What a bench flow has reported.
final class BenchLog: Sendable {
  private struct State {
    var collector = BenchCollector(threads: 1)
    var ready: (open: Int, failure: NetworkError?)?
    var isFinished = false
  }
  private let state = Mutex(State())

  func note(_ news: BenchNews) {
    state.withLock { state in
      switch news {
      case .ready(let open, let failure): state.ready = (open, failure)
      case .second(let second, let nanoseconds, let busy, let tally):
        _ = state.collector.add(
          thread: 0, second: second, nanoseconds: nanoseconds, busyNanoseconds: busy, tally)
      case .finished(let planned, let unfinished, let tail):
        state.isFinished = state.collector.finish(planned: planned, unfinished: unfinished, tail: tail)
      case .interrupted: break
      }
    }
  }

  var ready: (open: Int, failure: NetworkError?)? { state.withLock { $0.ready } }
  var isFinished: Bool { state.withLock { $0.isFinished } }
  func result(_ plan: BenchPlan) -> BenchResult {
    state.withLock { BenchResult(plan, $0.collector, cpuNanoseconds: 0) }
  }
}

/// A generator and a server in one simulated world.
struct BenchRig {
  static let place = SocketAddress.ip(IPAddress(v4: 0x0a00_0001), port: 80)

  let world: SimulatedWorld
  let log = BenchLog()
  var plan: BenchPlan

  init(seed: UInt64 = 1, _ conditions: Conditions = .calm, _ words: String...) throws {
    world = SimulatedWorld(seed: seed, conditions)
    let arguments = try Arguments(words + ["http://10.0.0.1/"], options: Verb.bench.options)
    plan = try BenchCommand.plan(arguments) { _ in Self.place }
  }

  /// Points every request at another path.
  mutating func ask(_ target: String) {
    plan.requests = [BenchRequest(beforeKey: Array("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n".utf8), afterKey: [])]
  }

  @discardableResult
  func serve(_ settings: EchoSettings) throws -> SimulatedNode<EchoFlow<SimulatedLoop>> {
    try world.start("echo") { loop in
      let listener = try loop.listen(Self.place, ListenOptions(), token: EchoFlow<SimulatedLoop>.listenerToken)
      return EchoFlow(settings, world: loop, listener: listener)
    }
  }

  /// Runs the generator from its first connection to its end.
  func run(stopAfter: Duration? = nil, meanwhile: (SimulatedWorld) -> Void = { _ in }) -> BenchResult {
    let log = log
    let node = world.start("bench") { loop in
      BenchFlow(BenchShare(plan: plan, thread: 0), world: loop) { log.note($0) }
    }
    world.run(within: .seconds(30)) { log.ready != nil }
    node.send(.begin(world.now + .milliseconds(5)))
    meanwhile(world)
    if let stopAfter {
      world.run(for: stopAfter)
      node.send(.stop)
    }
    world.run(within: .seconds(120)) { log.isFinished }
    world.settle()
    return log.result(plan)
  }
}

extension EchoSettings {
  /// A fixed body of so many bytes.
  static func fixed(_ count: Int) -> EchoSettings {
    var settings = EchoSettings()
    settings.fixedBody = Array(repeating: 120, count: count)
    return settings
  }
}
