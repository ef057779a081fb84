import Core
import Gateway
import Pipeline
import Testing
import Traffic

private func read(_ routes: String) -> (blueprint: Blueprint?, found: [String]) {
  readBlueprint(
    """
    { listeners: ["127.0.0.1:8080"], node: { limits: { body: "3MiB" }, timeouts: { total: "1m" } },
      upstreams: { a: { endpoints: ["127.0.0.1:9001"] }, b: { endpoints: ["127.0.0.1:9002"] } },
      routes: [\(routes), { id: "rest", match: {}, upstream: [{ upstream: "a", weight: 9 }, "b"], sticky: "consumer" }] }
    """)
}

@Suite("Blueprint routes")
struct BlueprintRoutesTests {
  @Test(
    "refuses an option that cannot be meant",
    arguments: [
      ("methods: [\"get\"]", "methods[0]: methods are written in capitals; write \"GET\""),
      (
        "host: \"exa mple\"",
        "host: \"exa mple\" is not a host; write \"api.example.com\" or \"*.example.com\", "
          + "with \":port\" if the port matters"
      ),
      (
        "version: { value: \"2\", by: \"cookie\" }",
        "version.by: \"cookie\" is not path, header:NAME or "
          + "media-type:PARAMETER; write it like \"header:Accept-Version\""
      ),
      ("headers: [\"x\"]", "headers: an object should be here, not an array; write { name: … }"),
      (
        "path: \"/a/b*\"",
        "path: in \"/a/b*\" a star or brace stands inside a segment; let \"*\" be the last segment, "
          + "and a capture a whole one: \"/a/{id}/*\""
      ),
    ])
  func refusesMatches(match: String, message: String) throws {
    let (blueprint, found) = read("{ id: \"r\", match: { \(match) }, upstream: \"a\" }")
    #expect(blueprint == nil)
    #expect(found.map { $0.split(separator: " ", maxSplits: 1)[1] } == ["routes[0].match.\(message)"])
  }

  @Test(
    "refuses choices without a way for all others, rules with a weight, and rules that are none",
    arguments: [
      (
        "[{ upstream: \"a\", when: \"method == 'PUT'\" }]",
        "upstream: no upstream is for requests of which no rule holds; add one without \"when\""
      ),
      (
        "[{ upstream: \"a\", when: \"method == 'PUT'\", weight: 2 }, \"b\"]",
        "upstream[0].weight: an upstream with a rule has no share; remove it"
      ),
      (
        "[{ upstream: \"a\", when: \"method ==\" }, \"b\"]",
        "upstream[0].when: character 10: a value should be here, not the end; write a text in quotation marks, a number, true or false"
      ),
    ])
  func refusesChoices(upstream: String, message: String) {
    let (blueprint, found) = read("{ id: \"r\", match: { path: \"/\" }, upstream: \(upstream) }")
    #expect(blueprint == nil)
    #expect(found.map { $0.split(separator: " ", maxSplits: 1)[1] } == ["routes[0].\(message)"])
  }

  @Test(
    "refuses rewrites that contradict themselves or name nothing",
    arguments: [
      ("stripPrefix: \"v1\"", "stripPrefix: \"v1\" is not a path that others begin with; write it like \"/v1\""),
      (
        "path: \"/x\", addPrefix: \"/y\"", "path: path replaces everything that a prefix could change; keep one of them"
      ),
      ("host: \"a b\"", "host: \"a b\" is no host; write a name, a name with a port, or \"endpoint\""),
      (
        "query: { set: { q: \"{nix}\" } }",
        "query.set.q: nothing is called {nix} here; "
          + "capture it in match.path, as in /a/{nix}"
      ),
    ])
  func refusesRewrites(rewrite: String, message: String) {
    let (blueprint, found) = read(
      "{ id: \"r\", match: { path: \"/a/{id}\" }, upstream: \"a\", rewrite: { \(rewrite) } }")
    #expect(blueprint == nil)
    #expect(found.map { $0.split(separator: " ", maxSplits: 1)[1] } == ["routes[0].rewrite.\(message)"])
  }

  @Test("refuses grpc-web before an upstream that does not speak HTTP/2, in shadow it may stand there")
  func callsNeedHTTP2() {
    let (blueprint, found) = read(
      "{ id: \"r\", match: { path: \"/a\" }, policies: [{ type: \"grpc-web\" }], upstream: [\"a\", \"b\"] }")
    #expect(blueprint == nil && found.count == 1)
    #expect(found[0].hasSuffix("the upstream \"a\" does not speak HTTP/2; add protocol: \"h2\" to it"))
    let shadow = "{ type: \"grpc-web\", mode: \"shadow\" }"
    #expect(read("{ id: \"r\", match: { path: \"/a\" }, policies: [\(shadow)], upstream: \"a\" }").found == [])
  }

