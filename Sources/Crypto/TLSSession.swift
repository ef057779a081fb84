// One TLS connection, either end: bytes in and bytes out through a ``TLSWire``.
//
// OpenSSL makes the handshake. Then a server of TLS 1.3 goes on with this room's own records, and OpenSSL's object is let
// go; TLS 1.2 keeps it, and so does a client, since servers go on with the handshake behind its end: they send tickets.
// Early data is not sent, and accepted only where the settings ask for it: see TLSEarlyData.swift.

import COpenSSL
import Core
import Glibc

/// One TLS connection. Belongs to its loop.
@safe
public final class TLSSession {
  /// What the connection can do.
  public enum Stage: Sendable {
    /// Nothing but the handshake.
    case handshaking
    /// Both directions are open.
    case open
    /// The peer has ended its direction in good order.
    case ended
    /// It is of no use any more.
    case broken
  }

  /// Changes of keys, or empty records, in a row that a peer may send: each costs more than it says.
  private static let idleRecordLimit: UInt8 = 32

  /// What the connection can do.
  public private(set) var stage = Stage.handshaking
  /// What the handshake has agreed on; once ``stage`` is past it.
  public private(set) var facts = TLSFacts()
  /// Why the handshake failed.
  public private(set) var failure: TLSHandshakeFailure?

  let wire: TLSWire
  /// OpenSSL's object: during the handshake, and behind it as the head of this file says.
  private(set) var handle: OpaquePointer?
  /// What the client says before the end of the handshake; nil where that is not accepted, or all of it has been taken.
  private(set) var early: TLSEarlyData?
  /// What OpenSSL calls back for, while it may.
  private var context: AnyObject?
  /// The server's end.
  private let isServer: Bool
  /// What a session of this connection is kept under in the wire; nil where it is not to be resumed.
  private let resumption: String?
  private(set) var readingKeys: TLSTrafficKeys?
  private var writingKeys: TLSTrafficKeys?
  private var clientSecret: [UInt8] = []
  private var serverSecret: [UInt8] = []
  private var idleRecords: UInt8 = 0
  /// The client wants this end's keys changed before the next data is sent.
  private var owesKeyUpdate = false
  private var hasEndedSending = false

  /// A connection that has just been accepted.
  public init(_ context: TLSServerContext, wire: TLSWire) throws(TLSFault) {
    ERR_clear_error()
    guard let handle = unsafe context.makeSession() else { throw TLSFault("no TLS session") }
    self.wire = wire
    self.context = context
    unsafe self.handle = handle
    isServer = true
    resumption = nil
    if context.acceptsEarlyData { early = TLSEarlyData() }
    unsafe attach(handle)
    unsafe SSL_set_accept_state(handle)
  }

  /// A connection to a server whose certificate must be good for `name`, a host name or an IP address. The handshake has not
  /// begun. With `resumption`, sessions of connections with the same one, on the same wire, go on.
  public init(
    _ context: TLSClientContext, name: String, resumption: String? = nil, wire: TLSWire
  ) throws(TLSFault) {
    ERR_clear_error()
    guard let handle = unsafe SSL_new(context.handle) else { throw TLSFault("no TLS session") }
    self.wire = wire
    self.context = context
    unsafe self.handle = handle
    isServer = false
    self.resumption = resumption
    unsafe attach(handle)
    unsafe SSL_set_connect_state(handle)
    try unsafe context.prepare(handle, for: name)
    if let resumption { unsafe wire.resume(handle, resumption) }
  }

  deinit {
    guard let handle = unsafe handle else { return }
    // Without it OpenSSL would take the session for one that went wrong, and never resume it.
    if !isServer, stage == .open || stage == .ended { unsafe SSL_set_shutdown(handle, SSL_SENT_SHUTDOWN) }
    unsafe SSL_free(handle)
  }

  private func attach(_ handle: OpaquePointer) {
    let bio = unsafe wire.makeBIO()
    unsafe SSL_set_bio(handle, bio, bio)
    unsafe SSL_set_ex_data(handle, 0, Unmanaged.passUnretained(self).toOpaque())
  }

  /// A server has offered to resume this session.
  func keep(_ session: OpaquePointer) -> Bool {
    guard let resumption else { return false }
    unsafe wire.keep(session, resumption)
    return true
  }

