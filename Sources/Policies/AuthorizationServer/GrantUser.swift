import Core
import Crypto
import Pipeline

/// The user that a grant speaks for.
struct GrantUser: Equatable, Sendable {
  /// Where somebody was logged in by somebody else: who vouches, and whom that means.
  struct Origin: Equatable, Sendable {
    let issuer: String
    let subject: String

    /// One name for both: two issuers may mean two people by one name. The digest of both, since what they are called may
    /// be of any length and hold anything. No consumer's name begins like it, so nobody can choose it to be somebody else's.
    var name: String {
      let bytes = Array(issuer.utf8) + [0xff] + Array(subject.utf8)
      return "~" + Base64URL.encode(SHA256().digest(of: RawSpan(bytes)).bytes)
    }
  }

  /// What the claim `sub` says: of a consumer, or somebody whom the gateway itself knows, the name; of those whom an issuer
  /// vouches for what follows from its name and theirs.
  var subject = ""
  var origin: Origin?
  /// Whether it is a consumer of the configuration or of the cluster: then its groups and tenant are looked up each
  /// time.
  var isConsumer = false
  /// Whether it is one that only keys of the cluster know.
  var isOwn = false
  var tenant: String?
  var groups: [String] = []
  var roles: [String] = []
  /// The second since 1970 at which the user has logged in, as far as anybody knows.
  var loggedIn: Int64 = 0

  /// Why somebody who is logged in cannot be a user here.
  enum Fault: Error { case nobody, ambiguous }

  /// The user that the policies before have found. Throws for nobody, for somebody without a name, and for somebody
  /// without an issuer who has the name of a consumer or of one of these clients: tokens would not tell the two apart.
  init(_ exchange: borrowing Exchange, isClient: (String) -> Bool, _ services: Services) throws(Fault) {
    let identity = exchange.identity
    loggedIn = identity?.claims?.root["auth_time"]?.integer ?? services.world.wallTime.seconds
    roles = identity?.roles ?? []
    if exchange.consumer >= 0 {
      let consumer = services.consumer(exchange.consumer)
      // Those of nobody's are the author's business; keys and tenants choose names while it runs, and a name may have come
      // into the configuration since.
      isOwn = exchange.consumer >= Services.firstOwnConsumer
      if isOwn, services.keyRing.index(ofConsumer: consumer.id) >= 0 { throw .ambiguous }
      if isOwn || consumer.tenant != nil, isClient(consumer.id) { throw .ambiguous }
      (subject, isConsumer, tenant, groups) = (consumer.id, true, consumer.tenant, consumer.groups)
      return
    }
    guard let subject = identity?.subject, let identity, !subject.isEmpty else { throw .nobody }
    (tenant, groups) = (identity.tenant, identity.groups)
    if let issuer = identity.issuer {
      let origin = Origin(issuer: issuer, subject: subject)
      (self.subject, self.origin) = (origin.name, origin)
      return
    }
    guard Self.number(ofConsumer: subject, services) == nil, !isClient(subject) else { throw .ambiguous }
    self.subject = subject
  }

  /// A user of these parts.
  init(
    subject: String = "", isConsumer: Bool = false, isOwn: Bool = false, tenant: String? = nil, groups: [String] = [],
    roles: [String] = [], loggedIn: Int64 = 0
  ) {
    (self.subject, self.isConsumer, self.isOwn, self.tenant) = (subject, isConsumer, isOwn, tenant)
    (self.groups, self.roles, self.loggedIn) = (groups, roles, loggedIn)
  }

  /// Whether both are one user, whatever groups it has by now.
  func isSame(as other: GrantUser) -> Bool {
    subject.utf8.elementsEqual(other.subject.utf8) && isConsumer == other.isConsumer && isOwn == other.isOwn
  }

  /// The user as it is now, and the number of the consumer that it is, −1 for none; nil for a consumer that is not there any
  /// more, also where somebody else is called so by now: a consumer of the configuration, of keys, or of another tenant.
  func current(_ services: Services) -> (user: GrantUser, consumer: Int32)? {
    guard isConsumer else { return (self, -1) }
    guard let number = Self.number(ofConsumer: subject, services), isOwn == (number >= Services.firstOwnConsumer) else {
      return nil
    }
    let consumer = services.consumer(number)
    guard consumer.tenant == tenant else { return nil }
    var user = self
    user.groups = consumer.groups
    return (user, number)
  }

  private static func number(ofConsumer name: String, _ services: Services) -> Int32? {
    let index = services.keyRing.index(ofConsumer: name)
    return index >= 0 ? index : services.ownConsumer(named: name)
  }
}
