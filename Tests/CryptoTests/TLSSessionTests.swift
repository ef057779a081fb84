import Core
import Simulation
import Testing

@testable import Crypto

/// Both ends of a connection, and the bytes between them.
final class Pair {
  let (serverWire, clientWire) = (TLSWire(), TLSWire())
  let server: TLSSession
  let client: TLSSession
  let (toServer, toClient) = (ByteBuffer(), ByteBuffer())

  init(
    _ server: TLSServerContext, _ client: TLSClientContext, name: String = "server.test", resumption: String? = nil,
    clientWire: TLSWire? = nil, tickets: TLSTicketKeys? = nil
  ) throws {
    serverWire.tickets = tickets
    self.server = try TLSSession(server, wire: serverWire)
    wire = clientWire ?? self.clientWire
    self.client = try TLSSession(client, name: name, resumption: resumption, wire: wire)
  }

  let wire: TLSWire

  /// Moves what either has to say until neither has.
  func settle() throws {
    for _ in 0..<20 {
      if client.stage == .handshaking { _ = try client.shakeHands() }
      if client.stage == .open { try client.receive(into: toClient, limit: 1 << 20) }
      let isQuiet = wire.outgoing.isEmpty
      move(wire.outgoing, serverWire.incoming)
      if server.stage == .handshaking { _ = try server.shakeHands() }
      if server.stage == .open { try server.receive(into: toServer, limit: 1 << 20) }
      if isQuiet, serverWire.outgoing.isEmpty { return }
      move(serverWire.outgoing, wire.incoming)
    }
  }

  func send(_ bytes: [UInt8]) throws { try client.send(RawSpan(bytes)) }

  func answer(_ bytes: [UInt8]) throws { try server.send(RawSpan(bytes)) }

  private func move(_ from: ByteBuffer, _ to: ByteBuffer) {
    to.append(from.bytes)
    from.removeAll()
  }
}

@Suite("TLS session")
struct TLSSessionTests {
  private func credential(rsa: Bool = false) throws -> TLSCredential {
    rsa
      ? try TLSCredential(certificate: TestCertificates.serverRSA, key: TestCertificates.serverRSAKey)
      : try TLSCredential(certificate: TestCertificates.server, key: TestCertificates.serverKey)
  }

  func server(_ change: (inout TLSServerSettings) throws -> Void = { _ in }) throws -> TLSServerContext {
    var settings = TLSServerSettings(credentials: [try credential()])
    try change(&settings)
    return try TLSServerContext(settings)
  }

  func client(_ change: (inout TLSClientSettings) throws -> Void = { _ in }) throws -> TLSClientContext {
    var settings = TLSClientSettings()
    settings.authorities = try TLSAuthorities(certificates: TestCertificates.authority)
    try change(&settings)
    return try TLSClientContext(settings)
  }

