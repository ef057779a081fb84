// Early data (RFC 8446 section 2.3): what a client that resumes a session says in its first flight, and how it is answered
// before the handshake is complete.
//
// Whoever has recorded a first flight can send it again, to this node or another one, and it will be read: tickets are not
// kept anywhere, so nobody knows which of them have been used. What is done with early data must bear that (RFC 8470).

import COpenSSL
import Core

/// The early data of a server's connection.
@safe
final class TLSEarlyData {
  /// The most bytes of it that a connection may send: a request's head.
  static let limit: UInt32 = 16_384

  /// What has been decrypted and not been taken.
  let received = ByteBuffer()
  /// Whether there has been any.
  private(set) var isAccepted = false
  /// Whether no more of it will come.
  private(set) var hasEnded = false
  /// Records that were sent before the handshake was complete: they count where the next keys take over.
  private(set) var sentRecords: UInt64 = 0

  /// Has OpenSSL go on with the handshake as far as the end of the early data, of which there is none most of the time.
  /// Returns whether that was reached; if not, the error of OpenSSL says why.
  func read(_ handle: OpaquePointer) -> Bool {
    while !hasEnded {
      var count = 0
      var result: Int32 = 0
      unsafe received.append(limit: Int(Self.limit)) { space in
        result = unsafe SSL_read_early_data(handle, space.baseAddress, space.count, &count)
        return result == SSL_READ_EARLY_DATA_SUCCESS ? count : 0
      }
      if result == SSL_READ_EARLY_DATA_ERROR { return false }
      if result == SSL_READ_EARLY_DATA_FINISH { hasEnded = true }
      if count > 0 { isAccepted = true }
    }
    return true
  }

  /// Encrypts an answer to the end of `outgoing`, which OpenSSL writes to. The client is not known to be there.
  func send(_ handle: OpaquePointer, _ bytes: RawSpan, _ outgoing: ByteBuffer) throws(TLSFault) {
    guard !bytes.isEmpty else { return }
    ERR_clear_error()
    let start = outgoing.count
    var written = 0
    let result = unsafe bytes.withUnsafeBytes {
      unsafe SSL_write_early_data(handle, $0.baseAddress, $0.count, &written)
    }
    sentRecords += TLSSession.recordCount(outgoing.bytes.extracting(start..<outgoing.count))
    // The wire takes everything.
    guard result == 1, written == bytes.byteCount else { throw TLSFault("OpenSSL could not encrypt") }
  }
}

extension TLSSession {
  /// Whether the client has said something that may be answered, although the handshake is not complete.
  public var isEarly: Bool { stage == .handshaking && early?.isAccepted == true }

  /// Whether the client has said something before the end of the handshake that has not been received.
  public var hasEarlyData: Bool { early?.received.isEmpty == false }

  /// Moves at most `limit` bytes of what the client has said before the end of the handshake to the end of `plain`; returns how many.
  public func receiveEarly(into plain: ByteBuffer, limit: Int) -> Int {
    guard let received = early?.received else { return 0 }
    let count = min(received.count, limit)
    plain.append(received.bytes.extracting(first: count))
    received.consume(count)
    if received.isEmpty, stage != .handshaking { dropEarlyData() }
    return count
  }

  /// Encrypts two spans as if they were one, while ``isEarly``.
  public func sendEarly(_ first: RawSpan, _ second: RawSpan) throws(TLSFault) {
    guard isEarly, let early, let handle = unsafe handle else { preconditionFailure("there is no early data") }
    unsafe try early.send(handle, first, wire.outgoing)
    unsafe try early.send(handle, second, wire.outgoing)
  }
}
