import COpenSSL
import Core
import Simulation
import Testing

@testable import Crypto

extension TLSSessionTests {
  @Test("However often a client has keys changed, it is answered once, before what is sent next")
  func keyUpdates() throws {
    let pair = try Pair(try server(), try client())
    try pair.settle()
    var keys = try #require(pair.server.readingKeys)
    var ciphers = TLSRecordCiphers()
    for round in 0..<1_000 {
      let change: [UInt8] = [24, 0, 0, 1, 1]
      ciphers.seal(TLSRecordKind.handshake, RawSpan(change), RawSpan(), with: &keys, into: pair.serverWire.incoming)
      keys.update(identity: UInt64(1_000 + round))
      let data: [UInt8] = [1]
      ciphers.seal(TLSRecordKind.data, RawSpan(data), RawSpan(), with: &keys, into: pair.serverWire.incoming)
      try pair.server.receive(into: pair.toServer, limit: 65_536)
    }
    #expect(pair.toServer.count == 1_000)
    #expect(pair.serverWire.outgoing.isEmpty)
    try pair.answer([7])
    // Two records: the change, and one byte under the new keys.
    #expect(pair.serverWire.outgoing.count == 27 + 23)
    pair.wire.incoming.append(pair.serverWire.outgoing.array)
    try pair.client.receive(into: pair.toClient, limit: 65_536)
    #expect(pair.toClient.array == [7])
  }

  @Test("A server that wants to negotiate again is told that this client does not")
  func renegotiation() throws {
    let pair = try Pair(try server(), try client { $0.maximumVersion = .tls12 })
    try pair.settle()
    let handle = unsafe Mirror(reflecting: pair.server).descendant("handle") as? OpaquePointer
    // What no server of ours may do.
    _ = unsafe SSL_clear_options(handle, SSL_get_options(handle))
    let hasAsked = unsafe SSL_renegotiate(handle) == 1 && SSL_do_handshake(handle) == 1
    #expect(hasAsked)
    pair.wire.incoming.append(pair.serverWire.outgoing.array)
    try pair.client.receive(into: pair.toClient, limit: 65_536)
    #expect(pair.wire.outgoing[0] == TLSRecordKind.alert)
    #expect(pair.client.stage == .open)
  }

  @Test("A common name is not the server's name, and no name stands for all below it")
  func serverNames() throws {
    let bare = try TLSCredential(
      certificate: TestCertificates.commonNameOnly, key: TestCertificates.commonNameOnlyKey)
    let trusting = try client { $0.authorities = try TLSAuthorities(certificates: TestCertificates.commonNameOnly) }
    let pair = try Pair(try server { $0.credentials = [bare] }, trusting)
    #expect(throws: TLSFault.self) { try pair.settle() }
    #expect(pair.client.stage == .broken)
    #expect(throws: TLSFault("the name .wild.test begins with a dot")) {
      try Pair(try server(), try client(), name: ".wild.test")
    }
  }

  @Test(
    "A client's names are matched by names of their own kind, wildcards by DNS names only",
    arguments: [
      ("a.dns.test", true), ("*.dns.test", true), ("A.DNS.test", true), ("b.dns.test", false), ("*.test", false),
      ("bob@corp.example.com", true), ("spiffe://other.example.com", true),
      ("corp.example.com", false), ("other.example.com", false), ("*.example.com", false),
    ])
  func clientNames(pattern: String, isAdmitted: Bool) throws {
    let certificate = try #require(try PEMText.certificates(TestCertificates.manyNames, limit: 1).first)
    let authorities = try TLSAuthorities(certificates: TestCertificates.authority)
    let policy = TLSClientPolicy(isRequired: true, authorities: authorities, names: [pattern])
    #expect(policy.admits(certificate) == isAdmitted)
  }
}

@Suite("PEM texts")
struct PEMTextTests {
  private static let begin = "-----BEGIN CERTIFICATE-----\n"
  private static let end = "-----END CERTIFICATE-----\n"

  @Test("All certificates are read, whatever stands between them")
  func all() throws {
    let text = TestCertificates.server + Array("\n# the next\n".utf8) + TestCertificates.serverKey + [10]
    let found = try PEMText.certificates(text + TestCertificates.authority + Array("\nthe end".utf8), limit: 2)
    #expect(found.count == 2)
    #expect(try PEMText.certificates([], limit: 1).isEmpty)
    #expect(throws: TLSFault("there are more than 1 of them")) {
      try PEMText.certificates(text + TestCertificates.authority, limit: 1)
    }
  }

  @Test(
    "A certificate that cannot be read is not the end of the list, but a fault",
    arguments: [begin + "!!!!\n" + end, begin + "MAMCAQE=\n" + end, begin + "MAMCAQE=\n"])
  func broken(block: String) throws {
    let text = TestCertificates.authority + [10] + Array(block.utf8)
    for text in [text, text + [10] + TestCertificates.server] {
      #expect(throws: TLSFault.self) { try TLSAuthorities(certificates: text) }
    }
    let list = block.replacing("CERTIFICATE", with: "X509 CRL")
    #expect(throws: TLSFault.self) {
      try TLSAuthorities(certificates: TestCertificates.authority, revoked: Array(list.utf8))
    }
  }
}

@Suite("TLS traffic keys")
struct TLSTrafficKeysTests {
  @Test("Keys follow from secrets as in the published trace (RFC 8448 section 3), whatever the digest")
  func published() throws {
    let secret = try #require(Digest(hexadecimal: "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"))
      .bytes
    let keys = TLSTrafficKeys(.aes128, secret: secret, sequence: 0, identity: 1)
    let key: [UInt8] = [
      0x9f, 0x02, 0x28, 0x3b, 0x6c, 0x9c, 0x07, 0xef, 0xc2, 0x6b, 0xb9, 0xf2, 0xac, 0x92, 0xe3, 0x56,
    ]
    let iv: [UInt8] = [0xcf, 0x78, 0x2b, 0x88, 0xdd, 0x83, 0x54, 0x9a, 0xad, 0xf1, 0xe9, 0x84]
    #expect((0..<16).map { keys.key[$0] } == key && (0..<12).map { keys.nonce[$0] } == iv)
  }
}
