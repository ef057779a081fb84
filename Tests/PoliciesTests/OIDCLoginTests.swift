import Core
import Crypto
import HTTP
import Pipeline
import Testing

@testable import Policies

@Suite("oidc-login")
struct OIDCLoginTests {
  // MARK: Refusals

  @Test(
    "A request that opens no page is refused without a session, and not sent to the login",
    arguments: [
      ("GET /", ""), ("GET /", "Accept: application/json"), ("GET /", "Accept: */*"), ("POST /", LoginBench.page),
      ("GET /", "\(LoginBench.page)\nX-Requested-With: XMLHttpRequest"),
      ("GET /", "\(LoginBench.page)\nSec-Fetch-Mode: cors"), ("GET /", "\(LoginBench.page)\nSec-Fetch-Dest: iframe"),
      ("OPTIONS /", LoginBench.page),
    ])
  func noPage(line: String, fields: String) throws {
    let site = try LoginBench()
    let answer = try site.send(line, fields)
    #expect(answer.verdict == "401" && answer.code == "login-required" && answer.fetched.isEmpty)
    #expect(site.jar.isEmpty && answer.field("WWW-Authenticate") == "Cookie realm=\"sluice\"")
  }

  @Test(
    "Who comes back with a state that this browser has not been given is refused", arguments: ["no", "other", "late"])
  func loginOfOthers(kind: String) throws {
    let (site, other) = (try LoginBench(), try LoginBench())
    var state = try site.send().parameter("state") ?? ""
    let code = "&code=stolen"
    switch kind {
    case "no": site.jar = [:]
    case "other": state = try other.send().parameter("state") ?? ""
    default: site.advance(Double(LoginState.lifeSeconds))
    }
    let answer = try site.comeBack(state, code)
    #expect(answer.verdict == "400" && answer.code == "login-unknown" && answer.fetched.isEmpty)
    #expect(site.session.isEmpty)
  }

  @Test(
    "A state that is none, or is there twice, is refused",
    arguments: [
      "", "code=a", "state=&code=a", "state=abc&code=a", "state=STATE&state=STATE&code=a", "state=STATE&code=a&code=b",
      "state=STATE%00&code=a", "state=STATE&code=%zz", "STATE",
    ])
  func malformedState(query: String) throws {
    let site = try LoginBench()
    let state = try site.send().parameter("state") ?? ""
    let answer = try site.send("GET /oauth2/callback?\(query.replacing("STATE", with: state))")
    #expect(answer.verdict == "400" && answer.code == "login-unknown" && answer.fetched.isEmpty)
  }

  @Test("A callback that is replayed is refused, even by a browser that kept its cookie")
  func replayedCallback() throws {
    let site = try LoginBench()
    let start = try site.send()
    let state = try start.parameter("state") ?? ""
    let kept = site.jar
    site.provider.nonce = try start.parameter("nonce") ?? ""
    #expect(try site.comeBack(state).verdict == "303")
    site.jar = kept
    let again = try site.comeBack(state)
    #expect(again.code == "login-unknown" && again.fetched.isEmpty && site.states.isEmpty)
  }

  @Test("A cookie of a login that was changed is refused")
  func tamperedState() throws {
    let site = try LoginBench()
    let state = try site.send().parameter("state") ?? ""
    for (name, value) in site.states { site.jar[name] = String(value.dropLast()) + (value.hasSuffix("A") ? "B" : "A") }
    #expect(try site.comeBack(state).code == "login-unknown")
  }

  @Test(
    "Answers are not mixed up between providers",
    arguments: [
      ("", "&iss=https%3A%2F%2Fevil.example"), (",\"authorization_response_iss_parameter_supported\":true", ""),
    ])
  func mixUp(document: String, more: String) throws {
    let site = try LoginBench()
    site.provider.documentMore = document
    let state = try site.send().parameter("state") ?? ""
    let answer = try site.comeBack(state, "&code=a\(more)")
    #expect(answer.verdict == "502" && answer.code == "login-failed" && answer.fetched.isEmpty)
    #expect(site.states.isEmpty)
  }

