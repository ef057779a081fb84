import Core
import Synchronization

/// Chooses endpoints of one upstream, on one loop.
///
/// Which endpoints are available changes seldom, requests come often: the balancer keeps a list of the available ones
/// and rebuilds it only when the upstream says that something has changed, when an ejection ends, or while a slow start
/// runs. A choice touches only that list and, where it counts, the shared figures of two endpoints.
public struct Balancer {
  /// The smallest share of its weight that slow start gives, in parts of 1024: a tenth.
  static let slowStartFloor: Int64 = 102
  /// How often a list is rebuilt while a slow start runs.
  static let slowStartStep: Int64 = 250_000_000

  @usableFromInline var endpoints: EndpointSet
  private let balance: Balance
  private let slowStartNanoseconds: Int64
  private let panicPercent: Int
  private let boundPercent: Int64

  /// Indexes of the endpoints that get requests, their effective weights (1024 parts each) and the running sums.
  private var available: ContiguousArray<Int32> = []
  /// The one endpoint in the list, −1 where there are more or none.
  @usableFromInline var only: Int32 = -1
  private var weights: ContiguousArray<Int64> = []
  private var sums: ContiguousArray<Int64> = []
  /// What smooth round-robin owes each of them.
  private var credits: ContiguousArray<Int64> = []
  /// By index of the endpoint, whether it is in the list.
  private var isAvailable: ContiguousArray<Bool> = []
  private var total: Int64 = 0
  private var hasEqualWeights = true
  private var cursor = 0
  @usableFromInline var seenChanges: UInt64 = .max
  @usableFromInline var rebuildAt = Instant(nanoseconds: .min)
  /// Whether too few endpoints are available, so that all are used.
  public private(set) var isPanicking = false

  /// A balancer for the endpoints of `plan`. `random` makes loops begin at different endpoints.
  public init(_ plan: UpstreamPlan, random: UInt64) {
    balance = plan.spec.balance
    slowStartNanoseconds = max(0, plan.spec.slowStart?.wholeNanoseconds ?? 0)
    panicPercent = plan.spec.panicPercent
    boundPercent = Int64(plan.spec.boundPercent ?? 0)
    endpoints = plan.endpoints
    cursor = Int(truncatingIfNeeded: random >> 33)
    reserve()
  }

  /// The endpoints among which it chooses: ``pick(hash:tried:now:random:)`` returns an index in this set.
  public var current: EndpointSet { endpoints }

  /// Goes on with other endpoints of the same upstream.
  public mutating func adopt(_ endpoints: EndpointSet) {
    self.endpoints = endpoints
    seenChanges = .max
    rebuildAt = Instant(nanoseconds: .min)
    reserve()
  }

  private mutating func reserve() {
    let count = endpoints.count
    available.reserveCapacity(count)
    weights.reserveCapacity(count)
    sums.reserveCapacity(count)
    credits = ContiguousArray(repeating: 0, count: count)
    isAvailable = ContiguousArray(repeating: false, count: count)
  }

  /// The index in ``current`` of the endpoint for a request, −1 if all have been tried or there is none.
  ///
  /// `hash` is what consistent hashing goes by, a ``StableHash``; `random` are 64 random bits. Allocates nothing.
  @inline(__always)
  public mutating func pick(hash: UInt64, tried: TriedEndpoints, now: Instant, random: UInt64) -> Int32 {
    if seenChanges != endpoints.state.changeCount.load(ordering: .acquiring) || rebuildAt <= now { rebuild(now: now) }
    let count = available.count
    if count <= 1 { return count == 1 && !isTried(0, tried) ? available[0] : -1 }
    switch balance {
    case .roundRobin: return pickInTurn(tried)
    case .random: return untried(draw(random), tried)
    case .leastRequest: return pickLeastRequests(tried, random)
    case .latency: return pickLeastLatency(tried, now, random)
    case .consistentHash: return pickByHash(hash, tried)
    }
  }

