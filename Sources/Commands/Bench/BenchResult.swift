import Core

/// What a run came to, whole and checked against what was asked.
struct BenchResult: Sendable {
  /// How a rate that was asked for fared.
  enum Verdict: Equatable, Sendable {
    /// There was none to hold.
    case closedLoop
    /// At least 99 % of what was due was sent, and on time.
    case held
    /// This machine could not send that much.
    case generatorTooSlow
    /// All connections were waiting for answers when requests were due.
    case serverTooSlow
  }

  /// The percentiles of every result.
  static let percentiles: [Double] = [50, 75, 90, 95, 99, 99.9, 99.99]
  /// From this share of its time at work on, the generator itself is what limits the run.
  static let saturatedShare = 0.95
  /// A generator that is later than this with 1 % of its requests does not hold its schedule.
  static let lagLimitNanoseconds: UInt64 = 10_000_000

  var plan: BenchPlan
  var total: BenchTally
  var completedInTime: UInt64
  var seconds: [BenchSecond]
  var elapsedNanoseconds: Int64
  /// Requests of an open loop that were due, and those of them that were never sent.
  var planned: UInt64
  var unfinished: Int
  /// User and system time of this process while it measured.
  var cpuNanoseconds: Int64
  var busyShare: Double
  var isInterrupted = false
  /// Requests that one connection carried at a time at most: fewer than asked for where a server allows no more.
  var streams: Int
  /// Why the run was stopped before its time, by the generator itself.
  var refusal: String?

  init(_ plan: BenchPlan, _ collector: BenchCollector, cpuNanoseconds: Int64) {
    self.plan = plan
    streams = plan.streams
    total = collector.total
    completedInTime = collector.completedInTime
    seconds = collector.seconds
    elapsedNanoseconds = collector.elapsedNanoseconds
    planned = collector.planned
    unfinished = collector.unfinished
    self.cpuNanoseconds = cpuNanoseconds
    busyShare = collector.busyShare
  }

  var elapsedSeconds: Double { Double(elapsedNanoseconds) / 1e9 }

  /// Complete responses per second while the run lasted.
  var rate: Double { elapsedNanoseconds > 0 ? Double(completedInTime) / elapsedSeconds : 0 }

  /// Requests sent per second while the run lasted.
  var sentRate: Double { elapsedNanoseconds > 0 ? Double(total.started) / elapsedSeconds : 0 }

  var bytesPerSecond: Double { elapsedNanoseconds > 0 ? Double(total.receivedBytes) / elapsedSeconds : 0 }

  /// Handshakes per second while the run lasted.
  var handshakeRate: Double {
    elapsedNanoseconds > 0 ? Double(total.handshakes.completed) / elapsedSeconds : 0
  }

  /// Processor time of the generator for one response, in nanoseconds.
  var cpuNanosecondsPerRequest: Double { total.completed > 0 ? Double(cpuNanoseconds) / Double(total.completed) : 0 }

  /// Requests of an open loop that were due and never sent.
  var neverSent: UInt64 { planned > total.started ? planned - total.started : 0 }

  /// Responses that say that something went wrong.
  var unsuccessful: UInt64 { total.completed(class: 4) + total.completed(class: 5) }

  var verdict: Verdict {
    guard plan.rate != nil else { return .closedLoop }
    let isLate = total.lag.value(atPercentile: 99) > Self.lagLimitNanoseconds
    if refusal == nil, !isLate, Double(neverSent) <= 0.01 * Double(planned) { return .held }
    return refusal != nil || isLate || busyShare >= Self.saturatedShare ? .generatorTooSlow : .serverTooSlow
  }

