// TLS as a machine that turns bytes into bytes: OpenSSL between two memory buffers, no socket anywhere. What arrives is
// given to it, what it wants to send is taken from it, so that connections which use it stay replayable and belong to
// whoever owns the socket.

import COpenSSL
import Core

/// Why a connection cannot be secured.
public struct TLSFault: Error, Equatable, Sendable {
  /// What went wrong, a phrase; never a secret.
  public let message: String

  /// A fault.
  public init(_ message: String) { self.message = message }

  /// The oldest error that OpenSSL remembers for this thread, behind `action`.
  init(_ action: String, _ code: UInt = ERR_get_error()) {
    let reason = unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) }
    message = reason.map { "\(action): \($0)" } ?? action
    ERR_clear_error()
  }
}

/// What clients of one kind have in common: whom they trust and what they show. Expensive, a few milliseconds; made once.
/// It belongs to one thread.
@safe
public final class TLSClientContext {
  let handle: OpaquePointer

  /// A context that trusts the PEM file `authorities` (nil: the system's authorities) and, where a server asks, shows the
  /// PEM file `certificate`, to which `key` belongs. TLS 1.2 and newer. Reads the files.
  public init(authorities: String?, certificate: String?, key: String?) throws(TLSFault) {
    ERR_clear_error()
    guard let handle = unsafe SSL_CTX_new(TLS_client_method()) else { throw TLSFault("OpenSSL offers no TLS") }
    unsafe self.handle = handle
    // Macros in C.
    unsafe SSL_CTX_ctrl(handle, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(TLS1_2_VERSION), nil)
    unsafe SSL_CTX_set_verify(handle, SSL_VERIFY_PEER, nil)
    if let authorities {
      guard unsafe SSL_CTX_load_verify_locations(handle, authorities, nil) == 1 else {
        throw TLSFault("\(authorities) holds no certificates of authorities")
      }
    } else {
      guard unsafe SSL_CTX_set_default_verify_paths(handle) == 1 else { throw TLSFault("no authorities of the system") }
    }
    guard let certificate, let key else { return }
    guard unsafe SSL_CTX_use_certificate_chain_file(handle, certificate) == 1 else {
      throw TLSFault("\(certificate) holds no certificate")
    }
    guard unsafe SSL_CTX_use_PrivateKey_file(handle, key, SSL_FILETYPE_PEM) == 1 else {
      throw TLSFault("\(key) holds no key that belongs to \(certificate)")
    }
  }

  deinit { unsafe SSL_CTX_free(handle) }
}

/// One connection's TLS, the client's end.
@safe
public final class TLSClient {
  /// What OpenSSL hands out at once: the longest record.
  private static let record = 16_384

  /// What must be sent to the server; the owner consumes it.
  public let outgoing = ByteBuffer()
  /// Whether the handshake is complete and the server's certificate good.
  public private(set) var isEstablished = false
  /// Whether the server has ended its stream in good order.
  public private(set) var hasEnded = false

  private let session: OpaquePointer
  // The session owns both.
  private let arrived: OpaquePointer
  private let leaving: OpaquePointer

  /// A connection to a server whose certificate must be good for `name`, a host name or an IP address. Its first bytes
  /// lie in ``outgoing``.
  public init(_ context: TLSClientContext, name: String) throws(TLSFault) {
    ERR_clear_error()
    guard let session = unsafe SSL_new(context.handle) else { throw TLSFault("no TLS session") }
    guard let arrived = unsafe BIO_new(BIO_s_mem()), let leaving = unsafe BIO_new(BIO_s_mem()) else {
      preconditionFailure("out of memory")
    }
    unsafe self.session = session
    unsafe self.arrived = arrived
    unsafe self.leaving = leaving
    unsafe SSL_set_bio(session, arrived, leaving)
    unsafe SSL_set_connect_state(session)
    if IPAddress(name) != nil {
      guard unsafe X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), name) == 1 else {
        throw TLSFault("\(name) cannot be verified")
      }
    } else {
      unsafe SSL_set_hostflags(session, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
      // The server may choose its certificate by the name (RFC 6066 section 3). A macro in C, which copies the text.
      let isSet = unsafe name.withCString { text in
        unsafe SSL_ctrl(
          session, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name), UnsafeMutableRawPointer(mutating: text)
        )
      }
      guard isSet == 1, unsafe SSL_set1_host(session, name) == 1 else { throw TLSFault("\(name) cannot be verified") }
    }
    try shakeHands()
  }

  deinit { unsafe SSL_free(session) }

  /// Takes bytes as they were received and appends what they mean to `plain`. May add to ``outgoing``.
  public func receive(_ bytes: RawSpan, into plain: ByteBuffer) throws(TLSFault) {
    ERR_clear_error()
    let count = unsafe bytes.withUnsafeBytes { unsafe BIO_write(arrived, $0.baseAddress, Int32($0.count)) }
    precondition(count == bytes.byteCount, "out of memory")
    if !isEstablished { try shakeHands() }
    guard isEstablished else { return }
    while true {
      var read = 0
      var result: Int32 = 0
      unsafe plain.append(limit: Self.record) { room in
        result = unsafe SSL_read_ex(session, room.baseAddress, room.count, &read)
        return result == 1 ? read : 0
      }
      if result == 1 { continue }
      try take(result, "the connection broke")
      return
    }
  }

  /// Encrypts `plain`, which must not be empty, into ``outgoing``. Only once ``isEstablished``.
  public func send(_ plain: RawSpan) throws(TLSFault) {
    precondition(isEstablished)
    ERR_clear_error()
    var written = 0
    let result = unsafe plain.withUnsafeBytes { unsafe SSL_write_ex(session, $0.baseAddress, $0.count, &written) }
    try take(result, "the connection broke")
    // A memory buffer takes everything.
    precondition(written == plain.byteCount)
  }

  private func shakeHands() throws(TLSFault) {
    let result = unsafe SSL_do_handshake(session)
    try take(result, "the handshake failed")
    isEstablished = result == 1
  }

  /// Judges what a call returned, and moves what it wants to send.
  private func take(_ result: Int32, _ action: String) throws(TLSFault) {
    let kind = unsafe result == 1 ? SSL_ERROR_NONE : SSL_get_error(session, result)
    var waiting = unsafe Int(BIO_ctrl_pending(leaving))
    while waiting > 0 {
      unsafe outgoing.append(limit: waiting) { room in
        unsafe Int(max(BIO_read(leaving, room.baseAddress, Int32(room.count)), 0))
      }
      waiting = unsafe Int(BIO_ctrl_pending(leaving))
    }
    switch kind {
    case SSL_ERROR_NONE, SSL_ERROR_WANT_READ: return
    case SSL_ERROR_ZERO_RETURN: hasEnded = true
    default:
      let verdict = unsafe SSL_get_verify_result(session)
      if !isEstablished, verdict != X509_V_OK, let text = unsafe X509_verify_cert_error_string(verdict) {
        ERR_clear_error()
        throw TLSFault("the server's certificate is not good: \(unsafe String(cString: text))")
      }
      throw TLSFault(action)
    }
  }
}
