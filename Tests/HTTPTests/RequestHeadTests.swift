import Core
import HTTP
import Testing

/// The bytes of `range` of `head` as text.
func text(_ head: RequestHead, _ range: ByteRange) -> String {
  unsafe head.bytes(range).withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
}

func buffer(_ text: String) -> ByteBuffer {
  let buffer = ByteBuffer(capacity: text.utf8.count)
  buffer.append(utf8: text)
  return buffer
}

@Suite("RequestHead")
struct RequestHeadTests {
  @Test("A browser's request is read whole")
  func browser() {
    let head = RequestHead()
    let source = "GET /v1/orders/42?full=1 HTTP/1.1\r\nHost: api.example.com:8080\r\nAccept: */*\r\nX-Odd: \r\n\r\n"
    #expect(head.parse(buffer(source), limits: HeadLimits()) == .complete(byteCount: source.utf8.count))
    #expect(head.method == .get)
    #expect(text(head, head.target) == "/v1/orders/42?full=1")
    #expect(text(head, head.path) == "/v1/orders/42")
    #expect(text(head, head.query) == "full=1")
    #expect(text(head, head.authority) == "api.example.com:8080")
    #expect(text(head, head.host) == "api.example.com")
    #expect(head.port == 8080)
    #expect(head.keepsAlive)
    #expect(head.framing == .none)
    #expect(head.fieldCount == 3)
    #expect(head.field(1).name == .accept)
    #expect(head.field(2).name == .other)
    #expect(head.field(2).valueCount == 0)
  }
}
