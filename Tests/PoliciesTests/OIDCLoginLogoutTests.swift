import Core
import Crypto
import Pipeline
import Testing

@testable import Policies

@Suite("Logout of oidc-login")
struct OIDCLoginLogoutTests {
  @Test(
    "Nobody is logged out by another site: not by a link, a form, a frame or an image",
    arguments: [
      ("GET", ""), ("POST", ""),
      ("GET", "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document"),
      ("GET", "Sec-Fetch-Site: same-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document"),
      ("GET", "Sec-Fetch-Site: same-origin\nSec-Fetch-Mode: no-cors\nSec-Fetch-Dest: image"),
      ("GET", "Sec-Fetch-Site: same-origin\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe"),
      ("POST", "Sec-Fetch-Site: cross-site\nOrigin: https://app.example"), ("POST", "Origin: https://evil.example"),
      ("POST", "Origin: null"), ("POST", "Origin: https://app.example.evil.example"),
      ("GET", "Referer: https://app.example.evil.example/"),
      ("GET", "Referer: https://evil.example/https://app.example/"),
    ])
  func forgedLogout(method: String, fields: String) throws {
    let site = try LoginBench()
    try site.logIn()
    let answer = try site.send("\(method) /oauth2/logout", fields)
    #expect(answer.verdict == "403" && answer.code == "origin-denied" && site.orders.isEmpty)
    #expect(!site.session.isEmpty && !answer.fields.contains("Set-Cookie"))
  }

  @Test(
    "A visitor logs out here and at the provider",
    arguments: [
      ("POST", "Sec-Fetch-Site: same-origin"), ("POST", "Origin: https://app.example"),
      ("GET", "Sec-Fetch-Site: none\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document"),
      ("GET", "Referer: https://app.example/menu"),
    ])
  func logout(method: String, fields: String) throws {
    let site = try LoginBench(nil, "afterLogout: \"/bye\"")
    try site.logIn()
    let session = site.session
    site.jar = [:]
    // Another tab is still at the provider.
    #expect(try site.send().verdict == "302")
    site.jar.merge(session) { new, _ in new }
    let answer = try site.send("\(method) /oauth2/logout", fields)
    #expect(answer.verdict == "303" && site.jar.isEmpty)
    let wanted = "https://id.example/logout?client_id=gateway&post_logout_redirect_uri=https%3A%2F%2Fapp.example%2Fbye"
    #expect(answer.location == wanted)
    #expect(site.orders.map(\.kind) == [.session])
  }

  @Test("After a logout a copy of the cookie is of no use, on a node of its own too")
  func logoutAlone() throws {
    let site = try LoginBench(inCluster: false)
    try site.logIn()
    let copy = site.session
    #expect(try site.send("GET /", "", cookies: copy).verdict == "next")
    #expect(try site.send("POST /oauth2/logout", "Origin: https://app.example").verdict == "303")
    #expect(try site.send("GET /", "", cookies: copy).code == "session-over")
  }

  private static let event = "\"events\":{\"http://schemas.openid.net/event/backchannel-logout\":{}}"
  private static let order = "\"aud\":\"gateway\",\"iat\":\(TestIssuer.now),\"jti\":\"1\",\"sid\":\"s\",\(event)"

  private func tell(_ site: LoginBench, _ token: String) throws -> LoginAnswer {
    try site.send(
      "POST /oauth2/backchannel-logout", "Content-Type: application/x-www-form-urlencoded", cookies: [:],
      body: "logout_token=\(token)")
  }

  @Test(
    "A logout token that is wrong in anything ends nothing",
    arguments: [
      order.replacing(event, with: "\"events\":{}"), order.replacing(event, with: "\"a\":1"),
      order.replacing("gateway", with: "other"), order.replacing("\"jti\":\"1\",", with: ""),
      order + ",\"nonce\":\"n\"",
      order.replacing("\"sid\":\"s\",", with: ""), order.replacing("\"iat\":\(TestIssuer.now),", with: ""),
      order.replacing("\"sid\":\"s\"", with: "\"sid\":7,\"sub\":\"ann\""), order + ",\"exp\":\(TestIssuer.now - 60)",
      order + ",\"iss\":\"https://evil.example\"", order.replacing("{}", with: "true"),
    ])
  func wrongLogoutToken(claims: String) throws {
    let site = try LoginBench()
    let answer = try tell(site, try site.provider.issuer.token(claims, type: "logout+jwt"))
    #expect(answer.verdict == "400" && answer.field("Cache-Control") == "no-store" && site.orders.isEmpty)
  }

  @Test("No logout token, one of another key and one that was used before end nothing")
  func replayedLogoutToken() throws {
    let site = try LoginBench()
    for token in ["", "a.b.c", try TestIssuer().token(Self.order)] { #expect(try tell(site, token).verdict == "400") }
    #expect(try site.send("POST /oauth2/backchannel-logout", "", body: "a=b").verdict == "400")
    #expect(try site.send("GET /oauth2/backchannel-logout").verdict == "405" && site.orders.isEmpty)
    let token = try site.provider.issuer.token(Self.order, type: "logout+jwt")
    #expect(try tell(site, token).verdict == "200" && site.orders.count == 1)
    #expect(try tell(site, token).verdict == "400" && site.orders.count == 1)
  }

  @Test("The provider ends one session, or all of a subject and nothing else that is called like it")
  func backChannel() throws {
    let site = try LoginBench()
    let one = try tell(site, try site.provider.issuer.token(Self.order, type: "logout+jwt"))
    #expect(one.verdict == "200" && one.field("Cache-Control") == "no-store")
    let all = Self.order.replacing("\"sid\":\"s\"", with: "\"sub\":\"ann\"").replacing("\"1\"", with: "\"2\"")
    #expect(try tell(site, try site.provider.issuer.token(all, type: "logout+jwt")).verdict == "200")
    #expect(site.orders.map(\.kind) == [.session, .subject])
    #expect(site.orders.map(\.name) == ["s", "https://id.example ann"])
    try site.logIn()
    #expect(try site.send("GET /", "").verdict == "next")
    site.revoke(.subject, "https://id.example ann", issuedBefore: UInt32(TestIssuer.now + 1))
    #expect(try site.send("GET /", "").code == "session-over")
  }

  @Test("A node of its own ends the session that the provider names, and says where it cannot")
  func backChannelAlone() throws {
    let site = try LoginBench(inCluster: false)
    site.provider.claims = "\"sid\":\"s\""
    try site.logIn()
    #expect(try site.send("GET /", "").verdict == "next")
    #expect(try tell(site, try site.provider.issuer.token(Self.order)).verdict == "200")
    #expect(try site.send("GET /", "").code == "session-over")
    let all = Self.order.replacing("\"sid\":\"s\"", with: "\"sub\":\"ann\"").replacing("\"1\"", with: "\"2\"")
    #expect(try tell(site, try site.provider.issuer.token(all)).code == "login-unavailable")
  }
}
