import Core
import Crypto
import Pipeline

/// What the gateway is at the provider of a login: a client with a name, and something that proves it.
struct LoginClient: Sendable {
  /// How it shows who it is.
  private enum Authentication: String, CaseIterable {
    case basic, post
    case privateKey = "private-key"
    case none
  }

  /// Its name.
  let id: String
  private let endpoint: TokenEndpointClient
  /// Whether its name stands in no field of the body beside what proves it.
  private let isNamedElsewhere: Bool

  init(_ options: inout OptionReader) {
    id = options.string("clientId", "What the provider calls this gateway.")
    let secret = options.optionalSecret(
      "clientSecret", "The secret that the provider has given it; best as { env: … } or { file: … }.")
    let key = SigningKeyOptions(
      &options, "A private key in PEM form, by which it signs instead of showing a secret (RFC 7523).")
    let hasKey = options.has("key")
    let standard = hasKey ? Authentication.privateKey : secret != nil ? .basic : .none
    let wanted = options.optionalChoice(
      "authentication", as: Authentication.self,
      "How it shows who it is: basic, post, private-key or none; by default what there is a secret or key for.")
    let authentication = wanted ?? standard
    let audience = options.optionalString(
      "assertionAudience", "Whom what it signs is for; by default the URL that is asked. Some want the issuer's name.")
    isNamedElsewhere = authentication == .basic
    var proof = TokenEndpointClient.Proof.none
    switch (authentication, secret, hasKey) {
    case (.basic, let secret?, false): proof = .basic(secret: secret)
    case (.post, let secret?, false): proof = .post(secret: secret)
    case (.privateKey, nil, true): if let signer = key.signer { proof = .privateKey(signer, audience: audience) }
    case (.none, nil, false): break
    default:
      if !options.isDescribing, !options.hasFailed("clientSecret"), !options.hasFailed("key") {
        options.fail(
          "this does not go with what proves it", at: "authentication",
          fix: "give clientSecret for basic and post, key for private-key, and only one of both")
      }
    }
    endpoint = TokenEndpointClient(clientID: id, proof: proof)
  }

  /// A request for tokens, or one to log in that is left with the provider; nil where it would be too long.
  func request(
    _ parameters: [FormField], at url: FetchURL, authorities: String?, _ world: any World
  ) -> FetchRequest? {
    endpoint.request(parameters, at: url, authorities: authorities, world)
  }

  /// The parameters with the client's name, where ``request(_:at:authorities:_:)`` does not add it: a request to log in has
  /// it always (RFC 9126 section 2.1).
  func named(_ parameters: [FormField]) -> [FormField] {
    isNamedElsewhere ? [FormField("client_id", id)] + parameters : parameters
  }
}
