// The other side of a plan: what a change does to those who send requests. It compares what was compiled, not what was
// written, so that it knows which limits a route has whatever the policies are called.

import Core
import Pipeline
import Policies
import Traffic

/// Something that a new configuration does, which its author may not have meant.
public struct PlanConsequence: Equatable, Sendable {
  /// What kind of thing it is: a stable word for machines.
  public enum Code: String, Sendable {
    case routeGone = "route-gone"
    case routeCovered = "route-covered"
    case routeUnreachable = "route-unreachable"
    case limitLowered = "limit-lowered"
    case limitRaised = "limit-raised"
    case limitRemoved = "limit-removed"
    case limitAdded = "limit-added"
    case limitAnew = "limit-anew"
    case policyRemoved = "policy-removed"
    case policyAdded = "policy-added"
    case policiesReordered = "policies-reordered"
    case keyRemoved = "key-removed"
    case keyAdded = "key-added"
    case planChanged = "plan-changed"
    case warning
    case overLimit = "over-limit"
  }

  /// What kind of thing it is.
  public let code: Code
  /// The object that it happens to: a route, a consumer, or `POLICY/LIMIT`.
  public let subject: String
  /// What happens, a sentence without a full stop.
  public let message: String

  /// Whether somebody who was served may be refused now, or is let through who was not.
  public var isSerious: Bool {
    switch code {
    case .routeGone, .limitLowered, .limitRemoved, .policyRemoved, .keyRemoved, .routeUnreachable, .overLimit, .warning:
      true
    default: false
    }
  }
}

/// A limit that is lower than before: who is over it now can be asked of the nodes.
public struct LoweredLimit: Equatable, Sendable {
  /// The policy.
  public let policy: String
  /// The limit's name.
  public let name: String
  /// The new limit.
  public let limit: Int64
}

/// What follows from going from one configuration to another.
struct PlanConsequences {
  /// One side of a plan.
  struct Side {
    let blueprint: Blueprint
    let objects: PlanObjects
  }

  /// The most routes of one kind of consequence that are named one by one.
  private static let most = 100

  private(set) var all: [PlanConsequence] = []
  private(set) var lowered: [LoweredLimit] = []

  init(from old: Side, to new: Side, warnings: [Diagnostic]) {
    compareRoutes(old, new)
    comparePolicies(old, new)
    compareLimits(old, new)
    compareKeys(old.blueprint.keyRing, new.blueprint.keyRing)
    for warning in warnings where warning.severity == .warning {
      let code: PlanConsequence.Code = warning.path.hasPrefix("routes") ? .routeUnreachable : .warning
      add(code, warning.path, "\(warning.message); \(warning.fix)")
    }
  }

  private mutating func add(_ code: PlanConsequence.Code, _ subject: String, _ message: String) {
    all.append(PlanConsequence(code: code, subject: subject, message: message))
  }

  // MARK: Routes

  /// Routes that are gone or take something else: whether others take what they took.
  private mutating func compareRoutes(_ old: Side, _ new: Side) {
    let before = Self.matches(old.objects)
    let after = Self.matches(new.objects)
    let kept = Dictionary(after) { first, _ in first }
    let leaving = before.filter { kept[$0.name] != $0.match }
    let (_, problems) = RouteTable.build(after.map(\.match) + leaving.prefix(Self.most).map(\.match))
    var covering: [Int: Int] = [:]
    for problem in problems where problem.route >= after.count {
      if let other = problem.otherRoutes.first, other < after.count { covering[problem.route - after.count] = other }
    }
    // A tie is told of the later of the two, whichever of them left.
    for problem in problems where problem.route < after.count {
      if let other = problem.otherRoutes.first, other >= after.count { covering[other - after.count] = problem.route }
    }
    for (index, route) in leaving.prefix(Self.most).enumerated() {
      let what = kept[route.name] == nil ? "is gone" : "no longer takes \(route.match.text)"
      if let other = covering[index].map({ after[$0].name }) {
        if other != route.name { add(.routeCovered, route.name, "\(what); \"\(other)\" takes \(route.match.text)") }
      } else {
        add(.routeGone, route.name, "\(what): \(route.match.text) is no longer reachable as before")
      }
    }
    if leaving.count > Self.most { add(.routeGone, "", "\(leaving.count - Self.most) more routes change or go") }
  }

  private static func matches(_ objects: PlanObjects) -> [(name: String, match: RouteMatch)] {
    objects.all(.route).map { route in
      let session = OptionSession(text: [], secrets: { _ in .success("") })
      let match = route.value["match"].map { value in
        var reader = OptionReader(value, session: session)
        return RouteMatch(&reader)
      }
      return (route.name, match ?? RouteMatch())
    }
  }

  // MARK: Policies of routes

  private mutating func comparePolicies(_ old: Side, _ new: Side) {
    let before = Dictionary(Self.chains(old.objects)) { first, _ in first }
    for (route, after) in Self.chains(new.objects) {
      guard let before = before[route], before != after else { continue }
      for policy in before where !after.contains(policy) {
        add(.policyRemoved, route, "policy \"\(policy)\" no longer applies")
      }
      for policy in after where !before.contains(policy) { add(.policyAdded, route, "policy \"\(policy)\" applies") }
      let kept = before.filter { after.contains($0) }
      let now = after.filter { before.contains($0) }
      if kept != now {
        add(
          .policiesReordered, route,
          "policies run in the order \(now.joined(separator: ", ")) instead of \(kept.joined(separator: ", "))")
      }
    }
  }

