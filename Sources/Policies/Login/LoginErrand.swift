import HTTP
import Pipeline

/// What a request of a login waits for, and what it goes on with then.
final class LoginErrand {
  /// What comes next.
  enum Step {
    /// The provider's own document; then the request is judged anew.
    case document
    /// The provider's word that it has taken a request to log in.
    case pushed(LoginState, ProviderDocument)
    /// Whether a state is used for the first time.
    case spent(LoginState, code: String, ProviderDocument)
    /// What the provider gives for a code.
    case redeemed(LoginState)
    /// The key that an ID token is signed with.
    case identified(LoginState, TokenResponse)
    /// Whether a refresh was begun a moment ago.
    case recent(Refresh, ProviderDocument)
    /// Whether a refresh was ever begun.
    case claimed(Refresh, ProviderDocument)
    /// What the provider gives for a refresh token.
    case refreshed(Refresh)
    /// The key that an ID token of a refresh is signed with.
    case reidentified(Refresh, TokenResponse)
    /// The key that a logout token is signed with; then the request is judged anew.
    case logoutKey
    /// Whether a logout token is used for the first time.
    case logoutUsed(LoginProvider.Logout)
  }

  /// A session that is to be refreshed, and what follows from it as it is.
  struct Refresh {
    let known: VerifiedToken
    let session: LoginSession
  }

  let step: Step

  init(_ step: Step) { self.step = step }
}

extension OIDCLogin {
  /// Goes on with a step.
  func resume(
    _ step: LoginErrand.Step, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    switch step {
    case .document:
      if let source, let outcome = services.fetches?.outcome(ticket: exchange.ticket) {
        services.providers.take(outcome, of: source, now: services.world.now)
        if case .known(let known) = services.providers.find(source, now: services.world.now), known.requiresPush,
          pushing == .off || known.push == nil
        {
          report("the provider takes requests to log in by PAR only, which it or this policy does not offer", services)
        }
      }
      return judge(&exchange, request, services)
    case .pushed(let state, let document):
      return pushed(outcome(exchange.ticket, services), state, document, &exchange, request, services)
    case .spent(let state, let code, let document):
      return spend(states.resume(&exchange, services), state, code, document, &exchange, services)
    case .redeemed(let state): return redeemed(outcome(exchange.ticket, services), state, &exchange, request, services)
    case .identified(let state, let response):
      return finish(response, state, &exchange, request, services, mayWait: false)
    case .recent(let refresh, let document):
      return begin(refresh, recent.resume(&exchange, services), document, &exchange, request, services)
    case .claimed(let refresh, let document):
      return claim(refresh, refreshes.resume(&exchange, services), document, &exchange, request, services)
    case .refreshed(let refresh):
      return refreshed(refresh, outcome(exchange.ticket, services), &exchange, request, services)
    case .reidentified(let refresh, let response):
      return renew(refresh, response, &exchange, request, services, mayWait: false)
    case .logoutKey: return backChannelLogout(&exchange, request, services, mayWait: false)
    case .logoutUsed(let order): return carryOut(order, logouts.resume(&exchange, services), &exchange, services)
    }
  }

  /// Puts a request aside until something has come.
  func wait(for step: LoginErrand.Step, _ exchange: inout Exchange) -> Verdict {
    exchange.carried = LoginErrand(step)
    return .wait
  }

  /// Has something fetched, and goes on with `step` then; false where nothing can be fetched.
  func fetch(
    _ request: FetchRequest?, then step: LoginErrand.Step, _ exchange: inout Exchange, _ services: Services
  ) -> Bool {
    guard let request, let fetches = services.fetches, fetches.begin(request, ticket: exchange.ticket) else {
      return false
    }
    exchange.carried = LoginErrand(step)
    return true
  }

  private func outcome(_ ticket: UInt64, _ services: Services) -> FetchOutcome {
    services.fetches?.outcome(ticket: ticket) ?? .failed("there is no outcome")
  }

  // MARK: The provider's parts

  /// Where the provider's document is.
  var source: KeySource? { provider.map { .discovery(of: $0.issuer.issuer, authorities: $0.issuer.authorities) } }

  /// What is known of the provider's parts.
  enum Parts {
    case known(ProviderDocument)
    /// They are fetched: the request is judged anew then.
    case fetching
    case unavailable
  }

  func parts(_ exchange: inout Exchange, _ services: Services) -> Parts {
    guard let source, let url = FetchURL(source.url) else { return .unavailable }
    switch services.providers.find(source, now: services.world.now) {
    case .known(let document): return .known(document)
    case .unavailable: return .unavailable
    case .missing:
      let request = FetchRequest(
        url, fields: [FetchField("Accept", "application/json")], authorities: source.authorities)
      let key = Array("\(source.url)\n\(source.authorities ?? "")".utf8)
      guard let fetches = services.fetches, fetches.begin(request, key: key, ticket: exchange.ticket) else {
        return .unavailable
      }
      exchange.carried = LoginErrand(.document)
      return .fetching
    }
  }
}