  @Test(
    "Both ends agree and understand each other", arguments: [TLSServerSettings.Version.tls12, .tls13], [false, true])
  func agreement(version: TLSServerSettings.Version, rsa: Bool) throws {
    let credentials = [try credential(rsa: rsa)]
    let pair = try Pair(
      try server { $0.credentials = credentials },
      try client {
        $0.maximumVersion = version
        $0.protocols = ["h2", "http/1.1"]
      })
    try pair.settle()
    #expect(pair.server.stage == .open && pair.client.stage == .open)
    #expect(pair.server.facts.version == version && !pair.server.facts.isResumed && pair.server.facts.peer == nil)
    #expect(pair.server.facts.serverName == "server.test" && pair.server.facts.applicationProtocol == "http/1.1")
    for count in [1, 16_384, 16_385, 100_000] {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 13) }
      try pair.client.send(RawSpan(bytes))
      try pair.settle()
      #expect(pair.toServer.array == bytes)
      let echoed = pair.toServer
      try pair.server.send(echoed.bytes.extracting(first: 1), echoed.bytes.extracting(droppingFirst: 1))
      try pair.settle()
      #expect(pair.toClient.array == bytes)
      pair.toServer.removeAll()
      pair.toClient.removeAll()
    }
    pair.server.endSending()
    try pair.settle()
    #expect(pair.client.stage == .ended)
  }

  @Test("A record that was changed, repeated or left out is refused, and the client told")
  func forgeries() throws {
    for change in 0..<4 {
      let pair = try Pair(try server(), try client())
      try pair.settle()
      try pair.send([1, 2, 3])
      let first = pair.wire.outgoing.array
      pair.wire.outgoing.removeAll()
      try pair.send([4, 5, 6])
      let second = pair.wire.outgoing.array
      var changed = first
      changed[changed.count - 1] ^= 1
      pair.serverWire.incoming.append([changed, first + first, second, [23, 3, 3, 0x41, 1]][change])
      #expect(throws: TLSFault.self) { try pair.server.receive(into: pair.toServer, limit: 65_536) }
      #expect(pair.server.stage == .broken)
      #expect(pair.toServer.array == (change == 1 ? [1, 2, 3] : []))
      #expect(pair.serverWire.outgoing[0] == TLSRecordKind.data)
    }
  }

  @Test(
    "A session of TLS 1.3 goes on with the keys that sealed its ticket, and with no others",
    arguments: [TLSServerSettings.Version.tls12, .tls13])
  func resumption(version: TLSServerSettings.Version) throws {
    func keys(_ seeds: UInt8...) -> TLSTicketKeys {
      TLSTicketKeys(seeds: seeds.map { [UInt8](repeating: $0, count: TLSTicketKeys.seedBytes) })
    }
    let context = try client { $0.maximumVersion = version }
    // Without forward secrecy no tickets are better: so of TLS 1.2 there are none.
    for (later, isKnown) in [(keys(1), true), (keys(2, 1), true), (keys(2), false)] {
      let isResumed = isKnown && version == .tls13
      let wire = TLSWire()
      // Two contexts, as two nodes have them.
      let first = try Pair(try server(), context, resumption: "one", clientWire: wire, tickets: keys(1))
      try first.settle()
      #expect(!first.server.facts.isResumed)
      // What follows the ticket is numbered behind it.
      try first.answer([7])
      try first.settle()
      #expect(first.toClient.array == [7])
      let second = try Pair(try server(), context, resumption: "one", clientWire: wire, tickets: later)
      try second.settle()
      #expect(second.server.facts.isResumed == isResumed)
      let other = try Pair(try server(), context, resumption: "other", clientWire: wire, tickets: later)
      try other.settle()
      #expect(!other.server.facts.isResumed)
    }
  }

  @Test("Connections that begin at the same time go on with a session each")
  func concurrentResumptions() throws {
    let keys = TLSTicketKeys(seeds: [[UInt8](repeating: 1, count: TLSTicketKeys.seedBytes)])
    let (context, wire) = (try client(), TLSWire())
    func begin() throws -> Pair {
      try Pair(try server(), context, resumption: "one", clientWire: wire, tickets: keys)
    }
    for isResumed in [false, true, true] {
      // All begin before one of them is given a ticket.
      let pairs = try (0..<3).map { _ in try begin() }
      for pair in pairs {
        try pair.settle()
        #expect(pair.server.facts.isResumed == isResumed)
        try pair.answer([7])
        try pair.settle()
      }
    }
  }

  @Test("A session goes on as often as its client comes back: every connection gets a ticket of its own")
  func resumptions() throws {
    let keys = TLSTicketKeys(seeds: [[UInt8](repeating: 1, count: TLSTicketKeys.seedBytes)])
    let (context, wire) = (try client(), TLSWire())
    for number in 0..<5 {
      let pair = try Pair(try server(), context, resumption: "one", clientWire: wire, tickets: keys)
      try pair.settle()
      #expect(pair.server.facts.isResumed == (number > 0))
      try pair.answer([7])
      try pair.settle()
      #expect(pair.toClient.array == [7])
    }
  }

  @Test("A client is who its certificate says, if that is asked for and good")
  func clients() throws {
    let authorities = try TLSAuthorities(certificates: TestCertificates.authority)
    let shows = try TLSCredential(certificate: TestCertificates.client, key: TestCertificates.clientKey)
    func asking(_ names: [String] = [], isRequired: Bool = true) throws -> TLSServerContext {
      try server { $0.clients = TLSClientPolicy(isRequired: isRequired, authorities: authorities, names: names) }
    }
    let known = try Pair(try asking(["spiffe://test/client"]), try client { $0.credential = shows })
    try known.settle()
    #expect(known.server.facts.peer?.names == ["spiffe://test/client"])
    #expect(known.server.facts.peer?.commonName == "client")
    let unnamed = try Pair(try asking(["spiffe://test/other"]), try client { $0.credential = shows })
    #expect(throws: TLSFault.self) { try unnamed.settle() }
    #expect(unnamed.server.failure == .certificateRefused)
    let without = try Pair(try asking(), try client())
    #expect(throws: TLSFault.self) { try without.settle() }
    #expect(without.server.failure == .certificateMissing)
    let asked = try Pair(try asking(isRequired: false), try client())
    try asked.settle()
    #expect(asked.server.stage == .open && asked.server.facts.peer == nil)
  }

  @Test("A server must be whom the client asks for", arguments: ["other.test", "a.b.wild.test", "192.0.2.1"])
  func wrongNames(name: String) throws {
    let pair = try Pair(try server(), try client(), name: name)
    #expect(throws: TLSFault.self) { try pair.settle() }
    #expect(pair.client.stage == .broken)
    let careless = try Pair(try server(), try client { $0.verifies = false }, name: name)
    try careless.settle()
    #expect(careless.client.stage == .open)
  }

  @Test("Keys and certificates that do not go together, or are none, are refused")
  func credentials() throws {
    #expect(throws: TLSFault("the key does not belong to the certificate")) {
      try TLSCredential(certificate: TestCertificates.server, key: TestCertificates.clientKey)
    }
    #expect(throws: TLSFault.self) { try TLSCredential(certificate: [], key: TestCertificates.serverKey) }
    #expect(throws: TLSFault.self) {
      try TLSCredential(certificate: TestCertificates.server, key: TestCertificates.server)
    }
    let good = try credential()
    #expect(good.names == ["server.test", "*.wild.test"] && good.kind == .ecdsa)
    #expect(good.expiresAt.seconds > good.beginsAt.seconds)
  }
}

