import Core
import Pipeline
import Policies
import Testing

@testable import Policies

@Suite("body-limit")
struct BodyLimitTests {
  @Test("A declared body beyond the limit is refused, one at the limit passes")
  func bodyLimit() throws {
    let bench = try Bench()
    #expect(try bench.use("{ type: \"body-limit\", limit: \"1KiB\" }") == [])
    let beyond = bench.send("POST / HTTP/1.1\nHost: a\nContent-Length: 1025")
    #expect(beyond.verdict == "413" && beyond.code == "body-too-large")
    #expect(bench.send("POST / HTTP/1.1\nHost: a\nContent-Length: 1024").verdict == "next")
    var chunked = Exchange()
    #expect(
      bench.send("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked", keep: { chunked = $0 }).verdict == "next")
    #expect(chunked.bodyLimit == 1024)
  }
}
