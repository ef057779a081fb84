import Core
import Glibc

/// A plot as inline SVG: two axes, a few lines, no script. Colours are the page's CSS classes, so that it follows the
/// reader's light or dark preference.
struct BenchPlot {
  /// How an axis maps values to places.
  enum Scale {
    case linear, logarithmic
  }

  /// One line, with the CSS class that colours it.
  struct Line {
    var name: String
    var style: String
    var points: [(x: Double, y: Double)]
    /// Whether the area below is tinted.
    var isFilled = false
  }

  /// A place on an axis with its label.
  struct Tick {
    var value: Double
    var label: String
  }

  static let width = 720.0
  static let height = 260.0
  private static let left = 64.0
  private static let right = 16.0
  private static let top = 12.0
  private static let bottom = 30.0

  var title: String
  var xScale = Scale.linear
  var yScale = Scale.linear
  var xRange: ClosedRange<Double>
  var yRange: ClosedRange<Double>
  var xTicks: [Tick]
  var yTicks: [Tick]
  var lines: [Line]
  /// Texts that show where the pointer rests: the place on the x axis, and what to say.
  var hints: [(x: Double, text: String)] = []

  private static func part(_ value: Double, _ range: ClosedRange<Double>, _ scale: Scale) -> Double {
    let value = min(max(value, range.lowerBound), range.upperBound)
    let result =
      switch scale {
      case .linear: (value - range.lowerBound) / max(range.upperBound - range.lowerBound, 1e-12)
      case .logarithmic: log(value / range.lowerBound) / max(log(range.upperBound / range.lowerBound), 1e-12)
      }
    return result.isFinite ? result : 0
  }

  private func x(_ value: Double) -> Double {
    Self.left + Self.part(value, xRange, xScale) * (Self.width - Self.left - Self.right)
  }

  private func y(_ value: Double) -> Double {
    Self.height - Self.bottom - Self.part(value, yRange, yScale) * (Self.height - Self.top - Self.bottom)
  }

  private func number(_ value: Double) -> String { BenchFormat.decimal(value, 1) }

  /// The `<svg>` element.
  var svg: String {
    var text = "<svg viewBox=\"0 0 \(Int(Self.width)) \(Int(Self.height))\" role=\"img\">\n"
    text += "<title>\(BenchHTML.escape(title))</title>\n<g class=\"grid\">\n"
    let floor = Self.height - Self.bottom
    for tick in yTicks {
      let y = number(y(tick.value))
      text += "<path d=\"M\(number(Self.left)) \(y)H\(number(Self.width - Self.right))\"/>"
      text +=
        "<text x=\"\(number(Self.left - 8))\" y=\"\(y)\" dy=\".32em\" text-anchor=\"end\">\(BenchHTML.escape(tick.label))</text>\n"
    }
    for tick in xTicks {
      let x = number(x(tick.value))
      text += "<path d=\"M\(x) \(number(floor))v4\"/>"
      text +=
        "<text x=\"\(x)\" y=\"\(number(floor + 18))\" text-anchor=\"middle\">\(BenchHTML.escape(tick.label))</text>\n"
    }
    text += "</g>\n"
    for line in lines where !line.points.isEmpty { text += path(line, floor) }
    text += hintAreas(floor)
    return text + "</svg>\n"
  }

  private func path(_ line: Line, _ floor: Double) -> String {
    let places = line.points.map { "\(number(x($0.x))) \(number(y($0.y)))" }
    if places.count == 1 {
      return
        "<circle class=\"dot \(line.style)\" cx=\"\(number(x(line.points[0].x)))\" cy=\"\(number(y(line.points[0].y)))\" r=\"3\"/>\n"
    }
    let trace = "M" + places.joined(separator: "L")
    var text = ""
    if line.isFilled {
      let last = number(x(line.points[line.points.count - 1].x))
      text +=
        "<path class=\"area \(line.style)\" d=\"\(trace)L\(last) \(number(floor))L\(number(x(line.points[0].x))) \(number(floor))Z\"/>\n"
    }
    return text
      + "<path class=\"line \(line.style)\" d=\"\(trace)\"><title>\(BenchHTML.escape(line.name))</title></path>\n"
  }

  /// One transparent column a hint, wide enough to be found with a pointer.
  private func hintAreas(_ floor: Double) -> String {
    var text = ""
    for (index, hint) in hints.enumerated() {
      let here = x(hint.x)
      let before = index > 0 ? (x(hints[index - 1].x) + here) / 2 : Self.left
      let after = index + 1 < hints.count ? (here + x(hints[index + 1].x)) / 2 : Self.width - Self.right
      text +=
        "<rect class=\"hint\" x=\"\(number(before))\" y=\"\(number(Self.top))\" width=\"\(number(max(after - before, 0.5)))\""
      text += " height=\"\(number(floor - Self.top))\"><title>\(BenchHTML.escape(hint.text))</title></rect>\n"
    }
    return text
  }

  /// Ticks at 1, 2 and 5 times powers of ten within `range`; fewer where there are too many.
  static func logarithmicTicks(_ range: ClosedRange<Double>, label: (Double) -> String) -> [Tick] {
    let decades = log10(range.upperBound / range.lowerBound)
    let steps: [Double] = decades > 3 ? [1] : decades > 1.5 ? [1, 3] : [1, 2, 3, 5, 7]
    var ticks: [Tick] = []
    var power = pow(10, (log10(range.lowerBound)).rounded(.down))
    while power <= range.upperBound {
      for step in steps where range.contains(power * step) {
        ticks.append(Tick(value: power * step, label: label(power * step)))
      }
      power *= 10
    }
    return ticks
  }

  /// About `count` round ticks from 0 to `upper`, the last one at or beyond it.
  static func linearTicks(to upper: Double, count: Int = 4, label: (Double) -> String) -> [Tick] {
    guard upper > 0 else { return [Tick(value: 0, label: label(0))] }
    let raw = upper / Double(count)
    let power = pow(10, log10(raw).rounded(.down))
    let step = ([1, 2, 2.5, 5].first { $0 * power >= raw * 0.999 } ?? 10) * power
    var ticks: [Tick] = []
    var index = 0
    while ticks.isEmpty || ticks[ticks.count - 1].value < upper * 0.999 {
      ticks.append(Tick(value: Double(index) * step, label: label(Double(index) * step)))
      index += 1
    }
    return ticks
  }
}
