import Core
import Crypto
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
    var ready: BenchOpening?
    var isFinished = false
  }
  private let state = Mutex(State())

  func note(_ news: BenchNews) {
    state.withLock { state in
      switch news {
      case .ready(let opening): state.ready = opening
      case .second(let second, let nanoseconds, let busy, let tally):
        _ = state.collector.add(
          thread: 0, second: second, nanoseconds: nanoseconds, busyNanoseconds: busy, tally)
      case .finished(let planned, let unfinished, let tail):
        state.isFinished = state.collector.finish(planned: planned, unfinished: unfinished, tail: tail)
      case .interrupted: break
      }
    }
  }

  var ready: BenchOpening? { state.withLock { $0.ready } }
  var isFinished: Bool { state.withLock { $0.isFinished } }
  func result(_ plan: BenchPlan) -> BenchResult {
    state.withLock { state in
      var result = BenchResult(plan, state.collector, cpuNanoseconds: 0)
      result.streams = state.ready?.streams ?? plan.streams
      return result
    }
  }
}

/// A generator and a server in one simulated world.
struct BenchRig {
  static let place = SocketAddress.ip(IPAddress(v4: 0x0a00_0001), port: 80)

  let world: SimulatedWorld
  let log = BenchLog()
  var plan: BenchPlan

  init(
    seed: UInt64 = 1, _ conditions: Conditions = .calm, _ words: String..., url: String = "http://10.0.0.1/"
  ) throws {
    try self.init(seed: seed, conditions, words, url: url)
  }

  init(seed: UInt64, _ conditions: Conditions, _ words: [String], url: String) throws {
    world = SimulatedWorld(seed: seed, conditions)
    let arguments = try Arguments(words + [url], options: Verb.bench.options)
    plan = try BenchCommand.plan(arguments) { _ in Self.place }
  }

  /// Points every request at another path.
  mutating func ask(_ target: String) {
    plan.requests = [BenchRequest(beforeKey: Array("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n".utf8), afterKey: [])]
  }

  @discardableResult
  func serve(
    _ settings: EchoSettings, streams: Int = EchoSettings.streamLimit
  ) throws -> SimulatedNode<EchoFlow<SimulatedLoop>> {
    try world.start("echo") { loop in
      let listener = try loop.listen(Self.place, ListenOptions(), token: EchoFlow<SimulatedLoop>.listenerToken)
      let flow = EchoFlow(settings, world: loop, listener: listener)
      flow.world.http2Options.concurrentStreams = streams
      return flow
    }
  }

  /// Runs the generator from its first connection to its end.
  func run(stopAfter: Duration? = nil, meanwhile: (SimulatedWorld) -> Void = { _ in }) -> BenchResult {
    let send = start()
    world.run(within: .seconds(30)) { log.ready != nil }
    send(.begin(world.now + .milliseconds(5)))
    meanwhile(world)
    if let stopAfter {
      world.run(for: stopAfter)
      send(.stop)
    }
    world.run(within: .seconds(120)) { log.isFinished }
    world.settle()
    return log.result(plan)
  }

  /// Starts the flow that the plan asks for; what is returned gives it orders.
  private func start() -> (BenchOrder) -> Void {
    let (log, share) = (log, BenchShare(plan: plan, thread: 0))
    if plan.isPlain {
      let node = world.start("bench") { loop in BenchFlow(share, world: loop) { log.note($0) } }
      return { node.send($0) }
    }
    let node = world.start("bench") { loop in BenchTransportFlow(share, world: loop) { log.note($0) } }
    return { node.send($0) }
  }
}

extension EchoSettings {
  /// Speaks TLS as `server.test`, and resumes sessions.
  static func secured(protocols: [String] = ["h2", "http/1.1"]) throws -> EchoSettings {
    var settings = EchoSettings()
    var options = TLSServerSettings(credentials: [
      try TLSCredential(certificate: TestCertificates.server, key: TestCertificates.serverKey)
    ])
    options.protocols = protocols
    settings.security = try TLSServerContext(options)
    settings.tickets = TLSTicketKeys(seeds: [SecureRandom.bytes(TLSTicketKeys.seedBytes)])
    return settings
  }

  /// A fixed body of so many bytes.
  static func fixed(_ count: Int) -> EchoSettings {
    var settings = EchoSettings()
    settings.fixedBody = Array(repeating: 120, count: count)
    return settings
  }
}
