import HTTP
import Testing

@Suite("StructuredField")
struct StructuredFieldTests {
  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
  private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  // MARK: Refusals

  @Test(
    "What is no item is refused",
    arguments: [
      "", " ", "\t1", "1\t", "a b", "a, b", "a,", "(a)", "(a", "\u{e9}", "=", ";a", "1;", "1;A", "1;a=", "1;=1",
      "1; a= 1",
      "1 ;a", "-", "--1", "1.", ".1", "1.1234", "1234567890123456", "1234567890123.1", "+1", "0x1", "1e3", "- 1", "-a",
      "\"", "\"a", "a\"", "'a'", "\"\u{e9}\"", "\"\t\"", "\"\n\"", "\"\\a\"", "\"\\", "\"a\\\"", "\"\u{7f}\"",
      ":", ":a", ":a:", ":aa:", ":aaa:", ":aaa=", ":aaa=aaa=:", ":=aaa:", ":aa==aa==:", ":aaaa", ":a aa:", ":aGk-:",
      ":iZ==:", ":aGl=:", ":aGk:", ":====:", "?", "?2", "?T", "?true", "?1 ?1", "??1", "?-1", "@", "@1.5", "@a",
      "@\"1\"",
      "%", "%\"", "%a", "%\"%\"", "%\"%C3%BC\"", "%\"%c3\"", "%\"%c3%2\"", "%\"a", "%\"\u{e9}\"", "%\"%zz\"", "#", "!a",
      "a{b}", "[a]", "a@b", "1;a=(b)", "1;*A", "\u{0}", "1;1=2",
    ])
  func malformedItem(text: String) {
    #expect(throws: StructuredFieldFault.self) { try StructuredField.item(bytes(text)) }
  }

  @Test(
    "What is no list is refused",
    arguments: [
      ",", "a,", "a,,b", ",a", "a b", "a, ", "a\u{a0},b", "(", "(a", "(a,b)", "(a b", "(a(b))", "((a))", "(a)b",
      "(\"a\"\"b\")", "(a\tb)", "(a;)", "(a) (b)", ")", "a;b;", "\ta",
    ])
  func malformedList(text: String) {
    #expect(throws: StructuredFieldFault.self) { try StructuredField.list(bytes(text)) }
  }

  @Test(
    "What is no dictionary is refused",
    arguments: [
      "=", "a=", "a=1,", "a=1,,b=2", "a=1 b=2", ",a=1", "A=1", "1=1", "a =1", "a= 1", "a==1", "\"a\"=1", "a=1;",
      "a=1,\u{0}", "a=(1", "a,", "-a=1", ".a", "_a", "a\u{e9}",
    ])
  func malformedDictionary(text: String) {
    #expect(throws: StructuredFieldFault.self) { try StructuredField.dictionary(bytes(text)) }
  }

  @Test("What is beyond a limit is refused, and what is at it is not")
  func limits() throws {
    var limits = StructuredLimits()
    (limits.bytes, limits.members, limits.items, limits.parameters) = (24, 3, 2, 1)
    for text in ["a, b, c", "(a b)", "a;b", "\"" + String(repeating: "x", count: 22) + "\""] {
      _ = try StructuredField.list(bytes(text), limits: limits)
    }
    for text in [
      "a, b, c, d", "(a b c)", "a;b;c", "(a;b;c)", "(a);b;c", "\"" + String(repeating: "x", count: 23) + "\"",
    ] {
      #expect(throws: StructuredFieldFault.self) { try StructuredField.list(bytes(text), limits: limits) }
    }
    #expect(throws: StructuredFieldFault.self) { try StructuredField.dictionary(bytes("a, a, a, a"), limits: limits) }
  }

  @Test(
    "A key that comes twice is refused where that is asked for, wherever it stands",
    arguments: ["a=1, a=2", "a=1, b=2, a=1", "a;b;b", "a=(1;b;b)", "a=(1);b;b", "a, a"])
  func repeated(text: String) {
    #expect(throws: StructuredFieldFault.self) { try StructuredField.unambiguousDictionary(bytes(text)) }
  }

  // MARK: Values