  @Test("A login that the provider denies ends in a problem and not in another login")
  func denied() throws {
    let site = try LoginBench()
    let answer = try site.comeBack(try site.send().parameter("state") ?? "", "&error=access_denied&error_description=x")
    #expect(answer.verdict == "403" && answer.code == "login-denied" && answer.fetched.isEmpty && site.jar.isEmpty)
  }

  @Test("A code is redeemed only with the verifier of this very login, so that an injected one is of no use")
  func injectedCode() throws {
    let site = try LoginBench()
    let start = try site.send()
    let back = try site.comeBack(try start.parameter("state") ?? "")
    let form = try LoginTestProvider.form(#require(back.fetched.first))
    let verifier = Array((form["code_verifier"] ?? "").utf8)
    let challenge = Base64URL.encode(SHA256().digest(of: RawSpan(verifier)).bytes)
    #expect(verifier.count == 43)
    #expect(try start.parameter("code_challenge") == challenge)
    #expect(try start.parameter("code_challenge_method") == "S256")
    #expect(form["redirect_uri"] == "https://app.example/oauth2/callback" && form["code"] == "a-code")
    #expect(site.session.isEmpty && back.code == "login-failed", "the nonce is none")
  }

  @Test(
    "An ID token that is not for this login is refused",
    arguments: [
      "\"nonce\":\"other\"", "\"nonce\":null", "\"aud\":\"other\"", "\"aud\":[\"gateway\",\"other\"]",
      "\"aud\":[\"gateway\",\"other\"],\"azp\":\"other\"", "\"azp\":\"other\"", "\"exp\":\(TestIssuer.now - 31)",
      "\"iat\":\(TestIssuer.now + 31)", "\"iat\":null", "\"sub\":null", "\"sub\":\"\"",
      "\"iss\":\"https://evil.example\"",
      "\"at_hash\":\"AAAAAAAAAAAAAAAAAAAAAA\"",
    ])
  func wrongToken(claims: String) throws {
    let site = try LoginBench()
    site.provider.claims = claims
    let answer = try site.logIn()
    #expect(answer.verdict == "502" && answer.code == "login-failed" && site.jar.isEmpty)
  }

  @Test("An ID token by another key is refused, and an answer without one")
  func unsignedToken() throws {
    let site = try LoginBench()
    site.provider.signer = try TestIssuer()
    #expect(try site.logIn().code == "login-failed")
    site.provider.sendsIDToken = false
    #expect(try site.logIn().code == "login-failed" && site.session.isEmpty)
  }

  @Test("A code that the provider refuses makes no session, nor does a provider that is down")
  func refusedCode() throws {
    let site = try LoginBench()
    site.provider.tokenOutcome = site.provider.json(400, "{\"error\":\"invalid_grant\"}")
    #expect(try site.logIn().code == "login-failed")
    site.provider.tokenOutcome = site.provider.json(503, "")
    #expect(try site.logIn().code == "login-unavailable" && site.jar.isEmpty)
  }

  @Test("Nobody is sent to a provider that does not answer, or whose document is another's")
  func noProvider() throws {
    let site = try LoginBench()
    site.provider.isDown = true
    #expect(try site.send().code == "login-unavailable")
    site.provider.isDown = false
    #expect(try site.send().code == "login-unavailable", "it is not asked again at once")
    site.advance(5)
    #expect(try site.send().verdict == "302")
    let evil = try LoginTestProvider()
    evil.documentIssuer = "https://evil.example"
    #expect(try LoginBench(evil).send().code == "login-unavailable")
  }

  @Test("Where requests must be left with the provider, nobody is sent there with an open one")
  func requiredPush() throws {
    let site = try LoginBench(nil, "par: \"required\"")
    #expect(try site.send().code == "login-unavailable")
  }

  // MARK: Open redirects

  @Test(
    "A path that would lead to another site is none",
    arguments: [
      "", "evil.example", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example",
      "https://evil.example", "javascript:alert(1)", "/a\\b", "/a\r\nSet-Cookie: a=b", "/\t/evil.example", "/a b", "/ä",
      "/\0",
    ])
  func openRedirect(path: String) { #expect(ReturnPath.checked(path) == nil) }

  @Test(
    "A path of the site stays as it is",
    arguments: ["/", "/a", "/a?b=c&d=//e", "/a//b", "/%2F%2Fevil.example", "/@evil"])
  func ownPath(path: String) { #expect(ReturnPath.checked(path) == path) }

  @Test(
    "After a login the browser is sent to the site's own origin only, whatever Host it named",
    arguments: [
      ("/orders?id=7", "/orders?id=7"), ("/?next=https://evil.example", "/?next=https://evil.example"),
      ("/.evil.example/", "/.evil.example/"), ("/oauth2/backchannel-logoutx", "/oauth2/backchannel-logoutx"),
    ])
  func returns(path: String, expected: String) throws {
    let site = try LoginBench()
    let answer = try site.logIn(path)
    #expect(answer.verdict == "303" && answer.location == "https://app.example\(expected)")
    #expect(answer.field("Cache-Control") == "no-store" && answer.field("Referrer-Policy") == "no-referrer")
  }

  @Test("What a sealed login says of its path is checked again")
  func sealedPath() {
    let good = LoginState(path: "/a", now: 5)
    #expect(LoginState(good.text) == good)
    let text = String(decoding: good.text, as: UTF8.self)
    #expect(LoginState(Array(text.replacing("\"/a\"", with: "\"//evil.example\"").utf8)) == nil)
  }

  // MARK: The way to the provider

  @Test("A page without a session is sent to the provider, with all that binds the answer to this browser")
  func begins() throws {
    let site = try LoginBench()
    let answer = try site.send("GET /a?b=c")
    #expect(answer.verdict == "302" && answer.location.hasPrefix("https://id.example/authorize?client_id=gateway&"))
    for (name, value) in [
      ("response_type", "code"), ("scope", "openid profile email"),
      ("redirect_uri", "https://app.example/oauth2/callback"),
    ] { #expect(try answer.parameter(name) == value) }
    let (state, nonce) = (try answer.parameter("state") ?? "", try answer.parameter("nonce") ?? "")
    #expect(state.count == 43 && nonce.count == 43 && state != nonce)
    #expect(!answer.location.contains("s3cret") && answer.field("Cache-Control") == "no-store")
    let cookie = try #require(site.states.first)
    #expect(cookie.key == "__Host-sluice-session.login.\(state.prefix(12))" && !cookie.value.contains(state))
  }

  @Test("A request to log in is left with the provider where it takes them", arguments: ["basic", "post", "none"])
  func pushes(authentication: String) throws {
    let client =
      authentication == "none"
      ? "authentication: \"none\"" : "clientSecret: \"s3cret\", authentication: \"\(authentication)\""
    let site = try LoginBench(nil, client: client)
    site.provider.documentMore = ",\"pushed_authorization_request_endpoint\":\"https://id.example/par\""
    let answer = try site.send()
    #expect(answer.location == "https://id.example/authorize?client_id=gateway&request_uri=urn%3Apushed%3A1")
    let push = try #require(answer.fetched.last)
    let form = try LoginTestProvider.form(push)
    #expect(form["client_id"] == "gateway" && form["state"]?.count == 43 && form["code_challenge_method"] == "S256")
    #expect(push.fields.contains { $0.name == "Authorization" } == (authentication == "basic"))
    #expect(form["client_secret"] == (authentication == "post" ? "s3cret" : nil))
    site.provider.nonce = form["nonce"] ?? ""
    #expect(try site.comeBack(form["state"] ?? "").verdict == "303")
  }

  @Test("A browser has a few logins under way at the same time, and the oldest gives way")
  func tabs() throws {
    let site = try LoginBench()
    var starts: [LoginAnswer] = []
    for number in 0..<6 {
      site.advance(1)
      starts.append(try site.send("GET /\(number)"))
      #expect(site.states.count <= LoginCookies.mostStates)
    }
    #expect(try site.comeBack(try starts[0].parameter("state") ?? "").code == "login-unknown")
    site.provider.nonce = try starts[3].parameter("nonce") ?? ""
    #expect(try site.comeBack(try starts[3].parameter("state") ?? "").location == "https://app.example/3")
    #expect(site.states.count == LoginCookies.mostStates - 1)
  }

  @Test("A login waits for the provider's keys where they are not there yet", arguments: [true, false])
  func waitsForKeys(isGood: Bool) throws {
    let site = try LoginBench(discoversKeys: true)
    if !isGood { site.provider.keys = try TestIssuer().keys }
    let answer = try site.logIn()
    #expect(answer.verdict == (isGood ? "303" : "502") && site.session.isEmpty != isGood)
  }

  @Test("A login stands beside other ways to know a caller, and a session that is over is not passed over")
  func besideOthers() throws {
    let (site, issuer) = (try LoginBench(), try TestIssuer(name: "https://other.example"))
    let login = LoginBench.policy(site.provider, "", client: "clientSecret: \"s3cret\"")
    let ways = "{ type: \"jwt\", issuers: [\(issuer.options())] }, \(login)"
    for isOptional in [false, true] {
      let made = make("{ type: \"any-of\", policies: [\(ways)], optional: \(isOptional) }", instance: "ways")
      #expect(made.remarks == [])
      site.bench.chain = try Registry.chain(of: made.step.map { [$0] } ?? [])
      site.jar = [:]
      #expect(try site.send("GET /", "Accept: */*").code == (isOptional ? "" : "token-missing"))
      #expect(try site.send("GET /", "Authorization: Bearer \(issuer.token())").verdict == "next")
      try site.logIn("/\(isOptional)")
      #expect(try site.send("GET /", "").identity?.subject == "ann")
      let wrong = site.session.mapValues { "\($0)AAAA" }
      #expect(try site.send("GET /", "", cookies: wrong).code == "session-over")
    }
  }

  // MARK: Options

  @Test(
    "Options that would leave a hole are refused",
    arguments: [
      ("publicURL: \"http://app.example\"", "no site"), ("publicURL: \"https://app.example/a\"", "no site"),
      ("publicURL: \"http://localhost\"", "no secure cookies"), ("publicURL: \"https://a?b\"", "no site"),
      ("callbackPath: \"//a\"", "no path"), ("callbackPath: \"/.sluice/a\"", "no path"),
      ("callbackPath: \"/oauth2/logout\"", "the same"), ("afterLogout: \"https://evil.example\"", "no path"),
      ("cookie: \"a=b\"", "no name"), ("insecureCookies: true, cookie: \"__Host-a\"", "no insecure cookie"),
      ("scopes: [\"email\"]", "openid"), ("authentication: \"private-key\"", "does not go with"),
      ("authentication: \"none\"", "does not go with"), ("key: \"x\"", "cannot sign"),
      ("headers: { \"Content-Length\": \"sub\" }", "no field"),
    ])
  func options(options: String, message: String) throws {
    let provider = try LoginTestProvider()
    var text = LoginBench.policy(provider, options, client: "clientSecret: \"s3cret\"")
    if options.hasPrefix("publicURL") { text = text.replacing("publicURL: \"https://app.example\", ", with: "") }
    let remarks = make(text).remarks
    #expect(remarks.contains { $0.contains(message) }, "\(remarks)")
    #expect(!remarks.contains { $0.contains("s3cret") })
  }
}
