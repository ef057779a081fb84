import Core
import HTTP
import Testing

@Suite("RequestHead")
struct RequestHeadTests {
  /// A head that must be accepted, whole and byte by byte.
  static func accept(_ text: String, _ limits: HeadLimits = HeadLimits()) -> RequestHead {
    let head = RequestHead()
    let end = text.range(of: "\r\n\r\n", after: text.hasPrefix("\r\n") ? 2 : 0)
    #expect(head.parse(buffer(text), limits: limits) == .complete(byteCount: end))
    let slow = RequestHead()
    #expect(trickle(text) { slow.parse($0, from: $1, limits: limits) } == .complete(byteCount: end))
    return head
  }

  static func get(_ fields: String) -> RequestHead { accept("GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n") }

  @Test("A browser's request is read whole")
  func browser() {
    let head = Self.accept(
      "GET /v1/orders/42?full=1 HTTP/1.1\r\nHost: api.example.com:8080\r\nAccept: */*\r\nX-Odd: \r\n\r\n")
    #expect(head.method == .get)
    #expect(head.bytes(head.methodText).text == "GET")
    #expect(head.bytes(head.target).text == "/v1/orders/42?full=1")
    #expect(head.bytes(head.path).text == "/v1/orders/42")
    #expect(head.bytes(head.query).text == "full=1")
    #expect(head.bytes(head.authority).text == "api.example.com:8080")
    #expect(head.bytes(head.host).text == "api.example.com")
    #expect(head.port == 8080)
    #expect(!head.isHTTP10)
    #expect(head.keepsAlive)
    #expect(head.framing == .none)
    #expect(!head.expectsContinue)
    #expect(head.upgrade == nil)
    #expect(head.fieldCount == 3)
    #expect(head.field(1).name == .accept)
    #expect(head.field(2).name == .other)
    #expect(head.name(of: 2).text == "X-Odd")
    #expect(head.value(of: 2).text == "")
  }

