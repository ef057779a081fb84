import Cluster
import Core
import Gateway
import Pipeline
import Policies

extension AdminRoute {
  /// Runs an action on the control loop with the node's agent, nil where it has no cluster, and the authorization servers
  /// that take registered clients.
  public typealias ServerConsultation =
    @Sendable (_ action: @escaping @Sendable (ClusterAgent?, [OAuthClientRules]) -> Void) -> Void

  /// Clients of authorization servers. Both arguments are called on the admin thread.
  public static func clients(
    _ consult: @escaping ServerConsultation, _ directory: @escaping @Sendable () -> ConsumerNames
  ) -> [AdminRoute] {
    let desk = ClientDesk(consult: consult, directory: directory)
    return [list(desk), create(desk), show(desk), rotate(desk), delete(desk)]
  }

  private static let problem = "application/problem+json"
  private static let json = "application/json"
  private static let clientID = Parameter("id", .text(most: 256), isInPath: true, "The client's id.")
  private static let server = Parameter(
    "server", .text(most: 1_024), "The issuer of the authorization server; may be left out where there is only one.")
  private static let noServer = Outcome(
    404, "There is no such authorization server, or it takes no registered clients.", problem, schema: "Problem")
  private static let noClient = Outcome(404, "There is no such client or server.", problem, schema: "Problem")
  private static let noCluster = Outcome(409, "There is no cluster.", problem, schema: "Problem")
  private static let conflict = Outcome(
    409, "There is no cluster, or the client was changed meanwhile, or cannot be changed so.", problem,
    schema: "Problem")
  private static let noStore = Outcome(503, "The store does not answer.", problem, schema: "Problem")
  private static let unfit = Outcome(422, "The client would be of no use.", problem, schema: "Problem")

  private static func handler(
    _ desk: ClientDesk, _ body: @escaping @Sendable (ClientDesk.Place, AdminRequest, AdminReply) -> Void
  ) -> Handler {
    .later { request, reply in
      desk.with(request, named: request.parameter("server"), reply) { body($0, request, reply) }
    }
  }

  private static func list(_ desk: ClientDesk) -> AdminRoute {
    AdminRoute(
      .get, "/v1/oauth/clients", role: .viewer, operation: "listClients",
      summary: "Clients registered with an authorization server, in no particular order, never their secrets.",
      parameters: [server, Parameter("cursor", .integer(0...Int64.max), "Where the page before has ended.")],
      outcomes: [Outcome(200, "A page.", json, schema: "ClientPage"), noServer, noCluster, noStore],
      handler: handler(desk) { desk.list($0, $1, $2) })
  }

  private static func create(_ desk: ClientDesk) -> AdminRoute {
    AdminRoute(
      .post, "/v1/oauth/clients", role: .operator, operation: "createClient",
      summary: "Registers a client. Its secret is in the answer and is kept nowhere.",
      body: Body(schema: "NewClient", "What it may."),
      outcomes: [
        Outcome(201, "The client.", json, schema: "CreatedClient"), noServer,
        Outcome(
          409, "There is no cluster, or somebody is called so, or there are too many.", problem, schema: "Problem"),
        unfit, noStore,
      ],
      handler: .later { request, reply in
        guard let body = ClientBody(request) else {
          return reply(.problem(AdminProblem.malformedFact, request.decision))
        }
        desk.with(request, named: body.server, reply) { desk.create($0, body, request, reply) }
      })
  }

  private static func show(_ desk: ClientDesk) -> AdminRoute {
    AdminRoute(
      .get, "/v1/oauth/clients/{id}", role: .viewer, operation: "getClient", summary: "One registered client.",
      parameters: [clientID, server],
      outcomes: [Outcome(200, "The client.", json, schema: "Client"), noClient, noCluster, noStore],
      handler: handler(desk) { desk.show($0, $1, $2) })
  }

  private static func rotate(_ desk: ClientDesk) -> AdminRoute {
    AdminRoute(
      .post, "/v1/oauth/clients/{id}/secret", role: .operator, operation: "rotateClientSecret",
      summary: "Gives a client another secret; the one before is good for a while yet.",
      parameters: [clientID, server],
      body: Body(schema: "ClientRotation", isRequired: false, "How long both are good: one day, at most 90."),
      outcomes: [
        Outcome(201, "The client with its new secret.", json, schema: "CreatedClient"), noClient, conflict, unfit,
        noStore,
      ],
      handler: handler(desk) { desk.rotate($0, $1, $2) })
  }

  private static func delete(_ desk: ClientDesk) -> AdminRoute {
    AdminRoute(
      .delete, "/v1/oauth/clients/{id}", role: .operator, operation: "deleteClient",
      summary: "Deletes a client and revokes all its tokens.", parameters: [clientID, server],
      outcomes: [Outcome(200, "The client as it was.", json, schema: "Client"), noClient, conflict, noStore],
      handler: handler(desk) { desk.delete($0, $1, $2) })
  }
}

extension OpenAPIDocument {
  /// Clients of authorization servers.
  static let clients = #"""
    "Client":{"type":"object",
    "required":["id","server","name","grants","redirectURIs","scopes","audiences","public","created","formerSecretUntil"],
    "properties":{"id":{"type":"string"},"server":{"type":"string"},"name":{"type":"string"},
    "grants":{"type":"array","items":{"type":"string"}},"redirectURIs":{"type":"array","items":{"type":"string"}},
    "scopes":{"type":"array","items":{"type":"string"}},"audiences":{"type":"array","items":{"type":"string"}},
    "public":{"type":"boolean"},"created":{"type":"string","format":"date-time"},
    "formerSecretUntil":{"$ref":"#/components/schemas/Instant"}}},
    "CreatedClient":{"allOf":[{"$ref":"#/components/schemas/Client"},{"type":"object","required":["secret"],
    "properties":{"secret":{"type":["string","null"],"pattern":"^slc_[0-9A-Za-z_-]{43}$"}}}]},
    "ClientPage":{"type":"object","additionalProperties":false,"required":["clients","next"],
    "properties":{"clients":{"type":"array","items":{"$ref":"#/components/schemas/Client"}},
    "next":{"type":["string","null"]}}},
    "NewClient":{"type":"object","additionalProperties":false,"required":["grants"],"properties":{
    "server":{"type":"string","maxLength":1024},"id":{"$ref":"#/components/schemas/Name"},
    "name":{"type":"string","maxLength":255},"public":{"type":"boolean"},
    "grants":{"type":"array","minItems":1,"maxItems":8,"items":{"enum":["client_credentials","authorization_code",
    "device_code","urn:ietf:params:oauth:grant-type:device_code","refresh_token"]}},
    "redirectURIs":{"type":"array","maxItems":32,"items":{"type":"string","minLength":1,"maxLength":2048}},
    "scopes":{"type":"array","maxItems":64,"items":{"type":"string","minLength":1,"maxLength":255}},
    "audiences":{"type":"array","maxItems":32,"items":{"type":"string","minLength":1,"maxLength":1024}}}},
    "ClientRotation":{"type":"object","additionalProperties":false,"properties":{
    "overlap":{"type":"string","pattern":"^([0-9]{1,8}(ms|s)|[0-9]{1,4}(m|h)|[0-9]{1,3}d)$"}}}
    """#
}
