import Core
import Crypto

/// Who a request comes from, as something that it carries has proved: a token, a session, a signature. Immutable, so that
/// all requests with one token share one.
public final class Identity: Sendable {
  /// Who vouches for it.
  public let issuer: String?
  /// Whom the issuer means; unique with the issuer only.
  public let subject: String?
  /// The program that acts for the subject.
  public let client: String?
  /// The tenant that the subject belongs to, named as the configuration names tenants.
  public let tenant: String?
  /// The usage plan that the issuer says it has, named as a policy `plan` names plans.
  public let plan: String?
  /// What the subject is in its organisation.
  public let roles: [String]
  /// The groups that it is a member of.
  public let groups: [String]
  /// What the client may do in its name.
  public let scopes: [String]
  /// All that the issuer says, an object.
  public let claims: JSONDocument?
  /// What limits count it under.
  let names: IdentityNames
  /// Its lists as rules compare them.
  let lists: IdentityLists
  private let marks: RevocationMarks?

  /// What an identity is made of.
  public struct Parts {
    /// See the properties of ``Identity`` with these names.
    public var issuer, subject, client, tenant, plan: String?
    /// See the properties of ``Identity`` with these names.
    public var roles: [String] = []
    /// See the properties of ``Identity`` with these names.
    public var groups: [String] = []
    /// See the properties of ``Identity`` with these names.
    public var scopes: [String] = []
    /// See ``Identity/claims``.
    public var claims: JSONDocument?
    /// What it can be revoked by beside subject, client and tenant: `jti`, `sid`, and the `kid` of what signed it.
    public var tokenID, session, signingKey: String?
    /// Further names by which it can be revoked: as many as ``tokenID`` and ``signingKey`` leave room for, two together.
    public var further: [(RevocationKind, String)] = []
    /// The second since 1970 at which it was proved; 0 where nobody knows.
    public var issued: UInt32 = 0

    /// Nobody.
    public init() {}
  }

  /// An identity of these parts on a loop with these services.
  public convenience init(_ parts: Parts, _ services: Services) {
    self.init(parts, subjectKey: services.subjectKey, markKey: services.facts?.markKey)
  }

  /// An identity of these parts: `subjectKey` names what clients choose, `markKey` what can be revoked; nil where nothing can.
  public init(_ parts: Parts, subjectKey: SipKey, markKey: SipKey?) {
    issuer = parts.issuer
    subject = parts.subject
    client = parts.client
    tenant = parts.tenant
    plan = parts.plan
    roles = parts.roles
    groups = parts.groups
    scopes = parts.scopes
    claims = parts.claims
    names = IdentityNames(parts, subjectKey)
    lists = IdentityLists(roles: parts.roles, groups: parts.groups, scopes: parts.scopes)
    marks = markKey.map { RevocationMarks(parts, $0) }
  }

  /// What it can be revoked by; nil on a node that knows of no revocations.
  var revocationMarks: RevocationMarks? { marks }
}

/// Roles, groups and scopes in one piece of memory. A short string is copied whenever its bytes are lent, and reading them back
/// at once costs more than all else that a rule does with them.
struct IdentityLists: Sendable {
  /// Which of the texts are roles, groups and scopes.
  let roles, groups, scopes: Range<Int>
  private let bytes: [UInt8]
  /// Where each text ends, and the next one begins.
  private let ends: [Int32]

  init(roles: [String], groups: [String], scopes: [String]) {
    self.roles = 0..<roles.count
    self.groups = roles.count..<(roles.count + groups.count)
    self.scopes = self.groups.upperBound..<(self.groups.upperBound + scopes.count)
    var bytes: [UInt8] = []
    var ends: [Int32] = []
    for text in roles + groups + scopes {
      bytes.append(contentsOf: text.utf8)
      ends.append(Int32(bytes.count))
    }
    (self.bytes, self.ends) = (bytes, ends)
  }

  /// Whether one of `texts` is wanted.
  @inline(__always)
  func contains(_ texts: Range<Int>, _ isWanted: (RawSpan) -> Bool) -> Bool {
    let all = bytes.span
    var start = texts.isEmpty || texts.lowerBound == 0 ? 0 : Int(ends[texts.lowerBound &- 1])
    for index in texts {
      let end = Int(ends[index])
      // The bytes are this object's, and stay.
      if unsafe isWanted(all.extracting(start..<end).bytes) { return true }
      start = end
    }
    return false
  }
}

/// What limits count an identity under.
struct IdentityNames: BitwiseCopyable, Sendable {
  /// The subject of this issuer, or its client where it has none.
  let caller: QuotaKey
  let tenant: QuotaKey?
  let group: QuotaKey?
  let plan: QuotaKey?

  init(_ parts: Identity.Parts, _ key: SipKey) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(128)
    func add(_ name: String?) {
      if let name { bytes.append(contentsOf: name.utf8) }
      bytes.append(0xff)
    }
    add(parts.issuer)
    add(parts.subject)
    add(parts.subject == nil ? parts.client : nil)
    caller = QuotaKey(chosen: RawSpan(bytes), key: key)
    tenant = parts.tenant.map { QuotaKey(configured: "tenant", $0) }
    group = parts.groups.first.map { QuotaKey(configured: "group", $0) }
    plan = parts.plan.map { QuotaKey(plan: $0) }
  }

  /// What a limit counts it under; nil where it lacks what is counted.
  func key(of subject: Subject) -> QuotaKey? {
    switch subject {
    case .consumer, .key: caller
    case .tenant: tenant
    case .group: group
    case .route, .address: nil
    }
  }
}

extension RevocationMarks {
  /// The marks of an identity.
  init(_ parts: Identity.Parts, _ key: SipKey) {
    self.init(issued: parts.issued)
    addMark(.tokenID, parts.tokenID, key)
    addMark(.session, parts.session, key)
    addMark(.subject, parts.subject, key)
    addMark(.client, parts.client, key)
    addMark(.tenant, parts.tenant, key)
    addMark(.signingKey, parts.signingKey, key)
    let room = (parts.tokenID == nil ? 1 : 0) + (parts.signingKey == nil ? 1 : 0)
    for (kind, name) in parts.further.prefix(room) { addMark(kind, name, key) }
  }

  private mutating func addMark(_ kind: RevocationKind, _ name: String?, _ key: SipKey) {
    if let name { add(RevocationMark(kind, name, key: key)) }
  }
}
