import Core
import Glibc

/// The result as one HTML page: no script, no font, nothing fetched; it can be mailed and opened in ten years.
enum BenchHTML {
  /// The most points of a line over time; a longer run is thinned out by the worst of neighbours.
  static let pointLimit = 600

  static func render(_ result: BenchResult) -> String {
    let plan = result.plan
    let place = plan.targets[0].url + (plan.targets.count > 1 ? " and \(plan.targets.count - 1) more" : "")
    var body = "<header><h1>\(escape(place))</h1>\n"
    let setting = BenchText.headline(plan).split(separator: "\n").last.map(String.init) ?? ""
    body += "<p>\(escape(setting))</p></header>\n"
    if !result.warnings.isEmpty {
      body += "<ul class=\"notes\">"
      for warning in result.warnings { body += "<li>\(escape(warning))</li>" }
      body += "</ul>\n"
    }
    body += cards(result)
    if result.total.latency.count > 0 {
      body += figure("Latency by percentile", percentilePlot(result), legend: [])
    }
    if !result.seconds.isEmpty {
      let seconds = thin(result.seconds)
      body += figure("Responses a second", throughputPlot(seconds), legend: [])
      body += figure(
        "Latency over time", latencyPlot(seconds), legend: [("p50", "a"), ("p99", "b"), ("max", "c")])
    }
    body += tables(result)
    body += "<footer>sluice bench \(Program.version)</footer>\n"
    return """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <title>\(escape(place)): sluice bench</title>
      <style>\(style)</style>
      </head>
      <body>
      \(body)</body>
      </html>

      """
  }

