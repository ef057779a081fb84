import Synchronization

/// Bounds what one upstream may take of this node. All loops count together, in atomics; a refusal costs two of them.
public enum CircuitBreaker {
  /// What a bound is on.
  public enum Resource: Sendable {
    /// Connections open or being opened.
    case connection
    /// Requests that wait for a connection.
    case pending
    /// Requests that run or wait.
    case request
  }

  /// Takes one of the resource, or refuses because the bound is reached. What is taken must be given back by
  /// ``release(_:_:)``.
  @inlinable
  @inline(__always)
  public static func acquire(_ resource: Resource, _ spec: BreakerSpec, _ state: UpstreamState) -> Bool {
    switch resource {
    case .connection: take(state.connectionCount, spec.maxConnections, state)
    case .pending: take(state.pendingCount, spec.maxPending, state)
    case .request: take(state.requestCount, spec.maxRequests, state)
    }
  }

  /// Gives one of the resource back.
  @inlinable
  @inline(__always)
  public static func release(_ resource: Resource, _ state: UpstreamState) {
    switch resource {
    case .connection: state.connectionCount.wrappingSubtract(1, ordering: .relaxed)
    case .pending: state.pendingCount.wrappingSubtract(1, ordering: .relaxed)
    case .request: state.requestCount.wrappingSubtract(1, ordering: .relaxed)
    }
  }

  @inlinable
  @inline(__always)
  static func take(_ count: borrowing Atomic<Int32>, _ limit: Int, _ state: UpstreamState) -> Bool {
    let (before, _) = count.add(1, ordering: .relaxed)
    if Int(before) < limit { return true }
    count.wrappingSubtract(1, ordering: .relaxed)
    state.overflowTotal.wrappingAdd(1, ordering: .relaxed)
    return false
  }
}