  @Test("inherits limits from the node, and replaces them where it says so")
  func limits() throws {
    let (blueprint, found) = read(
      """
      { id: "r", match: { path: "/a" }, upstream: "a", limits: { body: "1KiB" }, retries: { attempts: 0 },
        timeouts: { response: "2s", total: "5s" } }
      """)
    #expect(found == [])
    let routes = try #require(blueprint).routes
    #expect(routes.map(\.bodyLimit) == [1024, 3 << 20])
    #expect(routes.map(\.timeouts.total) == [5_000_000_000, 60_000_000_000])
    #expect(routes.map(\.timeouts.response) == [2_000_000_000, nil])
    #expect(routes.map { $0.retries?.attempts } == [0, nil])
  }

  @Test("knows where requests go: one upstream, several by weight, elsewhere, or nowhere")
  func actions() throws {
    let (blueprint, found) = read(
      """
      { id: "one", match: { path: "/a" }, upstream: "b", mirror: { upstream: "a", percent: 12.5 } },
      { id: "moved", match: { path: "/b/{id}" }, redirect: { status: 301, location: "https://{host}/c/{id}{query}" } },
      { id: "short", match: { path: "/d" }, redirect: "/e" },
      { id: "fixed", match: { path: "/f" }, policies: [{ type: "respond", status: 204 }] }
      """)
    #expect(found == [])
    let routes = try #require(blueprint).routes
    guard case .forward(let one, sticky: nil) = routes[0].action, case .redirect(let moved) = routes[1].action,
      case .redirect(let short) = routes[2].action, case .answer = routes[3].action,
      case .forward(let split, sticky: .consumer) = routes[4].action
    else {
      Issue.record("\(routes.map(\.action))")
      return
    }
    #expect(one.upstreams == [1])
    #expect(routes[0].mirror?.upstream == 0)
    #expect(moved.status == 301)
    #expect(short.status == 308)
    #expect(split.upstreams == [0, 1])
  }

  @Test("takes versions by path, field and media type, and tells them apart")
  func versions() {
    let (blueprint, found) = read(
      """
      { id: "v1", match: { path: "/o", version: "1" }, upstream: "a" },
      { id: "v2", match: { path: "/o", version: { value: "2", by: "header:accept-version" } }, upstream: "a" },
      { id: "v3", match: { path: "/p", version: { value: "3", by: "media-type:version" } }, upstream: "a" },
      { id: "v4", match: { path: "/o", version: { value: "v4", by: "path" } }, upstream: "a" }
      """)
    #expect(found == [])
    #expect(blueprint?.routes.count == 5)
  }

  @Test("makes a named policy once, however many routes use it")
  func sharedPolicies() throws {
    let (blueprint, _) = readBlueprint(
      """
      { listeners: ["127.0.0.1:8080"], upstreams: { a: { endpoints: ["127.0.0.1:9001"] } },
        policies: { l: { type: "rate-limit", limits: [{ per: "ip", rate: "1/s" }] } },
        routes: [
          { id: "r1", match: { path: "/a" }, policies: ["l"], upstream: "a" },
          { id: "r2", match: { path: "/b" }, policies: ["l", { type: "rate-limit", limits: [{ per: "ip", rate: "2/s" }] }],
            upstream: "a" }] }
      """)
    let routes = try #require(blueprint).routes
    #expect(routes.map(\.chain.limitNames.count) == [1, 2])
    #expect(routes[0].chain.limitNames[0] == routes[1].chain.limitNames[0])
  }
}

