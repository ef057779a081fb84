import Core
import Pipeline
import Synchronization
import Testing

@testable import Gateway

@Suite("Refusals explained")
struct RefusalTests {
  private func explain(_ bench: FlowBench, _ refused: WireMessage) throws -> Answers {
    let instance = try #require(refused.json?["instance"]?.string)
    let decision = try #require(DecisionID(text: instance))
    return ask(bench, .refusal(decision))
  }

  private func ask(_ bench: FlowBench, _ topic: Inquiry.Topic) -> Answers {
    let answers = Answers()
    bench.node.send(.inquire(Inquiry(topic) { answers.add($0) }))
    bench.world.run(for: .milliseconds(1))
    return answers
  }

  @Test("A decision that nobody remembers is said to be unknown")
  func unknown() throws {
    #expect(ask(try FlowBench(.usage), .refusal(DecisionID(high: 1, low: 2))).refusal == "no decision")
  }

  @Test("A refusal by a limit is explained level by level, as it was then")
  func limit() throws {
    let bench = try FlowBench(.usage)
    bench.origin()
    let request = get("/b", "X-API-Key: one-a\r\n")
    for _ in 0..<5 { #expect(try bench.exchange(request).status == 200) }
    let refused = try bench.exchange(request)
    #expect(refused.status == 429)
    bench.world.run(for: .seconds(90))
    let root = try #require(try explain(bench, refused).document)
    #expect(root["decision"]?.string == refused["x-request-id"])
    #expect(root["consumer"]?.string == "one" && root["tenant"]?.string == "acme" && root["key"]?.string == "a")
    #expect(root["route"]?.string == "b" && root["client"]?.string == "203.0.113.1")
    #expect(root["outcome"]?.string == "refused" && root["code"]?.string == "rate-limited")
    #expect(root["status"]?.integer == 429 && root["retryAfter"]?.integer == Int64(refused["retry-after"] ?? ""))
    #expect(root["source"]?.string == "embedded" && root["node"]?.string == "node")
    let prefix = "It was refused: of the limit \"key\" of \"each\" (5 in each window of 60 s) 0 of 5 were left. "
    #expect(root["explanation"]?.string?.hasPrefix(prefix) == true)
    let levels = root["levels"]?.elements ?? []
    #expect(levels.map { $0["policy"]?.string } == ["fair", "fair", "each"])
    #expect(levels.map { $0["binding"]?.bool } == [false, false, true])
    #expect(levels.map { $0["exhausted"]?.bool } == [false, false, true])
    #expect(levels.map { $0["used"]?.integer } == [5, 5, 5])
  }

  @Test("Other refusals are explained with what was wrong, malformed requests too")
  func others() throws {
    let bench = try FlowBench(.usage)
    let missing = try explain(bench, try bench.exchange(get("/a"))).document
    #expect(missing?["code"]?.string == "api-key-missing" && missing?["route"]?.string == "a")
    #expect(missing?["consumer"] == nil && missing?["levels"]?.count == 0 && missing?["retryAfter"]?.isNull == true)
    let malformed = try explain(bench, try bench.exchange("GET / HTTP/1.1\r\n\r\n")).document
    #expect(malformed?["route"]?.isNull == true && malformed?["code"]?.string == "malformed-request")
    #expect(malformed?["explanation"]?.string?.contains(" What was wrong: ") == true)
    // Nobody listens behind the gateway: the limits had admitted it.
    let failed = try explain(bench, try bench.exchange(get("/a", "X-API-Key: one-a\r\n"))).document
    #expect(failed?["status"]?.integer == 502 || failed?["status"]?.integer == 503)
    #expect(failed?["explanation"]?.string?.hasSuffix("No limit stood against it, and all were taken from.") == true)
    #expect(failed?["levels"]?.count == 2)
  }

  @Test("A refusal is explained by the configuration that it was made under")
  func reload() throws {
    let bench = try FlowBench(.usage)
    bench.origin()
    let request = get("/b", "X-API-Key: one-a\r\n")
    for _ in 0..<5 { _ = try bench.exchange(request) }
    let refused = try bench.exchange(request)
    try bench.reload(FlowSetup())
    let root = try #require(try explain(bench, refused).document)
    #expect(root["route"]?.string == "b" && root["consumer"]?.string == "one" && root["levels"]?.count == 3)
  }

  @Test("A flood of refusals of one kind displaces the oldest of them, and none of the other kind")
  func bounded() {
    let ring = RefusalRing()
    func add(_ number: UInt64, _ limits: LimitDecision) {
      var record = RefusalRecord()
      record.decision = DecisionID(high: 0, low: number)
      record.limits = limits
      ring.add(record)
    }
    add(0, .denied)
    for number in 1...300 { add(UInt64(number), .none) }
    #expect(ring.find(DecisionID(high: 0, low: 0)) != nil)
    #expect(ring.find(DecisionID(high: 0, low: 44)) == nil && ring.find(DecisionID(high: 0, low: 45)) != nil)
    for number in 301...556 { add(UInt64(number), .unavailable) }
    #expect(ring.find(DecisionID(high: 0, low: 0)) == nil && ring.find(DecisionID(high: 0, low: 556)) != nil)
  }

  @Test("Of several loops the one that knows answers, or the last that does not")
  func loops() {
    let answers = Answers()
    let all = Inquiry(.refusal(DecisionID(high: 0, low: 0))) { answers.add($0) }.toAll(3)
    all.answer(.unknown("decision"))
    all.answer(.busy)
    #expect(answers.count == 0)
    all.answer(.unknown("decision"))
    #expect(answers.count == 1)
    let known = Answers()
    let other = Inquiry(.refusal(DecisionID(high: 0, low: 0))) { known.add($0) }.toAll(2)
    other.answer(.document(Array("{}".utf8)))
    other.answer(.unknown("decision"))
    #expect(known.count == 1 && known.document != nil)
  }

  @Test(
    "What is no decision's name is not read as one",
    arguments: [
      "", "0", String(repeating: "g", count: 32), "+" + String(repeating: "0", count: 31), "urn:sluice:decision:",
    ])
  func malformedName(text: String) { #expect(DecisionID(text: text) == nil) }

  @Test("A decision's name is read alone and as a problem document has it", arguments: ["", "urn:sluice:decision:"])
  func name(prefix: String) {
    #expect(
      DecisionID(text: prefix + "0123456789abcdefFEDCBA9876543210")
        == DecisionID(high: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210))
  }
}
