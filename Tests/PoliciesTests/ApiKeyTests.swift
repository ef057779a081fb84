import Core
import Pipeline
import Policies
import Testing

@Suite("api-key")
struct ApiKeyTests {
  func bench(_ options: String) throws -> Bench {
    let past = WallTime(microseconds: 1_000)
    let future = WallTime(microseconds: 4_000_000_000_000_000)
    let bench = try Bench(consumers: [
      Consumer(
        id: "mobile", tenant: "acme", groups: ["gold", "beta"],
        keys: [
          ConsumerKey(id: "old", digest: digest("key-old")), ConsumerKey(id: "new", digest: digest("key-new")),
          ConsumerKey(id: "past", digest: digest("key-past"), expires: past),
          ConsumerKey(id: "soon", digest: digest("key-soon"), notBefore: future),
        ]),
      Consumer(id: "other", keys: [ConsumerKey(id: "k", digest: digest("a b+c%"))]),
    ])
    #expect(try bench.use("{ type: \"api-key\"\(options) }") == [])
    return bench
  }

  @Test("A request without a key is refused, and told how to send one")
  func missing() throws {
    let outcome = try bench("").send("GET / HTTP/1.1\nHost: a")
    #expect(outcome.verdict == "401" && outcome.code == "api-key-missing")
    #expect(outcome.responseFields == "WWW-Authenticate: ApiKey realm=\"sluice\", name=\"X-API-Key\"\r\n")
  }

  @Test(
    "A key that is unknown, expired, not yet valid, empty or too long is refused alike",
    arguments: ["key-ol", "key-old ,", "KEY-OLD", "key-past", "key-soon", "", String(repeating: "k", count: 513)])
  func invalid(key: String) throws {
    let outcome = try bench("").send("GET / HTTP/1.1\nHost: a\nX-API-Key: \(key)")
    #expect(outcome.verdict == "401" && outcome.code == "api-key-invalid")
    #expect(outcome.consumer == -1)
  }

  @Test(
    "More than one key is refused, in one place or in several",
    arguments: [
      "GET / HTTP/1.1\nHost: a\nX-Key: key-old\nx-key: key-old", "GET /?k=key-old HTTP/1.1\nHost: a\nX-Key: key-old",
      "GET /?k=key-old&a=b&k=x HTTP/1.1\nHost: a",
      "GET / HTTP/1.1\nHost: a\nX-Key: key-old\nAuthorization: Bearer key-old",
    ])
  func ambiguous(request: String) throws {
    let outcome = try bench(", header: \"X-Key\", query: \"k\", bearer: true").send(request)
    #expect(outcome.verdict == "400" && outcome.code == "api-key-ambiguous")
  }

  @Test(
    "Every active key identifies its consumer, and never goes on to the upstream", arguments: ["key-old", "key-new"])
  func header(key: String) throws {
    let outcome = try bench("").send("GET / HTTP/1.1\nHost: a\nAccept: */*\nx-api-key: \(key)")
    #expect(outcome.verdict == "next" && outcome.consumer == 0)
    #expect(outcome.passed == ["host", "accept"])
    #expect(outcome.requestFields.isEmpty && outcome.responseFields.isEmpty)
  }

