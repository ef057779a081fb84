import Core
import Crypto
import Pipeline
import Testing

@testable import Gateway

extension FlowSetup {
  /// A consumer called `app`, with the key `app-a` and a plan, and two routes under plans.
  static func plans(_ plan: String?) -> FlowSetup {
    let bytes = Array("app-a".utf8)
    let digest = SHA256().digest(of: RawSpan(bytes)).hexadecimal
    var setup = FlowSetup()
    setup.sections = """
      consumers: [{ id: "app", \(plan.map { "plan: \"\($0)\"," } ?? "") keys: [{ id: "a", sha256: "\(digest)" }] }],
      policies: {
        key: { type: "api-key" },
        fair: { type: "rate-limit", limits: [{ per: "route", window: "50/1h", name: "all" }] },
        plans: { type: "plan", plans: {
          free: { limits: [{ per: "consumer", window: "2/1m", name: "trial" }], allow: "method == 'GET'" },
          gold: {
            limits: [{ per: "consumer", concurrency: 5 }, { per: "consumer", quota: "9/month", name: "month" }],
            price: { currency: "EUR", base: "10.00", included: 2, request: "0.025" } } } },
      },
      """
    setup.routes = """
      { id: "a", match: { path: "/a" }, policies: ["key", "plans", "fair"], upstream: "main" },
      { id: "b", match: { path: "/b" }, policies: ["key", "plans"], upstream: "main" },
      """
    return setup
  }
}

@Suite("Usage plans of a node")
struct UsagePlansFlowTests {
  private func send(_ bench: FlowBench, _ path: String = "/a") throws -> WireMessage {
    try bench.exchange(get(path, "X-API-Key: app-a\r\n"))
  }

  private func ask(_ bench: FlowBench, _ topic: Inquiry.Topic) throws -> JSONValue {
    let answers = Answers()
    bench.node.send(.inquire(Inquiry(topic) { answers.add($0) }))
    bench.world.run(for: .milliseconds(1))
    return try #require(answers.document)
  }

  private func explain(_ bench: FlowBench, method: String = "GET") throws -> JSONValue {
    var request = Inquiry.Request()
    request.method = method
    return try ask(bench, .route("a", consumer: "app", key: nil, address: nil, request: request))
  }

  private func code(_ message: WireMessage) -> String? {
    message.json?["type"]?.string.map { String($0.split(separator: ":").last ?? "") }
  }

  @Test(
    "Whoever has no plan, or none that is known, is refused and told nothing of plans",
    arguments: [(nil, "plan-required"), ("silver", "plan-unknown")] as [(String?, String)])
  func refused(plan: String?, code expected: String) throws {
    let bench = try FlowBench(.plans(plan))
    let answer = try send(bench)
    #expect(answer.status == 403 && code(answer) == expected)
    let usage = try bench.exchange(get("/.sluice/usage", "X-API-Key: app-a\r\n")).json
    #expect(usage?["plans"] == nil)
    #expect(usage?["limits"]?.elements.map { $0["policy"]?.string } == ["fair"])
    let explained = try explain(bench)
    #expect(explained["outcome"]?.string == "refused" && explained["code"]?.string == expected)
    #expect(explained["plan"] == nil)
    bench.expectRest()
  }

  @Test("A plan that no policy has is a remark, with what may be meant")
  func unknownPlan() throws {
    func remarks(_ plan: String?) -> [String] {
      // The setup has an upstream that no route uses.
      readBlueprint(FlowSetup.plans(plan).text).found.filter { !$0.contains("upstreams.other") }
    }
    let found = remarks("gol")
    #expect(readBlueprint(FlowSetup.plans("gol").text).blueprint != nil && found.count == 1)
    #expect(found.first?.contains("consumers[0].plan: no policy has a plan \"gol\"; did you mean \"gold\"?") == true)
    #expect(remarks("gold") == [])
    // Tokens may name the plans that nobody has here.
    #expect(remarks(nil) == [])
  }

