import Core
import Pipeline
import Synchronization
import Testing

@testable import Gateway

/// Takes the answers to inquiries.
final class Answers: Sendable {
  private let all = Mutex<[Inquiry.Answer]>([])

  func add(_ answer: Inquiry.Answer) { all.withLock { $0.append(answer) } }

  var count: Int { all.withLock { $0.count } }

  /// The first as JSON; nil where it is no document.
  var document: JSONValue? {
    guard case .document(let bytes)? = all.withLock({ $0.first }) else { return nil }
    return JSONDocument.parse(bytes, dialect: .strict).document?.root
  }

  /// What the first is instead of a document.
  var refusal: String? {
    switch all.withLock({ $0.first }) {
    case .unknown(let kind)?: "no \(kind)"
    case .consumerNeeded?: "consumer needed"
    case .busy?: "busy"
    case .document?, nil: nil
    }
  }
}

@Suite("Inquiries")
struct InquiryTests {
  private func ask(_ bench: FlowBench, _ topic: Inquiry.Topic) -> Answers {
    let answers = Answers()
    bench.node.send(.inquire(Inquiry(topic) { answers.add($0) }))
    bench.world.run(for: .milliseconds(1))
    return answers
  }

  private func explain(
    _ bench: FlowBench, _ route: String, _ consumer: String?, key: String? = nil, from address: String? = nil
  ) -> Answers {
    ask(bench, .route(route, consumer: consumer, key: key, address: address.flatMap { IPAddress($0) }))
  }

  @Test("What the configuration does not have is said")
  func unknown() throws {
    let bench = try FlowBench(.usage)
    #expect(ask(bench, .usage(consumer: "three", address: nil)).refusal == "no consumer")
    #expect(explain(bench, "c", "one").refusal == "no route")
    #expect(explain(bench, "a", "three").refusal == "no consumer")
    #expect(explain(bench, "a", "one", key: "c").refusal == "no key")
    #expect(explain(bench, "a", nil).refusal == "consumer needed")
  }

  @Test("A consumer's usage has a counter for each key, and names what depends on an address")
  func usage() throws {
    let bench = try FlowBench(.usage)
    bench.origin()
    for key in ["one-a", "one-b", "one-b"] { _ = try bench.exchange(get("/b", "X-API-Key: \(key)\r\n")) }
    let root = try #require(ask(bench, .usage(consumer: "one", address: nil)).document)
    #expect(root["consumer"]?.string == "one" && root["key"] == nil && root["complete"]?.bool == true)
    let limits = root["limits"]?.elements ?? []
    let keys = limits.filter { $0["policy"]?.string == "each" }
    #expect(keys.map { $0["key"]?.string } == ["a", "b"] && keys.map { $0["used"]?.integer } == [1, 2])
    let open = try #require(limits.first { $0["policy"]?.string == "open/rate-limit" })
    #expect(open["used"]?.isNull == true && open["source"]?.isNull == true && open["per"]?.string == "ip")
    let known = ask(bench, .usage(consumer: "one", address: IPAddress("192.0.2.7"))).document
    #expect(known?["limits"]?.elements.allSatisfy { $0["used"]?.integer != nil } == true)
  }

