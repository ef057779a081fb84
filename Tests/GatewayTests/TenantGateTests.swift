import Core
import Crypto
import Pipeline
import Simulation
import Testing

@testable import Gateway

extension FlowSetup {
  /// Routes of acme's, of globex's and of everybody, and consumers of each: `acme-key`, `globex-key` and `nobody-key`.
  fileprivate static var tenants: FlowSetup {
    func consumer(_ id: String, _ tenant: String) -> String {
      let bytes = Array("\(id)-key".utf8)
      let digest = SHA256().digest(of: RawSpan(bytes)).hexadecimal
      return "{ id: \"\(id)\", \(tenant) keys: [{ id: \"k\", sha256: \"\(digest)\" }] }"
    }
    var setup = FlowSetup()
    let bounds = "shared: { upstreams: [\"main\"], policies: [\"key\", \"known\"] }"
    setup.sections = """
      tenants: [{ id: "acme", paths: ["/acme"], \(bounds) }, { id: "globex", paths: ["/globex"], \(bounds) }],
      consumers: [
        \(consumer("acme", "tenant: \"acme\",")), \(consumer("globex", "tenant: \"globex\",")), \(consumer("nobody", "")),
      ],
      policies: { key: { type: "api-key", optional: true }, known: { type: "api-key" },
        once: { type: "rate-limit", tenant: "acme", limits: [{ per: "route", window: "1/1h" }] } },
      """
    setup.routes = """
      { id: "acme", tenant: "acme", match: { path: "/acme" }, policies: ["once", "key"], upstream: "main" },
      { id: "globex", tenant: "globex", match: { path: "/globex" }, upstream: "main",
        policies: ["known", { type: "rate-limit", limits: [{ per: "consumer", window: "5/1h" }] }] },
      { id: "common", match: { path: "/common" }, policies: ["known"], upstream: "main" },
      """
    return setup
  }
}

extension FlowSetup {
  /// As ``tenants``, with a plan on each route: of acme's, of globex's, of everybody's, and of those in a group.
  fileprivate static var tenantPlans: FlowSetup {
    func plan(_ name: String) -> String {
      let limits = "[{ per: \"consumer\", window: \"5/1h\" }]"
      return "{ type: \"plan\", default: \"\(name)\", plans: { \(name): { limits: \(limits) } } }"
    }
    var setup = FlowSetup.tenants
    setup.sections = setup.sections
      .replacing("shared: {", with: "policies: [\"plan\", \"rate-limit\"], shared: {")
      .replacing("tenant: \"acme\", keys", with: "tenant: \"acme\", groups: [\"staff\"], keys")
    for tenant in ["acme", "globex"] {
      setup.routes += """
        { id: "\(tenant)2", tenant: "\(tenant)", match: { path: "/\(tenant)/2" }, upstream: "main",
          policies: ["known", \(plan(tenant))] },
        """
    }
    setup.routes += """
      { id: "staff", match: { path: "/staff" }, upstream: "main",
        policies: [{ type: "api-key", groups: ["staff"] }, \(plan("staff"))] },
      { id: "common2", match: { path: "/common/2" }, policies: ["known", \(plan("common"))], upstream: "main" },
      """
    return setup
  }

  /// As ``tenants``, but acme has 65 routes, each of which has a field of its own for keys; the last route is nobody's.
  fileprivate static var tenantGates: FlowSetup {
    var setup = FlowSetup.tenants
    setup.routes = (0..<65).map {
      """
      { id: "own-\($0)", tenant: "acme", match: { path: "/acme/\($0)" }, upstream: "main",
        policies: [{ type: "api-key", header: "X-Own-\($0)" }] },
      """
    }.joined()
    setup.routes += "{ id: \"common\", match: { path: \"/common\" }, policies: [\"known\"], upstream: \"main\" },"
    return setup
  }
}

@Suite("TenantGate")
struct TenantGateTests {
  private func ask(_ bench: FlowBench, _ path: String, _ key: String?) throws -> (status: Int, text: String) {
    let field = key.map { "X-API-Key: \($0)\r\n" } ?? ""
    let answer = try bench.exchange("GET \(path) HTTP/1.1\r\nHost: a\r\n\(field)\r\n")
    let (status, body) = (answer.status, answer.body)
    return (Int(status), String(decoding: body, as: UTF8.self))
  }

  private func metrics(_ bench: FlowBench) -> String {
    let buffer = ByteBuffer()
    bench.shared.metrics.writeText(NodeFacts(), into: buffer)
    return buffer.text
  }