  @Test("What follows the head stays in the buffer and is not looked at")
  func pipelining() {
    let first = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
    let head = RequestHead()
    #expect(
      head.parse(buffer(first + "\u{0}\n garbage"), limits: HeadLimits()) == .complete(byteCount: first.utf8.count))
  }

  @Test(
    "An empty or unfinished head is incomplete", arguments: ["", "\r", "\r\n", "G", "GET / HTTP/1.1\r\nHost: a\r\n\r"])
  func incomplete(text: String) {
    #expect(RequestHead().parse(buffer(text), limits: HeadLimits()) == .incomplete)
  }

  @Test("One empty line before the request is forgiven")
  func leadingLine() {
    let head = Self.accept("\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(head.bytes(head.path).text == "/a")
  }

  @Test("Every known method is recognised, and any other token is kept", arguments: Method.allCases)
  func methods(method: Method) {
    if method == .connect { return }
    let text = method == .other ? "M-SEARCH" : "\(method.name)"
    let head = Self.accept("\(text) / HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(head.method == method)
    #expect(head.bytes(head.methodText).text == text)
    let bytes = Array(text.utf8)
    #expect(Method.of(RawSpan(bytes)) == method)
    let lower = Array(text.lowercased().utf8)
    #expect(Method.of(RawSpan(lower)) == .other)
  }

  @Test("A long method is a method up to its limit")
  func longMethod() {
    let text = String(repeating: "M", count: HeadLimits.methodBytes)
    #expect(Self.accept("\(text) / HTTP/1.1\r\nHost: a\r\n\r\n").method == .other)
  }

  @Test("HTTP/1.0 needs no Host and is kept alive only on request")
  func http10() {
    let plain = Self.accept("GET / HTTP/1.0\r\n\r\n")
    #expect(plain.isHTTP10)
    #expect(!plain.keepsAlive)
    #expect(plain.authority.isEmpty)
    #expect(Self.accept("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keepsAlive)
    #expect(!Self.accept("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n").keepsAlive)
  }

  @Test("An absolute target gives path and authority, which must be those of Host in any case")
  func absoluteForm() {
    let head = Self.accept("GET HTTP://A.example:80/x?y HTTP/1.1\r\nHost: a.example:80\r\n\r\n")
    #expect(head.bytes(head.path).text == "/x")
    #expect(head.bytes(head.query).text == "y")
    #expect(head.bytes(head.host).text == "a.example")
    let bare = Self.accept("GET https://a HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(bare.bytes(bare.path).text == "/")
    #expect(bare.query.isEmpty)
    let query = Self.accept("GET http://a?y=/z HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(query.bytes(query.path).text == "/")
    #expect(query.bytes(query.query).text == "y=/z")
  }

  @Test("OPTIONS may ask about everything")
  func asterisk() {
    let head = Self.accept("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(head.bytes(head.path).text == "*")
  }

  @Test(
    "Paths and queries that browsers send are accepted as they are",
    arguments: [
      "/", "/a/", "/a.b/..c/d..", "/a/...", "/a;v=1,2/(b)!$&'*+=:@~", "/%20%C3%A9%3B%25", "/a|b[c]", "/a?",
      "/a?b=../..//%00",
      "/a?q={\\^`|}&r=%", "/0123456789012/.b", "/01234567890123/.b", "/012345678901234/.b",
    ])
  func targets(target: String) {
    let head = Self.accept("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(head.bytes(head.target).text == target)
    #expect(head.bytes(head.path).text == String(target.prefix { $0 != "?" }))
  }

  @Test(
    "Hosts are split into name and port",
    arguments: [
      ("a", "a", 0), ("a_b.example.com.", "a_b.example.com.", 0), ("127.0.0.1:9001", "127.0.0.1", 9001),
      ("[2001:db8::1]", "[2001:db8::1]", 0), ("[::1]:443", "[::1]", 443), ("a:0", "a", 0), ("A:00080", "A", 80),
      ("a-name-of-more-than-sixteen-bytes.example:65535", "a-name-of-more-than-sixteen-bytes.example", 65535),
    ])
  func hosts(host: String, name: String, port: Int) {
    let head = Self.accept("GET / HTTP/1.1\r\nHost:\t \(host)  \r\n\r\n")
    #expect(head.bytes(head.authority).text == host)
    #expect(head.bytes(head.host).text == name)
    #expect(Int(head.port) == port)
  }

  @Test("Connection decides how long the connection lives, and what it names stays here")
  func connection() {
    let head = Self.get(
      "X-Secret: 1\r\nconnection: Close , x-secret,TE\r\nTE: trailers\r\nKeep-Alive: 5\r\nX-Other: 2\r\n"
        + "Proxy-Connection: x\r\nProxy-Authorization: x\r\nTrailer: y\r\nContent-Type: z\r\n")
    #expect(!head.keepsAlive)
    let dropped = (0..<head.fieldCount).filter { head.field($0).isDropped }.map { head.name(of: $0).text }
    #expect(dropped == ["X-Secret", "connection", "TE", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization"])
    #expect(Self.get("Connection: keep-alive\r\n").keepsAlive)
    #expect(!Self.get("Connection: x\r\nConnection: close\r\n").keepsAlive)
  }

  @Test(
    "A known name with underscores for dashes is not passed on",
    arguments: [
      ("X_Forwarded_For", true), ("content_length", true), ("Transfer-Encoding_", false), ("X_Mine", false),
      ("ACCESS_CONTROL_ALLOW-CREDENTIALS", true), ("_", false), ("x_real_ip", true),
      ("access-control-allow-credential_", false), ("a-long-name-with-an_underscore-late-in-it", false),
    ])
  func underscores(name: String, isDropped: Bool) {
    let head = Self.get("\(name): 1\r\n")
    #expect(head.field(1).name == .other)
    #expect(head.field(1).isDropped == isDropped)
    #expect(head.framing == .none)
  }

  @Test("A body is framed by its length or by chunks")
  func framing() {
    #expect(Self.get("Content-Length: 0\r\n").framing == .length(0))
    #expect(Self.get("Content-Length: 0005\r\n").framing == .length(5))
    #expect(Self.get("Content-Length: 9223372036854775807\r\n").framing == .length(.max))
    let chunked = Self.get("Transfer-Encoding: \t Chunked\t\r\n")
    #expect(chunked.framing == .chunked)
    #expect(chunked.field(1).isDropped)
  }

  @Test("100-continue is expected only where a body will follow")
  func expectation() {
    #expect(Self.get("Content-Length: 5\r\nExpect: 100-Continue\r\n").expectsContinue)
    #expect(Self.get("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n").expectsContinue)
    #expect(!Self.get("Expect: 100-continue\r\n").expectsContinue)
    #expect(!Self.get("Content-Length: 0\r\nExpect: 100-continue\r\n").expectsContinue)
    #expect(!Self.accept("PUT / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").expectsContinue)
  }

  @Test("An upgrade is offered only where Connection asks for it, and never to another HTTP")
  func upgrade() throws {
    let head = Self.get("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n")
    let offer = try #require(head.upgrade)
    #expect(head.bytes(offer).text == "websocket")
    #expect(Self.get("Upgrade: websocket\r\n").upgrade == nil)
    #expect(Self.get("Connection: upgrade\r\n").upgrade == nil)
    #expect(Self.get("Connection: upgrade\r\nUpgrade: h2c\r\n").upgrade == nil)
    #expect(Self.get("Connection: upgrade\r\nUpgrade: websocket, h2c\r\n").upgrade == nil)
    #expect(Self.get("Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n").upgrade == nil)
    #expect(Self.get("Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n").upgrade == nil)
    #expect(Self.accept("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").upgrade == nil)
  }

  @Test("Fields are found by identity, by spelling, and one after another")
  func lookup() {
    let head = Self.get("Cookie: a\r\nX-Mine: b\r\ncookie: c\r\nx-MINE: d\r\nCOOKIE: e\r\n")
    #expect(head.firstIndex(of: .cookie) == 1)
    #expect(head.nextIndex(of: .cookie, after: 1) == 3)
    #expect(head.nextIndex(of: .cookie, after: 3) == 5)
    #expect(head.nextIndex(of: .cookie, after: 5) == nil)
    #expect(head.firstIndex(of: .host) == 0)
    #expect(head.nextIndex(of: .host, after: 0) == nil)
    #expect(head.firstIndex(of: .origin) == nil)
    let name = Array("x-mine".utf8)
    #expect(head.firstIndex(named: RawSpan(name)) == 2)
    head.dropAll(.cookie)
    #expect([1, 3, 5].allSatisfy { head.field($0).isDropped })
    #expect(!head.field(2).isDropped)
  }

  @Test("A head is read again from a copy of its bytes, and from a buffer that is used again")
  func rebinding() {
    let head = RequestHead()
    let shared = buffer("GET /one HTTP/1.1\r\nHost: a\r\n\r\n")
    _ = head.parse(shared, limits: HeadLimits())
    let own = ByteBuffer()
    own.append(shared.bytes)
    head.rebind(to: own)
    shared.removeAll()
    shared.append("XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX")
    #expect(head.bytes(head.path).text == "/one")
    shared.removeAll()
    shared.append("GET /two HTTP/1.1\r\nHost: b\r\nX: y\r\n\r\n")
    _ = head.parse(shared, limits: HeadLimits())
    #expect(head.bytes(head.path).text == "/two")
    #expect(head.fieldCount == 2)
  }

  @Test("Limits are met exactly")
  func limits() {
    let limits = HeadLimits(requestLineBytes: 20, fieldCount: 2, headBytes: 42)
    let head = RequestHead()
    let fits = "GET /123456 HTTP/1.1\r\nHost: a\r\nX: 12345\r\n\r\n"
    #expect(fits.utf8.count == 43)
    #expect(head.parse(buffer(fits), limits: limits) == .refused(.headTooLarge))
    let exact = "GET /123456 HTTP/1.1\r\nHost: a\r\nX: 1234\r\n\r\n"
    #expect(head.parse(buffer(exact), limits: limits) == .complete(byteCount: 42))
    let wide = "GET /1234567 HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n"
    #expect(head.parse(buffer(wide), limits: limits) == .refused(.requestLineTooLong))
  }

  @Test("Lines may end anywhere within a block of 64 bytes", arguments: 0..<140)
  func blockBoundaries(padding: Int) {
    let pad = String(repeating: "p", count: padding)
    let head = Self.accept("GET /\(pad) HTTP/1.1\r\nHost: a\r\nX-Pad: \(pad)\r\n\(pad)y:\t\tz \t\r\nVia: v\r\n\r\n")
    #expect(head.path.count == 1 + UInt32(padding))
    #expect(head.value(of: 1).text == pad)
    #expect(head.name(of: 2).text == pad + "y")
    #expect(head.value(of: 2).text == "z")
    #expect(head.field(3).name == .via)
  }
}

extension String {
  /// How many bytes there are up to and with the first `marker` at or behind `offset`.
  func range(of marker: String, after offset: Int) -> Int {
    let bytes = unicodeScalars.map { UInt8($0.value) }
    let wanted = Array(marker.utf8)
    for start in offset...(bytes.count - wanted.count) where Array(bytes[start..<start + wanted.count]) == wanted {
      return start + wanted.count
    }
    return -1
  }
}
