import Core
import HTTP
import Testing

@Suite("ResponseHead")
struct ResponseHeadTests {
  static let limits = HeadLimits(requestLineBytes: 100, fieldCount: 4, headBytes: 300)

  static func ok(_ fields: String) -> String { "HTTP/1.1 200 OK\r\n" + fields + "\r\n" }

  static let refusals: [Refusal] = [
    Refusal("HTTP/2.0 200 OK\r\n\r\n", .unsupportedVersion),
    Refusal("HTTP/1.1 20 OK\r\n\r\n", .malformedStatusLine),
    Refusal("HTTP/1.1 2000 OK\r\n\r\n", .malformedStatusLine),
    Refusal("HTTP/1.1 2x0 OK\r\n\r\n", .malformedStatusLine),
    Refusal("HTTP/1.1  200 OK\r\n\r\n", .malformedStatusLine),
    Refusal("HTTP/1.1 +20 OK\r\n\r\n", .malformedStatusLine),
    Refusal("HTTP/1.1\r\n\r\n", .malformedStatusLine),
    Refusal("http/1.1 200 OK\r\n\r\n", .malformedStatusLine),
    Refusal("<html><body>hello\r\n\r\n", .malformedStatusLine),
    Refusal("\r\nHTTP/1.1 200 OK\r\n\r\n", .malformedStatusLine),
    Refusal("HTTP/1.1 200 " + String(repeating: "O", count: 100) + "\r\n\r\n", .malformedStatusLine),
    Refusal("HTTP/1.1 099 Odd\r\n\r\n", .statusOutOfRange),
    Refusal("HTTP/1.1 600 Odd\r\n\r\n", .statusOutOfRange),
    Refusal("HTTP/1.1 200 O\0K\r\n\r\n", .controlByte),
    Refusal("HTTP/1.1 200 OK\n\n", .bareLF),
    Refusal(ok("X: a\rb\r\n"), .bareCR),
    Refusal(ok("X: a\r\n b\r\n"), .lineFolding),
    Refusal(ok("X : a\r\n"), .whitespaceBeforeColon),
    Refusal(ok("X\r\n"), .missingColon),
    Refusal(ok("Content-Length: 5\r\nContent-Length: 5\r\n"), .repeatedContentLength),
    Refusal(ok("Content-Length: 5, 5\r\n"), .malformedContentLength),
    Refusal(ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), .lengthWithTransferEncoding),
    Refusal(ok("Transfer-Encoding: gzip\r\n"), .unsupportedTransferCoding),
    Refusal(ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), .repeatedTransferEncoding),
    Refusal("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInHTTP10),
    Refusal(ok("Connection: content-length\r\nContent-Length: 5\r\n"), .connectionNamesEssential),
    Refusal("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", .bodyInInformational),
    Refusal("HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n", .bodyInInformational),
    Refusal(ok(String(repeating: "X: a\r\n", count: 5)), .tooManyFields),
    Refusal(ok("X: " + String(repeating: "a", count: 300) + "\r\n"), .headTooLarge),
  ]

  @Test("What an upstream may not send is refused", arguments: refusals)
  func refusal(refusal: Refusal) {
    let head = ResponseHead()
    #expect(head.parse(buffer(refusal.request), limits: Self.limits) == .refused(refusal.fault))
    let slow = trickle(refusal.request) { head.parse($0, from: $1, limits: Self.limits) }
    #expect(slow == .refused(refusal.fault), "byte by byte")
  }

  static func accept(_ text: String) -> ResponseHead {
    let head = ResponseHead()
    #expect(head.parse(buffer(text), limits: HeadLimits()) == .complete(byteCount: text.utf8.count))
    let slow = ResponseHead()
    #expect(
      trickle(text) { slow.parse($0, from: $1, limits: HeadLimits()) } == .complete(byteCount: text.utf8.count))
    return head
  }

  @Test("A response is read whole")
  func whole() {
    let head = Self.accept(
      "HTTP/1.1 404 Not Found\r\nServer: x\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 9\r\n\r\n")
    #expect(head.status == 404)
    #expect(head.bytes(head.reason).text == "Not Found")
    #expect(!head.isHTTP10)
    #expect(head.keepsAlive)
    #expect(!head.isInformational)
    #expect(head.upgrade == nil)
    #expect(head.fieldCount == 4)
    #expect(head.firstIndex(of: .setCookie) == 1)
    #expect(head.nextIndex(of: .setCookie, after: 1) == 2)
    #expect(head.framing(for: .get) == .length(9))
  }

  @Test("A reason may be empty or missing", arguments: ["HTTP/1.1 200 \r\n\r\n", "HTTP/1.1 200\r\n\r\n"])
  func noReason(text: String) { #expect(Self.accept(text).reason.isEmpty) }

  @Test(
    "The body's end follows from status, fields and method",
    arguments: [
      ("200 OK", "", Method.get, BodyFraming.untilClose), ("200 OK", "Content-Length: 5\r\n", .get, .length(5)),
      ("200 OK", "Transfer-Encoding: CHUNKED\r\n", .get, .chunked), ("200 OK", "Content-Length: 5\r\n", .head, .none),
      ("200 OK", "", .head, .none), ("204 No Content", "", .get, .none), ("304 Not Modified", "", .get, .none),
      ("304 Not Modified", "Content-Length: 5\r\n", .get, .none), ("100 Continue", "", .post, .none),
      ("204 No Content", "Content-Length: 0\r\n", .get, .none), ("103 Early Hints", "", .get, .none),
      ("500 Oh", "Content-Length: 0\r\n", .post, .length(0)),
    ])
  func framing(status: String, fields: String, method: Method, framing: BodyFraming) {
    #expect(Self.accept("HTTP/1.1 \(status)\r\n\(fields)\r\n").framing(for: method) == framing)
  }

  @Test("A 204 that announces a body does not keep its connection, and the announcement is dropped")
  func noContent() throws {
    let head = Self.accept("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")
    #expect(!head.keepsAlive)
    #expect(head.field(try #require(head.firstIndex(of: .contentLength))).isDropped)
    #expect(Self.accept("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").keepsAlive)
    #expect(!Self.accept("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n").keepsAlive)
  }

  @Test("Informational responses are told from final ones, and a switch of protocols from both")
  func informational() throws {
    #expect(Self.accept("HTTP/1.1 100 Continue\r\n\r\n").isInformational)
    #expect(!Self.accept("HTTP/1.1 200 OK\r\n\r\n").isInformational)
    let head = Self.accept("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    #expect(!head.isInformational)
    #expect(head.bytes(try #require(head.upgrade)).text == "websocket")
    #expect(Self.accept("HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").upgrade == nil)
  }

  @Test("An HTTP/1.0 upstream keeps its connection only if it says so")
  func http10() {
    #expect(!Self.accept("HTTP/1.0 200 OK\r\n\r\n").keepsAlive)
    #expect(Self.accept("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n").keepsAlive)
    #expect(!Self.accept("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").keepsAlive)
  }
}
