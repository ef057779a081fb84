import Core
import HTTP
import Pipeline
import Testing

@testable import Policies

@Suite("UsagePlans")
struct UsagePlansTests {
  private let plain = "GET / HTTP/1.1\nHost: localhost"

  /// Two plans, counted by consumer: free has 2 an hour, gold 5.
  private let two =
    "plans: { free: { limits: [{ per: \"consumer\", window: \"2/1h\" }] }, "
    + "gold: { limits: [{ per: \"consumer\", window: \"5/1h\" }] } }"

  private func bench(_ plans: String, _ others: String...) throws -> Bench {
    let consumers = [("f", "free"), ("g", "gold"), ("h", "gold"), ("s", "silver"), ("n", nil)].map { id, plan in
      Consumer(id: id, plan: plan, keys: [ConsumerKey(id: "k", digest: digest("key-\(id)"))])
    }
    let bench = try Bench(consumers: consumers)
    var steps: [ChainStep] = []
    for text in ["type: \"api-key\", optional: true", "type: \"plan\", \(plans)"] + others {
      let made = make("{ \(text) }", instance: "p\(steps.count)")
      #expect(made.remarks == [])
      if let step = made.step { steps.append(step) }
    }
    bench.chain = try Registry.chain(of: steps)
    return bench
  }

  private func ask(
    _ id: String?, method: String = "GET", path: String = "/"
  ) -> String {
    "\(method) \(path) HTTP/1.1\nHost: localhost" + (id.map { "\nX-API-Key: key-\($0)" } ?? "")
  }

  @Test("Callers without a plan, and with one that is not offered, are refused")
  func refusals() throws {
    let bench = try bench(two)
    for (caller, code) in [(nil, "plan-required"), ("n", "plan-required"), ("s", "plan-unknown")] {
      let outcome = bench.send(ask(caller))
      #expect(outcome.verdict == "403" && outcome.code == code)
      #expect(outcome.responseFields == "")
    }
    #expect(bench.send(ask("f")).verdict == "next")
  }

  @Test("The default holds for callers without a plan, and not for those with another one")
  func standard() throws {
    let bench = try bench("default: \"free\", \(two)")
    for _ in 0..<2 {
      #expect(bench.send(ask(nil)).verdict == "next")
      #expect(bench.send(ask("n")).verdict == "next")
    }
    // Nobody is counted by address, as by all limits of consumers.
    #expect(bench.send(ask(nil)).code == "rate-limited")
    #expect(bench.send(ask("n")).code == "rate-limited")
    #expect(bench.send(ask("s")).code == "plan-unknown")
  }