  /// The endpoint that ``pick(hash:tried:now:random:)`` would return for every request that has tried none, if that can be
  /// told at a glance; −1 otherwise.
  @inlinable
  @inline(__always)
  public func obviousPick(now: Instant) -> Int32 {
    let isCurrent = seenChanges == endpoints.state.changeCount.load(ordering: .acquiring) && rebuildAt > now
    return isCurrent ? only : -1
  }

  // MARK: The list of available endpoints

  private mutating func rebuild(now: Instant) {
    seenChanges = endpoints.state.changeCount.load(ordering: .acquiring)
    rebuildAt = .never
    var availableCount = 0
    for endpoint in endpoints.endpoints {
      if endpoint.state.isAvailable(at: now) { availableCount += 1 }
      let end = endpoint.state.ejectedUntil
      if end > now, end < rebuildAt { rebuildAt = end }
    }
    isPanicking = availableCount == 0 || availableCount * 100 < panicPercent * endpoints.count
    available.removeAll(keepingCapacity: true)
    weights.removeAll(keepingCapacity: true)
    sums.removeAll(keepingCapacity: true)
    total = 0
    hasEqualWeights = true
    for index in 0..<endpoints.count {
      let endpoint = endpoints.endpoints[index]
      isAvailable[index] = isPanicking || endpoint.state.isAvailable(at: now)
      guard isAvailable[index] else { continue }
      let weight = effectiveWeight(endpoint, now: now)
      total += weight
      available.append(Int32(index))
      weights.append(weight)
      sums.append(total)
      if weight != weights[0] { hasEqualWeights = false }
    }
    only = available.count == 1 ? available[0] : -1
    for index in credits.indices { credits[index] = 0 }
    if !hasEqualWeights { startCredits() }
  }

  private mutating func effectiveWeight(_ endpoint: Endpoint, now: Instant) -> Int64 {
    let full = Int64(endpoint.weight) * 1024
    let joined = endpoint.state.joinedAtValue.load(ordering: .relaxed)
    guard slowStartNanoseconds > 0, joined > 0 else { return full }
    let elapsed = max(0, now.nanoseconds &- joined)
    guard elapsed < slowStartNanoseconds else { return full }
    let step = now.advanced(byNanoseconds: max(1, min(Self.slowStartStep, slowStartNanoseconds / 16)))
    if step < rebuildAt { rebuildAt = step }
    let share = Int64(Double(elapsed) / Double(slowStartNanoseconds) * 1024)
    return max(1, full * max(Self.slowStartFloor, share) / 1024)
  }

  /// Loops that all began with the heaviest endpoint would send it a burst; each begins elsewhere in the same order.
  private mutating func startCredits() {
    var seed = UInt64(truncatingIfNeeded: cursor)
    for place in available.indices {
      seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      credits[place] = scaled(seed, below: weights[place])
    }
  }

  // MARK: The ways to choose; places are positions in `available`

  @inline(__always)
  private func isTried(_ place: Int, _ tried: TriedEndpoints) -> Bool {
    tried.count != 0 && tried.contains(endpoints.endpoints[Int(available[place])].state.id)
  }

  /// The endpoint at `place`, or the next one behind it that was not tried.
  @inline(__always)
  private func untried(_ place: Int, _ tried: TriedEndpoints) -> Int32 {
    if !isTried(place, tried) { return available[place] }
    return nextUntried(place, tried)
  }

  private func nextUntried(_ place: Int, _ tried: TriedEndpoints) -> Int32 {
    for step in 1..<available.count {
      let next = (place &+ step) % available.count
      if !isTried(next, tried) { return available[next] }
    }
    return -1
  }

  private mutating func pickInTurn(_ tried: TriedEndpoints) -> Int32 {
    if hasEqualWeights {
      cursor &+= 1
      if cursor >= available.count { cursor = cursor % available.count }
      return untried(cursor, tried)
    }
    // Smooth weighted round-robin: everyone earns its weight, the richest is chosen and pays what all have earned.
    var best = 0
    for place in 0..<available.count {
      credits[place] &+= weights[place]
      if credits[place] > credits[best] { best = place }
    }
    credits[best] &-= total
    return untried(best, tried)
  }

