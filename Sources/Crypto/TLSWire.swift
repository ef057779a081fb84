import COpenSSL
import Core
import Glibc

/// What all TLS connections of a loop share: the bytes that are on their way to and from one of them at a time, and the
/// ciphers. Belongs to its loop.
///
/// Nothing of a connection is kept here between two calls: whoever owns the connection keeps what is left of ``incoming``
/// and what could not be sent of ``outgoing``.
@safe
public final class TLSWire {
  /// Ciphertext that has arrived and not been looked at; sessions consume it.
  public let incoming: ByteBuffer
  /// Ciphertext that has to be sent; sessions append to it.
  public let outgoing: ByteBuffer
  /// What session tickets are sealed with; nil for no tickets.
  public var tickets: TLSTicketKeys?
  var ciphers = TLSRecordCiphers()
  private let method: OpaquePointer
  /// Sessions that servers have offered to resume, by name, the newest last.
  private var sessions: [String: [ResumableSession]] = [:]
  private var sessionCount = 0
  /// How many sessions are kept at most; each is some hundred bytes and a ticket.
  private static let sessionLimit = 1024

  /// The shared part of a loop's connections, with room for so many bytes each way before it grows.
  public init(capacity: Int = 32_768) {
    incoming = ByteBuffer(capacity: capacity)
    outgoing = ByteBuffer(capacity: capacity)
    guard let method = unsafe BIO_meth_new(BIO_TYPE_SOURCE_SINK, "loop") else { preconditionFailure("out of memory") }
    unsafe self.method = method
    unsafe BIO_meth_set_read(method, wireRead)
    unsafe BIO_meth_set_write(method, wireWrite)
    unsafe BIO_meth_set_ctrl(method, wireControl)
  }

  deinit {
    unsafe BIO_meth_free(method)
  }

  /// Takes over OpenSSL's `session`, to be resumed by connections of this name. One of TLS 1.2 takes the place of others.
  func keep(_ session: OpaquePointer, _ name: String) {
    let session = unsafe ResumableSession(owning: session)
    if !session.isForOnce { forget(name) }
    if sessionCount >= Self.sessionLimit, let other = sessions[name] != nil ? name : sessions.keys.first {
      drop(other) { $0.removeFirst() }
    }
    sessions[name, default: []].append(session)
    sessionCount += 1
  }

  /// Has a connection that has not begun go on with a session of this name, if there is one. Those of TLS 1.3 are used once
  /// (RFC 8446 appendix C.4): OpenSSL resumes none that another connection has resumed.
  func resume(_ handle: OpaquePointer, _ name: String) {
    guard let session = sessions[name]?.last else { return }
    unsafe SSL_set_session(handle, session.handle)
    if session.isForOnce { drop(name) { $0.removeLast() } }
  }

  /// Lets the sessions of this name go.
  func forget(_ name: String) { drop(name) { $0.removeAll() } }

  private func drop(_ name: String, _ change: (inout [ResumableSession]) -> Void) {
    guard var kept = sessions.removeValue(forKey: name) else { return }
    sessionCount -= kept.count
    change(&kept)
    sessionCount += kept.count
    if !kept.isEmpty { sessions[name] = kept }
  }

  /// What OpenSSL reads from and writes to; the caller owns it, and must not keep it longer than this object.
  func makeBIO() -> OpaquePointer {
    guard let bio = unsafe BIO_new(method) else { preconditionFailure("out of memory") }
    unsafe BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
    unsafe BIO_set_init(bio, 1)
    return unsafe bio
  }
}

/// A session that a server has offered to resume.
@safe
private final class ResumableSession {
  let handle: OpaquePointer

  /// Whether only one connection may go on with it.
  let isForOnce: Bool

  init(owning handle: OpaquePointer) {
    unsafe self.handle = handle
    isForOnce = unsafe SSL_SESSION_get_protocol_version(handle) == TLS1_3_VERSION
  }

  deinit { unsafe SSL_SESSION_free(handle) }
}

private func wire(of bio: OpaquePointer?) -> TLSWire? {
  guard let bio = unsafe bio, let data = unsafe BIO_get_data(bio) else { return nil }
  // Sessions keep the wire as long as they have the BIO.
  return unsafe Unmanaged<TLSWire>.fromOpaque(data).takeUnretainedValue()
}

private func wireRead(_ bio: OpaquePointer?, _ target: UnsafeMutablePointer<CChar>?, _ limit: Int32) -> Int32 {
  unsafe sluice_bio_clear_retry(bio)
  guard let wire = unsafe wire(of: bio), let target = unsafe target, limit > 0 else { return 0 }
  let incoming = wire.incoming
  let count = min(Int(limit), incoming.count)
  guard count > 0 else {
    unsafe sluice_bio_retry_read(bio)
    return -1
  }
  unsafe incoming.bytes.withUnsafeBytes { bytes in
    // Not empty, and at most as long as OpenSSL has room.
    if let base = bytes.baseAddress { unsafe memcpy(target, base, count) }
  }
  incoming.consume(count)
  return Int32(count)
}

private func wireWrite(_ bio: OpaquePointer?, _ bytes: UnsafePointer<CChar>?, _ count: Int32) -> Int32 {
  guard let wire = unsafe wire(of: bio), let bytes = unsafe bytes, count > 0 else { return 0 }
  unsafe wire.outgoing.append(RawSpan(_unsafeStart: bytes, byteCount: Int(count)))
  return count
}

private func wireControl(
  _ bio: OpaquePointer?, _ command: Int32, _ number: Int, _ pointer: UnsafeMutableRawPointer?
) -> Int {
  // OpenSSL wants to know that all was written; nothing else means anything here.
  command == BIO_CTRL_FLUSH ? 1 : 0
}
