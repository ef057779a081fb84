import Core
import Pipeline
import Simulation
import Testing

@testable import Gateway

/// An issuer on the machine itself, whose keys and temper the test sets.
final class TestIssuer {
  static let name = "http://127.0.0.1:8080"
  static let discovery = KeySource.discovery(of: name)
  static let keys = KeySource.keys(at: name + "/keys")

  let bench: FetchBench
  /// The names of its keys.
  var names = ["a"]
  /// What it says it is.
  var issuer = name
  var keysURL = name + "/keys"
  /// Whether it answers.
  var isUp = true
  /// Further fields of the answer with the keys.
  var fields = ""
  /// What was asked for.
  private(set) var asked: [String] = []

  init(_ sources: [KeySource], _ bench: FetchBench = FetchBench()) {
    self.bench = bench
    bench.serve { [unowned self] in answer($0) }
    bench.node.handler.fetches.issuers.adopt(sources)
  }

  private func answer(_ request: WireMessage) -> String {
    asked.append(request.target)
    guard isUp else { return FetchBench.answer("no", status: "503 Service Unavailable") }
    if request.target != "/keys" {
      return FetchBench.answer("{\"issuer\":\"\(issuer)\",\"jwks_uri\":\"\(keysURL)\"}")
    }
    return FetchBench.answer("{\"keys\":[\(names.map(Self.key).joined(separator: ","))]}", fields)
  }

  static func key(_ name: String) -> String {
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"kid\":\"\(name)\"}"
  }

  /// The names of the keys that the loop knows.
  func known(_ source: KeySource = discovery) -> [String?] { bench.book.keys(of: source)?.keys.keys.map(\.keyID) ?? [] }

  var lines: [String] { bench.letters.lines }
  var entry: IssuerKeeper.Entry { bench.node.handler.fetches.issuers.entries[0] }

  func run(_ seconds: Int) { bench.world.run(for: .seconds(seconds)) }

  func adopt(_ sources: [KeySource]) {
    bench.node.handler.fetches.issuers.adopt(sources)
    bench.node.loop.poke()
  }
}

@Suite struct IssuerKeeperTests {
  // MARK: Refusals

  @Test(
    "A document that is another issuer's, or leads to keys without TLS, brings no keys",
    arguments: [
      ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/keys", "its configuration is that of another issuer"),
      ("https://evil.test", "http://127.0.0.1:8080/keys", "its configuration is that of another issuer"),
      (TestIssuer.name, "http://evil.test/keys", "the jwks_uri of its configuration is not https"),
      (TestIssuer.name, "ftp://127.0.0.1/keys", "the jwks_uri of its configuration is not https"),
      (TestIssuer.name, "/keys", "the jwks_uri of its configuration is not https"),
    ])
  func mismatch(name: String, keysURL: String, reason: String) {
    let issuer = TestIssuer([TestIssuer.discovery])
    (issuer.issuer, issuer.keysURL) = (name, keysURL)
    issuer.run(3)
    #expect(issuer.known().isEmpty && !issuer.asked.contains("/keys"))
    #expect(issuer.entry.fault?.hasPrefix(reason) == true)
    #expect(issuer.lines.count == 1 && issuer.lines.first?.contains(reason) == true)
  }

  @Test(
    "Plain HTTP beyond the machine itself is not asked", arguments: ["http://10.0.1.1:8080", "ftp://a", "nonsense"])
  func plain(name: String) {
    let bench = FetchBench()
    let issuer = TestIssuer([.discovery(of: name), .keys(at: name)], bench)
    issuer.run(3)
    #expect(bench.node.handler.fetches.issuers.entries.allSatisfy { $0.fault == "its address is not https" })
    #expect(bench.letters.looks.isEmpty)
  }

  @Test("A document that came with TLS does not lead to plain HTTP, the machine itself included")
  func downgrade() throws {
    let source = KeySource.discovery(of: "https://a.test")
    let body = Array("{\"issuer\":\"https://a.test\",\"jwks_uri\":\"http://127.0.0.1/keys\"}".utf8)
    #expect(throws: IssuerDocument.Fault.self) { try IssuerDocument.keysURL(body, of: source, isSecure: true) }
    #expect(try IssuerDocument.keysURL(body, of: source, isSecure: false).text == "http://127.0.0.1/keys")
  }

