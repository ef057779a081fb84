import Core
import Synchronization

/// Passive ejection: what requests tell of their endpoint.
extension EndpointSet {
  /// A request went well: a response came, whatever its status below 500.
  public func recordSuccess(_ index: Int32) { endpoints[Int(index)].state.recordSuccess() }

  /// A request failed for a reason that speaks against the endpoint: no connection, a reset, no response in time, or a
  /// status from 500. Returns whether the endpoint is ejected for it.
  ///
  /// An endpoint that is ejected again soon after it came back stays out longer each time. At least one endpoint may
  /// be out, but never all: the upstream as a whole is never ejected.
  public func recordFailure(_ index: Int32, _ spec: EjectionSpec?, now: Instant) -> Bool {
    let state = endpoints[Int(index)].state
    state.failureTotal.wrappingAdd(1, ordering: .relaxed)
    let (failures, _) = state.consecutiveFailureCount.add(1, ordering: .relaxed)
    guard let spec, Int(failures) + 1 >= spec.consecutiveFailures, state.ejectedUntil <= now else { return false }
    // Two loops that eject at once could together pass the bound. The one that comes second lets it be: its next
    // failure asks again.
    guard !self.state.isEjecting.exchange(true, ordering: .acquiring) else { return false }
    defer { self.state.isEjecting.store(false, ordering: .releasing) }
    let out = endpoints.count { $0.state.ejectedUntil > now }
    let allowed = min(max(1, endpoints.count * spec.maxPercent / 100), endpoints.count - 1)
    guard out < allowed, spec.maxPercent > 0, state.ejectedUntil <= now else { return false }
    eject(state, spec, now: now)
    return true
  }

  private func eject(_ state: EndpointState, _ spec: EjectionSpec, now: Instant) {
    let base = max(1, spec.baseTime.wholeNanoseconds)
    let longest = max(base, spec.maxTime.wholeNanoseconds)
    var times = Int64(state.ejectionCount.load(ordering: .relaxed))
    // A spell of good behaviour as long as the last ejection, or longer, forgives one by one.
    let quiet = now.nanoseconds(since: state.ejectedUntil)
    times = times > 0 ? max(0, times - max(0, quiet) / base) + 1 : 1
    let (product, overflow) = base.multipliedReportingOverflow(by: times)
    let duration = overflow ? longest : min(product, longest)
    state.ejectionCount.store(Int32(clamping: min(times, longest / base + 1)), ordering: .relaxed)
    state.consecutiveFailureCount.store(0, ordering: .relaxed)
    state.ejectionTotal.wrappingAdd(1, ordering: .relaxed)
    let end = now.advanced(byNanoseconds: duration)
    state.ejectedUntilValue.store(end.nanoseconds, ordering: .relaxed)
    // It comes back by slow start.
    state.joinedAtValue.store(end.nanoseconds, ordering: .relaxed)
    self.state.endpointsChanged()
  }
}

extension EndpointState {
  /// A request went well here: failures are no longer in a row.
  @inline(__always)
  public func recordSuccess() {
    if consecutiveFailureCount.load(ordering: .relaxed) != 0 { consecutiveFailureCount.store(0, ordering: .relaxed) }
  }
}
