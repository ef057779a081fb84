// What the connections of a listener have in common: certificates by name, versions, ciphers, whom clients must be known by.
//
// OpenSSL's contexts hold one certificate for each kind of key. So there is a context for every set of certificates that
// some name chooses, and the name in the client's first message picks one. All contexts are alike but for that.

import COpenSSL
import Core
import Glibc

/// How a listener speaks TLS.
public struct TLSServerSettings: Sendable {
  /// Which ciphers and versions are offered.
  public enum Profile: String, CaseIterable, Sendable {
    /// TLS 1.3, and TLS 1.2 with forward secrecy and authenticated encryption only.
    case modern
    /// Also what clients of ten years ago need: TLS 1.2 with CBC.
    case intermediate
  }

  /// The oldest version that is spoken.
  public enum Version: String, CaseIterable, Sendable {
    case tls12 = "1.2"
    case tls13 = "1.3"
  }

  /// What is shown; the first where the client names nobody, or somebody unknown.
  public var credentials: [TLSCredential]
  /// Which ciphers and versions are offered.
  public var profile = Profile.modern
  /// The oldest version that is spoken.
  public var minimumVersion = Version.tls12
  /// Protocols that clients may choose from by name (RFC 7301), best first.
  public var protocols = ["http/1.1"]

  /// Whom clients have to be known by; nil where they are not asked.
  public var clients: TLSClientPolicy?
  /// Whether sessions are resumed. Never where clients show certificates: a ticket would outlive a revocation.
  public var resumes = true
  /// Whether what clients say before the end of the handshake is taken, where sessions are resumed: see ``TLSSession/isEarly``.
  /// Anybody can send it again.
  public var acceptsEarlyData = false

  /// Settings with these certificates.
  public init(credentials: [TLSCredential]) { self.credentials = credentials }
}

/// Which certificates clients have to show.
public struct TLSClientPolicy: Sendable {
  /// Whether a client without one is refused.
  public var isRequired: Bool
  /// Whose certificates are good.
  public var authorities: TLSAuthorities
  /// Alternative names of which a certificate must have one: URIs (with a colon), mail addresses (with an at sign) or DNS
  /// names, `*.example.com` for one more label; empty where any will do. Each is compared with names of its kind only.
  public var names: [String]
  /// Whether ``TLSPeer/chain`` is filled.
  public var keepsChain = false

  /// A policy of these parts.
  public init(isRequired: Bool, authorities: TLSAuthorities, names: [String] = []) {
    self.isRequired = isRequired
    self.authorities = authorities
    self.names = names
  }

  /// Whether a certificate has one of the names.
  func admits(_ certificate: Certificate) -> Bool {
    if names.isEmpty { return true }
    let alternatives = [GEN_DNS, GEN_URI, GEN_EMAIL].map { kind in (kind, certificate.alternatives(kind)) }
    return names.contains { pattern in
      let wanted = Self.kind(of: pattern)
      return alternatives.contains { kind, names in
        kind == wanted && names.contains { Self.matches($0.lowercased(), pattern.lowercased(), kind) }
      }
    }
  }

  private static func kind(of pattern: String) -> Int32 {
    if pattern.utf8.contains(UInt8(ascii: ":")) { return GEN_URI }
    return pattern.utf8.contains(UInt8(ascii: "@")) ? GEN_EMAIL : GEN_DNS
  }

  private static func matches(_ name: String, _ pattern: String, _ kind: Int32) -> Bool {
    guard kind == GEN_DNS, pattern.hasPrefix("*.") else { return name == pattern }
    guard let dot = name.firstIndex(of: "."), dot != name.startIndex else { return false }
    return name[dot...] == pattern.dropFirst()
  }
}

/// OpenSSL's settings for connections that show the same certificates.
@safe
private final class ContextHandle {
  let handle: OpaquePointer

