import Core
import Crypto
import HTTP
import Pipeline
import Policies
import Testing

@Suite("external-auth: what is remembered")
struct ExternalAuthCacheTests {
  private static let plain = "GET /a?b=c HTTP/1.1\nHost: shop.example"

  private func bench(_ options: String = "", before: String...) throws -> Bench {
    let bench = try Bench(consumers: [
      Consumer(
        id: "app", tenant: "acme", groups: ["gold", "eu"], keys: [ConsumerKey(id: "k", digest: digest("secret"))]),
      Consumer(id: "web", keys: [ConsumerKey(id: "k", digest: digest("other"))]),
    ])
    #expect(try bench.use(policies: before + [policy(options)]) == [])
    return bench
  }

  private func policy(_ options: String = "") -> String {
    "{ type: \"external-auth\", url: \"http://127.0.0.1:9000/check?v=1\"\(options) }"
  }

  private func answer(_ status: UInt16, _ fields: [(String, String)] = [], _ body: String = "") -> FetchOutcome {
    .answered(status: status, fields: fields.map { FetchField($0.0, $0.1) }, body: Array(body.utf8))
  }

  @Test("Without a cache the service is asked about every request")
  func uncached() throws {
    let bench = try bench()
    for status in [200, 403, 200] as [UInt16] {
      #expect(bench.ask(Self.plain, answer(status)).verdict == (status == 200 ? "next" : "403"))
    }
  }

  @Test("Answers hold for a while, good ones and others for times of their own")
  func remembered() throws {
    let bench = try bench(", upstreamHeaders: [\"X-User\"], cache: { time: \"10s\", refusalTime: \"2s\" }")
    let passes = bench.ask(Self.plain, answer(200, [("x-user", "ann")]))
    bench.world.advance(seconds: 9.9)
    let again = bench.send(Self.plain + "\nX-User: root")
    #expect(again.verdict == "next" && again.requestFields == passes.requestFields && again.passed == ["host"])
    bench.world.advance(seconds: 0.1)
    #expect(bench.ask(Self.plain, answer(403)).verdict == "403")
    bench.world.advance(seconds: 1.9)
    #expect(bench.send(Self.plain).code == "access-denied")
    bench.world.advance(seconds: 0.1)
    #expect(bench.ask(Self.plain, answer(200)).verdict == "next")
  }