  @Test(
    "A document that is not one brings no keys",
    arguments: [
      "", "[]", "{}", "{\"issuer\":1}", "{\"issuer\":\"https://a.test\"}", "{\"issuer\":\"https://a.test\",}",
    ])
  func noDocument(text: String) {
    let source = KeySource.discovery(of: "https://a.test")
    #expect(throws: IssuerDocument.Fault.self) {
      try IssuerDocument.keysURL(Array(text.utf8), of: source, isSecure: true)
    }
  }

  @Test("An issuer that is named twice in its document is none")
  func duplicate() {
    let text = "{\"issuer\":\"https://b.test\",\"issuer\":\"https://a.test\",\"jwks_uri\":\"https://a.test/keys\"}"
    let source = KeySource.discovery(of: "https://a.test")
    #expect(throws: IssuerDocument.Fault.self) {
      try IssuerDocument.keysURL(Array(text.utf8), of: source, isSecure: true)
    }
  }

  @Test("What a stranger says stands in the log without line breaks")
  func printable() {
    #expect(PrintableText.of("a\nissuer b: \"ok\"\u{1b}[1m\u{202e}") == "\"a?issuer b: ?ok??[1m?\"")
    #expect(PrintableText.of(String(repeating: "a", count: 500)).count == 123)
  }

  // MARK: Keys

  @Test("Keys are found where the document says, or at once, and are known to the loop")
  func fetches() {
    for (source, asked) in [
      (TestIssuer.discovery, ["/.well-known/openid-configuration", "/keys"]), (TestIssuer.keys, ["/keys"]),
    ] {
      let issuer = TestIssuer([source])
      issuer.names = ["a", "b"]
      issuer.run(1)
      #expect(issuer.known(source) == ["a", "b"] && issuer.asked == asked && issuer.entry.fault == nil)
      #expect(issuer.lines == ["issuer \(source.name): 2 keys: \"a\", \"b\""])
      #expect(issuer.bench.node.loop.openSockets == 0)
    }
  }

  @Test("The document of an issuer whose name ends with a slash is not below an empty name")
  func slash() {
    #expect(
      KeySource.discovery(of: "https://a.test/").url == "https://a.test/.well-known/openid-configuration")
    #expect(KeySource.discovery(of: "https://a.test/").issuer == "https://a.test/")
  }

  @Test(
    "Keys are fetched again at half of their time, within bounds, and at most a tenth earlier",
    arguments: [
      ("", 3_600), ("Cache-Control: max-age=1200\r\n", 600), ("Cache-Control: public, MAX-AGE=\"1200\"\r\n", 600),
      ("Cache-Control: max-age=1\r\n", 300), ("Cache-Control: no-store\r\n", 300),
      ("Cache-Control: max-age=99999999999999999999\r\n", 86_400), ("Cache-Control: max-age=x, private\r\n", 3_600),
      ("Cache-Control: max-age=5000\r\nCache-Control: max-age=1000\r\n", 500),
    ])
  func refreshes(fields: String, seconds: Int) {
    let issuer = TestIssuer([TestIssuer.keys])
    issuer.fields = fields
    issuer.run(2)
    #expect(issuer.asked.count == 1)
    issuer.run(max(297, seconds * 9 / 10 - 4))
    #expect(issuer.asked.count == 1)
    issuer.names = ["b"]
    issuer.run(seconds / 10 + 4)
    #expect(issuer.asked.count == 2 && issuer.known(TestIssuer.keys) == ["b"])
    #expect(issuer.lines.last == "issuer \(TestIssuer.keys.name): keys have changed: added \"b\"; removed \"a\"")
  }

  @Test("Keys that have not changed stay the same object, and nothing is said")
  func unchanged() throws {
    let issuer = TestIssuer([TestIssuer.keys])
    issuer.run(1)
    let before = try #require(issuer.bench.book.keys(of: TestIssuer.keys))
    issuer.run(3_700)
    let after = try #require(issuer.bench.book.keys(of: TestIssuer.keys))
    #expect(issuer.asked.count == 2 && issuer.lines.count == 1)
    #expect(before.keys === after.keys && before.fetchedAt < after.fetchedAt)
  }

  @Test("While an issuer is down the last keys stay; that is said once, and that it answers again")
  func keepsLastGood() {
    let issuer = TestIssuer([TestIssuer.discovery])
    issuer.run(1)
    issuer.isUp = false
    issuer.run(7_200)
    #expect(issuer.known() == ["a"] && issuer.entry.fault == "the answer has status 503")
    #expect(
      issuer.lines.dropFirst() == [
        "issuer \(TestIssuer.name): its keys cannot be had: the answer has status 503; the last ones stay"
      ])
    // About one a minute for an hour and more.
    #expect((60...90).contains(issuer.asked.count) && issuer.entry.failures > 55)
    (issuer.isUp, issuer.names) = (true, ["a", "c"])
    issuer.run(62)
    #expect(issuer.known() == ["a", "c"] && issuer.entry.fault == nil)
    #expect(
      issuer.lines.dropFirst(2) == [
        "issuer \(TestIssuer.name): it answers again", "issuer \(TestIssuer.name): keys have changed: added \"c\"",
      ])
  }

  @Test("Keys of no use do not replace good ones")
  func keepsGood() {
    let issuer = TestIssuer([TestIssuer.keys])
    issuer.run(1)
    issuer.names = []
    issuer.run(4_000)
    #expect(issuer.known(TestIssuer.keys) == ["a"])
    #expect(issuer.entry.fault?.hasPrefix("its keys are of no use: ") == true)
  }

  @Test("Sources that no configuration names any more are dropped, others stay known")
  func adopts() {
    let issuer = TestIssuer([TestIssuer.discovery, TestIssuer.keys, TestIssuer.keys])
    issuer.run(1)
    #expect(issuer.bench.book.sourceCount == 2 && issuer.asked.count == 3)
    issuer.adopt([TestIssuer.keys])
    issuer.run(1)
    // Whoever still goes by the former configuration has the keys, but cannot have the issuer asked.
    #expect(issuer.known() == ["a"] && !issuer.bench.book.ask(TestIssuer.discovery, ticket: 6))
    issuer.run(3_700)
    #expect(issuer.bench.book.sourceCount == 1 && issuer.known().isEmpty && issuer.known(TestIssuer.keys) == ["a"])
    #expect(issuer.asked == ["/.well-known/openid-configuration", "/keys", "/keys", "/keys"])
  }

  @Test("Who asks for an issuer that no configuration names is called at once, and then refused")
  func stranger() {
    let issuer = TestIssuer([])
    #expect(issuer.bench.book.ask(TestIssuer.keys, ticket: 7))
    issuer.run(1)
    #expect(issuer.bench.called == [7] && issuer.asked.isEmpty)
    #expect(!issuer.bench.book.ask(TestIssuer.keys, ticket: 8))
    issuer.adopt([TestIssuer.keys])
    issuer.run(1)
    #expect(issuer.known(TestIssuer.keys) == ["a"])
    issuer.run(60)
    #expect(issuer.bench.book.ask(TestIssuer.keys, ticket: 8) && issuer.bench.book.sourceCount == 1)
  }

  @Test("Who invents names of keys cannot keep an issuer from moving its keys")
  func moves() {
    let issuer = TestIssuer([TestIssuer.discovery])
    issuer.run(1)
    issuer.bench.serve(port: 8081) { _ in FetchBench.answer("{\"keys\":[\(TestIssuer.key("moved"))]}") }
    issuer.keysURL = "http://127.0.0.1:8081/keys"
    for second in 0..<125 {
      _ = issuer.bench.book.ask(TestIssuer.discovery, ticket: UInt64(second))
      issuer.run(31)
    }
    #expect(issuer.known() == ["moved"])
  }
}

