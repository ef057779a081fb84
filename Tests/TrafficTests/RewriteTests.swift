import Core
import Testing

@testable import Traffic

@Suite("Rewrite")
struct RewriteTests {
  /// The target that a rewrite makes of one that the pattern matches.
  private func target(_ rewrite: Rewrite, _ target: String, pattern: String = "/*") throws -> String {
    let request = RawRequest("GET", "h", target)
    var captures = RouteCaptures()
    let decision = try compiled(RouteMatch(path: pattern)).match(request: request, captures: &captures)
    try #require(decision == .route(0))
    let buffer = ByteBuffer()
    rewrite.appendTarget(path: request.pathBytes, query: request.queryBytes, captures: captures, to: buffer)
    return text(buffer)
  }

  @Test(
    "A prefix is stripped only where whole segments are that prefix",
    arguments: [
      ("/v1", "/v10/a", "/v10/a"), ("/v1", "/a/v1", "/a/v1"), ("/v1/x", "/v1", "/v1"), ("/v1", "/v1", "/"),
      ("/v1", "/v1/", "/"), ("/v1", "/v1/a?b=c", "/a?b=c"), ("/v1/", "/v1/a", "/a"), ("/v1", "/%761/a%2Fb", "/a%2Fb"),
      ("/", "/a", "/a"),
    ])
  func strip(prefix: String, path: String, expected: String) throws {
    #expect(try target(Rewrite(stripPrefix: prefix), path) == expected)
  }

  @Test(
    "A prefix is added before what is left",
    arguments: [
      ("/api", "/a", "/api/a"), ("/api/", "/a", "/api/a"), ("/api", "/v1", "/api"), ("/api", "/v1/b", "/api/b"),
    ])
  func add(prefix: String, path: String, expected: String) throws {
    #expect(try target(Rewrite(stripPrefix: "/v1", addPrefix: prefix), path) == expected)
  }

  @Test("A template is filled with captures as they stand in the path")
  func template() throws {
    let path = try PathTemplate("/new/{b}/{a}/{*}", kind: .path, captureNames: ["a", "b"])
    #expect(try target(Rewrite(path: path), "/1%2F/2/x/y?q", pattern: "/{a}/{b}/*") == "/new/2/1%2F/x/y?q")
  }

  @Test("Query parameters are removed, replaced and added, the others kept in order")
  func query() throws {
    let value = try PathTemplate("a b&{id}", kind: .queryValue, captureNames: ["id"])
    let rewrite = Rewrite(setQuery: [.init(name: "s t", value: value)], removeQuery: ["x"])
    #expect(try target(rewrite, "/7", pattern: "/{id}") == "/7?s%20t=a%20b%267")
    #expect(try target(rewrite, "/7?x=1&y=2&s+t=3&%78=4&z", pattern: "/{id}") == "/7?y=2&z&s%20t=a%20b%267")
    #expect(try target(Rewrite(removeQuery: ["x"]), "/7?x") == "/7")
  }

  @Test("What a client writes into a captured segment stays one value of one parameter")
  func queryInjection() throws {
    let value = try PathTemplate("{id}", kind: .queryValue, captureNames: ["id"])
    let rewrite = Rewrite(setQuery: [.init(name: "id", value: value)])
    #expect(try target(rewrite, "/1&admin=1;b+%20c", pattern: "/{id}").hasSuffix("?id=1%26admin%3D1%3Bb%2B%20c"))
  }

  @Test("A rewrite without a part that changes anything says so")
  func identity() throws {
    #expect(Rewrite().isIdentity)
    #expect(Rewrite(stripPrefix: "/", addPrefix: "/", host: .set("a")).isIdentity)
    #expect(!Rewrite(removeQuery: ["a"]).isIdentity)
    #expect(try target(Rewrite(), "/a?b") == "/a?b")
  }

  @Test(
    "A text that is no template is refused",
    arguments: [
      ("/a/{id", PathTemplate.Problem.brace), ("/a/id}", .brace), ("/{no}", .unknownHole("no")), ("a", .start),
      ("", .start),
      ("/a b", .byte), ("/a?b", .byte), ("/a#b", .byte), ("/\r\nX: y", .byte), ("/{host}", .unknownHole("host")),
      ("{id}", .start),
    ])
  func refused(text: String, problem: PathTemplate.Problem) {
    #expect(throws: problem) { try PathTemplate(text, kind: .path, captureNames: ["id"]) }
  }
}

@Suite("Redirect")
struct RedirectTests {
  private func location(_ template: String, _ target: String, isSecure: Bool = false) throws -> String {
    let request = RawRequest("GET", "h.example", target)
    var captures = RouteCaptures()
    _ = try compiled(RouteMatch(path: "/a/{id}/*"), RouteMatch(path: "/*")).match(request: request, captures: &captures)
    let names = target.hasPrefix("/a/") ? ["id"] : []
    let redirect = try #require(
      Redirect(status: 308, location: try PathTemplate(template, kind: .location, captureNames: names)))
    let buffer = ByteBuffer()
    redirect.appendLocation(
      path: request.pathBytes, query: request.queryBytes, authority: request.hostBytes, isSecure: isSecure,
      captures: captures, to: buffer)
    return text(buffer)
  }

  @Test("A status that is no redirect is refused", arguments: [200, 300, 304, 404] as [UInt16])
  func status(status: UInt16) throws {
    let template = try PathTemplate("/", kind: .location, captureNames: [])
    #expect(Redirect(status: status, location: template) == nil)
  }

  @Test(
    "A location that could be made to name any host is refused",
    arguments: ["{*}", "{host}/a", "//h.example", "ftp://a"])
  func start(template: String) {
    #expect(throws: PathTemplate.Problem.self) { try PathTemplate(template, kind: .location, captureNames: []) }
  }

  @Test(
    "A path of the client's choice never becomes a host",
    arguments: [
      ("{path}", "//evil.example/x"), ("/{*}", "//evil.example/x"), ("/{*}", "///evil.example/x"),
      ("{path}", "/\\evil.example/x"), ("{path}", "/\\/evil.example/x"),
    ])
  func openRedirect(template: String, target: String) throws {
    #expect(try location(template, target) == "/evil.example/x")
  }

  @Test("A location is filled from the request")
  func filled() throws {
    #expect(try location("https://{host}{path}{query}", "/x?a=b") == "https://h.example/x?a=b")
    #expect(
      try location("{scheme}://new.example/{id}/{*}{query}", "/a/7/y/z", isSecure: true) == "https://new.example/7/y/z")
    #expect(try location("/b/{id}?from=a", "/a/7/y") == "/b/7?from=a")
  }
}
