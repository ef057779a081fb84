import Core
import Crypto
import Pipeline

/// What a session is: all of it stands in a sealed cookie of the browser, so that any node of the cluster goes by it and
/// none has to remember it.
///
/// A session is called by a random name, its family, from the login to the end; each refresh makes the next generation of
/// it. Refreshing happens once in a generation, in the whole cluster: where it is tried again later somebody has kept the
/// cookie of before, and all of the family ends.
struct LoginSession: Sendable {
  /// Bytes of a family's name.
  private static let familyBytes = 16
  /// Bytes and levels of what is sealed.
  private static let (longest, depth) = (20_480, 20)
  /// How long an access token is good of which nobody says it, in seconds.
  private static let usualLife: Int64 = 3_600
  /// After how many seconds a refresh is tried again that the provider has not answered.
  private static let retrySeconds: Int64 = 30
  /// Before a refresh is due a cookie is sent again no more, so that an answer which is late does not undo the refresh.
  private static let quietSeconds: Int64 = 60

  /// Its name, by which it is revoked.
  let family: String
  /// How often a refresh was tried.
  private(set) var generation: Int64 = 0
  /// The second of the login.
  let began: Int64
  /// The second at which it is over, whatever happens.
  let endsAt: Int64
  /// The second at which its cookie was made.
  private(set) var seenAt: Int64
  /// The second at which the access token is over; until then a session goes on though the provider is down.
  private(set) var accessEnds: Int64
  /// From this second on it is to be refreshed.
  private(set) var refreshAt: Int64
  /// What it is refreshed by; nil where it lasts until its end.
  private(set) var refreshToken: String?
  /// What the provider calls the session.
  private(set) var providerSession: String?
  /// What was granted.
  private(set) var scopes: [String]
  /// What is known of the subject.
  private(set) var claims: JSONDocument

  /// How long things last, in seconds.
  struct Times: Sendable {
    /// From the login to the end.
    var session: Int64
    /// Without a request.
    var idle: Int64?
    /// Between refreshes, at most.
    var refresh: Int64?
  }

  /// What a provider has granted, as far as a session keeps it.
  struct Grant {
    var refreshToken: String?
    /// Seconds for which the access token is good; nil where nobody says it.
    var lifeSeconds: Int64?
    /// Nil where they are those that were asked for, or before.
    var scopes: [String]?
    /// All claims of the ID token; nil for none, where there was one before.
    var claims: JSONDocument?
  }

  /// The session of a login at `now`; nil where there are no claims.
  init?(_ grant: Grant, scopes: [String], _ times: Times, now: Int64) {
    guard let claims = grant.claims, let kept = Self.kept(claims) else { return nil }
    family = Base64URL.encode(SecureRandom.bytes(Self.familyBytes))
    (began, seenAt, endsAt) = (now, now, now + times.session)
    self.scopes = grant.scopes ?? scopes
    self.claims = kept
    providerSession = claims.root["sid"]?.string
    refreshToken = grant.refreshToken
    (accessEnds, refreshAt) = Self.schedule(grant, times, now)
  }

  /// When the access token is over, and when it is to be replaced: at three quarters of its life.
  private static func schedule(_ grant: Grant, _ times: Times, _ now: Int64) -> (Int64, Int64) {
    let life = min(max(grant.lifeSeconds ?? usualLife, 1), times.session)
    return (now + life, now + max(min(life * 3 / 4, times.refresh ?? .max), 1))
  }

  // MARK: How it goes on

  /// What a request finds.
  enum Standing {
    case good
    /// It is good, and its cookie is to be sent again so that it does not become too old.
    case aging
    /// It is to be refreshed.
    case due
    /// Its access token is over, and the provider has just been asked in vain.
    case starved
    case over
  }

  /// How it stands at `now`.
  func standing(at now: Int64, _ times: Times) -> Standing {
    if now >= endsAt { return .over }
    if let idle = times.idle, now - seenAt > idle { return .over }
    guard refreshToken != nil else { return ages(now, times) ? .aging : .good }
    if now >= refreshAt { return .due }
    if now >= accessEnds { return .starved }
    return ages(now, times) && now + Self.quietSeconds < refreshAt ? .aging : .good
  }

  private func ages(_ now: Int64, _ times: Times) -> Bool {
    times.idle.map { now - seenAt > $0 / 4 } ?? false
  }

