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
      line.text(head.extracting(record.requestID.offsets), limit: Limit.requestID)
      line.literal("\"")
    }
    if !record.userAgent.isEmpty {
      line.literal(",\"userAgent\":\"")
      line.text(head.extracting(record.userAgent.offsets), limit: Limit.userAgent)
      line.literal("\"")
    }
  }

  /// `"limits"`: how they were decided together, and how each level stands.
  @inline(never)
  func writeLimits(
    _ limits: LimitQuestion, first: Int32, _ names: NameTable, _ line: inout AccessLogLine
  ) {
    switch limits.decision {
    case .none: return
    case .admitted: line.literal(",\"limits\":{\"decision\":\"admitted\",\"levels\":[")
    case .denied: line.literal(",\"limits\":{\"decision\":\"denied\",\"levels\":[")
    case .waiting: line.literal(",\"limits\":{\"decision\":\"waiting\",\"levels\":[")
    case .unavailable: line.literal(",\"limits\":{\"decision\":\"unavailable\",\"levels\":[")
    }
    for index in 0..<limits.count {
      let level = limits[index]
      if index > 0 { line.byte(UInt8(ascii: ",")) }
      line.literal("{\"")
      let name = first &+ Int32(truncatingIfNeeded: index)
      if first >= 0 && names.contains(name) {
        line.literal("name\":\"")
        names.write(name, to: &line)
        line.literal("\",\"")
      }
      line.literal("remaining\":")
      line.decimal(level.remaining)
      if level.isDenied { line.literal(",\"denied\":true}") } else { line.byte(UInt8(ascii: "}")) }
    }
    line.literal("]}")
  }

  /// The most bytes that the line for `record` can take.
  @inline(__always)
  func bound(
    _ record: AccessRecord, limits: LimitQuestion, names: AccessNames,
    endpoints: NameTable
  ) -> Int {
    var foreign = min(Int(record.method.count), Limit.method) &+ min(Int(record.host.count), Limit.host)
    foreign &+= min(Int(record.path.count), Limit.path) &+ min(Int(record.userAgent.count), Limit.userAgent)
    foreign &+= min(Int(record.requestID.count), Limit.requestID)
    var known = names.routes.count(record.route) &+ names.consumers.count(record.consumer)
    known &+= names.keys.count(record.key) &+ endpoints.count(record.endpoint)
    if record.firstLimit >= 0 {
      for index in 0..<limits.count { known &+= names.limits.count(record.firstLimit &+ Int32(index)) }
    }
    return Self.fixedBytes &+ foreign &* AccessLogLine.growth &+ known &+ AccessLogLine.slack
  }

  /// Makes the beginning of all lines of a second.
  @inline(never)
  func stampSecond(_ time: WallTime) {
    second.store(time.seconds, ordering: .relaxed)
    let date = CivilDate(time)
    let buffer = ByteBuffer(capacity: 32)
    buffer.append("{\"time\":\"")
    Self.append(date.year, digits: 4, to: buffer)
    for (separator, value) in [
      ("-", date.month), ("-", date.day), ("T", date.hour), (":", date.minute), (":", date.second),
    ] {
      buffer.append(utf8: separator)
      Self.append(value, digits: 2, to: buffer)
    }
    buffer.append(".\0\0\0")
    for index in 0..<4 {
      let word = (0..<8).reduce(UInt64(0)) { $0 | UInt64(buffer[index * 8 + $1]) << UInt64($1 * 8) }
      stamp[index].store(word.littleEndian, ordering: .relaxed)
    }
  }

  private static func append(_ value: Int, digits: Int, to buffer: ByteBuffer) {
    var scale = 1
    for _ in 1..<digits { scale *= 10 }
    while scale > 0 {
      buffer.append(UInt8(truncatingIfNeeded: 48 + value / scale % 10))
      scale /= 10
    }
  }
}
