import Core

/// Why a request has no complete response, or why there was no connection to send it on.
enum BenchFailure: Int, CaseIterable, Sendable {
  /// The connection could not be opened.
  case connect
  /// The peer ended or reset the connection before the response was complete.
  case broken
  /// The response was not complete in time.
  case timeout
  /// What came was no HTTP response, or one with an ambiguous end.
  case malformed
  /// The server reset the stream (RST_STREAM).
  case streamReset
  /// The server ended its connection before the stream (GOAWAY).
  case goAway

  /// The name in all results.
  var name: String {
    switch self {
    case .connect: "connect"
    case .broken: "broken"
    case .timeout: "timeout"
    case .malformed: "malformed"
    case .streamReset: "streamReset"
    case .goAway: "goAway"
    }
  }
}

/// How connections were secured.
struct BenchHandshakes: Sendable {
  /// Nanoseconds from when a connection was opened to when its handshake was done: full ones, and such that resumed a session.
  var full = Histogram()
  var resumed = Histogram()
  var failed: UInt64 = 0
  /// Why the last one failed.
  var fault: String?

  /// Those that were done.
  var completed: UInt64 { full.count &+ resumed.count }

  var isEmpty: Bool { completed == 0 && failed == 0 }

  /// Adds what another thread or another second counted.
  mutating func merge(_ other: BenchHandshakes) {
    full.merge(other.full)
    resumed.merge(other.resumed)
    failed &+= other.failed
    fault = other.fault ?? fault
  }
}

/// What one thread counted in one second, or all threads in all seconds.
struct BenchTally: Sendable {
  /// From when a request began, or should have begun, to the last byte of its response; nanoseconds.
  var latency = Histogram()
  /// How late the generator itself sent requests of an open loop although a connection was free; nanoseconds.
  var lag = Histogram()
  /// Nanoseconds that opening a connection took.
  var connect = Histogram()
  /// Responses by status.
  var statuses = ContiguousArray<UInt64>(repeating: 0, count: 600)
  private var failures = ContiguousArray<UInt64>(repeating: 0, count: BenchFailure.allCases.count)
  /// Bytes of responses, heads and framing included.
  var receivedBytes: UInt64 = 0
  /// Requests sent.
  var started: UInt64 = 0
  /// Requests of an open loop that had to wait because every connection was busy.
  var waited: UInt64 = 0
  /// Connections opened after the first ones.
  var reconnections: UInt64 = 0
  var handshakes = BenchHandshakes()

  /// Complete responses.
  var completed: UInt64 { latency.count }

  /// Failures of all kinds.
  var failed: UInt64 { failures.reduce(0, &+) }

  /// Failures of one kind.
  func failed(_ kind: BenchFailure) -> UInt64 { failures[kind.rawValue] }

  /// Counts `count` failures.
  mutating func fail(_ kind: BenchFailure, count: Int = 1) { failures[kind.rawValue] &+= UInt64(count) }

  /// Complete responses whose status is `hundreds` × 100 to `hundreds` × 100 + 99.
  func completed(class hundreds: Int) -> UInt64 { statuses[hundreds * 100..<hundreds * 100 + 100].reduce(0, &+) }

  /// Adds what another thread or another second counted.
  mutating func merge(_ other: BenchTally) {
    latency.merge(other.latency)
    lag.merge(other.lag)
    connect.merge(other.connect)
    for status in statuses.indices { statuses[status] &+= other.statuses[status] }
    for kind in failures.indices { failures[kind] &+= other.failures[kind] }
    receivedBytes &+= other.receivedBytes
    started &+= other.started
    waited &+= other.waited
    reconnections &+= other.reconnections
    handshakes.merge(other.handshakes)
  }
}
