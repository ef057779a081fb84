// How simulations are run, and run again.
//
// Each takes the seeds 1, 2, 3 …, as many as it is told; and more, where it is given time. A seed that fails is named with
// what went wrong. To see that run again, and nothing else, with its trace of faults and what was found:
//
//     SLUICE_SEED=4711 swift test --filter 'SharedQuotaSimulationTests'
//
// To run more than CI does, so many seeds of each simulation whatever time that takes, from which on:
//
//     SLUICE_SEEDS=10000 SLUICE_FIRST_SEED=5000 swift test --filter SimulationTests
//
// A seed means the same run as long as nothing has changed in the simulation, the product or the test.

import Foundation
import Testing

/// What runs at present, for a run that ends the whole process: a trap leaves no time for anything else.
private enum CrashReport {
  /// Three simulations may run side by side.
  nonisolated(unsafe) static let running = UnsafeMutablePointer<UInt64>.allocate(capacity: 3)
  private static let signals = [SIGILL, SIGTRAP, SIGABRT, SIGSEGV]

  /// Once: whoever handled the signals before does so behind this.
  static let isInstalled: Bool = {
    unsafe running.initialize(repeating: 0, count: 3)
    for number in signals {
      var action = sigaction()
      // Said, then left to whoever comes next: the instruction is repeated.
      unsafe action.__sigaction_handler.sa_handler = { number in
        for place in 0..<3 where unsafe running[place] != 0 {
          let text = unsafe "\nthe seed \(running[place]) was running (SLUICE_SEED=\(running[place]) runs it again)\n"
          _ = unsafe Array(text.utf8).withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
        }
        unsafe sigaction(number, &former[Int(number)], nil)
      }
      unsafe sigaction(number, &action, &former[Int(number)])
    }
    return true
  }()
  nonisolated(unsafe) private static var former = Array(repeating: sigaction(), count: 32)
}

/// The seeds of a simulation.
struct Seeds {
  private static let environment = ProcessInfo.processInfo.environment
  private static func number(_ name: String) -> UInt64? { environment[name].flatMap { UInt64($0) } }

  /// The one seed that is looked at closely.
  static let single = number("SLUICE_SEED")

  /// Runs `body` with seeds until the time is over, with `floor` of them at least. What it returns is wrong, a sentence each.
  static func run(
    floor: Int, seconds: Double, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (UInt64) throws -> [String]
  ) throws {
    let first = number("SLUICE_FIRST_SEED") ?? 1
    let wanted = number("SLUICE_SEEDS").map { Int($0) }
    let clock = ContinuousClock()
    let end = clock.now + .seconds(seconds)
    var (count, failed) = (0, 0)
    func wantsMore() -> Bool {
      if single != nil { return count == 0 }
      if let wanted { return count < wanted }
      return count < floor || clock.now < end
    }
    precondition(CrashReport.isInstalled)
    let place = (0..<3).first { unsafe CrashReport.running[$0] == 0 } ?? 0
    defer { unsafe CrashReport.running[place] = 0 }
    while wantsMore() {
      let seed = single ?? first + UInt64(count)
      unsafe CrashReport.running[place] = seed
      count += 1
      let problems = try body(seed)
      guard !problems.isEmpty else { continue }
      failed += 1
      let text = problems.prefix(6).map { "\n  \($0)" }.joined()
      Issue.record("seed \(seed) (SLUICE_SEED=\(seed) runs it again):\(text)", sourceLocation: sourceLocation)
      // More of the same is of no use.
      if failed == 5 { break }
    }
    print("\(sourceLocation.fileID): \(count) seeds, \(failed) failed")
  }
}
