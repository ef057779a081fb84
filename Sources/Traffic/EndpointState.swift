import Core
import Synchronization

/// What is known of one endpoint, shared by all loops and kept across reloads. All members are atomics with relaxed
/// ordering: each is meaningful alone, and a lost update costs one sample.
public final class EndpointState: Sendable {
  /// What active checks say.
  public enum Health: UInt8, Sendable {
    /// Not checked yet; gets requests.
    case unknown
    /// Checked and good.
    case healthy
    /// Checked and bad; gets no requests outside of panic.
    case unhealthy
  }

  /// The endpoint's small number on this node, an index for tables of loops; see ``UpstreamDirectory``.
  public let id: Int32
  /// Where it is.
  public let address: SocketAddress
  /// The upstream that it is part of.
  public let upstream: UpstreamState

  let healthValue = Atomic<UInt8>(0)
  let ejectedUntilValue = Atomic<Int64>(0)
  let joinedAtValue: Atomic<Int64>
  let consecutiveFailureCount = Atomic<Int32>(0)
  let ejectionCount = Atomic<Int32>(0)
  let activeRequestCount = Atomic<Int32>(0)
  let latencyValue = Atomic<Int64>(0)
  let latencyTakenAt = Atomic<Int64>(0)
  let unaskedUntilValue = Atomic<Int64>(0)
  let requestTotal = Atomic<UInt64>(0)
  let failureTotal = Atomic<UInt64>(0)
  let ejectionTotal = Atomic<UInt64>(0)

  /// An endpoint that joins at `joinedAt`; an instant of 0 or less means that it was there from the start.
  public init(id: Int32, address: SocketAddress, upstream: UpstreamState, joinedAt: Instant) {
    self.id = id
    self.address = address
    self.upstream = upstream
    joinedAtValue = Atomic(joinedAt.nanoseconds)
  }

  /// What active checks say.
  public var health: Health { Health(rawValue: healthValue.load(ordering: .relaxed)) ?? .unknown }

  /// When its ejection ends; a moment in the past where it is not ejected.
  public var ejectedUntil: Instant { Instant(nanoseconds: ejectedUntilValue.load(ordering: .relaxed)) }

  /// Whether it gets requests: not unhealthy and not ejected.
  @inline(__always)
  public func isAvailable(at now: Instant) -> Bool {
    healthValue.load(ordering: .relaxed) != Health.unhealthy.rawValue
      && ejectedUntilValue.load(ordering: .relaxed) <= now.nanoseconds
  }

  /// Requests that run there, from all loops.
  @inline(__always)
  public var activeRequests: Int32 { activeRequestCount.load(ordering: .relaxed) }

  /// Failures since the last success.
  public var consecutiveFailures: Int32 { consecutiveFailureCount.load(ordering: .relaxed) }

  /// Requests sent there since it is known.
  public var requests: UInt64 { requestTotal.load(ordering: .relaxed) }

  /// Requests of these that failed.
  public var failures: UInt64 { failureTotal.load(ordering: .relaxed) }

  /// How often it was ejected.
  public var ejections: UInt64 { ejectionTotal.load(ordering: .relaxed) }

  /// A request is sent there. Must be followed by one ``requestEnded()``.
  @inline(__always)
  public func requestStarted() {
    activeRequestCount.wrappingAdd(1, ordering: .relaxed)
    requestTotal.wrappingAdd(1, ordering: .relaxed)
  }

  /// The request has ended, well or badly.
  @inline(__always)
  public func requestEnded() { activeRequestCount.wrappingSubtract(1, ordering: .relaxed) }

  /// Sets what active checks say, and has all loops look again. Recovery begins a slow start.
  public func setHealth(_ health: Health, now: Instant) {
    let before = Health(rawValue: healthValue.exchange(health.rawValue, ordering: .relaxed))
    guard before != health else { return }
    if before == .unhealthy { joinedAtValue.store(now.nanoseconds, ordering: .relaxed) }
    upstream.endpointsChanged()
  }

  // MARK: Trust

  /// For how long an endpoint that sent what nobody asked for gets a new connection for every request, in nanoseconds.
  static let distrust: Int64 = 600_000_000_000

