import Core
import Pipeline
import Policies
import Testing

@testable import Policies

@Suite("ip-filter")
struct IPFilterTests {
  func verdict(_ options: String, _ address: String) throws -> String {
    let bench = try Bench()
    #expect(try bench.use("{ type: \"ip-filter\", \(options) }") == [])
    return bench.send("GET / HTTP/1.1\nHost: a", from: address).verdict
  }

  @Test(
    "Who is not on a list of allowed networks is refused", arguments: ["192.0.2.1", "11.0.0.0", "2001:db8::1", "::1"])
  func notAllowed(address: String) throws {
    #expect(try verdict("allow: [\"10.0.0.0/8\", \"2001:db8:1::/48\"]", address) == "403")
  }

  @Test("Who is on it passes", arguments: ["10.0.0.0", "10.255.255.255", "2001:db8:1:ffff::1", "::ffff:10.1.2.3"])
  func allowed(address: String) throws {
    #expect(try verdict("allow: [\"10.0.0.0/8\", \"2001:db8:1::/48\"]", address) == "next")
  }

  @Test(
    "The smallest network decides",
    arguments: [
      ("10.1.2.3", "403"), ("10.1.9.9", "next"), ("10.9.9.9", "403"), ("10.1.2.4", "next"), ("9.9.9.9", "next"),
    ])
  func nested(address: String, expected: String) throws {
    #expect(try verdict("deny: [\"10.0.0.0/8\", \"10.1.2.3\"]", address) == (address.hasPrefix("10.") ? "403" : "next"))
    let mixed = "allow: [\"0.0.0.0/0\", \"10.1.0.0/16\"], deny: [\"10.0.0.0/8\", \"10.1.2.3\"]"
    #expect(try verdict(mixed, address) == expected)
  }

  @Test("::/0 says nothing about IPv4")
  func families() throws {
    #expect(try verdict("deny: [\"::/0\"]", "192.0.2.1") == "next")
    #expect(try verdict("deny: [\"::/0\"]", "2001:db8::1") == "403")
  }

  @Test("A network on both lists, a wrong one, and no list at all are named")
  func wrong() {
    #expect(
      make("{ type: \"ip-filter\", allow: [\"10.0.0.0/8\"], deny: [\"10.0.0.0/8\"] }").remarks
        == ["deny[0]: 10.0.0.0/8 is allowed already"])
    #expect(
      make("{ type: \"ip-filter\", deny: [\"10.0.0.1/8\"] }").remarks
        == ["deny[0]: \"10.0.0.1/8\" is not an address or a network"])
    #expect(make("{ type: \"ip-filter\" }").remarks == ["allow: there is nothing to filter"])
  }

  @Test("The tree finds what looking through all networks finds", arguments: 1...8 as ClosedRange<UInt64>)
  func model(seed: UInt64) {
    var state = seed
    func random(_ bound: UInt64) -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state >> 33) % bound
    }
    var tree = AddressTree()
    var networks: [(IPNetwork, AddressTree.Mark)] = []
    for _ in 0..<300 {
      let isV4 = random(2) == 0
      let base =
        isV4
        ? IPAddress(v4: UInt32(random(4) << 24 | random(8) << 16)) : IPAddress(high: random(16) << 60, low: random(4))
      let network = IPNetwork(base: base, prefixLength: Int(isV4 ? 96 + random(33) : random(129)))
      let mark: AddressTree.Mark = random(2) == 0 ? .allow : .deny
      let isKnown = networks.contains { $0.0 == network && $0.1 != mark }
      #expect(tree.insert(network, mark) == !isKnown)
      if !isKnown { networks.append((network, mark)) }
    }
    for _ in 0..<2000 {
      let isV4 = random(2) == 0
      let address =
        isV4
        ? IPAddress(v4: UInt32(random(4) << 24 | random(8) << 16 | random(3)))
        : IPAddress(high: random(16) << 60 | random(2), low: random(4))
      let best = networks.filter { $0.0.contains(address) && $0.0.isV4 == isV4 }.max {
        $0.0.prefixLength < $1.0.prefixLength
      }
      #expect(tree.find(address) == best?.1 ?? .none)
    }
  }
}

@Suite("cors")
struct CORSTests {
  func bench(_ options: String) throws -> Bench {
    let bench = try Bench()
    #expect(try bench.use("{ type: \"cors\", \(options) }", "{ type: \"api-key\" }") == [])
    return bench
  }

  func preflight(_ origin: String, _ method: String = "PUT", _ fields: String = "") -> String {
    let asked = fields.isEmpty ? "" : "\nAccess-Control-Request-Headers: \(fields)"
    return "OPTIONS /x HTTP/1.1\nHost: a\nOrigin: \(origin)\nAccess-Control-Request-Method: \(method)\(asked)"
  }

  let options =
    "origins: [\"https://app.example.com\", \"https://*.dev.example.com\"], methods: [\"GET\", \"PUT\"], headers: [\"X-A\", \"Content-Type\"], exposedHeaders: [\"X-B\"], credentials: true, maxAge: \"1h\""

