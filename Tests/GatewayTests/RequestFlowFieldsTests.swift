import Core
import Simulation
import Testing

@testable import Gateway

@Suite("RequestFlow: fields")
struct RequestFlowFieldsTests {
  @Test("Hop-by-hop fields, and those that Connection names, never cross, in either direction")
  func hopByHop() throws {
    let bench = try FlowBench()
    let origin = bench.origin { connection, _ in
      connection.reply(
        "x",
        "Connection: X-Secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-Open: 2\r\n"
      )
    }
    let response = try bench.exchange(
      get(
        "/",
        "Connection: X-Private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: close\r\n"
          + "Proxy-Authorization: Basic eA==\r\nUpgrade: h2c\r\nX-Public: 2\r\n"))
    let request = try #require(origin.requests.first)
    for name in ["connection", "x-private", "keep-alive", "te", "proxy-connection", "proxy-authorization", "upgrade"] {
      #expect(request[name] == nil, "\(name)")
    }
    #expect(request["x-public"] == "2")
    for name in ["connection", "x-secret", "keep-alive", "proxy-authenticate"] {
      #expect(response[name] == nil, "\(name)")
    }
    #expect(response["x-open"] == "2")
  }

  private static let forged =
    "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n"
    + "X-Forwarded-Host: evil\r\nX-Request-Id: forged\r\n"

  @Test("What an untrusted client says of where it comes from is dropped, and the truth put in its place")
  func spoofed() throws {
    let bench = try FlowBench(FlowSetup(node: "trustedProxies: [\"10.0.0.0/8\"]"))
    let origin = bench.origin()
    let response = try bench.exchange(get("/", Self.forged))
    let request = try #require(origin.requests.first)
    #expect(request["x-forwarded-for"] == "203.0.113.1")
    #expect(request["forwarded"] == "for=203.0.113.1;proto=http;host=\"api.example\"")
    #expect(request["x-forwarded-proto"] == "http")
    #expect(request["x-forwarded-host"] == "api.example")
    #expect(request["x-real-ip"] == nil)
    #expect(request["x-request-id"] != "forged")
    #expect(response["x-request-id"] == request["x-request-id"])
  }

  @Test(
    "Whatever an upstream may take for the caller's identity or way never comes from a stranger, in head or trailers",
    arguments: [
      "X_Consumer_Id", "X-Consumer_Id", "x_forwarded_user", "X-Forwarded-Prefix", "X-Forwarded-Ssl",
      "X_Forwarded_Client_Cert", "X_Real_IP", "True-Client-IP", "Remote_User", "X-Original-URL", "X-UserInfo",
    ])
  func forgedIdentity(name: String) throws {
    let bench = try FlowBench()
    let origin = bench.origin()
    let line = "\(name): forged\r\n"
    _ = try bench.exchange(postChunks("/", "1\r\na\r\n0\r\n\(line)X-Sum: 1\r\n\r\n", line + "X-Open: 1\r\n"))
    let request = try #require(origin.requests.first)
    #expect(request[name.lowercased()] == nil)
    #expect(request["x-open"] == "1")
    #expect(request.trailers.keys.sorted() == ["x-sum"])
  }

  @Test("Behind policies, which know nothing of trailers, there are none")
  func trailersBehindPolicies() throws {
    for (policies, expected) in [("[{ type: \"headers\", request: { remove: [\"X-Sum\"] } }]", []), ("[]", ["x-sum"])] {
      let bench = try FlowBench(FlowSetup(route: "upstream: \"main\", policies: \(policies)"))
      let origin = bench.origin()
      _ = try bench.exchange(postChunks("/", "1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"))
      let request = try #require(origin.requests.first)
      #expect(request.trailers.keys.sorted() == expected)
    }
  }

  @Test("What a trusted proxy says is continued")
  func trusted() throws {
    let bench = try FlowBench(FlowSetup(node: "trustedProxies: [\"203.0.113.0/24\"]"))
    let origin = bench.origin()
    let response = try bench.exchange(get("/", Self.forged))
    let request = try #require(origin.requests.first)
    #expect(request["x-forwarded-for"] == "6.6.6.6, 203.0.113.1")
    #expect(request["forwarded"]?.hasPrefix("for=6.6.6.6, for=203.0.113.1") == true)
    #expect(request["x-forwarded-proto"] == "https")
    #expect(request["x-forwarded-host"] == "evil")
    #expect(response["x-request-id"] == "forged")
  }

  @Test("Every response carries one request id, its own; an upstream's is replaced")
  func requestID() throws {
    let bench = try FlowBench()
    bench.origin { connection, _ in connection.reply("x", "X-Request-Id: theirs\r\n") }
    let client = bench.client(get("/1") + get("/2") + "BROKEN\r\n\r\n")
    bench.world.run { client.responses.count == 3 }
    let ids = client.responses.compactMap { $0["x-request-id"] }
    #expect(Set(ids).count == 3)
    #expect(ids.allSatisfy { $0.count == 32 && $0 != String(repeating: "0", count: 32) })
  }

  @Test(
    "A valid trace is continued with a span of the gateway's own, anything else begins a new one",
    arguments: [("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true), ("00-zz", false), ("", false)])
  func trace(parent: String, isValid: Bool) throws {
    let bench = try FlowBench()
    let origin = bench.origin()
    _ = try bench.exchange(get("/", (parent.isEmpty ? "" : "traceparent: \(parent)\r\n") + "tracestate: a=b\r\n"))
    let sent = try #require(origin.requests.first?["traceparent"]).split(separator: "-")
    try #require(sent.count == 4)
    #expect((sent[1] == "0af7651916cd43dd8448eb211c80319c") == isValid)
    #expect(sent[2] != "b7ad6b7169203331" && sent[2].count == 16)
    #expect((sent[3] == "01") == isValid)
    #expect(origin.requests.first?["tracestate"] == (isValid ? "a=b" : nil))
  }
}
