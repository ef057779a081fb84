import Core

/// Looks the names of an upstream up again and again: says when to ask, takes the answers, and says when the set of
/// endpoints has changed. The owner does the asking, on a thread that may wait.
///
/// A failure, or an answer without addresses, changes nothing: the last good addresses stay in use however old they
/// are, since a resolver that is down says nothing about the endpoints.
public struct NameResolution: Sendable {
  /// What to do now.
  public enum Action: Equatable, Sendable {
    /// Nothing until then.
    case wait(until: Instant)
    /// Look this name up and hand the answer back with `endpoint`.
    case lookUp(endpoint: Int, name: String, port: UInt16)
  }

  private struct Entry: Sendable {
    var endpoint: Int
    var name: String
    var port: UInt16
    var next: Instant
    var isAsking = false
  }

  private let spec: ResolutionSpec
  private var entries: [Entry] = []
  /// What is known: addresses by the index of the endpoint in the spec, sorted, as ``UpstreamDirectory`` takes them.
  public private(set) var addresses: [Int: [SocketAddress]]

  /// Look-ups of the names among the endpoints of `upstream`, due at once; `known` are addresses from before a reload.
  public init(_ upstream: UpstreamSpec, known: [Int: [SocketAddress]] = [:], now: Instant) {
    spec = upstream.resolution
    addresses = [:]
    for (index, endpoint) in upstream.endpoints.enumerated() {
      guard case .name(let name, let port) = endpoint.address else { continue }
      entries.append(Entry(endpoint: index, name: name, port: port, next: now))
      addresses[index] = known[index]
    }
  }

  /// Whether there is any name.
  public var isNeeded: Bool { !entries.isEmpty }

  /// Whether every name has been resolved at least once.
  public var isComplete: Bool { entries.allSatisfy { addresses[$0.endpoint] != nil } }

  /// What to do at `now`. Call again until it says to wait, and at the moment it names.
  public mutating func advance(now: Instant) -> Action {
    var next = Instant.never
    for index in entries.indices where !entries[index].isAsking {
      if entries[index].next <= now {
        entries[index].isAsking = true
        return .lookUp(endpoint: entries[index].endpoint, name: entries[index].name, port: entries[index].port)
      }
      next = min(next, entries[index].next)
    }
    return .wait(until: next)
  }

  /// An answer has come; nil or empty for a failure. Returns whether ``addresses`` changed, so that the upstream needs
  /// a new ``EndpointSet``. `random` spreads the next question over a tenth of the interval.
  public mutating func resolved(
    endpoint: Int, _ answer: [IPAddress]?, now: Instant, random: UInt64
  ) -> Bool {
    guard let index = entries.firstIndex(where: { $0.endpoint == endpoint && $0.isAsking }) else { return false }
    entries[index].isAsking = false
    let isGood = !(answer ?? []).isEmpty
    let pause = max(1_000_000, (isGood ? spec.interval : spec.retryInterval).wholeNanoseconds)
    entries[index].next = now.advanced(byNanoseconds: pause - pause / 20 + scaled(random, below: max(1, pause / 10)))
    guard isGood, let answer else { return false }
    // Resolvers rotate their answers: sorted, the same addresses are the same set.
    let sorted = Set(answer).sorted { $0.high != $1.high ? $0.high < $1.high : $0.low < $1.low }
    let port = entries[index].port
    let fresh = sorted.prefix(max(1, spec.maxAddresses)).map { SocketAddress.ip($0, port: port) }
    if addresses[endpoint] == fresh { return false }
    addresses[endpoint] = fresh
    return true
  }
}
