import HTTP
import Pipeline
import Testing

@Suite struct FetchURLTests {
  @Test(
    "What is no URL, or would be more than one line of a request, is refused",
    arguments: [
      "ftp://a/", "HTTPS://a/", "https:/a", "https://", "https:///x", "https://a@b/", "https://a:b/", "https://a:0/",
      "https://a:1:2/", "a.test", "https://::1/", "https://a b/", "https://a/\r\nHost: b", "https://a/#c",
      "https://a/é",
      "https://unix:80/", "https://-a/", "https://1.2.3/", "https://[::1",
      "https://a.test/\(String(repeating: "a", count: 2_048))",
    ])
  func refused(text: String) { #expect(FetchURL(text, allowsPlain: true) == nil) }

  @Test(
    "Plain HTTP beyond the machine itself is refused",
    arguments: [
      "http://a.test/", "http://10.0.0.1/", "http://[::2]/", "http://localhost.test/", "http://127.0.0.1.test/",
    ])
  func plain(text: String) {
    #expect(FetchURL(text) == nil)
    #expect(FetchURL(text, allowsPlain: true)?.isBoundToLoopback == false)
  }

  @Test(
    "Plain HTTP of the machine itself passes, and is bound to it",
    arguments: ["http://127.0.0.1/", "http://127.8.0.1:81", "http://[::1]:8/x", "http://localhost:8080/keys"])
  func loopback(text: String) throws {
    let url = try #require(FetchURL(text))
    #expect(url.isBoundToLoopback && !url.isSecure && url.text == text)
  }

  @Test(
    "Host, port and target follow from the text",
    arguments: [
      ("https://Keys.test/a?b", "keys.test", 443, "/a?b", "keys.test"),
      ("https://a.test", "a.test", 443, "/", "a.test"),
      ("https://a.test:81?q", "a.test", 81, "/?q", "a.test:81"), ("https://1.2.3.4:5/", "1.2.3.4", 5, "/", "1.2.3.4:5"),
      ("https://[::1]/x", "::1", 443, "/x", "[::1]"), ("http://[::1]:8/x", "::1", 8, "/x", "[::1]:8"),
      ("http://localhost", "localhost", 80, "/", "localhost"),
    ] as [(String, String, UInt16, String, String)])
  func parts(text: String, host: String, port: UInt16, target: String, authority: String) throws {
    let url = try #require(FetchURL(text))
    #expect(url.host == host && url.port == port && url.target == target && url.authority == authority)
  }
}

@Suite struct FetchRequestTests {
  private func request(_ change: (inout FetchRequest) -> Void = { _ in }) throws -> String? {
    var request = FetchRequest(try #require(FetchURL("https://a.test/b?c")))
    change(&request)
    return request.message.map { String(decoding: $0, as: UTF8.self) }
  }

  @Test(
    "A field that is none, or is not the caller's to set, makes no request",
    arguments: [
      FetchField("", "a"), FetchField("a b", "c"), FetchField("a:", "c"), FetchField("a\r\n", "c"),
      FetchField("a", "b\r\nc: d"), FetchField("a", "b\n"), FetchField("a", "\0"), FetchField("a", "\u{7f}"),
      FetchField("Host", "b"), FetchField("connection", "keep-alive"), FetchField("Content-Length", "1"),
      FetchField("transfer-encoding", "chunked"), FetchField("Expect", "100-continue"), FetchField("é", "b"),
    ])
  func refused(field: FetchField) throws { #expect(try request { $0.fields = [field] } == nil) }

  @Test("A method that is not sent this way, and what is too long, make no request")
  func tooLong() throws {
    #expect(try request { $0.method = .connect } == nil)
    #expect(try request { $0.method = .other } == nil)
    #expect(try request { $0.body = [UInt8](repeating: 0, count: 262_145) } == nil)
    #expect(try request { $0.body = [UInt8](repeating: 0, count: 262_144) } != nil)
    #expect(try request { $0.fields = [FetchField("a", String(repeating: "b", count: 16_384))] } == nil)
  }

  @Test("A request is one head, and its body behind it")
  func message() throws {
    #expect(
      try request() == "GET /b?c HTTP/1.1\r\nHost: a.test\r\nUser-Agent: sluice\r\nConnection: close\r\n\r\n")
    let posted = try request {
      $0.method = .post
      $0.fields = [FetchField("X-A", "b\tc")]
      $0.body = Array("d=e".utf8)
    }
    #expect(
      posted == "POST /b?c HTTP/1.1\r\nHost: a.test\r\nUser-Agent: sluice\r\nConnection: close\r\nX-A: b\tc\r\n"
        + "Content-Length: 3\r\n\r\nd=e")
    #expect(try request { $0.method = .put }?.hasSuffix("Content-Length: 0\r\n\r\n") == true)
  }
}
