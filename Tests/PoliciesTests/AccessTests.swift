import Core
import HTTP
import Pipeline
import Testing

@testable import Policies

@Suite("access")
struct AccessTests {
  private static let consumers = [
    Consumer(
      id: "shop", tenant: "acme", groups: ["gold"], keys: [ConsumerKey(id: "k", digest: digest("secret"))])
  ]

  private func send(_ options: String, _ request: String = "GET /a HTTP/1.1\nHost: a", key: Bool = true) throws
    -> Outcome
  {
    let bench = try Bench(consumers: Self.consumers)
    let remarks = try bench.use("{ type: \"api-key\", optional: true }", "{ type: \"access\", \(options) }")
    #expect(remarks == [])
    return bench.send(key ? request + "\nX-API-Key: secret" : request)
  }

  @Test("Where no rule holds, nobody passes")
  func denyByDefault() throws {
    let outcome = try send("allow: \"group in ['silver']\"")
    #expect(outcome.verdict == "403" && outcome.code == "access-denied")
    #expect(!outcome.responseFields.contains("WWW-Authenticate"))
    #expect(try send("rules: [{ deny: \"method == 'PUT'\" }]").verdict == "403")
  }

  @Test("Whoever a rule allows passes")
  func allows() throws {
    #expect(try send("allow: \"group in ['gold'] and tenant == 'acme' and path matches '/a/*'\"").verdict == "next")
    #expect(try send("rules: [\"consumer == 'shop'\"]").verdict == "next")
  }

  @Test(
    "The first rule that holds decides, and `otherwise` where none does",
    arguments: [
      ("rules: [{ deny: \"path == '/a'\" }, { allow: \"authenticated\" }]", "403"),
      ("rules: [{ allow: \"authenticated\" }, { deny: \"path == '/a'\" }]", "next"),
      ("rules: [{ deny: \"path == '/b'\" }], otherwise: \"allow\"", "next"),
      ("rules: [{ deny: \"path == '/b'\" }], otherwise: \"deny\"", "403"),
      ("rules: [{ allow: \"path == '/b'\" }, { allow: \"method == 'GET'\", name: \"reads\" }]", "next"),
    ])
  func order(options: String, expected: String) throws {
    #expect(try send(options).verdict == expected)
  }

  @Test(
    "Nobody is asked who they are where that would matter, and told no where it would not",
    arguments: [
      ("allow: \"authenticated\"", "401"), ("allow: \"authenticated and path == '/b'\"", "401"),
      ("allow: \"path == '/b' and authenticated\"", "403"), ("allow: \"method == 'PUT'\"", "403"),
      ("rules: [{ deny: \"not authenticated\" }], otherwise: \"allow\"", "401"),
      ("rules: [{ deny: \"path == '/a'\" }, { allow: \"authenticated\" }]", "403"),
    ])
  func nobody(options: String, expected: String) throws {
    let outcome = try send(options, key: false)
    #expect(outcome.verdict == expected)
    #expect(outcome.code == (expected == "401" ? "authentication-required" : "access-denied"))
    #expect(outcome.responseFields.contains("WWW-Authenticate") == (expected == "401"))
  }

  @Test("The challenge is that of the policy that would know callers; Bearer where there is none")
  func challenges() throws {
    let outcome = try send("allow: \"authenticated\"", key: false)
    #expect(outcome.responseFields == "WWW-Authenticate: ApiKey realm=\"sluice\", name=\"X-API-Key\"\r\n")
    let bench = try Bench()
    #expect(try bench.use("{ type: \"access\", allow: \"authenticated\" }") == [])
    let alone = bench.send("GET / HTTP/1.1\nHost: a")
    #expect(alone.verdict == "401" && alone.responseFields == "WWW-Authenticate: Bearer realm=\"sluice\"\r\n")
  }

