// What can be reported of limits, worked out once for each configuration.
//
// A limit that many routes share is one counter, so it is one entry here, with the routes that draw on it. Who may learn
// what follows from the routes themselves: an entry is reported to those whom the `api-key` policies of its routes let
// pass. The caller who asks for his own usage is known by the same policies, in a chain that no route has.

import Core
import HTTP
import Pipeline
import Policies

/// All limits of a configuration. Immutable; shared by all loops.
final class UsageCatalogue: Sendable {
  /// A limit and the routes that count under it.
  struct Entry: Sendable {
    let limiter: RateLimit
    /// The limit's index among those of ``limiter``.
    let index: Int
    let outline: LimitOutline
    /// Who has to let a caller pass; where there is nobody, the routes know no consumers.
    let gates: [ApiKey]
    fileprivate(set) var routes: [Int32]

    /// Whether the routes let a consumer pass.
    func admits(_ consumer: Consumer) -> Bool { gates.allSatisfy { $0.admits(consumer) } }
  }

  let entries: ContiguousArray<Entry>
  /// The routes, which entries name by index.
  let routes: ContiguousArray<RoutePlan>
  /// The policies by which routes know consumers, each once.
  let identities: [ApiKey]

  init(_ routes: ContiguousArray<RoutePlan>) {
    var builder = Builder()
    for (index, route) in routes.enumerated() { builder.add(route, at: Int32(index)) }
    entries = builder.entries
    identities = builder.identities
    self.routes = routes
  }
}

extension RoutePlan {
  /// The route of callers who ask for their own usage; no table leads to it.
  convenience init(usage catalogue: UsageCatalogue) {
    var draft = RouteDraft()
    draft.id = "_usage"
    draft.bodyLimit = 0
    draft.chain = PolicyChain([UsageIdentity(catalogue.identities), UsageReport(catalogue)])
    self.init(draft)
  }
}

extension UsageCatalogue {
  /// Collects the entries. Routes that share a chain are looked at once, unless they have counters of their own.
  private struct Builder {
    private struct Key: Hashable {
      let identity: QuotaKey
      let gates: [ObjectIdentifier]
      let route: Int32
    }

    var entries: ContiguousArray<Entry> = []
    var identities: [ApiKey] = []
    private var places: [Key: Int] = [:]
    private var chains: [ObjectIdentifier: [Int]] = [:]

    mutating func add(_ route: RoutePlan, at index: Int32) {
      if let shared = chains[ObjectIdentifier(route.chain)] {
        for place in shared { entries[place].routes.append(index) }
        return
      }
      let gates = route.chain.requestPolicies(of: ApiKey.self)
      for gate in gates where !identities.contains(where: { $0 === gate }) { identities.append(gate) }
      var found: [Int] = []
      var isShared = true
      for limiter in route.chain.requestPolicies(of: RateLimit.self) {
        for (level, outline) in limiter.outlines.enumerated() {
          if outline.isPerRoute { isShared = false }
          let key = Key(
            identity: outline.identity, gates: gates.map { ObjectIdentifier($0) },
            route: outline.isPerRoute ? index : -1)
          if let place = places[key] {
            entries[place].routes.append(index)
            found.append(place)
          } else {
            places[key] = entries.count
            found.append(entries.count)
            entries.append(Entry(limiter: limiter, index: level, outline: outline, gates: gates, routes: [index]))
          }
        }
      }
      if isShared { chains[ObjectIdentifier(route.chain)] = found }
    }
  }
}