  init() throws(TLSFault) {
    guard let handle = unsafe SSL_CTX_new(TLS_server_method()) else { throw TLSFault("OpenSSL offers no TLS") }
    unsafe self.handle = handle
  }

  deinit { unsafe SSL_CTX_free(handle) }
}

/// What the connections of a listener have in common. Immutable, for all loops.
@safe
public final class TLSServerContext: @unchecked Sendable {
  // `@unchecked`: OpenSSL's contexts are only read once they are made, which it allows on several threads.
  private let contexts: [ContextHandle]
  private let byName: [String: Int]
  /// By what stands behind the first label.
  private let byParent: [String: Int]
  private let credentials: [TLSCredential]
  /// For ALPN, best first.
  let protocols: [String]
  /// Whom clients have to be known by.
  let clients: TLSClientPolicy?
  /// Whether clients may say something before the end of the handshake.
  let acceptsEarlyData: Bool

  /// The curves of key exchange.
  private static let groups = "X25519:P-256:P-384"
  private static let ciphers13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
  private static let modernCiphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    + "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
  private static let intermediateCiphers =
    modernCiphers + ":ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
    + "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA"
  /// Bytes of certificates that a client may send.
  private static let longestClientChain = 32_768

  /// Makes the contexts; 0.1 ms for each set of certificates.
  public init(_ settings: TLSServerSettings) throws(TLSFault) {
    precondition(!settings.credentials.isEmpty)
    let choice = CertificateChoice(settings.credentials)
    protocols = settings.protocols
    clients = settings.clients
    credentials = settings.credentials
    acceptsEarlyData = settings.acceptsEarlyData && settings.resumes && clients == nil
    byName = choice.byName
    byParent = choice.byParent
    var made: [ContextHandle] = []
    for set in choice.sets { made.append(try Self.make(settings, set)) }
    contexts = made
    let argument = unsafe Unmanaged.passUnretained(self).toOpaque()
    for context in contexts {
      unsafe sluice_ssl_on_server_name(context.handle, chooseCertificate, argument)
      unsafe SSL_CTX_set_alpn_select_cb(context.handle, chooseProtocol, argument)
      unsafe sluice_ssl_on_status(context.handle, stapleStatus, argument)
      if clients != nil { unsafe SSL_CTX_set_cert_verify_callback(context.handle, judgeClient, argument) }
    }
  }

  /// A session's object. It calls back here until its handshake is over: the caller keeps this object as long.
  func makeSession() -> OpaquePointer? { unsafe SSL_new(contexts[0].handle) }

  private static func make(
    _ settings: TLSServerSettings, _ credentials: [TLSCredential]
  ) throws(TLSFault) -> ContextHandle {
    ERR_clear_error()
    let context = try ContextHandle()
    let handle = unsafe context.handle
    let least = settings.minimumVersion == .tls13 ? TLS1_3_VERSION : TLS1_2_VERSION
    unsafe sluice_ssl_set_versions(handle, least, TLS1_3_VERSION)
    _ = unsafe SSL_CTX_set_options(handle, sluice_ssl_server_options)
    // The files say what the chain is; else OpenSSL would look for one in every handshake.
    unsafe sluice_ssl_set_mode(handle, Int(SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN))
    // Tickets carry all of a session, so none are kept.
    unsafe sluice_ssl_set_cache(handle, Int(SSL_SESS_CACHE_OFF))
    if settings.resumes, settings.clients == nil {
      unsafe SSL_CTX_set_num_tickets(handle, 1)
      if settings.acceptsEarlyData {
        // OpenSSL would keep sessions here, each for one use: no other node would know of them.
        _ = unsafe SSL_CTX_set_options(handle, sluice_ssl_no_anti_replay)
        unsafe SSL_CTX_set_max_early_data(handle, TLSEarlyData.limit)
        unsafe SSL_CTX_set_recv_max_early_data(handle, TLSEarlyData.limit)
      }
    } else {
      _ = unsafe SSL_CTX_set_options(handle, sluice_ssl_no_tickets)
      unsafe SSL_CTX_set_num_tickets(handle, 0)
    }
    unsafe SSL_CTX_set_tlsext_ticket_key_evp_cb(handle, prepareTicket)
    unsafe SSL_CTX_set_keylog_callback(handle, noteSecret)
    unsafe sluice_ssl_set_longest_chain(handle, longestClientChain)
    if let clients = settings.clients { try ask(clients, context) }
    let list = settings.profile == .modern ? modernCiphers : intermediateCiphers
    var isDone =
      unsafe sluice_ssl_set_groups(handle, groups) == 1 && SSL_CTX_set_ciphersuites(handle, ciphers13) == 1
      && SSL_CTX_set_cipher_list(handle, list) == 1
    for credential in credentials where isDone {
      unsafe isDone =
        SSL_CTX_use_certificate(handle, credential.leaf.handle) == 1
        && SSL_CTX_use_PrivateKey(handle, credential.key) == 1
      for authority in credential.chain where isDone {
        unsafe isDone = sluice_ssl_add_chain(handle, authority.handle) == 1
      }
    }
    guard isDone else { throw TLSFault("OpenSSL refuses the certificate") }
    return context
  }