  /// A place drawn by weight.
  @inline(__always)
  private func draw(_ random: UInt64) -> Int {
    if hasEqualWeights { return Int(scaled(random, below: Int64(available.count))) }
    let target = scaled(random, below: total)
    var low = 0
    var high = sums.count &- 1
    while low < high {
      let middle = (low &+ high) / 2
      if sums[middle] <= target { low = middle &+ 1 } else { high = middle }
    }
    return low
  }

  /// Two different places, each drawn by weight as far as they can differ.
  @inline(__always)
  private func drawTwo(_ random: UInt64) -> (Int, Int) {
    let first = draw(random)
    var second = draw(random &* 0x9e37_79b9_7f4a_7c15 ^ random >> 32)
    if second == first { second = first &+ 1 == available.count ? 0 : first &+ 1 }
    return (first, second)
  }

  private func pickLeastRequests(_ tried: TriedEndpoints, _ random: UInt64) -> Int32 {
    let (first, second) = drawTwo(random)
    let left = Int64(endpoints.endpoints[Int(available[first])].state.activeRequests)
    let right = Int64(endpoints.endpoints[Int(available[second])].state.activeRequests)
    let isSecondBetter = right &* weights[first] < left &* weights[second]
    return prefer(isSecondBetter ? second : first, over: isSecondBetter ? first : second, tried)
  }

  private func pickLeastLatency(_ tried: TriedEndpoints, _ now: Instant, _ random: UInt64) -> Int32 {
    let (first, second) = drawTwo(random)
    let isSecondBetter = cost(second, now) < cost(first, now)
    return prefer(isSecondBetter ? second : first, over: isSecondBetter ? first : second, tried)
  }

  /// Latency times requests running, for its weight. An endpoint that has never answered is tried by one request at a
  /// time, before all others, and then waits for what is learnt.
  @inline(__always)
  private func cost(_ place: Int, _ now: Instant) -> Double {
    let state = endpoints.endpoints[Int(available[place])].state
    let active = Double(state.activeRequests)
    var latency = Double(state.latency(at: now))
    if latency == 0, active > 0 { latency = 1e9 }
    return latency * (active + 1) / Double(weights[place])
  }

  @inline(__always)
  private func prefer(_ better: Int, over worse: Int, _ tried: TriedEndpoints) -> Int32 {
    if !isTried(better, tried) { return available[better] }
    return untried(worse, tried)
  }

  private func pickByHash(_ hash: UInt64, _ tried: TriedEndpoints) -> Int32 {
    guard let ring = endpoints.ring, !ring.hashes.isEmpty else { return -1 }
    let bound = loadBound()
    var point = ring.firstPoint(hash)
    var second: Int32 = -1
    // Stops where it began: then no available endpoint is untried, or each runs more than its bound.
    for _ in 0..<ring.owners.count {
      let owner = ring.owners[point]
      let state = endpoints.endpoints[Int(owner)].state
      if isAvailable[Int(owner)], !tried.contains(state.id) {
        if Int64(state.activeRequests) < bound { return owner }
        if second < 0 { second = owner }
      }
      point &+= 1
      if point == ring.owners.count { point = 0 }
    }
    return second
  }

  /// Requests that run at the same time and say nothing of load yet: at a few in all, the average is below one, and keys
  /// would leave their endpoints by chance.
  static let boundSlack: Int64 = 8

  /// So many requests an endpoint may run and still get one more: with this one, `boundPercent` of the average, rounded up
  /// (consistent hashing with bounded loads, Mirrokni, Thorup and Zadimoghaddam 2017), but never fewer than ``boundSlack``.
  private func loadBound() -> Int64 {
    guard boundPercent > 0 else { return .max }
    var running: Int64 = 1
    for index in available { running += Int64(max(0, endpoints.endpoints[Int(index)].state.activeRequests)) }
    let divisor = 100 * Int64(available.count)
    return max(Self.boundSlack, (running * boundPercent + divisor - 1) / divisor)
  }
}
