import Core
import Pipeline

/// Where limits are counted: the option `store`.
public enum StoreSettings: Equatable, Sendable {
  /// In the node's own memory.
  case embedded
  /// In a Redis that nodes share.
  case redis(RedisStore)
}

/// A Redis in one of its three shapes.
public enum RedisStore: Equatable, Sendable {
  /// One server, always the same.
  case single(RedisServer)
  /// The primary that sentinels name.
  case sentinel(RedisSentinels)
  /// The primaries of a Redis Cluster.
  case cluster(RedisSeeds)
}

extension RedisStore {
  /// Whether nodes refuse to start where the store would not keep limits exactly.
  public var isStrict: Bool {
    switch self {
    case .single(let server): server.isStrict
    case .sentinel(let sentinels): sentinels.server.isStrict
    case .cluster(let seeds): seeds.server.isStrict
    }
  }

  /// The ACL user that counts; nil for the default user.
  public var user: String? {
    switch self {
    case .single(let server): server.credentials?.user
    case .sentinel(let sentinels): sentinels.server.credentials?.user
    case .cluster(let seeds): seeds.server.credentials?.user
    }
  }
}

/// How the primary of a group is found.
public struct RedisSentinels: Equatable, Sendable {
  /// The port of a sentinel's address that names none.
  public static let defaultPort: UInt16 = 26_379

  /// What the sentinels call the group.
  public var name: String
  /// Where sentinels listen; at least one.
  public var addresses: [AddressText]
  /// For the sentinels themselves.
  public var credentials: RedisCredentials?
  /// Whether, and how, connections to sentinels are encrypted.
  public var encryption: RedisEncryption?
  /// How to enter the primary; its address is what a sentinel says.
  public var server: RedisEntry

  /// Sentinels at `addresses` that watch `name`.
  public init(
    name: String, addresses: [AddressText], credentials: RedisCredentials? = nil,
    encryption: RedisEncryption? = nil, server: RedisEntry = RedisEntry()
  ) {
    precondition(!addresses.isEmpty)
    self.name = name
    self.addresses = addresses
    self.credentials = credentials
    self.encryption = encryption
    self.server = server
  }
}

/// The nodes of a Redis Cluster that are asked first.
public struct RedisSeeds: Equatable, Sendable {
  /// Nodes of the cluster; at least one.
  public var addresses: [AddressText]
  /// How to enter each node; a cluster has database 0 only.
  public var server: RedisEntry

  /// A cluster that nodes at `addresses` belong to.
  public init(addresses: [AddressText], server: RedisEntry = RedisEntry()) {
    precondition(!addresses.isEmpty)
    self.addresses = addresses
    self.server = server
  }
}

/// How to enter a server whose address is not known yet.
public struct RedisEntry: Equatable, Sendable {
  /// The number given to `SELECT`.
  public var database = 0
  /// Nil where the server asks for none.
  public var credentials: RedisCredentials?
  /// Nil for connections that are not encrypted.
  public var encryption: RedisEncryption?
  /// Whether nodes refuse to start where the server would not keep limits exactly; see ``StoreCheck``.
  public var isStrict = false

  /// An entry without credentials and encryption.
  public init(database: Int = 0, credentials: RedisCredentials? = nil, encryption: RedisEncryption? = nil) {
    self.database = database
    self.credentials = credentials
    self.encryption = encryption
  }

  /// The server at `address`, entered this way.
  public func server(at address: AddressText) -> RedisServer {
    var server = RedisServer(address: address, database: database, credentials: credentials, encryption: encryption)
    server.isStrict = isStrict
    return server
  }
}

extension StoreSettings {
  /// Whether nodes refuse to start where the store would not keep limits exactly.
  public var isStrict: Bool {
    switch self {
    case .embedded: false
    case .redis(let store): store.isStrict
    }
  }

  /// Reads the option `store`; ``embedded`` where it is left out or wrong.
  public static func read(_ options: inout OptionReader) -> StoreSettings {
    options.object(
      "store", shorthand: "url",
      "Where limits are counted: \"embedded\", the node's own memory, or a Redis that all nodes share."
    ) { StoreSettings.read(inside: &$0) } ?? .embedded
  }

