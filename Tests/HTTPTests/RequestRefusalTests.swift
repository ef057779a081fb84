import Core
import HTTP
import Testing

/// One request that is refused, why, and how it is answered.
struct Refusal: CustomTestStringConvertible, Sendable {
  let request: String
  let fault: HTTPFault
  let status: Int

  init(_ request: String, _ fault: HTTPFault, _ status: Int = 400) {
    self.request = request
    self.fault = fault
    self.status = status
  }

  var testDescription: String { "\(fault): \(request.debugDescription)" }
}

@Suite("RequestHead, refusals")
struct RequestRefusalTests {
  static let limits = HeadLimits(requestLineBytes: 200, fieldCount: 8, headBytes: 600)

  static func get(_ fields: String) -> String { "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" }
  static func post(_ fields: String) -> String { "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" }
  static func target(_ target: String) -> String { "GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n" }
  static func host(_ host: String) -> String { "GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n" }

  static let lines: [Refusal] = [
    Refusal("GET / HTTP/1.1\nHost: a\r\n\r\n", .bareLF),
    Refusal(get("X: a\nY: b\r\n"), .bareLF),
    Refusal(get("X: a\rY: b\r\n"), .bareCR),
    Refusal("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", .bareCR),
    Refusal(get("X: a\0b\r\n"), .controlByte),
    Refusal(get("X: a\u{1}b\r\n"), .controlByte),
    Refusal(get("X: a\u{b}\r\n"), .controlByte),
    Refusal(get("X: a\u{7f}\r\n"), .controlByte),
    Refusal("GET /\u{0} HTTP/1.1\r\nHost: a\r\n\r\n", .controlByte),
    Refusal(get("X : a\r\n"), .whitespaceBeforeColon),
    Refusal(get("X\t: a\r\n"), .whitespaceBeforeColon),
    Refusal(get("X: a\r\n b\r\n"), .lineFolding),
    Refusal(get("X: a\r\n\tb: c\r\n"), .lineFolding),
    Refusal("GET / HTTP/1.1\r\n Host: a\r\n\r\n", .lineFolding),
    Refusal(get("X Y: a\r\n"), .malformedFieldName),
    Refusal(get(": a\r\n"), .malformedFieldName),
    Refusal(get("X\u{e9}: a\r\n"), .malformedFieldName),
    Refusal(get("X(y): a\r\n"), .malformedFieldName),
    Refusal(get("Content-Length\u{a0}: 5\r\n"), .malformedFieldName),
    Refusal(get("X-Name-That-Is-Longer-Than-One-Register\u{22}: a\r\n"), .malformedFieldName),
    Refusal(get("X\r\n"), .missingColon),
    Refusal(get(String(repeating: "X: a\r\n", count: 8)), .tooManyFields, 431),
    Refusal(get("X: " + String(repeating: "a", count: 600) + "\r\n"), .headTooLarge, 431),
    Refusal(get("X: " + String(repeating: "a", count: 600)), .headTooLarge, 431),
  ]

