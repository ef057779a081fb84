import Core
import Crypto
import HTTP
import Pipeline

/// Knows users by a name and a password (RFC 7617, `Authorization: Basic`), which never reach the upstream.
///
/// Passwords are kept as hashes by scrypt, each of which takes some fifty milliseconds to check: on a thread that does
/// nothing else, with a bounded queue of which no address gets more than a part. What was right is remembered on each loop
/// for `cacheTime`, what was wrong for ten seconds, by a code that tells neither name nor password. A name that does not
/// exist costs as much as one that does. Wrong passwords are counted by address and by name in the whole cluster; beyond, only
/// what is remembered passes.
///
/// Refuses with 401 `credentials-missing`, `credentials-invalid` or `key-revoked`, 429 `too-many-failures` or
/// `concurrency-limited`, 403 `consumer-not-allowed`, 503 `overloaded` while too many passwords wait to be checked. It fails
/// closed.
public final class Basic: Policy, CallerPolicy {
  /// The name in the configuration.
  public static let name = "basic"
  /// It says who it is.
  public static let phase = Phase.identify
  /// What it does.
  public static let summary = "Knows users by a name and a password, and keeps both from the upstream."

  /// Bytes of what stands behind the scheme: a name and a password at their longest, in Base64.
  private static let longestText = (BasicUsers.longestName + PasswordHash.longestPassword + 3) / 3 * 4

  private let users: BasicUsers
  private let isOptional: Bool
  private let cacheNanoseconds: Int64
  private let failures: FailureGate
  private let gate: RevocationGate
  private let challenge: [UInt8]

  /// What a request says of who sends it.
  private struct Credentials {
    let name: String
    let password: [UInt8]
  }

