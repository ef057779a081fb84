import Core
import Testing

@testable import Commands

@Suite("BenchReport")
struct BenchReportTests {
  /// Two threads, three seconds, one of them short; everything occurs that a report can mention.
  private func result(_ words: String..., url: String = "http://127.0.0.1:8080/a?b=<c>&d") throws -> BenchResult {
    let arguments = try Arguments(words + ["-t", "2", url], options: Verb.bench.options)
    let plan = try BenchCommand.plan(arguments) { _ in .unix(path: "/x") }
    var collector = BenchCollector(threads: 2)
    for second in 0..<3 {
      for thread in 0..<2 {
        var tally = BenchTally()
        for number in 1...1000 {
          tally.latency.record(UInt64(number) * 1_000)
          tally.statuses[number % 10 == 0 ? 503 : 200] += 1
        }
        tally.started = 1001
        tally.receivedBytes = 123_456
        tally.lag.record(20_000)
        tally.fail(second == 1 ? .timeout : .broken)
        let length: Int64 = second == 2 ? 500_000_000 : 1_000_000_000
        _ = collector.add(
          thread: thread, second: second, nanoseconds: length, busyNanoseconds: length / 4, tally)
      }
    }
    for _ in 0..<2 { _ = collector.finish(planned: 3003, unfinished: 1, tail: BenchTally()) }
    return BenchResult(plan, collector, cpuNanoseconds: 12_000_000)
  }

  @Test("The JSON says what was measured, and adds up")
  func json() throws {
    let text = BenchJSON.render(try result("-R", "2402"))
    let outcome = JSONDocument.parse(Array(text.utf8), dialect: .strict)
    #expect(outcome.faults.isEmpty)
    let root = try #require(outcome.document?.root)
    #expect(root["responses"]?.integer == 6000 && root["requests"]?.integer == 6006)
    #expect(root["elapsedNanoseconds"]?.integer == 2_500_000_000)
    #expect(root["requestsPerSecond"]?.number == 2400)
    #expect(root["statuses"]?["503"]?.integer == 600 && root["statusClasses"]?["2xx"]?.integer == 5400)
    #expect(root["errors"]?["timeout"]?.integer == 2 && root["errors"]?["broken"]?.integer == 4)
    #expect(root["openLoop"]?["held"]?.bool == true && root["openLoop"]?["limitedBy"]?.kind == .null)
    #expect(root["generator"]?["cpuNanosecondsPerResponse"]?.number == 2000)
    let latency = try #require(root["latencyNanoseconds"])
    let median = try #require(latency["p50"]?.integer)
    #expect(median >= 500_000 && median <= 500_000 + 500_000 / 128)
    #expect(latency["max"]?.integer == 1_000_000 && latency["count"]?.integer == 6000)
    let buckets = latency["buckets"]?.elements ?? []
    #expect(buckets.reduce(0) { $0 + ($1.elements[1].integer ?? 0) } == 6000)
    #expect(root["seconds"]?.elements.map { $0["responses"]?.integer } == [2000, 2000, 2000])
    #expect(root["plan"]?["urls"]?.elements.first?.string == "http://127.0.0.1:8080/a?b=<c>&d")
  }

  @Test("The text holds the figures a person looks for")
  func text() throws {
    let text = BenchText.render(try result())
    for part in [
      "closed loop", "6,000", "2,400/s", "200 × 5,400", "503 × 600", "broken × 4", "timeout × 2", "p99.99", "1.00 ms",
      "2.00 µs CPU a response", "note: 2 requests had no answer",
    ] {
      #expect(text.contains(part), "\(part) is missing in\n\(text)")
    }
  }

