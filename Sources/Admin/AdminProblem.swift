import HTTP
import Pipeline

/// Refusals that only the admin port gives; others come from the ``ProblemCatalogue``.
enum AdminProblem {
  static let tokenMissing = Problem(
    401, "admin-token-missing", "Token missing", "Send the field Authorization with a bearer token of this node.")
  static let tokenInvalid = Problem(
    401, "admin-token-invalid", "Token not valid", "This node does not know the bearer token.")
  static let roleTooLow = Problem(
    403, "admin-role-too-low", "Not allowed", "The role of this token does not include this operation.")
  static let notForTenants = Problem(
    403, "admin-not-for-tenants", "Not for tenants",
    "The token belongs to a tenant, and this operation is not for those.")
  static let notTheTenants = Problem(
    403, "admin-not-the-tenants", "Not the tenant's",
    "The token belongs to a tenant: its consumers and groups must be the tenant's, and of these it may revoke keys, or the tenant."
  )
  static let tenantUnknown = Problem(
    404, "tenant-unknown", "No such tenant", "The configuration has no tenant of that name for this token.")
  static let tenantRefused = Problem(
    422, "tenant-refused", "Refused", "It is not done.")
  static let otherDocument = Problem(
    412, "other-document", "Changed meanwhile",
    "What belongs to the tenant is not what If-Match names. Look at it, and apply the change anew.")
  static let changeRunning = Problem(
    409, "change-running", "A change is under way",
    "Another change is still being worked on, of this tenant or of others. Try again.")
  static let changeStaged = Problem(
    409, "change-staged", "A change is being tried",
    "Some nodes try another change out first. Come back when that is over.")
  static let notFound = Problem(
    404, "admin-not-found", "Not found", "There is nothing at this path; see /openapi.json for what there is.")
  static let notConfigured = Problem(
    404, "not-configured", "Not configured",
    "The configuration of this node has no consumer, key or route of that name.")
  static let routeNeeded = Problem(
    404, "route-needed", "Route needed",
    "Name a route, and the consumer who asks: ?consumer=ID&route=ID. Or a decision: ?decision=ID.")
  static let decisionUnknown = Problem(
    404, "decision-unknown", "Decision not remembered",
    "This node did not refuse under that name, or not recently: each loop keeps the last 256 refusals by limits, and 256 others."
  )
  static let consumerNeeded = Problem(
    404, "consumer-needed", "Consumer needed", "This route takes nobody without a key: name a consumer.")
  static let malformedParameter = Problem(
    400, "malformed-parameter", "Malformed parameter",
    "A parameter in path or query is not what /openapi.json says that it may be.")
  static let storeAway = Problem(
    503, "store-unreachable", "Store out of reach",
    "This node cannot ask the store in which the cluster agrees. Nothing is known to have changed; try again.")
  static let otherMediaType = Problem(
    415, "other-media-type", "Other media type", "The body is of a media type that this operation does not read.")
  static let bodyNeeded = Problem(400, "body-needed", "Body needed", "This operation reads a body, and there is none.")
  static let noCluster = Problem(
    409, "no-cluster", "No cluster",
    "This node shares nothing with others: give it a store other than embedded, and cluster.secret, the same on all nodes."
  )
  static let keyUnknown = Problem(404, "key-unknown", "No such key", "The cluster has made no key of this id.")
  static let consumerConfigured = Problem(
    409, "consumer-configured", "Consumer configured",
    "The configuration has a consumer of this name: name it alone, without tenant and groups.")
  static let serverUnknown = Problem(
    404, "authorization-server-unknown", "No such authorization server",
    "The configuration has no oauth2-server with registeredClients: true and this issuer; where there are several, name one."
  )
  static let clientUnknown = Problem(
    404, "client-unknown", "No such client", "Nobody has registered a client of this id with that server.")
  static let clientTaken = Problem(
    409, "client-taken", "The id is taken",
    "A client, a client of the configuration or a consumer is called so, or one that was deleted and whose tokens may be good yet."
  )
  static let clientsFull = Problem(
    409, "clients-full", "Too many clients", "As many clients are registered as there may be: 10000.")
  static let clientChanged = Problem(
    409, "client-changed", "Changed meanwhile", "Somebody else has changed or deleted this client. Look at it again.")
  static let clientPublic = Problem(
    409, "client-public", "The client is public", "A public client has no secret that another could replace.")
  static let malformedClient = Problem(
    422, "malformed-client", "The client would be of no use", "Too long for a record, all of it together.")
  static let consumerTaken = Problem(
    409, "consumer-taken", "Name taken", "A consumer or a client is called so: choose another name.")
  static let malformedFact = Problem(
    422, "malformed-body", "Malformed body",
    "The body is not the JSON object that this operation reads, or a member of it is of no use; see /openapi.json.")
  static let storeUnavailable = Problem(
    503, "store-unavailable", "Store unavailable",
    "The store that the nodes share does not answer. Nothing was changed as far as this node knows; try again.")
  static let notReady = Problem(
    503, "not-ready", "Not ready", "The node does not take new requests: it is starting or draining.")
  static let noAnswer = Problem(
    504, "node-busy", "No answer in time", "The node's loops did not answer in time. Try again.")
  static let malformedBody = Problem(
    400, "malformed-body", "Malformed body", "The body, or the field If-Match, is not what /openapi.json says.")
  static let noRevision = Problem(
    404, "no-revision", "No revision", "This node runs its own file: the cluster has no revision that it knows of.")
  static let revisionUnknown = Problem(
    404, "revision-unknown", "Revision unknown", "There is no such revision, or nobody remembers what it said.")
  static let otherRevision = Problem(
    412, "other-revision", "Another revision is in force", "Look at what is in force, and apply the change anew.")
  static let configurationInvalid = Problem(
    422, "configuration-invalid", "The configuration has errors", "Nothing is changed.")
  static let revisionRefused = Problem(422, "revision-refused", "Refused", "It is not done.")
  static let storeSilent = Problem(
    503, "store-silent", "The store does not answer", "Nothing can be agreed on while nodes cannot reach the store.")
  static let misdirected = Problem(
    421, "misdirected-request", "Misdirected request",
    "Without tokens the admin port answers only to a loopback address or localhost in Host, and to no other origin.")

  static func of(_ fault: HTTPFault) -> Problem {
    switch fault.status {
    case 414: ProblemCatalogue.targetTooLong
    case 417: ProblemCatalogue.expectationFailed
    case 431: ProblemCatalogue.headTooLarge
    case 501: ProblemCatalogue.notImplemented
    case 505: ProblemCatalogue.versionNotSupported
    default: ProblemCatalogue.malformedRequest
    }
  }
}