  /// What a reader must know before believing the figures; one sentence each.
  var warnings: [String] {
    var found: [String] = []
    if let refusal { found.append(refusal) }
    let asked = plan.rate.map { BenchFormat.count($0) } ?? ""
    switch verdict {
    case .generatorTooSlow where refusal == nil:
      found.append(
        "the rate of \(asked)/s was not held: this machine sent \(BenchFormat.count(sentRate))/s; "
          + "try more --threads or another machine")
    case .serverTooSlow:
      found.append(
        "the rate of \(asked)/s was not held: all \(plan.connections) connections were waiting for answers; "
          + "\(BenchFormat.count(neverSent)) requests were never sent (the server is slower than that, or --connections too few)"
      )
    case .closedLoop where busyShare >= Self.saturatedShare:
      found.append(
        "the generator was at work \(BenchFormat.share(busyShare)) of the time and may itself be the limit; try more --threads"
      )
    default: break
    }
    if streams < plan.streams {
      found.append("a connection carried \(streams) streams in place of \(plan.streams): the server allows no more")
    }
    if let fault = total.handshakes.fault {
      found.append("\(BenchFormat.count(total.handshakes.failed)) handshakes failed: \(fault)")
    }
    if unfinished > 0 { found.append("\(unfinished) requests had no answer when the run ended") }
    if isInterrupted { found.append("interrupted: the figures cover \(BenchFormat.seconds(elapsedSeconds))") }
    return found
  }

  /// Failed where nothing was measured or a rate was not held.
  var status: ExitStatus {
    if total.completed == 0 { return .failed }
    return verdict == .closedLoop || verdict == .held ? .done : .failed
  }
}

/// Figures as people read them.
enum BenchFormat {
  /// A whole number with separators: 1,234,567.
  static func count(_ value: UInt64) -> String {
    var digits = Array(String(value))
    var position = digits.count - 3
    while position > 0 {
      digits.insert(",", at: position)
      position -= 3
    }
    return String(digits)
  }

  /// A number of things, rounded; with one decimal below 100.
  static func count(_ value: Double) -> String {
    guard value.isFinite, value < 1e18 else { return "–" }
    return value < 100 ? decimal(value, 1) : count(UInt64(max(0, value.rounded())))
  }

  /// Nanoseconds with a fitting unit and three digits that matter: 875 ns, 87.5 µs, 8.75 ms, 1.23 s.
  static func duration(_ nanoseconds: Double) -> String {
    for (unit, factor) in [("ns", 1.0), ("µs", 1e3), ("ms", 1e6)] where nanoseconds < 999.5 * factor {
      return "\(significant(nanoseconds / factor)) \(unit)"
    }
    return "\(significant(nanoseconds / 1e9)) s"
  }

  static func duration(_ nanoseconds: UInt64) -> String { duration(Double(nanoseconds)) }

  static func seconds(_ seconds: Double) -> String {
    seconds == seconds.rounded() ? "\(Int(seconds)) s" : "\(decimal(seconds, 2)) s"
  }

  /// Bytes with a binary unit.
  static func bytes(_ value: Double) -> String {
    var value = value
    for unit in ["B", "KiB", "MiB", "GiB"] {
      if value < 1024 { return "\(unit == "B" ? String(Int(value)) : significant(value)) \(unit)" }
      value /= 1024
    }
    return "\(significant(value)) TiB"
  }

  /// A share of one as per cent.
  static func share(_ value: Double) -> String { "\(decimal(value * 100, value < 0.1 ? 1 : 0)) %" }

  /// Three significant digits, no exponent.
  static func significant(_ value: Double) -> String {
    decimal(value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0)
  }

  /// A figure at an axis: without decimals that are all zeros.
  static func tick(_ figure: String) -> String {
    let parts = figure.split(separator: " ", maxSplits: 1)
    guard let number = parts.first, number.contains(".") else { return figure }
    var digits = number
    while digits.last == "0" { digits.removeLast() }
    if digits.last == "." { digits.removeLast() }
    return parts.count > 1 ? "\(digits) \(parts[1])" : String(digits)
  }

  /// A number with so many decimals, at most 6.
  static func decimal(_ value: Double, _ places: Int) -> String {
    var factor = 1.0
    for _ in 0..<places { factor *= 10 }
    let scaled = Int64((value * factor).rounded())
    let whole = scaled.magnitude / UInt64(factor)
    let sign = scaled < 0 ? "-" : ""
    if places == 0 { return "\(sign)\(whole)" }
    let rest = String(scaled.magnitude % UInt64(factor))
    return "\(sign)\(whole).\(String(repeating: "0", count: places - rest.count))\(rest)"
  }
}
