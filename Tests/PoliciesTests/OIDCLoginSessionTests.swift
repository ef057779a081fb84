import Core
import Crypto
import Pipeline
import Testing

@testable import Policies

@Suite("Sessions of oidc-login")
struct OIDCLoginSessionTests {
  // MARK: Refusals

  @Test("A session cookie that was changed, cut, doubled or made up is refused and goes")
  func tampered() throws {
    let site = try LoginBench()
    try site.logIn()
    let (name, value) = try #require(site.session.first)
    let changed = String(value.dropLast(4)) + (value.hasSuffix("AAAA") ? "BBBB" : "AAAA")
    for wrong in [
      changed, String(value.dropLast(8)), "1", "9" + value.dropFirst(), "", "1e30", "\(value); \(name)=\(value)",
    ] {
      let answer = try site.send("GET /", "Accept: */*", cookies: [name: wrong])
      #expect(answer.verdict == "401" && answer.code == "session-over" && answer.fields.contains("Max-Age=0"))
      let page = try site.send("GET /", cookies: [name: wrong])
      #expect(page.verdict == "302" && page.fields.contains("\(name)=; "))
    }
    #expect(try site.send("GET /", "Accept: */*", cookies: [name: value]).verdict == "next")
  }

  @Test(
    "The cookie of another policy, client or cluster is no session here",
    arguments: [("policy-1", ""), ("policy-0", "cookie: \"__Host-other\""), ("policy-0", "clientId: \"else\"")])
  func cookieOfOthers(instance: String, options: String) throws {
    let site = try LoginBench()
    try site.logIn()
    let (name, value) = try #require(site.session.first)
    let isClient = options.hasPrefix("clientId")
    let client = isClient ? "clientSecret: \"s3cret\"" : "clientSecret: \"s3cret\", \(options)"
    let text = LoginBench.policy(
      site.provider, "", client: options.isEmpty || isClient ? "clientSecret: \"s3cret\"" : client
    )
    .replacing("clientId: \"gateway\"", with: isClient ? options : "clientId: \"gateway\"")
    let made = make(text, instance: instance)
    #expect(made.remarks == [])
    site.bench.chain = try Registry.chain(of: made.step.map { [$0] } ?? [])
    let shown = options.contains("other") ? "__Host-other" : name
    #expect(try site.send("GET /", "Accept: */*", cookies: [shown: value]).code == "session-over")
  }

  @Test("A login makes a session of its own, whatever cookie the browser had before")
  func fixation() throws {
    let site = try LoginBench()
    try site.logIn()
    let planted = site.session
    let first = try #require(try site.send("GET /", "").identity)
    site.provider.claims = "\"sub\":\"bob\""
    site.advance(13 * 3_600)
    try site.logIn()
    #expect(site.session != planted)
    let second = try #require(try site.send("GET /", "").identity)
    #expect(first.subject == "ann" && second.subject == "bob")
    #expect(try site.send("GET /", "", cookies: planted).code == "session-over")
  }

  @Test("A session that browsers would not keep is refused, with a reason of its own")
  func oversized() throws {
    let site = try LoginBench()
    site.provider.claims = "\"groups\":[\"\(String(repeating: "g", count: 11_600))\"]"
    let answer = try site.logIn()
    #expect(answer.verdict == "502" && answer.code == "session-too-large" && site.jar.isEmpty)
  }

  @Test("A session of nobody whom the configuration knows is refused where sessions stand for consumers")
  func consumers() throws {
    let options = "claims: { consumer: \"app\" }"
    let site = try LoginBench(nil, options, consumers: [Consumer(id: "mobile")])
    #expect(try site.logIn().code == "consumer-not-allowed" && site.session.isEmpty)
    site.provider.claims = "\"app\":\"mobile\""
    try site.logIn()
    #expect(try site.send().consumer == 0)
  }

  @Test("A session that was revoked is over, and whoever is revoked for good is not sent round in circles")
  func revoked() throws {
    let site = try LoginBench()
    site.provider.claims = "\"sid\":\"at-provider\""
    try site.logIn()
    #expect(try site.send("GET /", "").verdict == "next")
    site.revoke(.session, "at-provider")
    #expect(try site.send("GET /", "").code == "session-over" && site.session.isEmpty)
    site.revoke(.client, "gateway")
    let answer = try site.logIn()
    #expect(answer.verdict == "403" && answer.code == "login-denied" && site.session.isEmpty)
  }

