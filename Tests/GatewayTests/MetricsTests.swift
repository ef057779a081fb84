import Cluster
import Core
import Pipeline
import Testing

@testable import Gateway
@testable import Traffic

@Suite struct LatencyBucketsTests {
  @Test("a bound belongs to the bucket that it ends, and the next nanosecond to the next bucket")
  func bounds() {
    for index in 0..<(LatencyBuckets.count - 1) {
      let bound = Int64(LatencyBuckets.upperBound(of: index))
      #expect(LatencyBuckets.index(nanoseconds: bound) == index)
      #expect(LatencyBuckets.index(nanoseconds: bound + 1) == index + 1)
    }
  }

  @Test(
    "negative and huge durations fall into the outer buckets",
    arguments: [(Int64.min, 0), (-1, 0), (0, 0), (1, 0), (100_000_000_001, 64), (.max, 64)])
  func extremes(nanoseconds: Int64, index: Int) {
    #expect(LatencyBuckets.index(nanoseconds: nanoseconds) == index)
  }
}

@Suite struct MetricsTests {
  private func scrape(_ metrics: Metrics, _ facts: NodeFacts = NodeFacts()) throws -> MetricsExpositionParser {
    let buffer = ByteBuffer()
    metrics.writeText(facts, into: buffer)
    let text = (0..<buffer.count).map { buffer[$0] }
    return try MetricsExpositionParser(String(decoding: text, as: UTF8.self))
  }

  @Test("a node that has done nothing prints well-formed metrics")
  func idle() throws {
    let parsed = try scrape(Metrics(loops: 2, problemCodes: ["rate-limited"]))
    #expect(parsed.value("sluice_requests_active") == "0")
    #expect(parsed.value("sluice_loop_turn_duration_seconds_count", ["loop": "1"]) == "0")
  }

  @Test("requests are counted by route and class, and the loops are added up")
  func requests() throws {
    let metrics = Metrics(loops: 2, problemCodes: [])
    let series = metrics.routeSeries(["orders", "in\"voices\\\n"])
    metrics.loops[0].countRequest(route: series[0], status: 200, nanoseconds: 1_500_000)
    metrics.loops[1].countRequest(route: series[0], status: 204, nanoseconds: 500_000)
    metrics.loops[1].countRequest(route: series[0], status: 503, nanoseconds: 200_000_000_000)
    metrics.loops[1].countRequest(route: series[1], status: 0, nanoseconds: 1)
    metrics.loops[1].countRequest(route: Metrics.noRoute, status: 404, nanoseconds: 1)
    let parsed = try scrape(metrics)
    #expect(parsed.value("sluice_requests_total", ["route": "orders", "class": "2xx"]) == "2")
    #expect(parsed.value("sluice_requests_total", ["route": "orders", "class": "5xx"]) == "1")
    #expect(parsed.value("sluice_requests_total", ["route": "in\"voices\\\n", "class": "none"]) == "1")
    #expect(parsed.value("sluice_requests_total", ["route": "_none", "class": "4xx"]) == "1")
    let bucket = "sluice_request_duration_seconds_bucket"
    #expect(parsed.value(bucket, ["route": "orders", "le": "0.0005"]) == "1")
    #expect(parsed.value(bucket, ["route": "orders", "le": "0.002"]) == "2")
    #expect(parsed.value(bucket, ["route": "orders", "le": "100"]) == "2")
    #expect(parsed.value(bucket, ["route": "orders", "le": "+Inf"]) == "3")
    #expect(parsed.value("sluice_request_duration_seconds_sum", ["route": "orders"]) == "200.002")
  }

  @Test("a route keeps its series when the configuration is read again")
  func reload() {
    let metrics = Metrics(loops: 1, problemCodes: [])
    let before = metrics.routeSeries(["a", "b"])
    #expect(metrics.routeSeries(["c", "b", "a", "a"])[1...] == [before[1], before[0], before[0]])
  }

  @Test("routes beyond the capacity share one series")
  func bounded() throws {
    let metrics = Metrics(loops: 1, problemCodes: [])
    let series = metrics.routeSeries((0..<5000).map { "r\($0)" })
    #expect(series[0] > Metrics.noRoute)
    #expect(series[4999] == Metrics.otherRoute)
    #expect(Set(series).count == MetricLabels.capacity - 2)
    metrics.loops[0].countRequest(route: series[4999], status: 200, nanoseconds: 1)
    #expect(try scrape(metrics).value("sluice_requests_total", ["route": "_other", "class": "2xx"]) == "1")
  }

  @Test("refusals are counted by code, and unknown codes together")
  func refusals() throws {
    let metrics = Metrics(loops: 1, problemCodes: ["no-route", "rate-limited"])
    metrics.loops[0].countRefusal(code: "rate-limited")
    metrics.loops[0].countRefusal(code: "rate-limiter")
    metrics.loops[0].countRefusal(code: "x")
    let parsed = try scrape(metrics)
    #expect(parsed.value("sluice_refusals_total", ["code": "rate-limited"]) == "1")
    #expect(parsed.value("sluice_refusals_total", ["code": "_other"]) == "2")
    #expect(parsed.value("sluice_refusals_total", ["code": "no-route"]) == nil)
  }

  @Test("limits are counted by policy and decision")
  func limits() throws {
    let metrics = Metrics(loops: 1, problemCodes: [])
    let policy = metrics.policySeries(["fair-use"])[0]
    metrics.loops[0].countLimit(policy: policy, .denied)
    metrics.loops[0].countLimit(policy: policy, .failedOpen)
    let parsed = try scrape(metrics)
    #expect(parsed.value("sluice_limit_decisions_total", ["policy": "fair-use", "decision": "denied"]) == "1")
    #expect(parsed.value("sluice_limit_decisions_total", ["policy": "fair-use", "decision": "failed_open"]) == "1")
    #expect(parsed.value("sluice_limit_decisions_total", ["policy": "fair-use", "decision": "admitted"]) == "0")
  }