  @Test("While the service is gone nothing holds for longer")
  func goneRemembered() throws {
    let bench = try bench(", cache: { time: \"10s\" }")
    #expect(bench.ask(Self.plain, answer(200)).verdict == "next")
    bench.world.advance(seconds: 10)
    for _ in 0..<2 { #expect(bench.ask(Self.plain, .failed("down")).code == "authorization-unavailable") }
    #expect(bench.ask(Self.plain, answer(404)).code == "authorization-unavailable")
    #expect(bench.ask(Self.plain, answer(200)).verdict == "next")
  }

  @Test(
    "What the service says about keeping its answer holds, and a cookie is for one client",
    arguments: [
      ("cache-control", "no-store"), ("cache-control", "private, no-cache"), ("cache-control", "max-age=0"),
      ("set-cookie", "a=1"),
    ])
  func notKept(name: String, value: String) throws {
    let bench = try bench(", cache: { time: \"1h\", refusalTime: \"1h\" }")
    for status in [200, 403] as [UInt16] {
      for _ in 0..<2 { #expect(bench.ask(Self.plain, answer(status, [(name, value)])).verdict != "503") }
      #expect(bench.send(Self.plain).verdict == "wait")
      _ = bench.fetches.orders.popLast()
      bench.world.advance(seconds: 20)
    }
  }

  @Test("The service may shorten the time, and not prolong it")
  func maxAge() throws {
    let bench = try bench(", cache: { time: \"10s\" }")
    #expect(bench.ask(Self.plain, answer(200, [("cache-control", "max-age=3")])).verdict == "next")
    bench.world.advance(seconds: 2.9)
    #expect(bench.send(Self.plain).verdict == "next")
    bench.world.advance(seconds: 0.1)
    #expect(bench.ask(Self.plain, answer(200, [("cache-control", "max-age=99999999999")])).verdict == "next")
    bench.world.advance(seconds: 10)
    #expect(bench.ask(Self.plain, answer(403)).verdict == "403")
  }

  @Test(
    "Requests that differ in something that the service is told are told apart",
    arguments: [
      "POST /a?b=c HTTP/1.1\nHost: shop.example", "GET /b?b=c HTTP/1.1\nHost: shop.example",
      "GET /a?b=d HTTP/1.1\nHost: shop.example", "GET /a HTTP/1.1\nHost: shop.example",
      "GET /a?b=c HTTP/1.1\nHost: other.example", "GET /a?b=c HTTP/1.1\nHost: shop.example\nCookie: a",
      "GET /a?b=c HTTP/1.1\nHost: shop.example\nAuthorization: Bearer b",
      "GET /a?b=c HTTP/1.1\nHost: shop.example\nCookie:",
    ])
  func apart(text: String) throws {
    let bench = try bench(", cache: { time: \"10s\" }")
    #expect(bench.ask(Self.plain, answer(200)).verdict == "next")
    #expect(bench.send(Self.plain).verdict == "next")
    #expect(bench.send(Self.plain, from: "192.0.2.2").verdict == "wait")
    #expect(bench.send(text).verdict == "wait")
  }

  @Test("Parts of a key never run together")
  func parts() throws {
    let bench = try bench(
      ", requestHeaders: [\"X-A\", \"X-B\"], cache: { time: \"10s\", key: [\"header:x-a\", \"header:X-B\"] }")
    // Without lengths these two would be one text with their counts, "1a1b1c".
    #expect(bench.ask(Self.plain + "\nX-A: a1b\nX-B: c", answer(200)).verdict == "next")
    #expect(bench.send(Self.plain + "\nX-A: a\nX-B: b1c").verdict == "wait")
    _ = bench.fetches.orders.popLast()
    #expect(bench.ask(Self.plain + "\nX-A: ab\nX-B: c", answer(200)).verdict == "next")
    #expect(bench.send("GET /other HTTP/1.1\nHost: b\nX-A: ab\nX-B: c").verdict == "next")
    let others = ["\nX-A: a\nX-B: bc", "\nX-A: abc\nX-B:", "\nX-A: ab\nX-A: c", "\nX-A: c\nX-B: ab", "\nX-A: abc", ""]
    for fields in others {
      #expect(bench.send(Self.plain + fields).verdict == "wait", "\(fields)")
    }
  }

  @Test("An answer about one caller is not one about another, whatever the key")
  func callers() throws {
    let bench = try bench(
      ", requestHeaders: [], cache: { time: \"10s\", key: [\"path\"] }", before: "{ type: \"api-key\", optional: true }"
    )
    #expect(bench.ask(Self.plain + "\nX-API-Key: secret", answer(200)).verdict == "next")
    #expect(bench.send(Self.plain + "\nX-API-Key: secret").verdict == "next")
    #expect(bench.send(Self.plain + "\nX-API-Key: other").verdict == "wait")
    #expect(bench.send(Self.plain).verdict == "wait")
  }

  @Test("Requests with one key wait for one answer where answers are remembered, and for their own elsewhere")
  func singleFlight() throws {
    for (options, count) in [(", cache: { time: \"10s\" }", 1), ("", 5)] {
      let bench = try bench(options)
      let callers = (1...5).map { AskingCaller(bench, ticket: UInt64($0)) }
      #expect(callers.allSatisfy { $0.send(Self.plain).verdict == "wait" })
      #expect(bench.fetches.orders.count == count)
      let outcomes = bench.answer(answer(200), to: callers)
      #expect(outcomes.count == 6 - count && outcomes.allSatisfy { $0.verdict == "next" })
    }
  }

  @Test("Two policies never wait for one answer, though they ask one service the same")
  func policiesApart() throws {
    let bench = try bench(", cache: { time: \"10s\" }")
    #expect(AskingCaller(bench, ticket: 1).send(Self.plain).verdict == "wait")
    let other = make(policy(", cache: { time: \"10s\" }"), instance: "other")
    #expect(other.remarks == [])
    bench.chain = try Registry.chain(of: [#require(other.step)])
    #expect(AskingCaller(bench, ticket: 2).send(Self.plain).verdict == "wait")
    #expect(bench.fetches.orders.count == 2)
  }

  @Test(
    "An answer that is for one client alone is given to one, and those who have waited for it ask for themselves",
    arguments: [("set-cookie", "a=1"), ("cache-control", "no-store")])
  func personal(name: String, value: String) throws {
    let bench = try bench(", clientHeaders: [\"Set-Cookie\", \"X-Id\"], cache: { time: \"10s\" }")
    let callers = (1...3).map { AskingCaller(bench, ticket: UInt64($0)) }
    #expect(callers.allSatisfy { $0.send(Self.plain).verdict == "wait" } && bench.fetches.orders.count == 1)
    let outcomes = bench.answer(answer(200, [(name, value), ("x-id", "1")]), to: callers)
    #expect(outcomes.map(\.verdict) == ["next", "wait", "wait"] && bench.fetches.orders.count == 2)
    for number in 2...3 {
      let own = bench.answer(answer(200, [(name, value), ("x-id", "\(number)")]), to: callers)
      #expect(own.map(\.verdict) == ["next"])
      let fields = own.first?.responseFields ?? ""
      #expect(fields.contains("X-Id: \(number)\r\n") && !fields.contains("X-Id: 1"))
    }
  }
}

extension Bench {
  /// Uses these policies; returns what is wrong with them.
  func use(policies texts: [String]) throws -> [String] {
    let made = texts.enumerated().map { make($0.element, instance: "policy-\($0.offset)") }
    chain = try Registry.chain(of: made.compactMap(\.step))
    return made.flatMap(\.remarks)
  }
}
