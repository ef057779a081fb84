import Cluster
import Core
import Crypto
import Gateway
import Pipeline

extension AdminRoute {
  /// Keys of the cluster and revocations. `directory` tells what the configuration knows. Both arguments are called on the
  /// admin thread.
  public static func facts(
    _ consult: @escaping ServerConsultation, _ directory: @escaping @Sendable () -> ConsumerNames
  ) -> [AdminRoute] {
    let desk = FactDesk(consult: consult, directory: directory)
    return keyRoutes(desk) + revocationRoutes(desk)
  }

  private static let problem = "application/problem+json"
  private static let json = "application/json"
  private static let keyID = Parameter("id", .text(most: 64), isInPath: true, "The key's id.")
  static let wait = Parameter(
    "wait", .duration, "How long the answer waits until all nodes go by it, at most 4s; left out, not at all.")
  private static let noCluster = Outcome(409, "There is no cluster.", problem, schema: "Problem")
  private static let noStore = Outcome(503, "The store does not answer.", problem, schema: "Problem")
  private static let noKey = Outcome(404, "There is no such key.", problem, schema: "Problem")

  // MARK: Keys

  private static func keyRoutes(_ desk: FactDesk) -> [AdminRoute] {
    [
      AdminRoute(
        .get, "/v1/keys", role: .viewer, isForTenants: true, operation: "listKeys",
        summary: "Keys of the cluster, never their texts.",
        parameters: [
          Parameter("consumer", .name, "Only those of this consumer."),
          Parameter("after", .key, "The id of the last key of the page before."),
          Parameter("limit", .integer(1...500), "The most keys of a page; left out, 100."),
        ],
        outcomes: [Outcome(200, "A page.", json, schema: "KeyPage"), noCluster],
        handler: .later { request, reply in desk.with(request, reply) { desk.listKeys($0, request, reply) } }),
      AdminRoute(
        .post, "/v1/keys", role: .operator, isForTenants: true, operation: "createKey",
        summary: "Makes a key. Its text is in the answer and is kept nowhere.", parameters: [wait],
        body: Body(schema: "NewKey", "Whose it is, and when it is valid."),
        outcomes: [
          Outcome(201, "The key.", json, schema: "CreatedKey"),
          Outcome(404, "The configuration has no such consumer or tenant.", problem, schema: "Problem"),
          Outcome(409, "There is no cluster, or somebody else is called so.", problem, schema: "Problem"),
          noStore,
        ],
        handler: .later { request, reply in desk.createKey(request, reply) }),
      AdminRoute(
        .get, "/v1/keys/{id}", role: .viewer, isForTenants: true, operation: "getKey",
        summary: "One key of the cluster.",
        parameters: [keyID], outcomes: [Outcome(200, "The key.", json, schema: "Key"), noKey, noCluster],
        handler: .later { request, reply in desk.with(request, reply) { desk.showKey($0, request, reply) } }),
      AdminRoute(
        .patch, "/v1/keys/{id}", role: .operator, isForTenants: true, operation: "changeKey",
        summary: "Disables or enables a key, or sets when it expires.", parameters: [keyID, wait],
        body: Body(schema: "KeyChange", "What is to change."),
        outcomes: [Outcome(200, "The key as it is now.", json, schema: "ChangedKey"), noKey, noCluster, noStore],
        handler: .later { request, reply in desk.with(request, reply) { desk.changeKey($0, request, reply) } }),
      AdminRoute(
        .post, "/v1/keys/{id}/rotate", role: .operator, isForTenants: true, operation: "rotateKey",
        summary: "Makes another key for the same consumer; the old one is valid for a while yet.",
        parameters: [keyID, wait],
        body: Body(schema: "KeyRotation", isRequired: false, "How long both are valid, and the new one's end."),
        outcomes: [Outcome(201, "The new key.", json, schema: "CreatedKey"), noKey, noCluster, noStore],
        handler: .later { request, reply in desk.with(request, reply) { desk.rotateKey($0, request, reply) } }),
      AdminRoute(
        .delete, "/v1/keys/{id}", role: .operator, isForTenants: true, operation: "deleteKey",
        summary: "Deletes a key for good.",
        parameters: [keyID, wait],
        outcomes: [Outcome(200, "The key as it was.", json, schema: "ChangedKey"), noKey, noCluster, noStore],
        handler: .later { request, reply in desk.with(request, reply) { desk.deleteKey($0, request, reply) } }),
    ]
  }

  // MARK: Revocations

  private static func revocationRoutes(_ desk: FactDesk) -> [AdminRoute] {
    [
      AdminRoute(
        .get, "/v1/revocations", role: .viewer, operation: "listRevocations",
        summary: "What is revoked, in no particular order.",
        parameters: [Parameter("cursor", .integer(0...Int64.max), "Where the page before ended.")],
        outcomes: [Outcome(200, "A page, of some hundred.", json, schema: "RevocationPage"), noCluster, noStore],
        handler: .later { request, reply in desk.with(request, reply) { desk.listRevocations($0, request, reply) } }),
      AdminRoute(
        .post, "/v1/revocations", role: .operator, isForTenants: true, operation: "revoke",
        summary: "Revokes a token, key, session, client, tenant or signing key, or all that a subject was given.",
        parameters: [wait], body: Body(schema: "NewRevocation", "What is revoked."),
        outcomes: [Outcome(201, "It is.", json, schema: "CreatedRevocation"), noCluster, noStore],
        handler: .later { request, reply in desk.with(request, reply) { desk.revoke($0, request, reply) } }),
    ]
  }
}
