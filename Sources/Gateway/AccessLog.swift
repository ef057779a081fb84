// One line of JSON for every request.
//
// A line is measured, then written in one go into a block that the log's writer takes over: no string, no allocation,
// no step that asks for room. Names of routes, consumers and endpoints stand ready, escaped; the date is made once a
// second. What a client sent may be anything, so it is escaped until it is valid JSON in valid UTF-8: bytes that are
// neither become U+FFFD, control characters `\u00xx`. Long texts are cut, since a line should not be the way to fill a
// disk: host 255 bytes, path 2,048, user agent 256, request identifier 128.

import Core
import HTTP
import Pipeline

/// Formats the access log's lines. One object a loop; it remembers the current second.
public final class AccessLog {
  /// How much of each text from outside is logged, in bytes.
  enum Limit {
    static let method = HeadLimits.methodBytes
    static let host = HeadLimits.hostBytes
    static let path = 2_048
    static let userAgent = 256
    static let requestID = 128
    static let all = method + host + path + userAgent + requestID
  }

  /// The second that ``stamp`` says, and `{"time":"2026-11-20T22:36:51.` with three bytes of nothing.
  private var second = Int64.min
  private var stamp = SIMD32<UInt8>()
  private static let stampBytes = 29
  /// The client last logged, as text: one that keeps its connection asks again, and writing an address anew costs more
  /// than any other part of the line.
  private var client = IPAddress(high: 0, low: 0)
  private var clientText = SIMD64<UInt8>()
  private var clientCount = 0
  private let clientScratch = ByteBuffer(capacity: SIMD64<UInt8>.scalarCount)

  /// A formatter.
  public init() { rememberClient(client) }

  /// Appends the line for `record` to `block`.
  ///
  /// `head` is what the record's ranges lie in, `limits` how the request's limits were decided, `endpoints` the texts
  /// of upstream addresses. Costs some hundred instructions and no allocation unless the block must grow. `limits` is
  /// `inout` only because its levels can then be read where they lie, without a copy of them all; nothing changes.
  public func write(
    _ record: AccessRecord, head: RawSpan, limits: inout LimitQuestion, names: AccessNames,
    endpoints: NameTable, into block: ByteBuffer
  ) {
    let seconds = record.time.seconds
    if seconds != second { stampSecond(record.time) }
    if record.client != client { rememberClient(record.client) }
    unsafe block.append(limit: Self.bound(record, names: names, endpoints: endpoints)) { memory in
      var line = unsafe AccessLogLine(memory)
      line.prefix(stamp, count: Self.stampBytes)
      line.microseconds(record.time.microseconds &- seconds &* 1_000_000)
      writeRequest(record, head, &line)
      writeOutcome(record, endpoints, &line)
      writeIdentity(record, names, &line)
      writeCorrelation(record, head, &line)
      if limits.decision != .none { writeLimits(&limits, first: record.firstLimit, names.limits, &line) }
      line.literal("}\n")
      return line.count
    }
  }

  /// The same for limits that cannot be lent; copies them.
  public func write(
    _ record: AccessRecord, head: RawSpan, limits: LimitQuestion, names: AccessNames,
    endpoints: NameTable, into block: ByteBuffer
  ) {
    var limits = limits
    write(record, head: head, limits: &limits, names: names, endpoints: endpoints, into: block)
  }

  /// The most bytes that the line for `record` can take.
  @inline(__always)
  private static func bound(_ record: AccessRecord, names: AccessNames, endpoints: NameTable) -> Int {
    let given = Int(record.method.count) &+ Int(record.host.count) &+ Int(record.path.count)
    let foreign = given &+ Int(record.userAgent.count) &+ Int(record.requestID.count)
    let known = names.longest &+ endpoints.longest &+ (record.refusal?.utf8CodeUnitCount ?? 0)
    return AccessLogLine.room(for: min(foreign, Limit.all) &* AccessLogLine.growth &+ known)
  }

