// What a node counts.
//
// Every loop has its own counters and is the only one that adds to them (see `MetricsMemory.swift`); the admin thread
// adds up what the loops hold when somebody asks. Nothing here is reset by a reload: series belong to names, not to
// the configuration that mentions them.

import Cluster
import Core
import HTTP
import Pipeline
import Synchronization

/// Everything one node counts: a set of counters for each loop, and what happens to the node as a whole.
public final class Metrics: Sendable {
  /// The series for routes beyond the number that is kept apart.
  public static let otherRoute: Int32 = 0
  /// The series for requests that were answered before, or without, a route.
  public static let noRoute: Int32 = 1
  /// The series for callers who ask how their limits stand.
  public static let usageRoute: Int32 = 2

  /// The counters of each loop, by its index.
  public let loops: ContiguousArray<LoopMetrics>

  let routes = MetricLabels(reserved: ["_other", "_none", "_usage"])
  let policies = MetricLabels(reserved: ["_other"])
  let shadows = MetricLabels(reserved: ["_other"])
  let tenants = MetricLabels(reserved: ["_other"])
  let codes: ProblemCodes
  let reloadsSucceeded = Atomic<UInt64>(0)
  let reloadsFailed = Atomic<UInt64>(0)
  let lastReload = Atomic<Int64>(0)

  /// Metrics for a node of `loops` loops that answers with these problem codes; others count as `_other`.
  public init(loops: Int, problemCodes: [StaticString]) {
    let codes = ProblemCodes(problemCodes)
    self.codes = codes
    self.loops = ContiguousArray((0..<loops).map { _ in LoopMetrics(codes: codes) })
  }

  /// The series numbers for these route identifiers, the same ones at every reload. Linear; one call at a time.
  public func routeSeries(_ ids: [String]) -> ContiguousArray<Int32> { routes.numbers(of: ids) }

  /// The series numbers for these policy names, the same ones at every reload. Linear; one call at a time.
  public func policySeries(_ names: [String]) -> ContiguousArray<Int32> { policies.numbers(of: names) }

  /// The series numbers for the names of policies in shadow, as ``policySeries(_:)`` has them.
  func shadowSeries(_ names: [String]) -> ContiguousArray<Int32> { shadows.numbers(of: names) }

  /// What policies in shadow have decided since the process began, by name: those that have decided anything.
  public var shadowFacts: [ShadowFacts] {
    (0..<shadows.count).compactMap { number in
      let rows = loops.compactMap { $0.shadows.existing(number) }
      if rows.isEmpty { return nil }
      func sum(_ outcome: ShadowOutcome) -> UInt64 { rows.reduce(0) { $0 + $1.value(at: Int(outcome.rawValue)) } }
      return ShadowFacts(policy: shadows.name(number), passed: sum(.passed), refused: sum(.refused))
    }
  }

  /// Requests that have begun, of all loops.
  var requestsStarted: UInt64 { loops.reduce(0) { $0 &+ $1.value(.requestsStarted) } }

  /// The requests that have ended, those of them that failed (500 and above), and how long all of them took together.
  var requestTotals: (requests: UInt64, failures: UInt64, nanoseconds: UInt64) {
    var total = (requests: UInt64(0), failures: UInt64(0), nanoseconds: UInt64(0))
    for loop in loops {
      for number in 0..<routes.count {
        guard let row = loop.routes.existing(number) else { continue }
        for kind in 0..<RouteColumn.classes { total.requests &+= row.value(at: kind) }
        total.failures &+= row.value(at: 5)
        total.nanoseconds &+= row.value(at: RouteColumn.sum)
      }
    }
    return total
  }

  /// Counts one attempt to read the configuration again.
  public func countReload(succeeded: Bool, at time: WallTime) {
    if succeeded {
      reloadsSucceeded.wrappingAdd(1, ordering: .relaxed)
      lastReload.store(time.seconds, ordering: .relaxed)
    } else {
      reloadsFailed.wrappingAdd(1, ordering: .relaxed)
    }
  }
}

/// The counters of one loop. Only the loop's own thread may call the methods that count; each takes a few instructions.
public final class LoopMetrics: Sendable {
  let cells: CounterMemory
  let routes: CounterTable<RouteColumn>
  let policies: CounterTable<LimitOutcome>
  let shadows: CounterTable<ShadowOutcome>
  let tenants: CounterTable<TenantColumn>
  let refusals: CounterMemory
  private let codes: ProblemCodes