@Suite("TLS records")
struct TLSRecordTests {
  private func bytes(_ text: String) -> [UInt8] {
    let digits = text.utf8.compactMap { HexadecimalDigit.value($0) }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
  }

  @Test("The records of RFC 8448 section 3 are sealed and opened to the byte")
  func published() throws {
    let secret = bytes("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5")
    let content = [UInt8](0..<50)
    let record = bytes(
      """
      17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 b4 6b 39
      5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4
      """)
    var ciphers = TLSRecordCiphers()
    var sealing = TLSTrafficKeys(.aes128, secret: secret, sequence: 0, identity: 1)
    var opening = TLSTrafficKeys(.aes128, secret: secret, sequence: 0, identity: 2)
    #expect((0..<16).map { sealing.key[$0] } == bytes("17422dda596ed5d9acd890e3c63f5051"))
    let sealed = ByteBuffer()
    ciphers.seal(
      TLSRecordKind.data, RawSpan(content).extracting(first: 20), RawSpan(content).extracting(droppingFirst: 20),
      with: &sealing, into: sealed)
    #expect(sealed.array == record)
    let opened = ByteBuffer()
    #expect(ciphers.open(RawSpan(record), with: &opening, into: opened) == 51)
    #expect(opened.array == content + [TLSRecordKind.data])
    #expect(sealing.sequence == 1 && opening.sequence == 1)
  }

  @Test(
    "Every suite opens what it has sealed, record by record and beyond a change of keys",
    arguments: [TLSSuite.aes128, .aes256, .chacha])
  func suites(suite: TLSSuite) {
    var ciphers = TLSRecordCiphers()
    let secret = (0..<suite.secretCount).map { UInt8($0) }
    var sealing = TLSTrafficKeys(suite, secret: secret, sequence: 5, identity: ciphers.nextIdentity())
    var opening = TLSTrafficKeys(suite, secret: secret, sequence: 5, identity: ciphers.nextIdentity())
    var strange = TLSTrafficKeys(suite, secret: secret, sequence: 6, identity: ciphers.nextIdentity())
    for count in [0, 1, 16, 16_384] {
      let content = [UInt8](repeating: 3, count: count)
      let (sealed, opened) = (ByteBuffer(), ByteBuffer())
      ciphers.seal(TLSRecordKind.data, RawSpan(content), RawSpan(), with: &sealing, into: sealed)
      #expect(
        ciphers.open(sealed.bytes, with: &strange, into: opened)
          == (strange.sequence == opening.sequence ? count + 1 : nil))
      opened.removeAll()
      #expect(ciphers.open(sealed.bytes, with: &opening, into: opened) == count + 1)
      #expect(opened.array == content + [TLSRecordKind.data])
      sealing.update(identity: ciphers.nextIdentity())
      opening.update(identity: ciphers.nextIdentity())
    }
  }
}

@Suite("Certificate choice")
struct CertificateChoiceTests {
  @Test("Of every kind of key the first certificate that names the host, exact names before wildcards")
  func choice() throws {
    let ecdsa = try TLSCredential(certificate: TestCertificates.server, key: TestCertificates.serverKey)
    let rsa = try TLSCredential(certificate: TestCertificates.serverRSA, key: TestCertificates.serverRSAKey)
    let choice = CertificateChoice([ecdsa, rsa])
    func kinds(_ index: Int?) -> [TLSCredential.Kind] { index.map { choice.sets[$0].map(\.kind) } ?? [] }
    #expect(kinds(0) == [.ecdsa, .rsa])
    #expect(kinds(choice.byName["server.test"]) == [.ecdsa, .rsa])
    #expect(kinds(choice.byParent["wild.test"]) == [.ecdsa])
    #expect(choice.byName["wild.test"] == nil)
  }
}
