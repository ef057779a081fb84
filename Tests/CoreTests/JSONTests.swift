import Core
import Testing

private func parse(_ text: String, _ dialect: JSONDialect = .relaxed) -> JSONDocument.Outcome {
  JSONDocument.parse(Array(text.utf8), dialect: dialect)
}

@Suite("JSON")
struct JSONTests {
  @Test(
    "refuses what is not JSON, at the right byte",
    arguments: [
      ("", 0), ("{", 0), ("[1", 0), ("[1,,2]", 3), ("{a:}", 3), ("{a 1}", 3), ("[01]", 1), ("[1.]", 1), ("[-]", 1),
      ("[1e]", 1), ("[.5]", 1), ("[0x10]", 1), ("[+1]", 1), ("[NaN]", 1), ("[truth]", 1), ("['a']", 1), ("[\"a", 1),
      ("[\"a\nb\"]", 1), ("[\"\u{1}\"]", 2), ("[\"\\x\"]", 2), ("[\"\\u12\"]", 2), ("[\"\\ud800\"]", 2),
      ("[\"\\udc00\"]", 2), ("[\"\\ud800\\u0041\"]", 2), ("[1] 2", 4), ("[1}", 2), ("{1a:2}", 1), ("/* x", 0),
      ("[1 2]", 3), ("{\"a\":1,\"\\u0061\":2}", 8),
    ])
  func refuses(text: String, offset: Int) {
    let outcome = parse(text)
    #expect(outcome.faults.first?.offset == offset, "\(outcome.faults)")
  }

  @Test(
    "refuses bytes that are not UTF-8",
    arguments: [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80]])
  func notUTF8(bytes: [UInt8]) {
    let outcome = JSONDocument.parse(Array("[\"".utf8) + bytes + Array("\"]".utf8))
    #expect(outcome.document == nil)
    #expect(outcome.faults.map(\.offset) == [2])
  }

  @Test("refuses what is too deep without descending into it")
  func tooDeep() {
    let outcome = parse(String(repeating: "[", count: 1_000_000))
    #expect(outcome.faults.first?.offset == 64)
    #expect(parse(String(repeating: "[", count: 64) + String(repeating: "]", count: 64)).faults.isEmpty)
  }

  @Test("reports several mistakes in one pass and keeps their order")
  func severalMistakes() {
    let outcome = parse("{ a: tru, b: [1, 'x', {c: 01}], d 4, e: \"ok\" f: 2 }")
    #expect(outcome.document == nil)
    #expect(outcome.faults.map(\.offset) == [5, 17, 26, 34, 45])
  }

  @Test("reports a duplicate key and still gives the document", arguments: [2, 40])
  func duplicates(count: Int) {
    let text = "{" + (0..<count).map { "k\($0): \($0)," }.joined() + "\"k1\": 0}"
    let outcome = parse(text)
    #expect(outcome.faults.count == 1)
    #expect(outcome.document?.root["k1"]?.integer == 1)
  }

  @Test(
    "the strict dialect takes nothing but RFC 8259", arguments: ["{a:1}", "[1,]", "{\"a\":1,}", "[1] // x", "/**/[]"])
  func strict(text: String) {
    #expect(!parse(text, .strict).faults.isEmpty)
    #expect(parse(text).faults.isEmpty)
  }

  @Test("reads every kind of value, with the place of each")
  func values() throws {
    let text = """
      // a comment, and a key without quotes
      { n: null, t: true, "f": false, i: -12, d: 2.5e3, /* between */
        s: "é\\u00e9\\ud83d\\ude00\\n\\"", a: [1, [], {}], $schema: "x", }
      """
    let root = try #require(parse(text).document).root
    #expect(root.count == 8)
    #expect(root["n"]?.kind == .null)
    #expect(root["t"]?.bool == true)
    #expect(root["f"]?.bool == false)
    #expect(root["i"]?.integer == -12)
    #expect(root["d"]?.integer == nil)
    #expect(root["d"]?.number == 2500)
    #expect(root["s"]?.string == "éé😀\n\"")
    #expect(root["a"]?.elements.map(\.kind) == [.number, .array, .object])
    #expect(root.members.last?.key.string == "$schema")
    let offset = try #require(root["d"]?.offset)
    #expect(Array(text.utf8)[offset...].starts(with: "2.5e3".utf8))
    #expect(root["d"]?.sourceText == "2.5e3")
    #expect(root["$schema"]?.sourceText == "\"x\"")
  }

  @Test(
    "a whole number that does not fit is none",
    arguments: [("9223372036854775807", true), ("9223372036854775808", false), ("-9223372036854775808", true)])
  func integers(text: String, fits: Bool) {
    #expect((parse(text).document?.root.integer != nil) == fits)
  }

  @Test("writes what it reads back, whatever the text")
  func writer() {
    let buffer = ByteBuffer()
    var writer = JSONWriter(buffer)
    let text = "a\"\\\u{1}\n\u{7f}é😀/"
    writer.beginObject()
    writer.key("text")
    writer.string(text)
    writer.key("list")
    writer.beginArray()
    writer.integer(-1)
    writer.bool(true)
    writer.null()
    writer.number(.infinity)
    writer.endArray()
    writer.endObject()
    let outcome = JSONDocument.parse(buffer.array, dialect: .strict)
    #expect(outcome.faults.isEmpty)
    #expect(outcome.document?.root["text"]?.string == text)
    #expect(buffer.text.hasSuffix("\"list\":[-1,true,null,null]}"))
  }

  @Test("replaces bytes that are not UTF-8 when it writes")
  func writesReplacements() {
    let buffer = ByteBuffer()
    let bytes: [UInt8] = [0x61, 0xff, 0xc3, 0xa9, 0xe2, 0x82]
    buffer.appendJSON(string: RawSpan(bytes))
    #expect(buffer.text == "\"a\\ufffdé\\ufffd\\ufffd\"")
  }
}

@Suite("Sizes and durations as text")
struct UnitTextTests {
  @Test(
    "refuses what is not digits and a unit",
    arguments: ["", "5", "s", "5 s", "-5s", "1.5s", "5S", "9999999999999999999s", "300000d5h"])
  func wrong(text: String) {
    #expect(Duration(text: text) == nil)
    #expect(ByteCount(text) == nil)
  }

  @Test(
    "reads and writes durations",
    arguments: [
      ("250ms", 250_000_000), ("5s", 5_000_000_000), ("1m", 60_000_000_000), ("1h", 3_600_000_000_000),
      ("7d", 604_800_000_000_000), ("10us", 10_000),
    ])
  func durations(text: String, nanoseconds: Int64) {
    #expect(Duration(text: text)?.wholeNanoseconds == nanoseconds)
    #expect(Duration.nanoseconds(nanoseconds).configurationText == text)
  }

  @Test(
    "reads and writes sizes",
    arguments: [("64KiB", 65536), ("10MB", 10_000_000), ("0B", 0), ("1TiB", 1 << 40), ("7B", 7)])
  func sizes(text: String, bytes: Int64) {
    #expect(ByteCount(text)?.bytes == bytes)
    #expect(ByteCount(bytes).description == text)
  }
}