  /// What each route's policies are called, in the order in which they run.
  private static func chains(_ objects: PlanObjects) -> [(route: String, policies: [String])] {
    let types = Dictionary(objects.all(.policy).map { ($0.name, $0.value["type"]?.string ?? "") }) { first, _ in first }
    func rank(_ type: String) -> Int {
      guard let index = Registry.policies.firstIndex(where: { $0.name == type }) else { return .max }
      return Int(Registry.policies[index].phase.rawValue) * 1000 + index
    }
    return objects.all(.route).map { route in
      let uses = route.value["policies"]?.elements ?? []
      let named = uses.map { use in
        use.string.map { (name: $0, rank: rank(types[$0] ?? "")) }
          ?? (name: use["type"]?.string ?? "", rank: rank(use["type"]?.string ?? ""))
      }
      return (
        route.name,
        named.enumerated().sorted { ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset) }.map(\.element.name)
      )
    }
  }

  // MARK: Limits

  private mutating func compareLimits(_ old: Side, _ new: Side) {
    let before = Self.limits(old.blueprint)
    let after = Self.limits(new.blueprint)
    let known = Dictionary(before.map { ($0.name, $0) }) { first, _ in first }
    let kept = Set(after.map(\.name))
    for limit in before where !kept.contains(limit.name) {
      add(.limitRemoved, limit.name, "\(limit.outline.rule.text) is gone: \(limit.where)")
    }
    for limit in after {
      guard let former = known[limit.name] else {
        add(.limitAdded, limit.name, "\(limit.outline.rule.text) is new: \(limit.where)")
        continue
      }
      let (from, to) = (former.outline.rule, limit.outline.rule)
      guard former.outline.identity == limit.outline.identity, from.kind == to.kind else {
        add(.limitAnew, limit.name, "\(from.text) becomes \(to.text), which counts anew: \(limit.where)")
        continue
      }
      switch to.compared(to: from) {
      case 0: continue
      case 1: add(.limitRaised, limit.name, "raised from \(from.text) to \(to.text): \(limit.where)")
      default:
        add(.limitLowered, limit.name, "lowered from \(from.text) to \(to.text): \(limit.where)")
        lowered.append(LoweredLimit(policy: limit.outline.policy, name: limit.outline.name, limit: to.limit))
      }
    }
  }

  private struct Limit {
    let outline: LimitOutline
    let routes: [String]

    var name: String { "\(outline.policy)/\(outline.name)" }

    var `where`: String {
      let named = routes.prefix(3).map { "\"\($0)\"" }.joined(separator: ", ")
      let more = routes.count > 3 ? " and \(routes.count - 3) more" : ""
      return "route\(routes.count == 1 ? "" : "s") \(named)\(more)"
    }
  }

  private static func limits(_ blueprint: Blueprint) -> [Limit] {
    blueprint.usage.entries.map { entry in
      Limit(outline: entry.outline, routes: entry.routes.map { blueprint.routes[Int($0)].id })
    }
  }

  // MARK: Keys

  private mutating func compareKeys(_ old: KeyRing, _ new: KeyRing) {
    let after = Dictionary(new.consumers.map { ($0.id, $0) }) { first, _ in first }
    let before = Dictionary(old.consumers.map { ($0.id, $0) }) { first, _ in first }
    for consumer in old.consumers {
      for key in consumer.keys where after[consumer.id]?.keys.contains(where: { $0.digest == key.digest }) != true {
        add(.keyRemoved, consumer.id, "key \"\(key.id)\" is no longer valid")
      }
    }
    for consumer in new.consumers {
      if let former = before[consumer.id], former.plan != consumer.plan {
        func words(_ plan: String?) -> String { plan.map { "the plan \"\($0)\"" } ?? "no plan of its own" }
        add(
          .planChanged, consumer.id,
          "has \(words(consumer.plan)) instead of \(words(former.plan)), whose limits count on their own")
      }
      for key in consumer.keys where before[consumer.id]?.keys.contains(where: { $0.digest == key.digest }) != true {
        add(.keyAdded, consumer.id, "key \"\(key.id)\" is valid")
      }
    }
  }
}

extension RouteMatch {
  /// What it takes, for people.
  var text: String {
    let methods = methods.isEmpty ? "" : methods.joined(separator: "|") + " "
    let more = headers.isEmpty && query.isEmpty && version == nil ? "" : " with its conditions"
    return "\(methods)\(host ?? "*")\(path ?? "/*")\(more)"
  }
}

extension LimitRule {
  /// The rule, for people.
  var text: String {
    func span(_ microseconds: Int64) -> String { Duration.microseconds(microseconds).configurationText }
    switch self {
    case .rate(let interval, let burst):
      return "1 every \(Duration.nanoseconds(interval).configurationText), \(burst) at once"
    case .window(let limit, let length): return "\(limit) in each \(span(length))"
    case .sliding(let limit, let length): return "\(limit) in any \(span(length))"
    case .calendar(let limit): return "\(limit) a period"
    case .concurrency(let limit): return "\(limit) at the same time"
    }
  }

  /// −1 where it allows less than `other`, a rule of the same kind, in some respect; 1 for more; 0 for the same.
  func compared(to other: LimitRule) -> Int {
    if self == other { return 0 }
    if case .rate(let interval, let burst) = self, case .rate(let formerInterval, let formerBurst) = other {
      return interval > formerInterval || burst < formerBurst ? -1 : 1
    }
    return limit < other.limit ? -1 : 1
  }
}
