import Core
import Gateway
import Pipeline
import Simulation
import Testing
import Traffic

/// Reads a configuration, with a token and a secret in the environment.
func readBlueprint(_ text: String) -> (blueprint: Blueprint?, found: [String]) {
  let result = Blueprint.read(text: Array(text.utf8)) { source in
    switch source {
    case .environment("SLUICE_ADMIN_TOKEN"): .success("a-token-that-is-long-enough")
    case .file("tls/site.pem"): .success(String(decoding: TestCertificates.server, as: UTF8.self))
    case .file("tls/site.key"): .success(String(decoding: TestCertificates.serverKey, as: UTF8.self))
    case .environment("SLUICE_CLUSTER_SECRET"): .success("a-secret-that-is-long-enough")
    default: .failure(SecretFault("the reference leads nowhere"))
    }
  }
  return (result.blueprint, result.diagnostics.map { $0.text(file: "sluice.json") })
}

/// A file with what most tests need on its first line, and what they are about on the second.
private func file(_ more: String) -> String {
  "{ listeners: [\"127.0.0.1:8080\"], upstreams: { a: { endpoints: [\"127.0.0.1:9001\"] }, b: { endpoints: [\"b:80\"] } },\n"
    + more + "}"
}

private func route(_ more: String) -> String { file("routes: [{ id: \"r\", match: { path: \"/a/{id}\" }, \(more) }]") }

/// A broken file and all that is said about it.
struct BrokenFile: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let text: String
  let found: [String]

  init(_ description: String, _ text: String, _ found: String...) {
    testDescription = description
    self.text = text
    self.found = found
  }
}

