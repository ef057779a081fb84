// What a scrape says. Reading takes no lock: each value is a moment old at most, and values read one after the other
// may differ by what happened in between.

import Core
import HTTP

extension Metrics {
  /// Appends all metrics in Prometheus' text format 0.0.4. Linear in series that were used; for the admin thread.
  public func writeText(_ facts: NodeFacts, into buffer: ByteBuffer) {
    let text = MetricsText(buffer: buffer)
    writeNode(facts, text)
    writeRequests(text)
    writeAnswers(text)
    writeShadows(text)
    writeTenants(text)
    writeQuota(text)
    writeConnections(text)
    writeTraffic(text)
    writeUpstreams(text)
    facts.writeUpstreams(text)
    facts.writeCertificates(text)
    facts.writeIssuers(text)
    facts.writeCluster(text)
    writeLoops(text)
  }

  private func writeNode(_ facts: NodeFacts, _ text: MetricsText) {
    text.family("sluice_build_info", .gauge, "The program that answers; always 1.")
    text.sample("sluice_build_info", [("version", facts.version)], 1)
    text.single(
      "sluice_start_time_seconds", .gauge, "When the process began, in seconds since 1970.",
      UInt64(max(facts.startedAt.seconds, 0)))
    text.single("sluice_ready", .gauge, "Whether the node answers requests.", facts.isReady ? 1 : 0)
    text.single(
      "sluice_draining", .gauge, "Whether the node finishes what runs and takes nothing new.", facts.isDraining ? 1 : 0)
    text.single("sluice_config_revision", .gauge, "The revision of the configuration in force.", facts.revision)
    text.family("sluice_config_reloads_total", .counter, "Attempts to read the configuration again.")
    text.sample("sluice_config_reloads_total", [("outcome", "ok")], reloadsSucceeded.load(ordering: .relaxed))
    text.sample("sluice_config_reloads_total", [("outcome", "failed")], reloadsFailed.load(ordering: .relaxed))
    text.single(
      "sluice_config_last_reload_time_seconds", .gauge, "When the last reload succeeded; 0 for never.",
      UInt64(max(lastReload.load(ordering: .relaxed), 0)))
    text.single("sluice_access_log_lines_total", .counter, "Lines handed to the access log.", facts.accessLogLines)
    text.single(
      "sluice_access_log_dropped_lines_total", .counter, "Lines lost: the writer was behind or the disk full.",
      facts.accessLogDropped)
  }

  private func writeRequests(_ text: MetricsText) {
    let classes = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"]
    let series = (0..<routes.count).compactMap { number -> (String, [UInt64])? in
      let rows = loops.compactMap { $0.routes.existing(number) }
      if rows.isEmpty { return nil }
      return (routes.name(number), (0..<RouteColumn.count).map { column in Self.sum(rows) { $0.value(at: column) } })
    }
    text.family("sluice_requests_total", .counter, "Requests that ended, by route and status class.")
    for (route, values) in series {
      for (index, name) in classes.enumerated() where values[index] > 0 {
        text.sample("sluice_requests_total", [("route", route), ("class", name)], values[index])
      }
    }
    text.family("sluice_request_duration_seconds", .histogram, "From a request's first byte to its response's last.")
    for (route, values) in series {
      text.histogram(
        "sluice_request_duration_seconds", [("route", route)], sum: values[RouteColumn.sum],
        buckets: Array(values[RouteColumn.buckets...]))
    }
    text.single("sluice_requests_active", .gauge, "Requests in progress.", difference(.requestsStarted, .requestsEnded))
    write(
      .gateway, "sluice_gateway_duration_seconds", "From a request's head to its first byte upstream or own answer.",
      text)
    write(
      .upstream, "sluice_upstream_duration_seconds", "From a request's first byte upstream to the response head.", text)
    write(.connect, "sluice_upstream_connect_duration_seconds", "How long connecting to an upstream took.", text)
  }

