import Core

/// Several targets measured in rounds, one after the other, so that what the machine does meanwhile hits all alike.
struct BenchComparison: Sendable {
  /// The most rounds.
  static let roundLimit = 1000

  /// One figure of a target, over all rounds.
  struct Spread: Equatable, Sendable {
    var median: Double
    var least: Double
    var most: Double

    /// Of at least one value.
    init(_ values: [Double]) {
      let sorted = values.sorted()
      let middle = sorted.count / 2
      median = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
      (least, most) = (sorted[0], sorted[sorted.count - 1])
    }
  }

  /// What is compared, by its name for programs, and how it is read out of a result.
  private static let figures: [(key: StaticString, read: @Sendable (BenchResult) -> Double)] = [
    ("requestsPerSecond", { $0.rate }),
    ("p50Nanoseconds", { Double($0.total.latency.value(atPercentile: 50)) }),
    ("p99Nanoseconds", { Double($0.total.latency.value(atPercentile: 99)) }),
  ]

  /// By target, the results of the rounds.
  private(set) var results: [[BenchResult]]

  /// A comparison of so many targets, without a round yet.
  init(targets: Int) { results = Array(repeating: [], count: targets) }

  /// A round of one target is over.
  mutating func add(_ result: BenchResult, target: Int) { results[target].append(result) }

  /// Failed where nothing was measured of one of them, or a rate was not held.
  var status: ExitStatus { results.joined().allSatisfy { $0.status == .done } ? .done : .failed }

  /// What a reader must know before believing the figures.
  var warnings: [String] {
    zip(results, 1...).flatMap { rounds, number in
      Set(rounds.flatMap(\.warnings)).sorted().map { "target \(number): \($0)" }
    }
  }

  /// A figure of a target, and round by round that of the target over the first one's.
  private func spreads(_ target: Int, _ read: (BenchResult) -> Double) -> (value: Spread, ratio: Spread) {
    let values = results[target].map(read)
    let ratios = zip(values, results[0].map(read)).map { $1 > 0 ? $0 / $1 : 0 }
    return (Spread(values), Spread(ratios))
  }

  private func failures(_ target: Int) -> UInt64 {
    results[target].reduce(0) { $0 + $1.total.failed + $1.unsuccessful }
  }

  /// A table: medians of the rounds, and in brackets what they are of the first target's, from the least to the most.
  func text() -> String {
    var table = TextTable(["TARGET", ">RATE", ">P50", ">P99", ">FAILED", ">RATE/1", ">P50/1", ">P99/1"])
    for (target, rounds) in results.enumerated() {
      guard let first = rounds.first else { continue }
      let found = Self.figures.map { spreads(target, $0.read) }
      let ratios = found.map { Self.ratio($0.ratio) }
      table.add(
        [
          "\(target + 1) \(first.plan.targets[0].url)", "\(BenchFormat.count(found[0].value.median))/s",
          BenchFormat.duration(found[1].value.median), BenchFormat.duration(found[2].value.median),
          "\(failures(target))",
        ] + (target == 0 ? ["", "", ""] : ratios))
    }
    let count = results.first?.count ?? 0
    return table.text + "medians of \(count) round\(count == 1 ? "" : "s"); ratios to target 1, round by round\n"
      + warnings.map { "note: \($0)\n" }.joined()
  }

  private static func ratio(_ spread: Spread) -> String {
    func digits(_ value: Double) -> String {
      let hundredths = Int((value * 100).rounded())
      return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
    }
    return "\(digits(spread.median)) (\(digits(spread.least))-\(digits(spread.most)))"
  }

  /// The comparison for programs.
  func json() -> String {
    var json = JSONWriter(ByteBuffer())
    json.beginObject()
    json.key("version")
    json.integer(1)
    json.key("targets")
    json.beginArray()
    for (target, rounds) in results.enumerated() {
      json.beginObject()
      json.key("url")
      json.string(rounds.first?.plan.targets[0].url ?? "")
      json.key("rounds")
      json.integer(Int64(rounds.count))
      json.key("failed")
      json.integer(Int64(clamping: failures(target)))
      if !rounds.isEmpty {
        for figure in Self.figures {
          let (value, ratio) = spreads(target, figure.read)
          json.key(figure.key)
          Self.write(value, ratio, to: &json)
        }
      }
      json.endObject()
    }
    json.endArray()
    json.key("warnings")
    json.beginArray()
    for warning in warnings { json.string(warning) }
    json.endArray()
    json.endObject()
    json.buffer.append("\n")
    return json.buffer.text
  }

  private static func write(_ value: Spread, _ ratio: Spread, to json: inout JSONWriter) {
    json.beginObject()
    let members: [(StaticString, Double)] = [
      ("median", value.median), ("least", value.least), ("most", value.most), ("ratioToFirst", ratio.median),
      ("leastRatio", ratio.least), ("mostRatio", ratio.most),
    ]
    for (name, number) in members {
      json.key(name)
      json.number(number)
    }
    json.endObject()
  }
}