  static let items: [(String, StructuredItem)] = [
    ("1", StructuredItem(.integer(1))), ("-0", StructuredItem(.integer(0))), ("  007  ", StructuredItem(.integer(7))),
    ("-999999999999999", StructuredItem(.integer(-999_999_999_999_999))),
    ("1.5", StructuredItem(.decimal(thousandths: 1_500))), ("-0.001", StructuredItem(.decimal(thousandths: -1))),
    ("999999999999.999", StructuredItem(.decimal(thousandths: 999_999_999_999_999))),
    ("\"\"", StructuredItem(.string(""))), ("\"a \\\"b\\\\\"", StructuredItem(.string("a \"b\\"))),
    ("a_b-c.d3:f%00/*", StructuredItem(.token("a_b-c.d3:f%00/*"))), ("*foo", StructuredItem(.token("*foo"))),
    ("Aa", StructuredItem(.token("Aa"))), ("::", StructuredItem(.bytes([]))),
    (":aGk=:", StructuredItem(.bytes([104, 105]))),
    (":/+Ah:", StructuredItem(.bytes([0xff, 0xe0, 0x21]))), ("?1", StructuredItem(.boolean(true))),
    ("?0", StructuredItem(.boolean(false))), ("@-1659578233", StructuredItem(.date(-1_659_578_233))),
    ("%\"f%c3%bc %22%25\"", StructuredItem(.display("fü \"%"))),
    (
      "a;b; c=1;d=?0",
      StructuredItem(
        .token("a"),
        [
          StructuredParameter("b", .boolean(true)), StructuredParameter("c", .integer(1)),
          StructuredParameter("d", .boolean(false)),
        ])
    ),
    ("a;b=1;c;b=2", StructuredItem(.token("a"), [.init("b", .integer(2)), .init("c", .boolean(true))])),
  ]

  @Test("Items are what they say", arguments: items)
  func item(text: String, item: StructuredItem) throws {
    #expect(try StructuredField.item(bytes(text)) == item)
  }

  @Test(
    "Each value has one text",
    arguments: [
      ("  1 ", "1"), ("-0", "0"), ("0001", "1"), ("1.50", "1.5"), ("1.0", "1.0"), ("-0.10", "-0.1"), ("-0.0", "0.0"),
      ("a; b=?1;c=1", "a;b;c=1"), ("\"a\\\"\"", "\"a\\\"\""), (":aGk=:", ":aGk=:"), ("%\"%41%c3%bc\"", "%\"A%c3%bc\""),
      ("a;b=1;c;b=2", "a;b=2;c"), ("@01", "@1"),
    ])
  func itemText(text: String, written: String) throws {
    #expect(self.text(try StructuredField.item(bytes(text)).text) == written)
  }

  @Test(
    "Each list has one text",
    arguments: [
      ("", ""), ("  ", ""), ("a,b", "a, b"), ("a \t,\t b", "a, b"), ("( a  b );c , ()", "(a b);c, ()"),
      ("(a;b=1 c);d", "(a;b=1 c);d"), ("\"a,b\", c", "\"a,b\", c"),
    ])
  func listText(text: String, written: String) throws {
    #expect(self.text(StructuredField.text(of: try StructuredField.list(bytes(text)))) == written)
  }

  @Test(
    "Each dictionary has one text; the last of several values counts, in the place of the first",
    arguments: [
      ("", ""), ("a", "a"), ("a=?1", "a"), ("a=?1;b", "a;b"), ("a;b=1,c=?0", "a;b=1, c=?0"),
      ("a=1,b=2,a=3", "a=3, b=2"),
      ("*a=(1 2);x", "*a=(1 2);x"), ("a=1 , b", "a=1, b"),
    ])
  func dictionaryText(text: String, written: String) throws {
    #expect(self.text(try StructuredField.dictionary(bytes(text)).text) == written)
  }

  @Test("Members are found by their keys")
  func members() throws {
    let dictionary = try StructuredField.dictionary(bytes("sig=(\"a\";sf);keyid=\"x\", n=1"))
    #expect(dictionary["n"] == .item(StructuredItem(.integer(1))) && dictionary["m"] == nil)
    let item = StructuredItem(.string("a"), [StructuredParameter("sf", .boolean(true))])
    #expect(dictionary["sig"] == .list(StructuredInnerList([item], [StructuredParameter("keyid", .string("x"))])))
  }
}
