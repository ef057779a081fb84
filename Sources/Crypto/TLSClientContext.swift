import COpenSSL
import Core

/// Why a connection cannot be secured.
public struct TLSFault: Error, Equatable, Sendable {
  /// What went wrong, a phrase; never a secret.
  public let message: String

  /// A fault.
  public init(_ message: String) { self.message = message }

  /// An error of OpenSSL behind `action`: the oldest that it remembers for this thread unless it is given.
  init(_ action: String, _ code: UInt = ERR_get_error()) {
    let reason = unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) }
    message = reason.map { "\(action): \($0)" } ?? action
    ERR_clear_error()
  }
}

/// What clients of one kind show and whom they trust.
public struct TLSClientSettings: Sendable {
  /// Whose certificates are good; nil for the system's authorities.
  public var authorities: TLSAuthorities?
  /// What is shown where a server asks; nil for nothing.
  public var credential: TLSCredential?
  /// Whether the server's certificate is looked at at all.
  public var verifies = true
  /// The oldest version that is spoken.
  public var minimumVersion = TLSServerSettings.Version.tls12
  /// The newest version that is spoken.
  public var maximumVersion = TLSServerSettings.Version.tls13
  /// Protocols that are offered by name (RFC 7301), best first; none are where it is empty.
  public var protocols: [String] = []

  /// The usual settings.
  public init() {}
}

/// What clients of one kind have in common: whom they trust and what they show. Expensive, a few milliseconds; made once.
@safe
public final class TLSClientContext: @unchecked Sendable {
  // `@unchecked`: OpenSSL's contexts are only read once they are made, which it allows on several threads.
  let handle: OpaquePointer
  private let verifies: Bool

  /// A context that trusts the PEM file `authorities` (nil: the system's authorities) and, where a server asks, shows the
  /// PEM file `certificate`, to which `key` belongs. TLS 1.2 and newer. Reads the files.
  public init(authorities: String?, certificate: String?, key: String?) throws(TLSFault) {
    unsafe handle = try Self.make(TLSClientSettings())
    verifies = true
    if let authorities {
      guard unsafe SSL_CTX_load_verify_locations(handle, authorities, nil) == 1 else {
        throw TLSFault("\(authorities) holds no certificates of authorities")
      }
    } else {
      try unsafe Self.trustSystem(handle)
    }
    guard let certificate, let key else { return }
    guard unsafe SSL_CTX_use_certificate_chain_file(handle, certificate) == 1 else {
      throw TLSFault("\(certificate) holds no certificate")
    }
    guard unsafe SSL_CTX_use_PrivateKey_file(handle, key, SSL_FILETYPE_PEM) == 1 else {
      throw TLSFault("\(key) holds no key that belongs to \(certificate)")
    }
  }

  /// A context of these settings. Reads the system's authorities where there are no others.
  public init(_ settings: TLSClientSettings) throws(TLSFault) {
    unsafe handle = try Self.make(settings)
    verifies = settings.verifies
    if let authorities = settings.authorities {
      guard let store = unsafe SSL_CTX_get_cert_store(handle) else { throw TLSFault("no store of certificates") }
      for authority in authorities.certificates {
        guard unsafe X509_STORE_add_cert(store, authority.handle) == 1 else {
          throw TLSFault("OpenSSL refuses an authority")
        }
      }
    } else if settings.verifies {
      try unsafe Self.trustSystem(handle)
    }
    guard let credential = settings.credential else { return }
    guard unsafe SSL_CTX_use_certificate(handle, credential.leaf.handle) == 1,
      unsafe SSL_CTX_use_PrivateKey(handle, credential.key) == 1
    else { throw TLSFault("OpenSSL refuses the certificate") }
    for authority in credential.chain {
      guard unsafe sluice_ssl_add_chain(handle, authority.handle) == 1 else {
        throw TLSFault("OpenSSL refuses the certificate's chain")
      }
    }
  }

  deinit { unsafe SSL_CTX_free(handle) }

  private static func make(_ settings: TLSClientSettings) throws(TLSFault) -> OpaquePointer {
    ERR_clear_error()
    guard let handle = unsafe SSL_CTX_new(TLS_client_method()) else { throw TLSFault("OpenSSL offers no TLS") }
    func number(_ version: TLSServerSettings.Version) -> Int32 { version == .tls13 ? TLS1_3_VERSION : TLS1_2_VERSION }
    unsafe sluice_ssl_set_versions(handle, number(settings.minimumVersion), number(settings.maximumVersion))
    _ = unsafe SSL_CTX_set_options(handle, sluice_ssl_client_options)
    unsafe sluice_ssl_set_mode(handle, Int(SSL_MODE_RELEASE_BUFFERS))
    unsafe SSL_CTX_set_verify(handle, settings.verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
    // Sessions are kept in the wire.
    unsafe sluice_ssl_set_cache(handle, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL))
    unsafe SSL_CTX_sess_set_new_cb(handle, keepSession)
    let names = settings.protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
    if !names.isEmpty { unsafe SSL_CTX_set_alpn_protos(handle, names, UInt32(names.count)) }
    return unsafe handle
  }

  private static func trustSystem(_ handle: OpaquePointer) throws(TLSFault) {
    guard let store = unsafe SystemAuthorities.shared.store else { throw TLSFault("no authorities of the system") }
    unsafe SSL_CTX_set1_cert_store(handle, store)
  }

  /// Has a connection name the server, and its certificate verified for that name.
  func prepare(_ session: OpaquePointer, for name: String) throws(TLSFault) {
    if IPAddress(name) != nil {
      guard unsafe !verifies || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), name) == 1 else {
        throw TLSFault("\(name) cannot be verified")
      }
      return
    }
    // OpenSSL would take it for all names below.
    if name.utf8.first == UInt8(ascii: ".") { throw TLSFault("the name \(name) begins with a dot") }
    // A common name is no host name (RFC 9525 section 6.3).
    unsafe SSL_set_hostflags(
      session, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT))
    // The server may choose its certificate by the name (RFC 6066 section 3). A macro in C, which copies the text.
    let isSet = unsafe name.withCString { text in
      unsafe SSL_ctrl(
        session, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name), UnsafeMutableRawPointer(mutating: text))
    }
    guard isSet == 1, unsafe !verifies || SSL_set1_host(session, name) == 1 else {
      throw TLSFault("\(name) cannot be verified")
    }
  }
}

/// The authorities that the system trusts, read once: that takes ten milliseconds.
@safe
private final class SystemAuthorities: @unchecked Sendable {
  // `@unchecked`: OpenSSL looks things up in a store on several threads.
  static let shared = SystemAuthorities()

  /// Nil where the system has none.
  let store: OpaquePointer?

  private init() {
    guard let made = unsafe X509_STORE_new() else { preconditionFailure("out of memory") }
    if unsafe X509_STORE_set_default_paths(made) == 1 {
      unsafe store = made
    } else {
      unsafe X509_STORE_free(made)
      unsafe store = nil
    }
  }
}

/// OpenSSL asks whether a session is kept; 1 takes it over.
private func keepSession(_ handle: OpaquePointer?, _ session: OpaquePointer?) -> Int32 {
  guard let session = unsafe session, let connection = unsafe TLSSession.of(handle) else { return 0 }
  return unsafe connection.keep(session) ? 1 : 0
}
