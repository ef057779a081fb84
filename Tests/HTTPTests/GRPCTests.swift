import Core
import HTTP
import Testing

@Suite("GRPC")
struct GRPCTests {
  @Test(
    "A call is told by its Content-Type",
    arguments: [
      ("application/grpc", true), ("application/grpc+proto", true), ("Application/GRPC;v=1", true),
      ("application/grpc-web", false), ("application/grp", false), ("application/json", false), ("", false),
    ])
  func calls(contentType: String, isCall: Bool) {
    #expect(GRPC.isCall(contentType: RawSpan(Array(contentType.utf8))) == isCall)
  }

  @Test(
    "A timeout is up to eight digits and a unit",
    arguments: [
      ("1S", 1_000_000_000), ("100m", 100_000_000), ("7u", 7_000), ("9n", 9), ("2M", 120_000_000_000),
      ("1H", 3_600_000_000_000), ("99999999H", .max), ("0S", 0), ("S", nil), ("", nil), ("1", nil), ("1s", nil),
      ("-1S", nil), ("123456789S", nil), ("1 S", nil),
    ] as [(String, Int64?)])
  func timeouts(text: String, nanoseconds: Int64?) {
    #expect(GRPC.timeout(RawSpan(Array(text.utf8))) == nanoseconds)
  }

  @Test(
    "Statuses of HTTP become those of calls",
    arguments: [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (503, 14), (418, 2)])
  func statuses(status: UInt16, expected: UInt8) { #expect(GRPC.status(ofHTTP: status) == expected) }

  @Test("A message escapes what a field cannot carry")
  func messages() {
    let buffer = ByteBuffer()
    GRPC.appendMessage(RawSpan(Array("100 % ü\n".utf8)), to: buffer)
    #expect(String(decoding: buffer.bytes.array, as: UTF8.self) == "100 %25 %C3%BC%0A")
  }
}
