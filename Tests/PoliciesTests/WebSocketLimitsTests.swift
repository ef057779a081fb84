import Core
import Pipeline
import Testing

@testable import Policies

@Suite("websocket")
struct WebSocketLimitsTests {
  private static let opening = "GET /chat HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket"

  @Test("Pages of other origins are refused; who sends no origin is no page")
  func origins() throws {
    let bench = try Bench()
    #expect(try bench.use("{ type: \"websocket\", origins: [\"https://a.example\", \"https://*.b.example\"] }") == [])
    for origin in ["https://evil.example", "null", "http://a.example", "https://b.example"] {
      let refused = bench.send("\(Self.opening)\nOrigin: \(origin)")
      #expect(refused.verdict == "403" && refused.code == "origin-denied", "\(origin)")
    }
    #expect(bench.send("\(Self.opening)\nOrigin: https://a.example").verdict == "next")
    #expect(bench.send("\(Self.opening)\nOrigin: https://x.b.example").verdict == "next")
    #expect(bench.send(Self.opening).verdict == "next")
    #expect(bench.send("GET / HTTP/1.1\nHost: a\nOrigin: https://evil.example").verdict == "next")
  }

  @Test("The connection is told its limits; other requests are not")
  func limits() throws {
    let bench = try Bench()
    #expect(try bench.use("{ type: \"websocket\", maxMessage: \"64KiB\", idleTimeout: \"30s\" }") == [])
    var kept = Exchange()
    #expect(bench.send(Self.opening, keep: { kept = $0 }).verdict == "next")
    #expect(kept.messageLimit == 65_536 && kept.tunnelIdle == 30_000_000_000)
    #expect(bench.send("GET / HTTP/1.1\nHost: a", keep: { kept = $0 }).verdict == "next")
    #expect(kept.messageLimit == .max && kept.tunnelIdle == 0)
  }

  @Test("What is no origin is a mistake of the file")
  func mistakes() throws {
    let bench = try Bench()
    #expect(try !bench.use("{ type: \"websocket\", origins: [\"app.example.com\"] }").isEmpty)
    #expect(try !bench.use("{ type: \"websocket\", maxMessage: \"big\" }").isEmpty)
  }
}
