import Core
import HTTP
import Testing

@testable import Traffic

@Suite("RouteTable")
struct RouteTableTests {
  @Test("An empty table finds nothing")
  func empty() {
    #expect(RouteTable().route("/") == -1)
  }

  @Test(
    "A path pattern refuses what only resembles it",
    arguments: [
      ("/a", "/"), ("/a", "/a/"), ("/a", "/a/b"), ("/a", "/ab"), ("/a", "/A"), ("/a", "*"), ("/a", ""), ("/a", "a"),
      ("/a/", "/a"), ("/a/*", "/ab"), ("/a/*", "/"), ("/a/{id}", "/a"), ("/a/{id}", "/a/"), ("/a/{id}", "/a/b/c"),
      ("/a/{id}/*", "/a/"), ("/{x}/b", "//b"), ("/a%2Fb", "/a/b"), ("/a/b", "/a%2Fb"),
      ("/longer-than-8", "/longer-than-9"),
      ("/abcdefgh", "/abcdefg"), ("/abcdefgh", "/abcdefghi"), ("/a", "/a%00"), ("/a", "/a%"),
    ])
  func pathRefused(pattern: String, path: String) throws {
    #expect(try compiled(RouteMatch(path: pattern)).route(path) == -1)
  }

  @Test(
    "A path pattern takes what it stands for",
    arguments: [
      ("/", "/"), ("/a", "/a"), ("/a", "/%61"), ("/a/", "/a/"), ("/a/*", "/a"), ("/a/*", "/a/"), ("/a/*", "/a/b/c"),
      ("/a/*", "/a//b"), ("/*", "/"), ("/*", "/x/y"), ("/*", "*"), ("/a/{id}", "/a/b%2Fc"), ("/a/{id}/*", "/a/b"),
      ("/a%2Fb", "/a%2fb"), ("/%7Euser", "/~user"), ("/ä", "/%C3%A4"), ("/a:b@c", "/a%3Ab%40c"),
      ("/abcdefgh", "/abcdefgh"), ("/abcdefghijklmnop/q", "/abcdefghijklmno%70/q"),
    ])
  func pathTaken(pattern: String, path: String) throws {
    #expect(try compiled(RouteMatch(path: pattern)).route(path) == 0)
  }

