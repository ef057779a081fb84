import Core
import Crypto
import HTTP
import Pipeline

/// A small authorization server (OAuth 2.0, RFC 6749) for those who have none: its clients are in the configuration,
/// and any node of a cluster goes on with what another one has begun.
///
/// Codes and refresh tokens are sealed under a key that follows from the cluster's secret, access tokens are signed
/// (RFC 9068), and nothing of them is stored. That each code and each refresh token is used once is kept in the store
/// that limits share, one counter for all that follows from one authorization; using one twice ends all of it. Keys
/// that sign follow from the secret too, change by themselves, and are published before they are used.
///
/// Users are logged in by the policies of the route that say who calls, with `optional: true`; whoever is not known at
/// `/authorize` gets 401 `authentication-required` with their challenges. The other endpoints know clients by
/// themselves: policies that read the field `Authorization`, such as `basic`, belong on a route for `/authorize` alone.
///
/// Answers what it is asked as the standards have it: errors are JSON, or a page where there is nowhere to send them.
/// Refuses with 404 `no-route`, 405 `method-not-allowed`, 413 `body-too-large`, 429 `too-many-failures`, 503
/// `quota-unavailable` where the store cannot say whether something was used before. It fails closed; only what was
/// revoked lately may be unknown to a node that cannot reach the store, see `onStaleRevocations`.
public final class OAuth2Server: Policy, RequestHook {
  /// The name in the configuration.
  public static let name = "oauth2-server"
  /// After those that say who it is.
  public static let phase = Phase.admit
  /// What it does.
  public static let summary = "Is an OAuth 2.0 authorization server: codes with PKCE, client credentials, refresh."

  /// Seconds for which a form that asks for consent is good.
  static let consentTime: Int64 = 600
  /// Seconds for which others may keep the documents: far less than keys are published before they sign.
  private static let documentTime = 3_600