  @Test("A key that has been seen before is refused as soon as its time is over")
  func remembered() throws {
    let bench = try Bench(consumers: [
      Consumer(
        id: "a",
        keys: [
          ConsumerKey(id: "k", digest: digest("secret"), expires: WallTime(microseconds: 1_790_000_010_000_000))
        ])
    ])
    try bench.use("{ type: \"api-key\" }")
    let request = "GET / HTTP/1.1\nHost: a\nX-API-Key: secret"
    for _ in 0..<3 { #expect(bench.send(request).verdict == "next") }
    bench.world.advance(seconds: 10)
    #expect(bench.send(request).code == "api-key-invalid")
  }

  @Test("Many keys in turn are each taken for their own holder")
  func manyHolders() throws {
    let bench = try Bench(
      consumers: (0..<300).map { Consumer(id: "\($0)", keys: [ConsumerKey(id: "k", digest: digest("secret \($0)"))]) })
    try bench.use("{ type: \"api-key\" }")
    for _ in 0..<3 {
      for index in 0..<300 {
        #expect(bench.send("GET / HTTP/1.1\nHost: a\nX-API-Key: secret \(index)").consumer == Int32(index))
        #expect(bench.send("GET / HTTP/1.1\nHost: a\nX-API-Key: secret \(index + 300)").verdict == "401")
      }
    }
  }

  @Test("A bearer token is taken in any case and stripped; another scheme is no key and stays")
  func bearer() throws {
    let bench = try bench(", bearer: true")
    let other = bench.send("GET / HTTP/1.1\nHost: a\nAuthorization: Basic key-old")
    #expect(other.code == "api-key-missing" && other.passed.contains("authorization"))
    #expect(other.responseFields == "WWW-Authenticate: Bearer realm=\"sluice\"\r\n")
    let wrong = bench.send("GET / HTTP/1.1\nHost: a\nAuthorization: Bearer nobody")
    #expect(wrong.responseFields == "WWW-Authenticate: Bearer realm=\"sluice\", error=\"invalid_token\"\r\n")
    let outcome = bench.send("GET / HTTP/1.1\nHost: a\nAuthorization: BEARER  key-old")
    #expect(outcome.verdict == "next" && outcome.passed == ["host"])
  }

  @Test(
    "A key in the query is decoded and cut out, the rest stays as it is",
    arguments: [
      ("key=key-old", ""), ("key=key-old&a=1", "a=1"), ("a=1&key=key-old", "a=1"),
      ("a=1&key=key-old&b=%20", "a=1&b=%20"),
      ("xkey=1&key=key%2Dold&keyx=2", "xkey=1&keyx=2"), ("a&key=a+b%2bc%25", "a"),
    ])
  func query(query: String, rest: String) throws {
    let outcome = try bench(", query: \"key\"").send("GET /x?\(query) HTTP/1.1\nHost: a")
    #expect(outcome.verdict == "next")
    #expect(outcome.query == rest)
  }

  @Test("A broken escape in a key is no key", arguments: ["key=%zz", "key=abc%2", "key="])
  func brokenQuery(query: String) throws {
    #expect(try bench(", query: \"key\"").send("GET /x?\(query) HTTP/1.1\nHost: a").code == "api-key-invalid")
  }

  @Test("What a client says about its identity never reaches the upstream; the gateway says it where told to")
  func identity() throws {
    let request =
      "GET / HTTP/1.1\nHost: a\nX-Consumer-Id: root\nx-consumer-groups: admin\nX-Userinfo: e30=\nX-API-Key: key-new"
    #expect(try bench("").send(request).passed == ["host"])
    let outcome = try bench(", identity: true").send(request)
    #expect(outcome.passed == ["host"])
    #expect(
      outcome.requestFields
        == "X-Consumer-Id: mobile\r\nX-Consumer-Tenant: acme\r\nX-Consumer-Groups: gold,beta\r\nX-Consumer-Key: new\r\n"
    )
  }

  @Test("Only members of the named groups pass")
  func groups() throws {
    let bench = try bench(", groups: [\"silver\", \"beta\"]")
    #expect(bench.send("GET / HTTP/1.1\nHost: a\nX-API-Key: a b+c%").code == "consumer-not-allowed")
    #expect(bench.send("GET / HTTP/1.1\nHost: a\nX-API-Key: key-old").verdict == "next")
  }

  @Test("Where a key is optional, none passes as nobody, and a wrong one does not")
  func optional() throws {
    let bench = try bench(", optional: true")
    #expect(bench.send("GET / HTTP/1.1\nHost: a\nX-API-Key: nobody").code == "api-key-invalid")
    let outcome = bench.send("GET / HTTP/1.1\nHost: a\nX-Consumer-Id: root")
    #expect(outcome.verdict == "next" && outcome.consumer == -1 && outcome.passed == ["host"])
  }

  @Test(
    "Wrong options are named",
    arguments: [
      ("header: \"X Key\"", "header: \"X Key\" is not a field name"),
      ("query: \"a&b\"", "query: \"a&b\" cannot be found in a query"),
      ("header: \"Authorization\", bearer: true", "header: Authorization holds either the bare key or a bearer token"),
      ("headers: \"X\"", "headers: there is no option \"headers\" here"),
    ])
  func options(options: String, remark: String) {
    #expect(make("{ type: \"api-key\", \(options) }").remarks == [remark])
  }
}