  /// The subject; sessions without one are never made.
  var subject: String { claims.root["sub"]?.string ?? "" }

  /// The session of which a cookie is sent again.
  func touched(now: Int64) -> LoginSession {
    var next = self
    next.seenAt = now
    return next
  }

  /// The next generation, by what the provider has granted.
  func refreshed(by grant: Grant, _ times: Times, now: Int64) -> LoginSession {
    var next = touched(now: now)
    next.generation += 1
    next.refreshToken = grant.refreshToken ?? refreshToken
    if let scopes = grant.scopes { next.scopes = scopes }
    if let claims = grant.claims, let kept = Self.kept(claims) {
      next.claims = kept
      next.providerSession = claims.root["sid"]?.string ?? providerSession
    }
    (next.accessEnds, next.refreshAt) = Self.schedule(grant, times, now)
    return next
  }

  /// The next generation where the provider has not answered: the same tokens, tried again a little later.
  func postponed(now: Int64) -> LoginSession {
    var next = touched(now: now)
    next.generation += 1
    next.refreshAt = now + Self.retrySeconds
    return next
  }

  /// What is used once: the refresh of this generation.
  var refreshName: [UInt8] { Array("\(family).\(generation)".utf8) }

  // MARK: As bytes

  /// Claims about the token rather than the subject, and those that a session keeps elsewhere.
  private static let left: Set<String> = [
    "iss", "aud", "exp", "iat", "nbf", "nonce", "azp", "jti", "sid", "at_hash", "c_hash", "s_hash",
  ]

  /// The claims that a session keeps.
  private static func kept(_ claims: JSONDocument) -> JSONDocument? {
    let buffer = ByteBuffer()
    var writer = JSONWriter(buffer)
    writer.beginObject()
    for member in claims.root.members {
      guard let name = member.key.string, !left.contains(name) else { continue }
      writer.key(name)
      writer.raw(member.value.sourceText)
    }
    writer.endObject()
    return parse(buffer.array)
  }

  private static func parse(_ text: [UInt8]) -> JSONDocument? {
    var limits = JSONLimits()
    (limits.bytes, limits.depth, limits.faults) = (longest, depth, 1)
    let outcome = JSONDocument.parse(text, dialect: .strict, limits: limits)
    guard outcome.faults.isEmpty, let document = outcome.document, document.root.kind == .object else { return nil }
    return document
  }

  /// What is sealed.
  var text: [UInt8] {
    let buffer = ByteBuffer()
    var writer = JSONWriter(buffer)
    writer.beginObject()
    writer.key("f")
    writer.string(family)
    for (name, value) in [
      ("g", generation), ("b", began), ("e", endsAt), ("t", seenAt), ("a", accessEnds), ("r", refreshAt),
    ] {
      writer.key(name)
      writer.integer(value)
    }
    for (name, value) in [("rt", refreshToken), ("s", providerSession)] {
      guard let value else { continue }
      writer.key(name)
      writer.string(value)
    }
    writer.key("sc")
    writer.string(scopes.joined(separator: " "))
    writer.key("c")
    writer.raw(claims.root.sourceText)
    writer.endObject()
    return buffer.array
  }

  /// Reads what was sealed; nil for anything else.
  init?(_ text: [UInt8]) {
    guard let root = Self.parse(text)?.root, let family = root["f"]?.string, let generation = root["g"]?.integer,
      let began = root["b"]?.integer, let endsAt = root["e"]?.integer, let seenAt = root["t"]?.integer,
      let accessEnds = root["a"]?.integer, let refreshAt = root["r"]?.integer, let scopes = root["sc"]?.string,
      let claims = root["c"].flatMap({ Self.parse(Array($0.sourceText.utf8)) }), claims.root["sub"]?.string != nil
    else { return nil }
    (self.family, self.generation, self.began, self.endsAt) = (family, generation, began, endsAt)
    (self.seenAt, self.accessEnds, self.refreshAt) = (seenAt, accessEnds, refreshAt)
    (refreshToken, providerSession) = (root["rt"]?.string, root["s"]?.string)
    self.scopes = scopes.split(separator: " ").map(String.init)
    self.claims = claims
  }
}

/// A session as a loop remembers it beside what follows from it.
final class KnownSession: Sendable {
  let session: LoginSession

  init(_ session: LoginSession) { self.session = session }
}