@Suite("Blueprint upstreams and node")
struct BlueprintUpstreamsTests {
  @Test(
    "asks for a path or for a service of gRPC, which needs HTTP/2",
    arguments: [
      ("health: { grpc: \"a.B\" }", "health: gRPC needs HTTP/2; add protocol: \"h2\" to the upstream"),
      (
        "health: { grpc: \"a.B\", path: \"/\" }, protocol: \"h2\"",
        "health.path: gRPC has no path to ask for; remove path, or grpc"
      ),
      ("health: { interval: \"5s\" }", "health.path: nothing is asked for; add path, or for a service of gRPC grpc"),
      (
        "health: { grpc: \"\(String(repeating: "x", count: 128))\" }, protocol: \"h2\"",
        "health.grpc: the name of a service has 127 bytes at most; shorten it"
      ),
      ("health: { grpc: \"\" }, protocol: \"h2\"", nil), ("health: { path: \"/\" }, protocol: \"h2\"", nil),
    ] as [(String, String?)])
  func health(options: String, message: String?) {
    let (_, found) = readBlueprint(
      """
      { listeners: ["127.0.0.1:8080"], upstreams: { a: { endpoints: ["127.0.0.1:9001"], \(options) } },
        routes: [{ id: "r", match: {}, upstream: "a" }] }
      """)
    #expect(
      found.map { String($0.split(separator: " ", maxSplits: 1)[1]) } == message.map { ["upstreams.a.\($0)"] } ?? [])
  }

  @Test("reads every form of endpoint and balance")
  func forms() throws {
    let (blueprint, found) = readBlueprint(
      """
      { listeners: [{ address: "[::1]:8080", proxyProtocol: true }, "unix:/tmp/s"],
        upstreams: {
          a: { endpoints: ["[::1]:1", "host.example:2", { address: "unix:/s", weight: 7 }], balance: { by: "cookie:sid" },
               health: "/up", ejection: { consecutiveFailures: 0 }, slowStart: "10s",
               limits: { connections: 5, pending: 6, idlePerEndpoint: 7 } },
          b: { endpoints: ["h:1"], balance: "consistent-hash", health: { path: "/", statuses: "204" } },
          c: { endpoints: ["h:1"], balance: { algorithm: "random" } } },
        routes: [{ id: "r", match: {}, upstream: ["a", "b", "c"] }] }
      """)
    #expect(found == [])
    let plan = try #require(blueprint)
    #expect(plan.listeners.map(\.expectsProxyHeader) == [true, false])
    let (a, b, c) = (plan.upstreams[0], plan.upstreams[1], plan.upstreams[2])
    #expect(a.endpoints.map(\.weight) == [1, 1, 7])
    #expect(a.endpoints[1].address == .name("host.example", port: 2))
    #expect(a.balance == .consistentHash && a.hashKey == .cookie("sid"))
    #expect(a.health?.path == "/up" && a.ejection == nil && a.slowStart == .seconds(10))
    #expect(a.breaker.maxConnections == 5 && a.breaker.maxPending == 6 && a.pool.maxIdlePerEndpoint == 7)
    #expect(b.balance == .consistentHash && b.hashKey == .consumer && b.health?.statuses == 204...204)
    #expect(b.ejection?.maxPercent == 50)
    #expect(c.balance == .random)
  }

  @Test("gives one address as many connections as the node where nothing else is said")
  func connectionLimits() {
    func limits(_ text: String) -> NodeLimits? {
      readBlueprint("{ listeners: [\"127.0.0.1:1\"], node: { limits: { \(text) } } }").blueprint?.node.limits
    }
    #expect(limits("connectionsPerNode: 10")?.connectionsPerAddress == 10)
    #expect(limits("connectionsPerAddress: 10")?.connectionsPerAddress == 10)
    #expect(limits("") == NodeLimits())
  }

  @Test(
    "takes every form of access log",
    arguments: [
      ("\"off\"", AccessLogSettings.off), ("\"stdout\"", .standardOutput),
      ("{ file: \"a.log\" }", .file(path: "a.log")),
    ])
  func accessLog(text: String, settings: AccessLogSettings) {
    let (blueprint, _) = readBlueprint("{ listeners: [\"127.0.0.1:1\"], accessLog: \(text) }")
    #expect(blueprint?.accessLog == settings)
  }

  @Test(
    "takes an admin port without token on loopback and unix sockets only",
    arguments: [
      ("127.0.0.1:1", true), ("[::1]:1", true), ("unix:/s", true), ("0.0.0.0:1", false), ("10.0.0.1:1", false),
      ("[::]:1", false),
    ])
  func adminAddress(address: String, isAllowed: Bool) {
    let (blueprint, _) = readBlueprint("{ listeners: [\"127.0.0.1:2\"], admin: { address: \"\(address)\" } }")
    #expect((blueprint != nil) == isAllowed)
  }
}

@Suite("Remarks on a file") struct BlueprintRemarksTests {
  @Test("a mistake that several readers notice is said once")
  func once() {
    let text = """
      { listeners: ["127.0.0.1:8080"], upstreams: { a: { endpoints: ["127.0.0.1:9001"] } },
        routes: [{ id: "r", match: { path: "/x/**" }, upstream: "a" }] }
      """
    let found = readBlueprint(text).found
    #expect(found.count == 1)
    #expect(found.first?.contains("routes[0].match.path") == true)
  }
}
