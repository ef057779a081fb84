// One line of JSON for every request.
//
// A line is written in one go into a block that the log's writer takes over, with room for the longest: no string, no
// allocation, no step that asks for room, no copy of what it says. Names of routes, consumers and endpoints stand ready,
// escaped; the time is made once for all requests that began together. What a client sent may be anything, so it is
// escaped until it is valid JSON in valid UTF-8: bytes that are neither become U+FFFD, control characters `\u00xx`. Long
// texts are cut, since a line should not be the way to fill a disk: host 255 bytes, path 2,048, user agent 256, request
// identifier 128.

import Core
import HTTP
import Pipeline

/// Formats the access log's lines. One object a loop; it remembers the moment and the client of the last line.
public final class AccessLog {
  /// How much of each text from outside is logged, in bytes.
  enum Limit {
    static let method = HeadLimits.methodBytes
    static let host = HeadLimits.hostBytes
    static let path = 2_048
    static let userAgent = 256
    static let requestID = 128
    /// A problem code and what stands around it.
    static let code = 64
    static let all = method + host + path + userAgent + requestID
  }

  /// The moment that ``opening`` says, in microseconds since 1970, and its second: the requests of one turn of the loop
  /// often began in one turn too.
  private var moment = Int64.min
  private var second = Int64.min
  /// `{"time":"2026-11-20T22:36:51.123456Z","decision":"` and nothing.
  private var opening = SIMD64<UInt8>()
  private static let openingBytes = 50
  /// The client last logged, as `","client":"192.0.2.1","method":"`: one that keeps its connection asks again, and writing
  /// an address anew costs more than any other part of the line.
  private var client = IPAddress(high: 0, low: 0)
  private var clientText = SIMD64<UInt8>()
  private var clientCount = 0
  private static let methodName: StaticString = "\",\"method\":\""

  /// A formatter.
  public init() { rememberClient(client) }

  /// Appends the line for a request to `block`.
  ///
  /// `head` is what the ranges of its texts lie in, best with sixteen bytes or more behind them all, `endpoints` the texts
  /// of upstream addresses. Costs some hundred instructions and no allocation unless the block must grow. `facts` is `inout`
  /// only so that they are read where they lie; nothing changes.
  @inline(__always)
  func write<Facts: AccessFacts>(
    _ facts: inout Facts, _ summary: AccessSummary, head: RawSpan, names: AccessNames, endpoints: NameTable,
    into block: ByteBuffer
  ) {
    if summary.time.microseconds != moment { stamp(summary.time) }
    if facts.address != client { rememberClient(facts.address) }
    // What the names reckon with, the longest upstream address, and the code of a refusal.
    let room = names.room &+ endpoints.longest &+ (facts.refusalCode?.utf8CodeUnitCount ?? 0)
    unsafe block.append(limit: room) { memory in
      var line = unsafe AccessLogLine(memory)
      line.prefix(opening, count: Self.openingBytes)
      line.prefix(facts.decisionText, count: 32)
      writeRequest(&facts, head, &line)
      writeOutcome(&facts, summary, &line)
      writeAnswerer(&facts, summary, endpoints, &line)
      names.routes.write(facts.routeIndex, to: &line)
      names.consumers.write(facts.consumerIndex, to: &line)
      if !names.keys.write(summary.key, to: &line), summary.key < -1 { facts.writeCaller(to: &line) }
      writeCorrelation(&facts, head, &line)
      writeLimits(&facts, first: summary.firstLimit, names.limits, &line)
      line.literal("}\n")
      return line.count
    }
  }

  /// Adds what policies in shadow would have done, where they would have refused, to the line that `block` ends with.
  @inline(never)
  func addShadows<Facts: AccessFacts>(
    _ facts: inout Facts, _ names: AccessNames, to block: ByteBuffer
  ) {
    guard facts.shadows.refused != 0 else { return }
    block.truncate(to: block.count - 2)
    unsafe block.append(limit: names.shadowRoom) { memory in
      var line = unsafe AccessLogLine(memory)
      writeShadows(&facts, names.shadows, &line)
      line.literal("}\n")
      return line.count
    }
  }

  /// `"client"`, and the name of the member `"method"` where there is one.
  @inline(__always)
  func writeClient(withMethod hasMethod: Bool, _ line: inout AccessLogLine) {
    line.prefix(clientText, count: hasMethod ? clientCount : clientCount &- Self.methodName.utf8CodeUnitCount)
  }
}

// MARK: - What stays the same from line to line

extension AccessLog {
  /// Makes the beginning of all lines of a moment.
  @inline(never)
  private func stamp(_ time: WallTime) {
    if time.seconds != second { stampSecond(time) }
    moment = time.microseconds
    let digits = DecimalDigits.eight(UInt64(truncatingIfNeeded: moment &- second &* 1_000_000)) &>> 16
    for index in 0..<6 { opening[29 &+ index] = UInt8(truncatingIfNeeded: digits &>> UInt64(8 &* index)) }
  }

  /// Makes the beginning of all lines of a second, but for the six digits of what is below it.
  private func stampSecond(_ time: WallTime) {
    second = time.seconds
    let date = CivilDate(time)
    let buffer = ByteBuffer()
    buffer.append("{\"time\":\"")
    Self.append(date.year, digits: 4, to: buffer)
    for (separator, value) in [
      ("-", date.month), ("-", date.day), ("T", date.hour), (":", date.minute), (":", date.second),
    ] {
      buffer.append(utf8: separator)
      Self.append(value, digits: 2, to: buffer)
    }
    buffer.append(".000000Z\",\"decision\":\"")
    precondition(buffer.count == Self.openingBytes)
    for index in 0..<Self.openingBytes { opening[index] = buffer[index] }
  }

  private static func append(_ value: Int, digits: Int, to buffer: ByteBuffer) {
    var scale = 1
    for _ in 1..<digits { scale *= 10 }
    while scale > 0 {
      buffer.append(UInt8(truncatingIfNeeded: 48 + value / scale % 10))
      scale /= 10
    }
  }

  /// Makes what lines say of a client.
  @inline(never)
  private func rememberClient(_ address: IPAddress) {
    client = address
    let buffer = ByteBuffer()
    buffer.append("\",\"client\":\"")
    // At most 39 characters.
    address.append(to: buffer)
    buffer.append(Self.methodName)
    clientCount = buffer.count
    for index in 0..<clientCount { clientText[index] = buffer[index] }
  }
}
