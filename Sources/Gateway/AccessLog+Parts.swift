import Core
import Pipeline

extension AccessLog {
  /// Who asked for what: `"client"` to `"path"`.
  @inline(__always)
  func writeRequest<Facts: AccessFacts>(_ facts: inout Facts, _ head: RawSpan, _ line: inout AccessLogLine) {
    writeClient(withMethod: !facts.texts.method.isEmpty, &line)
    // Methods are tokens, and hosts have been read letter by letter.
    if !facts.texts.method.isEmpty { line.safeText(head, facts.texts.method, limit: Limit.method) }
    if facts.isSecure { writeSecurity(facts.tls, &line) } else { line.literal("\",\"scheme\":\"http") }
    if !facts.texts.host.isEmpty {
      line.literal("\",\"host\":\"")
      line.safeText(head, facts.texts.host, limit: Limit.host)
    }
    if !facts.texts.path.isEmpty {
      line.literal("\",\"path\":\"")
      line.text(head, facts.texts.path, limit: Limit.path)
    }
  }

  /// `"scheme"` and what its TLS is.
  private func writeSecurity(_ tls: AccessTLS?, _ line: inout AccessLogLine) {
    if let tls {
      if tls.isTLS13 { line.literal("\",\"tls\":\"1.3") } else { line.literal("\",\"tls\":\"1.2") }
      if tls.isResumed {
        line.literal("\",\"resumed\":true,\"scheme\":\"https")
      } else {
        line.literal("\",\"scheme\":\"https")
      }
    } else {
      line.literal("\",\"scheme\":\"https")
    }
  }

  /// How it ended: `"protocol"` to `"durationMicroseconds"`.
  @inline(__always)
  func writeOutcome<Facts: AccessFacts>(
    _ facts: inout Facts, _ summary: AccessSummary, _ line: inout AccessLogLine
  ) {
    if facts.isHTTP10 {
      line.literal("\",\"protocol\":\"HTTP/1.0\",\"status\":")
    } else if facts.isHTTP2 {
      line.literal("\",\"protocol\":\"HTTP/2\",\"status\":")
    } else {
      line.literal("\",\"protocol\":\"HTTP/1.1\",\"status\":")
    }
    line.decimal(Int64(facts.status))
    line.literal(",\"received\":")
    line.decimal(summary.receivedBytes)
    line.literal(",\"sent\":")
    line.decimal(facts.sentBytes)
    line.literal(",\"durationMicroseconds\":")
    line.decimal(summary.microseconds)
  }

  /// Who answered: `"upstream"` to `"refusal"`.
  @inline(__always)
  func writeAnswerer<Facts: AccessFacts>(
    _ facts: inout Facts, _ summary: AccessSummary, _ endpoints: NameTable, _ line: inout AccessLogLine
  ) {
    endpoints.write(facts.endpointIndex, to: &line)
    if summary.upstreamMicroseconds >= 0 {
      line.literal(",\"upstreamMicroseconds\":")
      line.decimal(summary.upstreamMicroseconds)
    }
    if facts.attempts > 0 {
      line.literal(",\"attempts\":")
      line.decimal(Int64(facts.attempts))
    }
    if let code = facts.refusalCode {
      line.literal(",\"refusal\":\"")
      line.plain(code)
      line.literal("\"")
    }
  }

  /// `"trace"` to `"userAgent"`: how a line is found from elsewhere.
  @inline(__always)
  func writeCorrelation<Facts: AccessFacts>(_ facts: inout Facts, _ head: RawSpan, _ line: inout AccessLogLine) {
    if facts.trace.traceHigh | facts.trace.traceLow != 0 {
      line.literal(",\"trace\":\"")
      line.hexadecimal(facts.trace.traceHigh, facts.trace.traceLow)
      line.literal("\",\"span\":\"")
      line.hexadecimal(facts.trace.span)
      line.literal("\"")
    }
    if !facts.texts.requestID.isEmpty {
      line.literal(",\"request\":\"")
      line.text(head, facts.texts.requestID, limit: Limit.requestID)
      line.literal("\"")
    }
    if !facts.texts.userAgent.isEmpty {
      line.literal(",\"userAgent\":\"")
      line.longText(head, facts.texts.userAgent, limit: Limit.userAgent)
      line.literal("\"")
    }
  }

  /// `"limits"`: how they were decided together, by whom where a shared store might have been asked, and how each level
  /// stands.
  @inline(__always)
  func writeLimits<Facts: AccessFacts>(
    _ facts: inout Facts, first: Int32, _ names: NameTable, _ line: inout AccessLogLine
  ) {
    switch facts.limitDecision {
    case .none: return
    case _ where facts.limitSource != .embedded: writeMode(facts.limitDecision, facts.limitSource, &line)
    case .admitted: line.literal(",\"limits\":{\"decision\":\"admitted\",\"levels\":[")
    case .denied: line.literal(",\"limits\":{\"decision\":\"denied\",\"levels\":[")
    case .waiting: line.literal(",\"limits\":{\"decision\":\"waiting\",\"levels\":[")
    case .unavailable, .stale: line.literal(",\"limits\":{\"decision\":\"unavailable\",\"levels\":[")
    }
    for index in 0..<facts.limitCount {
      if index > 0 { line.byte(UInt8(ascii: ",")) }
      let name = first &+ Int32(truncatingIfNeeded: index)
      if first < 0 || !names.write(name, to: &line) { line.literal("{\"remaining\":") }
      let level = facts.limit(index)
      line.decimal(level.remaining)
      if level.isDenied { line.literal(",\"denied\":true") }
      line.byte(UInt8(ascii: "}"))
    }
    line.literal("]}")
  }

  /// `"shadow"`: the policies that would have refused the request, had they been in force, and why.
  @inline(never)
  func writeShadows<Facts: AccessFacts>(
    _ facts: inout Facts, _ names: NameTable, _ line: inout AccessLogLine
  ) {
    let first = facts.firstShadow
    line.plain(",\"shadow\":[")
    var isFirst = true
    for index in 0..<ShadowVerdicts.capacity where facts.shadows.hasRefused(index) {
      let name = first &+ Int32(truncatingIfNeeded: index)
      if !isFirst { line.byte(UInt8(ascii: ",")) }
      if first < 0 || !names.write(name, to: &line) { line.plain("{\"code\":\"") }
      line.plain(facts.shadowCode(index))
      line.plain("\"}")
      isFirst = false
    }
    line.plain("]")
  }

  /// The beginning of `"limits"` where a shared store might have been asked.
  @inline(__always)
  private func writeMode(_ decision: LimitDecision, _ source: LimitSource, _ line: inout AccessLogLine) {
    switch decision {
    case .none, .admitted: line.plain(",\"limits\":{\"decision\":\"admitted\",\"mode\":\"")
    case .denied: line.plain(",\"limits\":{\"decision\":\"denied\",\"mode\":\"")
    case .waiting: line.plain(",\"limits\":{\"decision\":\"waiting\",\"mode\":\"")
    case .unavailable, .stale: line.plain(",\"limits\":{\"decision\":\"unavailable\",\"mode\":\"")
    }
    line.plain(source.label.name)
    line.plain("\",\"levels\":[")
  }
}
