import Core
import Pipeline
import Testing

@testable import Gateway

@Suite("Usage")
struct UsageTests {
  private func usage(_ bench: FlowBench, _ key: String? = "one-a", _ fields: String = "") throws -> WireMessage {
    try bench.exchange(get("/.sluice/usage", (key.map { "X-API-Key: \($0)\r\n" } ?? "") + fields))
  }

  private func limit(_ message: WireMessage, _ policy: String, _ name: String = "consumer") throws -> JSONValue {
    let limits = try #require(message.json?["limits"]).elements
    return try #require(limits.first { $0["policy"]?.string == policy && $0["name"]?.string == name })
  }

  @Test(
    "Without a good key callers are refused as by the routes, and told how to show one",
    arguments: [(nil, "api-key-missing"), ("nobody's", "api-key-invalid")] as [(String?, String)])
  func refused(key: String?, code: String) throws {
    let bench = try FlowBench(.usage)
    let refused = try usage(bench, key)
    #expect(refused.status == 401)
    #expect(refused.json?["type"]?.string == "urn:sluice:problem:\(code)")
    #expect(refused.fields["www-authenticate"]?.contains("ApiKey realm=\"sluice\", name=\"X-API-Key\"") == true)
    bench.expectRest()
  }

  @Test("Paths of the gateway's own lead nowhere else, whatever routes take everything")
  func reserved() throws {
    let bench = try FlowBench(.usage)
    let origin = bench.origin()
    for path in ["/.sluice", "/.sluice/", "/.sluice/usage/", "/.sluice/other?a=b"] {
      #expect(try bench.exchange(get(path)).status == 404)
    }
    let refused = try bench.exchange("DELETE /.sluice/usage HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(refused.status == 405 && refused["allow"] == "GET, HEAD")
    #expect(try bench.exchange(post("/.sluice/usage", "body", "X-API-Key: one-a\r\n")).status == 405)
    #expect(origin.requests.isEmpty)
    for path in ["/.sluices", "/.well-known/x"] { #expect(try bench.exchange(get(path)).status == 200) }
    #expect(origin.targets == ["/.sluices", "/.well-known/x"])
    bench.expectRest()
  }

  @Test("A file that has a route there is refused", arguments: ["/.sluice", "/.sluice/usage", "/.sluice/*"])
  func reservedInFiles(path: String) {
    let (blueprint, found) = readBlueprint(
      "{ listeners: [\"127.0.0.1:1\"], routes: [{ id: \"r\", match: { path: \"\(path)\" }, redirect: \"/\" }] }")
    #expect(blueprint == nil)
    #expect(found.contains { $0.contains("routes[0].match.path: paths below /.sluice are the gateway's own; ") })
  }

  @Test("Callers learn what they have used of each limit that they can meet, each counter once")
  func used() throws {
    let bench = try FlowBench(.usage)
    bench.origin()
    for path in ["/a", "/b", "/b"] { _ = try bench.exchange(get(path, "X-API-Key: one-a\r\n")) }
    _ = try bench.exchange(get("/open"))
    let answer = try usage(bench)
    #expect(answer.status == 200)
    #expect(answer["content-type"] == "application/json" && answer["cache-control"] == "no-store")
    #expect(answer["ratelimit"] == nil)
    let root = try #require(answer.json)
    #expect(root["consumer"]?.string == "one" && root["tenant"]?.string == "acme" && root["key"]?.string == "a")
    #expect(root["node"]?.string == "node" && root["complete"]?.bool == true)
    #expect(WallTime(rfc3339: root["time"]?.string ?? "") != nil)
    #expect(root["limits"]?.elements.count == 5)
    let rate = try limit(answer, "fair")
    #expect(rate["routes"]?.elements.map(\.string) == ["a", "b"])
    #expect(rate["kind"]?.string == "rate" && rate["limit"]?.integer == 10 && rate["mode"]?.string == "auto")
    #expect(rate["source"]?.string == "embedded" && rate["exhausted"]?.bool == false)
    #expect((1...3).contains(rate["used"]?.integer ?? 0))
    let day = try limit(answer, "fair", "tenant")
    #expect(day["kind"]?.string == "calendar" && day["used"]?.integer == 3 && day["remaining"]?.integer == 97)
    #expect(day["seconds"]?.integer == 86_400)
    #expect(day["reset"]?["at"]?.string?.hasSuffix("T00:00:00Z") == true)
    #expect(try limit(answer, "each", "key")["used"]?.integer == 2)
    #expect(try limit(answer, "open/rate-limit", "ip")["used"]?.integer == 1)
    #expect(try limit(answer, "gold/rate-limit")["reset"]?.isNull == true)
    bench.expectRest()
  }

  @Test("Asking takes nothing, and reports no other's key and no route that is closed to the caller")
  func others() throws {
    let bench = try FlowBench(.usage)
    bench.origin()
    _ = try bench.exchange(get("/b", "X-API-Key: one-a\r\n"))
    for _ in 0..<3 {
      let other = try usage(bench, "one-b")
      #expect(try limit(other, "each", "key")["used"]?.integer == 0)
      #expect(try limit(other, "fair", "tenant")["used"]?.integer == 1)
    }
    let two = try usage(bench, "two-a")
    #expect(try limit(two, "fair")["used"]?.integer == 0 && limit(two, "fair", "tenant")["used"]?.integer == 1)
    #expect(two.json?["limits"]?.elements.contains { $0["policy"]?.string == "gold/rate-limit" } == false)
    // A key is known by any of the policies.
    #expect(try usage(bench, nil, "X-Gold: one-a\r\n").status == 200)
    bench.expectRest()
  }

  @Test("A used-up limit says so, and until when")
  func exhausted() throws {
    let bench = try FlowBench(.usage)
    bench.origin()
    for _ in 0..<5 { _ = try bench.exchange(get("/b", "X-API-Key: one-a\r\n")) }
    let window = try limit(try usage(bench), "each", "key")
    #expect(window["exhausted"]?.bool == true && window["remaining"]?.integer == 0)
    #expect((1...60).contains(window["reset"]?["seconds"]?.integer ?? 0))
    #expect(window["forecast"]?["seconds"]?.integer == 0)
  }

  @Test("While a shared store is asked the request is parked, eight counters at a time")
  func waits() throws {
    let quota = ScriptedQuota()
    var setup = FlowSetup.usage
    for number in 0..<7 {
      setup.routes += """
        { id: "r\(number)", match: { path: "/r\(number)" }, upstream: "main",
          policies: ["key", { type: "rate-limit", limits: [{ per: "consumer", window: "\(number + 1)/1h" }] }] },
        """
    }
    let bench = try FlowBench(setup, quota: { quota })
    let client = bench.client(get("/.sluice/usage", "X-API-Key: one-a\r\n"))
    for round in 1...2 {
      bench.world.run(within: .seconds(1)) { quota.peekCount == round }
      #expect(client.responses.isEmpty)
      // The period of one of them was over when the store was asked: it is asked again.
      if round == 1 { quota.source = .local }
      bench.resume(try #require(quota.next()))
    }
    bench.world.run(within: .seconds(1)) { !client.responses.isEmpty }
    let limits = try #require(client.responses.first?.json?["limits"]).elements
    #expect(limits.count == 12 && quota.peekCount == 2)
    #expect(
      limits.map { $0["source"]?.string } == Array(repeating: "exact", count: 8) + Array(repeating: "local", count: 4))
    client.peer.close()
    bench.expectRest()
  }

  @Test("A period that is over by the answer is asked about anew; what nobody can say is null")
  func staleAndUnavailable() throws {
    let quota = ScriptedQuota()
    let bench = try FlowBench(.usage, quota: { quota })
    quota.decision = .stale
    let client = bench.client(get("/.sluice/usage", "X-API-Key: one-a\r\n"))
    bench.world.run(within: .seconds(1)) { quota.peekCount == 1 }
    quota.decision = .unavailable
    quota.source = .closed
    bench.resume(try #require(quota.next()))
    bench.resume(try #require(quota.next()))
    bench.world.run(within: .seconds(1)) { !client.responses.isEmpty }
    let rate = try limit(try #require(client.responses.first), "fair")
    #expect(rate["used"]?.isNull == true && rate["remaining"]?.isNull == true && rate["exhausted"]?.isNull == true)
    #expect(rate["source"]?.isNull == true && rate["limit"]?.integer == 10)
    client.peer.close()
    bench.expectRest()
  }

  @Test("A caller who leaves while the store is asked leaves nothing behind")
  func leaves() throws {
    let quota = ScriptedQuota()
    let bench = try FlowBench(.usage, quota: { quota })
    let client = bench.client(get("/.sluice/usage", "X-API-Key: one-a\r\n"))
    bench.world.run(within: .seconds(1)) { quota.peekCount == 1 }
    client.peer.reset()
    bench.world.settle()
    bench.resume(try #require(quota.next()))
    bench.expectRest()
  }

  @Test("A caller who keeps asking is told to wait, others are not")
  func pace() throws {
    let bench = try FlowBench(.usage)
    let texts = String(repeating: get("/.sluice/usage", "X-API-Key: one-a\r\n"), count: 12)
    let client = bench.client(texts)
    bench.world.run(within: .milliseconds(80)) { client.responses.count == 12 }
    #expect(client.statuses.prefix(10).allSatisfy { $0 == 200 } && client.statuses.contains(429))
    #expect(try usage(bench, "two-a").status == 200)
    client.peer.close()
    bench.world.run(for: .seconds(2))
    #expect(try usage(bench).status == 200)
  }

  @Test("Requests for usage count in metrics under a name of their own")
  func metrics() throws {
    let bench = try FlowBench(.usage)
    _ = try usage(bench)
    _ = try usage(bench, nil)
    let buffer = ByteBuffer()
    bench.shared.metrics.writeText(NodeFacts(), into: buffer)
    let text = String(decoding: buffer.array, as: UTF8.self)
    #expect(text.contains("sluice_requests_total{route=\"_usage\",class=\"2xx\"} 1"))
    #expect(text.contains("sluice_requests_total{route=\"_usage\",class=\"4xx\"} 1"))
  }
}

@Suite("Usage forecast")
struct UsageForecastTests {
  private func level(_ rule: LimitRule, _ remaining: Int64, isDenied: Bool = false) -> QuotaLevel {
    let day = CivilPeriod(start: WallTime(microseconds: 0), end: WallTime(microseconds: 86_400_000_000))
    var level = QuotaLevel(key: QuotaKey(low: 1, high: 1), rule: rule, cost: 1, period: day)
    level.remaining = remaining
    level.isDenied = isDenied
    return level
  }

  @Test(
    "What is used up is so now; a period's mean pace tells the rest; what refills tells nothing",
    arguments: [
      // limit 100 a day, seconds into the day, left, forecast in seconds
      (.calendar(limit: 100), 43_200, 25, 14_400), (.calendar(limit: 100), 43_200, 50, nil),
      (.calendar(limit: 100), 43_200, 100, nil), (.calendar(limit: 100), 863, 50, nil),
      (.calendar(limit: 100), 864, 50, 864),
      (.window(limit: 10, lengthMicroseconds: 60_000_000), 90, 4, 20),
      (.window(limit: 10, lengthMicroseconds: 60_000_000), 60, 4, nil),
      (.rate(intervalNanoseconds: 1_000_000_000, burst: 10), 90, 1, nil),
      (.sliding(limit: 10, lengthMicroseconds: 60_000_000), 90, 1, nil), (.concurrency(limit: 2), 90, 1, nil),
    ] as [(LimitRule, Int64, Int64, Int64?)])
  func forecast(rule: LimitRule, now: Int64, remaining: Int64, seconds: Int64?) {
    let civil = WallTime(microseconds: now * 1_000_000)
    #expect(UsageForecast.nanoseconds(level(rule, remaining), at: civil).map { $0 / 1_000_000_000 } == seconds)
    #expect(UsageForecast.nanoseconds(level(rule, 0, isDenied: true), at: civil) == 0)
  }
}
