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
import Synchronization

/// Formats the access log's lines. One object a loop; it remembers the current second.
public final class AccessLog {
  /// How much of each text from outside is logged, in bytes.
  enum Limit {
    static let method = HeadLimits.methodBytes
    static let host = HeadLimits.hostBytes
    static let path = 2_048
    static let userAgent = 256
    static let requestID = 128
  }

  /// Room for all that is not text of variable length: 25 members with their names, numbers and quotation marks, and
  /// eight limits.
  static let fixedBytes = 2_048

  /// The second that ``stamp`` says. Both are atomic although one thread uses them: a variable of a class costs a check
  /// for exclusive access each time it is read, an atomic constant none.
  let second = Atomic<Int64>(.min)
  /// `{"time":"2026-11-20T22:36:51.`, and three bytes of nothing.
  let stamp = InlineArray<4, Atomic<UInt64>> { _ in Atomic(0) }
  private static let stampBytes = 29
  private let scratch = ByteBuffer(capacity: 64)

  /// A formatter.
  public init() {}

  /// Appends the line for `record` to `block`.
  ///
  /// `head` is what the record's ranges lie in, `limits` how the request's limits were decided, `endpoints` the texts
  /// of upstream addresses. Costs some hundred instructions and no allocation unless the block must grow.
  public func write(
    _ record: AccessRecord, head: RawSpan, limits: LimitQuestion, names: AccessNames,
    endpoints: NameTable, into block: ByteBuffer
  ) {
    let seconds = record.time.seconds
    if seconds != second.load(ordering: .relaxed) { stampSecond(record.time) }
    unsafe block.append(limit: bound(record, limits: limits, names: names, endpoints: endpoints)) { memory in
      var line = unsafe AccessLogLine(memory)
      for index in 0..<4 { line.word(stamp[index].load(ordering: .relaxed), at: index &* 8) }
      line.skip(Self.stampBytes)
      line.microseconds(record.time.microseconds &- seconds &* 1_000_000)
      writeRequest(record, head, &line)
      writeOutcome(record, endpoints, &line)
      writeIdentity(record, names, &line)
      writeCorrelation(record, head, &line)
      if limits.decision != .none { writeLimits(limits, first: record.firstLimit, names.limits, &line) }
      line.literal("}\n")
      return line.count
    }
  }

  @inline(__always)
  private func writeRequest(_ record: AccessRecord, _ head: RawSpan, _ line: inout AccessLogLine) {
    line.literal("Z\",\"decision\":\"")
    line.hexadecimal(record.decision.high)
    line.hexadecimal(record.decision.low)
    line.literal("\",\"client\":\"")
    line.address(record.client, scratch: scratch)
    if !record.method.isEmpty {
      line.literal("\",\"method\":\"")
      line.text(head.extracting(record.method.offsets), limit: Limit.method)
    }
    if record.isSecure { line.literal("\",\"scheme\":\"https") } else { line.literal("\",\"scheme\":\"http") }
    if !record.host.isEmpty {
      line.literal("\",\"host\":\"")
      line.text(head.extracting(record.host.offsets), limit: Limit.host)
    }
    if !record.path.isEmpty {
      line.literal("\",\"path\":\"")
      line.text(head.extracting(record.path.offsets), limit: Limit.path)
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
      line.literal(code)
      line.literal("\"")
    }
  }

  @inline(__always)
  private func writeIdentity(_ record: AccessRecord, _ names: AccessNames, _ line: inout AccessLogLine) {
    if names.routes.contains(record.route) {
      line.literal(",\"route\":\"")
      names.routes.write(record.route, to: &line)
      line.literal("\"")
    }
    if names.consumers.contains(record.consumer) {
      line.literal(",\"consumer\":\"")
      names.consumers.write(record.consumer, to: &line)
      line.literal("\"")
    }
    if names.keys.contains(record.key) {
      line.literal(",\"key\":\"")
      names.keys.write(record.key, to: &line)
      line.literal("\"")
    }
  }
}