  @Test("A tenant's caller is not told what an address has used, whichever address it names")
  func addresses() throws {
    let bench = try FlowBench(.usage)
    bench.origin()
    let address = IPAddress(v4: 0xcb00_7101)
    let client = bench.client(String(repeating: get("/open"), count: 3), from: address)
    bench.world.run(within: .seconds(1)) { client.responses.count == 3 }
    let topics = ["acme", nil].map { Inquiry.Topic.usage(consumer: "one", address: address, tenant: $0) }
    let found = try topics.map { topic in
      let limits = try #require(ask(bench, topic).document?["limits"]).elements
      #expect(limits.contains { $0["per"]?.string == "consumer" && $0["used"]?.integer != nil })
      return try #require(limits.first { $0["per"]?.string == "ip" })
    }
    for member in ["used", "remaining", "exhausted", "source"] { #expect(found[0][member]?.isNull == true) }
    #expect(found[1]["used"]?.integer == 3)
  }

  @Test("It is explained how a request would be decided, and which limit binds, without taking anything")
  func explanation() throws {
    let bench = try FlowBench(.usage)
    bench.origin()
    for _ in 0..<5 { _ = try bench.exchange(get("/b", "X-API-Key: one-a\r\n")) }
    for _ in 0..<2 {
      let root = try #require(explain(bench, "b", "one").document)
      #expect(root["route"]?.string == "b" && root["key"]?.string == "a")
      #expect(root["outcome"]?.string == "refused" && root["code"]?.string == "rate-limited")
      let sentence = try #require(root["explanation"]?.string)
      #expect(
        sentence.hasPrefix(
          "It would be refused: of the limit \"key\" of \"each\" (5 in each window of 60 s) 0 of 5 are left. "))
      let levels = root["levels"]?.elements ?? []
      #expect(levels.map { $0["binding"]?.bool } == [false, false, true])
      #expect(levels.map { $0["exhausted"]?.bool } == [false, false, true])
    }
    let other = try #require(explain(bench, "b", "one", key: "b").document)
    #expect(other["outcome"]?.string == "admitted" && other["code"]?.isNull == true)
    #expect(other["levels"]?.elements.last?["remaining"]?.integer == 5)
  }

  @Test("A route that is closed to a consumer, one without limits, and limits by address are told apart")
  func otherRoutes() throws {
    let bench = try FlowBench(.usage)
    #expect(explain(bench, "gold", "two").document?["code"]?.string == "consumer-not-allowed")
    #expect(explain(bench, "gold", "one").document?["outcome"]?.string == "admitted")
    #expect(explain(bench, "all", "one").document?["levels"]?.count == 0)
    let open = try #require(explain(bench, "open", nil).document)
    #expect(open["outcome"]?.string == "admitted" && open["unknown"]?.elements.first?["per"]?.string == "ip")
    #expect(explain(bench, "open", nil, from: "192.0.2.7").document?["levels"]?.count == 1)
  }

  @Test("Access rules are explained term by term, and come before limits")
  func rules() throws {
    let rule = "claim.org == 'acme' and method == 'GET' or consumer == 'one'"
    let bench = try FlowBench(
      FlowSetup(
        route: """
          upstream: "main", policies: [
            { type: "jwt", issuers: [{ issuer: "https://id.test", audiences: ["a"], jwks: { url: "https://id.test/keys" } }],
              optional: true },
            { type: "access", allow: "\(rule)" }]
          """))
    func explain(_ claims: String, method: String = "GET") -> JSONValue? {
      var request = Inquiry.Request()
      request.claims = claims.isEmpty ? nil : Array(claims.utf8)
      request.method = method
      return ask(bench, .route("all", consumer: nil, key: nil, address: nil, request: request)).document
    }
    let nobody = try #require(explain(""))
    #expect(nobody["outcome"]?.string == "refused" && nobody["code"]?.string == "authentication-required")
    let other = try #require(explain("{\"sub\":\"ann\",\"org\":\"globex\"}"))
    #expect(other["code"]?.string == "access-denied")
    #expect(other["explanation"]?.string?.contains("claim.org is \"globex\"") == true)
    let terms = other["rules"]?.elements.first?["terms"]?.elements ?? []
    #expect(terms.map { $0["text"]?.string } == ["claim.org == 'acme'", "method == 'GET'", "consumer == 'one'"])
    #expect(terms.map { $0["found"]?.string } == ["\"globex\"", "\"GET\"", nil])
    #expect(terms.map { $0["holds"]?.bool } == [false, true, false])
    let good = "{\"sub\":\"ann\",\"org\":\"acme\"}"
    #expect(explain(good)?["outcome"]?.string == "admitted")
    #expect(explain(good, method: "PUT")?["code"]?.string == "access-denied")
    for malformed in ["[]", "{", "{\"a\":1,\"a\":2}"] {
      let answer = try #require(explain(malformed))
      #expect(answer["outcome"]?.string == "unknown" && answer["code"]?.isNull == true)
      #expect(answer["explanation"]?.string == "The claims are no object of JSON.")
    }
  }

