import Core
import Foundation
import Testing

@testable import Admin
@testable import Gateway

@Suite struct AdminAccessTests {
  @Test(
    "without a good token there is nothing but 401, whether the path exists or not",
    arguments: ["/metrics", "/v1/status", "/openapi.json", "/nothing"])
  func refused(path: String) throws {
    var desk = try Desk()
    let missing = desk.get(path, token: nil)
    #expect(missing.status == "401")
    #expect(missing.problem == "admin-token-missing")
    #expect(missing.contains("WWW-Authenticate: Bearer realm=\"sluice\"\r\n"))
    for token in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF"] {
      #expect(desk.get(path, token: token).status == "401")
    }
  }

  @Test(
    "credentials that can be read two ways are refused",
    arguments: [
      "Authorization: Basic 0123456789abcdef", "Authorization: 0123456789abcdef",
      "Authorization: Bearer  0123456789abcdef", "Authorization: Bearer 0123456789abcdef, Bearer x",
      "Authorization: Bearer 0123456789abcdef\r\nAuthorization: Bearer 0123456789abcdef",
    ])
  func ambiguous(fields: String) throws {
    var desk = try Desk()
    #expect(desk.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\(fields)\r\n\r\n").status == "401")
  }

  @Test("a role that is too low gets 403, each higher one gets in")
  func roles() throws {
    let route = AdminRoute(.get, "/ops", role: .operator, operation: "ops", summary: "", outcomes: []) { request in
      .text("\(request.caller?.name ?? "nobody")")
    }
    let tokens = AdminSettings.Role.allCases.map {
      AdminSettings.Token(name: "n-\($0)", role: $0, secret: "secret-of-\($0)")
    }
    var desk = try Desk(tokens: tokens, extra: [route])
    let refused = desk.get("/ops", token: "secret-of-viewer")
    #expect(refused.status == "403")
    #expect(refused.problem == "admin-role-too-low")
    #expect(desk.get("/ops", token: "secret-of-operator").body == "n-operator")
    #expect(desk.get("/ops", token: "secret-of-admin").body == "n-admin")
  }

  @Test("the scheme may be written in any case")
  func scheme() throws {
    var desk = try Desk()
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: bEARER \(Desk.token)\r\n\r\n"
    #expect(desk.ask(request).status == "200")
  }

  @Test("a port that others can reach keeps its tokens when the new settings have none")
  func neverOpened() throws {
    var desk = try Desk(address: .ip(IPAddress(v4: 0), port: 9901))
    desk.server.receive(.replaceAccess(AdminAccess(tokens: [], at: Desk.address)))
    #expect(desk.get("/metrics", token: nil).status == "401")
    #expect(desk.get("/metrics").status == "200")
  }

  @Test("tokens can be changed while it runs")
  func replaced() throws {
    var desk = try Desk()
    let token = AdminSettings.Token(name: "new", role: .viewer, secret: "another-secret-16")
    desk.server.receive(.replaceAccess(AdminAccess(tokens: [token], at: Desk.address)))
    #expect(desk.get("/metrics").status == "401")
    #expect(desk.get("/metrics", token: "another-secret-16").status == "200")
  }

  @Test(
    "without tokens it answers only to names of this machine, so that no page in a browser can reach it",
    arguments: [
      ("evil.example", "421"), ("127.0.0.1.evil.example", "421"), ("192.0.2.1", "421"), ("localhost", "200"),
      ("127.0.0.1:9901", "200"), ("[::1]:9901", "200"), ("LOCALHOST:1", "200"),
    ])
  func rebinding(host: String, status: String) throws {
    var desk = try Desk(tokens: [])
    #expect(desk.get("/metrics", token: nil, host: host).status == status)
  }

  @Test("without tokens a page of another origin cannot change anything")
  func crossOrigin() throws {
    let route = AdminRoute(.post, "/act", role: .admin, operation: "act", summary: "", outcomes: []) { _ in
      .text("done")
    }
    var desk = try Desk(tokens: [], extra: [route])
    func post(_ origin: String) -> String { "POST /act HTTP/1.1\r\nHost: localhost:9901\r\n\(origin)\r\n" }
    #expect(desk.ask(post("Origin: https://evil.example\r\n")).status == "421")
    #expect(desk.ask(post("Origin: null\r\n")).status == "421")
    #expect(desk.ask(post("Origin: http://localhost:9901\r\n")).status == "200")
    #expect(desk.ask(post("")).status == "200")
  }
}

@Suite struct AdminRoutesTests {
  @Test("unknown paths and other methods are refused, the latter with what is allowed")
  func unknown() throws {
    var desk = try Desk()
    #expect(desk.get("/metrics/").problem == "admin-not-found")
    let refused = desk.ask(
      "DELETE /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(Desk.token)\r\n\r\n")
    #expect(refused.status == "405")
    #expect(refused.contains("Allow: GET, HEAD\r\n"))
  }

  @Test("it is alive for everybody who asks, and ready only while it takes requests")
  func health() throws {
    var facts = NodeFacts()
    for (isReady, isDraining, status) in [(false, false, "503"), (true, true, "503"), (true, false, "200")] {
      facts.isReady = isReady
      facts.isDraining = isDraining
      var desk = try Desk(facts: facts)
      #expect(desk.get("/healthz", token: nil, host: "node").status == "200")
      let ready = desk.get("/readyz", token: nil, host: "node")
      #expect(ready.status == status)
      #expect(ready.problem == (status == "503" ? "not-ready" : ""))
    }
  }

  @Test("metrics come in the format that Prometheus asks for")
  func metrics() throws {
    var desk = try Desk()
    let response = desk.get("/metrics")
    #expect(response.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"))
    #expect(response.body.hasPrefix("# HELP sluice_build_info"))
    #expect(response.contains("Content-Length: \(response.body.utf8.count)\r\n"))
  }

  @Test("the state names every upstream")
  func status() throws {
    var facts = NodeFacts()
    facts.version = "1.2.3"
    facts.isReady = true
    facts.startedAt = WallTime(microseconds: 1_795_300_100_000_000)
    facts.upstreams = [UpstreamFacts(upstream: "orders", endpoint: "[::1]:9001")]
    var desk = try Desk(facts: facts)
    let body = desk.get("/v1/status").body
    let object = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
    #expect(object["ready"] as? Bool == true)
    #expect(object["uptimeSeconds"] as? Int == 100)
    #expect((object["upstreams"] as? [[String: Any]])?.first?["endpoint"] as? String == "[::1]:9001")
  }

  @Test("the description names every operation that there is, itself included")
  func description() throws {
    var desk = try Desk()
    let body = desk.get("/openapi.json").body
    let object = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
    #expect(object["openapi"] as? String == "3.1.0")
    let paths = try #require(object["paths"] as? [String: Any])
    #expect(Set(paths.keys) == ["/healthz", "/readyz", "/metrics", "/v1/status", "/openapi.json"])
  }

  @Test("responses carry the date and may not be cached")
  func fields() throws {
    var desk = try Desk()
    let response = desk.get("/healthz")
    #expect(response.contains("Date: Sat, 21 Nov 2026 22:30:00 GMT\r\n"))
    #expect(response.contains("Cache-Control: no-store\r\n"))
  }
}
