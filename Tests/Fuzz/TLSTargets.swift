import Core
import Crypto
import Simulation

/// What clients say before anybody knows them.
enum TLSTargets {
  /// One that asks clients who they are, and one that takes early data.
  private static let contexts = [context(asks: true), context(asks: false)]

  private static func context(asks: Bool) -> TLSServerContext {
    do {
      var settings = TLSServerSettings(credentials: [
        try TLSCredential(certificate: TestCertificates.server, key: TestCertificates.serverKey),
        try TLSCredential(certificate: TestCertificates.serverRSA, key: TestCertificates.serverRSAKey),
      ])
      settings.profile = .intermediate
      settings.acceptsEarlyData = true
      if asks {
        settings.clients = TLSClientPolicy(
          isRequired: false, authorities: try TLSAuthorities(certificates: TestCertificates.authority))
      }
      return try TLSServerContext(settings)
    } catch { preconditionFailure("\(error)") }
  }

  private static let tickets = TLSTicketKeys(seeds: [[UInt8](repeating: 1, count: TLSTicketKeys.seedBytes)])

  /// A handshake, in two pieces: it answers or refuses, never both with a connection that stands.
  @Sendable
  static func clientHello(_ bytes: RawSpan) {
    for context in contexts { clientHello(bytes, context) }
  }

  private static func clientHello(_ bytes: RawSpan, _ context: TLSServerContext) {
    let wire = TLSWire(capacity: 4096)
    wire.tickets = tickets
    guard let session = try? TLSSession(context, wire: wire) else { preconditionFailure("no session") }
    let half = bytes.byteCount / 2
    do throws(TLSFault) {
      for piece in [bytes.extracting(first: half).array, bytes.extracting(droppingFirst: half).array] {
        wire.incoming.append(piece)
        let isComplete = try session.shakeHands()
        // Nobody can finish a handshake with words that were written before the server's own.
        precondition(!isComplete && session.stage == .handshaking && session.failure == nil)
        // Nor say anything early without a ticket of this server.
        precondition(!session.isEarly && !session.hasEarlyData)
      }
    } catch { precondition(session.stage == .broken && session.failure != nil && !session.isEarly) }
  }

  private static let inquiry: OCSPInquiry = {
    do {
      return try OCSPInquiry(
        TLSCredential(
          certificate: TestCertificates.asked + [10] + TestCertificates.askedAuthority, key: TestCertificates.askedKey))
    } catch { preconditionFailure("\(error)") }
  }()

  /// What a responder answers: it is good only while it holds.
  @Sendable
  static func ocspResponse(_ bytes: RawSpan) {
    let now = WallTime(microseconds: 1_800_000_000_000_000)
    guard case .good(let staple) = try? inquiry.judge(bytes.array, at: now) else { return }
    precondition(staple.bytes == bytes.array && staple.endsAt.map { now < $0 } ?? true)
  }
}