  @Test(
    "The rule that claims must keep is explained, whoever vouches for them, alone or in a choice",
    arguments: [
      "{ type: \"jwt\", issuers: [{ issuer: \"https://id.test\", audiences: [\"a\"], jwks: { url: \"https://id.test/keys\" }, RULE }] }",
      "{ type: \"oauth2-introspection\", endpoint: \"https://id.test/introspect\", RULE }",
      "{ type: \"oidc-login\", publicURL: \"https://app.test\", clientId: \"a\", issuer: \"https://id.test\", RULE }",
      "{ type: \"any-of\", policies: [{ type: \"api-key\" }, { type: \"oauth2-introspection\", endpoint: \"https://id.test/i\", RULE }] }",
    ])
  func requirement(policy: String) throws {
    let text = policy.replacing("RULE", with: "require: \"claim.org == 'acme'\"")
    let bench = try FlowBench(FlowSetup(route: "upstream: \"main\", policies: [\(text)]"))
    for (organisation, outcome) in [("globex", "refused"), ("acme", "admitted")] {
      var request = Inquiry.Request()
      request.claims = Array("{\"sub\":\"ann\",\"org\":\"\(organisation)\"}".utf8)
      request.method = "GET"
      let inquiry = Inquiry.Topic.route("all", consumer: nil, key: nil, address: nil, request: request)
      let answer = try #require(ask(bench, inquiry).document)
      #expect(answer["outcome"]?.string == outcome)
      #expect(answer["rules"]?.elements.first?["name"]?.string == "require")
      #expect((answer["code"]?.string == "access-denied") == (outcome == "refused"))
    }
  }

  @Test("While a shared store is asked the inquiry waits; the answer says who gave it")
  func waits() throws {
    let quota = ScriptedQuota()
    let bench = try FlowBench(.usage, quota: { quota })
    quota.decision = .stale
    quota.source = .leased
    let answers = ask(bench, .route("b", consumer: "one", key: nil, address: nil))
    #expect(answers.count == 0 && quota.peekCount == 1)
    bench.resume(try #require(quota.next()))
    #expect(answers.count == 0 && quota.peekCount == 2)
    let ticket = try #require(quota.next())
    bench.resume(ticket)
    #expect(answers.document?["source"]?.string == "leased")
    bench.resume(ticket)
    #expect(answers.count == 1)
  }

  @Test("Nobody can say: that is said")
  func unavailable() throws {
    let quota = ScriptedQuota()
    quota.waits = false
    quota.decision = .unavailable
    quota.source = .closed
    let bench = try FlowBench(.usage, quota: { quota })
    let root = try #require(explain(bench, "b", "one").document)
    #expect(root["outcome"]?.string == "unknown" && root["code"]?.isNull == true && root["source"]?.isNull == true)
    #expect(root["explanation"]?.string?.hasSuffix("onStoreFailure holds, which is \"local\".") == true)
    #expect(root["levels"]?.elements.allSatisfy { $0["used"]?.isNull == true } == true)
  }

  @Test("A store that says only how levels stand is understood")
  func looks() throws {
    let quota = ScriptedQuota()
    quota.waits = false
    let bench = try FlowBench(.usage, quota: { quota })
    bench.origin()
    for _ in 0..<5 { _ = try bench.exchange(get("/b", "X-API-Key: one-a\r\n")) }
    quota.decision = .admitted
    #expect(explain(bench, "b", "one").document?["code"]?.string == "rate-limited")
  }

  @Test("More inquiries than a loop takes on are turned away, and those that nobody waits for make room")
  func bounded() throws {
    let quota = ScriptedQuota()
    let bench = try FlowBench(.usage, quota: { quota })
    for _ in 0..<64 { #expect(ask(bench, .usage(consumer: "two", address: nil)).count == 0) }
    #expect(ask(bench, .usage(consumer: "two", address: nil)).refusal == "busy")
    bench.world.run(for: .seconds(6))
    #expect(ask(bench, .usage(consumer: "two", address: nil)).count == 0)
  }
}
