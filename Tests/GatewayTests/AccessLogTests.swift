import Core
import Foundation
import HTTP
import Pipeline
import Testing

@testable import Gateway

@Suite struct AccessLogTests {
  private let names = AccessNames(
    routes: ["orders-v1", "in \"quotes\""], consumers: ["mobile-app"], keys: ["k1"], limits: ["a per key", "b per ip"],
    shadows: ["first", "second"])

  /// A record whose request line, host and agent are `method`, `path`, `host` and `agent`.
  private func record(
    method: [UInt8] = Array("GET".utf8), path: [UInt8] = Array("/v1/orders".utf8),
    host: [UInt8] = Array("api.example.com".utf8), agent: [UInt8] = []
  ) -> (AccessRecord, [UInt8]) {
    var record = AccessRecord()
    var head: [UInt8] = []
    func add(_ bytes: [UInt8]) -> ByteRange {
      defer { head += bytes }
      return ByteRange(start: UInt32(head.count), count: UInt32(bytes.count))
    }
    record.method = add(method)
    record.path = add(path)
    record.host = add(host)
    record.userAgent = add(agent)
    record.time = WallTime(microseconds: 1_795_300_200_000_042)
    record.client = IPAddress(v4: 0xc000_0201)
    record.status = 200
    return (record, head)
  }

  private func line(
    _ record: AccessRecord, _ head: [UInt8], _ limits: LimitQuestion = LimitQuestion(), log: AccessLog = AccessLog(),
    behind: Int = ByteBuffer.slack
  ) -> String {
    let block = ByteBuffer()
    let endpoints = NameTable(["127.0.0.1:9001"])
    var record = record
    record.limits = limits
    // What is behind the head is read, and must not matter.
    let memory = head + [UInt8](repeating: UInt8(ascii: "\""), count: behind)
    log.write(&record, record.summary, head: RawSpan(memory), names: names, endpoints: endpoints, into: block)
    log.addShadows(&record, names, to: block)
    let bytes = (0..<block.count).map { block[$0] }
    // A decoder that repairs nothing: what is not UTF-8 must not be written at all.
    return String(bytes: bytes, encoding: .utf8) ?? "not UTF-8"
  }

  private func object(_ line: String) throws -> [String: Any] {
    #expect(line.hasSuffix("}\n"))
    #expect(line.dropLast().allSatisfy { !$0.isNewline })
    return try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
  }

