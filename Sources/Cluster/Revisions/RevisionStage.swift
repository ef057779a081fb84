// How the leader finds out whether a staged revision does well: it compares those that run it with those that do not, over
// the same time and the same traffic. No network, no clock of its own.

/// What the nodes of a cluster have done since a stage began.
struct RevisionStage {
  /// What a node has done since it started, as it says once a second.
  struct Load: Equatable {
    var requests: Int64
    /// Those of ``requests`` that were answered with 500 or above.
    var failures: Int64
    /// The sum of their durations.
    var microseconds: Int64
  }

  /// What follows.
  enum Verdict: Equatable {
    case wait
    case goOn(String)
    case goBack(String)
  }

  /// Requests from which on a share of failures, and a mean of durations, mean something.
  private static let fewest: Int64 = 20
  /// By how much, in percent of all requests, and how many times more must fail there than elsewhere.
  private static let worsePercent = 1.0
  private static let worseFactor = 2.0
  /// By how many microseconds more than that many times it must be slower.
  private static let slowerMicroseconds = 5000.0

  private let names: Set<String>
  /// When the stage is over, by the leader's boot clock in nanoseconds.
  let endsAt: Int64
  private var first: [String: Load] = [:]
  private var last: [String: (name: String, load: Load)] = [:]

  /// The stage of these nodes, until then.
  init(of names: [String], endsAt: Int64) {
    self.names = Set(names)
    self.endsAt = endsAt
  }

  /// Takes in what a life of a node (`id`) says. What it did before it was first heard of does not count.
  mutating func note(_ load: Load, id: String, name: String) {
    if first[id] == nil { first[id] = load }
    last[id] = (name, load)
  }

  /// What follows from what is known at `moment`.
  func verdict(at moment: Int64) -> Verdict {
    let (staged, rest) = (total { names.contains($0) }, total { !names.contains($0) })
    let (bad, usual) = (Self.failurePercent(staged), Self.failurePercent(rest))
    if staged.requests >= Self.fewest, bad > usual + Self.worsePercent, bad > usual * Self.worseFactor {
      return .goBack(
        "\(Self.text(bad)) % of \(staged.requests) requests failed where it was staged, \(Self.text(usual)) % elsewhere"
      )
    }
    guard moment >= endsAt else { return .wait }
    if staged.requests >= Self.fewest, rest.requests >= Self.fewest {
      let (slow, fast) = (Self.mean(staged), Self.mean(rest))
      if slow > fast * Self.worseFactor + Self.slowerMicroseconds {
        return .goBack(
          "requests took \(Self.text(slow / 1000)) ms on average where it was staged, \(Self.text(fast / 1000)) ms elsewhere"
        )
      }
    }
    return .goOn(
      staged.requests == 0
        ? "no requests came to where it was staged"
        : "\(Self.text(bad)) % of \(staged.requests) requests failed where it was staged, \(Self.text(usual)) % elsewhere"
    )
  }

  private func total(of isWanted: (String) -> Bool) -> Load {
    var sum = Load(requests: 0, failures: 0, microseconds: 0)
    for (id, entry) in last where isWanted(entry.name) {
      guard let first = first[id] else { continue }
      sum.requests += entry.load.requests - first.requests
      sum.failures += entry.load.failures - first.failures
      sum.microseconds += entry.load.microseconds - first.microseconds
    }
    return sum
  }

  private static func failurePercent(_ load: Load) -> Double {
    load.requests > 0 ? Double(load.failures) * 100 / Double(load.requests) : 0
  }

  private static func mean(_ load: Load) -> Double { Double(load.microseconds) / Double(max(1, load.requests)) }

  /// With one digit behind the point.
  private static func text(_ value: Double) -> String {
    let tenths = Int64((value * 10).rounded())
    return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
  }
}