@Suite struct IssuerBookTests {
  @Test("Ten thousand unknown keys a second cost one question an interval, and those after it an answer from memory")
  func minimumInterval() {
    let issuer = TestIssuer([TestIssuer.keys], FetchBench(.calm))
    issuer.run(40)
    #expect(issuer.asked.count == 1)
    var accepted = 0
    for millisecond in 0..<1_000 {
      for index in 0..<10 {
        if issuer.bench.book.ask(TestIssuer.keys, ticket: UInt64(millisecond * 10 + index)) { accepted += 1 }
      }
      issuer.bench.world.run(for: .milliseconds(1))
    }
    #expect(issuer.asked.count == 2 && issuer.bench.called.count == accepted && (1...100).contains(accepted))
    #expect(!issuer.bench.book.ask(TestIssuer.keys, ticket: 1))
    issuer.run(30)
    #expect(issuer.bench.book.ask(TestIssuer.keys, ticket: 1))
    issuer.run(1)
    #expect(issuer.asked.count == 3 && issuer.bench.book.count == 0)
  }

  @Test("All who ask while a question is under way wait for its answer, up to a bound")
  func singleFlight() {
    let issuer = TestIssuer([TestIssuer.discovery], FetchBench(.calm))
    let accepted = (0..<2_000).filter { issuer.bench.book.ask(TestIssuer.discovery, ticket: UInt64($0)) }
    #expect(accepted.count == IssuerBook.waitingLimit)
    issuer.run(1)
    #expect(issuer.bench.called == accepted.map { UInt64($0) } && issuer.bench.book.count == 0)
    #expect(issuer.asked.count == 2 && issuer.known() == ["a"])
  }

