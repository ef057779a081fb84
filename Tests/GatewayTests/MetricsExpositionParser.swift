/// Reads Prometheus' text format more strictly than Prometheus does, so that what passes here is well-formed: help and
/// type before samples, one run of lines a family, no series twice, counters named `_total`, complete histograms.
struct MetricsExpositionParser {
  struct Fault: Error, CustomStringConvertible {
    let description: String
  }

  struct Series: Hashable {
    let name: String
    let labels: [String: String]
  }

  private(set) var values: [Series: String] = [:]
  private(set) var types: [String: String] = [:]
  private var order: [Series] = []
  private var family = ""

  init(_ text: String) throws {
    guard text.hasSuffix("\n") else { throw Fault(description: "the last line does not end") }
    var helped = ""
    for line in text.dropLast().split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("# HELP ") {
        helped = String(line.split(separator: " ", maxSplits: 3)[2])
        guard types[helped] == nil else { throw Fault(description: "\(helped) begins twice") }
      } else if line.hasPrefix("# TYPE ") {
        let words = line.split(separator: " ")
        guard words.count == 4, words[2] == helped else { throw Fault(description: "no help before: \(line)") }
        family = helped
        types[family] = String(words[3])
      } else {
        try readSample(line)
      }
    }
    for (name, type) in types { try check(name, type) }
  }

  /// The value of a series; nil where it was not printed.
  func value(_ name: String, _ labels: [String: String] = [:]) -> String? { values[Series(name: name, labels: labels)] }

  private mutating func readSample(_ line: Substring) throws {
    var rest = line
    let name = String(rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" })
    rest.removeFirst(name.count)
    var labels: [String: String] = [:]
    if rest.first == "{" {
      repeat {
        rest.removeFirst()
        let label = String(rest.prefix { $0.isLetter || $0 == "_" })
        rest.removeFirst(label.count)
        guard rest.hasPrefix("=\"") else { throw Fault(description: "label without value: \(line)") }
        rest.removeFirst(2)
        guard labels.updateValue(try Self.readQuoted(&rest), forKey: label) == nil else {
          throw Fault(description: "label twice: \(line)")
        }
      } while rest.first == ","
      guard rest.first == "}" else { throw Fault(description: "labels do not end: \(line)") }
      rest.removeFirst()
    }
    guard rest.first == " ", let number = Double(rest.dropFirst()), number >= 0 else {
      throw Fault(description: "no value: \(line)")
    }
    let base = types[family] == "histogram" ? ["\(family)_bucket", "\(family)_sum", "\(family)_count"] : [family]
    guard base.contains(name) else { throw Fault(description: "\(name) stands among samples of \(family)") }
    let series = Series(name: name, labels: labels)
    guard values.updateValue(String(rest.dropFirst()), forKey: series) == nil else {
      throw Fault(description: "series twice: \(line)")
    }
    order.append(series)
  }

  private static func readQuoted(_ rest: inout Substring) throws -> String {
    var text = ""
    while let character = rest.popFirst() {
      if character == "\"" { return text }
      guard character == "\\" else {
        text.append(character)
        continue
      }
      switch rest.popFirst() {
      case "\\": text.append("\\")
      case "\"": text.append("\"")
      case "n": text.append("\n")
      default: throw Fault(description: "unknown escape")
      }
    }
    throw Fault(description: "a label value does not end")
  }

  private func check(_ name: String, _ type: String) throws {
    guard name.hasPrefix("sluice_") else { throw Fault(description: "\(name) has no prefix") }
    guard (type == "counter") == name.hasSuffix("_total") else { throw Fault(description: "\(name) is no \(type)") }
    guard type == "histogram" else { return }
    guard name.hasSuffix("_seconds") else { throw Fault(description: "\(name) has no unit") }
    var groups: [[String: String]: [(bound: String, count: UInt64)]] = [:]
    for series in order where series.name == "\(name)_bucket" {
      var labels = series.labels
      guard let bound = labels.removeValue(forKey: "le"), let count = values[series].flatMap({ UInt64($0) }) else {
        throw Fault(description: "a bucket of \(name) has no bound or count")
      }
      groups[labels, default: []].append((bound, count))
    }
    for (labels, buckets) in groups {
      let bounds = buckets.map { $0.bound == "+Inf" ? Double.infinity : Double($0.bound) ?? -1 }
      guard bounds == bounds.sorted(), Set(bounds).count == bounds.count, bounds.last == .infinity else {
        throw Fault(description: "\(name) has bounds out of order")
      }
      guard buckets.map(\.count) == buckets.map(\.count).sorted() else {
        throw Fault(description: "\(name) does not accumulate")
      }
      guard value("\(name)_count", labels) == buckets.last.map({ String($0.count) }),
        value("\(name)_sum", labels) != nil
      else { throw Fault(description: "\(name) has no sum or another count than its last bucket") }
    }
  }
}
