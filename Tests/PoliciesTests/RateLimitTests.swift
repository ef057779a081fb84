import Core
import Crypto
import Pipeline
import Policies
import Testing

@Suite("rate-limit")
struct RateLimitTests {
  let plain = "GET / HTTP/1.1\nHost: a"

  func bench(_ limits: String...) throws -> Bench {
    let bench = try Bench(consumers: [
      Consumer(
        id: "one", tenant: "acme", groups: ["gold"],
        keys: [ConsumerKey(id: "a", digest: digest("one-a")), ConsumerKey(id: "b", digest: digest("one-b"))]),
      Consumer(id: "two", tenant: "acme", groups: ["gold"], keys: [ConsumerKey(id: "a", digest: digest("two-a"))]),
      Consumer(id: "three", keys: [ConsumerKey(id: "a", digest: digest("three-a"))]),
    ])
    let list = limits.joined(separator: ", ")
    #expect(try bench.use("{ type: \"rate-limit\", limits: [\(list)] }", "{ type: \"api-key\", optional: true }") == [])
    return bench
  }

  @Test("Beyond the limit a request is refused with the fields of the draft and Retry-After")
  func refusal() throws {
    let bench = try bench("{ per: \"ip\", window: \"3/1m\" }")
    for left in [2, 1, 0] {
      let outcome = bench.send(plain)
      #expect(outcome.verdict == "next")
      #expect(outcome.responseFields.hasPrefix("RateLimit-Policy: \"ip\";q=3;w=60\r\nRateLimit: \"ip\";r=\(left);t="))
    }
    let denied = bench.send(plain)
    #expect(denied.verdict == "429" && denied.code == "rate-limited")
    #expect((1...60).contains(denied.retryAfter))
    #expect(denied.responseFields.hasSuffix("RateLimit: \"ip\";r=0;t=\(denied.retryAfter)\r\n"))
    bench.world.advance(seconds: Double(denied.retryAfter))
    #expect(bench.send(plain).verdict == "next")
  }

  @Test(
    "Numbers and names of any width are told whole",
    arguments: [
      2, 11, 100, 10_000, 10_001, 99_999_999, 100_000_000, 100_000_001, 123_456_789_012, 9_007_199_254_740_992,
    ] as [Int64])
  func widths(limit: Int64) throws {
    for count in 1...20 {
      let name = String(repeating: "n", count: count)
      let bench = try bench("{ per: \"ip\", name: \"\(name)\", window: \"\(limit)/366d\" }")
      let fields = bench.send(plain).responseFields
      let opening = "RateLimit-Policy: \"\(name)\";q=\(limit);w=31622400\r\nRateLimit: \"\(name)\";r=\(limit - 1);t="
      #expect(fields.hasPrefix(opening) && fields.hasSuffix("\r\n"))
      #expect((1...31_622_400).contains(Int(fields.dropFirst(opening.count).dropLast()) ?? 0))
    }
  }