  private static func read(inside options: inout OptionReader) -> StoreSettings? {
    let sentinel = options.object("sentinel", "Sentinels that say which server is the primary.") {
      SentinelPart(&$0)
    }
    let nodes = options.object("cluster", shorthand: "addresses", "Nodes of a Redis Cluster; they name the others.") {
      addresses(&$0, port: RedisServer.defaultPort)
    }
    let text = options.optionalString(
      "url", "\"embedded\", redis://host:6379/0, rediss:// for TLS, or unix:///path; user:password@ before the host.")
    let database = options.optionalInteger("database", in: 0...16_383, "The number of the database; 0 in a cluster.")
    let credentials = RedisCredentials.read(&options)
    let encryption = options.object("tls", "Encrypts connections; {} with the system's authorities.") {
      RedisEncryption.read(&$0)
    }
    let isStrict = options.bool(
      "strict", default: false, "Refuse to start where the store would not keep limits exactly; otherwise it is said.")
    if options.isDescribing { return nil }
    let given = ["url", "sentinel", "cluster"].filter { options.has($0) }
    guard given.count == 1 else {
      let message = given.isEmpty ? "a store needs a URL, sentinels or a cluster" : "a store has one shape only"
      options.fail(message, at: given.dropFirst().first ?? "url", fix: "give one of url, sentinel and cluster")
      return nil
    }
    var entry = RedisEntry(database: Int(database ?? 0), credentials: credentials, encryption: encryption)
    entry.isStrict = isStrict
    if options.has("sentinel") {
      return sentinel.map { part in
        .redis(
          .sentinel(
            RedisSentinels(
              name: part.name, addresses: part.addresses, credentials: part.credentials,
              encryption: part.encryption, server: entry)))
      }
    }
    if options.has("cluster") {
      if entry.database != 0 {
        options.fail("a Redis Cluster has database 0 only", at: "database", fix: "remove it")
      }
      return nodes.map { .redis(.cluster(RedisSeeds(addresses: $0, server: entry))) }
    }
    return text.flatMap { read(url: $0, entry, &options) }
  }

  private static func read(url: String, _ entry: RedisEntry, _ options: inout OptionReader) -> StoreSettings? {
    let others = ["database", "user", "password", "tls", "strict"].filter { options.has($0) }
    if url == "embedded" {
      if let other = others.first {
        options.fail("the node's own memory has no \(other)", at: other, fix: "remove it, or give a Redis as url")
      }
      return .embedded
    }
    do throws(RedisURLFault) {
      var server = try RedisURL.parse(url)
      if entry.credentials != nil, server.credentials != nil {
        options.fail("the URL has credentials already", at: "password", fix: "remove them from one of the two")
      }
      if entry.encryption != nil, case .socket(.unix) = server.address {
        options.fail("a unix socket is not encrypted", at: "tls", fix: "remove it")
      }
      server.credentials = server.credentials ?? entry.credentials
      server.encryption = entry.encryption ?? server.encryption
      server.isStrict = entry.isStrict
      if options.has("database") { server.database = entry.database }
      return .redis(.single(server))
    } catch {
      // Never repeats the text, which may hold a password.
      options.fail(error.message, at: "url", fix: error.fix)
      return nil
    }
  }

  private struct SentinelPart {
    var name: String
    var addresses: [AddressText]
    var credentials: RedisCredentials?
    var encryption: RedisEncryption?

    init?(_ options: inout OptionReader) {
      name = options.string("name", "What the sentinels call the group of servers.")
      addresses = []
      let found = StoreSettings.addresses(&options, port: RedisSentinels.defaultPort)
      credentials = RedisCredentials.read(&options)
      encryption = options.object("tls", "Encrypts connections to sentinels.") { RedisEncryption.read(&$0) }
      if name.isEmpty { options.fail("the name is empty", at: "name", fix: "write it as in sentinel monitor") }
      guard let found, !options.hasFailed("name") else { return nil }
      addresses = found
    }
  }

  /// The list `addresses`; nil where nothing in it can be used.
  private static func addresses(_ options: inout OptionReader, port: UInt16) -> [AddressText]? {
    let format = OptionFormat("an address", example: "10.0.0.5:\(port)")
    let list: [AddressText] = options.valueList(
      "addresses", format, isRequired: true, allowsSingle: true,
      "Where they listen; the port may be left out (\(port))."
    ) { text in
      if let address = AddressText(text), case .socket(.unix) = address { return nil }
      return AddressText(text) ?? AddressText("\(text):\(port)")
    }
    return list.isEmpty ? nil : list
  }
}

extension RedisCredentials {
  /// The options `user` and `password`.
  static func read(_ options: inout OptionReader) -> RedisCredentials? {
    let user = options.optionalString("user", "The ACL user; left out, the default user.")
    let password = options.optionalSecret("password", "The password, best as { env: … } or { file: … }.")
    if let password, password.isEmpty {
      options.fail("the password is empty", at: "password", fix: "remove it where the server asks for none")
    }
    if user != nil, !options.has("password"), !options.isDescribing {
      options.fail("a user needs a password", at: "user", fix: "add password: { env: \"NAME\" }")
    }
    return password.flatMap { $0.isEmpty ? nil : RedisCredentials(user: user, password: $0) }
  }
}

extension RedisEncryption {
  /// The object `tls`.
  static func read(_ options: inout OptionReader) -> RedisEncryption {
    let result = RedisEncryption(
      authorities: options.optionalString(
        "authorities", "PEM file of the authorities to trust; left out, the system's."),
      certificate: options.optionalString("certificate", "PEM file of the certificate that the node shows."),
      key: options.optionalString("key", "PEM file of the certificate's private key."),
      serverName: options.optionalString(
        "serverName", "The name that the server's certificate must hold; left out, the host's."))
    if options.has("certificate") != options.has("key") {
      options.fail(
        "a certificate and its key belong together", at: options.has("key") ? "key" : "certificate",
        fix: "give both or none")
    }
    return result
  }
}
