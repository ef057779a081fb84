import Cluster
import Core
import Pipeline

/// What a driver is to do, from `name=value` arguments.
struct DriverOptions {
  /// The journal's file.
  var journal = ""
  /// `unix:<path>`, `tcp:<port>` or `sentinel:<port>,<port>,…`.
  var store = ""
  /// Live nodes and this one's place among them.
  var nodes = 1
  var rank = 0
  /// Whether nodes find that out by themselves: it takes them some seconds.
  var meets = false
  /// Loops of the node.
  var parts = 1
  /// `window:<limit>:<µs>`, `sliding:<limit>:<µs>`, `rate:<interval ns>:<burst>` or `concurrency:<limit>`.
  var rule = LimitRule.window(limit: 100, lengthMicroseconds: 1_000_000)
  var mode = LimitMode.auto
  var outage = OutageRule.local
  /// Counters that are asked for in turn.
  var keys = 1
  /// Questions a second, all in all.
  var rate = 1000.0
  /// How long it asks, and from when on (microseconds since 1970).
  var milliseconds: Int64 = 5000
  var start: Int64 = 0
  /// Milliseconds in which it asks, in which it does not, and so on, again and again, counted from 1970; none: always.
  var pulse: [Int64] = []
  /// How long an exchange runs, in milliseconds.
  var hold: Int64 = 0
  /// How long a question waits for the store, in milliseconds.
  var deadline: Int64 = 10
  /// How fast the node's clock runs, in thousandths: 1000 is right, everything else breaks the quota.
  var clock: Int64 = 1000

  init(_ arguments: [String]) {
    for argument in arguments {
      let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2, set(parts[0], parts[1]) else { fatalError("what is \(argument)?") }
    }
  }

  private mutating func set(_ name: String, _ value: String) -> Bool {
    switch name {
    case "journal": journal = value
    case "store": store = value
    case "nodes": nodes = Int(value) ?? 1
    case "rank": rank = Int(value) ?? 0
    case "meets": meets = value == "true"
    case "parts": parts = Int(value) ?? 1
    case "rule": return setRule(value)
    case "mode": mode = LimitMode(rawValue: value) ?? .auto
    case "outage": outage = OutageRule(rawValue: value) ?? .local
    case "keys": keys = Int(value) ?? 1
    case "rate": rate = Double(value) ?? 1
    case "milliseconds": milliseconds = Int64(value) ?? 0
    case "start": start = Int64(value) ?? 0
    case "pulse": pulse = value.split(separator: ":").compactMap { Int64($0) }
    case "hold": hold = Int64(value) ?? 0
    case "deadline": deadline = Int64(value) ?? 10
    case "clock": clock = Int64(value) ?? 1000
    default: return false
    }
    return true
  }

  private mutating func setRule(_ text: String) -> Bool {
    let parts = text.split(separator: ":")
    let numbers = parts.dropFirst().compactMap { Int64($0) }
    guard let kind = parts.first, numbers.count == parts.count - 1 else { return false }
    switch (kind, numbers.count) {
    case ("window", 2): rule = .window(limit: numbers[0], lengthMicroseconds: numbers[1])
    case ("sliding", 2): rule = .sliding(limit: numbers[0], lengthMicroseconds: numbers[1])
    case ("rate", 2): rule = .rate(intervalNanoseconds: numbers[0], burst: numbers[1])
    case ("concurrency", 1): rule = .concurrency(limit: numbers[0])
    default: return false
    }
    return true
  }

  /// The Redis that decides.
  func redis() -> RedisStore? {
    let parts = store.split(separator: ":", maxSplits: 1).map(String.init)
    guard parts.count == 2 else { return nil }
    func local(_ port: UInt16) -> AddressText { .socket(.ip(IPAddress(v4: 0x7f00_0001), port: port)) }
    switch parts[0] {
    case "unix": return .single(RedisServer(address: .socket(.unix(path: parts[1]))))
    case "tcp": return UInt16(parts[1]).map { .single(RedisServer(address: local($0))) }
    case "sentinel":
      let ports = parts[1].split(separator: ",").compactMap { UInt16($0) }
      return ports.isEmpty ? nil : .sentinel(RedisSentinels(name: "m", addresses: ports.map(local)))
    default: return nil
    }
  }

  /// Whether it asks at a moment.
  func asks(at moment: WallTime) -> Bool {
    let period = pulse.reduce(0, +)
    guard period > 0 else { return true }
    var left = moment.microseconds / 1000 % period
    for (index, span) in pulse.enumerated() {
      if left < span { return index % 2 == 0 }
      left -= span
    }
    return false
  }

  /// The rule with the limit that holds now, where the watcher has set one.
  func rule(_ limit: Int) -> LimitRule {
    guard limit > 0 else { return rule }
    return switch rule {
    case .window(_, let length): .window(limit: Int64(limit), lengthMicroseconds: length)
    case .sliding(_, let length): .sliding(limit: Int64(limit), lengthMicroseconds: length)
    case .rate(let interval, _): .rate(intervalNanoseconds: interval, burst: Int64(limit))
    case .calendar: .calendar(limit: Int64(limit))
    case .concurrency: .concurrency(limit: Int64(limit))
    }
  }
}