  /// Has clients asked for certificates.
  private static func ask(_ clients: TLSClientPolicy, _ context: ContextHandle) throws(TLSFault) {
    let handle = unsafe context.handle
    let required = clients.isRequired ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0
    unsafe SSL_CTX_set_verify(handle, SSL_VERIFY_PEER | required, nil)
    guard let store = unsafe SSL_CTX_get_cert_store(handle) else { throw TLSFault("no store of certificates") }
    for authority in clients.authorities.certificates {
      guard unsafe X509_STORE_add_cert(store, authority.handle) == 1,
        unsafe SSL_CTX_add_client_CA(handle, authority.handle) == 1
      else { throw TLSFault("OpenSSL refuses an authority") }
    }
    for list in clients.authorities.revoked {
      guard unsafe X509_STORE_add_crl(store, list.handle) == 1 else {
        throw TLSFault("OpenSSL refuses a revocation list")
      }
    }
    if !clients.authorities.revoked.isEmpty { unsafe X509_STORE_set_flags(store, UInt(X509_V_FLAG_CRL_CHECK)) }
  }

  /// The context for a host name; the first one's where there is none.
  fileprivate func context(for name: String) -> OpaquePointer {
    let name = name.lowercased()
    if let index = byName[name] { return unsafe contexts[index].handle }
    if let dot = name.firstIndex(of: "."), let index = byParent[String(name[name.index(after: dot)...])] {
      return unsafe contexts[index].handle
    }
    return unsafe contexts[0].handle
  }

  /// What an authority says of the certificate with this handle; empty for nothing.
  fileprivate func staple(for certificate: OpaquePointer?) -> [UInt8] {
    credentials.first { unsafe $0.leaf.handle == certificate }?.staple ?? []
  }
}

// MARK: What OpenSSL calls

private func chooseCertificate(
  _ session: OpaquePointer?, _ alert: UnsafeMutablePointer<Int32>?, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  // The first call that knows the version; made without a name too. A ticket of TLS 1.2 holds what its connection was
  // encrypted with: whoever learns the ticket keys reads what was recorded (RFC 9325 section 4.3.1).
  if unsafe SSL_version(session) != TLS1_3_VERSION { _ = unsafe SSL_set_options(session, sluice_ssl_no_tickets) }
  guard let argument = unsafe argument, let name = unsafe SSL_get_servername(session, TLSEXT_NAMETYPE_host_name) else {
    return SSL_TLSEXT_ERR_NOACK
  }
  // The session keeps the context until its handshake is over.
  let context = unsafe Unmanaged<TLSServerContext>.fromOpaque(argument).takeUnretainedValue()
  unsafe SSL_set_SSL_CTX(session, context.context(for: String(cString: name)))
  return SSL_TLSEXT_ERR_OK
}

