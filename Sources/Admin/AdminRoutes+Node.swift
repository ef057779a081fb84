import Core
import Gateway
import Pipeline

extension AdminRoute {
  /// What every node offers: health for supervisors, metrics for Prometheus, its state for people.
  ///
  /// `facts` is called on the admin thread for each request that needs it.
  public static func node(metrics: Metrics, facts: @escaping @Sendable () -> NodeFacts) -> [AdminRoute] {
    [
      health, readiness(facts),
      AdminRoute(
        .get, "/metrics", role: .viewer, operation: "getMetrics", summary: "All metrics, in Prometheus' text format.",
        outcomes: [Outcome(200, "The metrics.", "text/plain; version=0.0.4; charset=utf-8")]
      ) { _ in
        let buffer = ByteBuffer()
        metrics.writeText(facts(), into: buffer)
        return AdminResponse(contentType: "text/plain; version=0.0.4; charset=utf-8", body: buffer.array)
      },
      AdminRoute(
        .get, "/v1/status", role: .viewer, operation: "getStatus", summary: "The state of this node.",
        outcomes: [Outcome(200, "The state.", "application/json", schema: "Status")]
      ) { request in
        let facts = facts()
        return .json { write(facts, metrics.shadowFacts, at: request.time, to: &$0) }
      },
    ]
  }

  private static var health: AdminRoute {
    AdminRoute(
      .get, "/healthz", role: nil, operation: "getHealth", summary: "Whether the process is alive.",
      outcomes: [Outcome(200, "It is.", "text/plain; charset=utf-8")]
    ) { _ in .text("ok\n") }
  }

  private static func readiness(_ facts: @escaping @Sendable () -> NodeFacts) -> AdminRoute {
    AdminRoute(
      .get, "/readyz", role: nil, operation: "getReadiness", summary: "Whether the node takes requests.",
      outcomes: [
        Outcome(200, "It does.", "text/plain; charset=utf-8"),
        Outcome(503, "It is starting or draining.", "application/problem+json", schema: "Problem"),
      ]
    ) { request in
      let facts = facts()
      return facts.isReady && !facts.isDraining ? .text("ready\n") : .problem(AdminProblem.notReady, request.decision)
    }
  }

  private static func write(
    _ facts: NodeFacts, _ shadows: [ShadowFacts], at time: WallTime, to json: inout JSONWriter
  ) {
    json.beginObject()
    json.key("version")
    json.string(facts.version)
    json.key("revision")
    json.integer(Int64(clamping: facts.revision))
    json.key("ready")
    json.bool(facts.isReady && !facts.isDraining)
    json.key("draining")
    json.bool(facts.isDraining)
    json.key("uptimeSeconds")
    json.integer(max(time.seconds - facts.startedAt.seconds, 0))
    json.key("upstreams")
    json.beginArray()
    for upstream in facts.upstreams { write(upstream, to: &json) }
    json.endArray()
    json.key("certificates")
    json.beginArray()
    for certificate in facts.certificates { write(certificate, to: &json) }
    json.endArray()
    json.key("issuers")
    json.beginArray()
    for issuer in facts.issuers { write(issuer, to: &json) }
    json.endArray()
    json.key("shadow")
    json.beginArray()
    for shadow in shadows {
      json.beginObject()
      json.key("policy")
      json.string(shadow.policy)
      json.key("passed")
      json.integer(Int64(clamping: shadow.passed))
      json.key("refused")
      json.integer(Int64(clamping: shadow.refused))
      json.endObject()
    }
    json.endArray()
    json.endObject()
  }

  private static func write(_ facts: CertificateFacts, to json: inout JSONWriter) {
    json.beginObject()
    json.key("certificate")
    json.string(facts.certificate)
    json.key("expires")
    json.string(CivilDate(facts.expiresAt).rfc3339)
    json.key("staple")
    if let staple = facts.staple {
      json.beginObject()
      json.key("present")
      json.bool(staple.isThere)
      json.key("expires")
      if let ends = staple.endsAt { json.string(CivilDate(ends).rfc3339) } else { json.null() }
      json.key("fault")
      if let fault = staple.fault { json.string(fault) } else { json.null() }
      json.endObject()
    } else {
      json.null()
    }
    json.endObject()
  }

  private static func write(_ facts: IssuerFacts, to json: inout JSONWriter) {
    json.beginObject()
    json.key("issuer")
    json.string(facts.issuer)
    json.key("keys")
    json.integer(Int64(facts.keys))
    json.key("fetched")
    if let time = facts.fetchedAt { json.string(CivilDate(time).rfc3339) } else { json.null() }
    json.key("fault")
    if let fault = facts.fault { json.string(fault) } else { json.null() }
    json.endObject()
  }

  private static func write(_ facts: UpstreamFacts, to json: inout JSONWriter) {
    json.beginObject()
    json.key("upstream")
    json.string(facts.upstream)
    json.key("endpoint")
    json.string(facts.endpoint)
    json.key("healthy")
    json.bool(facts.isHealthy)
    json.key("ejected")
    json.bool(facts.isEjected)
    json.key("activeRequests")
    json.integer(Int64(clamping: facts.activeRequests))
    json.key("requests")
    json.integer(Int64(clamping: facts.requests))
    json.key("failures")
    json.integer(Int64(clamping: facts.failures))
    json.endObject()
  }
}
