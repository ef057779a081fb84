import Core
import Pipeline
import Policies
import Testing

@testable import Admin
@testable import Gateway

@Suite("Clients of authorization servers")
struct ClientDeskTests {
  private func desk() throws -> Desk {
    try Desk(
      tokens: [
        AdminSettings.Token(name: "ops", role: .operator, secret: Desk.token),
        AdminSettings.Token(name: "eye", role: .viewer, secret: "fedcba9876543210"),
      ], extra: AdminRoute.clients({ $0(nil, []) }, { preconditionFailure("nobody is asked") }))
  }

  private func ask(
    _ method: String, _ path: String, _ body: String? = nil, token: String? = Desk.token
  ) throws -> String {
    var desk = try desk()
    let wire = desk.connect()
    let authorization = token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
    let type = body.map { "Content-Type: application/json\r\nContent-Length: \($0.utf8.count)\r\n" } ?? ""
    desk.write(wire, "\(method) \(path) HTTP/1.1\r\nHost: x\r\n\(authorization)\(type)\r\n\(body ?? "")")
    desk.deliver()
    return desk.read(wire)
  }

  @Test(
    "Who has no token, or may only look, changes nothing",
    arguments: [
      ("POST", "/v1/oauth/clients"), ("DELETE", "/v1/oauth/clients/a"), ("POST", "/v1/oauth/clients/a/secret"),
    ])
  func roles(method: String, path: String) throws {
    let body = method == "POST" ? "{}" : nil
    #expect(try ask(method, path, body, token: nil).status == "401")
    #expect(try ask(method, path, body, token: "fedcba9876543210").problem == "admin-role-too-low")
  }

  @Test(
    "What is no client is refused before anybody is asked",
    arguments: [
      "[]", "{", "{\"grants\":\"client_credentials\"}", "{\"grants\":[1]}", "{\"secret\":\"x\"}", "{\"sha256\":[]}",
      "{\"consumer\":\"ann\"}", "{\"introspects\":true}", "{\"public\":\"yes\"}", "{\"id\":1}", "{\"server\":null}",
      "{\"id\":\"a\",\"id\":\"b\"}",
    ])
  func malformed(body: String) throws {
    #expect(try ask("POST", "/v1/oauth/clients", body).problem == "malformed-body")
  }

  @Test("A node without a cluster says so")
  func noCluster() throws {
    for (method, path, body) in [
      ("GET", "/v1/oauth/clients", nil), ("GET", "/v1/oauth/clients/a.b", nil),
      ("DELETE", "/v1/oauth/clients/a", nil),
      ("POST", "/v1/oauth/clients/a/secret", nil),
      ("POST", "/v1/oauth/clients", "{\"grants\":[\"client_credentials\"]}"),
    ] as [(String, String, String?)] {
      #expect(try ask(method, path, body).problem == "no-cluster", "\(method) \(path)")
    }
  }

  @Test("The options of a client are those that somebody has said, with an id and digests, and nothing else")
  func options() throws {
    let text = "{\"id\":\"x\",\"name\":\"N \\\"1\\\"\",\"grants\":[\"client_credentials\"],\"sha256\":[\"00\"]}"
    let body = try #require(ClientBody(optionText: Array(text.utf8)))
    let made = String(decoding: body.options(id: "y", secrets: ["ab", "cd"]), as: UTF8.self)
    #expect(
      made == "{\"id\":\"y\",\"name\":\"N \\\"1\\\"\",\"grants\":[\"client_credentials\"],\"sha256\":[\"ab\",\"cd\"]}")
    #expect(body.secrets == ["00"] && !body.isPublic)
  }
}
