import Core
import Foundation
import Net
import Pipeline

@testable import Cluster
@testable import QuotaDriver

/// Several nodes of a shared quota, each a process that is started, stopped, killed and started again. What they have
/// admitted is read from their journals, also of those that are dead.
final class NodeFleet {
  /// One process.
  private struct Life {
    let slot: Int
    let process: Process
    let journal: Journal
    /// When it was killed and last stopped: microseconds since 1970.
    var killed: Int64?
    var frozen: Int64?
  }

  /// What is the same for all: arguments of ``DriverOptions``.
  let arguments: [String]
  /// Questions a second of each.
  let rates: [Int]
  let folder: URL
  private var lives: [Life] = []
  private var current: [Int] = []
  private var ends: Int64 = 0

  /// Slots of a node that was stopped are leased for so long still, in microseconds: three seconds less a renewal, and
  /// something for a machine that has much to do.
  static let surelyLeased: Int64 = 1_500_000

  /// Whether the machine is lent to these tests for longer, and figures that hang on its speed are checked.
  static let isSoaking = ProcessInfo.processInfo.environment["SLUICE_SOAK"] == "1"

  /// `share` of the questions go to the first node.
  init(_ count: Int, rate: Int, share: Double = 0.8, store: String, _ arguments: String...) throws {
    self.arguments = ["store=\(store)", "nodes=\(count)"] + arguments
    let others = count > 1 ? Double(rate) * (1 - share) / Double(count - 1) : 0
    rates = (0..<count).map { $0 == 0 ? Int(Double(rate) * share) : Int(others) }
    folder = FileManager.default.temporaryDirectory.appending(path: "sluice-fleet-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit {
    for life in lives where life.process.isRunning { signal(life, SIGKILL) }
    for life in lives { life.process.waitUntilExit() }
    try? FileManager.default.removeItem(at: folder)
  }

  /// Nothing happens on this thread. It is not given to others meanwhile: then nobody knows when it comes back.
  static func pause(milliseconds: Int) { Thread.sleep(forTimeInterval: Double(milliseconds) / 1000) }

  /// Starts all nodes; they ask for so long, together from the moment on when all of them are ready.
  func start(seconds: Double) throws {
    let start = Clock.civil().microseconds + 1_200_000
    ends = start + Int64(seconds * 1e6)
    for slot in rates.indices { try launch(slot, start: start) }
    while Clock.civil().microseconds < start { Self.pause(milliseconds: 5) }
  }

  private func launch(_ slot: Int, start: Int64 = 0) throws {
    let path = folder.appending(path: "journal-\(lives.count)").path
    let journal = Journal(path: path)
    let process = Process()
    process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
      .appending(path: "QuotaDriver")
    let left = max(0, ends - max(start, Clock.civil().microseconds)) / 1000
    process.arguments =
      arguments + [
        "journal=\(path)", "rank=\(slot)", "rate=\(rates[slot])", "milliseconds=\(left)", "start=\(start)",
      ]
    try process.run()
    if current.count <= slot { current.append(lives.count) } else { current[slot] = lives.count }
    lives.append(Life(slot: slot, process: process, journal: journal))
  }

  private func signal(_ life: Life, _ signal: Int32) { _ = Glibc.kill(life.process.processIdentifier, signal) }

  /// Kills a node. What it does from then on does not count, and it does nothing.
  func kill(_ slot: Int) {
    let number = current[slot]
    signal(lives[number], SIGKILL)
    lives[number].process.waitUntilExit()
    lives[number].killed = Clock.civil().microseconds
  }

  /// Kills a node and starts another in its place.
  func replace(_ slot: Int) throws {
    kill(slot)
    try launch(slot)
  }

  /// Stops a node as it stands, until it is thawed.
  func freeze(_ slot: Int) {
    lives[current[slot]].frozen = Clock.civil().microseconds
    signal(lives[current[slot]], SIGSTOP)
  }

  func thaw(_ slot: Int) { signal(lives[current[slot]], SIGCONT) }

  /// Sets a number of all nodes' journals that is the watcher's.
  func set(_ number: JournalNumber, _ value: Int) {
    for index in current { lives[index].journal[number] = value }
  }

  /// Kills or stops a node taken at random again and again, for so long and with such pauses; a stop takes up to 1.5 s.
  func disturb(seconds: Double, every pause: Double) throws {
    let end = Clock.monotonic().advanced(byNanoseconds: Int64(seconds * 1e9))
    var next = Clock.monotonic().advanced(byNanoseconds: Int64(pause * 1e9))
    var stops: [Int: Instant] = [:]
    while Clock.monotonic() < end {
      for (slot, until) in stops where until <= Clock.monotonic() {
        thaw(slot)
        stops[slot] = nil
      }
      if Clock.monotonic() >= next {
        next = next.advanced(byNanoseconds: Int64(pause * 1e9))
        let slot = Int.random(in: rates.indices)
        if Bool.random() {
          stops[slot] = nil
          try replace(slot)
        } else if stops[slot] == nil {
          freeze(slot)
          stops[slot] = Clock.monotonic().advanced(byNanoseconds: Int64.random(in: 0...1_500_000_000))
        }
      }
      Self.pause(milliseconds: 5)
    }
    for slot in stops.keys { thaw(slot) }
  }

  /// Waits until all nodes have left; those that do not are killed.
  func finish() throws {
    let limit = ends + 3_000_000
    for index in current {
      while lives[index].process.isRunning, Clock.civil().microseconds < limit {
        Self.pause(milliseconds: 5)
      }
      signal(lives[index], SIGCONT)
      if lives[index].process.isRunning { signal(lives[index], SIGKILL) }
      lives[index].process.waitUntilExit()
    }
  }

  /// Runs all of it: for so long, with faults in such pauses, if any.
  func run(seconds: Double, faultsEvery pause: Double? = nil) throws -> FleetReport {
    try start(seconds: seconds)
    if let pause {
      try disturb(seconds: seconds - 0.2, every: pause)
    } else {
      Self.pause(milliseconds: Int(seconds * 1000))
    }
    try finish()
    return report()
  }

  /// What all have done so far.
  func report() -> FleetReport {
    var report = FleetReport()
    for life in lives {
      report.readyCount += life.journal[.isReady]
      for place in 0..<life.journal[.records] {
        var record = life.journal.record(at: place)
        if let killed = life.killed, record.ended == 0 { record.ended = killed }
        if let frozen = life.frozen, record.asked <= frozen, record.ended == 0 || record.ended > frozen {
          // Exchanges that a stopped node has begun, or decided to begin, may outlive its lease.
          record.answered = min(record.answered, frozen)
          record.ended = min(record.ended == 0 ? .max : record.ended, frozen + Self.surelyLeased)
        }
        report.add(record, of: life.slot)
      }
      report.count(life.journal)
    }
    return report
  }
}
