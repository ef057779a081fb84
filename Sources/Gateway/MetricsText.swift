import Core

/// Writes Prometheus' text format, version 0.0.4: families with their help and type, then samples.
///
/// Values are base units; durations are kept in nanoseconds and printed exactly.
struct MetricsText {
  let buffer: ByteBuffer

  /// What a family's samples mean to the reader.
  enum Kind: String { case counter, gauge, histogram }

  /// Begins a family. All its samples must follow before the next family begins.
  func family(_ name: String, _ kind: Kind, _ help: String) {
    buffer.append(utf8: "# HELP \(name) ")
    appendEscaped(help, quotes: false)
    buffer.append(utf8: "\n# TYPE \(name) \(kind.rawValue)\n")
  }

  /// A family that is one sample without labels.
  func single(_ name: String, _ kind: Kind, _ help: String, _ value: UInt64) {
    family(name, kind, help)
    sample(name, [], value)
  }

  /// One sample; labels in the order given.
  func sample(_ name: String, _ labels: [(String, String)], _ value: UInt64) {
    head(name, labels)
    buffer.append(decimal: value)
    buffer.append(UInt8(ascii: "\n"))
  }

  /// One sample that is a duration.
  func sample(_ name: String, _ labels: [(String, String)], nanoseconds: UInt64) {
    head(name, labels)
    append(seconds: nanoseconds)
    buffer.append(UInt8(ascii: "\n"))
  }

  /// The buckets, sum and count of a histogram; `buckets` counts each bucket by itself.
  func histogram(_ name: String, _ labels: [(String, String)], sum: UInt64, buckets: [UInt64]) {
    precondition(buckets.count == LatencyBuckets.count)
    var total: UInt64 = 0
    for (index, count) in buckets.enumerated() {
      total &+= count
      guard LatencyBuckets.isExposed(index) else { continue }
      let bound = LatencyBuckets.upperBound(of: index)
      sample("\(name)_bucket", labels + [("le", bound == .max ? "+Inf" : Self.seconds(bound))], total)
    }
    sample("\(name)_sum", labels, nanoseconds: sum)
    sample("\(name)_count", labels, total)
  }

  /// Nanoseconds as seconds, without zeros at the end.
  static func seconds(_ nanoseconds: UInt64) -> String {
    let (whole, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    if rest == 0 { return String(whole) }
    let digits = String(rest)
    var fraction = String(repeating: "0", count: 9 - digits.count) + digits
    while fraction.hasSuffix("0") { fraction.removeLast() }
    return "\(whole).\(fraction)"
  }

  private func append(seconds nanoseconds: UInt64) { buffer.append(utf8: Self.seconds(nanoseconds)) }

  private func head(_ name: String, _ labels: [(String, String)]) {
    buffer.append(utf8: name)
    var separator = UInt8(ascii: "{")
    for (label, value) in labels {
      buffer.append(separator)
      buffer.append(utf8: label)
      buffer.append("=\"")
      appendEscaped(value, quotes: true)
      buffer.append(UInt8(ascii: "\""))
      separator = UInt8(ascii: ",")
    }
    if !labels.isEmpty { buffer.append(UInt8(ascii: "}")) }
    buffer.append(UInt8(ascii: " "))
  }

  private func appendEscaped(_ text: String, quotes: Bool) {
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\\"): buffer.append("\\\\")
      case UInt8(ascii: "\n"): buffer.append("\\n")
      case UInt8(ascii: "\"") where quotes: buffer.append("\\\"")
      default: buffer.append(byte)
      }
    }
  }
}