  @Test(
    "A preflight of another origin, method or field is refused",
    arguments: [
      ("https://evil.com", "PUT", ""), ("null", "PUT", ""), ("https://app.example.com.evil.com", "PUT", ""),
      ("https://dev.example.com", "PUT", ""), ("https://evil.com/.dev.example.com", "PUT", ""),
      ("http://app.example.com", "PUT", ""), ("https://app.example.com", "DELETE", ""),
      ("https://app.example.com", "put", ""), ("https://app.example.com", "PUT", "x-a, x-c"),
      ("https://.dev.example.com", "PUT", ""),
    ])
  func refused(origin: String, method: String, fields: String) throws {
    let outcome = try bench(options).send(preflight(origin, method, fields))
    #expect(outcome.verdict == "403" && outcome.code == "origin-denied")
    #expect(!outcome.responseFields.contains("Access-Control-Allow-Origin"))
    #expect(outcome.responseFields == "Vary: Origin\r\n")
  }

  @Test("An allowed preflight is answered before any key is asked for")
  func preflightAnswer() throws {
    let outcome = try bench(options).send(preflight("https://app.example.com", "PUT", "x-a , content-type"))
    #expect(outcome.verdict == "204")
    #expect(
      outcome.responseFields
        == "Vary: Origin\r\nAccess-Control-Allow-Origin: https://app.example.com\r\nAccess-Control-Allow-Credentials: true\r\n"
        + "Access-Control-Allow-Methods: GET, PUT\r\nAccess-Control-Max-Age: 3600\r\nAccess-Control-Allow-Headers: X-A, Content-Type\r\n"
    )
  }

  @Test("Other requests pass on to the next policy, and refusals can be read by an allowed page")
  func actual() throws {
    let bench = try bench(options)
    let other = bench.send("GET / HTTP/1.1\nHost: a\nOrigin: https://evil.com")
    #expect(other.verdict == "401" && !other.responseFields.contains("Access-Control"))
    let outcome = bench.send("GET / HTTP/1.1\nHost: a\nOrigin: https://x.dev.example.com")
    #expect(outcome.verdict == "401")
    #expect(
      outcome.responseFields.hasPrefix(
        "Vary: Origin\r\nAccess-Control-Allow-Origin: https://x.dev.example.com\r\nAccess-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-B\r\n"
      ))
    #expect(bench.send("OPTIONS / HTTP/1.1\nHost: a\nOrigin: https://app.example.com").verdict == "401")
  }

  @Test("For everybody the answer depends on nothing, and any field may be asked for")
  func everybody() throws {
    let bench = try bench("origins: [\"*\"], headers: [\"*\"]")
    let outcome = bench.send(preflight("null", "POST", "X-Any, Y"))
    #expect(outcome.verdict == "204")
    #expect(outcome.responseFields.hasPrefix("Access-Control-Allow-Origin: *\r\n"))
    #expect(outcome.responseFields.contains("Access-Control-Allow-Headers: X-Any, Y\r\n"))
    #expect(!outcome.responseFields.contains("Vary: Origin"))
  }

  @Test("What the upstream says about CORS is dropped, its Vary stays")
  func response() throws {
    let names = try bench(options).respond(
      "HTTP/1.1 200 OK\nAccess-Control-Allow-Origin: *\nVary: Accept\nAccess-Control-Allow-Credentials: true\nX-B: 1")
    #expect(names == ["vary", "x-b"])
  }

  @Test("Credentials for every origin, and texts that are no origins, are refused")
  func wrong() {
    #expect(
      make("{ type: \"cors\", origins: [\"*\"], credentials: true }").remarks
        == ["origins: with credentials every origin would be trusted with its users' sessions"])
    for text in ["app.example.com", "https://", "https://a/b", "https://a*.b", "https://*"] {
      #expect(
        make("{ type: \"cors\", origins: [\"\(text)\"] }").remarks == ["origins[0]: \"\(text)\" is not an origin"])
    }
  }
}

@Suite("headers, body-limit, respond")
struct HeadersTests {
  func bench(_ policy: String) throws -> Bench {
    let bench = try Bench(consumers: [
      Consumer(id: "one", tenant: "acme", keys: [ConsumerKey(id: "a", digest: digest("k"))])
    ])
    #expect(try bench.use(policy, "{ type: \"api-key\", optional: true }") == [])
    return bench
  }

  @Test(
    "Fields that frame or route messages, broken templates and unknown variables are refused",
    arguments: [
      ("request: { set: { \"Content-Length\": \"0\" } }", "request.set: Content-Length is the gateway's own"),
      ("response: { remove: [\"transfer-encoding\"] }", "response.remove: transfer-encoding is the gateway's own"),
      ("request: { add: { Host: \"b\" } }", "request.add: Host decides where a request goes"),
      ("request: { add: { \"A B\": \"b\" } }", "request.add: \"A B\" is not a field name"),
      ("request: { set: { A: \"${client\" } }", "request.set: A: \"${\" is not closed"),
      ("request: { set: { A: \"${consumer.name}\" } }", "request.set: A: there is no variable \"consumer.name\""),
    ])
  func wrong(options: String, remark: String) {
    #expect(make("{ type: \"headers\", \(options) }").remarks == [remark])
  }

