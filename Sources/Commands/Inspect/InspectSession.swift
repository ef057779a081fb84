import Cluster
import Core
import Crypto
import Net
import Pipeline

/// Asks a store about counters: first for its time, then for each counter.
final class InspectSession: EventHandler {
  typealias Message = Never

  /// How long it takes at most, connecting included.
  private static let timeout = Duration.seconds(5)
  /// How often it begins anew when a period ends meanwhile.
  private static let attempts = 3

  private let loop: EventLoop
  private let client: RedisClient
  private let map: LaneMap
  private let settings: SharedQuotaSettings
  /// Whom it is about, with what could not be looked up.
  private(set) var survey: InspectSurvey
  private let deadline: Instant
  private var attempt = 0
  /// The store's time, once it is known.
  private(set) var clock = WallTime(microseconds: 0)
  private var counters: [LaneInspection] = []
  /// Commands to send, and how many of those sent have no answer yet.
  private var toSend: [(counter: Int, command: Int)] = []
  private var outstanding = 0
  private var isAskingTime = false
  private var lastFault: RedisFault?
  private var failure: InspectFailure?
  private(set) var isRunning = true

  init(_ settings: SharedQuotaSettings, _ survey: InspectSurvey) throws(InspectFailure) {
    guard
      let map = LaneMap(cluster: settings.cluster, laneCount: settings.laneCount, secret: settings.keys.fields)
    else { throw InspectFailure(message: "there cannot be \(settings.laneCount) lanes") }
    (self.map, self.settings, self.survey) = (map, settings, survey)
    do {
      let loop = try EventLoop()
      let library = LaneLibrary.current
      client = try RedisClient(
        settings.store,
        RedisLinkSettings(
          clientName: settings.clientName,
          library: RedisLibrary(
            name: library.name, source: library.functionSource, scripts: [library.scriptSource])),
        world: loop
      ) { UInt64($0) << 32 | UInt64($1) }
      self.loop = loop
      deadline = loop.now + Self.timeout
    } catch { throw InspectFailure(message: "the store cannot be asked: \(Self.words(error))") }
  }

  /// The counters in the order of the survey's entries.
  func run() throws(InspectFailure) -> [(InspectSurvey.Entry, LaneInspection)] {
    client.start()
    defer { client.stop() }
    var handler = self
    do throws(NetworkError) { try loop.run(&handler) } catch {
      throw InspectFailure(message: error.explanation)
    }
    if let failure { throw failure }
    return Array(zip(survey.entries, counters))
  }

  func ready(token: UInt64, _ readiness: Readiness) { _ = client.ready(token: token, readiness) }
  func receive(_ message: Never) {}

  func endTurn() -> Instant {
    while let event = client.next() { take(event) }
    if clock.microseconds == 0 { askTime() } else { send() }
    if isRunning, loop.now >= deadline { end(lastFault?.inWords ?? "it did not answer in time") }
    return min(client.flush(), deadline)
  }

  private func take(_ event: consuming RedisEvent) {
    switch consume event {
    case .reply(let tag, let reply, _):
      if tag == 0 { return begin(reply.value) }
      outstanding -= 1
      counters[Int(tag >> 8) - 1].read(Int(tag & 255), reply.value)
      if outstanding == 0, toSend.isEmpty { conclude() }
    case .expired: end("it did not answer in time")
    case .lost: end("the connection was lost")
    case .down(let fault): lastFault = fault
    case .lookUp(let host):
      let (address, _) = BenchResolver.resolve(host)
      client.resolved(host: host, address.map { [$0] })
    default: break
    }
  }

  private func end(_ reason: String?) {
    isRunning = false
    if let reason { failure = InspectFailure(message: "the store cannot be asked: \(reason)") }
  }

  private static func words(_ error: any Error) -> String {
    switch error {
    case let fault as RedisFault: fault.inWords
    case let error as NetworkError: error.explanation
    default: "\(error)"
    }
  }

  private func askTime() {
    let slot = HashSlot.of(RawSpan(map.prefix(of: 0)))
    guard !isAskingTime, let primary = client.primary(of: slot), client.isUp(primary) else { return }
    isAskingTime =
      client.send(slot: slot, tag: 0, within: settings.deadline) { RedisCommand.append(["TIME"], to: $0) } == .accepted
  }

  private func begin(_ time: borrowing RedisValue) {
    guard time.kind == .array, time.count == 2, let seconds = Int64(time[0].text), let micros = Int64(time[1].text)
    else { return end("it does not say what time it is") }
    inspect(at: WallTime(microseconds: seconds * 1_000_000 + micros))
  }

  private func inspect(at moment: WallTime) {
    clock = moment
    attempt += 1
    counters = survey.levels(loop, at: moment).map { LaneInspection(map: map, level: $0, clock: moment) }
    toSend = counters.indices.flatMap { counter in
      (0..<counters[counter].commandCount).map { (counter, $0) }
    }
    if toSend.isEmpty { end(nil) }
  }

  private func send() {
    while let (counter, command) = toSend.first, isRunning {
      let slot = HashSlot.of(RawSpan(counters[counter].prefix))
      guard let primary = client.primary(of: slot), client.isUp(primary), let identity = client.identity(of: primary)
      else { return }
      guard
        let caller = LaneCaller(
          replicationID: Array(identity.replicationID.utf8), node: 0,
          dialect: identity.dialect == .functions ? .function : .script)
      else { return end("its user may not read INFO replication") }
      let tag = UInt64(counter + 1) << 8 | UInt64(command)
      let inspection = counters[counter]
      guard
        client.send(
          slot: slot, tag: tag, within: settings.deadline, { inspection.encode(command, for: caller, into: $0) })
          == .accepted
      else { return }
      toSend.removeFirst()
      outstanding += 1
    }
  }

  private func conclude() {
    for counter in counters {
      if case .otherPeriod(let now) = counter.outcome, attempt < Self.attempts { return inspect(at: now) }
    }
    end(nil)
  }
}

extension RedisFault {
  /// What is wrong, for people.
  fileprivate var inWords: String {
    switch self {
    case .connect(let error), .broken(let error): error.explanation
    case .unknownHost: "its host has no address"
    case .timedOut, .silent: "it did not answer in time"
    case .closed: "it closed the connection"
    case .malformed: "what answers is no Redis"
    case .refused(.wrongCredentials), .refused(.unauthenticated): "it refuses the credentials"
    case .refused(.notPermitted): "its user may not do what is needed"
    case .refused(let error): "it refuses (\(error))"
    case .notPrimary: "it is a replica"
    case .loading: "it still reads its data"
    case .encryption(let reason): reason
    case .stopped: "it was left"
    }
  }
}