  private func writeAnswers(_ text: MetricsText) {
    text.family("sluice_refusals_total", .counter, "Requests that the gateway itself refused, by problem code.")
    for index in 0..<codes.count {
      let value = Self.sum(loops) { $0.refusals.value(at: index) }
      guard value > 0 else { continue }
      let code = index < codes.texts.count ? codes.texts[index].description : "_other"
      text.sample("sluice_refusals_total", [("code", code)], value)
    }
    text.family("sluice_limit_decisions_total", .counter, "What limiting policies decided.")
    for number in 0..<policies.count {
      let rows = loops.compactMap { $0.policies.existing(number) }
      if rows.isEmpty { continue }
      for decision in LimitOutcome.allCases {
        let value = Self.sum(rows) { $0.value(at: Int(decision.rawValue)) }
        let labels = [("policy", policies.name(number)), ("decision", Self.snake("\(decision)"))]
        text.sample("sluice_limit_decisions_total", labels, value)
      }
    }
  }

  private func writeShadows(_ text: MetricsText) {
    text.family("sluice_shadow_decisions_total", .counter, "What policies in shadow would have done with requests.")
    for facts in shadowFacts {
      for (outcome, value) in [("pass", facts.passed), ("refuse", facts.refused)] {
        text.sample("sluice_shadow_decisions_total", [("policy", facts.policy), ("verdict", outcome)], value)
      }
    }
  }

  private func writeConnections(_ text: MetricsText) {
    text.single(
      "sluice_connections_accepted_total", .counter, "Client connections taken and kept.", total(.connectionsAccepted))
    text.single(
      "sluice_connections_open", .gauge, "Client connections that are open, tunnels included.",
      difference(.connectionsAccepted, .connectionsClosed))
    text.family(
      "sluice_connections_refused_total", .counter, "Client connections closed as soon as they were accepted.")
    for reason in ConnectionRefusal.allCases {
      let value = cells(Cell.refusedConnections + Int(reason.rawValue))
      text.sample("sluice_connections_refused_total", [("reason", Self.snake("\(reason)"))], value)
    }
    text.family(
      "sluice_connections_shed_total", .counter, "Client connections given up before they ended by themselves.")
    for reason in ShedReason.allCases {
      let value = cells(Cell.shedConnections + Int(reason.rawValue))
      text.sample("sluice_connections_shed_total", [("reason", Self.snake("\(reason)"))], value)
    }
    text.family("sluice_tls_handshakes_total", .counter, "Handshakes of TLS with clients that came to their end.")
    text.sample("sluice_tls_handshakes_total", [("kind", "full")], total(.handshakesFull))
    text.sample("sluice_tls_handshakes_total", [("kind", "resumed")], total(.handshakesResumed))
    text.family("sluice_tls_handshake_failures_total", .counter, "Handshakes of TLS with clients that failed.")
    for fault in HandshakeFault.allCases {
      text.sample(
        "sluice_tls_handshake_failures_total", [("reason", fault.label)], cells(Cell.handshakeFaults + fault.rawValue))
    }
    text.single(
      "sluice_http2_connections_total", .counter, "Client connections that speak HTTP/2.", total(.http2Connections))
    text.single("sluice_http2_streams_total", .counter, "Requests begun over HTTP/2.", total(.http2Streams))
    text.family("sluice_http2_limits_total", .counter, "Clients that went beyond a limit of HTTP/2.")
    for limit in HTTP2Limit.allCases {
      text.sample(
        "sluice_http2_limits_total", [("limit", limit.label.description)],
        cells(Cell.http2Limits + Int(limit.rawValue)))
    }
    text.single(
      "sluice_upstream_tls_failures_total", .counter,
      "Handshakes of TLS with upstreams that failed: most often a certificate that is not good.",
      total(.upstreamHandshakeFailures))
    text.single(
      "sluice_tunnels_open", .gauge, "Connections that pass bytes both ways after an upgrade.",
      difference(.tunnelsOpened, .tunnelsClosed))
    text.single("sluice_tunnels_total", .counter, "Connections that were upgraded.", total(.tunnelsOpened))
    text.single(
      "sluice_accept_pauses_total", .counter, "Times that accepting paused since descriptors had run out.",
      total(.acceptPauses))
  }

