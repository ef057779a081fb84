import Core
import Crypto

/// The section `tls` of an upstream, as it stands in the file.
public struct UpstreamTLSOptions: Hashable, Sendable {
  /// Whether certificates of endpoints are verified at all.
  public var verifies = true
  /// The name that certificates must be good for; nil for the endpoint's own.
  public var serverName: String?
  /// The PEM file of the authorities whose certificates are good; nil for the system's.
  public var authorities: String?
  /// The PEM files of the certificate that is shown and of its key; nil for none.
  public var certificate: String?
  /// See ``certificate``.
  public var key: String?
  /// The oldest version that is spoken.
  public var minimumVersion = TLSServerSettings.Version.tls12
  /// Whether HTTP/2 is offered, by ALPN, instead of HTTP/1.1.
  public var speaksHTTP2 = false

  /// The usual options.
  public init() {}

  /// All files that are read.
  public var files: [String] { [authorities, certificate, key].compactMap(\.self) }
}

/// How the endpoints of an upstream are spoken TLS to. Immutable.
public struct UpstreamTLS: Hashable, Sendable {
  /// What was asked for; names the files.
  public let options: UpstreamTLSOptions
  /// What all its connections have in common.
  public let context: TLSClientContext
  /// What is shown where an endpoint asks; nil for nothing.
  public let credential: TLSCredential?
  /// Of everything that it was made from, files included: the same for what would do the same.
  public let identity: String

  /// TLS of these parts.
  public init(
    _ options: UpstreamTLSOptions, context: TLSClientContext, credential: TLSCredential? = nil, identity: String
  ) {
    (self.options, self.context, self.credential, self.identity) = (options, context, credential, identity)
  }

  /// Whether both would do the same.
  public static func == (left: UpstreamTLS, right: UpstreamTLS) -> Bool { left.identity == right.identity }

  /// Hashes what it was made from.
  public func hash(into hasher: inout Hasher) { hasher.combine(identity) }

  /// The name that an endpoint's certificate must be good for.
  public func name(of endpoint: Endpoint) -> String {
    if let name = options.serverName ?? endpoint.name { return name }
    if case .ip(let address, port: _) = endpoint.state.address { return "\(address)" }
    return "localhost"
  }

  /// What sessions with an endpoint are kept under. The name is part of it: who resumes a session is not asked for a
  /// certificate again.
  public func resumption(of endpoint: Endpoint) -> String {
    "\(identity) \(name(of: endpoint)) \(endpoint.state.address)"
  }
}
