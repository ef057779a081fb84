import Core
import HTTP
import Testing

@Suite("FieldValue")
struct FieldValueTests {
  @Test(
    "Members of a list are told apart, quoted commas and empty members respected",
    arguments: [
      ("", []), (" , ,", []), ("a", ["a"]), (" a , b,c ", ["a", "b", "c"]), ("\"a,b\",c", ["\"a,b\"", "c"]),
      ("\"a\\\",b\",c", ["\"a\\\",b\"", "c"]), ("\"a,b", ["\"a,b"]), ("a\\,b", ["a\\", "b"]), ("\"\\", ["\"\\"]),
    ] as [(String, [String])])
  func members(value: String, expected: [String]) {
    let bytes = Array(value.utf8)
    let span = RawSpan(bytes)
    var list = ListReader(span)
    var found: [String] = []
    while let member = list.next() { found.append(span.extracting(member).text) }
    #expect(found == expected)
  }

  @Test(
    "A parameter is found in any member, quoted or not",
    arguments: [
      ("application/json", nil), ("application/json; version=2", "2"), ("a/b;q=1;Version=\"2.0\"", "2.0"),
      ("text/html, a/b ; version=3;q=0.5", "3"), ("a/b; profile=\"x;version=9\"; version=4", "4"),
      ("version=5", nil), ("a/b; version=\"\\2\"", nil), ("a/b; version=", nil), ("a/b; version=\"\"", ""),
      ("a/b; version=2 3", nil),
    ] as [(String, String?)])
  func parameter(value: String, expected: String?) {
    let bytes = Array(value.utf8)
    let span = RawSpan(bytes)
    #expect(FieldValue.parameter("version", in: span).map { String(decoding: bytes[$0], as: UTF8.self) } == expected)
  }

  @Test("A token is found in a list in any case, but not as a part")
  func token() {
    func contains(_ value: String) -> Bool {
      let bytes = Array(value.utf8)
      return FieldValue.contains("close", in: RawSpan(bytes))
    }
    #expect(contains("keep-alive, CLOSE"))
    #expect(!contains("closed, x-close"))
    #expect(!contains(""))
  }
}