  private func writeTraffic(_ text: MetricsText) {
    text.family("sluice_received_bytes_total", .counter, "Bytes received, heads and bodies.")
    text.sample("sluice_received_bytes_total", [("peer", "client")], total(.clientBytesReceived))
    text.sample("sluice_received_bytes_total", [("peer", "upstream")], total(.upstreamBytesReceived))
    text.family("sluice_sent_bytes_total", .counter, "Bytes sent, heads and bodies.")
    text.sample("sluice_sent_bytes_total", [("peer", "client")], total(.clientBytesSent))
    text.sample("sluice_sent_bytes_total", [("peer", "upstream")], total(.upstreamBytesSent))
    text.family(
      "sluice_retries_total", .counter, "Requests sent once more, and those that were not for want of budget.")
    for reason in RetryReason.allCases {
      text.sample(
        "sluice_retries_total", [("reason", Self.snake("\(reason)"))], cells(Cell.retries + Int(reason.rawValue)))
    }
    text.single("sluice_mirrored_requests_total", .counter, "Requests copied to a mirror.", total(.requestsMirrored))
  }

  private func writeUpstreams(_ text: MetricsText) {
    text.single(
      "sluice_upstream_connections_opened_total", .counter, "Connections opened to upstreams.",
      total(.upstreamConnectionsOpened))
    text.single(
      "sluice_upstream_connections_open", .gauge, "Open connections to upstreams, idle ones included.",
      difference(.upstreamConnectionsOpened, .upstreamConnectionsClosed))
    text.single(
      "sluice_upstream_connections_reused_total", .counter, "Requests sent on a connection that was open.",
      total(.upstreamConnectionsReused))
    text.single(
      "sluice_upstream_connect_failures_total", .counter, "Failed attempts to connect to an upstream.",
      total(.upstreamConnectFailures))
    text.single(
      "sluice_upstream_queued_requests_total", .counter, "Requests that waited for a connection.",
      total(.upstreamRequestsQueued))
    text.single(
      "sluice_upstream_broken_responses_total", .counter, "Responses that broke the rules or ended early.",
      total(.upstreamResponsesBroken))
    text.single(
      "sluice_upstream_unasked_bytes_total", .counter,
      "Times that an endpoint sent bytes behind the end of a response.", total(.upstreamBytesUnasked))
  }

  private func writeLoops(_ text: MetricsText) {
    text.family("sluice_loop_turns_total", .counter, "Turns of each event loop.")
    for (index, loop) in loops.enumerated() {
      text.sample("sluice_loop_turns_total", [("loop", String(index))], loop.value(.turns))
    }
    text.family(
      "sluice_loop_turn_duration_seconds", .histogram, "How long a turn took: what its last event had to wait.")
    for (index, loop) in loops.enumerated() {
      write(.turn, of: [loop], "sluice_loop_turn_duration_seconds", [("loop", String(index))], text)
    }
  }

  private func write(_ histogram: Latency, _ name: String, _ help: String, _ text: MetricsText) {
    text.family(name, .histogram, help)
    write(histogram, of: loops, name, [], text)
  }

  private func write(
    _ histogram: Latency, of loops: some Sequence<LoopMetrics>, _ name: String, _ labels: [(String, String)],
    _ text: MetricsText
  ) {
    let start = Cell.histograms + Int(histogram.rawValue) * Cell.histogramCells
    let values = (0..<Cell.histogramCells).map { cell in Self.sum(loops) { $0.cells.value(at: start + cell) } }
    text.histogram(name, labels, sum: values[0], buckets: Array(values[1...]))
  }

  private func total(_ counter: Counter) -> UInt64 { Self.sum(loops) { $0.value(counter) } }

  func cells(_ index: Int) -> UInt64 { Self.sum(loops) { $0.cells.value(at: index) } }

  /// What has begun and not ended; a loop may count between the two readings, so the end is read first.
  private func difference(_ begun: Counter, _ ended: Counter) -> UInt64 {
    let over = total(ended)
    let sofar = total(begun)
    return sofar > over ? sofar - over : 0
  }

  private static func sum<Part>(_ parts: some Sequence<Part>, _ value: (Part) -> UInt64) -> UInt64 {
    parts.reduce(0) { $0 &+ value($1) }
  }

  /// A case's name as label values are written.
  static func snake(_ name: String) -> String {
    name.reduce(into: "") { text, character in
      if character.isUppercase { text += "_" }
      text += character.lowercased()
    }
  }
}