  @Test("A refusal by a plan's limit is explained with the limits of that plan")
  func refusal() throws {
    let bench = try FlowBench(.plans("free"))
    bench.origin()
    for _ in 0..<2 { #expect(try send(bench).status == 200) }
    let answer = try send(bench)
    #expect(answer.status == 429)
    #expect(answer["ratelimit-policy"] == "\"all\";q=50;w=3600, \"trial\";q=2;w=60")
    let instance = try #require(answer.json?["instance"]?.string)
    let root = try ask(bench, .refusal(try #require(DecisionID(text: instance))))
    let levels = root["levels"]?.elements ?? []
    #expect(levels.map { $0["policy"]?.string } == ["fair", "plans:free"])
    #expect(levels.map { $0["binding"]?.bool } == [false, true])
    #expect(root["explanation"]?.string?.contains("the limit \"trial\" of \"plans:free\"") == true)
    bench.expectRest()
  }

  @Test("What the rule of a plan leaves out is refused, and explained term by term")
  func rule() throws {
    let bench = try FlowBench(.plans("free"))
    bench.origin()
    let answer = try bench.exchange(post("/a", "x", "X-API-Key: app-a\r\n"))
    #expect(answer.status == 403 && code(answer) == "plan-forbids")
    let root = try explain(bench, method: "POST")
    #expect(root["code"]?.string == "plan-forbids" && root["plan"]?.string == "free")
    #expect(root["explanation"]?.string?.hasPrefix("It would be refused by the plan \"free\": ") == true)
    #expect(root["rules"]?.elements.map { $0["name"]?.string } == ["plan free"])
    let admitted = try explain(bench)
    #expect(admitted["outcome"]?.string == "admitted")
    #expect(admitted["levels"]?.elements.map { $0["name"]?.string } == ["all", "trial"])
    bench.expectRest()
  }

  @Test("Usage tells a caller its plan, what that costs and what is owed so far, and no other plan's limits")
  func usage() throws {
    let bench = try FlowBench(.plans("gold"))
    bench.origin()
    for path in ["/a", "/b", "/b", "/b", "/b"] { #expect(try send(bench, path).status == 200) }
    let own = try #require(bench.exchange(get("/.sluice/usage", "X-API-Key: app-a\r\n")).json)
    for root in [own, try ask(bench, .usage(consumer: "app", address: nil))] {
      #expect(
        root["limits"]?.elements.map { $0["policy"]?.string } == ["fair", "plans:gold", "plans:gold"])
      let month = root["limits"]?.elements.first { $0["name"]?.string == "month" }
      #expect(month?["used"]?.integer == 5 && month?["routes"]?.elements.map(\.string) == ["a", "b"])
      let plans = root["plans"]?.elements ?? []
      #expect(plans.count == 1)
      #expect(plans.first?["name"]?.string == "gold" && plans.first?["policy"]?.string == "plans")
      let price = plans.first?["price"]
      #expect(price?["currency"]?.string == "EUR" && price?["base"]?.string == "10.00")
      #expect(price?["included"]?.integer == 2 && price?["request"]?.string == "0.025")
      let charge = plans.first?["charge"]
      #expect(charge?["amount"]?.string == "10.075" && charge?["currency"]?.string == "EUR")
      #expect(charge?["requests"]?.integer == 5)
      #expect(charge?["since"]?.string?.hasSuffix("-01T00:00:00Z") == true)
    }
    bench.expectRest()
  }

  @Test("A plan without a price, or whose store cannot be asked, has no charge")
  func noCharge() throws {
    let free = try FlowBench(.plans("free"))
    let plan = try ask(free, .usage(consumer: "app", address: nil))["plans"]?.elements.first
    #expect(plan?["name"]?.string == "free" && plan?["price"]?.isNull == true && plan?["charge"]?.isNull == true)
    let quota = ScriptedQuota()
    quota.waits = false
    let bench = try FlowBench(.plans("gold"), quota: { quota })
    quota.decision = .unavailable
    let usage = try ask(bench, .usage(consumer: "app", address: nil))["plans"]?.elements.first
    #expect(usage?["price"]?["base"]?.string == "10.00" && usage?["charge"]?.isNull == true)
  }

  @Test("Limits are counted by their names, whatever the caller's plan")
  func metrics() throws {
    for (plan, name) in [("free", "trial"), ("gold", "month")] {
      let bench = try FlowBench(.plans(plan))
      bench.origin()
      for path in ["/a", "/b"] { _ = try send(bench, path) }
      let buffer = ByteBuffer()
      bench.shared.metrics.writeText(NodeFacts(), into: buffer)
      let text = String(decoding: buffer.array, as: UTF8.self)
      let lines = text.split(separator: "\n").filter { $0.hasPrefix("sluice_limit_decisions_total") }
      func count(_ name: String) -> String? {
        lines.first { $0.contains("\"\(name)\"") && $0.contains("admitted") }?.split(separator: " ").last.map(
          String.init)
      }
      #expect(count(name) == "2" && count("all") == "1")
    }
  }

  @Test("A consumer that is moved to another plan begins that plan's counters, and is back at the old ones later")
  func moves() throws {
    let bench = try FlowBench(.plans("free"))
    bench.origin()
    for _ in 0..<2 { #expect(try send(bench).status == 200) }
    #expect(try send(bench).status == 429)
    try bench.reload(FlowSetup.plans("gold"))
    for _ in 0..<9 { #expect(try send(bench).status == 200) }
    #expect(try send(bench).status == 429)
    try bench.reload(FlowSetup.plans("free"))
    #expect(try send(bench).status == 429)
  }

  @Test("What happens to plans is among the consequences of a change")
  func consequences() throws {
    func side(_ text: String) throws -> ConfigurationPlan.Side {
      let blueprint = try #require(readBlueprint(text).blueprint)
      return ConfigurationPlan.Side(blueprint, text: Array(text.utf8), values: [:])
    }
    let old = FlowSetup.plans("free").text
    let new = FlowSetup.plans("gold").text.replacing("2/1m", with: "1/1m")
    let plan = try ConfigurationPlan(from: side(old), to: side(new))
    let told = plan.consequences.map { "\($0.code.rawValue) \($0.subject): \($0.message)" }
    #expect(
      told == [
        "limit-lowered plans:free/trial: lowered from 2 in each 1m to 1 in each 1m: routes \"a\", \"b\"",
        "plan-changed app: has the plan \"gold\" instead of the plan \"free\", whose limits count on their own",
      ])
    #expect(plan.lowered.map(\.policy) == ["plans:free"])
  }
}
