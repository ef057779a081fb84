import Testing

@testable import Traffic

@Suite("RouteProblem")
struct RouteProblemTests {
  private func problems(_ matches: RouteMatch...) -> [RouteProblem] { RouteTable.build(matches).problems }

  @Test(
    "A path that can never match is an error",
    arguments: [
      ("a", RouteProblem.Reason.pathStart("a")), ("", .pathStart("")), ("/a/../b", .dotSegment("/a/../b")),
      ("/%2e", .dotSegment("/%2e")), ("/a*", .partialSegment("/a*")), ("/*/a", .partialSegment("/*/a")),
      ("/a/{id}.json", .partialSegment("/a/{id}.json")), ("/{}", .captureName("")), ("/{a b}", .captureName("a b")),
      ("/{a}/{a}", .captureTwice("a")), ("/a?b", .pathByte("/a?b")), ("/a b", .pathByte("/a b")),
      ("/%zz", .percent("/%zz")),
      ("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", .captureCount("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}")),
    ])
  func path(path: String, reason: RouteProblem.Reason) {
    let (table, problems) = RouteTable.build([RouteMatch(path: path)])
    #expect(table == nil)
    #expect(problems.contains { $0.reason == reason }, "\(problems)")
  }

  @Test(
    "A host that can never match is an error",
    arguments: ["", "a..b", "a b", "**.a", "a.*.b", "h:0", "h:65536", "h:", "h:x", "/a", "[::1", "*.", "*:80"])
  func host(host: String) {
    #expect(problems(RouteMatch(host: host)).contains { $0.member == "host" && !$0.isWarning })
  }

  @Test("A method that is none is an error", arguments: ["", "GE T", "ABCDEFGHIJKLMNOPQ"])
  func method(name: String) {
    #expect(problems(RouteMatch(methods: [name])).map(\.reason) == [.method(name)])
  }

  @Test("A version must be one segment", arguments: ["", "v1/x", "{v}"])
  func version(version: String) {
    #expect(problems(RouteMatch(path: "/a", version: .path(version))).contains { $0.member == "version" })
  }

  @Test("Two routes that take the same requests are a tie, whatever their captures are called")
  func tie() {
    #expect(problems(RouteMatch(path: "/a/{x}"), RouteMatch(path: "/a/{y}")).map(\.reason) == [.tie(with: 0)])
    #expect(problems(RouteMatch(), RouteMatch(path: "/*")).map(\.reason) == [.tie(with: 0)])
    #expect(problems(RouteMatch(host: "A.b"), RouteMatch(host: "a.B")).map(\.route) == [1])
  }

  @Test("Overlapping method sets of the same size are a tie")
  func methodTie() {
    let (table, problems) = RouteTable.build([
      RouteMatch(methods: ["GET", "PUT"]), RouteMatch(methods: ["PUT", "POST"]),
    ])
    #expect(table == nil)
    #expect(problems == [RouteProblem(route: 1, reason: .tie(with: 0))])
  }

  @Test("Routes that no request can satisfy together are no tie")
  func noTie() {
    func version(_ value: String) -> RouteMatch { RouteMatch(version: .header(name: "v", value: value)) }
    #expect(problems(version("1"), version("2"), RouteMatch()).isEmpty)
    #expect(problems(RouteMatch(methods: ["GET"]), RouteMatch(methods: ["PUT"]), RouteMatch()).isEmpty)
    #expect(problems(RouteMatch(path: "/a/{x}"), RouteMatch(path: "/a/*"), RouteMatch(path: "/a/b")).isEmpty)
  }

  @Test("A route whose methods others take one by one is unreachable")
  func unreachable() {
    let (table, problems) = RouteTable.build([
      RouteMatch(methods: ["GET", "PUT"]), RouteMatch(methods: ["GET"]), RouteMatch(methods: ["PUT"]),
    ])
    #expect(table != nil)
    #expect(problems == [RouteProblem(route: 0, reason: .unreachable(because: 2))])
    #expect(problems[0].isWarning)
  }

  @Test("A header with two values at once is a warning")
  func contradiction() {
    let match = RouteMatch(
      headers: [NamedValue(name: "V", value: "1")], version: .header(name: "v", value: "2"))
    #expect(problems(match).map(\.reason) == [.contradiction(header: "v")])
  }

  @Test("Every problem says what is wrong and what to do")
  func words() {
    let all = problems(
      RouteMatch(host: "a..b", path: "x", methods: [""]), RouteMatch(), RouteMatch(),
      RouteMatch(headers: [NamedValue(name: "", value: "")]))
    #expect(all.count >= 5)
    #expect(all.allSatisfy { !$0.message.isEmpty && !$0.fix.isEmpty })
  }
}
