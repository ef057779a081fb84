import Core
import Pipeline
import Policies
import Testing

@testable import Policies

@Suite("respond")
struct RespondTests {
  @Test("A fixed answer has its status, fields and body, and no body where its status has none")
  func respond() throws {
    #expect(
      make("{ type: \"respond\", status: 204, body: \"x\" }").remarks == ["body: a response of status 204 has no body"])
    #expect(make("{ type: \"respond\", status: 101 }").remarks.count == 1)
    let bench = try Bench()
    let policy =
      "{ type: \"respond\", status: 503, contentType: \"text/html\", body: \"<p>soon</p>\\n\", headers: { \"Cache-Control\": \"no-store\" } }"
    #expect(try bench.use(policy) == [])
    let outcome = bench.send("GET / HTTP/1.1\nHost: a")
    #expect(outcome.verdict == "503" && outcome.body == "<p>soon</p>\n")
    #expect(outcome.responseFields == "Cache-Control: no-store\r\nContent-Type: text/html\r\n")
  }
}