  @inline(__always)
  private func writeRequest(_ record: AccessRecord, _ head: RawSpan, _ line: inout AccessLogLine) {
    line.literal("Z\",\"decision\":\"")
    line.hexadecimal(record.decision.high)
    line.hexadecimal(record.decision.low)
    line.literal("\",\"client\":\"")
    line.prefix(clientText, count: clientCount)
    if !record.method.isEmpty {
      line.literal("\",\"method\":\"")
      line.text(head, record.method, limit: Limit.method)
    }
    if record.isSecure { line.literal("\",\"scheme\":\"https") } else { line.literal("\",\"scheme\":\"http") }
    if !record.host.isEmpty {
      line.literal("\",\"host\":\"")
      line.text(head, record.host, limit: Limit.host)
    }
    if !record.path.isEmpty {
      line.literal("\",\"path\":\"")
      line.text(head, record.path, limit: Limit.path)
    }
    if record.isHTTP10 {
      line.literal("\",\"protocol\":\"HTTP/1.0\"")
    } else {
      line.literal("\",\"protocol\":\"HTTP/1.1\"")
    }
  }

  @inline(__always)
  private func writeOutcome(
    _ record: AccessRecord, _ endpoints: NameTable, _ line: inout AccessLogLine
  ) {
    line.literal(",\"status\":")
    line.decimal(Int64(record.status))
    line.literal(",\"received\":")
    line.decimal(record.received)
    line.literal(",\"sent\":")
    line.decimal(record.sent)
    line.literal(",\"durationMicroseconds\":")
    line.decimal(record.nanoseconds / 1_000)
    if endpoints.contains(record.endpoint) {
      line.literal(",\"upstream\":\"")
      endpoints.write(record.endpoint, to: &line)
      line.literal("\"")
    }
    if record.upstreamNanoseconds >= 0 {
      line.literal(",\"upstreamMicroseconds\":")
      line.decimal(record.upstreamNanoseconds / 1_000)
    }
    if record.attempts > 0 {
      line.literal(",\"attempts\":")
      line.decimal(Int64(record.attempts))
    }
    if let code = record.refusal {
      line.literal(",\"refusal\":\"")
      line.plain(code)
      line.literal("\"")
    }
  }

  @inline(__always)
  private func writeIdentity(_ record: AccessRecord, _ names: AccessNames, _ line: inout AccessLogLine) {
    if names.routes.contains(record.route) { names.routes.write(record.route, to: &line) }
    if names.consumers.contains(record.consumer) { names.consumers.write(record.consumer, to: &line) }
    if names.keys.contains(record.key) { names.keys.write(record.key, to: &line) }
  }
}

// MARK: - What stays the same from line to line

extension AccessLog {
  /// Makes the beginning of all lines of a second.
  @inline(never)
  private func stampSecond(_ time: WallTime) {
    second = time.seconds
    let date = CivilDate(time)
    let buffer = ByteBuffer(capacity: SIMD32<UInt8>.scalarCount)
    buffer.append("{\"time\":\"")
    Self.append(date.year, digits: 4, to: buffer)
    for (separator, value) in [
      ("-", date.month), ("-", date.day), ("T", date.hour), (":", date.minute), (":", date.second),
    ] {
      buffer.append(utf8: separator)
      Self.append(value, digits: 2, to: buffer)
    }
    buffer.append(UInt8(ascii: "."))
    for index in 0..<Self.stampBytes { stamp[index] = buffer[index] }
  }

  private static func append(_ value: Int, digits: Int, to buffer: ByteBuffer) {
    var scale = 1
    for _ in 1..<digits { scale *= 10 }
    while scale > 0 {
      buffer.append(UInt8(truncatingIfNeeded: 48 + value / scale % 10))
      scale /= 10
    }
  }

  /// Makes the text of a client's address.
  @inline(never)
  private func rememberClient(_ address: IPAddress) {
    client = address
    clientScratch.removeAll()
    address.append(to: clientScratch)
    clientCount = clientScratch.count
    for index in 0..<clientCount { clientText[index] = clientScratch[index] }
  }
}
