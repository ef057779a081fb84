import Core
import Crypto
import Net
import Pipeline

/// The section `tls` of a listener, as it stands in the file.
public struct ListenerTLSOptions: Equatable, Sendable {
  /// A certificate and its key, by the paths of their PEM files.
  public struct Pair: Equatable, Sendable {
    /// Of the certificate and its chain.
    public let certificate: String
    /// Of the key.
    public let key: String
    /// Of what its authority says of it; nil for nothing, or where that is fetched.
    public let staple: String?
    /// Whether its authority is asked.
    public let fetchesStaple: Bool
  }

  /// Which certificates clients have to show.
  public struct Clients: Equatable, Sendable {
    let isRequired: Bool
    let authorities: String
    let revoked: String?
    let names: [String]
    let forwardsChain: Bool

    enum Mode: String, CaseIterable { case request, require }
  }

  /// What the server shows.
  public let certificates: [Pair]
  /// Whom clients have to be known by; nil where they are not asked.
  public let clients: Clients?
  let profile: TLSServerSettings.Profile
  let minimumVersion: TLSServerSettings.Version
  let resumes: Bool
  /// Whether requests are taken that come before the end of the handshake.
  let acceptsEarlyData: Bool
  let offersHTTP2: Bool
  let handshakeTimeout: Int64
  let helloBytes: Int32
  /// Handshakes a second that one address may begin.
  let handshakesPerAddress: Int32
  /// What responses say of later visits, as a field line; empty for nothing.
  let strictTransport: [UInt8]

  /// In the place of a file: the authority is asked.
  private static let fetch = "fetch"

  /// All files that are read.
  public var files: [String] {
    certificates.flatMap { [$0.certificate, $0.key, $0.staple].compactMap(\.self) }
      + [clients?.authorities, clients?.revoked].compactMap(\.self)
  }

  /// Bounds of handshakes.
  var handshake: HandshakeLimits {
    var limits = HandshakeLimits()
    (limits.timeout, limits.helloBytes) = (handshakeTimeout, helloBytes)
    return limits
  }

  init?(_ options: inout OptionReader) {
    certificates = options.objects(
      "certificates", isRequired: true,
      "What the server shows: by the names in them, and the first where a client names nobody else. For one name there may be "
        + "an ECDSA and an RSA certificate."
    ) { pair in
      let certificate = pair.string(
        "certificate", "The PEM file of the certificate, followed by those between it and the root.")
      let key = pair.string("key", "The PEM file of its private key, without a password.")
      let staple = pair.optionalString(
        "ocsp",
        "What is sent with the certificate: the file of an OCSP response, its DER form in Base64, or \"fetch\": the responder that "
          + "the certificate names is asked, again and again.")
      return pair.hasFailed("certificate") || pair.hasFailed("key")
        ? nil
        : Pair(
          certificate: certificate, key: key, staple: staple == Self.fetch ? nil : staple,
          fetchesStaple: staple == Self.fetch)
    }
    profile = options.choice(
      "profile", default: .modern,
      "modern: TLS 1.3, and TLS 1.2 with forward secrecy and authenticated encryption. intermediate: also the CBC ciphers "
        + "that clients before 2014 need.")
    minimumVersion = options.choice("minVersion", default: .tls12, "The oldest version of TLS that is spoken.")
    resumes = options.bool(
      "tickets", default: true,
      "Whether sessions of TLS 1.3 are resumed, on any node of the cluster. Never where clients show certificates.")
    acceptsEarlyData = options.bool(
      "earlyData", default: false,
      "Whether GET, HEAD and OPTIONS are taken before the handshake is complete, where a session is resumed: one round trip less. "
        + "Whoever has recorded such a request can send it again.")
    offersHTTP2 = options.bool(
      "http2", default: true, "Whether HTTP/2 is offered beside HTTP/1.1: the client chooses by ALPN.")
    handshakeTimeout = options.nanoseconds(
      "handshakeTimeout", default: .seconds(10), "From the connection to the end of its handshake.")
    helloBytes = Int32(
      options.size("helloBytes", default: 16_384, in: 1024...65_536, "The longest first message of a client."))
    handshakesPerAddress = Int32(
      options.integer(
        "handshakesPerAddress", in: 1...1_000_000, default: 500,
        "Handshakes a second that one address may begin; node.trustedProxies may begin any number."))
    clients = options.object(
      "clientCertificates", "Which certificates clients have to show; left out, they are not asked for any.",
      Clients.init)
    if acceptsEarlyData, !resumes || clients != nil {
      options.warn(
        "there is no early data without resumption: tickets is off, or clients show certificates", at: "earlyData",
        fix: "remove it")
    }
    strictTransport = options.object("hsts", "Tells browsers to come back with https only.", Self.readHSTS) ?? []
    if certificates.isEmpty || options.isDescribing { return nil }
  }

  private static func readHSTS(_ hsts: inout OptionReader) -> [UInt8]? {
    let age = hsts.duration("maxAge", default: .seconds(31_536_000), "For how long.")
    let subdomains = hsts.bool("includeSubdomains", default: false, "Whether the names below the host are meant too.")
    let preload = hsts.bool("preload", default: false, "Whether browsers may know it beforehand.")
    let line =
      "Strict-Transport-Security: max-age=\(age.components.seconds)" + (subdomains ? "; includeSubDomains" : "")
      + (preload ? "; preload" : "") + "\r\n"
    return Array(line.utf8)
  }
}

extension ListenerTLSOptions.Clients {
  init?(_ clients: inout OptionReader) {
    let mode = clients.choice(
      "mode", default: Mode.require,
      "require: one without is refused. request: one without is let in; a bad one is not.")
    isRequired = mode == .require
    authorities = clients.string("authorities", "The PEM file of the authorities whose certificates are good.")
    revoked = clients.optionalString(
      "revoked", "The PEM file of the authorities' revocation lists, one of each that signs clients.")
    names = clients.stringList(
      "names",
      "Of these alternative names a certificate must have one: DNS names, *.example.com for one more label, URIs (with a colon) or "
        + "mail addresses (with an at sign).")
    forwardsChain = clients.bool(
      "forwardChain", default: false,
      "Whether upstreams get the certificates between the client's and the root too, as Client-Cert-Chain.")
  }
}

extension ListenerTLS {
  /// Reads the section `tls` and the files that it names.
  init?(_ reader: inout OptionReader) {
    guard let options = ListenerTLSOptions(&reader), !reader.hasFailed("certificates") else { return nil }
    let (tls, faults) = Self.load(options, FileReadings { [reader] in reader.content(ofFile: $0) })
    reader.record(faults)
    guard let tls else { return nil }
    self = tls
  }
}
