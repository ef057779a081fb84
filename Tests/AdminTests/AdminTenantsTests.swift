import Core
import Foundation
import Pipeline
import Testing

@testable import Admin
@testable import Gateway

private let tokens = [
  AdminSettings.Token(name: "ops", role: .admin, secret: Desk.token),
  AdminSettings.Token(name: "acme-ops", role: .operator, secret: "secret-of-acme-ops", tenant: "acme"),
  AdminSettings.Token(name: "acme-eyes", role: .viewer, secret: "secret-of-acme-eyes", tenant: "acme"),
]

/// Every operation that a node has, without what does the work: no test asks for that.
private func allRoutes() -> [AdminRoute] {
  let nobody: AdminRoute.Agreement = { $0(nil) }
  let names: @Sendable () -> ConsumerNames = { ConsumerNames(ring: KeyRing(), tenants: ["acme"]) }
  return AdminRoute.node(metrics: Metrics(loops: 1, problemCodes: []), facts: { NodeFacts() })
    + AdminRoute.inquiries { $0.answer(.unknown("consumer")) } + AdminRoute.cluster(nobody)
    + AdminRoute.facts({ $0(nil, []) }, names) + AdminRoute.audit(nobody)
}

@Suite("Admin tenants")
struct AdminTenantsTests {
  @Test("an operation is closed to tenants unless it says otherwise")
  func closed() throws {
    let route = AdminRoute(.get, "/new", role: .viewer, operation: "new", summary: "", outcomes: []) { _ in .text("") }
    #expect(!route.isForTenants)
    var desk = try Desk(tokens: tokens, extra: [route])
    let refused = desk.get("/new", token: "secret-of-acme-ops")
    #expect(refused.status == "403")
    #expect(refused.problem == "admin-not-for-tenants")
    #expect(desk.get("/new").status == "200")
  }

  @Test("of all operations with a role only those on the list are open to tenants")
  func table() throws {
    let open = allRoutes().filter { $0.isForTenants }.map(\.operation).sorted()
    #expect(open == ["changeKey", "createKey", "deleteKey", "getKey", "getUsage", "listKeys", "revoke", "rotateKey"])
    // Whoever has no token can see no more than these two.
    #expect(allRoutes().filter { $0.role == nil }.map(\.operation).sorted() == ["getHealth", "getReadiness"])
  }

  @Test("a tenant's caller gets 403 from every other operation, whatever the method")
  func walked() throws {
    let closed = allRoutes().filter { $0.role != nil && !$0.isForTenants }
    // A desk has those of a node by itself.
    var desk = try Desk(tokens: tokens, extra: closed.filter { !["/metrics", "/v1/status"].contains($0.path) })
    for route in closed {
      let path = route.path.replacing("{revision}", with: "1").replacing("{proposal}", with: "a")
      let line = "\("\(route.method)".uppercased()) \(path) HTTP/1.1\r\n"
      let answer = desk.ask("\(line)Host: x\r\nAuthorization: Bearer secret-of-acme-ops\r\n\r\n")
      #expect(answer.status == "403", "\(route.operation)")
    }
    #expect(desk.get("/openapi.json", token: "secret-of-acme-ops").status == "403")
  }

  @Test("another tenant is not there, whether it exists or not; the role counts as for everybody")
  func others() throws {
    let parameter = AdminRoute.Parameter("tenant", .name, isInPath: true, "")
    func route(_ path: String, _ role: AdminSettings.Role) -> AdminRoute {
      AdminRoute(
        .get, path, role: role, isForTenants: true, operation: "look", summary: "", parameters: [parameter],
        outcomes: []
      ) { .text($0.parameters["tenant"] ?? "") }
    }
    var desk = try Desk(tokens: tokens, extra: [route("/t/{tenant}", .viewer), route("/o/{tenant}", .operator)])
    #expect(desk.get("/t/acme", token: "secret-of-acme-eyes").body == "acme")
    for name in ["globex", "Acme", "acme%20", "acm%65x"] {
      let answer = desk.get("/t/\(name)", token: "secret-of-acme-eyes")
      #expect(answer.status == "404")
      #expect(answer.problem == "tenant-unknown")
    }
    #expect(desk.get("/t/acm%65", token: "secret-of-acme-eyes").body == "acme")
    #expect(desk.get("/o/acme", token: "secret-of-acme-eyes").problem == "admin-role-too-low")
    #expect(desk.get("/o/acme", token: "secret-of-acme-ops").status == "200")
    #expect(desk.get("/t/globex").body == "globex")
  }

  @Test("the audit log names the tenant beside the caller")
  func audited() throws {
    let route = AdminRoute(
      .post, "/act", role: .operator, isForTenants: true, operation: "act", summary: "", outcomes: []
    ) { _ in .text("done") }
    var desk = try Desk(tokens: tokens, extra: [route])
    for token in ["secret-of-acme-ops", "secret-of-acme-eyes", Desk.token] {
      _ = desk.ask("POST /act HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(token)\r\nContent-Length: 0\r\n\r\n")
    }
    let entries = desk.audit.takeAll()
    #expect(entries.map(\.actor) == ["acme-ops", "acme-eyes", "ops"])
    #expect(entries.map(\.tenant) == ["acme", "acme", ""])
    #expect(entries.map(\.outcome) == [.done, .refused, .done])
  }

  @Test("of one tenant a change is under way at a time, of others there may be one beside it")
  func running() {
    let changes = RunningChanges()
    #expect(changes.begin("acme"))
    #expect(!changes.begin("acme"))
    #expect(changes.begin("globex"))
    changes.end("acme")
    #expect(changes.begin("acme"))
  }

  @Test("a consumer, a key and groups are a tenant's only where the configuration says so")
  func names() throws {
    let acme = Consumer(id: "shop", tenant: "acme", keys: [])
    let other = Consumer(id: "lab", tenant: "globex", keys: [])
    let names = ConsumerNames(
      ring: try KeyRing([acme, other]), tenants: ["acme", "globex"], groups: ["acme": ["trial"]])
    #expect(!names.hasConsumer("lab", ofTenant: "acme"))
    #expect(!names.hasConsumer("nobody", ofTenant: "acme"))
    #expect(names.hasConsumer("shop", ofTenant: "acme"))
    #expect(!names.allows(groups: ["trial", "gold"], forTenant: "acme"))
    #expect(!names.allows(groups: ["trial"], forTenant: "globex"))
    #expect(names.allows(groups: ["trial"], forTenant: "acme"))
    #expect(names.consumers(ofTenant: "acme") == ["shop"])
  }
}
