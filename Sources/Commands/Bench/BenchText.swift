import Core

/// The result as a person reads it in a terminal.
enum BenchText {
  static func render(_ result: BenchResult) -> String {
    let plan = result.plan
    let total = result.total
    var text = "\(headline(plan))\n\n"
    text += row("responses", "\(BenchFormat.count(total.completed))", "\(BenchFormat.count(result.rate))/s")
    text += row(
      "received", BenchFormat.bytes(Double(total.receivedBytes)), "\(BenchFormat.bytes(result.bytesPerSecond))/s")
    text += row("status", statuses(total))
    text += row("errors", failures(total))
    if let rate = plan.rate {
      text += row("rate", "\(BenchFormat.count(rate))/s asked", "\(BenchFormat.count(result.sentRate))/s sent")
      text += row(
        "own lag", "p50 \(BenchFormat.duration(total.lag.value(atPercentile: 50)))",
        "p99 \(BenchFormat.duration(total.lag.value(atPercentile: 99)))",
        "max \(BenchFormat.duration(total.lag.maximum))")
      if total.waited > 0 {
        text += row("waited", "\(BenchFormat.count(total.waited)) requests for a free connection")
      }
    }
    text += row(
      "own cost", "\(BenchFormat.duration(result.cpuNanosecondsPerRequest)) CPU a response",
      "at work \(BenchFormat.share(result.busyShare)) of the time")
    if plan.isSecure { text += handshakes(result) }
    if total.reconnections > 0 { text += row("reconnected", "\(BenchFormat.count(total.reconnections)) times") }
    text += latency(total.latency, isOpenLoop: plan.rate != nil)
    for warning in result.warnings { text += "\nnote: \(warning)" }
    return result.warnings.isEmpty ? text : text + "\n"
  }

  /// What was done, in one line or two.
  static func headline(_ plan: BenchPlan) -> String {
    var parts = ["\(BenchFormat.count(UInt64(plan.connections))) connection\(plan.connections == 1 ? "" : "s")"]
    if plan.streams > 1 { parts[0] += " of \(plan.streams) streams" }
    if plan.isMultiplexed { parts.append(plan.isSecure ? "HTTP/2 over TLS" : "HTTP/2 in cleartext") }
    parts.append("\(plan.threads) thread\(plan.threads == 1 ? "" : "s")")
    parts.append(plan.rate.map { "open loop at \(BenchFormat.count($0))/s" } ?? "closed loop")
    switch plan.extent {
    case .nanoseconds(let length): parts.append(BenchFormat.seconds(Double(length) / 1e9))
    case .requests(let count): parts.append("\(BenchFormat.count(count)) requests")
    }
    if plan.warmupNanoseconds > 0 {
      parts.append("after \(BenchFormat.seconds(Double(plan.warmupNanoseconds) / 1e9)) of warm-up")
    }
    if !plan.keepsAlive { parts.append("a connection each") }
    if plan.pipeline > 1 { parts.append("pipelines of \(plan.pipeline)") }
    if !plan.keys.isEmpty { parts.append("\(BenchFormat.count(UInt64(plan.keys.count))) keys in turn") }
    let places =
      plan.targets.count == 1 ? plan.targets[0].url : "\(plan.targets[0].url) and \(plan.targets.count - 1) more"
    return "\(places)\n\(parts.joined(separator: ", "))"
  }

  private static func handshakes(_ result: BenchResult) -> String {
    let found = result.total.handshakes
    var text = row(
      "handshakes", "\(BenchFormat.count(found.completed))",
      result.plan.keepsAlive ? "" : "\(BenchFormat.count(result.handshakeRate))/s",
      found.failed > 0 ? "\(BenchFormat.count(found.failed)) failed" : "")
    for (name, times) in [("full", found.full), ("resumed", found.resumed)] where times.count > 0 {
      text += row(
        "  \(name)", "\(BenchFormat.count(times.count))", "p50 \(BenchFormat.duration(times.value(atPercentile: 50)))",
        "p99 \(BenchFormat.duration(times.value(atPercentile: 99)))", "max \(BenchFormat.duration(times.maximum))")
    }
    return text
  }

  /// The statuses that occurred: `200 × 1,234  503 × 5`.
  static func statuses(_ total: BenchTally) -> String {
    let found = total.statuses.indices.filter { total.statuses[$0] > 0 }
    if found.isEmpty { return "none" }
    return found.map { "\($0) × \(BenchFormat.count(total.statuses[$0]))" }.joined(separator: "  ")
  }

  /// The kinds of failure that occurred, or `none`.
  static func failures(_ total: BenchTally) -> String {
    let found = BenchFailure.allCases.filter { total.failed($0) > 0 }
    if found.isEmpty { return "none" }
    return found.map { "\($0.name) × \(BenchFormat.count(total.failed($0)))" }.joined(separator: "  ")
  }

  private static func latency(_ latency: Histogram, isOpenLoop: Bool) -> String {
    guard latency.count > 0 else { return "" }
    var text = "\nlatency\(isOpenLoop ? ", from when each request was due" : "")\n"
    text += line("mean", latency.mean, note: "± \(BenchFormat.duration(latency.standardDeviation))")
    text += line("min", Double(latency.minimum))
    for percentile in BenchResult.percentiles {
      // A percentile that falls on the last value says no more than the maximum does.
      let beyond = Double(latency.count) * (100 - percentile) / 100
      let note = beyond < 0.999 ? "(too few responses for this one)" : ""
      text += line("p\(name(percentile))", Double(latency.value(atPercentile: percentile)), note: note)
    }
    return text + line("max", Double(latency.maximum))
  }

  /// `99.9` without a superfluous decimal.
  static func name(_ percentile: Double) -> String {
    percentile == percentile.rounded() ? "\(Int(percentile))" : "\(percentile)"
  }

  private static func line(_ name: String, _ nanoseconds: Double, note: String = "") -> String {
    let value = BenchFormat.duration(nanoseconds)
    let text = "  \(name)\(spaces(8 - name.count))\(spaces(10 - value.count))\(value)"
    return note.isEmpty ? "\(text)\n" : "\(text)  \(note)\n"
  }

  private static func row(_ name: String, _ values: String...) -> String {
    let padded = values.map { $0 + spaces(20 - $0.count) }.joined(separator: "  ")
    let text = "\(name)\(spaces(13 - name.count))\(padded)"
    return String(text.reversed().drop { $0 == " " }.reversed()) + "\n"
  }
}