  /// Text for an element or an attribute.
  static func escape(_ text: String) -> String {
    var result = ""
    for character in text.unicodeScalars {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default: result.unicodeScalars.append(character)
      }
    }
    return result
  }

  private static func cards(_ result: BenchResult) -> String {
    let latency = result.total.latency
    var cards = [
      ("responses/s", BenchFormat.count(result.rate)),
      ("p50", BenchFormat.duration(latency.value(atPercentile: 50))),
      ("p99", BenchFormat.duration(latency.value(atPercentile: 99))),
      ("p99.99", BenchFormat.duration(latency.value(atPercentile: 99.99))),
      ("errors", BenchFormat.count(result.total.failed)),
      ("4xx and 5xx", BenchFormat.count(result.unsuccessful)),
    ]
    if result.plan.rate != nil {
      cards.append(("own lag, p99", BenchFormat.duration(result.total.lag.value(atPercentile: 99))))
    }
    let items = cards.map { "<div><b>\(escape($0.1))</b><span>\(escape($0.0))</span></div>" }.joined()
    return "<section class=\"cards\">\(items)</section>\n"
  }

  private static func figure(_ title: String, _ plot: BenchPlot, legend: [(String, String)]) -> String {
    let keys = legend.map { "<span class=\"key \($0.1)\">\(escape($0.0))</span>" }.joined()
    return "<figure><figcaption>\(escape(title))\(keys)</figcaption>\n\(plot.svg)</figure>\n"
  }

  /// The x axis is 1 / (1 − p) on a log scale: each nine gets the same room.
  private static func percentilePlot(_ result: BenchResult) -> BenchPlot {
    let latency = result.total.latency
    let last = max(10, min(Double(latency.count), 1e6))
    var points: [(x: Double, y: Double)] = []
    var hints: [(x: Double, text: String)] = []
    let steps = 160
    for step in 0...steps {
      let x = pow(last, Double(step) / Double(steps))
      let percentile = step == 0 ? 0 : 100 * (1 - 1 / x)
      let value = latency.value(atPercentile: percentile)
      points.append((x, Double(max(value, 1))))
      if step % 4 == 0 { hints.append((x, "p\(BenchFormat.decimal(percentile, 3)): \(BenchFormat.duration(value))")) }
    }
    let range = logRange(points.map(\.y))
    let ticks: [(Double, String)] = [
      (1, "min"), (2, "p50"), (10, "p90"), (100, "p99"), (1000, "p99.9"), (10_000, "p99.99"), (100_000, "p99.999"),
    ]
    return BenchPlot(
      title: "Latency by percentile", xScale: .logarithmic, yScale: .logarithmic, xRange: 1...last, yRange: range,
      xTicks: ticks.filter { $0.0 <= last }.map { BenchPlot.Tick(value: $0.0, label: $0.1) },
      yTicks: BenchPlot.logarithmicTicks(range, label: { BenchFormat.tick(BenchFormat.duration($0)) }),
      lines: [BenchPlot.Line(name: "latency", style: "a", points: points, isFilled: true)], hints: hints)
  }

  private static func throughputPlot(_ seconds: [BenchSecond]) -> BenchPlot {
    let points = seconds.map { (x: middle($0), y: $0.rate) }
    let ticks = BenchPlot.linearTicks(
      to: points.map(\.y).max() ?? 0, label: { BenchFormat.tick(BenchFormat.count($0)) })
    return BenchPlot(
      title: "Responses a second, over time", xRange: 0...end(seconds), yRange: 0...max(ticks.last?.value ?? 1, 1e-9),
      xTicks: timeTicks(seconds), yTicks: ticks,
      lines: [BenchPlot.Line(name: "responses a second", style: "a", points: points, isFilled: true)],
      hints: seconds.map { second in
        let errors = second.failed > 0 ? ", \(BenchFormat.count(second.failed)) errors" : ""
        return (middle(second), "\(clock(second)): \(BenchFormat.count(second.rate))/s\(errors)")
      })
  }

  private static func latencyPlot(_ seconds: [BenchSecond]) -> BenchPlot {
    let measured = seconds.filter { $0.completed > 0 }
    func line(_ name: String, _ style: String, _ value: (BenchSecond) -> UInt64) -> BenchPlot.Line {
      BenchPlot.Line(name: name, style: style, points: measured.map { (middle($0), Double(max(value($0), 1))) })
    }
    let lines = [line("max", "c", \.maximum), line("p99", "b", \.p99), line("p50", "a", \.p50)]
    let range = logRange(lines.flatMap { $0.points.map(\.y) })
    return BenchPlot(
      title: "Latency over time", yScale: .logarithmic, xRange: 0...end(seconds), yRange: range,
      xTicks: timeTicks(seconds),
      yTicks: BenchPlot.logarithmicTicks(range, label: { BenchFormat.tick(BenchFormat.duration($0)) }),
      lines: lines,
      hints: measured.map { second in
        (
          middle(second),
          "\(clock(second)): p50 \(BenchFormat.duration(second.p50)), p99 \(BenchFormat.duration(second.p99)), "
            + "max \(BenchFormat.duration(second.maximum))"
        )
      })
  }

  private static func tables(_ result: BenchResult) -> String {
    let latency = result.total.latency
    var rows = [("mean", BenchFormat.duration(latency.mean)), ("min", BenchFormat.duration(latency.minimum))]
    rows += BenchResult.percentiles.map {
      ("p\(BenchText.name($0))", BenchFormat.duration(latency.value(atPercentile: $0)))
    }
    rows.append(("max", BenchFormat.duration(latency.maximum)))
    var facts = [
      ("responses", BenchFormat.count(result.total.completed)),
      ("status", BenchText.statuses(result.total)), ("errors", BenchText.failures(result.total)),
      ("received", BenchFormat.bytes(Double(result.total.receivedBytes))),
      ("measured for", BenchFormat.seconds(result.elapsedSeconds)),
      ("generator", "\(BenchFormat.duration(result.cpuNanosecondsPerRequest)) CPU a response"),
      ("generator at work", BenchFormat.share(result.busyShare)),
    ]
    facts.insert(("protocol", "\(result.plan.protocolName)\(result.plan.isSecure ? " over TLS" : "")"), at: 0)
    if result.plan.isMultiplexed { facts.append(("streams of a connection", "\(result.streams)")) }
    if result.plan.isSecure { facts += handshakes(result) }
    if let rate = result.plan.rate {
      facts.append(("rate asked", "\(BenchFormat.count(rate))/s"))
      facts.append(("rate sent", "\(BenchFormat.count(result.sentRate))/s"))
      facts.append(("own lag, max", BenchFormat.duration(result.total.lag.maximum)))
      facts.append(("waited for a connection", BenchFormat.count(result.total.waited)))
    }
    return "<section class=\"tables\">\(table("Latency", rows))\(table("Run", facts))</section>\n"
  }

  private static func handshakes(_ result: BenchResult) -> [(String, String)] {
    let found = result.total.handshakes
    var rows = [
      ("handshakes", BenchFormat.count(found.completed)), ("handshakes failed", BenchFormat.count(found.failed)),
    ]
    if !result.plan.keepsAlive { rows.append(("handshakes a second", BenchFormat.count(result.handshakeRate))) }
    for (name, times) in [("full", found.full), ("resumed", found.resumed)] where times.count > 0 {
      let (middle, late) = (times.value(atPercentile: 50), times.value(atPercentile: 99))
      let figures = "p50 \(BenchFormat.duration(middle)), p99 \(BenchFormat.duration(late))"
      rows.append(("\(name) handshakes", "\(BenchFormat.count(times.count)), \(figures)"))
    }
    return rows
  }

  private static func table(_ title: String, _ rows: [(String, String)]) -> String {
    let lines = rows.map { "<tr><th scope=\"row\">\(escape($0.0))</th><td>\(escape($0.1))</td></tr>" }.joined()
    return "<table><caption>\(escape(title))</caption><tbody>\(lines)</tbody></table>"
  }
}