  static let bodies: [Refusal] = [
    Refusal(post("Content-Length: 5\r\nContent-Length: 5\r\n"), .repeatedContentLength),
    Refusal(post("Content-Length: 5\r\ncontent-length: 6\r\n"), .repeatedContentLength),
    Refusal(post("Content-Length: 5, 5\r\n"), .malformedContentLength),
    Refusal(post("Content-Length: 5,6\r\n"), .malformedContentLength),
    Refusal(post("Content-Length: \r\n"), .malformedContentLength),
    Refusal(post("Content-Length: +5\r\n"), .malformedContentLength),
    Refusal(post("Content-Length: -5\r\n"), .malformedContentLength),
    Refusal(post("Content-Length: 0x5\r\n"), .malformedContentLength),
    Refusal(post("Content-Length: 5 5\r\n"), .malformedContentLength),
    Refusal(post("Content-Length: 5.0\r\n"), .malformedContentLength),
    Refusal(post("Content-Length: \u{b2}\r\n"), .malformedContentLength),
    Refusal(post("Content-Length: 9223372036854775808\r\n"), .malformedContentLength),
    Refusal(post("Content-Length: 18446744073709551621\r\n"), .malformedContentLength),
    Refusal(post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), .lengthWithTransferEncoding),
    Refusal(post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), .lengthWithTransferEncoding),
    Refusal(post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), .repeatedTransferEncoding),
    Refusal(post("Transfer-Encoding: identity\r\n"), .unsupportedTransferCoding),
    Refusal(post("Transfer-Encoding: gzip, chunked\r\n"), .unsupportedTransferCoding),
    Refusal(post("Transfer-Encoding: chunked, chunked\r\n"), .unsupportedTransferCoding),
    Refusal(post("Transfer-Encoding: chunked;q=1\r\n"), .unsupportedTransferCoding),
    Refusal(post("Transfer-Encoding: xchunked\r\n"), .unsupportedTransferCoding),
    Refusal(post("Transfer-Encoding: \"chunked\"\r\n"), .unsupportedTransferCoding),
    Refusal(post("Transfer-Encoding: ,chunked\r\n"), .unsupportedTransferCoding),
    Refusal(post("Transfer-Encoding:\r\n"), .unsupportedTransferCoding),
    Refusal("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInHTTP10),
    Refusal(post("Content-Length: 1\r\nExpect: 200-ok\r\n"), .unmetExpectation, 417),
    Refusal(post("Content-Length: 1\r\nExpect: 100-continue, x\r\n"), .unmetExpectation, 417),
    Refusal(post("Expect: 100-continue\r\nExpect: 100-continue\r\n"), .unmetExpectation, 417),
  ]

  static let requestLines: [Refusal] = [
    Refusal("GET /\r\n\r\n", .malformedRequestLine),
    Refusal("GET\r\n\r\n", .malformedRequestLine),
    Refusal("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
    Refusal("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
    Refusal("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", .malformedRequestLine),
    Refusal("GET / a HTTP/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
    Refusal("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", .malformedMethod),
    Refusal(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
    Refusal("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
    Refusal("GET / http/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
    Refusal("GET / HTTP/11\r\nHost: aaaaaa\r\n\r\n", .malformedRequestLine),
    Refusal("GET / HTTP/1.x\r\nHost: a\r\n\r\n", .malformedRequestLine),
    Refusal("GET / HTTP/2.0\r\nHost: a\r\n\r\n", .unsupportedVersion, 505),
    Refusal("GET / HTTP/0.9\r\nHost: a\r\n\r\n", .unsupportedVersion, 505),
    Refusal("GET / HTTP/1.2\r\nHost: a\r\n\r\n", .unsupportedVersion, 505),
    Refusal("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .unsupportedVersion, 505),
    Refusal("G\u{22}T / HTTP/1.1\r\nHost: a\r\n\r\n", .malformedMethod),
    Refusal(String(repeating: "M", count: 33) + " / HTTP/1.1\r\nHost: a\r\n\r\n", .methodTooLong, 501),
    Refusal("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", .connectNotSupported, 501),
    Refusal(target("/" + String(repeating: "a", count: 200)), .requestLineTooLong, 414),
    Refusal("GET /" + String(repeating: "a", count: 200), .requestLineTooLong, 414),
    Refusal(target("*"), .asteriskNotForMethod),
    Refusal(target("a"), .malformedTarget),
    Refusal(target("a:80"), .malformedTarget),
    Refusal(target("?a"), .malformedTarget),
    Refusal(target("ftp://a/"), .malformedTarget),
    Refusal(target("http:///"), .malformedTarget),
    Refusal(target("http://b/"), .authorityMismatch),
    Refusal(target("http://a:80/"), .authorityMismatch),
    Refusal(target("http://u@a/"), .authorityMismatch),
  ]

  static let paths: [Refusal] = [
    Refusal(target("/a#b"), .fragmentInTarget),
    Refusal(target("/a?b#c"), .fragmentInTarget),
    Refusal(target("http://a#b"), .fragmentInTarget),
    Refusal(target("/a\\b"), .malformedTarget),
    Refusal(target("/a<b"), .malformedTarget),
    Refusal(target("/a\u{22}b"), .malformedTarget),
    Refusal(target("/a\u{e9}b"), .malformedTarget),
    Refusal(target("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{b}"), .malformedTarget),
    Refusal(target("/a?b=\u{22}c\u{22}"), .malformedTarget),
    Refusal(target("/a?b=\u{ff}"), .malformedTarget),
    Refusal(target("/.."), .dotSegment),
    Refusal(target("/."), .dotSegment),
    Refusal(target("/a/../b"), .dotSegment),
    Refusal(target("/a/./b"), .dotSegment),
    Refusal(target("/aaaaaaaaaaaaaa/../b"), .dotSegment),
    Refusal(target("/aaaaaaaaaaaaaaa/../b"), .dotSegment),
    Refusal(target("/a/..;v=1/b"), .dotSegment),
    Refusal(target("/a/%2e%2e/b"), .encodedDot),
    Refusal(target("/a/.%2E/b"), .encodedDot),
    Refusal(target("/a%2Ehtml"), .encodedDot),
    Refusal(target("/a%2Fb"), .encodedSeparator),
    Refusal(target("/a%5cb"), .encodedSeparator),
    Refusal(target("/a%00b"), .encodedControl),
    Refusal(target("/a%0d%0ab"), .encodedControl),
    Refusal(target("/a%7Fb"), .encodedControl),
    Refusal(target("/a%"), .malformedEscape),
    Refusal(target("/a%2"), .malformedEscape),
    Refusal(target("/a%gg"), .malformedEscape),
    Refusal(target("/a%u0041"), .malformedEscape),
    Refusal(target("//a"), .emptySegment),
    Refusal(target("/a//b"), .emptySegment),
    Refusal(target("/aaaaaaaaaaaaaa//b"), .emptySegment),
    Refusal(target("/a//"), .emptySegment),
  ]

  static let hosts: [Refusal] = [
    Refusal("GET / HTTP/1.1\r\n\r\n", .missingHost),
    Refusal("GET http://a/ HTTP/1.1\r\n\r\n", .missingHost),
    Refusal(get("Host: a\r\n"), .repeatedHost),
    Refusal("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", .repeatedHost),
    Refusal(host(""), .malformedHost),
    Refusal(host("u@a"), .malformedHost),
    Refusal(host("a, b"), .malformedHost),
    Refusal(host("a b"), .malformedHost),
    Refusal(host("a/b"), .malformedHost),
    Refusal(host("a%2eb"), .malformedHost),
    Refusal(host("a:"), .malformedHost),
    Refusal(host(":80"), .malformedHost),
    Refusal(host("a:65536"), .malformedHost),
    Refusal(host("a:8x"), .malformedHost),
    Refusal(host("a:-1"), .malformedHost),
    Refusal(host("a:80:80"), .malformedHost),
    Refusal(host("2001:db8::1"), .malformedHost),
    Refusal(host("[2001:db8::1"), .malformedHost),
    Refusal(host("[2001:db8::g]"), .malformedHost),
    Refusal(host("[fe80::1%25eth0]"), .malformedHost),
    Refusal(host("[192.0.2.1]"), .malformedHost),
    Refusal(host("[::1]80"), .malformedHost),
    Refusal(host(String(repeating: "a", count: 256)), .malformedHost),
    Refusal(get("Connection: close, host\r\n"), .connectionNamesEssential),
    Refusal(get("Connection: Content-Length\r\n"), .connectionNamesEssential),
    Refusal(get("Connection: x-forwarded-for\r\n"), .connectionNamesEssential),
    Refusal(get("Connection: authorization\r\n"), .connectionNamesEssential),
    Refusal(get("Connection: close x\r\n"), .malformedConnection),
    Refusal(get("Connection: a\(String(repeating: ",a", count: 32))\r\n"), .malformedConnection),
    Refusal(get("Connection: \"close\"\r\n"), .malformedConnection),
  ]

  @Test("A request that two readers could read two ways is refused", arguments: lines + bodies)
  func ambiguous(refusal: Refusal) { check(refusal) }

  @Test("A request line that is not one is refused", arguments: requestLines)
  func requestLine(refusal: Refusal) { check(refusal) }

  @Test("A path with a second spelling is refused", arguments: paths)
  func path(refusal: Refusal) { check(refusal) }

  @Test("A host that is not one, or not the only one, is refused", arguments: hosts)
  func host(refusal: Refusal) { check(refusal) }

  private func check(_ refusal: Refusal) {
    let head = RequestHead()
    #expect(head.parse(buffer(refusal.request), limits: Self.limits) == .refused(refusal.fault))
    #expect(refusal.fault.status == refusal.status)
    let slow = trickle(refusal.request) { head.parse($0, from: $1, limits: Self.limits) }
    #expect(slow == .refused(refusal.fault), "byte by byte")
  }

  @Test("Every fault has a reason of its own")
  func reasons() {
    let reasons = Set(HTTPFault.allCases.map { "\($0.reason)" })
    #expect(reasons.count == HTTPFault.allCases.count)
  }

  @Test("A field beyond the limits is refused before the head has ended")
  func earlyRefusal() {
    let head = RequestHead()
    let open = "GET / HTTP/1.1\r\n" + String(repeating: "X: a\r\n", count: 9)
    #expect(head.parse(buffer(open), limits: Self.limits) == .refused(.tooManyFields))
    #expect(head.parse(buffer("GET / HTTP/1.1\r\nX: " + "\0"), limits: Self.limits) == .refused(.controlByte))
  }
}
