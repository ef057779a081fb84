import Core
import Testing

@testable import Commands

@Suite("Verbs that ask a node")
struct InquiryVerbsTests {
  @Test(
    "An address that cannot be one is wrong usage",
    arguments: ["", "9901", "127.0.0.1", "https://127.0.0.1:1", "a b:1"])
  func malformedAddress(place: String) {
    #expect(throws: UsageError.self) { try AdminClient(place: place, token: nil) }
  }

  @Test("A token that would break the request is wrong usage", arguments: ["a\r\nHost: b", "a b", "ü"])
  func malformedToken(token: String) {
    #expect(throws: UsageError.self) { try AdminClient(place: "127.0.0.1:9901", token: token) }
  }

  @Test(
    "Addresses are taken with and without a scheme",
    arguments: ["127.0.0.1:9901", "http://127.0.0.1:9901", "[::1]:1", "node.example:9901", "unix:/run/admin.sock"])
  func address(place: String) throws {
    #expect(try AdminClient(place: place, token: "a-token").place == place)
  }

  @Test(
    "Spans have their two largest units",
    arguments: [
      (0, "0s"), (59, "59s"), (60, "1m"), (62, "1m2s"), (3600, "1h"), (3659, "1h"), (54_186, "15h3m"),
      (86_400, "1d"), (100_000, "1d3h"), (31_536_000, "365d"),
    ] as [(Int64, String)])
  func spans(seconds: Int64, text: String) { #expect(InquiryText.span(seconds) == text) }

  @Test("A table is as wide as its cells, numbers to the right")
  func table() {
    var table = TextTable(["NAME", ">LEFT", "X"])
    table.add(["a", "5", ""])
    table.add(["longer", "12345", "y"])
    #expect(table.text == "NAME     LEFT  X\na           5\nlonger  12345  y\n")
  }

  @Test("What is not known is a question mark, what binds has a star")
  func explanation() throws {
    let text = """
      {"node":"n","time":"t","route":"r","outcome":"refused","code":"rate-limited","explanation":"E.","levels":[
      {"name":"a","policy":"p","per":"ip","kind":"rate","limit":5,"seconds":60,"mode":"auto","source":null,"used":null,
      "remaining":null,"reset":null,"binding":true}],"unknown":[{"name":"b","per":"header:X"}]}
      """
    let root = try #require(JSONDocument.parse(Array(text.utf8), dialect: .strict).document).root
    let lines = InquiryText.explanation(root).split(separator: "\n").map(String.init)
    #expect(lines[0] == "route r, node n, t" && lines[1] == "refused (rate-limited): E.")
    #expect(
      lines[3].split(separator: " ").map(String.init) == [
        "*", "a", "p", "ip", "rate", "1m", "?", "5", "?", "-", "auto", "nobody",
      ])
    #expect(lines.last == "not looked up, since it counts by header:X: b")
  }

  @Test(
    "A plan is told with its price, and with what is owed where that is known",
    arguments: [
      (#"{"name":"free","policy":"plans","price":null,"charge":null}"#, "plan free of plans"),
      (
        #"{"name":"flat","policy":"p","price":{"currency":"EUR","base":"5","included":0,"request":null},"charge":null}"#,
        "plan flat of p (5 EUR a month)"
      ),
      (
        #"{"name":"gold","policy":"p","price":{"currency":"EUR","base":"5.00","included":9,"request":"0.1"},"#
          + #""charge":{"amount":"5.10","currency":"EUR","requests":10,"since":"t"}}"#,
        "plan gold of p: 5.10 EUR since t, for 10 requests (5.00 EUR a month, 9 requests included, 0.1 for each beyond)"
      ),
    ])
  func plans(plan: String, line: String) throws {
    let text = #"{"node":"n","time":"t","limits":[],"plans":[\#(plan)],"complete":true}"#
    let root = try #require(JSONDocument.parse(Array(text.utf8), dialect: .strict).document).root
    #expect(InquiryText.usage(root).split(separator: "\n").last.map(String.init) == line)
  }
}