  @Test("decisions with a shared store are counted by mode, those of the node's own memory are not told")
  func modes() throws {
    let metrics = Metrics(loops: 2, problemCodes: [])
    for loop in metrics.loops { loop.countDecision(by: .leased) }
    metrics.loops[0].countDecision(by: .embedded)
    let parsed = try scrape(metrics)
    #expect(parsed.value("sluice_quota_decisions_total", ["mode": "leased"]) == "2")
    #expect(parsed.value("sluice_quota_decisions_total", ["mode": "denycache"]) == "0")
    #expect(parsed.value("sluice_quota_decisions_total", ["mode": "embedded"]) == nil)
    var statistics = SharedQuotaStatistics()
    statistics.leasedUnits = 7
    statistics.openBreakers = 1
    for loop in metrics.loops { loop.note(statistics) }
    let later = try scrape(metrics)
    #expect(later.value("sluice_quota_leased_units_total") == "14")
    #expect(later.value("sluice_quota_breakers_open") == "2")
    for source in LimitSource.allCases { #expect("\(source.label.name)" == source.rawValue) }
  }

  @Test("every counter, reason and histogram has a cell of its own")
  func cells() throws {
    let metrics = Metrics(loops: 1, problemCodes: [])
    let loop = metrics.loops[0]
    for counter in Counter.allCases { loop.add(to: counter) }
    for reason in ConnectionRefusal.allCases { loop.countRefusedConnection(reason) }
    for reason in ShedReason.allCases { loop.countShedConnection(reason) }
    for reason in RetryReason.allCases { loop.countRetry(reason) }
    for source in LimitSource.allCases { loop.countDecision(by: source) }
    for figure in QuotaFigure.allCases { loop.cells.set(1, at: Cell.quota + figure.rawValue) }
    for histogram in Latency.allCases {
      loop.observe(histogram, nanoseconds: 0)
      loop.observe(histogram, nanoseconds: .max)
    }
    let touched = (0..<Cell.count).map { loop.cells.value(at: $0) }
    let kinds = Counter.allCases.count + ConnectionRefusal.allCases.count + ShedReason.allCases.count
    let labels = RetryReason.allCases.count + LimitSource.allCases.count + QuotaFigure.allCases.count
    #expect(touched.filter { $0 == 1 }.count == kinds + labels + 2 * Latency.allCases.count)
    #expect(touched.filter { $0 > 1 }.count == Latency.allCases.count)
    #expect(try scrape(metrics).value("sluice_connections_shed_total", ["reason": "slow_reader"]) == "1")
  }

  @Test("facts of the node and its upstreams are printed")
  func facts() throws {
    let metrics = Metrics(loops: 1, problemCodes: [])
    metrics.countReload(succeeded: false, at: WallTime(microseconds: 5_000_000))
    metrics.countReload(succeeded: true, at: WallTime(microseconds: 7_000_000))
    var facts = NodeFacts()
    facts.isDraining = true
    facts.accessLogDropped = 3
    facts.upstreams = [UpstreamFacts(upstream: "orders", endpoint: "127.0.0.1:9001")]
    facts.upstreams[0].isEjected = true
    let parsed = try scrape(metrics, facts)
    #expect(parsed.value("sluice_draining") == "1")
    #expect(parsed.value("sluice_access_log_dropped_lines_total") == "3")
    #expect(parsed.value("sluice_config_reloads_total", ["outcome": "failed"]) == "1")
    #expect(parsed.value("sluice_config_last_reload_time_seconds") == "7")
    let labels = ["upstream": "orders", "endpoint": "127.0.0.1:9001"]
    #expect(parsed.value("sluice_upstream_healthy", labels) == "1")
    #expect(parsed.value("sluice_upstream_ejected", labels) == "1")
  }

  @Test("what loops know of endpoints is printed")
  func endpoints() throws {
    let state = UpstreamState(name: "orders")
    let now = Instant(nanoseconds: 5)
    let address = SocketAddress.ip(IPAddress(v4: 0x7f00_0001), port: 9001)
    let endpoint = EndpointState(id: 0, address: address, upstream: state, joinedAt: now)
    endpoint.requestStarted()
    endpoint.setHealth(.unhealthy, now: now)
    var facts = NodeFacts()
    facts.add(
      [EndpointSet([Endpoint(state: endpoint, weight: 1, name: nil)], state: state, balance: .roundRobin)], at: now)
    let parsed = try scrape(Metrics(loops: 1, problemCodes: []), facts)
    let labels = ["upstream": "orders", "endpoint": "127.0.0.1:9001"]
    #expect(parsed.value("sluice_upstream_healthy", labels) == "0")
    #expect(parsed.value("sluice_upstream_active_requests", labels) == "1")
    #expect(parsed.value("sluice_upstream_connections", ["upstream": "orders"]) == "0")
  }

  @Test("a route without requests takes no memory")
  func lean() {
    let metrics = Metrics(loops: 1, problemCodes: [])
    let series = metrics.routeSeries(["a", "b"])
    metrics.loops[0].countRequest(route: series[1], status: 200, nanoseconds: 1)
    #expect(metrics.loops[0].routes.existing(Int(series[0])) == nil)
    #expect(metrics.loops[0].routes.existing(Int(series[1])) != nil)
  }
}