  @Test("every byte value in every place gives valid JSON on one line", arguments: [0, 7, 15, 16, 17, 31, 40])
  func anyByte(place: Int) throws {
    for byte in UInt8.min...UInt8.max {
      var agent =
        Array(repeating: UInt8(ascii: "a"), count: place) + [byte] + Array(repeating: UInt8(ascii: "b"), count: 20)
      agent.append(byte)
      let (record, head) = record(agent: agent)
      let text = try #require(try object(line(record, head))["userAgent"] as? String)
      if byte < 0x80 { #expect(Array(text.utf8) == agent) } else { #expect(text.contains("\u{fffd}")) }
      #expect(line(record, head) == line(record, head, behind: 0))
    }
  }

  @Test("texts of every length are whole, wherever the head ends", arguments: [0, 1, 15, 16, 17, 64])
  func anyLength(behind: Int) throws {
    for count in 1...70 {
      let text = (0..<count).map { UInt8(ascii: "a") + UInt8($0 % 26) }
      let (record, head) = record(method: [UInt8](text.prefix(32)), path: text, host: text, agent: text)
      let object = try object(line(record, head, behind: behind))
      for member in ["path", "host", "userAgent"] { #expect(Array((object[member] as? String ?? "").utf8) == text) }
      #expect(Array((object["method"] as? String ?? "").utf8) == Array(text.prefix(32)))
    }
  }

  @Test(
    "broken UTF-8 is replaced and whole UTF-8 kept",
    arguments: [
      ([0xc3, 0xa4], "ä"), ([0xf0, 0x9f, 0x9a, 0xb0], "🚰"), ([0xe2, 0x82, 0xac], "€"),
      ([0xc0, 0xaf], "\u{fffd}\u{fffd}"), ([0xed, 0xa0, 0x80], "\u{fffd}\u{fffd}\u{fffd}"),
      ([0xe2, 0x82], "\u{fffd}\u{fffd}"),
      ([0xf4, 0x90, 0x80, 0x80], "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"), ([0xff], "\u{fffd}"), ([0xc2, 0x9b], "\u{9b}"),
    ] as [([UInt8], String)])
  func unicode(bytes: [UInt8], text: String) throws {
    let (record, head) = record(path: bytes)
    #expect(try object(line(record, head))["path"] as? String == text)
  }

  @Test("control characters that a terminal obeys never stand in the line as they are")
  func terminal() {
    let (record, head) = record(path: [0x1b, 0x5b, 0x33, 0x31, 0x6d, 0x7f, 0xc2, 0x9b])
    let text = line(record, head).dropLast()
    #expect(text.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) })
    #expect(text.contains(#"\u001b[31m\u007f\u009b"#))
  }

  @Test("texts are cut at their limits and the line stays whole")
  func long() throws {
    let hostile = [UInt8](repeating: 1, count: 9_000)
    let (record, head) = record(method: hostile, path: hostile, host: hostile, agent: hostile)
    let object = try object(line(record, head))
    #expect((object["path"] as? String)?.utf8.count == 2_048)
    #expect((object["host"] as? String)?.utf8.count == 255)
    #expect((object["userAgent"] as? String)?.utf8.count == 256)
    #expect((object["method"] as? String)?.utf8.count == 32)
  }

  @Test("a request of which nothing is known has the members that always are")
  func empty() throws {
    let object = try object(line(AccessRecord(), []))
    let expected = [
      "time", "decision", "client", "scheme", "protocol", "status", "received", "sent", "durationMicroseconds",
    ]
    #expect(Set(object.keys) == Set(expected))
    #expect(object["time"] as? String == "1970-01-01T00:00:00.000000Z")
  }

  @Test("a request that went all the way is told in full")
  func full() throws {
    var (record, head) = record(agent: Array("curl/8.5.0".utf8))
    record.decision = DecisionID(high: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210)
    record.trace = TraceContext(traceHigh: 1, traceLow: 2, span: 3, isSampled: true)
    record.isSecure = true
    record.received = 312
    record.sent = 9_876_543_210
    record.nanoseconds = 1_234_567
    record.upstreamNanoseconds = 999_999
    record.endpoint = 0
    record.route = 1
    record.consumer = 0
    record.key = 0
    record.attempts = 2
    record.requestID = record.method
    let text = line(record, head)
    #expect(
      text == #"{"time":"2026-11-21T22:30:00.000042Z","decision":"0123456789abcdeffedcba9876543210","#
        + #""client":"192.0.2.1","method":"GET","scheme":"https","host":"api.example.com","path":"/v1/orders","#
        + #""protocol":"HTTP/1.1","status":200,"received":312,"sent":9876543210,"durationMicroseconds":1234,"#
        + #""upstream":"127.0.0.1:9001","upstreamMicroseconds":999,"attempts":2,"route":"in \"quotes\"","#
        + #""consumer":"mobile-app","key":"k1","trace":"00000000000000010000000000000002","span":"0000000000000003","#
        + #""request":"GET","userAgent":"curl/8.5.0"}"# + "\n")
  }

  @Test("a denied request names its code and every limit with what is left")
  func denied() throws {
    var (record, head) = record()
    record.status = 429
    record.refusal = "rate-limited"
    record.firstLimit = 0
    var limits = LimitQuestion()
    let zero = CivilPeriod(start: WallTime(microseconds: 0), end: WallTime(microseconds: 0))
    for index in 0..<3 {
      var level = QuotaLevel(
        key: QuotaKey(low: 0, high: 0), rule: .window(limit: 10, lengthMicroseconds: 1), cost: 1, period: zero)
      level.remaining = Int64(index)
      level.isDenied = index == 0
      limits.append(level)
    }
    limits.decision = .denied
    let text = line(record, head, limits)
    #expect(try object(text)["refusal"] as? String == "rate-limited")
    #expect(
      text.contains(
        #""limits":{"decision":"denied","levels":[{"name":"a per key","remaining":0,"denied":true},"#
          + #"{"name":"b per ip","remaining":1},{"remaining":2}]}"#))
    limits.source = .denyCache
    #expect(line(record, head, limits).contains(#""limits":{"decision":"denied","mode":"denycache","levels":[{"name""#))
  }

  @Test("Policies in shadow are named where they would have refused, however many")
  func shadows() throws {
    var (record, head) = record()
    #expect(!line(record, head).contains("shadow"))
    for index in 0..<ShadowVerdicts.capacity { record.shadows.note(index, isRefusal: index > 0) }
    record.firstShadow = 0
    let found = try #require(object(line(record, head))["shadow"] as? [[String: String]])
    #expect(found.count == ShadowVerdicts.capacity - 1)
    #expect(found[0] == ["policy": "second", "code": "some-code"])
    #expect(found[1] == ["code": "some-code"])
  }

  @Test("IPv6 clients are written in their canonical form")
  func v6() throws {
    var (record, head) = record()
    record.client = IPAddress(high: 0x2001_0db8_0000_0000, low: 1)
    #expect(try object(line(record, head))["client"] as? String == "2001:db8::1")
  }

  @Test("numbers of every length are written exactly")
  func numbers() throws {
    var (record, head) = record()
    var value: Int64 = 9
    while true {
      record.sent = value
      #expect(line(record, head).contains("\"sent\":\(value),"))
      let (next, overflow) = value.multipliedReportingOverflow(by: 10)
      if overflow { break }
      record.sent = value + 1
      #expect(line(record, head).contains("\"sent\":\(value + 1),"))
      value = next + 9
    }
    for value in Int64(0)..<3_000 {
      record.sent = value * 777
      #expect(line(record, head).contains("\"sent\":\(value * 777),"))
      record.status = UInt16(value)
      #expect(line(record, head).contains("\"status\":\(value),"))
    }
    record.sent = .max
    #expect(line(record, head).contains("\"sent\":9223372036854775807,"))
    record.sent = -5
    #expect(line(record, head).contains("\"sent\":0,"))
  }

  @Test(
    "the date of a line is right at the edges of days, months and leap years",
    arguments: [
      (951_782_399, "2000-02-28T23:59:59"), (951_782_400, "2000-02-29T00:00:00"),
      (4_107_542_399, "2100-02-28T23:59:59"),
      (4_107_542_400, "2100-03-01T00:00:00"), (-1, "1969-12-31T23:59:59"), (1_767_225_599, "2025-12-31T23:59:59"),
      (253_402_300_799, "9999-12-31T23:59:59"),
    ] as [(Int64, String)])
  func dates(seconds: Int64, text: String) throws {
    var (record, head) = record()
    let log = AccessLog()
    record.time = WallTime(microseconds: (seconds - 1) * 1_000_000)
    _ = line(record, head, log: log)
    record.time = WallTime(microseconds: seconds * 1_000_000 + 123_456)
    #expect(try object(line(record, head, log: log))["time"] as? String == text + ".123456Z")
  }
}
