import Core
import Pipeline
import Policies
import Testing

@testable import Policies

@Suite("headers")
struct HeadersTests {
  func bench(_ policy: String) throws -> Bench {
    let bench = try Bench(consumers: [
      Consumer(id: "one", tenant: "acme", keys: [ConsumerKey(id: "a", digest: digest("k"))])
    ])
    #expect(try bench.use(policy, "{ type: \"api-key\", optional: true }") == [])
    return bench
  }

  @Test(
    "Fields that frame or route messages, broken templates and unknown variables are refused",
    arguments: [
      ("request: { set: { \"Content-Length\": \"0\" } }", "request.set: Content-Length is the gateway's own"),
      ("response: { remove: [\"transfer-encoding\"] }", "response.remove: transfer-encoding is the gateway's own"),
      ("request: { add: { Host: \"b\" } }", "request.add: Host decides where a request goes"),
      ("request: { add: { \"A B\": \"b\" } }", "request.add: \"A B\" is not a field name"),
      ("request: { set: { A: \"${client\" } }", "request.set: A: \"${\" is not closed"),
      ("request: { set: { A: \"${consumer.name}\" } }", "request.set: A: there is no variable \"consumer.name\""),
    ])
  func wrong(options: String, remark: String) {
    #expect(make("{ type: \"headers\", \(options) }").remarks == [remark])
  }

  @Test("Variables are filled in, and a field that comes out empty is not sent")
  func variables() throws {
    let bench = try bench(
      """
      { type: "headers", request: { set: {
        "X-A": "${consumer.id}/${consumer.tenant}/${key.id}", "X-B": "<${client.ip}> ${request.method} ${request.path}",
        "X-C": "${header.X-In}", "X-D": "${request.id} ${route.id} ${request.scheme} $${x} $5", "X-E": "${consumer.groups}" } } }
      """)
    let outcome = bench.send("GET /a/b?c HTTP/1.1\nHost: a\nX-API-Key: k\nX-In: in", from: "2001:db8::1")
    #expect(
      outcome.requestFields
        == "X-A: one/acme/a\r\nX-B: <2001:db8::1> GET /a/b\r\nX-C: in\r\nX-D: 00000000000000000000000000000abc orders http ${x} $5\r\n"
    )
    #expect(bench.send("GET / HTTP/1.1\nHost: a").requestFields.hasPrefix("X-A: //\r\nX-B: <192.0.2.1> GET /\r\nX-D: "))
  }

  @Test("What is removed or set does not pass in another spelling that CGI takes for the same")
  func underscores() throws {
    let bench = try bench("{ type: \"headers\", request: { set: { \"X-A-B\": \"1\" }, remove: [\"x_c\"] } }")
    let outcome = bench.send("GET / HTTP/1.1\nHost: a\nX_A_B: 0\nx-a_b: 0\nX-C: 0\nX_C: 0\nX_A: 0")
    #expect(outcome.passed == ["host", "x_a"])
  }

  @Test("Setting replaces all fields of the name, adding keeps them, removing drops them, in any case")
  func changes() throws {
    let bench = try bench(
      """
      { type: "headers",
        request: { set: { "X-A": "1" }, add: { "X-B": "2" }, remove: ["x-c", "Cookie"] },
        response: { set: { "Server": "s" }, remove: ["X-Powered-By"] } }
      """)
    let outcome = bench.send(
      "GET / HTTP/1.1\nHost: a\nx-a: 0\nX-A: 00\nX-B: 0\nX-C: 0\ncookie: a=b\nX-c: 1\nX-Cc: 2")
    #expect(outcome.passed == ["host", "x-b", "x-cc"])
    #expect(outcome.requestFields == "X-A: 1\r\nX-B: 2\r\n")
    #expect(outcome.responseFields == "Server: s\r\n")
    #expect(bench.respond("HTTP/1.1 200 OK\nserver: x\nX-POWERED-BY: y\nX-Z: z") == ["x-z"])
  }
}
