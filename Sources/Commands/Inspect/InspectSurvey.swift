import Cluster
import Core
import Crypto
import Gateway
import Pipeline
import Policies

/// Which counters somebody draws on, by a configuration.
struct InspectSurvey {
  /// A limit, and whose counter of it.
  struct Entry {
    let outline: LimitOutline
    let limiter: RateLimit
    /// The limit's index among those of ``limiter``.
    let index: Int
    let caller: Caller
    /// The key that it belongs to, where each has its own.
    let key: String?
    var routes: [String]
  }

  private(set) var entries: [Entry] = []
  /// Limits that count by something that was not given.
  private(set) var unknown: [LimitOutline] = []
  let cluster: ClusterSettings
  let consumer: String?
  private let keyRing: KeyRing
  private let routes: RouteNames
  private let isAddressKnown: Bool

  /// The limits of `blueprint` for whom `arguments` name.
  init(_ blueprint: Blueprint, _ arguments: Arguments) throws(UsageError) {
    cluster = blueprint.cluster
    consumer = arguments.value("--consumer")
    keyRing = blueprint.keyRing
    routes = RouteNames(blueprint.routes.map(\.id))
    let (index, key) = try Self.caller(keyRing, consumer, arguments.value("--key"))
    var address = IPAddress(high: 0, low: 0)
    if let text = arguments.value("--ip") {
      guard let given = IPAddress(text) else { throw UsageError("\(text) is no IP address") }
      address = given
    }
    isAddressKnown = arguments.has("--ip")
    let only = arguments.value("--route")
    if let only, !blueprint.routes.contains(where: { $0.id == only }) {
      throw UsageError("the file has no route \(only)")
    }
    for (position, route) in blueprint.routes.enumerated() where only == nil || route.id == only {
      let gates = route.chain.requestPolicies(of: ApiKey.self)
      guard gates.isEmpty || index >= 0 && gates.allSatisfy({ $0.admits(keyRing.consumers[index]) }) else { continue }
      let plan = index >= 0 ? keyRing.plan(ofConsumer: Int32(index)) : nil
      for part in route.chain.limits {
        if let place = part.plan, place.policy.choice(plan) != .plan(place.index) { continue }
        // Who uses plans is known by other means where not by a key.
        let isOpen = gates.isEmpty && (part.plan == nil || !route.chain.identifiesCallers)
        let outlines = part.limiter.outlines
        for level in part.indexes {
          let keys: [Int32] =
            isOpen || index < 0 || !outlines[level].isPerKey
            ? [-1] : key >= 0 ? [key] : (0..<Int32(keyRing.consumers[index].keys.count)).map { $0 }
          for key in keys {
            let caller = Caller(
              consumer: isOpen ? -1 : Int32(index), key: key, route: Int32(position), client: address)
            let name = key < 0 ? nil : keyRing.consumers[index].keys[Int(key)].id
            entries.append(
              Entry(
                outline: outlines[level], limiter: part.limiter, index: level, caller: caller, key: name,
                routes: [route.id]))
          }
        }
      }
    }
  }

  private static func caller(
    _ keyRing: KeyRing, _ consumer: String?, _ key: String?
  ) throws(UsageError) -> (Int, key: Int32) {
    guard let consumer else { return (-1, -1) }
    guard let index = keyRing.consumers.firstIndex(where: { $0.id == consumer }) else {
      throw UsageError("the file has no consumer \(consumer)")
    }
    guard let key else { return (index, -1) }
    guard let place = keyRing.consumers[index].keys.firstIndex(where: { $0.id == key }) else {
      throw UsageError("the consumer \(consumer) has no key \(key)")
    }
    return (index, Int32(place))
  }

  /// The counters at `civil`, each once, with the entries that they belong to.
  mutating func levels(_ world: any World, at civil: WallTime) -> [QuotaLevel] {
    let quota = StillQuota(subjectKey: ClusterKeys(secret: cluster.nameSecret).subjects, civil: civil)
    let services = Services(world: world, quota: quota, keyRing: keyRing, routes: routes, hasher: SHA256())
    var (found, kept, places) = ([QuotaLevel](), [Entry](), [QuotaKey: Int]())
    unknown = []
    for entry in entries {
      let candidate = LimitCandidate(entry.caller, isAddressKnown: isAddressKnown, request: nil)
      guard let level = entry.limiter.question(at: entry.index, for: candidate, services, civil) else {
        if !unknown.contains(where: { $0.identity == entry.outline.identity }) { unknown.append(entry.outline) }
        continue
      }
      if let place = places[level.key] {
        kept[place].routes += entry.routes.filter { !kept[place].routes.contains($0) }
      } else {
        places[level.key] = found.count
        found.append(level)
        kept.append(entry)
      }
    }
    entries = kept
    return found
  }
}

/// Names counters as the cluster's nodes do, and decides nothing.
private final class StillQuota: Quota {
  let subjectKey: SipKey
  private let civil: WallTime

  init(subjectKey: SipKey, civil: WallTime) {
    self.subjectKey = subjectKey
    self.civil = civil
  }

  func civilTime(now: Instant, wall: WallTime) -> WallTime { civil }
  func decide(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {}
  func peek(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {}
  func collect(_ question: inout LimitQuestion, ticket: UInt64) {}
  func release(_ question: inout LimitQuestion, now: Instant) {}
}
