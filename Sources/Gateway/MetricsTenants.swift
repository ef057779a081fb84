import Core

/// What a node has counted of a tenant's callers since the process began.
public struct TenantCounts: Equatable, Sendable {
  /// What ``requests`` are, in their order.
  public static let classes = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"]

  /// Requests that have ended, by the class of their status.
  public internal(set) var requests = [UInt64](repeating: 0, count: classes.count)
  /// Those of them that the gateway itself refused.
  public internal(set) var refusals: UInt64 = 0
}

/// Where the cells of a tenant lie: status classes (0 for none, 1xx to 5xx), and refusals.
enum TenantColumn: CounterColumns {
  static let classes = 6
  static let refusals = 6
  static let count = 7
}

extension Metrics {
  /// The series for tenants that the configuration does not know, whatever tokens call them.
  static let otherTenant: Int32 = 0

  /// The series numbers for these tenants, the same ones at every reload. Linear; one call at a time.
  func tenantSeries(_ ids: [String]) -> ContiguousArray<Int32> { tenants.numbers(of: ids) }

  /// What was counted of a tenant, on all loops. Linear in the tenants that there ever were.
  public func counts(ofTenant id: String) -> TenantCounts {
    var counts = TenantCounts()
    for number in 1..<max(tenants.count, 1) where tenants.name(number) == id { add(number, to: &counts) }
    return counts
  }

  private func add(_ number: Int, to counts: inout TenantCounts) {
    for row in loops.compactMap({ $0.tenants.existing(number) }) {
      for kind in 0..<TenantColumn.classes { counts.requests[kind] &+= row.value(at: kind) }
      counts.refusals &+= row.value(at: TenantColumn.refusals)
    }
  }

  func writeTenants(_ text: MetricsText) {
    let series = (0..<tenants.count).compactMap { number -> (String, TenantCounts)? in
      var counts = TenantCounts()
      add(number, to: &counts)
      return counts == TenantCounts() ? nil : (tenants.name(number), counts)
    }
    text.family(
      "sluice_tenant_requests_total", .counter, "Requests of tenants' callers that ended, by tenant and status class.")
    for (tenant, counts) in series {
      for (name, value) in zip(TenantCounts.classes, counts.requests) where value > 0 {
        text.sample("sluice_tenant_requests_total", [("tenant", tenant), ("class", name)], value)
      }
    }
    text.family(
      "sluice_tenant_refusals_total", .counter, "Requests of tenants' callers that the gateway itself refused.")
    for (tenant, counts) in series where counts.refusals > 0 {
      text.sample("sluice_tenant_refusals_total", [("tenant", tenant)], counts.refusals)
    }
  }
}

extension LoopMetrics {
  /// Counts a request of a tenant's caller that has ended: its series, its final status, and whether the gateway refused it.
  func countTenant(_ series: Int32, status: Int, isRefusal: Bool) {
    let row = tenants.row(Int(series))
    let kind = UInt32(truncatingIfNeeded: status) / 100
    row.add(to: kind < TenantColumn.classes ? Int(kind) : 0)
    if isRefusal { row.add(to: TenantColumn.refusals) }
  }
}
