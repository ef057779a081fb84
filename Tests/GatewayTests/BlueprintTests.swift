import Core
import Gateway
import Pipeline
import Testing
import Traffic

/// Reads a configuration, with a token in the environment.
func readBlueprint(_ text: String) -> (blueprint: Blueprint?, found: [String]) {
  let result = Blueprint.read(text: Array(text.utf8)) { source in
    source == .environment("SLUICE_ADMIN_TOKEN")
      ? .success("a-token-that-is-long-enough") : .failure(SecretFault("the reference leads nowhere"))
  }
  return (result.blueprint, result.diagnostics.map { $0.text(file: "sluice.json") })
}

/// What most tests need and do not speak about.
private func file(_ more: String) -> String {
  "{ listeners: [{ address: \"127.0.0.1:8080\" }], upstreams: { a: { endpoints: [\"127.0.0.1:9001\"] } },\n\(more) }"
}

@Suite("Blueprint")
struct BlueprintTests {
  /// The example of the contract, less what this version has not: store, cluster, TLS and tokens.
  static let example = """
    {
      $schema: "sluice.schema.json",
      node: { threads: 0 },                                    // 0: one event loop per core
      listeners: [
        { address: "0.0.0.0:8080" },
      ],
      accessLog: "stdout",                                     // "stdout" | "off" | { file: "access.log" }; JSON lines
      admin: { address: "127.0.0.1:9901", tokens: [{ name: "ops", role: "admin", token: { env: "SLUICE_ADMIN_TOKEN" } }] },

      upstreams: {
        orders: {
          endpoints: ["127.0.0.1:9001", { address: "127.0.0.1:9002", weight: 2 }, "unix:/run/orders.sock"],
          balance: "least-request",
          health: { path: "/healthz", interval: "5s" },
          ejection: { consecutiveFailures: 5, baseTime: "30s", maxPercent: 50 },
          retries: { attempts: 2, on: ["connect-failure", "reset", "503"], budgetPercent: 20 },
          timeouts: { connect: "1s", response: "15s" },
        },
      },

      tenants: [{ id: "acme" }],
      consumers: [
        { id: "mobile-app", tenant: "acme", groups: ["gold"],
          keys: [{ id: "k1", sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }] },
      ],

      policies: {
        "small": { type: "body-limit", limit: "1MiB" },
      },

      routes: [
        { id: "orders-v1",
          match: { host: "api.example.com", path: "/v1/orders/*", methods: ["GET", "POST"] },
          policies: ["small"],
          rewrite: { stripPrefix: "/v1" },
          upstream: "orders" },
      ],
    }
    """

  @Test("takes the example of the contract as it stands")
  func takesTheExample() throws {
    let (blueprint, found) = readBlueprint(Self.example)
    #expect(found == [])
    let plan = try #require(blueprint)
    #expect(plan.upstreams[0].endpoints.map(\.weight) == [1, 2, 1])
    #expect(plan.upstreams[0].balance == .leastRequest)
    #expect(plan.upstreams[0].retries.conditions.contains(status: 503))
    #expect(plan.routes.map(\.id) == ["orders-v1"])
    #expect(plan.admin?.tokens.first?.secret == "a-token-that-is-long-enough")
    #expect(plan.keyRing.consumers.first?.tenant == "acme")
    #expect(plan.accessLog == .standardOutput)
    #expect(!plan.routes[0].rewrite.isIdentity)
    #expect(plan.routes[0].timeouts.response == nil)
  }
}