  /// The session that OpenSSL calls back for.
  static func of(_ handle: OpaquePointer?) -> TLSSession? {
    guard let data = unsafe SSL_get_ex_data(handle, 0) else { return nil }
    // Whoever made the call that OpenSSL is in holds the session.
    return unsafe Unmanaged<TLSSession>.fromOpaque(data).takeUnretainedValue()
  }

  // MARK: Handshake

  /// Goes on with the handshake as far as the wire's incoming bytes allow; what it answers is in the wire's outgoing bytes
  /// even where it throws. Returns whether the handshake is complete; what came behind it is left in the wire.
  public func shakeHands() throws(TLSFault) -> Bool {
    guard stage == .handshaking, let handle = unsafe handle else { return stage == .open }
    ERR_clear_error()
    let before = wire.outgoing.count
    let isPastEarlyData = unsafe early?.read(handle) ?? true
    if isEarly { unsafe noteFacts(handle) }
    let result = isPastEarlyData ? unsafe SSL_do_handshake(handle) : 0
    if result == 1 {
      unsafe establish(handle, answerStart: before)
      return true
    }
    let kind = unsafe SSL_get_error(handle, result)
    if kind == SSL_ERROR_WANT_READ { return false }
    stage = .broken
    let code = ERR_peek_error()
    failure = TLSHandshakeFailure(reason: sluice_error_reason(code))
    // What went wrong with a session of before must not go wrong again.
    if let resumption { wire.forget(resumption) }
    let verdict = unsafe SSL_get_verify_result(handle)
    if !isServer, verdict != X509_V_OK, let text = unsafe X509_verify_cert_error_string(verdict) {
      ERR_clear_error()
      throw TLSFault("the server's certificate is not good: \(unsafe String(cString: text))")
    }
    throw TLSFault("the handshake failed", code)
  }

  private func establish(_ handle: OpaquePointer, answerStart: Int) {
    stage = .open
    unsafe noteFacts(handle)
    guard isServer else { return }
    if facts.version == .tls13 { unsafe takeOver(handle, answerStart) }
    if !hasEarlyData { dropEarlyData() }
    context = nil
  }

  func dropEarlyData() { early = nil }

  private func noteFacts(_ handle: OpaquePointer) {
    facts.isResumed = unsafe SSL_session_reused(handle) == 1
    if let name = unsafe SSL_get_servername(handle, TLSEXT_NAMETYPE_host_name) {
      facts.serverName = unsafe String(cString: name)
    }
    var (chosen, count): (UnsafePointer<UInt8>?, UInt32) = (nil, 0)
    unsafe SSL_get0_alpn_selected(handle, &chosen, &count)
    if let chosen = unsafe chosen {
      facts.applicationProtocol = unsafe String(
        decoding: UnsafeBufferPointer(start: chosen, count: Int(count)), as: UTF8.self)
    }
    if isServer, let certificate = unsafe SSL_get1_peer_certificate(handle) {
      let keepsChain = (context as? TLSServerContext)?.clients?.keepsChain == true
      facts.peer = TLSPeer(
        unsafe Certificate(owning: certificate), chain: keepsChain ? unsafe Certificate.between(handle) : [])
    }
    facts.version = unsafe SSL_version(handle) == TLS1_3_VERSION ? .tls13 : .tls12
  }