  @Test("A new key is found with one question to where the keys were")
  func rotation() {
    let issuer = TestIssuer([TestIssuer.discovery])
    issuer.run(40)
    issuer.names = ["a", "b"]
    #expect(issuer.bench.book.ask(TestIssuer.discovery, ticket: 5))
    issuer.run(1)
    #expect(issuer.bench.called == [5] && issuer.known() == ["a", "b"])
    #expect(issuer.asked.count == 3 && issuer.asked.last == "/keys")
    #expect(issuer.lines.last == "issuer \(TestIssuer.name): keys have changed: added \"b\"")
  }

  @Test("A loop that asks because it does not know of the answer yet is told, and the issuer is not asked")
  func crossing() {
    let issuer = TestIssuer([TestIssuer.keys])
    issuer.run(1)
    let before = issuer.bench.letters.news.count
    issuer.bench.node.send(.ask(TestIssuer.keys))
    issuer.run(5)
    #expect(issuer.asked.count == 1 && issuer.bench.letters.news.count == before + 1)
    #expect(issuer.bench.letters.news.last?.keys != nil)
  }

  @Test("Where an issuer is down, questions come less and less often, at most a minute apart")
  func backoff() {
    let issuer = TestIssuer([TestIssuer.keys], FetchBench(.calm))
    issuer.isUp = false
    var refused = 0
    for second in 0..<600 {
      if !issuer.bench.book.ask(TestIssuer.keys, ticket: UInt64(second)) { refused += 1 }
      issuer.run(1)
    }
    // 1, 2, 4, 8, 16, 32, 48, 48, …
    #expect((14...19).contains(issuer.asked.count) && refused > 550)
    #expect(issuer.lines.count == 1 && issuer.bench.book.count == 0)
    issuer.isUp = true
    issuer.run(61)
    #expect(issuer.known(TestIssuer.keys) == ["a"])
  }

  @Test("Who waits for an issuer that is silent is called in time, without keys")
  func silent() {
    let bench = FetchBench(.calm)
    bench.world.serve(.ip(FetchBench.here, port: 8080)) { _ in }
    bench.node.handler.fetches.issuers.adopt([TestIssuer.keys])
    #expect(bench.book.ask(TestIssuer.keys, ticket: 1))
    bench.world.run(for: .milliseconds(3_900))
    #expect(bench.called.isEmpty)
    bench.world.run(for: .milliseconds(200))
    #expect(bench.called == [1] && bench.book.keys(of: TestIssuer.keys) == nil)
    #expect(!bench.book.ask(TestIssuer.keys, ticket: 2))
    bench.world.run(for: .seconds(1))
    #expect(bench.book.ask(TestIssuer.keys, ticket: 2))
    bench.world.run(for: .seconds(5))
    #expect(bench.called == [1, 2] && bench.book.count == 0)
  }

  @Test("A question that gets lost is asked again, and those who waited for it are not kept")
  func lost() {
    let bench = FetchBench(.calm)
    var sent = 0
    let book = IssuerBook(world: bench.node.loop) { _ in
      sent += 1
      return true
    }
    for ticket in 0..<UInt64(IssuerBook.waitingLimit) { #expect(book.ask(TestIssuer.keys, ticket: ticket)) }
    #expect(!book.ask(TestIssuer.keys, ticket: 9_999) && sent == 1)
    bench.world.run(for: .seconds(11))
    #expect(book.ask(TestIssuer.keys, ticket: 9_999) && sent == 2 && book.count == 1)
  }

  @Test("Many issuers are told apart")
  func many() {
    let bench = FetchBench(.calm)
    let book = IssuerBook(world: bench.node.loop) { _ in true }
    let sources = (0..<50).map { KeySource.keys(at: "https://a.test/\($0)") }
    for (index, source) in sources.enumerated() {
      book.take(
        IssuerNews(source, nil, asksAgainAt: index % 2 == 0 ? Instant(nanoseconds: 0) : .never))
    }
    for (index, source) in sources.enumerated() {
      #expect(book.ask(source, ticket: UInt64(index)) == (index % 2 == 0))
    }
    for source in sources[..<45] { book.take(IssuerNews(source, nil, asksAgainAt: .never, isGone: true)) }
    bench.world.run(for: .seconds(61))
    book.take(IssuerNews(sources[49], nil, asksAgainAt: .never))
    #expect(book.sourceCount == 5)
    for (index, source) in sources.enumerated().dropFirst(45) {
      #expect(book.ask(source, ticket: UInt64(index)) == (index % 2 == 0))
    }
    #expect(book.ask(sources[0], ticket: 1) && book.sourceCount == 6)
  }
}
