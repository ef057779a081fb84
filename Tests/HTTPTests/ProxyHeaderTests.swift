import Core
import HTTP
import Testing

@Suite("ProxyHeader")
struct ProxyHeaderTests {
  static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]
  static let v4: [UInt8] = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 1, 0xbb]

  static func version2(_ command: UInt8, _ family: UInt8, _ rest: [UInt8]) -> [UInt8] {
    signature + [command, family, UInt8(rest.count >> 8), UInt8(rest.count & 255)] + rest
  }

  static func address(_ text: String, _ port: UInt16) -> SocketAddress { .ip(IPAddress(text)!, port: port) }

  @Test(
    "A line of version 1 that is not exactly one is refused",
    arguments: [
      "GET / HTTP/1.1\r\n", "PROXX TCP4", "PROXY\r\n", "PROXY TCP4\r\n", "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
      "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
      "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n",
      "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
      "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n", "PROXY TCP4 ::1 ::2 1 2\r\n",
      "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\rX",
      "PROXY TCP4 1.1.1.1 2.2.2.2 1 +2\r\n", "PROXY UNKNOWN " + String(repeating: "x", count: 100),
    ])
  func malformed1(text: String) { #expect(ProxyHeader.parse(buffer(text).bytes) == .malformed) }

  @Test(
    "A header of version 2 that is not exactly one is refused",
    arguments: [
      version2(0x11, 0x11, v4), version2(0x22, 0x11, v4), version2(0x21, 0x12, v4), version2(0x21, 0x41, v4),
      version2(0x21, 0x11, [UInt8](v4.dropLast())), version2(0x21, 0x21, [UInt8](repeating: 0, count: 35)),
      version2(0x21, 0x31, [UInt8](repeating: 0, count: 215)), version2(0x21, 0x11, v4 + [1]),
      version2(0x21, 0x11, v4 + [1, 0, 2, 3]), version2(0x20, 0, [UInt8](repeating: 0, count: 5_000)),
      [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 11], [13, 13],
    ])
  func malformed2(bytes: [UInt8]) { #expect(ProxyHeader.parse(RawSpan(bytes)) == .malformed) }

  @Test("Version 1 names both ends")
  func version1() {
    let tcp4 = "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
    #expect(
      ProxyHeader.parse(buffer(tcp4 + "GET").bytes)
        == .complete(
          byteCount: tcp4.utf8.count, source: Self.address("192.0.2.1", 56324),
          destination: Self.address("198.51.100.2", 443)))
    let tcp6 = "PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n"
    #expect(
      ProxyHeader.parse(buffer(tcp6).bytes)
        == .complete(
          byteCount: tcp6.utf8.count, source: Self.address("2001:db8::1", 0),
          destination: Self.address("2001:db8::2", 65535)))
    for text in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN whatever it says\r\n"] {
      #expect(
        ProxyHeader.parse(buffer(text).bytes)
          == .complete(byteCount: text.utf8.count, source: nil, destination: nil))
    }
  }

  @Test("Version 2 names both ends, and extras are skipped")
  func version2Addresses() {
    for extras in [[], [4, 0, 0], [1, 0, 2, 104, 50, 0x20, 0, 1, 7]] as [[UInt8]] {
      let header = Self.version2(0x21, 0x11, Self.v4 + extras)
      #expect(
        ProxyHeader.parse(RawSpan(header + [71]))
          == .complete(
            byteCount: header.count, source: Self.address("192.0.2.1", 56324),
            destination: Self.address("198.51.100.2", 443)))
    }
    let v6 = [UInt8]([0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [1])
    let header = Self.version2(0x21, 0x21, v6 + v6 + [0, 80, 1, 187])
    #expect(
      ProxyHeader.parse(RawSpan(header))
        == .complete(
          byteCount: 52, source: Self.address("2001:db8::1", 80), destination: Self.address("2001:db8::1", 443)))
    func path(_ text: String) -> [UInt8] { Array(text.utf8) + [UInt8](repeating: 0, count: 108 - text.utf8.count) }
    let unix = Self.version2(0x21, 0x31, path("/run/a.sock") + path(String(repeating: "b", count: 108)))
    #expect(
      ProxyHeader.parse(RawSpan(unix))
        == .complete(
          byteCount: 232, source: .unix(path: "/run/a.sock"),
          destination: .unix(path: String(repeating: "b", count: 108))))
  }

  @Test("A balancer that speaks for itself, or does not know, names nobody")
  func local() {
    for header in [Self.version2(0x20, 0, []), Self.version2(0x20, 0x11, Self.v4), Self.version2(0x21, 0, [1, 2, 3])] {
      #expect(
        ProxyHeader.parse(RawSpan(header)) == .complete(byteCount: header.count, source: nil, destination: nil))
    }
  }

  @Test("Every beginning of a header is incomplete")
  func beginnings() {
    let headers = [Array("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n".utf8), Self.version2(0x21, 0x11, Self.v4)]
    for header in headers {
      for count in 0..<header.count {
        #expect(ProxyHeader.parse(RawSpan(Array(header[..<count]))) == .incomplete)
      }
    }
  }
}

@Suite("ProxyHeader, written")
struct ProxyHeaderWritingTests {
  @Test(
    "What is written is read again, byte for byte as long as the protocol says",
    arguments: [
      ("192.0.2.1", "198.51.100.2", 28), ("2001:db8::1", "2001:db8::2", 52), ("192.0.2.1", "2001:db8::2", 52),
      ("0.0.0.0", "255.255.255.255", 28),
    ])
  func roundTrip(source: String, destination: String, length: Int) throws {
    let (from, to) = (try #require(IPAddress(source)), try #require(IPAddress(destination)))
    let buffer = ByteBuffer()
    ProxyHeader.append(source: (from, 56_324), destination: (to, 443), to: buffer)
    #expect(
      ProxyHeader.parse(buffer.bytes)
        == .complete(
          byteCount: length, source: .ip(from, port: 56_324), destination: .ip(to, port: 443)))
    #expect(buffer.count == length)
  }
}
