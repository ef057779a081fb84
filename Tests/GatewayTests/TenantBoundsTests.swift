import Core
import Gateway
import Pipeline
import Testing

@testable import Gateway

/// A file with two tenants, of which acme has bounds, and with these sections.
private func read(_ sections: String, bounds: String = "") -> (blueprint: Blueprint?, found: [String]) {
  let result = readBlueprint(
    """
    { listeners: ["127.0.0.1:8080"],
      tenants: [{ id: "acme", hosts: ["*.acme.example", "acme.example"], paths: ["/acme/"],
        endpoints: ["10.1.0.0/16", "orders.internal:80", "unix:/run/acme.sock", "0.0.0.0/0"],
        shared: { upstreams: ["open"], policies: ["keys"] }\(bounds) }, "globex"],
      \(sections) }
    """)
  return (result.blueprint, result.found.map { String($0.split(separator: " ", maxSplits: 1)[1]) })
}

private let upstreams = """
  upstreams: { open: { endpoints: ["192.0.2.1:80"] }, closed: { endpoints: ["192.0.2.2:80"] },
    own: { tenant: "acme", endpoints: ["10.1.0.7:80"] }, other: { tenant: "globex", endpoints: [] } },
  policies: { keys: { type: "api-key" }, secret: { type: "api-key", bearer: true },
    mine: { type: "respond", tenant: "acme" }, theirs: { type: "respond", tenant: "globex" } }
  """

private func route(_ more: String, match: String = "host: \"api.acme.example\", path: \"/acme/*\"") -> String {
  upstreams.replacing("endpoints: []", with: "endpoints: [\"192.0.2.3:80\"]")
    .replacing("tenant: \"globex\", endpoints: [\"192.0.2.3:80\"]", with: "endpoints: [\"192.0.2.3:80\"]")
    + ", routes: [{ id: \"r\", match: { \(match) }, \(more) }]"
}

/// An upstream of acme's with these endpoints.
private func upstream(_ endpoints: String) -> String {
  "upstreams: { u: { tenant: \"acme\", endpoints: [\(endpoints)] } }, routes: [{ id: \"r\", match: {}, redirect: \"/\" }]"
}

@Suite("Tenant bounds")
struct TenantBoundsTests {
  @Test(
    "a route of a tenant whose match goes beyond its hosts or paths is refused",
    arguments: [
      ("path: \"/acme/*\"", "match"), ("host: \"acme.example.evil\", path: \"/acme/*\"", "match.host"),
      ("host: \"*.example\", path: \"/acme/*\"", "match.host"), ("host: \"*\", path: \"/acme/*\"", "match.host"),
      ("host: \"notacme.example\", path: \"/acme/*\"", "match.host"),
      ("host: \"acme.example\"", "match"), ("host: \"acme.example\", path: \"/*\"", "match.path"),
      ("host: \"acme.example\", path: \"/acmes\"", "match.path"),
      ("host: \"acme.example\", path: \"/{all}/x\"", "match.path"),
      ("host: \"acme.example\", path: \"/%61cme/x\"", "match.path"),
      ("host: \"acme.example\", path: \"//acme/x\"", "match.path"),
      ("host: \"acme.example\", path: \"/acme/*\", version: { value: \"v2\", by: \"path\" }", "match.path"),
    ])
  func refusesMatches(match: String, place: String) {
    let (blueprint, found) = read(route("tenant: \"acme\", upstream: \"own\"", match: match))
    #expect(blueprint == nil)
    #expect(found.contains { $0.hasPrefix("routes[0].\(place)") && $0.contains("tenant \"acme\"") }, "\(found)")
  }

  @Test(
    "a route of a tenant whose match lies within its hosts and paths is taken",
    arguments: [
      "host: \"acme.example\", path: \"/acme\"", "host: \"a.b.ACME.example:8080\", path: \"/acme/{id}/*\"",
      "host: \"*.acme.example\", path: \"/acme/*\"", "host: \"*.eu.acme.example\", path: \"/acme/x\"",
    ])
  func takesMatches(match: String) {
    let (blueprint, found) = read(route("tenant: \"acme\", upstream: \"own\"", match: match))
    #expect(blueprint != nil, "\(found)")
  }

