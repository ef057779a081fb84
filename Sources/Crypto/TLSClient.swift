import Core

/// One connection's TLS, the client's end, for an owner that has a connection of its own: what arrives is given to it, what it
/// wants to send is taken from it.
public final class TLSClient {
  /// Bytes that one receive may add, in records.
  private static let receiveLimit = 64 * TLSSession.record

  private let wire = TLSWire(capacity: 4096)
  private let session: TLSSession

  /// What must be sent to the server; the owner consumes it.
  public var outgoing: ByteBuffer { wire.outgoing }
  /// Whether the handshake is complete and the server's certificate good.
  public var isEstablished: Bool { session.stage == .open || session.stage == .ended }
  /// Whether the server has ended its stream in good order.
  public var hasEnded: Bool { session.stage == .ended }

  /// A connection to a server whose certificate must be good for `name`, a host name or an IP address. Its first bytes
  /// lie in ``outgoing``.
  public init(_ context: TLSClientContext, name: String) throws(TLSFault) {
    session = try TLSSession(context, name: name, wire: wire)
    _ = try session.shakeHands()
  }

  /// Takes bytes as they were received and appends what they mean to `plain`. May add to ``outgoing``.
  public func receive(_ bytes: RawSpan, into plain: ByteBuffer) throws(TLSFault) {
    wire.incoming.append(bytes)
    guard try session.shakeHands() else { return }
    while session.stage == .open {
      let before = plain.count
      try session.receive(into: plain, limit: Self.receiveLimit)
      if plain.count - before <= Self.receiveLimit - TLSSession.record { return }
    }
  }

  /// Encrypts `plain`, which must not be empty, into ``outgoing``. Only once ``isEstablished``.
  public func send(_ plain: RawSpan) throws(TLSFault) {
    precondition(isEstablished)
    try session.send(plain)
  }
}
