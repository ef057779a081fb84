import Core
import Crypto
import Pipeline

/// What clients of an authorization server are read by.
public struct OAuthClientRules: Equatable, Sendable {
  /// What the server is called in tokens.
  public let issuer: String
  /// Whom tokens are for of clients that do not say; empty where they must.
  public let audience: String
  /// The longest that anything is good which followed from a client, in seconds.
  public let longestGrant: Int64
  /// The ids of the clients of its configuration.
  public var configured: Set<String>

  /// These rules.
  public init(issuer: String, audience: String, longestGrant: Int64 = 0, configured: Set<String> = []) {
    (self.issuer, self.audience, self.longestGrant) = (issuer, audience, longestGrant)
    self.configured = configured
  }
}

/// A client that operators have registered while the server runs: the same options as a client of the configuration has,
/// read by the same reader, and what is known of it beside. Of its secrets there are digests only.
public struct RegisteredClient: Sendable {
  /// The most clients of all servers of a cluster.
  public static let mostClients = 10_000
  /// What the store keeps them under; see ``recordName(issuer:id:)``.
  public static let shelf = "oauth-clients"
  /// What may be said of one when it is registered, beside its server and whether it is public.
  public static let options = ["id", "name", "grants", "redirectURIs", "scopes", "audiences"]
  private static let version: Int64 = 1
  /// Seconds since 1970 until the end of the year 9999.
  private static let moments: ClosedRange<Int64> = 0...253_402_300_799

  /// Its id.
  public let id: String
  /// The issuer of its server.
  public let issuer: String
  /// The second since 1970 at which it was registered.
  public let created: Int64
  /// From this second on only the first of its secrets is good; 0 where there is only one.
  public let formerEnds: Int64
  /// Its options as JSON.
  public let optionText: [UInt8]
  private let whole: OAuthClient
  /// The same without the former secret.
  private let present: OAuthClient

  /// What a client is called in the store: short, and different for each server.
  public static func recordName(issuer: String, id: String) -> String {
    let bytes = Array(issuer.utf8)
    return "\(Base64URL.encode(Array(SHA256().digest(of: RawSpan(bytes)).bytes.prefix(12)))).\(digest(id))"
  }

  private static func digest(_ id: String) -> String {
    let bytes = Array(id.utf8)
    return Base64URL.encode(SHA256().digest(of: RawSpan(bytes)).bytes)
  }

  /// A client with these options, an object of JSON. Throws what is wrong with them, for people.
  public init(
    optionText: [UInt8], _ server: OAuthClientRules, created: Int64, formerEnds: Int64 = 0
  ) throws(RegistrationFault) {
    whole = try Self.read(optionText, server, former: true)
    present = try Self.read(optionText, server, former: false)
    id = whole.id
    (issuer, self.optionText) = (server.issuer, optionText)
    (self.created, self.formerEnds) = (created, formerEnds)
  }

  /// Why a client cannot be registered.
  public struct RegistrationFault: Error, Equatable, Sendable {
    /// What is wrong, in words.
    public let message: String
  }

  private static func read(
    _ text: [UInt8], _ server: OAuthClientRules, former: Bool
  ) throws(RegistrationFault) -> OAuthClient {
    let session = OptionSession(text: text) { _ in .failure(SecretFault("a registered client refers to nothing")) }
    let parsed = JSONDocument.parse(text, dialect: .strict)
    guard let document = parsed.document, document.root.kind == .object else {
      throw RegistrationFault(message: "a client is an object")
    }
    var reader = OptionReader(document.root, session: session)
    let client = OAuthClient(&reader, audience: server.audience, takesFormerSecrets: former)
    reader.finish()
    guard session.errorCount == 0, let client else {
      let faults = session.diagnostics.filter { $0.severity == .error }.map { "\($0.path): \($0.message); \($0.fix)" }
      throw RegistrationFault(message: faults.first ?? "this is no client")
    }
    return client
  }

  /// Reads what ``record`` made; nil for anything else, and for a client of another server.
  public init?(_ record: [UInt8], server: OAuthClientRules) {
    guard let root = JSONDocument.parse(record, dialect: .strict).document?.root,
      root["version"]?.integer == Self.version, let created = root["created"]?.integer,
      let ends = root["formerEnds"]?.integer, let options = root["client"], options.kind == .object,
      root["server"]?.equals(server.issuer) ?? false, Self.moments.contains(created), Self.moments.contains(ends)
    else { return nil }
    let text = Array(options.sourceText.utf8)
    guard let read = try? RegisteredClient(optionText: text, server, created: created, formerEnds: ends) else {
      return nil
    }
    self = read
  }

  /// What the store keeps: at most ``RecordRequest/valueLimit`` bytes, nil where it would be more.
  public var record: [UInt8]? {
    var writer = JSONWriter(ByteBuffer(capacity: 512))
    writer.beginObject()
    writer.member("version", Self.version)
    writer.member("server", issuer)
    writer.member("created", created)
    writer.member("formerEnds", formerEnds)
    writer.key("client")
    writer.raw(String(decoding: optionText, as: UTF8.self))
    writer.endObject()
    let record = writer.buffer.array
    return record.count <= RecordRequest.valueLimit ? record : nil
  }

  /// The issuer that a record names; nil where it is none.
  public static func server(of record: [UInt8]) -> String? {
    JSONDocument.parse(record, dialect: .strict).document?.root["server"]?.string
  }

  /// The client as it is good at this second.
  func client(at now: Int64) -> OAuthClient { now < formerEnds ? whole : present }

  /// Whether it proves to be itself by a secret.
  public var isConfidential: Bool { present.isConfidential }
}
