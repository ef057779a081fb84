import Core
import Pipeline

extension AccessLog {
  /// `"trace"`, `"span"` and `"request"`: how a line is found from elsewhere.
  @inline(__always)
  func writeCorrelation(_ record: AccessRecord, _ head: RawSpan, _ line: inout AccessLogLine) {
    if record.trace.traceHigh | record.trace.traceLow != 0 {
      line.literal(",\"trace\":\"")
      line.hexadecimal(record.trace.traceHigh)
      line.hexadecimal(record.trace.traceLow)
      line.literal("\",\"span\":\"")
      line.hexadecimal(record.trace.span)
      line.literal("\"")
    }
    if !record.requestID.isEmpty {
      line.literal(",\"request\":\"")
      line.text(head, record.requestID, limit: Limit.requestID)
      line.literal("\"")
    }
    if !record.userAgent.isEmpty {
      line.literal(",\"userAgent\":\"")
      line.text(head, record.userAgent, limit: Limit.userAgent)
      line.literal("\"")
    }
  }

  /// `"limits"`: how they were decided together, and how each level stands.
  @inline(never)
  func writeLimits(
    _ limits: inout LimitQuestion, first: Int32, _ names: NameTable, _ line: inout AccessLogLine
  ) {
    switch limits.decision {
    case .none: return
    case .admitted: line.literal(",\"limits\":{\"decision\":\"admitted\",\"levels\":[")
    case .denied: line.literal(",\"limits\":{\"decision\":\"denied\",\"levels\":[")
    case .waiting: line.literal(",\"limits\":{\"decision\":\"waiting\",\"levels\":[")
    case .unavailable: line.literal(",\"limits\":{\"decision\":\"unavailable\",\"levels\":[")
    }
    for index in 0..<limits.count {
      if index > 0 { line.byte(UInt8(ascii: ",")) }
      let name = first &+ Int32(truncatingIfNeeded: index)
      if first >= 0 && names.contains(name) {
        names.write(name, to: &line)
      } else {
        line.literal("{\"remaining\":")
      }
      line.decimal(limits[index].remaining)
      if limits[index].isDenied { line.literal(",\"denied\":true}") } else { line.byte(UInt8(ascii: "}")) }
    }
    line.literal("]}")
  }
}