  @Test("Handshakes and streams stand in every kind of report, and only where there are any")
  func protocols() throws {
    var result = try result("--h2", "-k", "--streams", "20", url: "https://a/")
    for nanoseconds: UInt64 in [1_000_000, 2_000_000] { result.total.handshakes.full.record(nanoseconds) }
    for _ in 0..<998 { result.total.handshakes.resumed.record(300_000) }
    (result.total.handshakes.failed, result.total.handshakes.fault) = (3, "no <good>")
    result.total.fail(.streamReset, count: 4)
    result.total.fail(.goAway, count: 5)
    result.streams = 8
    let root = try #require(
      JSONDocument.parse(Array(BenchJSON.render(result).utf8), dialect: .strict).document?.root)
    #expect(root["plan"]?["protocol"]?.string == "h2" && root["plan"]?["tls"]?.bool == true)
    #expect(root["plan"]?["streams"]?.integer == 8)
    #expect(root["errors"]?["streamReset"]?.integer == 4 && root["errors"]?["goAway"]?.integer == 5)
    let found = try #require(root["handshakes"])
    #expect(found["full"]?.integer == 2 && found["resumed"]?.integer == 998 && found["failed"]?.integer == 3)
    #expect(found["perSecond"]?.number == 400 && found["fullNanoseconds"]?["max"]?.integer == 2_000_000)
    #expect(found["resumedNanoseconds"]?["count"]?.integer == 998)
    let text = BenchText.render(result)
    for part in [
      "64 connections of 20 streams", "HTTP/2 over TLS", "streamReset × 4", "goAway × 5", "3 failed", "300 µs",
      "note: a connection carried 8 streams in place of 20", "note: 3 handshakes failed: no <good>",
    ] {
      #expect(text.contains(part), "\(part) is missing in\n\(text)")
    }
    let page = BenchHTML.render(result)
    #expect(Self.unbalanced(page) == [])
    for part in ["h2 over TLS", "full handshakes", "resumed handshakes", "no &lt;good&gt;"] {
      #expect(page.contains(part))
    }
    let plain = try self.result()
    #expect(!BenchJSON.render(plain).contains("handshakes") && !BenchText.render(plain).contains("handshake"))
    #expect(!BenchHTML.render(plain).contains("handshake"))
  }

  @Test("The page is well-formed, whole in itself, and shows every plot")
  func html() throws {
    let page = BenchHTML.render(try result("-R", "2402"))
    #expect(Self.unbalanced(page) == [])
    #expect(page.components(of: "<svg ") == 3 && page.components(of: "<figcaption>") == 3)
    for foreign in ["<script", "src=", "href=", "url(", "@import", "<link"] { #expect(!page.contains(foreign)) }
    #expect(page.contains("a?b=&lt;c&gt;&amp;d") && !page.contains("b=<c>"))
    #expect(page.contains("prefers-color-scheme: dark"))
    #expect(!page.contains("nan") && !page.contains("inf"))
  }

  @Test("A run without a single response still makes a page", arguments: [0, 1])
  func emptyPage(seconds: Int) throws {
    let plan = try result().plan
    var collector = BenchCollector(threads: 1)
    for second in 0..<seconds {
      _ = collector.add(thread: 0, second: second, nanoseconds: 1_000_000_000, busyNanoseconds: 0, BenchTally())
    }
    let empty = BenchResult(plan, collector, cpuNanoseconds: 0)
    #expect(Self.unbalanced(BenchHTML.render(empty)) == [])
    #expect(empty.status == .failed)
  }

  @Test("A long run is thinned out to what a plot can show and keeps its worst moments")
  func thinning() {
    let seconds = (0..<5000).map { index in
      BenchSecond(
        startNanoseconds: Int64(index) * 1_000_000_000, nanoseconds: 1_000_000_000, started: 1, completed: 1, failed: 0,
        receivedBytes: 1, p50: 1, p90: 1, p99: 1, maximum: index == 3210 ? 99 : 1, busyShare: 0)
    }
    let thin = BenchHTML.thin(seconds)
    #expect(thin.count <= BenchHTML.pointLimit)
    #expect(thin.reduce(0) { $0 + $1.completed } == 5000)
    #expect(thin.map(\.maximum).max() == 99)
  }

  @Test(
    "A verdict names who was too slow",
    arguments: [
      (0.5, 10, UInt64(10), BenchResult.Verdict.held), (0.5, 5000, 10, .serverTooSlow),
      (0.99, 5000, 10, .generatorTooSlow),
      (0.5, 10, 50_000_000, .generatorTooSlow),
    ])
  func verdicts(busy: Double, missing: UInt64, lag: UInt64, verdict: BenchResult.Verdict) throws {
    var result = try result("-R", "2402")
    result.busyShare = busy
    result.planned = result.total.started + missing
    for _ in 0..<10_000 { result.total.lag.record(lag) }
    #expect(result.verdict == verdict)
    #expect(result.status == (verdict == .held ? .done : .failed))
  }

  @Test(
    "Figures are written as people read them",
    arguments: [
      (BenchFormat.duration(999 as UInt64), "999 ns"), (BenchFormat.duration(87_540 as UInt64), "87.5 µs"),
      (BenchFormat.duration(999_600 as UInt64), "1.00 ms"), (BenchFormat.duration(12_345_678_900 as UInt64), "12.3 s"),
      (BenchFormat.count(1_234_567 as UInt64), "1,234,567"), (BenchFormat.count(999 as UInt64), "999"),
      (BenchFormat.count(12.34), "12.3"), (BenchFormat.bytes(0), "0 B"), (BenchFormat.bytes(1536), "1.50 KiB"),
      (BenchFormat.share(0.995), "100 %"), (BenchFormat.share(0.051), "5.1 %"), (BenchFormat.seconds(2.5), "2.50 s"),
      (BenchFormat.tick("10.0 ms"), "10 ms"), (BenchFormat.tick("2.50 s"), "2.5 s"), (BenchFormat.tick("0.0"), "0"),
      (BenchFormat.tick("20,000"), "20,000"), (BenchFormat.decimal(-1.05, 1), "-1.1"),
      (BenchFormat.decimal(0.004, 2), "0.00"),
    ])
  func formats(written: String, expected: String) {
    #expect(written == expected)
  }

  /// Names of elements that are not closed in the order in which they were opened.
  private static func unbalanced(_ page: String) -> [String] {
    var open: [String] = []
    var wrong: [String] = []
    for part in page.split(separator: "<").dropFirst() {
      let tag = part.prefix { $0 != ">" }
      let name = String(tag.drop { $0 == "/" }.prefix { $0.isLetter || $0.isNumber })
      if !part.contains(">") { wrong.append("unclosed tag \(name)") }
      if tag.hasPrefix("!") || tag.hasSuffix("/") || name == "meta" { continue }
      if tag.hasPrefix("/") {
        if open.popLast() != name { wrong.append(name) }
      } else {
        open.append(name)
      }
    }
    return wrong + open
  }
}

extension String {
  /// How often `part` occurs.
  fileprivate func components(of part: String) -> Int {
    var count = 0
    var rest = self[...]
    while let range = rest.firstRange(of: part) {
      count += 1
      rest = rest[range.upperBound...]
    }
    return count
  }
}
