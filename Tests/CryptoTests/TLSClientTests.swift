import Core
import Testing

@testable import Crypto

@Suite("TLS client")
struct TLSClientTests {
  @Test("Its first words are a handshake record that names the server, unless that is an address")
  func hello() throws {
    let context = try TLSClientContext(authorities: nil, certificate: nil, key: nil)
    let named = try TLSClient(context, name: "redis.test")
    #expect(named.outgoing[0] == 22 && named.outgoing[1] == 3 && !named.isEstablished)
    #expect(text(named.outgoing).contains("redis.test"))
    let numbered = try TLSClient(context, name: "192.0.2.1")
    #expect(!text(numbered.outgoing).contains("192.0.2.1"))
  }

  private func text(_ buffer: ByteBuffer) -> String {
    String(decoding: (0..<buffer.count).map { buffer[$0] }, as: Unicode.ASCII.self)
  }

  @Test("Anything but TLS is refused", arguments: ["-ERR unknown command\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"])
  func notTLS(text: String) throws {
    let context = try TLSClientContext(authorities: nil, certificate: nil, key: nil)
    let client = try TLSClient(context, name: "redis.test")
    let bytes = Array(text.utf8)
    let plain = ByteBuffer()
    var fault: TLSFault?
    do throws(TLSFault) { try client.receive(RawSpan(bytes), into: plain) } catch { fault = error }
    #expect(fault != nil)
    #expect(plain.isEmpty && !client.isEstablished)
  }
}
