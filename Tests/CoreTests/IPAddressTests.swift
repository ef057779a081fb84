import Core
import Testing

@Suite struct IPAddressTests {
  @Test(
    "A text that is not exactly one address is refused",
    arguments: [
      "", ":", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.04", "1..2.3", ".1.2.3", "1.2.3.", "1.2.3.4 ",
      "0x1.2.3.4", "1.2.3.-4", ":::", "1::2::3", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7::8:9", "1:2:3:4:5:6:7:8::", "12345::", "g::", "fe80::1%eth0", "[::1]", "::1.2.3", "::1.2.3.4:5",
      "1:2:3:4:5:6:7:1.2.3.4", "::ffff:01.2.3.4", "1.2.3.4::", "::1 ", " ::1",
      "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
    ])
  func refused(text: String) { #expect(IPAddress(text) == nil) }

  @Test(
    "Every form of RFC 4291 is read, and written as RFC 5952 says",
    arguments: [
      ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("192.0.2.7", "192.0.2.7"),
      ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:DB8::A", "2001:db8::a"),
      ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
      ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
      ("::ffff:192.0.2.7", "192.0.2.7"), ("::ffff:c000:207", "192.0.2.7"), ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
      ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
      ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
      ("fe80::0:0:1", "fe80::1"), ("0:0:0:0:0:0:0:0", "::"), ("1:0:0:2:0:0:0:0", "1:0:0:2::"),
    ])
  func canonical(text: String, expected: String) throws {
    let address = try #require(IPAddress(text))
    #expect(address.description == expected)
    #expect(IPAddress(expected) == address)
  }

  @Test("What is written is read as the same address")
  func roundTrip() {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2_000 {
      // Masks make zero groups likely.
      let address = IPAddress(
        high: generator.next() & Self.sparse(&generator), low: generator.next() & Self.sparse(&generator))
      #expect(IPAddress(address.description) == address)
    }
  }

  private static func sparse(_ generator: inout SystemRandomNumberGenerator) -> UInt64 {
    var mask: UInt64 = 0
    for _ in 0..<4 { mask = mask << 16 | (Bool.random(using: &generator) ? 0xffff : 0) }
    return mask
  }
}

@Suite struct IPNetworkTests {
  @Test(
    "A text that is not exactly one block is refused",
    arguments: [
      "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.1.0.0/8", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/8/8", "::/129",
      "2001:db8::1/32", "10.0.0.0/255.0.0.0", "10/8", "::/0128",
    ])
  func refused(text: String) { #expect(IPNetwork(text) == nil) }

  @Test(
    "A block holds exactly the addresses that share its prefix",
    arguments: [
      ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false), ("0.0.0.0/0", "203.0.113.9", true),
      ("0.0.0.0/0", "2001:db8::1", false), ("::/0", "2001:db8::1", true), ("::/0", "203.0.113.9", false),
      ("192.0.2.7", "192.0.2.7", true), ("192.0.2.7", "192.0.2.6", false), ("192.0.2.6/31", "192.0.2.7", true),
      ("2001:db8::/32", "2001:db8:ffff::", true), ("2001:db8::/32", "2001:db9::", false),
      ("2001:db8::/65", "2001:db8::7fff:0:0:0", true), ("2001:db8::/65", "2001:db8::8000:0:0:0", false),
      ("::1/128", "::1", true), ("::1", "::2", false), ("::ffff:10.0.0.0/104", "10.1.2.3", true),
    ])
  func membership(block: String, address: String, isMember: Bool) throws {
    let network = try #require(IPNetwork(block))
    #expect(network.contains(try #require(IPAddress(address))) == isMember)
    #expect(IPNetwork(network.description) == network)
  }
}

@Suite struct AddressTextTests {
  @Test(
    "A text that is neither an address nor a name with a port is refused",
    arguments: [
      "", ":80", "localhost", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:+80", "::1:80", "[::1]",
      "[::1]:",
      "[127.0.0.1]:80", "[::1:80", "127.0.0.256:80", "1.2.3:80", "-a:80", "a-:80", "a..b:80", "a b:80", "unix:",
      "http://a:80",
      "a:80:90", "host.1:80", "UNIX:80", String(repeating: "a", count: 64) + ":80",
      "unix:" + String(repeating: "x", count: 108),
    ])
  func refused(text: String) { #expect(AddressText(text) == nil) }

  @Test(
    "Addresses of every kind are read and written alike",
    arguments: [
      ("127.0.0.1:8080", SocketAddress.ip(IPAddress(v4: 0x7f00_0001), port: 8080)),
      ("[::1]:80", .ip(IPAddress(high: 0, low: 1), port: 80)), ("0.0.0.0:0", .ip(IPAddress(v4: 0), port: 0)),
      ("unix:/run/orders.sock", .unix(path: "/run/orders.sock")), ("unix:relative", .unix(path: "relative")),
    ])
  func sockets(text: String, address: SocketAddress) {
    #expect(SocketAddress(text) == address)
    #expect(address.description == text)
  }

  @Test(
    "Host names are told apart and kept in lower case",
    arguments: [
      ("Orders.Example:9001", "orders.example"), ("localhost:9001", "localhost"), ("my_svc-2:9001", "my_svc-2"),
    ])
  func names(text: String, host: String) {
    #expect(AddressText(text) == .name(host: host, port: 9001))
    #expect(SocketAddress(text) == nil)
  }
}
