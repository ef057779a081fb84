import Core
import HTTP
import Pipeline

/// Where a policy gets tokens for the upstream, as whom, and for what.
struct TokenEndpointOptions: Sendable {
  /// For how long a token is good where the server does not say, in nanoseconds.
  let assumedLifetime: Int64

  private let service: AskedService
  private let client: ClientOptions
  /// What is asked for, behind what the grant itself says.
  private let parameters: [FormField]

  /// What cannot be among the further parameters, since options or the grant set it.
  private static let reserved = [
    "grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope", "audience",
    "resource", "subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type",
  ]

  init(_ options: inout OptionReader) {
    service = AskedService(
      &options, key: "tokenEndpoint", "The token endpoint; http for loopback addresses only.", timeout: .seconds(3))
    client = ClientOptions(&options, .proven)
    parameters = Self.readParameters(&options)
    assumedLifetime =
      options.duration(
        "lifetime", default: .seconds(300), in: .seconds(10) ... .seconds(86_400),
        "How long a token is good where the endpoint does not say."
      ).wholeNanoseconds
  }

  private static func readParameters(_ options: inout OptionReader) -> [FormField] {
    let scopes = options.stringList("scopes", "What the token is to be good for.")
    if let wrong = scopes.firstIndex(where: { !BearerChallenge.isScope($0) }) {
      options.fail(
        "a scope has neither spaces nor quotation marks", at: "scopes", element: wrong, fix: "write one in each element"
      )
    }
    let audiences = options.stringList(
      "audience", allowsSingle: true, "Whom the token is to be for, by the names that the authorization server has.")
    let resources = options.stringList(
      "resource", allowsSingle: true, "Whom the token is to be for, as absolute URIs (RFC 8707).")
    for (index, resource) in resources.enumerated() where !resource.contains(":") || resource.contains("#") {
      options.fail(
        "a resource is an absolute URI without a fragment", at: "resource", element: index,
        fix: "write it like \"https://orders.example.com\", or use audience")
    }
    let extra = options.stringMap(
      "parameters", "Further parameters of the request, as the authorization server wants them.")
    for (name, _) in extra where reserved.contains(name) || name.isEmpty {
      options.fail("\"\(name)\" is not a further parameter", at: "parameters", fix: "use the option for it")
    }
    return (scopes.isEmpty ? [] : [FormField("scope", scopes.joined(separator: " "))])
      + audiences.map { FormField("audience", $0) } + resources.map { FormField("resource", $0) }
      + extra.map { FormField($0.name, $0.value) }
  }

  /// What people call the endpoint, without its query.
  var name: String { service.name }

  /// The request for a token by a grant that has these parameters; nil where it would be too long.
  func request(_ grant: [FormField], _ world: any World) -> FetchRequest? {
    client.endpoint.flatMap { service.request(grant + parameters, by: $0, world) }
  }

  /// How long a token of this answer is good, in nanoseconds.
  func lifetime(_ answer: TokenResponse) -> Int64 {
    answer.lifetimeSeconds.map { $0 * 1_000_000_000 } ?? assumedLifetime
  }
}

/// The field by which an upstream gets a token.
struct TokenField: Sendable {
  private let field: FieldSelector?
  private let start: [UInt8]

  init(_ options: inout OptionReader, default name: String, _ help: String) {
    let field = options.value("header", FieldSelector.format, default: name, placeholder: nil, help) {
      FieldSelector($0).map(Optional.some)
    }
    if field?.framesMessages == true {
      options.fail("this field frames messages", at: "header", fix: "name another")
    }
    self.field = field
    let isBearer = field?.known == .authorization
    start = (field?.text ?? []) + Array((isBearer ? ": Bearer " : ": ").utf8)
  }

  /// Drops what the client says there.
  func dropAll(in request: RequestHead) { field?.dropAll(in: request) }

  /// Sends a token to the upstream.
  func send(_ token: [UInt8], _ exchange: inout Exchange) {
    let fields = exchange.requestFields
    fields.append(start)
    fields.append(token)
    fields.append("\r\n")
  }
}
