import Core
import Crypto
import HTTP
import Pipeline

/// A small authorization server (OAuth 2.0, RFC 6749) for those who have none: its clients are in the configuration or
/// registered while it runs, and any node of a cluster goes on with what another one has begun.
///
/// Codes and refresh tokens are sealed under a key that follows from the cluster's secret, access tokens are signed
/// (RFC 9068), and nothing of them is stored. That each code and each refresh token is used once is kept in the store
/// that limits share, one counter for all that follows from one authorization; using one twice ends all of it. Keys
/// that sign follow from the secret too, change by themselves, and are published before they are used.
///
/// Devices without a browser (RFC 8628) are the exception: what became of theirs is a record in that store until they
/// have got it. Clients that operators register are records there too, read anew with each call.
///
/// Users are logged in by the policies of the route that say who calls, with `optional: true`; whoever is not known at
/// `/authorize` and `/device` gets 401 `authentication-required` with their challenges. The other endpoints know clients by
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
  /// Seconds after which all nodes know a key that the cluster has made.
  static let newKeyTime: Int64 = 60
  /// Seconds for which others may keep the documents: far less than keys are published before they sign.
  private static let documentTime = 3_600

  let site: ServerSite?
  let clients: [String: OAuthClient]
  /// Whom tokens are for of clients that do not say.
  let audience: String
  /// Whether operators may register further clients while the server runs.
  let takesRegistered: Bool
  let keys: RollingKeys
  let gate: RevocationGate
  let asksConsent: Bool
  /// Seconds for which each is good.
  let (codeTime, accessTime, refreshTime, deviceTime): (Int64, Int64, Int64, Int64)
  let failures: FailureGate
  private let scopes: [String]

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    site = options.value(
      "issuer", OptionFormat("the URL of an issuer", example: "https://id.example.com/oauth2"), placeholder: nil,
      "What it is called in tokens; the paths of its endpoints begin with this URL's path. https, or http with a loopback address."
    ) { ServerSite($0) }
    let audience = options.string("audience", default: "", "Whom tokens are for (aud) of clients that do not say.")
    self.audience = audience
    takesRegistered = options.bool(
      "registeredClients", default: false,
      "Whether operators may register further clients while the server runs (sluice clients); needs a cluster.")
    let clients = options.objects("clients", "Who may ask for tokens.") { OAuthClient(&$0, audience: audience) }
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
    deviceTime = Self.seconds(
      options.duration(
        "deviceCodeTime", default: .seconds(600), in: .seconds(60) ... .seconds(1_800),
        "How long users have to type what a device shows, and to answer."))
    keys = RollingKeys(&options)
    failures = FailureGate(&options, perAddress: 20)
    gate = RevocationGate(&options)
    var known: [String: OAuthClient] = [:]
    for client in clients where known.updateValue(client, forKey: client.id) != nil {
      options.fail("the client \"\(client.id)\" is there twice", at: "clients", fix: "join both")
    }
    if known.isEmpty, !takesRegistered {
      options.fail("nobody may ask for tokens", at: "clients", fix: "add clients, or registeredClients: true")
    }
    self.clients = known
    scopes = Set(clients.flatMap(\.scopes)).sorted()
  }

  /// The names of its clients in the configuration.
  public var clientIDs: some Collection<String> { clients.keys }

  /// How long a grant can last at most, in seconds, whatever the configuration said when it was made.
  private static let longestGrant: Int64 = 366 * 86_400 + 3_600 + 1_800

  /// What clients are read by that operators register with it; nil where it takes none.
  public var registration: OAuthClientRules? {
    guard takesRegistered, let site else { return nil }
    return OAuthClientRules(
      issuer: site.issuer, audience: audience, longestGrant: Self.longestGrant,
      configured: Set(clients.keys))
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
    case .authorize where request.method == .get, .device where request.method == .get:
      return page(endpoint, behind: .nothing, site, &exchange, request, services)
    case .authorize where request.method == .post, .device where request.method == .post:
      return gather(&exchange, request)
    case .token where request.method == .post, .revoke where request.method == .post,
      .introspect where request.method == .post, .deviceAuthorization where request.method == .post:
      if failures.isShut(exchange, services) { return .refuse(FailureGate.refusal) }
      return gather(&exchange, request)
    case .metadata, .keys: return refuse(&exchange, allowing: "GET, HEAD")
    case .authorize, .device: return refuse(&exchange, allowing: "GET, POST")
    case .token, .revoke, .introspect, .deviceAuthorization: return refuse(&exchange, allowing: "POST")
    }
  }

  /// The body has come, or the store has answered, or has not.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    let awaited = exchange.awaited
    exchange.awaited = .nothing
    if awaited == .failures { return failed(failures.resume(&exchange, services), &exchange) }
    guard let site, let endpoint = site.endpoint(request.bytes(request.path)) else {
      return .refuse(Refusal(ProblemCatalogue.noRoute))
    }
    if endpoint == .authorize || endpoint == .device {
      return page(endpoint, behind: awaited, site, &exchange, request, services)
    }
    let body = exchange.gatheredBody?.array ?? []
    guard let parameters = OAuthParameters(RawSpan(body)) else {
      return reply(.fault(.request("the form is malformed")), &exchange)
    }
    let index = request.firstIndex(of: .authorization)
    let authorization = index.map { request.value(of: $0).array }
    do throws(OAuthFault) {
      if parameters.areAmbiguous { throw .request("a parameter is there twice") }
      if let index, request.nextIndex(of: .authorization, after: index) != nil {
        throw .request("the field Authorization is there twice")
      }
      return try serve(endpoint, site, parameters, authorization, behind: awaited, &exchange, services)
    } catch {
      let answer = OAuthAnswer.fault(error, challenges: authorization != nil)
      // What a client shows that proves nothing may be a guess as well as a secret may.
      let isGuess = error.isGuess && (exchange.carried as? OAuthErrand)?.isGuessing ?? false
      return error.status == 401 || isGuess ? fail(answer, &exchange, services) : reply(answer, &exchange)
    }
  }

  /// What users see: what they want stands in the query, or in a form.
  private func page(
    _ endpoint: ServerSite.Endpoint, behind awaited: Awaited, _ site: ServerSite, _ exchange: inout Exchange,
    _ request: RequestHead, _ services: Services
  ) -> Verdict {
    let isForm = request.method == .post
    let body = isForm ? exchange.gatheredBody?.array ?? [] : []
    guard let parameters = isForm ? OAuthParameters(RawSpan(body)) : OAuthParameters(request.bytes(request.query))
    else {
      return reply(ServerPage.fault(.request("what was sent is malformed")), &exchange)
    }
    if endpoint == .device {
      return devicePage(parameters, isForm: isForm, behind: awaited, site, &exchange, services)
    }
    return authorize(parameters, isForm: isForm, behind: awaited, site, &exchange, services)
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