  @Test("Variables are filled in, and a field that comes out empty is not sent")
  func variables() throws {
    let bench = try bench(
      """
      { type: "headers", request: { set: {
        "X-A": "${consumer.id}/${consumer.tenant}/${key.id}", "X-B": "<${client.ip}> ${request.method} ${request.path}",
        "X-C": "${header.X-In}", "X-D": "${request.id} ${route.id} ${request.scheme} $${x} $5", "X-E": "${consumer.groups}" } } }
      """)
    let outcome = bench.send("GET /a/b?c HTTP/1.1\nHost: a\nX-API-Key: k\nX-In: in", from: "2001:db8::1")
    #expect(
      outcome.requestFields
        == "X-A: one/acme/a\r\nX-B: <2001:db8::1> GET /a/b\r\nX-C: in\r\nX-D: 00000000000000000000000000000abc orders http ${x} $5\r\n"
    )
    #expect(bench.send("GET / HTTP/1.1\nHost: a").requestFields.hasPrefix("X-A: //\r\nX-B: <192.0.2.1> GET /\r\nX-D: "))
  }

  @Test("Setting replaces all fields of the name, adding keeps them, removing drops them, in any case")
  func changes() throws {
    let bench = try bench(
      """
      { type: "headers",
        request: { set: { "X-A": "1" }, add: { "X-B": "2" }, remove: ["x-c", "Cookie"] },
        response: { set: { "Server": "s" }, remove: ["X-Powered-By"] } }
      """)
    let outcome = bench.send(
      "GET / HTTP/1.1\nHost: a\nx-a: 0\nX-A: 00\nX-B: 0\nX-C: 0\ncookie: a=b\nX-c: 1\nX-Cc: 2")
    #expect(outcome.passed == ["host", "x-b", "x-cc"])
    #expect(outcome.requestFields == "X-A: 1\r\nX-B: 2\r\n")
    #expect(outcome.responseFields == "Server: s\r\n")
    #expect(bench.respond("HTTP/1.1 200 OK\nserver: x\nX-POWERED-BY: y\nX-Z: z") == ["x-z"])
  }

  @Test("A declared body beyond the limit is refused, one at the limit passes")
  func bodyLimit() throws {
    let bench = try Bench()
    #expect(try bench.use("{ type: \"body-limit\", limit: \"1KiB\" }") == [])
    let beyond = bench.send("POST / HTTP/1.1\nHost: a\nContent-Length: 1025")
    #expect(beyond.verdict == "413" && beyond.code == "body-too-large")
    #expect(bench.send("POST / HTTP/1.1\nHost: a\nContent-Length: 1024").verdict == "next")
    var chunked = Exchange()
    #expect(
      bench.send("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked", keep: { chunked = $0 }).verdict == "next")
    #expect(chunked.bodyLimit == 1024)
  }

  @Test("A fixed answer has its status, fields and body, and no body where its status has none")
  func respond() throws {
    #expect(
      make("{ type: \"respond\", status: 204, body: \"x\" }").remarks == ["body: a response of status 204 has no body"])
    #expect(make("{ type: \"respond\", status: 101 }").remarks.count == 1)
    let bench = try bench(
      "{ type: \"respond\", status: 503, contentType: \"text/html\", body: \"<p>soon</p>\\n\", headers: { \"Cache-Control\": \"no-store\" } }"
    )
    let outcome = bench.send("GET / HTTP/1.1\nHost: a")
    #expect(outcome.verdict == "503" && outcome.body == "<p>soon</p>\n")
    #expect(outcome.responseFields == "Cache-Control: no-store\r\nContent-Type: text/html\r\n")
  }
}

@Suite("Registry")
struct RegistryTests {
  @Test("Every policy describes itself, with help for every option, and has a name of its own")
  func descriptions() {
    #expect(Set(Registry.policies.map { $0.name }).count == Registry.policies.count)
    for type in Registry.policies {
      #expect(type.summary.hasSuffix("."))
      let options = Registry.options(of: type)
      #expect(!options.isEmpty)
      #expect(options.allSatisfy { !$0.help.isEmpty })
    }
    #expect(Registry.type(named: "nonsense") == nil)
  }

  @Test("A chain runs in phase order, whatever order its policies are given in")
  func order() throws {
    let bench = try Bench()
    try bench.use(
      "{ type: \"respond\" }", "{ type: \"rate-limit\", limits: [{ per: \"ip\", window: \"1/1h\" }] }",
      "{ type: \"api-key\", optional: true }", "{ type: \"ip-filter\", deny: [\"203.0.113.0/24\"] }")
    for _ in 0..<3 { #expect(bench.send("GET / HTTP/1.1\nHost: a", from: "203.0.113.1").verdict == "403") }
    #expect(bench.send("GET / HTTP/1.1\nHost: a", from: "203.0.113.1").responseFields == "")
    #expect(bench.send("GET / HTTP/1.1\nHost: a").verdict == "200")
    #expect(bench.send("GET / HTTP/1.1\nHost: a").verdict == "429")
  }
}
