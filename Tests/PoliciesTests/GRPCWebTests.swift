import Core
import HTTP
import Pipeline
import Policies
import Testing

@Suite("grpc-web")
struct GRPCWebTests {
  private let policy = "{ type: \"grpc-web\" }"

  /// Sends a request with these lines behind `Host`, and hands over the exchange.
  private func send(
    _ bench: Bench, _ fields: String, line: String = "POST /chat.Chat/Say HTTP/1.1",
    keep: @escaping (Exchange) -> Void = { _ in }
  ) -> Outcome {
    bench.send("\(line)\nHost: a\n\(fields)", keep: keep)
  }

  @Test(
    "What is no call of gRPC-Web passes as it is",
    arguments: [
      ("POST / HTTP/1.1", "Content-Type: application/grpc"), ("POST / HTTP/1.1", "Content-Type: application/json"),
      ("POST / HTTP/1.1", "X-Grpc-Web: 1"), ("GET / HTTP/1.1", "Content-Type: application/grpc-web"),
      ("OPTIONS / HTTP/1.1", "Access-Control-Request-Method: POST"),
    ])
  func others(line: String, field: String) throws {
    let bench = try Bench()
    #expect(try bench.use(policy) == [])
    var call: GRPCWebCall?
    let outcome = send(bench, field, line: line) { call = $0.webCall }
    #expect(outcome.verdict == "next" && call == nil && outcome.requestFields.isEmpty)
    #expect(outcome.passed == ["host", String(field.prefix { $0 != ":" }).lowercased()])
  }

  @Test("A call goes on as one of gRPC, and says that trailers are taken")
  func request() throws {
    let bench = try Bench()
    try bench.use(policy)
    var call: GRPCWebCall?
    let outcome = send(bench, "Content-Type: application/grpc-web-text+json\nX-Grpc-Web: 1") { call = $0.webCall }
    #expect(outcome.verdict == "next" && outcome.passed == ["host", "x-grpc-web"])
    #expect(outcome.requestFields == "Content-Type: application/grpc+json\r\nTE: trailers\r\n")
    #expect(call?.isRequestEncoded == true && call?.isResponseEncoded == true)
  }

  @Test(
    "An answer of gRPC gets its type, and is translated where it has a body; others pass as they are",
    arguments: [
      ("Content-Type: application/grpc\nTransfer-Encoding: chunked", true, "application/grpc-web+proto"),
      ("Content-Type: application/grpc+proto\nContent-Length: 0", false, "application/grpc-web+proto"),
      ("Content-Type: application/grpc\nContent-Length: 9", false, nil),
      ("Content-Type: text/html\nTransfer-Encoding: chunked", false, nil),
      ("Transfer-Encoding: chunked", false, nil),
    ] as [(String, Bool, String?)])
  func response(fields: String, isTranslated: Bool, type: String?) throws {
    let policy = try #require(make(policy).step?.policy as? GRPCWeb)
    let bench = try Bench()
    try bench.use(self.policy)
    var exchange = Exchange()
    _ = send(bench, "Content-Type: application/grpc-web") { exchange = $0 }
    let buffer = ByteBuffer()
    buffer.append(utf8: "HTTP/1.1 200 OK\r\n\(fields.replacing("\n", with: "\r\n"))\r\n\r\n")
    let response = ResponseHead()
    guard case .complete = response.parse(buffer, limits: HeadLimits()) else {
      Issue.record("no head")
      return
    }
    policy.onResponse(&exchange, response, bench.services)
    #expect((exchange.webCall != nil) == isTranslated)
    #expect(exchange.responseFieldsIfAny?.text == type.map { "Content-Type: \($0)\r\n" })
    #expect(
      response.firstIndex(of: .contentType).map { response.field($0).isDropped } ?? (type != nil) == (type != nil))
  }

  @Test("In shadow nothing is translated")
  func shadow() throws {
    let bench = try Bench()
    try bench.use("{ type: \"grpc-web\", mode: \"shadow\" }")
    var call: GRPCWebCall?
    let outcome = send(bench, "Content-Type: application/grpc-web") { call = $0.webCall }
    #expect(call == nil && outcome.passed == ["host", "content-type"] && outcome.requestFields.isEmpty)
  }

  @Test("With the exchange the call is forgotten")
  func reset() throws {
    let bench = try Bench()
    try bench.use(policy)
    var exchange = Exchange()
    _ = send(bench, "Content-Type: application/grpc-web") { exchange = $0 }
    #expect(exchange.webCall != nil)
    exchange.reset()
    #expect(exchange.webCall == nil)
  }
}
