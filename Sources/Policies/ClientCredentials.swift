import Core
import HTTP
import Pipeline

/// Sends the upstream an access token of the gateway's own (RFC 6749 section 4.4), in place of whatever the client sends there.
///
/// Each loop has a token of its own and gets the next one when three quarters of its life are over, while requests go on with
/// the present one. Only where there is none do requests wait, all of them for one answer. An endpoint that cannot answer is
/// asked again after a second, then after twice as long each time, up to half a minute. An upstream that answers 401 has the
/// token replaced, at most once in ten seconds.
///
/// Refuses with 503 `upstream-token-unavailable` while there is no token: it fails closed.
public final class ClientCredentials: Policy, RequestHook, ResponseHook {
  /// The name in the configuration.
  public static let name = "client-credentials"
  /// When it is settled that the request is sent on.
  public static let phase = Phase.shape
  /// What it does.
  public static let summary = "Sends the upstream an access token of the gateway's own (OAuth 2.0)."

  private let instance: String
  private let field: TokenField
  private let endpoint: TokenEndpointOptions

  /// Reads the options.
  public init(_ options: inout OptionReader) {
    instance = options.instanceName
    endpoint = TokenEndpointOptions(&options)
    field = TokenField(
      &options, default: "Authorization",
      "The field by which the upstream gets the token; in Authorization as a bearer token, in others alone. A client's own is dropped."
    )
  }

  /// Sends the token, or has one fetched.
  public func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    field.dropAll(in: request)
    let grant = services.upstreamTokens.grant(of: self)
    switch grant.standing(services.world.now) {
    case .good(let token): field.send(token, &exchange)
    case .due(let token):
      _ = ask(grant, ticket: nil, services)
      field.send(token, &exchange)
    case .doubted(let token):
      if ask(grant, ticket: exchange.ticket, services) { return wait(&exchange) }
      field.send(token, &exchange)
    case .missing:
      guard !grant.pace.isResting(services.world.now), ask(grant, ticket: exchange.ticket, services) else {
        return refuse(grant, services)
      }
      return wait(&exchange)
    }
    return .next
  }

  private func wait(_ exchange: inout Exchange) -> Verdict {
    exchange.awaited = .outcome
    return .wait
  }

  /// The endpoint has answered, or has not.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    exchange.awaited = .nothing
    let grant = services.upstreamTokens.grant(of: self)
    guard let token = grant.token(services.world.now) else { return refuse(grant, services) }
    field.send(token, &exchange)
    return .next
  }

  /// Doubts a token that the upstream does not take.
  public func onResponse(_ exchange: inout Exchange, _ response: ResponseHead, _ services: Services) {
    if response.status == 401 { services.upstreamTokens.grant(of: self).doubt(services.world.now) }
  }

  /// Has a token fetched unless one is on its way; false where that cannot be.
  private func ask(_ grant: UpstreamGrant, ticket: UInt64?, _ services: Services) -> Bool {
    guard let fetches = services.fetches else { return false }
    let (world, askedAt) = (services.world, services.world.now)
    return fetches.begin(key: grant.fetchKey(), ticket: ticket) { [self] in
      endpoint.request([FormField("grant_type", "client_credentials")], world)
    } note: { [self] outcome in
      do throws(TokenResponse.Fault) {
        let answer = try TokenResponse(outcome)
        guard answer.isBearer else { throw .malformed("what it has given out is no bearer token") }
        grant.take(answer.accessToken, askedAt: askedAt, lifetime: endpoint.lifetime(answer), world.now)
      } catch {
        grant.fail(error, world.now)
        fetches.report("\(instance): no token from \(endpoint.name): \(error.message)")
      }
    }
  }

  @inline(never)
  private func refuse(_ grant: UpstreamGrant, _ services: Services) -> Verdict {
    .refuse(
      Refusal(
        ProblemCatalogue.upstreamTokenUnavailable, retryAfterSeconds: grant.pace.secondsLeft(services.world.now)))
  }
}
