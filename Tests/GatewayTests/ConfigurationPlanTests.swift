import Core
import Pipeline
import Testing

@testable import Gateway

@Suite("ConfigurationPlan")
struct ConfigurationPlanTests {
  private func side(_ text: String, _ values: [SecretSource: String] = [:]) throws -> ConfigurationPlan.Side {
    let whole = "{ listeners: [\"127.0.0.1:8080\"], upstreams: { a: { endpoints: [\"127.0.0.1:9001\"] } }, \(text) }"
    let (blueprint, diagnostics) = Blueprint.read(text: Array(whole.utf8)) { source in
      values[source].map { .success($0) } ?? .failure(SecretFault("unknown"))
    }
    return ConfigurationPlan.Side(
      try #require(blueprint, "\(diagnostics)"), text: Array(whole.utf8), values: values, warnings: diagnostics)
  }

  private func plan(_ old: String, _ new: String) throws -> ConfigurationPlan {
    ConfigurationPlan(from: try side(old), to: try side(new))
  }

  private func told(_ plan: ConfigurationPlan) -> [String] {
    plan.consequences.map { "\($0.code.rawValue) \($0.subject): \($0.message)" }
  }

  private func route(_ id: String, _ path: String, _ more: String = "") -> String {
    "{ id: \"\(id)\", match: { path: \"\(path)\" }, upstream: \"a\"\(more) }"
  }

  private func limited(_ limit: String, name: String = "fair", route: String = "r") -> String {
    "policies: { \(name): { type: \"rate-limit\", limits: [\(limit)] } }, "
      + "routes: [{ id: \"\(route)\", match: { path: \"/*\" }, upstream: \"a\", policies: [\"\(name)\"] }]"
  }

  @Test("blanks, comments, order and a node's own sections change nothing")
  func seesNoChange() throws {
    let plan = try plan(
      "routes: [\(route("x", "/x")), \(route("y", "/y"))], accessLog: \"off\"",
      "/* new */ routes: [ \(route("y", "/y")),\n \(route("x", "/x")), ], node: { threads: 2 }")
    #expect(plan.isEmpty && plan.consequences.isEmpty)
  }

  @Test("objects are matched by name, and options are told with what they were and are")
  func comparesObjects() throws {
    let plan = try plan(
      "tenants: [\"t\"], routes: [\(route("x", "/x", ", timeouts: { total: \"5s\" }")), \(route("y", "/y"))]",
      "tenants: [\"t\"], routes: [\(route("x", "/x", ", timeouts: { total: \"9s\" }, rewrite: { stripPrefix: \"/x\" }")), \(route("z", "/z"))]"
    )
    #expect(
      plan.changes.map { "\($0.object) \($0.name) \($0.kind)" } == [
        "route y removed", "route x changed", "route z added",
      ])
    #expect(
      plan.changes[1].options == [
        .init(path: "timeouts.total", old: "\"5s\"", new: "\"9s\"", isSecretOnly: false),
        .init(path: "rewrite.stripPrefix", old: nil, new: "\"/x\"", isSecretOnly: false),
      ])
    #expect(plan.changes[2].options.map(\.path) == ["match.path", "upstream"])
  }

  @Test("a secret that is another one is told of, and neither is shown")
  func hidesSecrets() throws {
    let text =
      "routes: [\(route("x", "/x", ", policies: [{ type: \"headers\", request: { set: { K: { env: \"S\" } } } }]"))]"
    let old = try side(text, [.environment("S"): "first-secret"])
    let new = try side(text, [.environment("S"): "second-secret"])
    let plan = ConfigurationPlan(from: old, to: new)
    #expect(plan.changes.count == 1)
    #expect(plan.changes[0].options.map(\.isSecretOnly) == [true])
    let buffer = ByteBuffer()
    var json = JSONWriter(buffer)
    json.beginObject()
    plan.write(to: &json)
    json.endObject()
    #expect(!buffer.text.contains("first-secret") && !buffer.text.contains("second-secret"))
    #expect(buffer.text.contains("{\\\"env\\\":\\\"S\\\"}"))
    #expect(JSONDocument.parse(buffer.array, dialect: .strict).document != nil)
    #expect(ConfigurationPlan(from: old, to: try side(text, [.environment("S"): "first-secret"])).isEmpty)
  }

  @Test("a route that goes is told of, and whether another takes what it took")
  func tellsOfRoutes() throws {
    let gone = try plan("routes: [\(route("x", "/x")), \(route("y", "/y"))]", "routes: [\(route("y", "/y"))]")
    #expect(told(gone) == ["route-gone x: is gone: */x is no longer reachable as before"])
    let covered = try plan("routes: [\(route("x", "/x"))]", "routes: [\(route("y", "/x"))]")
    #expect(told(covered) == ["route-covered x: is gone; \"y\" takes */x"])
    let moved = try plan("routes: [\(route("x", "/x"))]", "routes: [\(route("x", "/z"))]")
    #expect(told(moved) == ["route-gone x: no longer takes */x: */x is no longer reachable as before"])
  }

  @Test("a route that can never match is told of once it is new")
  func tellsOfUnreachable() throws {
    let old = "routes: [\(route("x", "/x"))]"
    let new =
      "routes: [\(route("x", "/x")), { id: \"y\", match: { path: \"/y\", headers: { A: \"1\", a: \"2\" } }, upstream: \"a\" }]"
    let plan = try plan(old, new)
    #expect(plan.consequences.map(\.code) == [.routeUnreachable])
    #expect(try self.plan(new, new).consequences.isEmpty)
  }

  @Test(
    "a limit is lowered, raised, or counts anew",
    arguments: [
      ("window: \"100/1m\"", "window: \"50/1m\"", "limit-lowered"),
      ("window: \"100/1m\"", "window: \"200/1m\"", "limit-raised"),
      ("window: \"100/1m\"", "window: \"100/1h\"", "limit-anew"),
      ("window: \"100/1m\"", "rate: \"100/s\"", "limit-anew"),
      ("rate: \"100/s\", burst: 10", "rate: \"50/s\", burst: 20", "limit-lowered"),
      ("concurrency: 5", "concurrency: 6", "limit-raised"),
    ])
  func tellsOfLimits(old: String, new: String, code: String) throws {
    let plan = try plan(limited("{ per: \"ip\", \(old) }"), limited("{ per: \"ip\", \(new) }"))
    #expect(plan.consequences.map(\.code.rawValue) == [code])
    #expect(plan.consequences[0].subject == "fair/ip")
    #expect(plan.consequences[0].message.hasSuffix("route \"r\""))
    #expect(plan.lowered.isEmpty == (code != "limit-lowered"))
    #expect(plan.changes.map(\.name) == ["fair"])
  }

  @Test("policies that a route loses, gains, or has in another order are told of")
  func tellsOfPolicies() throws {
    func chain(_ names: String) -> String {
      """
      policies: { one: { type: "headers", request: { set: { A: "1" } } }, two: { type: "headers", request: { set: { A: "2" } } },
        screen: { type: "ip-filter", deny: ["10.0.0.0/8"] } },
      routes: [\(route("r", "/r", ", policies: [\(names)]")), \(route("all", "/all", ", policies: [\"one\", \"two\", \"screen\"]"))]
      """
    }
    #expect(told(try plan(chain("\"one\", \"screen\""), chain("\"screen\", \"one\""))) == [])
    #expect(
      told(try plan(chain("\"one\", \"two\""), chain("\"two\", \"one\""))) == [
        "policies-reordered r: policies run in the order two, one instead of one, two"
      ])
    #expect(
      told(try plan(chain("\"one\", \"screen\""), chain("\"one\", \"two\""))) == [
        "policy-removed r: policy \"screen\" no longer applies", "policy-added r: policy \"two\" applies",
      ])
  }

  @Test("keys that go or come are told of by their names")
  func tellsOfKeys() throws {
    func consumer(_ digit: String) -> String {
      "consumers: [{ id: \"c\", keys: [{ id: \"k\", sha256: \"\(String(repeating: digit, count: 64))\" }] }], routes: [\(route("x", "/x"))]"
    }
    let plan = try plan(consumer("1"), consumer("2"))
    #expect(told(plan) == ["key-removed c: key \"k\" is no longer valid", "key-added c: key \"k\" is valid"])
  }

  @Test("10,000 routes are compared within the time that one waits for")
  func isQuick() throws {
    let many = (0..<10_000).map { route("r\($0)", "/\($0)") }
    let plan = try plan(
      "routes: [\(many.joined(separator: ","))]", "routes: [\(many.dropFirst(200).joined(separator: ","))]")
    #expect(plan.changes.count == 200)
    #expect(plan.consequences.count == 101)
  }
}
