import Core
import HTTP
import Testing

/// The examples of the standards that the HTTP room implements, and the cases of the W3C's own test suite.
@Suite("Published vectors, HTTP")
struct HTTPVectorTests {
  private static func span(_ text: String) -> ByteBuffer {
    let buffer = ByteBuffer()
    buffer.append(utf8: text)
    return buffer
  }

  private static func text(_ bytes: RawSpan) -> String { String(decoding: bytes.array, as: UTF8.self) }

  @Test(
    "RFC 9112 section 3.2: forms of the request target",
    arguments: [
      ("GET /where?q=now HTTP/1.1\r\nHost: www.example.org\r\n\r\n", "/where", "www.example.org"),
      (
        "GET http://www.example.org/pub/WWW/TheProject.html HTTP/1.1\r\nHost: www.example.org\r\n\r\n",
        "/pub/WWW/TheProject.html", "www.example.org"
      ),
      ("OPTIONS * HTTP/1.1\r\nHost: www.example.org:8001\r\n\r\n", "*", "www.example.org:8001"),
      (
        "GET /pub/WWW/ HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: curl/7.64.1\r\nAccept-Language: en, mi\r\n\r\n",
        "/pub/WWW/", "www.example.org"
      ),
    ])
  func targets(request: String, path: String, authority: String) {
    let head = RequestHead()
    #expect(head.parse(Self.span(request), limits: HeadLimits()) == .complete(byteCount: request.utf8.count))
    #expect(Self.text(head.bytes(head.path)) == path)
    #expect(Self.text(head.bytes(head.authority)) == authority)
  }

  @Test("RFC 9112 section 3.2.3: authority-form is for CONNECT, which a gateway does not serve")
  func connect() {
    let request = Self.span("CONNECT www.example.com:80 HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
    #expect(RequestHead().parse(request, limits: HeadLimits()) == .refused(.connectNotSupported))
  }

  @Test(
    "RFC 9110 section 5.6.1: members of a list, empty ones ignored",
    arguments: [
      ("foo,bar", ["foo", "bar"]), ("foo ,bar,", ["foo", "bar"]), ("foo , ,bar,charlie", ["foo", "bar", "charlie"]),
      ("", []), (",", []), (",   ,", []),
    ] as [(String, [String])])
  func lists(value: String, members: [String]) {
    let bytes = Array(value.utf8)
    var list = ListReader(RawSpan(bytes))
    var found: [String] = []
    while let member = list.next() { found.append(String(decoding: bytes[member], as: UTF8.self)) }
    #expect(found == members)
  }

  @Test(
    "RFC 7239 section 4: the address that an element names, or none",
    arguments: [
      ("Forwarded: for=\"_gazonk\"", "10.0.0.1"), ("Forwarded: For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
      ("Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
      ("Forwarded: for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
      ("Forwarded: for=192.0.2.43, for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
      ("X-Forwarded-For: 192.0.2.43, 2001:db8:cafe::17", "2001:db8:cafe::17"),
      ("Forwarded: for=192.0.2.43, for=\"[2001:db8:cafe::17]\", for=unknown", "10.0.0.1"),
      ("Forwarded: for=_hidden, for=_SEVKISEK", "10.0.0.1"),
    ])
  func forwarded(field: String, client: String) throws {
    let head = RequestHead()
    let request = Self.span("GET / HTTP/1.1\r\nHost: a\r\n\(field)\r\n\r\n")
    #expect(head.parse(request, limits: HeadLimits()) == .complete(byteCount: request.count))
    let peer = try #require(IPAddress("10.0.0.1"))
    #expect("\(ClientAddress.find(head, peer: peer) { $0 == peer })" == client)
  }

  static let trace = "12345678901234567890123456789012"
  static let parent = "1234567890123456"

  @Test(
    "W3C Trace Context, test suite: a traceparent that is taken",
    arguments: [
      "00-\(trace)-\(parent)-01", "00-\(trace)-\(parent)-00", "cc-\(trace)-\(parent)-01",
      "cc-\(trace)-\(parent)-01-what-the-future-will-be-like",
      "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
    ])
  func traceparent(value: String) { #expect(TraceParent(parsing: Self.span(value).bytes) != nil) }

  @Test(
    "W3C Trace Context, test suite: a traceparent that starts a new trace",
    arguments: [
      "00-\(trace)-\(parent)-01-what-the-future-will-be-like",
      "cc-\(trace)-\(parent)-01.what-the-future-will-not-be-like",
      "ff-\(trace)-\(parent)-01", ".0-\(trace)-\(parent)-01", "0.-\(trace)-\(parent)-01", "000-\(trace)-\(parent)-01",
      "0-\(trace)-\(parent)-01", "00-00000000000000000000000000000000-\(parent)-01",
      "00-.2345678901234567890123456789012-\(parent)-01", "00-1234567890123456789012345678901.-\(parent)-01",
      "00-123456789012345678901234567890123-\(parent)-01", "00-1234567890123456789012345678901-\(parent)-01",
      "00-\(trace)-0000000000000000-01", "00-\(trace)-.234567890123456-01", "00-\(trace)-123456789012345.-01",
      "00-\(trace)-12345678901234567-01", "00-\(trace)-123456789012345-01", "00-\(trace)-\(parent)-.0",
      "00-\(trace)-\(parent)-0.", "00-\(trace)-\(parent)-001", "00-\(trace)-\(parent)-1", "00-\(trace)-\(parent)",
    ])
  func newTrace(value: String) { #expect(TraceParent(parsing: Self.span(value).bytes) == nil) }

  @Test(
    "PROXY protocol section 2.1: the longest lines",
    arguments: [
      "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
      "PROXY UNKNOWN\r\n",
      "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
    ])
  func proxyLines(line: String) {
    guard case .complete(let count, _, _) = ProxyHeader.parse(Self.span(line).bytes) else {
      Issue.record("not taken")
      return
    }
    #expect(count == line.utf8.count)
  }
}