  @Test(
    "A token is told which scopes it lacks, and nothing else",
    arguments: [
      ("scope contains 'write' and method == 'GET'", "scope=\"write\""),
      ("scope contains all ['read', 'write']", "scope=\"read write\""),
      ("role in ['admin']", nil), ("scope contains 'a b'", nil), ("scope contains 'ü'", nil),
      ("method == 'PUT' and scope contains 'write'", nil),
    ])
  func scopes(rule: String, expected: String?) throws {
    let made = make("{ type: \"access\", allow: \"\(rule)\" }")
    let policy = try #require(made.step?.policy as? Access)
    let bench = try Bench()
    let buffer = ByteBuffer()
    buffer.append("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    _ = bench.request.parse(buffer, limits: HeadLimits())
    var exchange = Exchange()
    exchange.identify(identity(scopes: ["read"], bench.services), consumer: -1)
    guard case .refuse(let refusal) = policy.onRequest(&exchange, bench.request, bench.services) else {
      Issue.record("it passes")
      return
    }
    #expect(refusal.status == 403 && "\(refusal.code)" == "access-denied")
    let prefix = "WWW-Authenticate: Bearer realm=\"sluice\", error=\"insufficient_scope\", "
    #expect((exchange.responseFieldsIfAny?.text ?? "") == expected.map { "\(prefix)\($0)\r\n" } ?? "")
  }

  private func identity(scopes: [String], _ services: Services) -> Identity {
    var parts = Identity.Parts()
    parts.scopes = scopes
    return Identity(parts, services)
  }

  @Test("Times are those of the policy's zone")
  func zones() throws {
    // The clock of the test stands at 14:13 in UTC.
    #expect(try send("allow: \"time in '14:00-14:30'\"").verdict == "next")
    #expect(try send("allow: \"time in '14:00-14:30'\", timezone: \"Asia/Tokyo\"").verdict == "403")
    #expect(try send("allow: \"time in '23:00-23:30'\", timezone: \"Asia/Tokyo\"").verdict == "next")
  }

  @Test("In shadow it refuses nobody")
  func shadow() throws {
    #expect(try send("allow: \"method == 'PUT'\", mode: \"shadow\"").verdict == "next")
  }

  @Test(
    "What is wrong is said",
    arguments: [
      ("", "rules: there is not one set of rules"),
      ("allow: \"authenticated\", rules: []", "rules: there is not one set of rules"),
      ("allow: \"rol in ['a']\"", "allow: character 1: there is no fact `rol`"),
      (
        "rules: [{ allow: \"authenticated\", deny: \"authenticated\" }]",
        "rules[0].deny: a rule either allows or denies"
      ),
      ("rules: [{ name: \"a\" }]", "rules[0].deny: a rule either allows or denies"),
      ("rules: [{ deny: \"role\" }]", "rules[0].deny: character 5: an operator should be here, not the end"),
      ("allow: \"authenticated\", timezone: \"Mars\"", "timezone: there is no table of a time zone \"Mars\""),
    ])
  func wrong(options: String, remark: String) {
    #expect(make("{ type: \"access\", \(options) }").remarks == [remark])
  }

  @Test("At most 64 rules stand in one policy")
  func ruleLimit() {
    func remarks(_ count: Int) -> [String] {
      let rules = Array(repeating: "\"authenticated\"", count: count).joined(separator: ", ")
      return make("{ type: \"access\", rules: [\(rules)] }").remarks
    }
    #expect(remarks(65) == ["rules: these are too many rules"])
    #expect(remarks(64) == [])
  }

  @Test("An explanation names the rule that decides, and tells all of them")
  func explanation() throws {
    let made = make(
      "{ type: \"access\", rules: [{ deny: \"method == 'PUT'\" }, { allow: \"tenant == 'x'\", name: \"x\" }] }")
    let policy = try #require(made.step?.policy as? Access)
    let none = RuleFacts(
      method: .get, methodText: RawSpan(), path: RawSpan(), host: RawSpan(), route: RawSpan(), address: nil,
      time: WallTime(microseconds: 0))
    let refused = policy.explain(none)
    #expect(!refused.isAllowed && refused.decidedBy == nil)
    #expect(refused.rules.map(\.name) == ["rules[0]", "x"])
    #expect(refused.rules.map(\.allows) == [false, true])
    #expect(refused.rules[1].explanation.reason == "tenant is absent, the rule wants 'x'")
    var facts = none
    facts.setConsumer(Consumer(id: "shop", tenant: "x"))
    #expect(policy.explain(facts).isAllowed && policy.explain(facts).decidedBy == "x")
  }
}
