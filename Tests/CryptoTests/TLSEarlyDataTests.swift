import COpenSSL
import Core
import Simulation
import Testing

@testable import Crypto

/// What clients of ours do not do, and others may.
extension TLSSession {
  /// Says something before the handshake; false where OpenSSL refuses.
  fileprivate func saysEarly(_ bytes: [UInt8]) -> Bool {
    guard let handle = unsafe handle else { return false }
    var written = 0
    return unsafe SSL_write_early_data(handle, bytes, bytes.count, &written) == 1 && written == bytes.count
  }

  fileprivate var wasHeardEarly: Bool {
    guard let handle = unsafe handle else { return false }
    return unsafe SSL_get_early_data_status(handle) == SSL_EARLY_DATA_ACCEPTED
  }

  fileprivate func ignoresEarlyLimit() {
    guard let handle = unsafe handle, let session = unsafe SSL_get_session(handle) else { return }
    _ = unsafe SSL_SESSION_set_max_early_data(session, 100_000)
  }
}

@Suite("TLS early data")
struct TLSEarlyDataTests {
  private let clients: TLSClientContext
  private let clientWire = TLSWire()

  init() throws {
    var settings = TLSClientSettings()
    settings.authorities = try TLSAuthorities(certificates: TestCertificates.authority)
    clients = try TLSClientContext(settings)
  }

  private func server(_ change: (inout TLSServerSettings) -> Void = { _ in }) throws -> TLSServerContext {
    var settings = TLSServerSettings(credentials: [
      try TLSCredential(certificate: TestCertificates.server, key: TestCertificates.serverKey)
    ])
    settings.acceptsEarlyData = true
    change(&settings)
    return try TLSServerContext(settings)
  }

  /// A connection of a client that has been here before.
  private func again(_ context: TLSServerContext, seed: UInt8 = 1) throws -> Pair {
    let tickets = TLSTicketKeys(seeds: [[UInt8](repeating: seed, count: TLSTicketKeys.seedBytes)])
    return try Pair(context, clients, resumption: "same", clientWire: clientWire, tickets: tickets)
  }

  /// Has a client say `bytes` at once, and the server read what it makes of it.
  private func speakEarly(_ pair: Pair, _ bytes: [UInt8]) throws {
    #expect(pair.client.saysEarly(bytes))
    pair.serverWire.incoming.append(pair.wire.outgoing.array)
    pair.wire.outgoing.removeAll()
    #expect(try !pair.server.shakeHands())
  }

  @Test("What a client says at once is understood and answered, and nothing behind it is lost", arguments: [1, 5_000])
  func answered(count: Int) throws {
    let context = try server()
    try again(context).settle()
    // Another context, as another node has it.
    let pair = try again(try server())
    try speakEarly(pair, [UInt8](repeating: 7, count: count))
    #expect(pair.server.isEarly && pair.server.facts.isResumed && pair.server.facts.serverName == "server.test")
    #expect(pair.server.receiveEarly(into: pair.toServer, limit: count - 1) == count - 1)
    #expect(pair.server.hasEarlyData)
    #expect(pair.server.receiveEarly(into: pair.toServer, limit: 100) == 1)
    #expect(pair.toServer.array == [UInt8](repeating: 7, count: count))
    // More than a record, so that what follows has to be numbered behind them.
    let answer = (0..<40_000).map { UInt8(truncatingIfNeeded: $0) }
    try pair.server.sendEarly(RawSpan(answer), RawSpan([9]))
    try pair.settle()
    #expect(pair.server.stage == .open && pair.client.stage == .open && !pair.server.isEarly)
    #expect(pair.toClient.array == answer + [9])
    pair.toClient.removeAll()
    try pair.answer([1, 2])
    try pair.send([3])
    try pair.settle()
    #expect(pair.toClient.array == [1, 2] && pair.toServer.array.last == 3)
    #expect(pair.client.wasHeardEarly)
  }

  @Test("A first flight that is sent again is read again, but its handshake never ends")
  func replayed() throws {
    let context = try server()
    try again(context).settle()
    let pair = try again(context)
    #expect(pair.client.saysEarly([1, 2, 3]))
    let flight = pair.wire.outgoing.array
    pair.wire.outgoing.removeAll()
    for _ in 0..<2 {
      let replay = try again(context)
      replay.serverWire.incoming.append(flight)
      #expect(try !replay.server.shakeHands())
      #expect(replay.server.isEarly && replay.server.receiveEarly(into: replay.toServer, limit: 10) == 3)
    }
  }

  @Test(
    "Where it is off, or the ticket unknown, what came early is not looked at and the handshake goes on",
    arguments: [0, 1])
  func refused(reason: Int) throws {
    try again(try server()).settle()
    let pair = try again(
      try server { $0.acceptsEarlyData = reason > 0 }, seed: reason == 0 ? 1 : 2)
    try speakEarly(pair, [1, 2, 3])
    #expect(!pair.server.isEarly && !pair.server.hasEarlyData)
    try pair.settle()
    #expect(pair.server.stage == .open && pair.toServer.isEmpty && pair.server.facts.isResumed == (reason == 0))
    try pair.send([4])
    try pair.settle()
    #expect(pair.toServer.array == [4])
  }

  @Test("More of it than the limit breaks the connection")
  func tooMuch() throws {
    let context = try server()
    try again(context).settle()
    let pair = try again(context)
    // A client that keeps to its ticket would refuse to.
    pair.client.ignoresEarlyLimit()
    for _ in 0..<3 { #expect(pair.client.saysEarly([UInt8](repeating: 1, count: 8_000))) }
    pair.serverWire.incoming.append(pair.wire.outgoing.array)
    #expect(throws: TLSFault.self) { try pair.server.shakeHands() }
    #expect(pair.server.stage == .broken && !pair.server.isEarly)
  }

  @Test("A connection without any is none the worse", arguments: [TLSServerSettings.Version.tls12, .tls13])
  func unused(version: TLSServerSettings.Version) throws {
    var settings = TLSClientSettings()
    settings.authorities = try TLSAuthorities(certificates: TestCertificates.authority)
    settings.maximumVersion = version
    let pair = try Pair(try server(), try TLSClientContext(settings))
    try pair.settle()
    try pair.answer([5])
    try pair.settle()
    #expect(pair.server.facts.version == version && pair.toClient.array == [5] && !pair.server.isEarly)
  }
}
