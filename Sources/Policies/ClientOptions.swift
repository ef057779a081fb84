import Core
import Crypto
import Pipeline

/// What the gateway is at an authorization server or a provider: a client with a name, and something that proves it.
struct ClientOptions: Sendable {
  /// Whether a policy needs to be a client, and one that proves to be itself.
  enum Need {
    /// It may ask as nobody; where it has a name, it proves it.
    case optional
    /// It has a name, and may be a public client, which proves nothing.
    case named
    /// It has a name, and proves it.
    case proven
  }

  /// How it shows who it is.
  private enum Authentication: String, CaseIterable {
    case basic, post
    case privateKey = "private-key"
    case none
  }

  /// Its name; empty where it has none.
  let id: String
  /// What asks as this client; nil for nobody.
  let endpoint: TokenEndpointClient?
  /// What tells it apart from other clients, its secret too.
  let stamp: [String]
  /// Whether its name stands in no field of the body beside what proves it.
  private let isNamedElsewhere: Bool

  init(_ options: inout OptionReader, _ need: Need) {
    let name = "What the server calls this gateway."
    id = need == .optional ? options.optionalString("clientId", name) ?? "" : options.string("clientId", name)
    let secret = options.optionalSecret(
      "clientSecret", "The secret that the server has given it; best as { env: … } or { file: … }.")
    let key = SigningKeyOptions(
      &options, "A private key in PEM form, by which it signs instead of showing a secret (RFC 7523).")
    let hasKey = options.has("key")
    let wanted = options.optionalChoice(
      "authentication", as: Authentication.self,
      "How it shows who it is: basic, its secret in Authorization; post, its secret in the body; private-key, an assertion that it "
        + "signs; none, where servers know it by its name alone. By default what there is a secret or key for.")
    let audience = options.optionalString(
      "assertionAudience", "Whom what it signs is for; by default the URL that is asked. Some want the issuer's name.")
    let authentication = wanted ?? (hasKey ? .privateKey : secret != nil ? .basic : .none)
    isNamedElsewhere = authentication == .basic
    stamp = [id, authentication.rawValue, secret ?? "", key.signer?.verifyingKey.thumbprint ?? "", audience ?? ""]
    var proof: TokenEndpointClient.Proof?
    switch (authentication, secret, hasKey) {
    case (.basic, let secret?, false): proof = .basic(secret: secret)
    case (.post, let secret?, false): proof = .post(secret: secret)
    case (.privateKey, nil, true): proof = key.signer.map { .privateKey($0, audience: audience) }
    case (.none, nil, false): proof = TokenEndpointClient.Proof.none
    default:
      if !options.isDescribing, !options.hasFailed("clientSecret"), !options.hasFailed("key") {
        options.fail(
          "this does not go with what proves it", at: "authentication",
          fix: "give clientSecret for basic and post, key for private-key, and only one of both")
      }
    }
    let isNobody = need == .optional && id.isEmpty
    endpoint = isNobody ? nil : proof.map { [id] in TokenEndpointClient(clientID: id, proof: $0) }
    if options.isDescribing || options.hasFailed("clientSecret") { return }
    if isNobody, secret != nil || hasKey {
      options.fail(
        "this needs clientId beside it", at: secret == nil ? "key" : "clientSecret", fix: "add clientId: …")
    } else if !isNobody, need != .named, authentication == .none {
      options.fail(
        "nothing proves that it is this client", at: "clientId", fix: "add clientSecret: { file: … }, or key")
    }
  }

  /// Parameters with the client's name, where what proves it does not add it to them: a request to log in that is left with
  /// the provider has it always (RFC 9126 section 2.1).
  func named(_ parameters: [FormField]) -> [FormField] {
    isNamedElsewhere ? [FormField("client_id", id)] + parameters : parameters
  }
}