// Places on the axes.
extension BenchHTML {
  private static func middle(_ second: BenchSecond) -> Double {
    (Double(second.startNanoseconds) + Double(second.nanoseconds) / 2) / 1e9
  }

  private static func end(_ seconds: [BenchSecond]) -> Double {
    max(1e-3, Double(seconds.last.map { $0.startNanoseconds + $0.nanoseconds } ?? 0) / 1e9)
  }

  private static func clock(_ second: BenchSecond) -> String {
    BenchFormat.seconds(Double(second.startNanoseconds + second.nanoseconds) / 1e9)
  }

  private static func timeTicks(_ seconds: [BenchSecond]) -> [BenchPlot.Tick] {
    let end = end(seconds)
    return BenchPlot.linearTicks(to: end, count: 8) { BenchFormat.tick("\(BenchFormat.decimal($0, 2)) s") }
      .filter { $0.value <= end * 1.001 }
  }

  /// A range with a little room on both sides.
  private static func logRange(_ values: [Double]) -> ClosedRange<Double> {
    let low = max(1, values.min() ?? 1)
    let high = max(values.max() ?? 10, low)
    return low * 0.8...max(high * 1.25, low * 3)
  }

  /// At most ``pointLimit`` seconds: neighbours become one, with the worst latencies of either.
  static func thin(_ seconds: [BenchSecond]) -> [BenchSecond] {
    let group = (seconds.count + pointLimit - 1) / pointLimit
    guard group > 1 else { return seconds }
    return stride(from: 0, to: seconds.count, by: group).map { first in
      var joined = seconds[first]
      for other in seconds[(first + 1)..<min(first + group, seconds.count)] {
        joined.nanoseconds += other.nanoseconds
        joined.started += other.started
        joined.completed += other.completed
        joined.failed += other.failed
        joined.receivedBytes += other.receivedBytes
        joined.p50 = max(joined.p50, other.p50)
        joined.p90 = max(joined.p90, other.p90)
        joined.p99 = max(joined.p99, other.p99)
        joined.maximum = max(joined.maximum, other.maximum)
      }
      return joined
    }
  }

  private static let style = """

    :root { color-scheme: light dark; --ground: #fdfdfc; --ink: #1d2327; --soft: #667078; --rule: #e3e5e6;
      --a: #0b6e99; --b: #c2571a; --c: #8a4fa3; --note: #fff4d6; }
    @media (prefers-color-scheme: dark) { :root { --ground: #15181a; --ink: #e6e8e9; --soft: #96a0a7; --rule: #2c3236;
      --a: #5db7de; --b: #f0935a; --c: #c39bd6; --note: #3a3118; } }
    body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem; background: var(--ground); color: var(--ink);
      font: 16px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
    h1 { margin: 0; font-size: 1.4rem; font-weight: 600; overflow-wrap: anywhere; }
    header p, footer, figcaption .key, .cards span { color: var(--soft); }
    header p { margin: .25rem 0 1.5rem; }
    .notes { margin: 0 0 1.5rem; padding: .75rem 1rem .75rem 2rem; border-radius: .5rem; background: var(--note); }
    .cards { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); }
    .cards div { padding: .75rem 1rem; border: 1px solid var(--rule); border-radius: .5rem; }
    .cards b { display: block; font-size: 1.35rem; font-weight: 600; white-space: nowrap; }
    .cards span { font-size: .85rem; }
    figure { margin: 2rem 0 0; }
    figcaption { margin-bottom: .25rem; font-weight: 600; }
    .key { margin-left: 1rem; font-weight: 400; font-size: .85rem; }
    .key::before { content: ""; display: inline-block; width: .9rem; height: .2rem; margin-right: .35rem;
      vertical-align: middle; border-radius: 1px; background: currentColor; }
    .key.a::before { background: var(--a); } .key.b::before { background: var(--b); } .key.c::before { background: var(--c); }
    svg { display: block; width: 100%; height: auto; font-size: 11px; }
    .grid path { stroke: var(--rule); fill: none; } .grid text { fill: var(--soft); }
    .line { fill: none; stroke-width: 1.75; stroke-linejoin: round; } .area { opacity: .12; }
    .line.a { stroke: var(--a); } .line.b { stroke: var(--b); } .line.c { stroke: var(--c); }
    .area.a, .dot.a { fill: var(--a); } .dot.b { fill: var(--b); } .dot.c { fill: var(--c); }
    .hint { fill: transparent; } .hint:hover { fill: var(--ink); opacity: .06; }
    .tables { display: grid; gap: 2rem; margin-top: 2rem; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); }
    table { border-collapse: collapse; align-self: start; } caption { text-align: left; font-weight: 600; }
    th, td { padding: .3rem 0; border-bottom: 1px solid var(--rule); font-weight: 400; }
    th { text-align: left; color: var(--soft); padding-right: 1rem; } td { text-align: right; overflow-wrap: anywhere; }
    footer { margin-top: 2rem; font-size: .85rem; }

    """
}