  let site: ServerSite?
  let clients: [String: OAuthClient]
  let keys: RollingKeys
  let gate: RevocationGate
  let asksConsent: Bool
  /// Seconds for which each is good.
  let (codeTime, accessTime, refreshTime): (Int64, Int64, Int64)
  private let mostFailures: Int64
  private let scopes: [String]

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    site = options.value(
      "issuer", OptionFormat("the URL of an issuer", example: "https://id.example.com/oauth2"), placeholder: nil,
      "What it is called in tokens; the paths of its endpoints begin with this URL's path. https, or http with a loopback address."
    ) { ServerSite($0) }
    let audience = options.string("audience", default: "", "Whom tokens are for (aud) of clients that do not say.")
    let clients = options.objects("clients", isRequired: true, "Who may ask for tokens.") {
      OAuthClient(&$0, audience: audience)
    }
    asksConsent = options.bool(
      "consent", default: false, "Whether users are asked each time; otherwise logging in is all they do.")
    accessTime = Self.seconds(
      options.duration(
        "accessTokenTime", default: .seconds(300), in: .seconds(10) ... .seconds(3_600),
        "How long access tokens are good."))
    refreshTime = Self.seconds(
      options.duration(
        "refreshTokenTime", default: .seconds(30 * 86_400), in: .seconds(60) ... .seconds(366 * 86_400),
        "How long a user stays logged in to a client, however often it refreshes."))
    codeTime = Self.seconds(
      options.duration(
        "codeTime", default: .seconds(60), in: .seconds(5) ... .seconds(600), "How long codes are good."))
    keys = RollingKeys(&options)
    mostFailures = options.integer(
      "failuresPerAddress", in: 1...1_000_000, default: 20,
      "How often in ten seconds clients of one address may fail to prove who they are.")
    gate = RevocationGate(&options)
    var known: [String: OAuthClient] = [:]
    for client in clients where known.updateValue(client, forKey: client.id) != nil {
      options.fail("the client \"\(client.id)\" is there twice", at: "clients", fix: "join both")
    }
    self.clients = known
    scopes = Set(clients.flatMap(\.scopes)).sorted()
  }

  private static func seconds(_ duration: Duration) -> Int64 { duration.wholeNanoseconds / 1_000_000_000 }

  /// Answers, or has the body read that says what is wanted.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    guard let site, let endpoint = site.endpoint(request.bytes(request.path)) else {
      return .refuse(Refusal(ProblemCatalogue.noRoute))
    }
    let isRead = request.method == .get || request.method == .head
    switch endpoint {
    case .metadata where isRead:
      let signing = keys.signer(issuer: site.issuer, services).algorithm.rawValue
      return reply(.document(site.metadata(scopes: scopes, signing: signing), seconds: Self.documentTime), &exchange)
    case .keys where isRead:
      let text = keys.publishedText(issuer: site.issuer, services)
      return reply(.document(text, seconds: Self.documentTime), &exchange)
    case .authorize where request.method == .get:
      guard let parameters = OAuthParameters(request.bytes(request.query)) else {
        return reply(ServerPage.fault(.request("the query is malformed")), &exchange)
      }
      return authorize(parameters, isForm: false, site, &exchange, services)
    case .authorize where request.method == .post: return gather(&exchange, request)
    case .token where request.method == .post, .revoke where request.method == .post,
      .introspect where request.method == .post:
      if services.failures.isExhausted(exchange.client, limit: mostFailures, now: services.world.now) {
        return .refuse(Refusal(ProblemCatalogue.failuresLimited, retryAfterSeconds: 1))
      }
      return gather(&exchange, request)
    case .metadata, .keys: return refuse(&exchange, allowing: "GET, HEAD")
    case .authorize: return refuse(&exchange, allowing: "GET, POST")
    case .token, .revoke, .introspect: return refuse(&exchange, allowing: "POST")
    }
  }

  /// The body has come, or the store has answered, or has not.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    let awaited = exchange.awaited
    exchange.awaited = .nothing
    guard let site, let endpoint = site.endpoint(request.bytes(request.path)) else {
      return .refuse(Refusal(ProblemCatalogue.noRoute))
    }
    let body = exchange.gatheredBody?.array ?? []
    guard let parameters = OAuthParameters(RawSpan(body)) else {
      let fault = OAuthFault.request("the form is malformed")
      return reply(endpoint == .authorize ? ServerPage.fault(fault) : .fault(fault), &exchange)
    }
    if endpoint == .authorize { return authorize(parameters, isForm: true, site, &exchange, services) }
    let index = request.firstIndex(of: .authorization)
    let authorization = index.map { request.value(of: $0).array }
    do throws(OAuthFault) {
      if parameters.areAmbiguous { throw .request("a parameter is there twice") }
      if let index, request.nextIndex(of: .authorization, after: index) != nil {
        throw .request("the field Authorization is there twice")
      }
      let call = try call(endpoint, site, parameters, authorization, services)
      return try proceed(call, behind: awaited, &exchange, services)
    } catch {
      if error.status == 401 {
        services.failures.note(exchange.client, limit: mostFailures, now: services.world.now)
      }
      return reply(.fault(error, challenges: authorization != nil), &exchange)
    }
  }

  // MARK: Answers

  private func gather(_ exchange: inout Exchange, _ request: RequestHead) -> Verdict {
    guard Self.isForm(request) else {
      return reply(.fault(.request("send application/x-www-form-urlencoded")), &exchange)
    }
    exchange.gatherLimit = OAuthParameters.longest
    exchange.awaited = .body
    return .gather
  }

  /// Whether the body says that it is a form, with nothing behind it but perhaps that it is UTF-8.
  private static func isForm(_ request: RequestHead) -> Bool {
    guard let index = request.firstIndex(of: .contentType), request.nextIndex(of: .contentType, after: index) == nil
    else { return false }
    let value = String(decoding: request.value(of: index).array, as: UTF8.self).lowercased()
    let parts = value.split(separator: ";", omittingEmptySubsequences: false)
      .map { $0.trimmingPrefix { $0 == " " || $0 == "\t" } }
    guard parts.count <= 2, parts[0].hasPrefix(formType) else { return false }
    let blanks = parts[0].dropFirst(formType.count)
    guard blanks.allSatisfy({ $0 == " " || $0 == "\t" }) else { return false }
    return parts.count == 1 || parts[1] == "charset=utf-8" || parts[1] == "charset=\"utf-8\""
  }

  private static let formType = "application/x-www-form-urlencoded"

  private func refuse(_ exchange: inout Exchange, allowing methods: StaticString) -> Verdict {
    exchange.responseFields.append("Allow: ")
    exchange.responseFields.append(methods)
    exchange.responseFields.append("\r\n")
    return .refuse(Refusal(ProblemCatalogue.methodNotAllowed))
  }

  func reply(_ answer: OAuthAnswer, _ exchange: inout Exchange) -> Verdict {
    exchange.replyStatus = answer.status
    exchange.responseFields.append(answer.fields)
    if !answer.body.isEmpty { exchange.replyBody.append(answer.body) }
    return .reply
  }
}
