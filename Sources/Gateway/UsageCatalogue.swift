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
    /// The plan that it belongs to; nil where it holds for all callers.
    let plan: PlanPlace?
    /// Whether the routes know consumers by other means than ``gates``; only asked for plans.
    let identifies: Bool
    /// Who has to let a caller pass; where there is nobody, the routes know no consumers.
    let gates: [ApiKey]
    /// Whose the routes are, where they are somebody's.
    let tenant: String?
    fileprivate(set) var routes: [Int32]

    /// Whether a consumer who is asked about is known as such there.
    var isIdentified: Bool { !gates.isEmpty || identifies }

    /// Whether the routes let a consumer pass, or somebody who is none.
    func admits(_ consumer: Consumer?) -> Bool { UsageCatalogue.admits(consumer, gates, tenant) }
  }

  /// A policy with plans, on routes that know callers alike.
  struct Plans: Sendable {
    let policy: UsagePlans
    /// See ``Entry/gates``.
    let gates: [ApiKey]
    /// See ``Entry/identifies``.
    let identifies: Bool
    /// See ``Entry/tenant``.
    let tenant: String?

    /// Whether the routes let a consumer pass who is known there by a key.
    func admits(_ consumer: Consumer?) -> Bool { UsageCatalogue.admits(consumer, gates, tenant) }
  }

  /// How many policies know callers who ask for their usage before those of tenants' routes do no more: each of them is tried.
  private static let mostIdentities = 64

  private static func admits(_ consumer: Consumer?, _ gates: [ApiKey], _ tenant: String?) -> Bool {
    guard let consumer else { return gates.isEmpty }
    return gates.allSatisfy { $0.admits(consumer) } && (tenant == nil || consumer.tenant == tenant)
  }

  let entries: ContiguousArray<Entry>
  /// The policies with plans.
  let plans: [Plans]
  /// The routes, which entries name by index.
  let routes: ContiguousArray<RoutePlan>
  /// The policies by which routes know consumers, each once.
  let identities: [ApiKey]

  init(_ routes: ContiguousArray<RoutePlan>) {
    var builder = Builder()
    for (index, route) in routes.enumerated() { builder.add(route, at: Int32(index)) }
    entries = builder.entries
    plans = builder.plans
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
      let identifies: Bool
      let tenant: String?
      let route: Int32
    }

    var entries: ContiguousArray<Entry> = []
    var identities: [ApiKey] = []
    var plans: [Plans] = []
    private var places: [Key: Int] = [:]
    private var chains: [ObjectIdentifier: [Int]] = [:]

    mutating func add(_ route: RoutePlan, at index: Int32) {
      if let shared = chains[ObjectIdentifier(route.chain)] {
        for place in shared { entries[place].routes.append(index) }
        return
      }
      let gates = route.chain.requestPolicies(of: ApiKey.self)
      for gate in gates where !identities.contains(where: { $0 === gate }) {
        if route.tenant != nil, identities.count >= UsageCatalogue.mostIdentities { break }
        identities.append(gate)
      }
      var found: [Int] = []
      let identifies = route.chain.identifiesCallers
      add(route.chain.requestPolicies(of: UsagePlans.self), gates, identifies, route.tenant)
      var isShared = true
      for part in route.chain.limits {
        let outlines = part.limiter.outlines
        for level in part.indexes {
          let outline = outlines[level]
          if outline.isPerRoute { isShared = false }
          let key = Key(
            identity: outline.identity, gates: gates.map { ObjectIdentifier($0) },
            identifies: part.plan != nil && identifies, tenant: route.tenant, route: outline.isPerRoute ? index : -1)
          if let place = places[key] {
            entries[place].routes.append(index)
            found.append(place)
          } else {
            places[key] = entries.count
            found.append(entries.count)
            entries.append(
              Entry(
                limiter: part.limiter, index: level, outline: outline, plan: part.plan, identifies: key.identifies,
                gates: gates, tenant: route.tenant, routes: [index]))
          }
        }
      }
      if isShared { chains[ObjectIdentifier(route.chain)] = found }
    }

    private mutating func add(_ policies: [UsagePlans], _ gates: [ApiKey], _ identifies: Bool, _ tenant: String?) {
      for policy in policies {
        let isKnown = plans.contains { other in
          other.policy.instance == policy.instance && other.identifies == identifies && other.tenant == tenant
            && other.gates.elementsEqual(gates, by: ===)
        }
        if !isKnown { plans.append(Plans(policy: policy, gates: gates, identifies: identifies, tenant: tenant)) }
      }
    }
  }
}