  @Test("A session ends when its time is over, with and without requests")
  func ends() throws {
    let site = try LoginBench(nil, "sessionTime: \"1h\", idleTime: \"10m\"")
    site.provider.refreshToken = nil
    try site.logIn()
    let first = site.session
    site.advance(300)
    #expect(try site.send("GET /", "").verdict == "next" && site.session != first)
    #expect(try site.send("GET /", "", cookies: first).verdict == "next")
    site.advance(301)
    #expect(try site.send("GET /", "", cookies: first).code == "session-over")
    for _ in 0..<6 {
      #expect(try site.send("GET /", "").verdict == "next")
      site.advance(590)
    }
    #expect(try site.send("GET /", "").code == "session-over", "an hour is over")
    #expect(try site.send().verdict == "302")
  }

  // MARK: Good sessions

  @Test("A session says who it is; the upstream gets neither its cookies nor what clients say of themselves")
  func identity() throws {
    let site = try LoginBench(nil, "headers: { \"X-User\": \"email\" }")
    site.provider.claims = "\"email\":\"ann@example.com\",\"groups\":[\"staff\"],\"sid\":\"at-provider\""
    site.provider.more = ",\"expires_in\":400,\"scope\":\"openid orders\""
    try site.logIn()
    site.jar["theme"] = "dark"
    site.jar["__Host-sluice-session.login.abcdefghijkl"] = "x"
    let answer = try site.send("GET /a", "Accept: */*\nX-User: root\nX-Consumer-Id: root")
    #expect(answer.verdict == "next" && answer.passed == ["host", "accept"])
    #expect(
      answer.requestFields.split(separator: "\r\n").sorted() == ["Cookie: theme=dark", "X-User: ann@example.com"])
    let identity = try #require(answer.identity)
    #expect(identity.issuer == "https://id.example" && identity.subject == "ann" && identity.client == "gateway")
    #expect(identity.groups == ["staff"] && identity.scopes == ["openid", "orders"])
    #expect(identity.claims?.root["email"]?.string == "ann@example.com" && identity.claims?.root["nonce"] == nil)
  }

  @Test("Any node of the cluster goes by a session, and nobody reads it")
  func anyNode() throws {
    let site = try LoginBench()
    try site.logIn()
    let other = try LoginBench(site.provider)
    #expect(try other.send("GET /", "", cookies: site.session).verdict == "next")
    let text = try #require(site.session.values.first)
    let bytes = try #require(Base64URL.decode(String(text.dropFirst())))
    #expect(!String(decoding: bytes, as: UTF8.self).contains("first-refresh-token"))
  }

  @Test("A long session stands in several cookies, and parts that were left over mean nothing")
  func chunks() throws {
    let site = try LoginBench()
    site.provider.claims = "\"groups\":[\"\(String(repeating: "g", count: 6_000))\"]"
    try site.logIn()
    #expect(site.session.count == 3 && site.session.values.allSatisfy { $0.utf8.count <= LoginCookies.partBytes + 1 })
    let answer = try site.send("GET /", "")
    #expect(answer.verdict == "next" && answer.requestFields.isEmpty && answer.passed == ["host"])
    let whole = site.session
    var cut = whole
    cut["__Host-sluice-session.1"] = nil
    #expect(try site.send("GET /", "", cookies: cut).code == "session-over")
    site.jar = whole
    site.provider.claims = ""
    site.advance(13 * 3_600)
    try site.logIn()
    #expect(site.session.count == 1)
    let mixed = site.session.merging(whole) { new, _ in new }
    #expect(try site.send("GET /", "", cookies: mixed).verdict == "next")
  }

  // MARK: Refreshing

  @Test("A session is refreshed at three quarters of its token's life, and the browser notices nothing")
  func refreshes() throws {
    let site = try LoginBench()
    try site.logIn()
    site.advance(299)
    #expect(try site.send("GET /", "").fetched.isEmpty)
    site.advance(1)
    let before = site.session
    site.provider.refreshToken = "second-refresh-token"
    site.provider.claims = "\"nonce\":null,\"email\":\"new@example.com\""
    let answer = try site.send("GET /", "")
    #expect(answer.verdict == "next" && site.session != before && answer.fetched.count == 1)
    #expect(answer.field("Cache-Control") == "no-store")
    let form = try LoginTestProvider.form(#require(answer.fetched.first))
    #expect(form["grant_type"] == "refresh_token" && form["refresh_token"] == "first-refresh-token")
    #expect(answer.identity?.claims?.root["email"]?.string == "new@example.com")
    site.advance(301)
    let next = try LoginTestProvider.form(#require(try site.send("GET /", "").fetched.first))
    #expect(next["refresh_token"] == "second-refresh-token")
  }

  @Test("Requests beside a refresh pass with what they have, and cause no second one")
  func beside() throws {
    let site = try LoginBench()
    try site.logIn()
    let old = site.session
    // Long over, as with a browser that was closed over night: the first request refreshes for all.
    site.advance(3_000)
    #expect(try site.send("GET /", "").fetched.count == 1)
    for _ in 0..<5 {
      let answer = try site.send("GET /", "", cookies: old)
      #expect(answer.verdict == "next" && answer.fetched.isEmpty && !answer.fields.contains("Set-Cookie"))
      site.advance(5)
    }
    #expect(site.orders.isEmpty)
  }

  @Test("A replayed refresh token kills the whole family, and an alarm is raised", arguments: [true, false])
  func replay(inCluster: Bool) throws {
    let site = try LoginBench(inCluster: inCluster)
    try site.logIn()
    let stolen = site.session
    site.advance(300)
    #expect(try site.send("GET /", "").fetched.count == 1)
    let good = site.session
    #expect(try site.send("GET /", "").verdict == "next")
    site.advance(31)
    let thief = try site.send("GET /", "", cookies: stolen)
    #expect(thief.verdict == "401" && thief.code == "session-over" && thief.fetched.isEmpty)
    if inCluster {
      let order = try #require(site.orders.first)
      #expect(order.kind == .session && order.isAlarm && order.origin == "policy-0" && order.name.utf8.count == 22)
      site.revoke(.session, order.name)
    }
    for cookies in [stolen, good] {
      let answer = try site.send("GET /", "", cookies: cookies)
      #expect(answer.code == "session-over" && answer.fetched.isEmpty)
    }
  }

  @Test("A session that the provider has ended is over")
  func endedByProvider() throws {
    let site = try LoginBench()
    try site.logIn()
    site.advance(300)
    site.provider.tokenOutcome = site.provider.json(400, "{\"error\":\"invalid_grant\"}")
    let answer = try site.send()
    #expect(answer.verdict == "302" && site.session.isEmpty && site.orders.map(\.isAlarm) == [false])
  }

  @Test("A refresh that answers for somebody else, or with a wrong token, ends the session", arguments: ["sub", "key"])
  func wrongRefresh(kind: String) throws {
    let site = try LoginBench()
    try site.logIn()
    site.advance(300)
    if kind == "sub" { site.provider.claims = "\"sub\":\"bob\"" } else { site.provider.signer = try TestIssuer() }
    #expect(try site.send("GET /", "").code == "session-over" && site.session.isEmpty && site.orders.count == 1)
  }

  @Test(
    "While the provider is down a session goes on until its token is over, and after that when the provider is back")
  func providerDown() throws {
    let site = try LoginBench()
    try site.logIn()
    site.advance(300)
    site.provider.isDown = true
    #expect(try site.send("GET /", "").verdict == "next")
    site.advance(29)
    #expect(try site.send("GET /", "").fetched.isEmpty)
    site.advance(31)
    #expect(try site.send("GET /", "").fetched.count == 1)
    site.advance(60)
    let answer = try site.send("GET /", "")
    #expect(answer.verdict == "503" && answer.code == "login-unavailable" && !site.session.isEmpty)
    // Its new cookie is no way round that while the provider is left alone.
    site.advance(5)
    let next = try site.send("GET /", "")
    #expect(next.code == "login-unavailable" && next.fetched.isEmpty)
    site.advance(26)
    site.provider.isDown = false
    #expect(try site.send("GET /", "").verdict == "next" && site.orders.isEmpty)
  }

  @Test("A store that cannot be asked keeps a session from being refreshed, and nobody from going on")
  func storeDown() throws {
    let site = try LoginBench()
    try site.logIn()
    let session = try #require(site.session.values.first)
    let policy = try #require(site.bench.chain.requestPolicies(of: OIDCLogin.self).first)
    let opened = try #require(policy.open(Array(session.utf8.dropFirst()), site.bench.services))
    let known = try policy.made(opened, site.bench.services)
    let document = try ProviderDocument(
      Array(site.provider.document.utf8), of: .discovery(of: "https://id.example"), isSecure: true)
    for (seconds, passes) in [(300.0, true), (100, false)] {
      site.advance(seconds)
      var exchange = Exchange()
      let refresh = LoginErrand.Refresh(known: known, session: opened)
      let verdict = policy.begin(refresh, .unknown, document, &exchange, site.bench.request, site.bench.services)
      if case .next = verdict { #expect(passes) } else { #expect(!passes) }
    }
    #expect(site.bench.fetches.orders.isEmpty)
  }
}