  @Test("known callers of others, and of nobody, get 403 before any limit is drawn on; the answer names no tenant")
  func refuses() throws {
    let bench = try FlowBench(.tenants)
    bench.origin()
    for key in ["globex-key", "nobody-key", "globex-key"] {
      let (status, text) = try ask(bench, "/acme", key)
      #expect(status == 403)
      #expect(text.contains("urn:sluice:problem:other-tenant"))
      #expect(!text.contains("acme") && !text.contains("globex"))
    }
    #expect(try ask(bench, "/acme", "acme-key").status == 200)
    #expect(try ask(bench, "/acme", "acme-key").status == 429)
    #expect(try ask(bench, "/globex", "acme-key").status == 403)
  }

  @Test("nobody passes where a route takes those who are not known, and routes of nobody take all")
  func passes() throws {
    let bench = try FlowBench(.tenants)
    bench.origin()
    #expect(try ask(bench, "/acme", nil).status == 200)
    #expect(try ask(bench, "/globex", nil).status == 401)
    for key in ["acme-key", "globex-key", "nobody-key"] { #expect(try ask(bench, "/common", key).status == 200) }
  }

  @Test("requests are counted by the callers' tenant, whosever the route is, and those of nobody by none")
  func counts() throws {
    let bench = try FlowBench(.tenants)
    bench.origin()
    for key in ["acme-key", "globex-key", nil] { _ = try ask(bench, "/acme", key) }
    for key in ["globex-key", "nobody-key"] { _ = try ask(bench, "/common", key) }
    bench.world.settle()
    let text = metrics(bench)
    #expect(text.contains("sluice_tenant_requests_total{tenant=\"acme\",class=\"2xx\"} 1\n"))
    #expect(text.contains("sluice_tenant_requests_total{tenant=\"globex\",class=\"2xx\"} 1\n"))
    #expect(text.contains("sluice_tenant_requests_total{tenant=\"globex\",class=\"4xx\"} 1\n"))
    #expect(text.contains("sluice_tenant_refusals_total{tenant=\"globex\"} 1\n"))
    #expect(!text.contains("sluice_tenant_refusals_total{tenant=\"acme\"}"))
    let counts = bench.shared.metrics.counts(ofTenant: "globex")
    #expect(counts.requests == [0, 0, 1, 0, 1, 0])
    #expect(bench.shared.metrics.counts(ofTenant: "initech") == TenantCounts())
  }

  private func ask(_ bench: FlowBench, _ topic: Inquiry.Topic) -> Answers {
    let answers = Answers()
    bench.node.send(.inquire(Inquiry(topic) { answers.add($0) }))
    bench.world.run(for: .milliseconds(1))
    return answers
  }

  @Test("an explanation knows whom a route refuses, and usage is told of a tenant's own consumers alone")
  func inquiries() throws {
    let bench = try FlowBench(.tenants)
    for (caller, refused) in [("globex", true), ("nobody", true), ("acme", false)] {
      let found = ask(bench, .route("acme", consumer: caller, key: nil, address: nil)).document
      #expect((found?.sourceText.contains("other-tenant") ?? false) == refused)
    }
    for caller in ["globex", "nobody", "initech"] {
      #expect(ask(bench, .usage(consumer: caller, address: nil, tenant: "acme")).refusal == "no consumer")
    }
    let own = ask(bench, .usage(consumer: "acme", address: nil, tenant: "acme")).document
    #expect(own?["tenant"]?.string == "acme")
  }

  @Test("callers are told nothing of limits on routes of others")
  func usage() throws {
    let bench = try FlowBench(.tenants)
    bench.origin()
    let own = try ask(bench, "/.sluice/usage", "globex-key").text
    #expect(own.contains("\"routes\":[\"globex\"]"))
    #expect(!own.contains("once"))
    let other = try ask(bench, "/.sluice/usage", "acme-key").text
    #expect(other.contains("once") && !other.contains("\"globex\""))
  }

  @Test(
    "callers are told of no plans but those of routes that take them",
    arguments: [("globex", ["globex", "common"]), ("nobody", ["common"]), ("acme", ["acme", "staff", "common"])])
  func plans(caller: String, plans: [String]) throws {
    let bench = try FlowBench(.tenantPlans)
    let message = try bench.exchange(get("/.sluice/usage", "X-API-Key: \(caller)-key\r\n")).json
    let asked = ask(bench, .usage(consumer: caller, address: nil)).document
    for root in [message, asked] { #expect(root?["plans"]?.elements.map { $0["name"]?.string } == plans) }
  }

  @Test("of the gates of tenants' routes 64 know who asks for usage and no more, and all gates of nobody's routes do")
  func gates() throws {
    let bench = try FlowBench(.tenantGates)
    for (field, status) in [("X-Own-64", 401), ("X-Own-0", 200), ("X-Own-63", 200), ("X-API-Key", 200)] {
      let answer = try bench.exchange(get("/.sluice/usage", "\(field): acme-key\r\n"))
      #expect(answer.status == status, "\(field)")
    }
  }
}
