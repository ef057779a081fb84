import Core

/// Who a client says it is (`AUTH`). Never prints what it holds.
public struct RedisCredentials: Equatable, Sendable {
  /// The ACL user; nil for the server's default user.
  public let user: String?
  /// The password.
  public let password: String

  /// Credentials of `user`, or of the default user.
  public init(user: String? = nil, password: String) {
    self.user = user
    self.password = password
  }
}

extension RedisCredentials: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// Tells nothing.
  public var description: String { "…" }
  /// Tells nothing.
  public var debugDescription: String { "…" }
  /// Tells nothing.
  public var customMirror: Mirror { Mirror(self, children: []) }
}

/// How a connection is encrypted: files by path, read when the client is made.
public struct RedisEncryption: Hashable, Sendable {
  /// PEM file of the authorities that servers' certificates must descend from; nil for those of the system.
  public var authorities: String?
  /// PEM file of the client's own certificate, with its chain; nil for none.
  public var certificate: String?
  /// PEM file of the certificate's private key.
  public var key: String?
  /// The name that servers' certificates must hold; nil for the host that is connected to.
  public var serverName: String?

  /// Encryption that trusts the system's authorities and shows no certificate.
  public init(
    authorities: String? = nil, certificate: String? = nil, key: String? = nil, serverName: String? = nil
  ) {
    self.authorities = authorities
    self.certificate = certificate
    self.key = key
    self.serverName = serverName
  }
}

/// One Redis server and how to enter it.
public struct RedisServer: Equatable, Sendable {
  /// The port of a URL that names none.
  public static let defaultPort: UInt16 = 6379
  /// The databases that can be named: what Redis itself can be built for.
  public static let databases = 0...16_383

  /// Where it listens.
  public var address: AddressText
  /// The number given to `SELECT`, one of ``databases``.
  public var database: Int
  /// Nil where the server asks for none.
  public var credentials: RedisCredentials?
  /// Nil for a connection that is not encrypted.
  public var encryption: RedisEncryption?
  /// Whether nodes refuse to start where it would not keep limits exactly; see ``StoreCheck``.
  public var isStrict = false

  /// A server.
  public init(
    address: AddressText, database: Int = 0, credentials: RedisCredentials? = nil, encryption: RedisEncryption? = nil
  ) {
    precondition(Self.databases.contains(database))
    self.address = address
    self.database = database
    self.credentials = credentials
    self.encryption = encryption
  }
}

extension RedisServer {
  /// The host as it was written; that of the machine itself for a unix socket.
  var host: String {
    switch address {
    case .name(let host, port: _): host
    case .socket(.ip(let ip, port: _)): ip.description
    case .socket(.unix): "127.0.0.1"
    }
  }
}

extension RedisServer: CustomStringConvertible {
  /// The server as a URL without its credentials.
  public var description: String {
    let suffix = database == 0 ? "" : "/\(database)"
    switch address {
    case .socket(.unix(let path)):
      return "unix://\(RedisURL.escaped(path))" + (database == 0 ? "" : "?db=\(database)")
    default:
      return "\(encryption == nil ? "redis" : "rediss")://\(address)\(suffix)"
    }
  }
}
