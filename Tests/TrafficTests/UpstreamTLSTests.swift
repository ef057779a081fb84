import Core
import Crypto
import Testing

@testable import Traffic

@Suite struct UpstreamTLSTests {
  @Test("A session is resumed only where the same name was verified, at the same address")
  func resumption() throws {
    var settings = TLSClientSettings()
    settings.verifies = false
    let context = try TLSClientContext(settings)
    func resumption(_ name: String?, serverName: String? = nil, port: UInt16 = 443) -> String {
      var options = UpstreamTLSOptions()
      options.serverName = serverName
      let state = EndpointState(
        id: 0, address: .ip(IPAddress(v4: 0x0a00_0001), port: port), upstream: UpstreamState(name: "up"),
        joinedAt: Instant(nanoseconds: 0))
      let tls = UpstreamTLS(options, context: context, identity: "same")
      return tls.resumption(of: Endpoint(state: state, weight: 1, name: name))
    }
    #expect(resumption("a.test") == resumption("a.test"))
    #expect(resumption("a.test") != resumption("b.test"))
    #expect(resumption("a.test") != resumption("a.test", port: 444))
    #expect(resumption(nil) != resumption("a.test"))
    #expect(resumption("a.test", serverName: "c.test") == resumption("b.test", serverName: "c.test"))
  }
}
