import Core
import HTTP
import Pipeline

/// Admits so many requests, or so many at once, counted by consumer, key, tenant, group, route, address or field.
///
/// All limits that apply to a request are decided together, those of several such policies on one route too: all or none,
/// and a denial uses nothing up. Clients are told by `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-
/// headers-11) and refused with 429 `rate-limited` or `concurrency-limited` and `Retry-After`.
///
/// The embedded store cannot fail. Where a limit cannot be decided, requests are refused with 503 `quota-unavailable`.
public final class RateLimit: RequestHook, EndHook {
  /// The name in the configuration.
  public static let name = "rate-limit"
  /// After it is known who calls.
  public static let phase = Phase.admit
  /// What it does.
  public static let summary = "Admits so many requests by consumer, tenant, route, address or field."

  let levels: ContiguousArray<LimitLevel>
  private let tellsClients: Bool
  /// For each level, what clients are told when it binds, up to the number: `RateLimit-Policy: …` as a whole line and
  /// `RateLimit: "name";r=`; the line alone where the level is not told of. One behind the other, so that no reference
  /// to an array of its own is taken for one.
  private let openings: [UInt8]
  /// Where each of them begins, and where the last ends.
  private let openingBounds: ContiguousArray<Int>

  /// How limits are kept over several nodes.
  enum Mode: String, CaseIterable { case auto, exact, leased }
  /// What happens while the store cannot be reached.
  enum Failure: String, CaseIterable { case local, open, closed }

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    let instance = options.instanceName.isEmpty ? Self.name : options.instanceName
    var levels = options.objects("limits", isRequired: true, "The limits, all of which must admit.") { option in
      LimitLevel(&option, instance: instance)
    }
    _ = options.choice(
      "mode", default: Mode.auto, "How a shared store is asked; the embedded store is always exact.")
    _ = options.choice(
      "onStoreFailure", default: Failure.local,
      "What holds while a shared store is away; the embedded store cannot be.")
    tellsClients = options.bool(
      "headers", default: true, "Whether clients are told by RateLimit-Policy, RateLimit and Retry-After.")
    if levels.count > LimitQuestion.capacity {
      options.fail(
        "there are \(levels.count) limits", at: "limits", fix: "keep at most \(LimitQuestion.capacity) on one route")
      levels.removeLast(levels.count - LimitQuestion.capacity)
    }
    for index in levels.indices { levels[index].distinguish(from: levels.prefix(index)) }
    self.levels = ContiguousArray(levels)
    (openings, openingBounds) = Self.openings(self.levels)
  }

  /// The limits of several policies on one route, decided as one; nil where they are too many.
  init?(joining policies: [RateLimit]) {
    var levels: ContiguousArray<LimitLevel> = []
    for policy in policies {
      for var level in policy.levels {
        level.isTold = level.isTold && policy.tellsClients
        level.distinguish(from: levels)
        levels.append(level)
      }
    }
    guard levels.count <= LimitQuestion.capacity else { return nil }
    self.levels = levels
    tellsClients = policies.contains(where: \.tellsClients)
    (openings, openingBounds) = Self.openings(levels)
  }

  private static func openings(_ levels: ContiguousArray<LimitLevel>) -> ([UInt8], ContiguousArray<Int>) {
    let items = levels.filter(\.isTold).map(\.policyItem).joined(separator: ", ")
    let policy = items.isEmpty ? "" : "RateLimit-Policy: \(items)\r\n"
    var bytes: [UInt8] = []
    var bounds: ContiguousArray = [0]
    for level in levels {
      bytes += Array((policy + (level.isTold ? "RateLimit: \"\(level.name)\";r=" : "")).utf8)
      bounds.append(bytes.count)
    }
    return (bytes, bounds)
  }

  /// Only slots are given back; without them no exchange need be looked at again.
  public var hasWorkAtEnd: Bool { levels.contains(where: \.isConcurrency) }

  /// Asks for all limits at once.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    precondition(exchange.limits.count == 0, "the limits of a route are joined, so that they are decided once")
    let now = services.world.now
    let civil = services.quota.civilTime(now: now, wall: services.world.wallTime)
    let caller = Caller(&exchange)
    for index in levels.indices {
      let period = levels[index].period(at: civil)
      var key = levels[index].identity
      for position in levels[index].parts.indices {
        key = key.combined(with: levels[index].parts[position].key(caller, request, services))
      }
      exchange.limits.append(
        QuotaLevel(key: key, rule: levels[index].rule, cost: levels[index].cost, period: period))
    }
    services.quota.decide(&exchange.limits, ticket: exchange.ticket, now: now, civil: civil)
    return judge(&exchange)
  }

  /// The quota has answered.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    judge(&exchange)
  }

  /// Gives slots of concurrency limits back.
  public func onEnd(_ exchange: inout Exchange, _ services: Services) {
    services.quota.release(&exchange.limits, now: services.world.now)
  }

  @inline(__always)
  private func judge(_ exchange: inout Exchange) -> Verdict {
    switch exchange.limits.decision {
    case .none, .waiting: return .wait
    case .unavailable: return .refuse(Refusal(ProblemCatalogue.quotaUnavailable, retryAfterSeconds: 1))
    case .admitted, .denied: break
    }
    exchange.limits.findBinding()
    guard let index = exchange.limits.bindingIndex else { return .next }
    let reset = exchange.limits[index].resetNanoseconds
    let seconds = Self.seconds(reset)
    if tellsClients {
      tell(
        exchange.responseFields, index, remaining: exchange.limits[index].remaining,
        seconds: reset == .max ? -1 : seconds)
    }
    if exchange.limits.decision == .admitted { return .next }
    let retryAfter = reset == .max ? -1 : Int32(clamping: seconds)
    if levels[index].isConcurrency {
      return .refuse(Refusal(ProblemCatalogue.concurrencyLimited, retryAfterSeconds: retryAfter))
    }
    return .refuse(Refusal(ProblemCatalogue.rateLimited, retryAfterSeconds: retryAfter))
  }

  @inline(__always)
  private func tell(_ fields: ByteBuffer, _ index: Int, remaining: Int64, seconds: Int64) {
    let openings = openings
    let bytes = RawSpan(openings)
    fields.append(bytes.extracting(openingBounds[index]..<openingBounds[index &+ 1]))
    guard levels[index].isTold else { return }
    fields.append(decimal: UInt64(remaining))
    // Nobody knows when a running request ends.
    if seconds >= 0 && !levels[index].isConcurrency {
      fields.append(";t=")
      fields.append(decimal: UInt64(seconds))
    }
    fields.append("\r\n")
  }

  /// Whole seconds, rounded up, at least 1 where there is anything to wait for.
  private static func seconds(_ nanoseconds: Int64) -> Int64 {
    nanoseconds / 1_000_000_000 &+ (nanoseconds % 1_000_000_000 > 0 ? 1 : 0)
  }
}