  /// Goes on without OpenSSL's object. What it has just answered are session tickets: records under the keys of the
  /// connection, which count.
  private func takeOver(_ handle: OpaquePointer, _ answerStart: Int) {
    let number = unsafe UInt16(truncatingIfNeeded: SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(handle)))
    guard let suite = TLSSuite(number: number), clientSecret.count == suite.secretCount,
      serverSecret.count == suite.secretCount
    else { return }
    let outgoing = wire.outgoing
    let sent = early?.sentRecords ?? 0
    let written = sent + Self.recordCount(outgoing.bytes.extracting(answerStart..<outgoing.count))
    readingKeys = TLSTrafficKeys(suite, secret: clientSecret, sequence: 0, identity: wire.ciphers.nextIdentity())
    writingKeys = TLSTrafficKeys(suite, secret: serverSecret, sequence: written, identity: wire.ciphers.nextIdentity())
    clientSecret = []
    serverSecret = []
    unsafe SSL_free(handle)
    unsafe self.handle = nil
  }

  static func recordCount(_ bytes: RawSpan) -> UInt64 {
    var (count, place): (UInt64, Int) = (0, 0)
    while place + TLSRecordCiphers.headerCount <= bytes.byteCount {
      place += TLSRecordCiphers.headerCount + bodyCount(bytes, at: place)
      count += 1
    }
    return count
  }

  /// What the header of the record at `place` says of its length.
  private static func bodyCount(_ bytes: RawSpan, at place: Int) -> Int {
    Int(bytes[byte: place + 3]) << 8 | Int(bytes[byte: place + 4])
  }

  /// A line of the key log: a label, the client's random number and a secret, in hexadecimal.
  func note(secretLine line: UnsafeRawBufferPointer) {
    // Behind the label come a space, 64 digits and another space.
    let start = Self.clientLabel.utf8CodeUnitCount + 66
    guard line.count > start else { return }
    if unsafe Self.begins(line, Self.clientLabel) {
      clientSecret = unsafe Self.bytes(hexadecimal: line[start...])
    } else if unsafe Self.begins(line, Self.serverLabel) {
      serverSecret = unsafe Self.bytes(hexadecimal: line[start...])
    }
  }

  private static let clientLabel: StaticString = "CLIENT_TRAFFIC_SECRET_0"
  private static let serverLabel: StaticString = "SERVER_TRAFFIC_SECRET_0"

  private static func begins(_ line: UnsafeRawBufferPointer, _ label: StaticString) -> Bool {
    // The line is longer than a label.
    unsafe line.baseAddress.map { unsafe memcmp($0, label.utf8Start, label.utf8CodeUnitCount) == 0 } ?? false
  }

  private static func bytes(hexadecimal text: Slice<UnsafeRawBufferPointer>) -> [UInt8] {
    let digits = unsafe text.map { HexadecimalDigit.value($0) ?? 0 }
    return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
  }

  // MARK: Receiving

  /// Decrypts whole records of the wire's incoming bytes to the end of `plain`, until less than a record is left or `limit`
  /// bytes have been added, which must be ``TLSSession/record`` at least. What is left stays in the wire. Throws where the client breaks the
  /// rules; what it has to be told is in the wire then.
  public func receive(into plain: ByteBuffer, limit: Int) throws(TLSFault) {
    precondition(limit >= Self.record)
    guard stage == .open else { return }
    if readingKeys != nil { return try receiveRecords(plain, limit) }
    guard let handle = unsafe handle else { return }
    ERR_clear_error()
    var room = limit
    while room >= Self.record {
      var read = 0
      var result: Int32 = 0
      unsafe plain.append(limit: Self.record) { space in
        result = unsafe SSL_read_ex(handle, space.baseAddress, space.count, &read)
        return result == 1 ? read : 0
      }
      room -= read
      if result == 1 { continue }
      switch unsafe SSL_get_error(handle, result) {
      case SSL_ERROR_WANT_READ: return
      case SSL_ERROR_ZERO_RETURN:
        stage = .ended
        return
      default:
        stage = .broken
        throw TLSFault("the connection broke")
      }
    }
  }

  /// The most bytes of one record.
  public static let record = TLSRecordCiphers.longestContent

  private func receiveRecords(_ plain: ByteBuffer, _ limit: Int) throws(TLSFault) {
    let incoming = wire.incoming
    let end = plain.count + limit
    while stage == .open, incoming.count >= TLSRecordCiphers.headerCount, end - plain.count >= Self.record {
      let kind = incoming[0]
      let body = Int(incoming[3]) << 8 | Int(incoming[4])
      guard kind == TLSRecordKind.data else { throw abort(TLSAlert.unexpectedMessage) }
      guard body <= TLSRecordCiphers.longestBody else { throw abort(TLSAlert.recordOverflow) }
      guard body > TLSRecordCiphers.tagCount else { throw abort(TLSAlert.decodeError) }
      let count = TLSRecordCiphers.headerCount + body
      guard incoming.count >= count else { return }
      try openRecord(incoming.bytes.extracting(0..<count), plain)
      incoming.consume(count)
    }
  }

  private func openRecord(_ record: RawSpan, _ plain: ByteBuffer) throws(TLSFault) {
    let start = plain.count
    guard var count = wire.ciphers.open(record, with: &readingKeys!, into: plain) else {
      throw abort(TLSAlert.badRecordMAC)
    }
    // The kind stands behind the content and before the padding (RFC 8446 section 5.4).
    var kind: UInt8 = 0
    while count > 0, kind == 0 {
      count -= 1
      kind = plain[start + count]
    }
    if kind == TLSRecordKind.data, count <= Self.record {
      plain.truncate(to: start + count)
      idleRecords = count > 0 ? 0 : idleRecords + 1
      if idleRecords > Self.idleRecordLimit { throw abort(TLSAlert.unexpectedMessage) }
      return
    }
    let said = plain.bytes.extracting(start..<start + min(count, 8)).array
    plain.truncate(to: start)
    guard count <= Self.record else { throw abort(TLSAlert.recordOverflow) }
    switch kind {
    case TLSRecordKind.alert: try takeAlert(said, count)
    case TLSRecordKind.handshake: try takeKeyUpdate(said, count)
    default: throw abort(TLSAlert.unexpectedMessage)
    }
  }

  private func takeAlert(_ alert: [UInt8], _ count: Int) throws(TLSFault) {
    guard count == 2 else { throw abort(TLSAlert.decodeError) }
    switch alert[1] {
    case TLSAlert.closeNotify: stage = .ended
    case TLSAlert.userCanceled:
      idleRecords += 1
      if idleRecords > Self.idleRecordLimit { throw abort(TLSAlert.unexpectedMessage) }
    default:
      stage = .broken
      throw TLSFault("the client sent alert \(alert[1])")
    }
  }

  /// After the handshake a client may say nothing else than that its keys change (RFC 8446 section 4.6.3).
  private func takeKeyUpdate(_ message: [UInt8], _ count: Int) throws(TLSFault) {
    guard count == 5, message[..<4] == [24, 0, 0, 1], message[4] <= 1 else { throw abort(TLSAlert.unexpectedMessage) }
    idleRecords += 1
    guard idleRecords <= Self.idleRecordLimit else { throw abort(TLSAlert.unexpectedMessage) }
    readingKeys?.update(identity: wire.ciphers.nextIdentity())
    // Answered once, with the next data, however often it is said before (RFC 8446 section 4.6.3).
    if message[4] == 1 { owesKeyUpdate = true }
  }

  private func updateWritingKeys() {
    owesKeyUpdate = false
    seal(TLSRecordKind.handshake, [24, 0, 0, 1, 0])
    writingKeys?.update(identity: wire.ciphers.nextIdentity())
  }

  /// Tells the client why the connection ends.
  private func abort(_ alert: UInt8) -> TLSFault {
    seal(TLSRecordKind.alert, [2, alert])
    stage = .broken
    return TLSFault("the client broke a rule of TLS: alert \(alert)")
  }

  // MARK: Sending

  /// Encrypts two spans as if they were one, at the end of the wire's outgoing bytes. Only once the handshake is over.
  public func send(_ first: RawSpan, _ second: RawSpan = RawSpan()) throws(TLSFault) {
    precondition(stage == .open || stage == .ended)
    guard writingKeys != nil else {
      try write(first)
      return try write(second)
    }
    var (first, second) = (first, second)
    while !first.isEmpty || !second.isEmpty {
      let one = first.extracting(first: Self.record)
      let two = second.extracting(first: Self.record - one.byteCount)
      seal(TLSRecordKind.data, one, two)
      first = first.extracting(droppingFirst: one.byteCount)
      second = second.extracting(droppingFirst: two.byteCount)
    }
  }

  private func seal(_ kind: UInt8, _ bytes: [UInt8]) { seal(kind, RawSpan(bytes), RawSpan()) }

  private func seal(_ kind: UInt8, _ first: RawSpan, _ second: RawSpan) {
    guard writingKeys != nil else { return }
    let isDue = owesKeyUpdate || writingKeys!.sequence >= TLSTrafficKeys.longestUse
    if isDue, kind == TLSRecordKind.data { updateWritingKeys() }
    wire.ciphers.seal(kind, first, second, with: &writingKeys!, into: wire.outgoing)
  }

  private func write(_ bytes: RawSpan) throws(TLSFault) {
    guard let handle = unsafe handle, !bytes.isEmpty else { return }
    ERR_clear_error()
    var written = 0
    let result = unsafe bytes.withUnsafeBytes { unsafe SSL_write_ex(handle, $0.baseAddress, $0.count, &written) }
    // The wire takes everything.
    guard result == 1, written == bytes.byteCount else {
      stage = .broken
      throw TLSFault("OpenSSL could not encrypt")
    }
  }

  /// Tells the client that nothing more will be sent.
  public func endSending() {
    guard !hasEndedSending, stage == .open || stage == .ended else { return }
    hasEndedSending = true
    if writingKeys != nil {
      seal(TLSRecordKind.alert, [1, TLSAlert.closeNotify])
    } else if let handle = unsafe handle {
      _ = unsafe SSL_shutdown(handle)
    }
  }
}
