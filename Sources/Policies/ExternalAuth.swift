// Asking a service whether a request may pass.
//
// It runs behind whatever says who calls and behind the rules of `access`, so that the service can be told who it is and is not
// asked about what is refused anyhow, and before rate limits, so that what the service refuses costs nobody quota. What keeps
// floods from the service is its cache, and limits of addresses in front of the gateway.
//
// What the client sent and what a policy has written is looked at before anything is dropped; everything that goes on
// goes through `pass`, which drops what only the service may say. So no way leads on without that.

import Core
import Crypto
import HTTP
import Pipeline

/// Asks an HTTP service whether a request may pass, as `auth_request` of nginx and `ext_authz` of Envoy do.
///
/// The service gets a request without a body, with the fields of `requestHeaders` as the upstream would get them,
/// `X-Forwarded-Method`, `-Uri`, `-Host`, `-Proto` and `-For`, `X-Request-Id`, and who calls as far as that is known: `X-Consumer-Id`,
/// `-Tenant`, `-Groups`, `X-Identity-Issuer`, `-Subject`, `-Client`. An answer of 200 to 299 lets the request pass; 401 and 403, and
/// with `redirects` 301, 302, 303, 307 and 308, are passed on to the client. Everything else is no answer: 404 is a wrong `url`,
/// 429 may be meant for the gateway.
///
/// Refuses with 401 `authentication-required`, 403 `access-denied`, 400 `token-ambiguous` where there are two fields
/// `Authorization`, 400 `malformed-request` and 431 `head-too-large` where the service could not be told what the client sends, 503
/// `authorization-unavailable`. It fails closed; with `onFailure: open` requests pass while the service cannot be reached, takes too
/// long or answers 500 or more, and for no other reason, so that no client can bring such a failure about by what it sends.
public final class ExternalAuth: Policy, RequestHook {
  /// The name in the configuration.
  public static let name = "external-auth"
  /// Behind whatever says who it is.
  public static let phase = Phase.admit
  /// What it does.
  public static let summary =
    "Asks an HTTP service whether a request may pass, and what the upstream is told of its caller."

  private enum FailureRule: String, CaseIterable { case closed, open }

  private let question: AuthQuestion
  private let reader: AuthAnswerReader
  private let cache: AuthCache?
  private let onFailure: FailureRule

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    let question = AuthQuestion(&options)
    reader = AuthAnswerReader(&options)
    onFailure = options.choice(
      "onFailure", default: .closed,
      "What happens while the service cannot be reached, takes too long or answers 500 or more: closed answers 503, open lets "
        + "requests pass with Sluice-Degraded: external-auth. Any other answer that is none is refused in either case.")
    cache = options.object(
      "cache", "For how long answers are used again; without it the service is asked about every request."
    ) { AuthCache(&$0, asking: question.fields) }
    self.question = question
  }

  /// Asks, unless the answer is known.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    IdentityFields.dropAll(in: request)
    let digest = cache?.digest(exchange, request, services)
    if let digest, let known = recall(digest, services) { return go(by: known, &exchange, request) }
    return ask(digest, &exchange, request, services)
  }

  /// Asks; for requests with the same `digest`, where they have one, once at a time.
  private func ask(
    _ digest: Digest?, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    let asked: FetchRequest
    switch question.request(exchange, request, services) {
    case .ready(let request): asked = request
    case .refused(let problem): return .refuse(Refusal(problem))
    }
    guard let desk = services.fetches else { return Self.unavailable }
    guard let digest else {
      guard desk.begin(asked, ticket: exchange.ticket) else { return Self.unavailable }
      exchange.awaited = .outcome
      return .wait
    }
    let key = question.stamp.bytes + digest.bytes
    let isShared = desk.isUnderWay(key)
    guard desk.begin(asked, key: key, ticket: exchange.ticket) else { return Self.unavailable }
    exchange.awaited = isShared ? .sharedOutcome : .outcome
    return .wait
  }

  /// The service has answered, or has not.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    let isShared = exchange.awaited == .sharedOutcome
    exchange.awaited = .nothing
    let outcome = services.fetches?.outcome(ticket: exchange.ticket)
    let lifetimes = cache?.lifetimes ?? AuthCache.Lifetimes(allowed: 0, refused: 0)
    switch reader.read(outcome, lifetimes, services.world.now) {
    case .answer(let answer):
      // A cookie, above all, is nobody else's.
      if isShared, answer.isPersonal { return ask(nil, &exchange, request, services) }
      if let cache { remember(answer, cache.digest(exchange, request, services), services) }
      return go(by: answer, &exchange, request)
    case .none: return fail(&exchange, request)
    case .unusable: return Self.unavailable
    }
  }

  private func recall(_ digest: Digest, _ services: Services) -> ServiceAnswer? {
    let now = services.world.now
    for known in [services.permissions.find(digest, of: self), services.denials.find(digest, of: self)] {
      if let known, now < known.asksAgainAt { return known }
    }
    return nil
  }

  private func remember(_ answer: ServiceAnswer, _ digest: Digest, _ services: Services) {
    // What held before does not any more, whether or not what holds now may be remembered.
    services.permissions.forget(digest, of: self)
    services.denials.forget(digest, of: self)
    guard services.world.now < answer.asksAgainAt else { return }
    let cache = answer.kind == .allowed ? services.permissions : services.denials
    cache.remember(answer, digest, of: self)
  }

  private func go(by answer: ServiceAnswer, _ exchange: inout Exchange, _ request: RequestHead) -> Verdict {
    if !answer.clientFields.isEmpty { exchange.responseFields.append(answer.clientFields) }
    if answer.isUnauthorized, !answer.hasChallenge {
      // RFC 9110 section 15.5.2: a challenge goes with every 401.
      exchange.responseFields.append(exchange.challenges.isEmpty ? Self.challenge : exchange.challenges)
    }
    switch answer.kind {
    case .allowed:
      pass(request)
      if !answer.upstreamFields.isEmpty { exchange.requestFields.append(answer.upstreamFields) }
      return .next
    case .refused(let entry): return .refuse(Refusal(entry.problem))
    case .answered(let status, let body):
      exchange.replyStatus = status
      exchange.replyBody.append(body)
      return .reply
    }
  }

  /// Takes out of a request that goes on whatever the upstream believes the service alone to say.
  private func pass(_ request: RequestHead) {
    for field in reader.upstreamFields { field.dropAll(in: request) }
  }

  /// The service has not answered.
  private func fail(_ exchange: inout Exchange, _ request: RequestHead) -> Verdict {
    guard onFailure == .open else { return Self.unavailable }
    pass(request)
    exchange.responseFields.append("Sluice-Degraded: external-auth\r\n")
    return .next
  }

  private static let challenge = Array("WWW-Authenticate: Bearer realm=\"sluice\"\r\n".utf8)

  private static var unavailable: Verdict {
    .refuse(Refusal(ProblemCatalogue.authorizationUnavailable, retryAfterSeconds: 1))
  }
}

extension ServiceAnswer {
  fileprivate var isUnauthorized: Bool {
    switch kind {
    case .allowed: false
    case .refused(let entry): entry == .authenticationRequired
    case .answered(let status, _): status == 401
    }
  }
}
