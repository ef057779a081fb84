import Core
import Testing

@testable import Commands

@Suite("BenchComparison")
struct BenchComparisonTests {
  /// A second in which every response took so long.
  private func result(_ url: String, responses: Int, nanoseconds: UInt64) throws -> BenchResult {
    let plan = try BenchCommand.plan(try Arguments([url], options: Verb.bench.options)) { _ in .unix(path: "/x") }
    var collector = BenchCollector(threads: 1)
    var tally = BenchTally()
    for _ in 0..<responses {
      tally.latency.record(nanoseconds)
      tally.statuses[200] += 1
    }
    tally.started = UInt64(responses)
    _ = collector.add(thread: 0, second: 0, nanoseconds: 1_000_000_000, busyNanoseconds: 0, tally)
    _ = collector.finish(planned: 0, unfinished: 0, tail: BenchTally())
    return BenchResult(plan, collector, cpuNanoseconds: 1)
  }

  @Test(
    "What cannot be compared is refused",
    arguments: [
      ["--compare", "http://127.0.0.1:1/"], ["--rounds", "2", "http://127.0.0.1:1/"],
      ["--compare", "--html", "x", "http://127.0.0.1:1/", "http://127.0.0.1:2/"],
      ["--compare", "--rounds", "0", "http://127.0.0.1:1/", "http://127.0.0.1:2/"],
    ])
  func refusals(words: [String]) throws {
    let arguments = try Arguments(words, options: Verb.bench.options)
    #expect(throws: UsageError.self) { try BenchCommand.run(arguments) }
  }

  @Test("The median is the middle one, or lies between the two")
  func medians() {
    #expect(BenchComparison.Spread([3, 1, 2]).median == 2)
    let even = BenchComparison.Spread([4, 1, 2, 3])
    #expect(even.median == 2.5 && even.least == 1 && even.most == 4)
  }

  @Test("Ratios are taken round by round, against the first target")
  func ratios() throws {
    var comparison = BenchComparison(targets: 2)
    for (first, second) in [(1000, 500), (2000, 2000), (1000, 800)] {
      comparison.add(try result("http://127.0.0.1:1/a", responses: first, nanoseconds: 1_000), target: 0)
      comparison.add(try result("http://127.0.0.1:2/b", responses: second, nanoseconds: 3_000), target: 1)
    }
    let outcome = JSONDocument.parse(Array(comparison.json().utf8), dialect: .strict)
    let second = try #require(outcome.document?.root["targets"]?.elements.last)
    #expect(outcome.faults.isEmpty && second["url"]?.string == "http://127.0.0.1:2/b" && second["rounds"]?.integer == 3)
    let rate = try #require(second["requestsPerSecond"])
    #expect(rate["median"]?.number == 800 && rate["ratioToFirst"]?.number == 0.8)
    #expect(rate["leastRatio"]?.number == 0.5 && rate["mostRatio"]?.number == 1)
    #expect(abs((second["p50Nanoseconds"]?["ratioToFirst"]?.number ?? 0) - 3) < 0.1)
    let text = comparison.text()
    #expect(text.contains("0.80 (0.50-1.00)") && text.contains("medians of 3 rounds"))
    #expect(comparison.status == .done)
  }

  @Test("A target that answered nothing fails the comparison, and is named")
  func silence() throws {
    var comparison = BenchComparison(targets: 2)
    comparison.add(try result("http://127.0.0.1:1/a", responses: 10, nanoseconds: 1_000), target: 0)
    comparison.add(try result("http://127.0.0.1:2/b", responses: 0, nanoseconds: 1), target: 1)
    #expect(comparison.status == .failed)
    #expect(comparison.text().contains("2 http://127.0.0.1:2/b"))
  }
}
