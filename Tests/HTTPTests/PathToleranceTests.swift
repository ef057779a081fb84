import Core
import HTTP
import Testing

@Suite struct PathToleranceTests {
  static func parse(_ path: String, _ paths: PathTolerance) -> HeadResult {
    let buffer = ByteBuffer()
    buffer.append(utf8: "GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
    return RequestHead().parse(buffer, limits: HeadLimits(paths: paths))
  }

  static func isComplete(_ path: String, _ paths: PathTolerance) -> Bool {
    if case .complete = parse(path, paths) { return true }
    return false
  }

  @Test(
    "what is let through for slashes never lets dot segments through",
    arguments: [
      "/a/..%2Fb", "/a/b%2f..", "/a/b%2F.%5Cc", "/%2e%2e/b", "/a/%2E%2e%2Fb", "/a%5c..;x/b", "/a//../b", "/a/..//b",
    ])
  func dotSegments(_ path: String) {
    let all: PathTolerance = [.encodedSlashes, .emptySegments]
    switch Self.parse(path, all) {
    case .refused(let fault): #expect(fault == .dotSegment || fault == .encodedDot)
    case .complete, .incomplete: Issue.record("accepted \(path)")
    }
  }

  @Test("each tolerance lets through what it names and nothing else")
  func names() {
    #expect(Self.parse("/group%2Fname", []) == .refused(.encodedSeparator))
    #expect(Self.parse("/group%2Fname", .emptySegments) == .refused(.encodedSeparator))
    #expect(Self.parse("/a//b", []) == .refused(.emptySegment))
    #expect(Self.parse("/a//b", .encodedSlashes) == .refused(.emptySegment))
    #expect(Self.parse("/a%00b", [.encodedSlashes, .emptySegments]) == .refused(.encodedControl))
    #expect(Self.isComplete("/group%2Fname%5Cx", .encodedSlashes), "%2F")
    #expect(Self.isComplete("//a//b//", .emptySegments), "//")
  }

  @Test("characters that need no escape may have one", arguments: ["/%61dmin", "/%7Euser", "/a%2Db%5Fc"])
  func unreserved(_ path: String) {
    #expect(Self.isComplete(path, []), "refused \(path)")
  }
}