  @Test(
    "an endpoint of a tenant's upstream elsewhere than it may be is refused, this machine and its links above all",
    arguments: [
      "127.0.0.1:80", "[::1]:80", "169.254.169.254:80", "0.0.0.0:80", "[fe80::1]:80", "[::ffff:127.0.0.1]:80",
      "orders.internal:81", "localhost:80", "other.internal:80", "unix:/run/redis.sock", "[2001:db8::1]:80",
    ])
  func refusesEndpoints(address: String) {
    let (blueprint, found) = read(upstream("\"\(address)\""))
    #expect(blueprint == nil)
    let message = "upstreams.u.endpoints[0]: upstreams of the tenant \"acme\" may not be here"
    #expect(found.contains { $0.hasPrefix(message) }, "\(found)")
  }

  @Test("endpoints within the bounds are taken, and this machine's where it is named")
  func takesEndpoints() {
    let list = "\"10.1.255.1:80\", \"orders.internal:80\", \"unix:/run/acme.sock\", \"192.0.2.77:443\""
    let (blueprint, found) = read(upstream(list))
    #expect(blueprint != nil, "\(found)")
    let named = readBlueprint(
      """
      { listeners: ["127.0.0.1:8080"],
        tenants: [{ id: "acme", endpoints: ["127.0.0.0/8", "169.254.1.1:80", "a.internal"] }],
        upstreams: { u: { tenant: "acme", endpoints: ["127.0.0.1:1", "169.254.1.1:80", "a.internal:9"] } },
        routes: [{ id: "r", match: {}, redirect: "/" }] }
      """)
    #expect(named.blueprint != nil, "\(named.found)")
  }

  @Test(
    "routes use what belongs to their tenant or is shared with it, and nothing else",
    arguments: [
      ("tenant: \"acme\", upstream: \"closed\"", "routes of the tenant \"acme\" may not use the upstream \"closed\""),
      ("upstream: \"own\"", "the upstream \"own\" belongs to a tenant, and the route to none"),
      (
        "tenant: \"acme\", upstream: \"own\", mirror: { upstream: \"closed\" }",
        "routes of the tenant \"acme\" may not use the upstream \"closed\""
      ),
      (
        "tenant: \"acme\", upstream: \"own\", policies: [\"secret\"]",
        "routes of the tenant \"acme\" may not use the policy \"secret\""
      ),
      (
        "tenant: \"acme\", upstream: \"own\", policies: [\"theirs\"]",
        "the policy \"theirs\" belongs to another tenant than the route"
      ),
      ("upstream: \"open\", policies: [\"mine\"]", "the policy \"mine\" belongs to a tenant, and the route to none"),
      ("tenant: \"initech\", upstream: \"open\"", "there is no tenant \"initech\""),
      ("tenant: { env: \"SLUICE_ADMIN_TOKEN\" }, upstream: \"open\"", "whose it is must stand here"),
    ])
  func refusesUses(more: String, message: String) {
    let (blueprint, found) = read(route(more))
    #expect(blueprint == nil)
    #expect(found.contains { $0.contains(message) }, "\(found)")
  }

  @Test("a tenant's route may use its own, and what is shared with the tenant")
  func takesUses() throws {
    let policies = "[\"keys\", \"mine\", { type: \"access\", allow: \"method == 'GET'\" }]"
    let (blueprint, found) = read(
      route("tenant: \"acme\", upstream: [\"own\", \"open\"], policies: \(policies)"))
    #expect(try #require(blueprint, "\(found)").routes[0].tenant == "acme")
  }

