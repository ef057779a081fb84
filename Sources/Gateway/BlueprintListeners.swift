import Core
import Pipeline

/// One element of `listeners`: a port that clients connect to.
public struct ListenerSettings: Equatable, Sendable {
  /// Where it listens.
  public var address: SocketAddress
  /// Whether every connection begins with a PROXY header, v1 or v2; one that does not is closed.
  public var expectsProxyHeader: Bool
  /// Whether connections are passed on to nodes as they are, behind a PROXY header: a router's only.
  public var passesThrough = false
  /// How it speaks TLS; nil for plain HTTP.
  public var tls: ListenerTLS?
  /// Whether clients may begin with HTTP/2 on a port of plain HTTP.
  public var acceptsHTTP2: Bool
  /// The port of https that every request is sent to; nil for none.
  public var redirect: UInt16?

  /// Reads a listener of a node, or of a router.
  init?(_ options: inout OptionReader, isRouter: Bool = false) {
    let address = options.value("address", .listenAddress, placeholder: SocketAddress?.none, Self.addressHelp) {
      SocketAddress($0)
    }
    expectsProxyHeader = options.bool(
      "proxyProtocol", default: false,
      "Whether every connection begins with a PROXY header (version 1 or 2) that names the client. Only for ports that "
        + "nobody but your load balancer can reach.")
    if isRouter {
      passesThrough = options.bool(
        "passThrough", default: false,
        "Whether connections are passed on byte by byte, behind a PROXY header (version 2), to listeners of the nodes that "
          + "expect one: for TLS that ends on the nodes.")
    }
    tls = options.object("tls", "How it speaks TLS; left out, it speaks plain HTTP.") { ListenerTLS(&$0) }
    if tls != nil, passesThrough {
      options.fail("a connection that is passed on as it is has its TLS elsewhere", at: "tls", fix: "remove it")
    }
    acceptsHTTP2 = options.bool(
      "h2c", default: false,
      "Whether clients that know it beforehand may speak HTTP/2 without TLS; tls.http2 is for those with TLS.")
    if acceptsHTTP2, tls != nil || passesThrough {
      options.fail("only a listener of plain HTTP can speak HTTP/2 without TLS", at: "h2c", fix: "remove it")
    }
    redirect = options.object(
      "redirectToHTTPS", shorthand: "port", "Sends every request to the same place with https, at this port."
    ) { redirect in
      let port = redirect.integer("port", in: 1...65_535, default: 443, "The port that clients reach https at.")
      return UInt16(port)
    }
    if redirect != nil, tls != nil || passesThrough {
      options.fail(
        "only a listener of plain HTTP can send its clients to https", at: "redirectToHTTPS", fix: "remove it")
    }
    guard let address, !options.hasFailed("tls") else { return nil }
    self.address = address
  }

  private static let addressHelp =
    "Where to listen: \"0.0.0.0:8080\", \"[::]:8080\", or \"unix:/path\" for a unix socket."
}

/// Where the access log goes.
public enum AccessLogSettings: Equatable, Sendable {
  /// Nowhere.
  case off
  /// Standard output.
  case standardOutput
  /// The end of a file, by a path relative to the process's directory.
  case file(path: String)

  enum Word: String, CaseIterable { case stdout, off }

  /// Reads the value of `accessLog` where there is one.
  static func read(_ options: inout OptionReader) -> AccessLogSettings {
    let help = "One JSON line a request: \"stdout\" (the default), \"off\", or { file: \"access.log\" }."
    let read: AccessLogSettings? = options.object("accessLog", shorthand: "to", readsFile: true, help) { log in
      let word = log.optionalChoice("to", as: Word.self, "Where the lines go.")
      let path = log.optionalString(
        "file", "The file to append to; it is opened anew on SIGHUP, so that it can be rotated.")
      if let path {
        if word != nil { log.fail("\"to\" and \"file\" exclude each other", at: "to", fix: "keep one of them") }
        if path.isEmpty { log.fail("the path is empty", at: "file", fix: "name a file") }
        return .file(path: path)
      }
      if word == nil, !log.hasFailed("to") {
        log.fail("nothing says where the log goes", at: "file", fix: "write \"stdout\", \"off\" or { file: \"…\" }")
      }
      return word == .off ? .off : .standardOutput
    }
    return read ?? .standardOutput
  }
}