private func chooseProtocol(
  _ session: OpaquePointer?, _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
  _ count: UnsafeMutablePointer<UInt8>?, _ offered: UnsafePointer<UInt8>?, _ offeredCount: UInt32,
  _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  guard let argument = unsafe argument, let offered = unsafe offered, let chosen = unsafe chosen,
    let count = unsafe count
  else {
    return SSL_TLSEXT_ERR_NOACK
  }
  let context = unsafe Unmanaged<TLSServerContext>.fromOpaque(argument).takeUnretainedValue()
  for wanted in context.protocols {
    var place = 0
    while place < Int(offeredCount) {
      let length = unsafe Int(offered[place])
      guard place + 1 + length <= Int(offeredCount) else { break }
      let name = unsafe UnsafeBufferPointer(start: offered + place + 1, count: length)
      if unsafe name.elementsEqual(wanted.utf8) {
        // What the client offered outlives this call.
        unsafe chosen.pointee = offered + place + 1
        unsafe count.pointee = UInt8(length)
        return SSL_TLSEXT_ERR_OK
      }
      place += 1 + length
    }
  }
  // RFC 7301 section 3.2: nothing in common ends the handshake.
  return SSL_TLSEXT_ERR_ALERT_FATAL
}

private func prepareTicket(
  _ session: OpaquePointer?, _ name: UnsafeMutablePointer<UInt8>?, _ iv: UnsafeMutablePointer<UInt8>?,
  _ cipher: OpaquePointer?, _ code: OpaquePointer?, _ seals: Int32
) -> Int32 {
  guard unsafe SSL_version(session) == TLS1_3_VERSION, let name = unsafe name, let iv = unsafe iv,
    let keys = unsafe TLSSession.of(session)?.wire.tickets
  else { return 0 }
  return unsafe keys.prepare(name, iv, cipher, code, seals: seals == 1)
}

private func noteSecret(_ session: OpaquePointer?, _ line: UnsafePointer<CChar>?) {
  guard let line = unsafe line, let session = unsafe TLSSession.of(session) else { return }
  unsafe session.note(secretLine: UnsafeRawBufferPointer(start: line, count: strlen(line)))
}

/// OCSP (RFC 6066 section 8): what an authority said of the certificate that is shown.
private func stapleStatus(_ session: OpaquePointer?, _ argument: UnsafeMutableRawPointer?) -> Int32 {
  guard let argument = unsafe argument else { return SSL_TLSEXT_ERR_NOACK }
  let context = unsafe Unmanaged<TLSServerContext>.fromOpaque(argument).takeUnretainedValue()
  let staple = unsafe context.staple(for: SSL_get_certificate(session))
  guard !staple.isEmpty, let copy = unsafe CRYPTO_malloc(staple.count, nil, 0) else { return SSL_TLSEXT_ERR_NOACK }
  unsafe copy.copyMemory(from: staple, byteCount: staple.count)
  unsafe sluice_ssl_set_status(session, copy, staple.count)
  return SSL_TLSEXT_ERR_OK
}

private func judgeClient(_ store: OpaquePointer?, _ argument: UnsafeMutableRawPointer?) -> Int32 {
  guard unsafe X509_verify_cert(store) == 1 else { return 0 }
  guard let argument = unsafe argument, let leaf = unsafe X509_STORE_CTX_get0_cert(store) else { return 0 }
  let context = unsafe Unmanaged<TLSServerContext>.fromOpaque(argument).takeUnretainedValue()
  // The wrapper gives back what it is given.
  unsafe X509_up_ref(leaf)
  if context.clients?.admits(unsafe Certificate(owning: leaf)) == true { return 1 }
  unsafe X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION)
  return 0
}
