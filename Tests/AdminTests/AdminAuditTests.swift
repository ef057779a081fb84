import Cluster
import Core
import Pipeline
import Testing

@testable import Admin
@testable import Gateway

@Suite("Audit of the admin API")
struct AdminAuditTests {
  /// An operation that changes something named in its path, and one that is refused.
  private var desk: Desk {
    get throws {
      let body = AdminRoute.Body(["application/json"], schema: "Any", "A thing.")
      let number = AdminRoute.Parameter("number", .integer(1...9), "A number.")
      return try Desk(
        tokens: [
          AdminSettings.Token(name: "ops", role: .admin, secret: Desk.token),
          AdminSettings.Token(name: "watcher", role: .viewer, secret: "watcher-0123456789"),
        ],
        extra: [
          AdminRoute(
            .put, "/v1/things/{id}", role: .operator, operation: "putThing", summary: "Changes.",
            parameters: [AdminRoute.Parameter("id", .name, isInPath: true, "A name."), number], body: body,
            outcomes: []
          ) { request in
            var response = AdminResponse.text("done\n")
            response.change = AdminChange(request.parameters["id"] ?? "", before: "old", after: "new", reason: "why")
            return response
          }
        ])
    }
  }

  private func put(
    _ target: String, token: String = Desk.token, body: String = "{}", type: String = "application/json"
  ) -> String {
    """
    PUT \(target) HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(token)\r\nContent-Type: \(type)\r
    Content-Length: \(body.utf8.count)\r\n\r\n\(body)
    """
  }

  @Test("A refusal to change something is in the log with who asked and why not; reading is not")
  func refusals() throws {
    var desk = try desk
    #expect(desk.ask(put("/v1/things/a", token: "watcher-0123456789")).status == "403")
    #expect(desk.ask(put("/v1/things/a?number=10")).problem == "malformed-parameter")
    #expect(desk.ask(put("/v1/things/a?number")).problem == "malformed-parameter")
    #expect(desk.ask(put("/v1/things/a", body: "")).problem == "body-needed")
    #expect(desk.ask(put("/v1/things/a", type: "text/plain")).status == "415")
    #expect(desk.get("/v1/status").status == "200")
    let entries = desk.audit.takeAll()
    #expect(
      entries.map { "\($0.actor) \($0.role) \($0.action) \($0.target) \($0.outcome) \($0.reason)" } == [
        "watcher viewer putThing a refused admin-role-too-low", "ops admin putThing a refused malformed-parameter",
        "ops admin putThing a refused malformed-parameter", "ops admin putThing a refused body-needed",
        "ops admin putThing a refused other-media-type",
      ])
    #expect(entries.allSatisfy { $0.decision.count == 32 })
  }

  @Test("A change is in the log with what was before and what is now")
  func change() throws {
    var desk = try desk
    #expect(desk.ask(put("/v1/things/a%20b?number=9", type: "application/json; charset=utf-8")).status == "200")
    let entry = try #require(desk.audit.takeAll().first)
    #expect(entry.actor == "ops" && entry.target == "a b" && entry.outcome == .done)
    #expect(entry.before == "old" && entry.after == "new" && entry.reason == "why")
  }

  @Test("Strangers get one line a second, however often they knock, and each knock is counted")
  func strangers() throws {
    var desk = try desk
    for _ in 0..<50 { #expect(desk.ask(put("/v1/things/a", token: "wrong-0123456789")).status == "401") }
    #expect(desk.audit.takeAll().map(\.count) == [1])
    desk.pass(.milliseconds(999))
    #expect(desk.audit.takeAll().isEmpty)
    desk.pass(.milliseconds(1))
    let entry = try #require(desk.audit.takeAll().first)
    #expect(entry.count == 49 && entry.actor.isEmpty && entry.reason == "admin-token-invalid")
    desk.pass(.seconds(60))
    #expect(desk.audit.takeAll().isEmpty)
  }
}