/// The section `admin`: the port for metrics, health and the admin API.
public struct AdminSettings: Equatable, Sendable {
  /// Where it listens.
  public var address: SocketAddress
  /// Who may use it; empty only on a loopback address, where everybody may.
  public var tokens: [Token]

  /// Somebody who may use the admin port.
  public struct Token: Equatable, Sendable {
    /// The name that the audit log shows.
    public var name: String
    /// What it may do.
    public var role: Role
    /// The bearer token itself.
    public var secret: String
    /// The tenant that it is for: then it may do what is for tenants, with what is the tenant's.
    public var tenant: String?
  }

  /// What a token may do; each includes the ones before.
  public enum Role: String, CaseIterable, Comparable, Sendable {
    /// Read everything that is not a secret.
    case viewer
    /// Revoke, drain, change limits of a consumer.
    case `operator`
    /// Change the configuration.
    case admin

    /// Whether the left role may do less.
    public static func < (left: Role, right: Role) -> Bool {
      (allCases.firstIndex(of: left) ?? 0) < (allCases.firstIndex(of: right) ?? 0)
    }
  }

  /// Bytes that a token must have at least: 16 random ones are written in 22 characters.
  static let shortestToken = 16

  init?(_ options: inout OptionReader) {
    let address = options.value(
      "address", .listenAddress, default: "127.0.0.1:9901", placeholder: SocketAddress?.none,
      "Where metrics, health and the admin API are served. Beyond loopback, tokens are needed."
    ) { SocketAddress($0) }
    tokens = options.objects("tokens", "Who may use it, by bearer token.") { token in
      let name = token.value("name", .identifier, placeholder: "", "The name that logs show.") {
        OptionFormat.identifier($0)
      }
      let role = token.choice("role", default: Role.viewer, "viewer reads; operator acts; admin configures.")
      let secret = token.secret("token", "The token itself; best given as { env: \"NAME\" } or { file: \"path\" }.")
      if secret.utf8.count < Self.shortestToken {
        token.fail(
          "the token has fewer than \(Self.shortestToken) bytes", at: "token",
          fix: "make one with: openssl rand -base64 24")
      }
      if secret.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7f }) {
        token.fail("the token has bytes that no header field can carry", at: "token", fix: "use printable ASCII")
      }
      let tenant = token.optionalValue(
        "tenant", .identifier,
        "The tenant that it is for: it may do what is for tenants, with what belongs to that one."
      ) { OptionFormat.identifier($0) }
      if token.has("tenant"), role == .admin {
        token.fail("no admin is a tenant's", at: "role", fix: "write \"viewer\" or \"operator\"")
      }
      return Token(name: name, role: role, secret: secret, tenant: token.has("tenant") ? tenant ?? "" : nil)
    }
    for (index, token) in tokens.enumerated() where tokens[..<index].contains(where: { $0.name == token.name }) {
      options.fail("two tokens have the name \"\(token.name)\"", at: "tokens", fix: "rename one of them")
    }
    guard let address else { return nil }
    self.address = address
    if tokens.isEmpty, !options.hasFailed("tokens"), !Self.isPrivate(address) {
      options.fail(
        "an admin port that others can reach needs a token", at: "address",
        fix: "add tokens, or listen on 127.0.0.1, [::1] or unix:/path")
    }
  }

  private static func isPrivate(_ address: SocketAddress) -> Bool {
    switch address {
    case .ip(let ip, port: _): ip.isLoopback
    case .unix: true
    }
  }
}