  @Test(
    "a tenant has policies of the types that it may have, also where they stand inside of others",
    arguments: [
      ("{ type: \"identity-token\", issuer: \"https://a\", audience: \"b\" }", "\"identity-token\""),
      (
        "{ type: \"any-of\", policies: [{ type: \"api-key\" }, { type: \"mtls\" }] }", "\"any-of\""
      ),
      ("{ type: \"headers\", request: { set: { \"X-Consumer-Id\": \"root\" } } }", "does not say who calls"),
      ("{ type: \"headers\", request: { add: { \"x_consumer_tenant\": \"root\" } } }", "does not say who calls"),
    ])
  func refusesTypes(policy: String, message: String) {
    let (blueprint, found) = read(route("tenant: \"acme\", upstream: \"own\", policies: [\(policy)]"))
    #expect(blueprint == nil)
    #expect(found.contains { $0.contains(message) }, "\(found)")
  }

  @Test("what signs with keys of the cluster is no tenant's", arguments: ["oauth2-server", "identity-token"])
  func refusesSigning(type: String) {
    let (blueprint, found) = read(upstream("\"10.1.0.7:80\""), bounds: ", policies: [\"respond\", \"\(type)\"]")
    #expect(blueprint == nil)
    #expect(found.contains { $0.contains("\"\(type)\" sign with keys of the cluster") }, "\(found)")
  }

  @Test("what is inside of a choice must be allowed too")
  func nestedTypes() {
    let policy = "{ type: \"any-of\", policies: [{ type: \"api-key\" }, { type: \"mtls\" }] }"
    let (_, found) = read(
      route("tenant: \"acme\", upstream: \"own\", policies: [\(policy)]"),
      bounds: ", policies: [\"any-of\", \"api-key\"]")
    #expect(found.contains { $0.contains("may not be of type \"mtls\"") }, "\(found)")
  }

  @Test("a tenant's policy cannot be called like one inside of a route, which has counters of that name")
  func policyNames() {
    let (_, found) = read("policies: { \"r/rate-limit\": { type: \"respond\", tenant: \"acme\" } }")
    #expect(found.contains { $0.contains("\"r/rate-limit\" is not a name of letters") }, "\(found)")
  }

  @Test("names that are shared with a tenant and that nobody has are warned of")
  func unknownShared() {
    let (_, found) = read("routes: [{ id: \"r\", match: {}, redirect: \"/\" }]")
    #expect(found.contains { $0.contains("nothing under upstreams is called \"open\"") }, "\(found)")
  }

  @Test(
    "tenants whose routes may match the same requests are warned of, others are not",
    arguments: [
      ("hosts: [\"a.example\"]", "paths: [\"/b\"]", true),
      ("hosts: [\"*.a.example\"]", "hosts: [\"b.a.example\"]", true),
      ("paths: [\"/a\"]", "paths: [\"/a/b/\"]", true), ("paths: [\"/a\"]", "paths: [\"/ab\"]", false),
      ("hosts: [\"*.a.example\"]", "hosts: [\"a.example\"]", false),
      ("hosts: [\"a.example\"], paths: [\"/\"]", "hosts: [\"b.example\"]", false),
      ("hosts: [\"a.example\"]", "", false),
    ])
  func overlaps(first: String, second: String, overlap: Bool) {
    let (blueprint, found) = readBlueprint(
      "{ listeners: [\"127.0.0.1:8080\"], tenants: [{ id: \"a\", \(first) }, { id: \"b\", \(second) }] }")
    #expect(blueprint != nil)
    #expect(found.contains { $0.contains("may match what routes of \"a\" may match") } == overlap, "\(found)")
  }

  @Test("a token of a tenant cannot be an admin's")
  func tokens() {
    let token = "{ name: \"a\", role: \"admin\", tenant: \"acme\", token: { env: \"SLUICE_ADMIN_TOKEN\" } }"
    let (_, found) = read("admin: { tokens: [\(token)] }")
    #expect(found.contains { $0.contains("no admin is a tenant's") }, "\(found)")
    let fine = readBlueprint(
      "{ listeners: [\"127.0.0.1:8080\"], admin: { tokens: [\(token.replacing("\"admin\"", with: "\"operator\""))] } }")
    #expect(fine.blueprint?.admin?.tokens.map(\.tenant) == ["acme"])
  }
}