  private enum Shown {
    case nothing
    case malformed
    case credentials(Credentials)
  }

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    users = BasicUsers(&options)
    isOptional = options.bool(
      "optional", default: false,
      "Whether requests without a password pass, as nobody. A wrong one is refused all the same.")
    let cacheTime = options.duration(
      "cacheTime", default: .seconds(60), in: .zero...(.seconds(3_600)),
      "How long a password that was right is not checked again on the same loop; 0s for not at all.")
    cacheNanoseconds = cacheTime.wholeNanoseconds
    failures = FailureGate(&options, perAddress: 10)
    let realm = options.string("realm", default: "sluice", "What people are told that the password is for.")
    gate = RevocationGate(&options)
    challenge = Array("WWW-Authenticate: Basic realm=\"\(realm)\", charset=\"UTF-8\"\r\n".utf8)
    if !RealmText.isValid(realm) {
      options.fail("this cannot be quoted in a field", at: "realm", fix: "use printable ASCII without \" and \\")
    }
  }

  /// See ``CallerPolicy``.
  public func dropClaims(of request: RequestHead, _ exchange: inout Exchange) {
    if let index = request.firstIndex(of: .authorization), request.value(of: index).isBasic {
      request.dropAll(.authorization)
    }
  }

  /// Finds name and password, takes them out of what is sent on, and has the password checked unless it is remembered.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    IdentityFields.dropAll(in: request)
    switch read(request) {
    case .nothing:
      guard isOptional else { return refuse(&exchange, ProblemCatalogue.credentialsMissing) }
      exchange.offer(challenge: challenge)
      return .next
    case .malformed: return refuse(&exchange, ProblemCatalogue.credentialsInvalid)
    case .credentials(let credentials):
      request.dropAll(.authorization)
      return judge(credentials, &exchange, services)
    }
  }

  /// Whether the password is right, or whether its user is revoked, is known.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    switch exchange.awaited {
    case .failures: return failures.resume(&exchange, services)
    case .password: break
    default: return conclude(gate.resume(&exchange, services), &exchange)
    }
    exchange.awaited = .nothing
    failures.settle(exchange, services)
    guard let isRight = services.passwords?.outcome(ticket: exchange.ticket),
      case .credentials(let credentials) = read(request)
    else { return Self.overloaded }
    let now = services.world.now
    let code = code(of: credentials, services)
    // Somebody else's password may be right by chance where the name does not exist.
    guard isRight, let user = users.user(credentials.name) else {
      services.credentials.rememberWrong(code, now: now)
      let verdict = refuse(&exchange, ProblemCatalogue.credentialsInvalid)
      guard case .refuse(let refusal) = verdict else { return verdict }
      let name = Array(credentials.name.utf8)
      return failures.refuse(refusal, name: RawSpan(name), &exchange, services)
    }
    services.credentials.remember(code, for: cacheNanoseconds, now: now)
    return accept(user, &exchange, services)
  }

  private func judge(_ credentials: Credentials, _ exchange: inout Exchange, _ services: Services) -> Verdict {
    let code = code(of: credentials, services)
    let user = users.user(credentials.name)
    switch services.credentials.find(code, now: services.world.now) {
    case .right: if let user { return accept(user, &exchange, services) }
    case .wrong: return refuse(&exchange, ProblemCatalogue.credentialsInvalid)
    case .unknown: break
    }
    let name = Array(credentials.name.utf8)
    if failures.isShut(exchange, name: RawSpan(name), services) { return .refuse(FailureGate.refusal) }
    let hash = user?.hash ?? users.decoy(services.key(ofChosen: RawSpan(name)).low)
    let intake = services.passwords?.begin(
      hash, credentials.password, of: exchange.client, key: code, ticket: exchange.ticket)
    switch intake {
    case .taken:
      // Who hangs up before the answer has failed.
      failures.presume(exchange, services)
      exchange.awaited = .password
      return .wait
    case .crowded: return .refuse(Refusal(ProblemCatalogue.concurrencyLimited, retryAfterSeconds: 1))
    case .full, nil: return Self.overloaded
    }
  }

  private static var overloaded: Verdict { .refuse(Refusal(ProblemCatalogue.overloaded, retryAfterSeconds: 1)) }

  private func code(of credentials: Credentials, _ services: Services) -> [UInt8] {
    services.credentials.code(Array(credentials.name.utf8), credentials.password, of: self)
  }

  // MARK: The field

  private func read(_ request: RequestHead) -> Shown {
    guard let index = request.firstIndex(of: .authorization) else { return .nothing }
    let value = request.value(of: index)
    guard value.isBasic else { return .nothing }
    // RFC 9110 section 11.6.2: there is one at most.
    if request.nextIndex(of: .authorization, after: index) != nil { return .malformed }
    var start = 6
    while start < value.byteCount, value[byte: start] == 32 { start += 1 }
    guard value.byteCount - start <= Self.longestText,
      let decoded = Base64.decode(String(decoding: value.extracting(start..<value.byteCount).array, as: UTF8.self)),
      let text = String(validating: decoded, as: UTF8.self), text.unicodeScalars.allSatisfy(Self.isPlain),
      let colon = decoded.firstIndex(of: UInt8(ascii: ":"))
    else { return .malformed }
    let password = Array(decoded[(colon + 1)...])
    let name = String(decoding: decoded[..<colon], as: UTF8.self)
    guard BasicUsers.isName(name), (1...PasswordHash.longestPassword).contains(password.count) else {
      return .malformed
    }
    return .credentials(Credentials(name: name, password: password))
  }

  /// RFC 7617 section 2: neither holds control characters.
  private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value >= 0x20 && !(0x7f...0x9f).contains(scalar.value)
  }

  // MARK: The caller

  private func accept(_ user: BasicUsers.User, _ exchange: inout Exchange, _ services: Services) -> Verdict {
    var consumer: Int32 = -1
    if let name = user.consumer {
      consumer = services.keyRing.index(ofConsumer: name)
      guard consumer >= 0 else { return .refuse(Refusal(ProblemCatalogue.consumerNotAllowed)) }
    }
    var parts = Identity.Parts()
    (parts.subject, parts.groups) = (user.name, user.groups)
    exchange.identify(Identity(parts, services), consumer: consumer)
    guard let facts = services.facts else { return .next }
    return conclude(gate.judge(&exchange, services, facts), &exchange)
  }

  private func conclude(_ finding: RevocationGate.Finding, _ exchange: inout Exchange) -> Verdict {
    switch finding {
    case .clear: .next
    case .revoked: refuse(&exchange, ProblemCatalogue.keyRevoked)
    case .decided(let verdict): verdict
    }
  }

  @inline(never)
  private func refuse(_ exchange: inout Exchange, _ problem: Problem) -> Verdict {
    exchange.responseFields.append(challenge)
    return .refuse(Refusal(problem))
  }
}

extension RawSpan {
  /// Whether it is a field value of the scheme Basic (RFC 7617 section 2).
  fileprivate var isBasic: Bool {
    let scheme = Array("basic ".utf8)
    guard byteCount > scheme.count else { return false }
    return extracting(0..<scheme.count).equals(lowercase: RawSpan(scheme))
  }
}