  init(codes: ProblemCodes) {
    self.codes = codes
    // `add` relies on this count.
    cells = CounterMemory(count: Cell.count)
    routes = CounterTable(count: MetricLabels.capacity)
    policies = CounterTable(count: MetricLabels.capacity)
    shadows = CounterTable(count: MetricLabels.capacity)
    tenants = CounterTable(count: MetricLabels.capacity)
    refusals = CounterMemory(count: codes.count)
  }

  deinit {
    cells.free()
    routes.free()
    policies.free()
    shadows.free()
    tenants.free()
    refusals.free()
  }

  /// Adds to a counter.
  @inline(__always)
  public func add(_ amount: Int = 1, to counter: Counter) {
    cells.add(UInt64(truncatingIfNeeded: amount), to: Cell.counters &+ Int(counter.rawValue), of: Cell.count)
  }

  /// Counts a request that has ended: its series, its final status (0 where the client left without one), and how long
  /// it took from its first byte to the last of the response.
  @inline(__always)
  public func countRequest(route series: Int32, status: Int, nanoseconds: Int64) {
    let row = routes.row(Int(series))
    let kind = UInt32(truncatingIfNeeded: status) / 100
    row.add(to: kind < RouteColumn.classes ? Int(kind) : 0)
    row.add(UInt64(truncatingIfNeeded: max(nanoseconds, 0)), to: RouteColumn.sum)
    row.add(to: RouteColumn.buckets &+ LatencyBuckets.index(nanoseconds: nanoseconds))
  }

  /// Sorts a duration into one of the node's histograms.
  @inline(__always)
  public func observe(_ histogram: Latency, nanoseconds: Int64) {
    let start = Cell.histograms &+ Int(histogram.rawValue) &* Cell.histogramCells
    cells.add(UInt64(truncatingIfNeeded: max(nanoseconds, 0)), to: start, of: Cell.count)
    cells.add(to: start &+ 1 &+ LatencyBuckets.index(nanoseconds: nanoseconds), of: Cell.count)
  }

  /// Counts a connection that was closed as soon as it was accepted.
  public func countRefusedConnection(_ reason: ConnectionRefusal) {
    cells.add(to: Cell.refusedConnections &+ Int(reason.rawValue))
  }

  /// Counts a handshake of TLS that failed.
  func countHandshakeFailure(_ fault: HandshakeFault) { cells.add(to: Cell.handshakeFaults &+ fault.rawValue) }

  /// Takes over how often a limit of HTTP/2 has been exceeded.
  func note(_ limit: HTTP2Limit, _ count: UInt64) { cells.set(count, at: Cell.http2Limits &+ Int(limit.rawValue)) }

  /// Counts a connection that was given up.
  public func countShedConnection(_ reason: ShedReason) {
    cells.add(to: Cell.shedConnections &+ Int(reason.rawValue))
  }

  /// Counts one more attempt for a request.
  public func countRetry(_ reason: RetryReason) {
    cells.add(to: Cell.retries &+ Int(reason.rawValue))
  }

  /// Counts what a limiting policy decided, by the number that ``Metrics/policySeries(_:)`` gave the policy.
  @inline(__always)
  public func countLimit(policy series: Int32, _ decision: LimitOutcome) {
    policies.row(Int(series)).add(to: Int(decision.rawValue))
  }

  /// Counts what a policy in shadow decided, by the number that ``Metrics/shadowSeries(_:)`` gave it.
  func countShadow(policy series: Int32, _ outcome: ShadowOutcome) {
    shadows.row(Int(series)).add(to: Int(outcome.rawValue))
  }

  /// Counts a question about limits that was decided where a shared store might have been asked.
  public func countDecision(by source: LimitSource) { cells.add(to: Cell.decisions &+ source.label.cell) }

  /// Takes over what the loop's part of a shared quota says of itself.
  func note(_ statistics: SharedQuotaStatistics) {
    for figure in QuotaFigure.allCases { cells.set(statistics.value(figure), at: Cell.quota &+ figure.rawValue) }
  }

  /// Counts an answer given by the gateway itself, by its problem code.
  public func countRefusal(code: StaticString) { refusals.add(to: codes.index(of: code)) }

  func value(_ counter: Counter) -> UInt64 { cells.value(at: Cell.counters + Int(counter.rawValue)) }
}
