extension NodeFacts {
  /// The families about upstreams and their endpoints.
  func writeUpstreams(_ text: MetricsText) {
    endpoint(text, "healthy", .gauge, "Whether active checks find the endpoint alive.") { $0.isHealthy ? 1 : 0 }
    endpoint(text, "ejected", .gauge, "Whether the endpoint is left out for its failures.") { $0.isEjected ? 1 : 0 }
    endpoint(text, "active_requests", .gauge, "Requests in progress on the endpoint.", \.activeRequests)
    endpoint(text, "requests_total", .counter, "Requests sent to the endpoint.", \.requests)
    endpoint(text, "failures_total", .counter, "Requests that failed on the endpoint.", \.failures)
    endpoint(text, "ejections_total", .counter, "Times that the endpoint was left out for its failures.", \.ejections)
    upstream(text, "connections", .gauge, "Connections to the upstream that are open or being opened.", \.connections)
    upstream(text, "pending_requests", .gauge, "Requests that wait for a connection.", \.pendingRequests)
    upstream(text, "overflows_total", .counter, "Requests that a bound of the circuit breaker refused.", \.overflows)
    upstream(text, "retries_total", .counter, "Retries begun for the upstream.", \.retries)
    upstream(text, "refused_retries_total", .counter, "Retries that the budget refused.", \.refusedRetries)
  }

  /// The families about certificates.
  func writeCertificates(_ text: MetricsText) {
    text.family(
      "sluice_tls_certificate_expiry_time_seconds", .gauge, "Until when a certificate is good, in seconds since 1970.")
    for facts in certificates {
      text.sample(
        "sluice_tls_certificate_expiry_time_seconds", [("certificate", facts.certificate)],
        UInt64(max(facts.expiresAt.seconds, 0)))
    }
    text.family(
      "sluice_tls_staple_expiry_time_seconds", .gauge,
      "Until when the OCSP response holds that was fetched for a certificate, in seconds since 1970; 0 where there is none."
    )
    for facts in certificates {
      guard let staple = facts.staple else { continue }
      text.sample(
        "sluice_tls_staple_expiry_time_seconds", [("certificate", facts.certificate)],
        UInt64(max(staple.endsAt?.seconds ?? 0, 0)))
    }
  }

  /// The families about issuers.
  func writeIssuers(_ text: MetricsText) {
    text.family("sluice_issuer_fetches_total", .counter, "Questions to an issuer for its keys.")
    for facts in issuers {
      text.sample("sluice_issuer_fetches_total", [("issuer", facts.issuer), ("outcome", "ok")], facts.successes)
      text.sample("sluice_issuer_fetches_total", [("issuer", facts.issuer), ("outcome", "failed")], facts.failures)
    }
    text.family("sluice_issuer_keys", .gauge, "Keys of an issuer that are known.")
    for facts in issuers {
      text.sample("sluice_issuer_keys", [("issuer", facts.issuer)], UInt64(facts.keys))
    }
    text.family(
      "sluice_issuer_keys_fetch_time_seconds", .gauge,
      "When an issuer's keys were last fetched, in seconds since 1970; 0 where that has not happened.")
    for facts in issuers {
      text.sample(
        "sluice_issuer_keys_fetch_time_seconds", [("issuer", facts.issuer)],
        UInt64(max(facts.fetchedAt?.seconds ?? 0, 0)))
    }
  }

  private func endpoint(
    _ text: MetricsText, _ name: String, _ kind: MetricsText.Kind, _ help: String, _ value: (UpstreamFacts) -> UInt64
  ) {
    text.family("sluice_upstream_\(name)", kind, help)
    for facts in upstreams {
      text.sample(
        "sluice_upstream_\(name)", [("upstream", facts.upstream), ("endpoint", facts.endpoint)], value(facts))
    }
  }

  private func upstream(
    _ text: MetricsText, _ name: String, _ kind: MetricsText.Kind, _ help: String, _ value: (UpstreamLoad) -> UInt64
  ) {
    text.family("sluice_upstream_\(name)", kind, help)
    for load in loads { text.sample("sluice_upstream_\(name)", [("upstream", load.upstream)], value(load)) }
  }
}
