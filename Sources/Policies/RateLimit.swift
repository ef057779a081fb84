import Core
import HTTP
import Pipeline

/// Admits so many requests, or so many at once, counted by consumer, key, tenant, group, route, address or field.
///
/// All limits that apply to a request are decided together, those of several such policies on one route too: all or none,
/// and a denial uses nothing up. Clients are told by `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-
/// headers-11) and refused with 429 `rate-limited` or `concurrency-limited` and `Retry-After`.
///
/// The embedded store cannot fail. While a shared one cannot be asked, `onStoreFailure` holds: the node's share of each
/// limit, everything, or 503 `quota-unavailable`; such responses say so by `Sluice-Degraded: local`, `open` or `closed`.
public final class RateLimit: Policy, RequestHook, EndHook {
  /// The name in the configuration.
  public static let name = "rate-limit"
  /// After it is known who calls.
  public static let phase = Phase.admit
  /// What it does.
  public static let summary = "Admits so many requests by consumer, tenant, route, address or field."

  /// Its modes are more than one bit.
  public static let readsMode = true
  /// Whether it only watches.
  public let isShadow: Bool

  let levels: ContiguousArray<LimitLevel>
  private let tellsClients: Bool
  /// Each level again, as plain data.
  private let steps: ContiguousArray<LimitStep>
  /// The only one of them, where there are no others and it is plain.
  private let onlyStep: LimitStep?
  /// What clients are told when a level binds, up to the number, one behind the other; ``LimitStep`` says where. Behind
  /// the last there is room for a vector's overshoot.
  private let openings: [UInt8]

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    let instance = options.instanceName.isEmpty ? Self.name : options.instanceName
    let kept = LimitTermsReader(&options)
    isShadow = kept.isShadow
    var levels = options.objects("limits", isRequired: true, "The limits, all of which must admit.") { option in
      LimitLevel(&option, instance: instance, terms: kept.terms)
    }
    tellsClients = options.bool(
      "headers", default: true, "Whether clients are told by RateLimit-Policy, RateLimit and Retry-After.")
    if levels.count > LimitQuestion.capacity {
      options.fail(
        "there are \(levels.count) limits", at: "limits", fix: "keep at most \(LimitQuestion.capacity) on one route")
      levels.removeLast(levels.count - LimitQuestion.capacity)
    }
    for index in levels.indices { levels[index].distinguish(from: levels.prefix(index)) }
    self.levels = ContiguousArray(levels)
    (steps, openings) = LimitStep.all(self.levels)
    onlyStep = LimitStep.only(steps)
  }

  /// All limits of `groups`, decided as one; nil where they are too many.
  init?(joining groups: [LimitGroup]) {
    var levels: ContiguousArray<LimitLevel> = []
    for group in groups {
      for var level in group.levels {
        level.isTold = level.isTold && group.tellsClients
        level.distinguish(from: levels)
        levels.append(level)
      }
    }
    guard levels.count <= LimitQuestion.capacity else { return nil }
    self.levels = levels
    isShadow = false
    tellsClients = groups.contains(where: \.tellsClients)
    (steps, openings) = LimitStep.all(levels)
    onlyStep = LimitStep.only(steps)
  }

  /// Its limits, for those who join them with others.
  var group: LimitGroup { LimitGroup(levels: levels, tellsClients: tellsClients) }

  /// Only slots are given back; without them no exchange need be looked at again.
  public var hasWorkAtEnd: Bool { levels.contains(where: \.isConcurrency) }

  /// Asks for all limits at once.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    precondition(exchange.limits.count == 0, "the limits of a route are joined, so that they are decided once")
    let now = services.world.now
    let civil = services.civilTime(now: now)
    guard let step = onlyStep else { return askForAll(&exchange, request, services, now, civil) }
    exchange.limits.append(step.level(services, &exchange, civil))
    services.quota.decide(&exchange.limits, ticket: exchange.ticket, now: now, civil: civil)
    guard exchange.limits.decision == .admitted, !exchange.limits.source.isDegraded else { return judge(&exchange) }
    exchange.limits.findBinding()
    // Read again, rather than kept across the call.
    if tellsClients, let step = onlyStep { tell(&exchange, 0, step) }
    return .next
  }

  @inline(never)
  private func askForAll(
    _ exchange: inout Exchange, _ request: RequestHead, _ services: Services, _ now: Instant, _ civil: WallTime
  ) -> Verdict {
    appendLevels(&exchange, request, services, civil)
    services.quota.decide(&exchange.limits, ticket: exchange.ticket, now: now, civil: civil)
    return judge(&exchange)
  }

  /// The whole question of a request.
  private func appendLevels(
    _ exchange: inout Exchange, _ request: RequestHead, _ services: Services, _ civil: WallTime
  ) {
    for index in steps.indices {
      if steps[index].isPlain {
        exchange.limits.append(steps[index].level(services, &exchange, civil))
        continue
      }
      exchange.limits.append(levels[index].question(Caller(&exchange), request, services, civil))
    }
  }

  /// The quota has answered. A question about a period that is over by now is asked anew.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    services.quota.collect(&exchange.limits, ticket: exchange.ticket)
    guard exchange.limits.decision == .stale else { return judge(&exchange) }
    exchange.limits.removeAll()
    return askForAll(&exchange, request, services, services.world.now, services.civilTime(now: services.world.now))
  }

  /// Gives slots of concurrency limits back.
  public func onEnd(_ exchange: inout Exchange, _ services: Services) {
    services.quota.release(&exchange.limits, now: services.world.now)
  }

  @inline(never)
  private func judge(_ exchange: inout Exchange) -> Verdict {
    if exchange.limits.source.isDegraded { markDegraded(&exchange) }
    switch exchange.limits.decision {
    case .none, .waiting: return .wait
    case .unavailable, .stale: return .refuse(Refusal(ProblemCatalogue.quotaUnavailable, retryAfterSeconds: 1))
    case .admitted, .denied: break
    }
    exchange.limits.findBinding()
    guard let index = exchange.limits.bindingIndex else { return .next }
    if tellsClients { tell(&exchange, index, steps[index]) }
    if exchange.limits.decision == .admitted { return .next }
    let reset = exchange.limits[index].resetNanoseconds
    let retryAfter = reset == .max ? -1 : Int32(clamping: Self.seconds(reset))
    let problem = steps[index].isConcurrency ? ProblemCatalogue.concurrencyLimited : ProblemCatalogue.rateLimited
    return .refuse(Refusal(problem, retryAfterSeconds: retryAfter))
  }

  /// Says in the response, and so to whoever watches them, that the shared store could not be asked and what held instead.
  private func markDegraded(_ exchange: inout Exchange) {
    exchange.responseFields.append("Sluice-Degraded: ")
    exchange.responseFields.append(utf8: exchange.limits.source.rawValue)
    exchange.responseFields.append("\r\n")
  }

  /// Tells the client about the level that binds.
  @inline(__always)
  private func tell(_ exchange: inout Exchange, _ index: Int, _ step: LimitStep) {
    let reset = exchange.limits[index].resetNanoseconds
    let text = LimitFieldText(
      start: step.openingStart, count: step.openingCount, isTold: step.isTold,
      remaining: UInt64(exchange.limits[index].remaining),
      // Nobody knows when a running request ends.
      seconds: reset == .max || step.isConcurrency ? nil : Self.seconds(reset))
    unsafe exchange.appendResponseFields(limit: text.maximumCount) { unsafe text.write(openings, to: $0) }
  }

  /// Whole seconds, rounded up, at least 1 where there is anything to wait for.
  @inline(__always)
  private static func seconds(_ nanoseconds: Int64) -> UInt64 {
    // Without a sign the sum does not overflow, and the division is a multiplication.
    (UInt64(bitPattern: max(0, nanoseconds)) &+ 999_999_999) / 1_000_000_000
  }
}

/// Limits that belong together, and whether clients are told of them.
struct LimitGroup: Sendable {
  let levels: ContiguousArray<LimitLevel>
  let tellsClients: Bool
}
