import Core
import HTTP
import Pipeline
import Policies

/// Who it is about: what is known of somebody whose limits are looked up.
struct UsageSubject {
  /// The index of the consumer; −1 for somebody without a key.
  var consumer: Int32 = -1
  /// The index of the key among the consumer's; −1 for all of them.
  var key: Int32 = -1
  /// See `Exchange.issuedKey`.
  var issuedKey: UInt64 = 0
  /// The address, where it is known.
  var address: IPAddress?
  /// What a token would say of whoever sends the request; nil for nothing.
  var identity: Identity?
  /// The request that asks for itself.
  var request: RequestHead?

  /// What a request to `route` would be counted by, where it knows consumers or does not.
  func candidate(route: Int32, isIdentified: Bool, key: Int32) -> LimitCandidate {
    LimitCandidate(
      Caller(
        consumer: isIdentified ? consumer : -1, key: isIdentified ? key : -1, issuedKey: issuedKey,
        route: route, client: address ?? IPAddress(high: 0, low: 0), identity: identity),
      isAddressKnown: address != nil, request: request)
  }
}

/// The counters that somebody draws on, each once: those that can be asked about first, then those of which too little is
/// known. The same subject gets the same list under the same configuration, so that it need not be kept while it waits.
struct UsageSurvey {
  /// The most counters that one answer reports. A caller who has more is told that there are more.
  static let capacity = 256

  struct Counter {
    let entry: UsageCatalogue.Entry
    /// The key that it belongs to, where each has its own; −1 otherwise.
    let key: Int32
    var routes: [Int32]
  }

  private(set) var counters: [Counter] = []
  /// The question about each of ``counters``.
  private(set) var levels: [QuotaLevel] = []
  /// What depends on an address or a field that is not known.
  private(set) var unknown: [Counter] = []
  private(set) var isComplete = true
  /// The plans that the subject has, by the policies of the routes that it can reach.
  private(set) var plans: [PlanPlace] = []
  private var places: [QuotaKey: Int] = [:]

  /// The counters of `subject`, on one route or (−1) on all that it can reach.
  init(
    _ catalogue: UsageCatalogue, _ subject: UsageSubject, _ services: Services, _ civil: WallTime, route: Int32 = -1
  ) {
    let consumer = subject.consumer >= 0 ? services.consumer(subject.consumer) : nil
    for entry in catalogue.entries where route < 0 || entry.routes.contains(route) {
      guard entry.admits(consumer) else { continue }
      if let plan = entry.plan {
        let caller = subject.candidate(route: -1, isIdentified: entry.isIdentified, key: subject.key).caller
        guard plan.policy.choice(caller, services) == .plan(plan.index) else { continue }
      }
      guard entry.outline.isPerKey, !entry.gates.isEmpty, subject.key == -1, let consumer, !consumer.keys.isEmpty else {
        add(entry, subject, key: subject.key, services, civil)
        continue
      }
      for key in consumer.keys.indices { add(entry, subject, key: Int32(key), services, civil) }
    }
    if route < 0 { plans = Self.plans(catalogue, subject, consumer, services) }
  }

  /// The plans of `subject`, by all policies that have any.
  private static func plans(
    _ catalogue: UsageCatalogue, _ subject: UsageSubject, _ consumer: Consumer?, _ services: Services
  ) -> [PlanPlace] {
    var found: [PlanPlace] = []
    for plans in catalogue.plans where plans.admits(consumer) {
      let isIdentified = !plans.gates.isEmpty || plans.identifies
      let caller = subject.candidate(route: -1, isIdentified: isIdentified, key: subject.key).caller
      guard let plan = plans.policy.plan(of: caller, services) else { continue }
      let isKnown = found.contains { $0.policy.instance == plan.policy.instance && $0.index == plan.index }
      if !isKnown { found.append(plan) }
    }
    return found
  }

  private mutating func add(
    _ entry: UsageCatalogue.Entry, _ subject: UsageSubject, key: Int32, _ services: Services, _ civil: WallTime
  ) {
    let candidate = subject.candidate(route: entry.routes[0], isIdentified: entry.isIdentified, key: key)
    let counter = Counter(entry: entry, key: entry.outline.isPerKey ? key : -1, routes: entry.routes)
    guard let level = entry.limiter.question(at: entry.index, for: candidate, services, civil) else {
      if unknown.count < Self.capacity { unknown.append(counter) } else { isComplete = false }
      return
    }
    if let place = places[level.key] {
      counters[place].routes += entry.routes.filter { !counters[place].routes.contains($0) }
      return
    }
    guard counters.count < Self.capacity else { return isComplete = false }
    places[level.key] = counters.count
    counters.append(counter)
    levels.append(level)
  }

  /// Puts the counters from `start` on into an empty question, as many as it holds.
  func fill(_ question: inout LimitQuestion, from start: Int) {
    question.removeAll()
    for level in levels[start..<min(levels.count, start + LimitQuestion.capacity)] { question.append(level) }
  }
}