  @Test("Captures are the bytes of their segments, as they stand in the path")
  func captures() throws {
    #expect(
      try compiled(RouteMatch(path: "/a/{x}/b/{y}/*")).captured("/a/1%20/b/two/three/4") == ["1%20", "two", "three/4"])
    #expect(try compiled(RouteMatch(path: "/a/*")).captured("/a") == [""])
    #expect(try compiled(RouteMatch(path: "/{x}")).captured("/only") == ["only", ""])
  }

  @Test("Captures of a branch that led nowhere are not left behind")
  func capturesBacktrack() throws {
    let table = try compiled(RouteMatch(path: "/{a}/{b}/{c}/x"), RouteMatch(path: "/{a}/*"))
    #expect(table.captured("/1/2/3/x") == ["1", "2", "3", ""])
    #expect(table.captured("/1/2/3/y") == ["1", "2/3/y"])
  }

  @Test(
    "A host pattern refuses what only resembles it",
    arguments: [
      ("example.com", "example.org"), ("example.com", "api.example.com"), ("example.com", ""),
      ("*.example.com", "example.com"), ("*.example.com", ".example.com"), ("*.example.com", "badexample.com"),
      ("example.com:8080", "example.com"), ("example.com:8080", "example.com:80"), ("[::1]", "[::2]"),
      ("*.example.com:8080", "a.example.com:80"), ("example.com", "example.com:123456"),
    ])
  func hostRefused(pattern: String, host: String) throws {
    #expect(try compiled(RouteMatch(host: pattern)).route("GET", host, "/") == -1)
  }

  @Test(
    "A host pattern takes what it stands for",
    arguments: [
      ("example.com", "example.com"), ("example.com", "EXAMPLE.com:8080"), ("Example.COM", "example.com"),
      ("example.com", "example.com."), ("example.com", "example.com.:80"), ("example.com", "example.com:"),
      ("*.example.com", "a.example.com"), ("*.example.com", "a.b.Example.com:1"), ("[::1]", "[::1]:80"),
      ("example.com:8080", "example.com:8080"), ("*.example.com:8080", "x.example.com:8080"),
      ("10.0.0.1", "10.0.0.1:80"),
      ("*", "anything"), ("a-very-long-label.example.com", "a-very-LONG-label.example.com"),
    ])
  func hostTaken(pattern: String, host: String) throws {
    #expect(try compiled(RouteMatch(host: pattern)).route("GET", host, "/") == 0)
  }

  @Test("The most specific host wins, and gives way where it has no route")
  func hostOrder() throws {
    let table = try compiled(
      RouteMatch(path: "/*"), RouteMatch(host: "*.b.c", path: "/*"), RouteMatch(host: "*.a.b.c", path: "/*"),
      RouteMatch(host: "x.a.b.c", path: "/x"), RouteMatch(host: "x.a.b.c:81", path: "/x"))
    #expect(table.route("GET", "x.a.b.c:81", "/x") == 4)
    #expect(table.route("GET", "x.a.b.c:82", "/x") == 3)
    #expect(table.route("GET", "x.a.b.c:81", "/y") == 2)
    #expect(table.route("GET", "y.b.c", "/x") == 1)
    #expect(table.route("GET", "b.c", "/x") == 0)
  }

  @Test("Paths are compared segment by segment: literal before capture before star")
  func pathOrder() throws {
    let table = try compiled(
      RouteMatch(path: "/*"), RouteMatch(path: "/a/*"), RouteMatch(path: "/a/{x}"), RouteMatch(path: "/a/b"),
      RouteMatch(path: "/a/{x}/c"), RouteMatch(path: "/a/b/*"), RouteMatch(path: "/a"))
    #expect(table.route("/a/b") == 3)
    #expect(table.route("/a/x") == 2)
    #expect(table.route("/a/x/c") == 4)
    #expect(table.route("/a/b/c") == 5)
    #expect(table.route("/a/x/d") == 1)
    #expect(table.route("/a") == 6)
    #expect(table.route("/b") == 0)
  }

  @Test("A method that no route of the path takes is refused with those that would do")
  func methodRefused() throws {
    let table = try compiled(
      RouteMatch(path: "/a", methods: ["GET", "PURGE"]), RouteMatch(path: "/a/*", methods: ["PUT"]),
      RouteMatch(path: "/b", methods: ["POST"]))
    #expect(table.allow("DELETE", "/a") == "GET, HEAD, PUT, PURGE")
    #expect(table.allow("UNHEARD-OF-METHOD-NAME", "/b") == "POST")
    #expect(table.allow("GET", "/c") == nil)
    #expect(table.route("PURGE", "h", "/a") == 0)
    #expect(table.route("PUT", "h", "/a") == 1)
  }

  @Test("GET takes HEAD along unless another route names it")
  func head() throws {
    #expect(try compiled(RouteMatch(path: "/a", methods: ["POST"])).route("HEAD", "h", "/a") == -1)
    #expect(try compiled(RouteMatch(path: "/a", methods: ["GET"])).route("HEAD", "h", "/a") == 0)
    let both = try compiled(RouteMatch(path: "/a", methods: ["GET"]), RouteMatch(path: "/a", methods: ["HEAD"]))
    #expect(both.route("HEAD", "h", "/a") == 1)
  }

  @Test("A header must have exactly the value, in any of its lines")
  func header() throws {
    let table = try compiled(RouteMatch(headers: [NamedValue(name: "X-Env", value: "beta")]))
    #expect(table.route("GET", "h", "/", []) == -1)
    #expect(table.route("GET", "h", "/", [("x-env", "Beta")]) == -1)
    #expect(table.route("GET", "h", "/", [("x-env", "beta2")]) == -1)
    #expect(table.route("GET", "h", "/", [("X-ENV", "alpha"), ("x-env", "beta")]) == 0)
  }

  @Test(
    "A query parameter must have exactly the value, decoded",
    arguments: [
      ("/", false), ("/?q", false), ("/?q=a", false), ("/?qq=a%20b", false), ("/?q=a%20bc", false), ("/?Q=a+b", false),
      ("/?q=a+b", true), ("/?x=1&q=a%20b", true), ("/?q=c&q=a+b", true), ("/?%71=a+b&", true),
    ])
  func query(target: String, isTaken: Bool) throws {
    let table = try compiled(RouteMatch(query: [NamedValue(name: "q", value: "a b")]))
    #expect(table.route(target) == (isTaken ? 0 : -1))
  }

  @Test(
    "A media-type parameter is found in any range of Accept, quoted or not",
    arguments: [
      ("application/json", false), ("application/json;version=1", false), ("application/json;versions=2", false),
      ("text/html;x=\";version=2\"", false), ("version=2", false), ("a/b;version=22", false),
      ("application/json;version=2", true), ("text/html, a/b; q=0.1 ; Version=\"2\" ;x=y", true),
    ])
  func mediaType(accept: String, isTaken: Bool) throws {
    let table = try compiled(RouteMatch(version: .mediaType(parameter: "version", value: "2")))
    #expect(table.route("GET", "h", "/", [("Accept", accept)]) == (isTaken ? 0 : -1))
  }

  @Test("A version in the path stands before the pattern; one in a header beats no version")
  func versions() throws {
    let table = try compiled(
      RouteMatch(path: "/o/*", version: .path("v1")), RouteMatch(path: "/o/*"),
      RouteMatch(path: "/o/*", version: .header(name: "Accept-Version", value: "2")))
    #expect(table.route("/v1/o/7") == 0)
    #expect(table.route("/o/7") == 1)
    #expect(table.route("GET", "h", "/o/7", [("Accept-Version", "2")]) == 2)
    #expect(table.route("GET", "h", "/o/7", [("Accept-Version", "3")]) == 1)
  }

  @Test("More conditions beat fewer, and fewer methods beat more")
  func conditionOrder() throws {
    let header = NamedValue(name: "a", value: "1")
    let table = try compiled(
      RouteMatch(), RouteMatch(headers: [header]), RouteMatch(query: [NamedValue(name: "q", value: "1")]),
      RouteMatch(methods: ["GET", "POST"]), RouteMatch(methods: ["GET"]))
    #expect(table.route("GET", "h", "/?q=1", [("a", "1")]) == 4)
    #expect(table.route("POST", "h", "/?q=1", [("a", "1")]) == 3)
    #expect(table.route("PUT", "h", "/?q=1", [("a", "1")]) == 1)
    #expect(table.route("PUT", "h", "/?q=1") == 2)
    #expect(table.route("PUT", "h", "/") == 0)
  }

  @Test("A parsed head is routed by its own method, and a preflight can find the route that it asks about")
  func parsedHead() throws {
    let table = try compiled(RouteMatch(host: "h", path: "/a/{id}", methods: ["PUT"]))
    func decision(_ head: String) throws -> RouteDecision {
      let buffer = ByteBuffer()
      buffer.append(utf8: head)
      let request = RequestHead()
      let result = request.parse(buffer, limits: HeadLimits())
      try #require(result == .complete(byteCount: head.utf8.count))
      var captures = RouteCaptures()
      if let index = table.matchPreflight(request, captures: &captures) { return .route(index) }
      return table.match(request, captures: &captures)
    }
    let put = MethodSet(rawValue: 1 << 3)
    #expect(try decision("OPTIONS /a/1 HTTP/1.1\r\nHost: h\r\n\r\n") == .methodNotAllowed(put))
    #expect(
      try decision("OPTIONS /a/1 HTTP/1.1\r\nHost: h\r\nOrigin: o\r\nAccess-Control-Request-Method: GET\r\n\r\n")
        == .methodNotAllowed(put))
    #expect(
      try decision("OPTIONS /a/1 HTTP/1.1\r\nHost: h\r\nOrigin: o\r\nAccess-Control-Request-Method: PUT\r\n\r\n")
        == .route(0))
    #expect(try decision("PUT http://h/a/1?x HTTP/1.1\r\nHost: h\r\n\r\n") == .route(0))
    #expect(try decision("PUT /b HTTP/1.1\r\nHost: h\r\n\r\n") == .notFound)
  }

  @Test("Ten thousand routes fit into two megabytes")
  func memory() throws {
    let (table, _) = RouteTable.build((0..<10_000).map { RouteMatch(host: "h\($0 % 100)", path: "/v1/s\($0)/{id}/*") })
    #expect(try #require(table).byteCount < 2 << 20)
  }
}