@Suite("Blueprint")
struct BlueprintTests {
  /// The example of the contract, less what this version has not: tokens.
  static let example = """
    {
      $schema: "sluice.schema.json",
      node: { threads: 0 },                                    // 0: one event loop per core
      listeners: [
        { address: "0.0.0.0:8080" },
        { address: "0.0.0.0:8443", tls: { certificates: [{ certificate: "tls/site.pem", key: "tls/site.key" }] } },
      ],
      accessLog: "stdout",                                     // "stdout" | "off" | { file: "access.log" }; JSON lines
      admin: { address: "127.0.0.1:9901", tokens: [{ name: "ops", role: "admin", token: { env: "SLUICE_ADMIN_TOKEN" } }] },
      store: "redis://127.0.0.1:6379",                         // "embedded" (the default) | "rediss://…" | { sentinel: … } | { cluster: … }
      cluster: { name: "prod", secret: { env: "SLUICE_CLUSTER_SECRET" } },

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
        "partner-key": { type: "api-key", header: "X-API-Key" },
        "fair-use": { type: "rate-limit", limits: [
          { per: "consumer", rate: "100/s", burst: 200 },      // GCRA
          { per: "consumer", quota: "100000/day", timezone: "Europe/Berlin" },   // calendar quota
          { per: "tenant", window: "20000/1m" },               // fixed window; algorithm: "sliding" for sliding
        ], mode: "auto", onStoreFailure: "local" },            // mode: auto | exact | leased; failure: local | open | closed
      },

      routes: [
        { id: "orders-v1",
          match: { host: "api.example.com", path: "/v1/orders/*", methods: ["GET", "POST"] },
          policies: ["partner-key", "fair-use"],
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
    #expect(plan.cluster.name == "prod" && plan.cluster.secret == Array("a-secret-that-is-long-enough".utf8))
    #expect(!plan.routes[0].rewrite.isIdentity)
    #expect(plan.routes[0].timeouts.response == nil)
  }

  static let brokenFiles = [
    BrokenFile(
      "syntax: a comma, a quote and a word",
      "{ listeners: [\"127.0.0.1:8080\"]\n  node: { user: 'x',\n threads: two } }",
      "2:3: a comma is missing before this; add it behind the value before",
      "2:17: a string begins with a single quote; use double quotes",
      "3:11: this is not a JSON value; put text in double quotes"),
    BrokenFile(
      "a key twice", file("accessLog: \"off\", accessLog: \"stdout\", routes: []"),
      "2:19: the key \"accessLog\" is here for the second time; remove one of the two"),
    BrokenFile(
      "misspelt options, at three depths", file("node: { limit: {}, timeouts: { haed: \"1s\" } }, rotues: []"),
      "2:9: node.limit: there is no option \"limit\" here; did you mean \"limits\"?",
      "2:32: node.timeouts.haed: there is no option \"haed\" here; did you mean \"head\"?",
      "2:48: rotues: there is no option \"rotues\" here; did you mean \"routes\"?"),
    BrokenFile(
      "values of the wrong kind and out of range",
      file("node: { threads: \"four\", drainSeconds: 1e9, limits: { body: \"1 MB\" }, timeouts: { idle: \"0s\" } }"),
      "2:18: node.threads: a whole number should be here, not a string; write digits without quotes",
      "2:40: node.drainSeconds: 1e9 is out of range; write a whole number from 0 to 86400",
      "2:61: node.limits.body: \"1 MB\" is not a size; write it like \"64KiB\"",
      "2:89: node.timeouts.idle: \"0s\" is out of range; write a duration of 1ms to 365d"),
    BrokenFile(
      "no listener", "{ routes: [] }", "1:1: listeners: \"listeners\" is missing; add listeners: …"),
    BrokenFile(
      "an admin port for everybody, without a token",
      file("admin: { address: \"0.0.0.0:9901\" }"),
      "2:19: admin.address: an admin port that others can reach needs a token; "
        + "add tokens, or listen on 127.0.0.1, [::1] or unix:/path"),
    BrokenFile(
      "an admin port where a listener is", file("admin: { address: \"127.0.0.1:8080\" }"),
      "2:19: admin.address: a listener has this address; give the admin port one of its own"),
    BrokenFile(
      "what must not be left out",
      "{ listeners: [{ address: \"[::]:443\", tls: {} }],\n policies: { p: { type: \"jwt\" } } }",
      "1:43: listeners[0].tls.certificates: \"certificates\" is missing; add certificates: …",
      "2:17: policies.p.issuers: \"issuers\" is missing; add issuers: …"),
    BrokenFile(
      "names of nothing",
      route("upstream: [\"aa\", { upstream: \"b\" }], policies: [\"body-limit\", \"x\"], mirror: { upstream: \"q\" }"),
      "2:60: routes[0].upstream[0]: there is no upstream \"aa\"; did you mean \"a\"?",
      "2:97: routes[0].policies[0]: there is no policy \"body-limit\"; "
        + "write { type: \"body-limit\", … } here, or give it a name under policies",
      "2:111: routes[0].policies[1]: there is no policy \"x\"; add \"x\" to policies",
      "2:137: routes[0].mirror.upstream: there is no upstream \"q\"; did you mean \"a\"?"),
    BrokenFile(
      "the same thing twice",
      file(
        """
        tenants: ["t", "t"], consumers: [
        { id: "c", tenant: "u", keys: [{ id: "k", sha256: "\(digest)" }, { id: "k", sha256: "\(digest)" }] }, { id: "c" }]
        """),
      "2:16: tenants[1]: the tenant \"t\" is there for the second time; rename one of the two, or remove it",
      "3:20: consumers[0].tenant: there is no tenant \"u\"; did you mean \"t\"?",
      "3:127: consumers[0].keys[1].id: the key \"k\" is there for the second time; rename one of the two, or remove it",
      "3:140: consumers[0].keys[1].sha256: another key has this digest: nobody could say whose it is; make a new key",
      "3:219: consumers[1].id: the consumer \"c\" is there for the second time; rename one of the two, or remove it"),
    BrokenFile(
      "a key where its digest belongs, which is not repeated",
      file("consumers: [{ id: \"c\", keys: [{ id: \"k\", sha256: \"the-key-itself\" }] }]"),
      "2:50: consumers[0].keys[0].sha256: the text is not 64 hexadecimal digits; write it like \"\(digest)\""),
    BrokenFile(
      "upstreams that cannot work",
      "{ listeners: [\"unix:/s\"], upstreams: { a: { endpoints: [] },\n"
        + "b: { endpoints: [\"h\", \"h:0\"], balance: \"fastest\", retries: { on: [\"404\"] }, health: { path: \"x\" } } } }",
      "1:56: upstreams.a.endpoints: this array is empty; add at least one element",
      "2:18: upstreams.b.endpoints[0]: \"h\" is not an address with a port; write it like \"127.0.0.1:9001\"",
      "2:23: upstreams.b.endpoints[1]: \"h:0\" is not an address with a port; write it like \"127.0.0.1:9001\"",
      "2:40: upstreams.b.balance: \"fastest\" is not possible here; write one of \"round-robin\", \"least-request\", "
        + "\"latency\", \"consistent-hash\", \"random\"",
      "2:67: upstreams.b.retries.on[0]: \"404\" is not a failure that can be tried again; write it like "
        + "\"connect-failure\", \"reset\", \"timeout\", \"5xx\" or \"503\"",
      "2:93: upstreams.b.health.path: \"x\" is not a path; begin it with /, and write no blanks"),
    BrokenFile(
      "routes that take the same requests",
      file(
        """
        routes: [
        { id: "r1", match: { path: "/a/{x}" }, upstream: "a" },
        { id: "r2", match: { path: "/a/{y}" }, upstream: "b" }]
        """),
      "4:20: routes[1].match: takes the same requests as \"r1\", and neither is more specific; "
        + "make one of the two more specific, or remove it"),
    BrokenFile(
      "a route with two ends and one with none",
      file(
        """
        routes: [
        { id: "r1", match: { path: "a" }, upstream: "a", redirect: "/b" },
        { id: "r2", match: { path: "/b", methods: ["G T"] }, sticky: "consumer" }]
        """),
      "3:28: routes[0].match.path: the path \"a\" does not begin with a slash; begin it with \"/\"",
      "3:60: routes[0].redirect: a route has an upstream or a redirect, not both; remove one of them",
      "4:1: routes[1].upstream: nothing happens to the requests of this route; "
        + "add upstream, redirect, or a policy of type \"respond\"",
      "4:43: routes[1].match.methods: \"G T\" is not a method; write a method as in the request line, in capitals as a rule",
      "4:62: routes[1].sticky: there is only one upstream to stick to; remove it, or make upstream a list"),
    BrokenFile(
      "rewrites and redirects that nothing can fill",
      file(
        """
        routes: [
        { id: "r1", match: { path: "/a/{id}" }, upstream: "a", rewrite: { path: "/b/{idd}", addPrefix: "/c" } },
        { id: "r2", match: { path: "/b" }, redirect: { location: "{path", status: 305 } }]
        """),
      "3:73: routes[0].rewrite.path: nothing is called {idd} here; did you mean \"id\"?",
      "4:58: routes[1].redirect.location: a brace has no counterpart; write {name}, with both braces",
      "4:75: routes[1].redirect.status: 305 is no redirect; write 301, 302, 303, 307 or 308"),
    BrokenFile(
      "secrets that are missing, short or impossible",
      file(
        """
        admin: { tokens: [{ name: "a", token: { env: "NO" } }, { name: "b", token: "short" }, { name: "c", token: 1 }] }
        """),
      "2:39: admin.tokens[0].token: the reference leads nowhere; set NO in the environment of the process",
      "2:76: admin.tokens[1].token: the token has fewer than 16 bytes; make one with: openssl rand -base64 24",
      "2:107: admin.tokens[2].token: a string should be here, not a number; put it in double quotes"),
  ]

  private static let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

  @Test("names every error with its place and a way out", arguments: brokenFiles)
  func namesEveryError(broken: BrokenFile) {
    let (blueprint, found) = readBlueprint(broken.text)
    #expect(blueprint == nil)
    #expect(found == broken.found.map { "sluice.json:\($0)" })
  }

  @Test("warns of what can never happen, and takes the file")
  func warns() {
    let (blueprint, found) = readBlueprint(
      file(
        """
        policies: { p: { type: "body-limit", limit: "1KiB" } }, routes: [
        { id: "r1", match: { path: "/a", methods: ["GET"] }, upstream: "a" }]
        """))
    #expect(blueprint != nil)
    #expect(
      found == [
        "sluice.json:1:88: warning: upstreams.b: no route uses this upstream; remove it, or name it in a route",
        "sluice.json:2:16: warning: policies.p: no route uses this policy; remove it, or name it in a route",
      ])
  }

  @Test("gives no blueprint for text that is no object", arguments: ["", "[]", "7", "\u{feff}", "// only a comment"])
  func noObject(text: String) {
    let (blueprint, found) = readBlueprint(text)
    #expect(blueprint == nil)
    #expect(found.count == 1)
  }
}
