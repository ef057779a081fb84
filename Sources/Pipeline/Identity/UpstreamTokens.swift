// Tokens of the gateway's own for upstreams, as one loop knows them. A policy keeps nothing but its options, so what it has
// been given lies here, by the policy.
//
// Nodes and loops do not share tokens: each asks for its own, a handful an hour. To share them would put credentials into the
// store, and save nothing that counts.

import Core
import Crypto

/// How somebody is asked again who could not answer: after a second, then after twice as long each time. Plain data.
public struct RetryPace: Sendable {
  /// The first pause and the longest one, in nanoseconds.
  public static let (shortest, longest): (Int64, Int64) = (1_000_000_000, 30_000_000_000)

  private var pause: Int64 = 0
  private var asksAgainAt = Instant(nanoseconds: .min)

  /// Nothing has failed.
  public init() {}

  /// Whether it is too early to ask.
  public func isResting(_ now: Instant) -> Bool { asksAgainAt > now }

  /// An answer was none; perhaps it has said for how many seconds there will be none. Beyond ``longest`` nobody is believed.
  public mutating func fail(_ now: Instant, retryAfterSeconds: Int64? = nil) {
    pause = min(max(pause * 2, Self.shortest), Self.longest)
    let wanted = min(retryAfterSeconds ?? 0, Self.longest / 1_000_000_000) * 1_000_000_000
    asksAgainAt = now.advanced(byNanoseconds: max(pause, wanted))
  }

  /// There was an answer.
  public mutating func succeed() { self = RetryPace() }

  /// Seconds until it is asked again, rounded up, 1 or more: what clients are told.
  public func secondsLeft(_ now: Instant) -> Int32 {
    guard isResting(now) else { return 1 }
    return Int32(clamping: max(1, (asksAgainAt.nanoseconds(since: now) + 999_999_999) / 1_000_000_000))
  }
}

/// A token for an upstream, up to when it is used, and how its endpoint is asked. Not thread-safe.
public final class UpstreamGrant {
  /// How long a token that an upstream has refused must have been in use to be replaced, in nanoseconds: an upstream that
  /// refuses whatever it gets must not make the gateway a flood for the token endpoint.
  public static let doubtRest: Int64 = 10_000_000_000
  /// How long before its end a token is not sent any more, in nanoseconds, or a tenth of its life if that is less: it has
  /// to arrive, and clocks differ.
  public static let margin: Int64 = 10_000_000_000
  /// How often callers whose tokens the endpoint refuses are told of, in nanoseconds.
  private static let refusalRest: Int64 = 60_000_000_000

  /// What is to be done.
  public enum Standing: Sendable {
    /// Send this token.
    case good([UInt8])
    /// Send this one, and ask for the next.
    case due([UInt8])
    /// An upstream has refused this one: ask for another, and send this one where there is none to be had.
    case doubted([UInt8])
    /// Ask.
    case missing
  }

  /// When the endpoint may be asked.
  public private(set) var pace = RetryPace()
  private var token: [UInt8] = []
  private var (renewsAt, expiresAt, takenAt) = (Instant(nanoseconds: .min), Instant(nanoseconds: .min), Instant.never)
  private var isDoubted = false
  private var tellsRefusalsAt = Instant(nanoseconds: .min)

  init() {}

  /// What is to be done with a request of this moment.
  public func standing(_ now: Instant) -> Standing {
    guard expiresAt > now else { return .missing }
    if pace.isResting(now) { return .good(token) }
    return isDoubted ? .doubted(token) : renewsAt <= now ? .due(token) : .good(token)
  }

  /// The token, however it stands; nil where there is none that is good.
  public func token(_ now: Instant) -> [UInt8]? { expiresAt > now ? token : nil }

  /// The endpoint, asked at a moment, has given out a token that is good for so many nanoseconds from then on.
  public func take(_ token: String, askedAt: Instant, lifetime: Int64, _ now: Instant) {
    pace.succeed()
    self.token = Array(token.utf8)
    isDoubted = false
    takenAt = now
    expiresAt = askedAt.advanced(byNanoseconds: Self.usable(lifetime))
    renewsAt = askedAt.advanced(byNanoseconds: lifetime / 4 * 3)
  }

  /// For how long of its life a token is sent, in nanoseconds.
  public static func usable(_ lifetime: Int64) -> Int64 { lifetime - min(margin, lifetime / 10) }

  /// The endpoint has not given out a token, for this reason.
  public func fail(_ fault: TokenResponse.Fault, _ now: Instant) {
    guard case .unavailable(_, let seconds) = fault else { return pace.fail(now) }
    pace.fail(now, retryAfterSeconds: seconds)
  }

  /// The endpoint is there: what it has said is about one caller only.
  public func succeed() { pace.succeed() }

  /// The upstream has answered 401: the next request asks for another token, unless this one is new.
  public func doubt(_ now: Instant) {
    if expiresAt > now, now.nanoseconds(since: takenAt) >= Self.doubtRest { isDoubted = true }
  }

  /// Whether a refusal is to be told, which is at most once a minute: clients can bring about as many as they like.
  public func tellsRefusal(_ now: Instant) -> Bool {
    guard tellsRefusalsAt <= now else { return false }
    tellsRefusalsAt = now.advanced(byNanoseconds: Self.refusalRest)
    return true
  }

  /// What its fetches are known by at a ``FetchDesk``, with those for `digest` apart. Whoever begins one must keep the grant
  /// as long as the fetch lasts, since the key is where it lies.
  public func fetchKey(_ digest: Digest? = nil) -> [UInt8] {
    var words = [UInt64(UInt(bitPattern: ObjectIdentifier(self)))]
    if let digest { words += [digest.words.0, digest.words.1, digest.words.2, digest.words.3] }
    var key = Array("upstream token ".utf8)
    for word in words {
      for shift in stride(from: UInt64(0), to: 64, by: 8) { key.append(UInt8(truncatingIfNeeded: word >> shift)) }
    }
    return key
  }
}

/// The tokens that a loop has for upstreams. Not thread-safe.
public final class UpstreamTokens {
  /// By policy, of which a blueprint has as many as somebody has written.
  private var grants: [ObjectIdentifier: UpstreamGrant] = [:]

  init() {}

  /// The grant of a policy, which must live as long as this.
  public func grant(of policy: AnyObject) -> UpstreamGrant {
    let key = ObjectIdentifier(policy)
    if let grant = grants[key] { return grant }
    let grant = UpstreamGrant()
    grants[key] = grant
    return grant
  }
}

/// What came of showing a caller's token to a token endpoint. Immutable.
public final class ExchangedToken: Sendable {
  /// What came of it.
  public enum Finding: Sendable {
    /// The upstream gets this.
    case token([UInt8])
    /// The endpoint does not take the caller's token.
    case untrusted
    /// The endpoint gives out nothing of what is asked for to this caller.
    case denied
  }

  /// What came of it.
  public let finding: Finding
  /// The last moment at which that counts.
  public let until: Instant

  /// A finding that counts up to a moment.
  public init(_ finding: Finding, until: Instant) { (self.finding, self.until) = (finding, until) }
}

/// A token of the gateway's own that was signed before. Immutable.
public final class SignedToken: Sendable {
  /// Its text.
  public let text: [UInt8]
  /// The last moment at which it is sent.
  public let until: Instant

  /// A token that is sent up to a moment.
  public init(_ text: [UInt8], until: Instant) { (self.text, self.until) = (text, until) }
}