  @Test("Each consumer has the limits of its plan, and a counter of its own")
  func limits() throws {
    let bench = try bench(two)
    for _ in 0..<2 { #expect(bench.send(ask("f")).verdict == "next") }
    let refused = bench.send(ask("f"))
    #expect(refused.verdict == "429" && refused.code == "rate-limited")
    #expect(refused.responseFields.hasPrefix("RateLimit-Policy: \"consumer\";q=2;w=3600\r\nRateLimit: "))
    for _ in 0..<5 {
      #expect(bench.send(ask("g")).verdict == "next")
      #expect(bench.send(ask("h")).verdict == "next")
    }
    #expect(bench.send(ask("g")).verdict == "429")
    #expect(bench.send(ask("h")).responseFields.hasPrefix("RateLimit-Policy: \"consumer\";q=5;w=3600\r\n"))
  }

  @Test("What a plan's rule leaves out is refused and takes nothing")
  func rules() throws {
    let bench = try bench(
      "plans: { free: { allow: \"method in ['GET', 'HEAD'] and path matches '/public/*'\", "
        + "limits: [{ per: \"consumer\", window: \"1/1h\" }] }, gold: {} }")
    for refused in [ask("f", method: "POST", path: "/public/x"), ask("f", path: "/private")] {
      let outcome = bench.send(refused)
      #expect(outcome.verdict == "403" && outcome.code == "plan-forbids")
    }
    #expect(bench.send(ask("f", path: "/public/x")).verdict == "next")
    #expect(bench.send(ask("f", path: "/public/x")).verdict == "429")
    #expect(bench.send(ask("g", method: "DELETE", path: "/private")).verdict == "next")
  }

  @Test("The limits of the route and of the plan are decided as one: a denial by either takes nothing from the other")
  func joined() throws {
    let bench = try bench(two, "type: \"rate-limit\", limits: [{ per: \"route\", window: \"4/1h\", name: \"all\" }]")
    #expect(bench.chain.limitNames == ["all", "consumer", "all", "consumer"])
    for _ in 0..<2 { #expect(bench.send(ask("f")).verdict == "next") }
    for _ in 0..<10 { #expect(bench.send(ask("f")).verdict == "429") }
    // Two of four are left to the others.
    for _ in 0..<2 { #expect(bench.send(ask("g")).verdict == "next") }
    let refused = bench.send(ask("g"))
    #expect(
      refused.responseFields.hasPrefix(
        "RateLimit-Policy: \"all\";q=4;w=3600, \"consumer\";q=5;w=3600\r\nRateLimit: \"all\";r=0;"))
  }

  @Test("The question says where the names of its limits are, and the chain has all of them")
  func names() throws {
    let bench = try bench(
      "plans: { free: { limits: [{ per: \"consumer\", window: \"9/1h\", name: \"trial\" }] }, none: {}, "
        + "gold: { limits: [{ per: \"key\", window: \"9/1h\" }, { per: \"consumer\", concurrency: 3 }] } }",
      "type: \"rate-limit\", limits: [{ per: \"ip\", window: \"90/1h\" }]")
    #expect(bench.chain.limitNames == ["ip", "trial", "ip", "ip", "key", "consumer"])
    for (caller, first, names) in [("f", 0, ["ip", "trial"]), ("g", 3, ["ip", "key", "consumer"])] {
      _ = bench.send(ask(caller)) { exchange in
        #expect(exchange.limits.firstName == first && exchange.limits.count == names.count)
        #expect(Array(bench.chain.limitNames[first...].prefix(names.count)) == names)
      }
      let outlines = bench.chain.requestPolicies(of: UsagePlans.self).first?.outlines(fromName: UInt16(first)) ?? []
      #expect(outlines.map(\.name) == names)
    }
  }

  @Test("Slots of a plan are given back at the end")
  func slots() throws {
    let bench = try bench("plans: { free: { limits: [{ per: \"consumer\", concurrency: 1 }] } }")
    var kept: [Exchange] = []
    #expect(bench.send(ask("f"), keep: { kept.append($0) }).verdict == "next")
    #expect(bench.send(ask("f")).code == "concurrency-limited")
    bench.chain.end(&kept[0], bench.services)
    for _ in 0..<3 { #expect(bench.send(ask("f")).verdict == "next") }
  }

  @Test("A token names the plan where its consumer has none")
  func claims() throws {
    let bench = try bench(two)
    let policy = try #require(bench.chain.requestPolicies(of: UsagePlans.self).first)
    func choice(consumer: Int32, plan: String?) -> UsagePlans.Choice {
      var parts = Identity.Parts()
      (parts.issuer, parts.subject, parts.plan) = ("https://issuer", "ann", plan)
      let caller = Caller(
        consumer: consumer, key: -1, route: 0, client: IPAddress(v4: 1), identity: Identity(parts, bench.services))
      return policy.choice(caller, bench.services)
    }
    #expect(choice(consumer: -1, plan: nil) == .none)
    #expect(choice(consumer: -1, plan: "platinum") == .unknown)
    #expect(choice(consumer: -1, plan: "gold") == .plan(1))
    // Consumers 0 and 4 are "f", who has the plan free, and "n", who has none.
    #expect(choice(consumer: 0, plan: "gold") == .plan(0))
    #expect(choice(consumer: 4, plan: "gold") == .plan(1))
  }

  @Test("In shadow it refuses nobody")
  func shadow() throws {
    let bench = try bench("mode: \"shadow\", \(two)")
    for caller in [nil, "s", "n", "f", "f", "f", "f"] { #expect(bench.send(ask(caller)).verdict == "next") }
  }

  @Test("Two policies with plans, and more limits than can be decided together, are refused")
  func tooMany() throws {
    let plan = make("{ type: \"plan\", \(two) }").step
    let other = make("{ type: \"plan\", \(two) }").step
    let limits = Array(repeating: "{ per: \"ip\", window: \"9/1h\" }", count: 8).joined(separator: ", ")
    let full = make("{ type: \"rate-limit\", limits: [\(limits)] }").step
    #expect(throws: Registry.ChainFault.severalPlans) {
      try Registry.chain(of: [plan, other].compactMap(\.self))
    }
    #expect(throws: Registry.ChainFault.tooManyLimits) { try Registry.chain(of: [plan, full].compactMap(\.self)) }
  }

  @Test(
    "What is wrong is said",
    arguments: [
      ("", "plans: there are no plans"),
      ("plans: {}", "plans: there are no plans"),
      ("plans: { \"a b\": {} }", "plans[\"a b\"]: \"a b\" cannot be the name of a plan"),
      ("plans: { free: { limits: 5 } }, default: \"free\"", "plans.free.limits: an array should be here"),
      ("plans: { free: {} }, default: \"fre\"", "default: there is no plan \"fre\" here"),
      ("plans: { free: { allow: \"metod == 'GET'\" } }", "plans.free.allow: character 1: "),
      ("plans: { free: { limits: [{ per: \"consumer\" }] } }", "plans.free.limits[0].per: no limit is given"),
      ("plans: { free: { price: {} } }", "plans.free.price.currency: \"currency\" is missing"),
      ("plans: { free: { price: { currency: \"eur\" } } }", "plans.free.price.currency: \"eur\" is not a currency"),
      (
        "plans: { free: { price: { currency: \"EUR\", base: \"-1\" } } }",
        "plans.free.price.base: \"-1\" is not an amount"
      ),
      (
        "plans: { free: { price: { currency: \"EUR\", included: 5 } } }",
        "plans.free.price.included: what is included means nothing"
      ),
      (
        "plans: { free: { price: { currency: \"EUR\", request: \"0.1\" } } }",
        "plans.free.price: nothing counts the requests of a month"
      ),
      (
        "plans: { free: { limits: [{ per: \"consumer\", quota: \"9/month\", cost: 2 }], "
          + "price: { currency: \"EUR\", request: \"0.1\" } } }",
        "plans.free.price: nothing counts the requests of a month"
      ),
      (
        "plans: { free: { limits: [{ per: \"key\", quota: \"9/month\" }], "
          + "price: { currency: \"EUR\", request: \"0.1\" } } }",
        "plans.free.price: nothing counts the requests of a month"
      ),
    ])
  func mistakes(options: String, message: String) {
    let remarks = make("{ type: \"plan\", \(options) }").remarks
    #expect(remarks.count == 1)
    #expect(remarks.contains { $0.hasPrefix(message) }, "\(remarks)")
  }

  @Test("At most 32 plans, of eight limits each")
  func bounds() {
    func plans(_ count: Int) -> String { (0..<count).map { "p\($0): {}" }.joined(separator: ", ") }
    func limits(_ count: Int) -> String {
      Array(repeating: "{ per: \"ip\", window: \"9/1h\" }", count: count).joined(separator: ", ")
    }
    #expect(make("{ type: \"plan\", plans: { \(plans(32)) } }").remarks == [])
    #expect(make("{ type: \"plan\", plans: { \(plans(33)) } }").remarks == ["plans: there are 33 plans"])
    #expect(make("{ type: \"plan\", plans: { a: { limits: [\(limits(8))] } } }").remarks == [])
    #expect(
      make("{ type: \"plan\", plans: { a: { limits: [\(limits(9))] } } }").remarks == [
        "plans.a.limits: there are 9 limits"
      ])
  }
}
