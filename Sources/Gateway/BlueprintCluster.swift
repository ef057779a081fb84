import Cluster
import Core
import Pipeline

/// The section `cluster`: what all nodes that count together must be given alike.
public struct ClusterSettings: Equatable, Sendable {
  /// The fewest bytes of a secret: 128 bits, if they are random.
  static let leastSecretBytes = 16

  /// The cluster's name; clusters of different names share a Redis without knowing of each other.
  public var name: String
  /// What members prove and hide with; empty where there is none.
  public var secret: [UInt8]
  /// The secret before this one: what was sealed and signed with it is still taken; empty where there is none.
  public var formerSecret: [UInt8]
  /// What names in the store are hashed with: the first secret that the cluster had; empty where there is none.
  public var nameSecret: [UInt8]

  /// What members prove and hide with; nil where there is no secret, and so no membership.
  var secrets: ClusterSecrets? {
    secret.isEmpty
      ? nil
      : ClusterSecrets(
        secret: secret, former: formerSecret.isEmpty ? nil : formerSecret, names: nameSecret)
  }

  /// `place` is where the option `store` stands, of which `store` was read.
  init(_ options: inout OptionReader, store: StoreSettings, at place: OptionPlace) {
    name = options.value(
      "name", .identifier, default: "sluice", placeholder: "sluice",
      "The same on all nodes that share limits; every key in Redis begins with sluice:NAME:."
    ) { OptionFormat.identifier($0) }
    let secret = options.optionalSecret(
      "secret",
      "The same on all nodes, 16 bytes or more, best as { env: … }: keeps others from knowing what counters are called."
    )
    self.secret = Array((secret ?? "").utf8)
    let former = options.optionalSecret(
      "formerSecret",
      "The secret before this one, while it is being replaced: what other nodes sealed and signed with it is still taken."
    )
    formerSecret = Array((former ?? "").utf8)
    let names = options.optionalSecret(
      "nameSecret",
      "The first secret that the cluster had, once that is another one: counters and revocations go on under its names."
    )
    nameSecret = names.map { Array($0.utf8) } ?? self.secret
    if options.isDescribing { return }
    if former != nil, secret == nil {
      options.fail("there is a former secret and no present one", at: "formerSecret", fix: "add secret")
    }
    if former != nil, secret != nil, names == nil {
      options.session.warn(
        "a node with another secret counts under other names", at: options.place(of: "formerSecret"),
        fix: "add nameSecret, the first secret that the cluster had, on all nodes, and keep it")
    }
    if secret != nil, self.secret.count < Self.leastSecretBytes {
      options.fail(
        "the secret has fewer than \(Self.leastSecretBytes) bytes", at: "secret",
        fix: "make one, for instance: openssl rand -hex 32")
    }
    guard store != .embedded else { return }
    if secret == nil, !options.hasFailed("secret") {
      options.session.warn(
        "without a cluster secret nodes agree on limits only, not on revisions, keys and revocations; and clients can guess "
          + "what counters are called, and choose names that share one",
        at: place,
        fix: "add cluster: { secret: { env: \"SLUICE_CLUSTER_SECRET\" } }, the same on all nodes")
    }
  }
}