  /// It has sent bytes behind the end of a response: on a connection that is used again, more of them could be taken for
  /// the answer to the next request.
  public func noteUnaskedBytes(now: Instant) {
    unaskedUntilValue.store(now.advanced(byNanoseconds: Self.distrust).nanoseconds, ordering: .relaxed)
  }

  /// Whether its connections may serve more than one request.
  @inline(__always)
  public func mayReuseConnections(at now: Instant) -> Bool {
    unaskedUntilValue.load(ordering: .relaxed) <= now.nanoseconds
  }

  // MARK: Latency

  /// The time over which a latency sample fades (half its weight after as long), in nanoseconds.
  static let latencyFade: Int64 = 10_000_000_000

  /// Notes how long a response took. A peak counts at once, improvement only by and by: a slow endpoint is left
  /// quickly and trusted slowly.
  public func recordLatency(nanoseconds sample: Int64, now: Instant) {
    let faded = latency(at: now)
    let elapsed = max(0, now.nanoseconds &- latencyTakenAt.load(ordering: .relaxed))
    var value = max(1, sample)
    if value < faded {
      // fade / (fade + elapsed) stands for exp(-elapsed / fade): as monotonic, without a library call. At least an
      // eighth of each sample counts, or a burst of quick answers within a moment would count for nothing.
      let kept = min(7.0 / 8, Double(Self.latencyFade) / Double(Self.latencyFade &+ elapsed))
      value = Int64(Double(faded) * kept + Double(value) * (1 - kept))
    }
    latencyValue.store(value, ordering: .relaxed)
    latencyTakenAt.store(now.nanoseconds, ordering: .relaxed)
  }

  /// The peak-sensitive moving average in nanoseconds, faded by the time without samples; 0 if there never was one.
  @inline(__always)
  public func latency(at now: Instant) -> Int64 {
    let value = latencyValue.load(ordering: .relaxed)
    let elapsed = now.nanoseconds &- latencyTakenAt.load(ordering: .relaxed)
    // Fading begins after a tenth of a second, so that the division is seldom paid.
    if elapsed < 100_000_000 { return value }
    return Int64(Double(value) * (Double(Self.latencyFade) / Double(Self.latencyFade &+ elapsed)))
  }
}

/// What is known of one upstream as a whole, shared by all loops and kept across reloads.
public final class UpstreamState: Sendable {
  /// The upstream's name.
  public let name: String

  @usableFromInline let changeCount = Atomic<UInt64>(0)
  let isEjecting = Atomic<Bool>(false)
  @usableFromInline let requestCount = Atomic<Int32>(0)
  let retryCount = Atomic<Int32>(0)
  @usableFromInline let connectionCount = Atomic<Int32>(0)
  @usableFromInline let pendingCount = Atomic<Int32>(0)
  @usableFromInline let overflowTotal = Atomic<UInt64>(0)
  let retryTotal = Atomic<UInt64>(0)
  let refusedRetryTotal = Atomic<UInt64>(0)

  /// The state of an upstream that nothing is known of.
  public init(name: String) { self.name = name }

  /// Has all balancers look again at which endpoints are available.
  func endpointsChanged() { changeCount.wrappingAdd(1, ordering: .releasing) }

  /// Connections open or being opened, from all loops.
  public var connections: Int32 { connectionCount.load(ordering: .relaxed) }
  /// Requests that wait for a connection.
  public var pending: Int32 { pendingCount.load(ordering: .relaxed) }
  /// Requests that run or wait, retries included.
  public var requests: Int32 { requestCount.load(ordering: .relaxed) }
  /// Retries of these.
  public var retries: Int32 { retryCount.load(ordering: .relaxed) }
  /// How often a bound of the breaker refused.
  public var overflows: UInt64 { overflowTotal.load(ordering: .relaxed) }
  /// Retries begun since it is known.
  public var retriesBegun: UInt64 { retryTotal.load(ordering: .relaxed) }
  /// Retries that the budget refused.
  public var retriesRefused: UInt64 { refusedRetryTotal.load(ordering: .relaxed) }
}
