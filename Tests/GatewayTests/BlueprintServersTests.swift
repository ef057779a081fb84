import Core
import Policies
import Testing

@testable import Gateway

/// A file with a route for each of these servers: its name, its clients and whether it takes registered ones.
private func servers(_ all: (name: String, clients: [String], isOpen: Bool)...) throws -> [OAuthClientRules] {
  let secret = String(repeating: "0f", count: 32)
  let routes = all.enumerated().map { index, server in
    let clients = server.clients.map { "{ id: \"\($0)\", sha256: \"\(secret)\", grants: [\"client_credentials\"] }" }
    return """
      { id: "r\(index)", match: { path: "/\(index)/*" }, policies: [{ type: "oauth2-server", audience: "api",
        issuer: "https://id.example/\(server.name)", registeredClients: \(server.isOpen),
        clients: [\(clients.joined(separator: ", "))] }] }
      """
  }
  let (blueprint, found) = readBlueprint(
    "{ listeners: [\"127.0.0.1:8080\"], routes: [\(routes.joined(separator: ",\n"))] }")
  return try #require(blueprint, "\(found)").authorizationServers
}

@Suite("Authorization servers of a configuration")
struct BlueprintServersTests {
  @Test("operators register clients with no server that takes none")
  func closed() throws {
    #expect(try servers(("a", ["web"], false), ("b", ["worker"], false)).isEmpty)
  }

  @Test("the ids of the clients of all servers are taken with each, also of those that take no registered ones")
  func taken() throws {
    let found = try servers(
      ("a", ["web"], true), ("b", ["worker"], false), ("c", ["web", "tv"], true), ("d", [], true))
    #expect(found.map(\.issuer) == ["a", "c", "d"].map { "https://id.example/\($0)" })
    for rules in found { #expect(rules.configured == ["web", "worker", "tv"], "\(rules.issuer)") }
  }

  @Test("a server that is written out on several routes is one, whose clients are those of all of them")
  func once() throws {
    let found = try servers(("a", ["web"], true), ("a", ["web", "tv"], true))
    #expect(found.map(\.configured) == [["web", "tv"]])
  }
}