  @Test("A rate admits its burst and then one by one, telling when the next is due")
  func rate() throws {
    let bench = try bench("{ per: \"ip\", rate: \"2/s\", burst: 3 }")
    for _ in 0..<3 { #expect(bench.send(plain).verdict == "next") }
    let denied = bench.send(plain)
    #expect(denied.verdict == "429" && denied.retryAfter == 1)
    #expect(denied.responseFields == "RateLimit-Policy: \"ip\";q=3;w=2\r\nRateLimit: \"ip\";r=0;t=1\r\n")
    bench.world.advance(seconds: 0.5)
    #expect(bench.send(plain).verdict == "next")
    #expect(bench.send(plain).verdict == "429")
  }

  @Test("A calendar quota begins again at midnight in its zone")
  func calendar() throws {
    let bench = try bench("{ per: \"ip\", quota: \"2/day\", timezone: \"Europe/Berlin\" }")
    // 2026-10-24T23:59:59 in Berlin; the next day has 25 hours.
    bench.world.wallTime = WallTime(microseconds: 1_792_879_199_000_000)
    #expect(bench.send(plain).verdict == "next")
    #expect(bench.send(plain).responseFields.contains("r=0;t=1\r\n"))
    #expect(bench.send(plain).retryAfter == 1)
    bench.world.advance(seconds: 1)
    for _ in 0..<2 { #expect(bench.send(plain).verdict == "next") }
    #expect(bench.send(plain).retryAfter == 90_000)
    bench.world.advance(seconds: 89_999)
    #expect(bench.send(plain).verdict == "429")
    bench.world.advance(seconds: 1)
    #expect(bench.send(plain).verdict == "next")
  }

  @Test("Slots are held until the exchange ends, however it ends")
  func concurrency() throws {
    let bench = try bench("{ per: \"ip\", concurrency: 2 }")
    var running: [Exchange] = []
    for _ in 0..<2 { #expect(bench.send(plain, keep: { running.append($0) }).verdict == "next") }
    for _ in 0..<5 {
      let denied = bench.send(plain)
      #expect(denied.verdict == "429" && denied.code == "concurrency-limited" && denied.retryAfter == 1)
      #expect(denied.responseFields.hasSuffix("\"ip\";q=2;qu=\"concurrent-requests\"\r\nRateLimit: \"ip\";r=0\r\n"))
    }
    bench.chain.end(&running[0], bench.services)
    bench.chain.end(&running[0], bench.services)
    #expect(bench.send(plain, keep: { running.append($0) }).verdict == "next")
    #expect(bench.send(plain).verdict == "429")
  }

  @Test("Costs count, and a denial by one limit leaves the others as they were")
  func levels() throws {
    let bench = try bench(
      "{ per: \"ip\", window: \"100/1h\", cost: 10, name: \"wide\" }", "{ per: \"ip\", rate: \"1/s\", burst: 2 }")
    for _ in 0..<2 { #expect(bench.send(plain).verdict == "next") }
    for _ in 0..<20 { #expect(bench.send(plain).responseFields.contains("RateLimit: \"ip\";r=0;t=1\r\n")) }
    bench.world.advance(seconds: 2)
    for _ in 0..<2 { #expect(bench.send(plain).verdict == "next") }
    // 40 of 100 are used: six more seconds of one request each.
    for _ in 0..<6 {
      bench.world.advance(seconds: 1)
      #expect(bench.send(plain).verdict == "next")
    }
    bench.world.advance(seconds: 1)
    let denied = bench.send(plain)
    #expect(denied.verdict == "429" && denied.retryAfter > 60)
    #expect(
      denied.responseFields.hasPrefix(
        "RateLimit-Policy: \"wide\";q=100;w=3600, \"ip\";q=2;w=2\r\nRateLimit: \"wide\";r=0;t="))
  }

  @Test("The limits of all rate-limit policies of a route are decided as one")
  func joined() throws {
    let bench = try Bench()
    try bench.use(
      "{ type: \"rate-limit\", limits: [{ per: \"ip\", window: \"10/1h\" }] }",
      "{ type: \"rate-limit\", limits: [{ per: \"ip\", window: \"1/1h\" }] }")
    #expect(bench.chain.limitNames == ["ip", "ip-2"])
    #expect(bench.send(plain).verdict == "next")
    for _ in 0..<20 { #expect(bench.send(plain).verdict == "429") }
    let names = bench.send(plain).responseFields
    #expect(names.hasPrefix("RateLimit-Policy: \"ip\";q=10;w=3600, \"ip-2\";q=1;w=3600\r\nRateLimit: \"ip-2\";r=0;"))
  }

  @Test("More limits on a route than can be decided together are refused")
  func tooMany() throws {
    let four = Array(repeating: "{ per: \"ip\", window: \"10/1h\" }", count: 5).joined(separator: ", ")
    let text = "{ type: \"rate-limit\", limits: [\(four)] }"
    #expect(throws: Registry.ChainFault.tooManyLimits) { try Bench().use(text, text) }
  }

  /// Two requests that a limit counts as one, and one that it counts apart.
  struct Counting: Sendable, CustomTestStringConvertible {
    let per: String
    let first: Caller
    let same: Caller
    let other: Caller
    var testDescription: String { per }
  }

  struct Caller: Sendable {
    var key = ""
    var address = "192.0.2.1"
    var route: Int32 = 0
    var field = ""
  }

  @Test(
    "Callers share a counter or have their own, as the limit counts",
    arguments: [
      Counting(
        per: "\"consumer\"", first: Caller(key: "one-a"), same: Caller(key: "one-b"), other: Caller(key: "two-a")),
      Counting(per: "\"key\"", first: Caller(key: "one-a"), same: Caller(key: "one-a"), other: Caller(key: "one-b")),
      Counting(
        per: "\"tenant\"", first: Caller(key: "one-a"), same: Caller(key: "two-a"), other: Caller(key: "three-a")),
      Counting(
        per: "\"group\"", first: Caller(key: "one-a"), same: Caller(key: "two-a"), other: Caller(key: "three-a")),
      Counting(per: "\"route\"", first: Caller(), same: Caller(address: "192.0.2.9"), other: Caller(route: 1)),
      Counting(
        per: "\"ip\"", first: Caller(key: "one-a"), same: Caller(key: "two-a"), other: Caller(address: "192.0.2.2")),
      Counting(
        per: "\"ip\"", first: Caller(address: "2001:db8::1"), same: Caller(address: "2001:db8::2:1"),
        other: Caller(address: "2001:db8:0:1::1")),
      Counting(
        per: "\"header:X-Device\"", first: Caller(field: "a"), same: Caller(address: "192.0.2.9", field: "a"),
        other: Caller(field: "b")),
      Counting(per: "\"consumer\"", first: Caller(), same: Caller(), other: Caller(address: "192.0.2.2")),
      Counting(
        per: "[\"consumer\", \"route\"]", first: Caller(key: "one-a"), same: Caller(key: "one-b"),
        other: Caller(key: "one-a", route: 1)),
    ])
  func subjects(_ counting: Counting) throws {
    let bench = try bench("{ per: \(counting.per), window: \"1/1h\" }")
    func send(_ caller: Caller) -> String {
      let key = caller.key.isEmpty ? "" : "\nX-API-Key: \(caller.key)"
      let field = caller.field.isEmpty ? "" : "\nX-Device: \(caller.field)"
      return bench.send(plain + key + field, from: caller.address, route: caller.route).verdict
    }
    #expect(send(counting.first) == "next")
    #expect(send(counting.same) == "429")
    #expect(send(counting.other) == "next")
  }

  @Test("A limit that is raised by a reload keeps what has been used")
  func reload() throws {
    let bench = try bench("{ per: \"ip\", window: \"2/1h\" }")
    for _ in 0..<2 { _ = bench.send(plain) }
    #expect(bench.send(plain).verdict == "429")
    try bench.use("{ type: \"rate-limit\", limits: [{ per: \"ip\", window: \"3/1h\" }] }")
    #expect(bench.send(plain).verdict == "next")
    #expect(bench.send(plain).verdict == "429")
  }

  @Test("Where the quota cannot say, requests are refused with 503 and Retry-After")
  func unavailable() throws {
    let quota = ScriptedQuota(.unavailable)
    let bench = try Bench(quota: quota)
    try bench.use("{ type: \"rate-limit\", limits: [{ per: \"ip\", window: \"2/1h\" }] }")
    let outcome = bench.send(plain)
    #expect(outcome.verdict == "503" && outcome.code == "quota-unavailable" && outcome.retryAfter == 1)
  }

  @Test(
    "A response whose limits were decided without the store says so, refused or not",
    arguments: [
      (LimitDecision.admitted, LimitSource.local, "next", "Sluice-Degraded: local"),
      (.denied, .local, "429", "Sluice-Degraded: local"),
      (.admitted, .open, "next", "Sluice-Degraded: open"),
      (.unavailable, .closed, "503", "Sluice-Degraded: closed"),
      (.admitted, .exact, "next", ""), (.denied, .denyCache, "429", ""), (.admitted, .leased, "next", ""),
      (.unavailable, .embedded, "503", ""),
    ])
  func degraded(decision: LimitDecision, source: LimitSource, verdict: String, field: String) throws {
    let bench = try Bench(quota: ScriptedQuota(decision, source))
    try bench.use("{ type: \"rate-limit\", limits: [{ per: \"ip\", window: \"2/1h\" }] }")
    let outcome = bench.send(plain)
    #expect(outcome.verdict == verdict)
    let fields = outcome.responseFields.split(separator: "\r\n")
    #expect(fields.filter { $0.hasPrefix("Sluice-") }.map(String.init) == (field.isEmpty ? [] : [field]))
    // What the limit says stays where it was.
    #expect(fields.contains { $0.hasPrefix("RateLimit:") } == (decision != .unavailable))
  }

  @Test("An exchange whose quota takes time waits, and goes on with the answer")
  func waiting() throws {
    let bench = try Bench(quota: ScriptedQuota(.waiting))
    try bench.use(
      "{ type: \"rate-limit\", limits: [{ per: \"ip\", window: \"2/1h\" }] }", "{ type: \"respond\", status: 218 }")
    var parked = Exchange()
    #expect(bench.send(plain, keep: { parked = $0 }).verdict == "wait")
    parked.limits.decision = .denied
    guard case .refuse(let refusal) = bench.chain.resume(&parked, bench.request, bench.services) else {
      Issue.record("the denial was not taken")
      return
    }
    #expect(refusal.status == 429)
    parked.limits.decision = .admitted
    guard case .reply = bench.chain.resume(&parked, bench.request, bench.services) else {
      Issue.record("the chain did not go on")
      return
    }
    #expect(parked.replyStatus == 218)
  }

  @Test("Clients are not told where that is switched off")
  func silent() throws {
    let bench = try Bench()
    try bench.use("{ type: \"rate-limit\", headers: false, limits: [{ per: \"ip\", window: \"1/1h\" }] }")
    #expect(bench.send(plain).responseFields == "")
    #expect(bench.send(plain).responseFields == "")
  }

  @Test(
    "Wrong limits are named",
    arguments: [
      ("{ per: \"ip\" }", "limits[0].per: no limit is given"),
      ("{ per: \"ip\", rate: \"1/s\", window: \"1/1m\" }", "limits[0].window: rate and window exclude each other"),
      ("{ per: \"ip\", rate: \"0/s\" }", "limits[0].rate: \"0/s\" is not a rate"),
      ("{ per: \"ip\", rate: \"10000001/s\" }", "limits[0].rate: the rate is too high"),
      ("{ per: \"ip\", rate: \"1/fortnight\" }", "limits[0].rate: \"fortnight\" is not a span of time"),
      ("{ per: \"ip\", window: \"1/10ms\" }", "limits[0].window: \"10ms\" is not a span of 1s to 366d"),
      (
        "{ per: \"ip\", window: \"5000000000/1m\", algorithm: \"sliding\" }",
        "limits[0].window: a sliding window counts to 4294967295"
      ),
      ("{ per: \"ip\", quota: \"1/dya\" }", "limits[0].quota: \"dya\" is not a calendar period"),
      ("{ per: \"ip\", quota: \"1/day\", timezone: \"Mars\" }", "limits[0].timezone: there is no time zone \"Mars\""),
      (
        "{ per: \"ip\", window: \"5/1m\", cost: 6 }",
        "limits[0].cost: no request would ever pass: it costs 6, and the limit is 5"
      ),
      (
        "{ per: \"ip\", rate: \"1/day\", burst: 100000 }",
        "limits[0].burst: the burst is more than 146 years of the rate"
      ),
      ("{ per: \"ip\", window: \"5/1m\", burst: 6 }", "limits[0].burst: a burst belongs to a rate"),
      ("{ per: \"ip\", concurrency: 5, cost: 1 }", "limits[0].cost: a request takes one slot"),
      ("{ per: \"moon\", window: \"5/1m\" }", "limits[0].per[0]: \"moon\" is not something that can be counted"),
      (
        "{ per: \"claim:\", window: \"5/1m\" }",
        "limits[0].per[0]: \"claim:\" is not something that can be counted"
      ),
      ("{ per: \"ip\", window: \"5/1m\", name: \"a b\" }", "limits[0].name: \"a b\" cannot stand in a field"),
    ])
  func wrongLimits(limit: String, remark: String) {
    #expect(make("{ type: \"rate-limit\", limits: [\(limit)] }").remarks == [remark])
  }

  @Test("The limits of the contract's example are understood")
  func contract() {
    let text = """
      { type: "rate-limit", limits: [
        { per: "consumer", rate: "100/s", burst: 200 },
        { per: "consumer", quota: "100000/day", timezone: "Europe/Berlin" },
        { per: "tenant", window: "20000/1m" },
      ], mode: "auto", onStoreFailure: "local" }
      """
    #expect(make(text).remarks == [])
  }
}

/// A quota that always says the same.
final class ScriptedQuota: Quota {
  let subjectKey = SipKey(low: 0, high: 0)
  let decision: LimitDecision
  let source: LimitSource
  init(_ decision: LimitDecision, _ source: LimitSource = .embedded) {
    self.decision = decision
    self.source = source
  }
  func civilTime(now: Instant, wall: WallTime) -> WallTime { wall }
  func decide(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {
    question.decision = decision
    question.source = source
  }
  func peek(_ question: inout LimitQuestion, ticket: UInt64, now: Instant, civil: WallTime) {
    question.decision = decision
  }
  func collect(_ question: inout LimitQuestion, ticket: UInt64) {}
  func release(_ question: inout LimitQuestion, now: Instant) {}
}
