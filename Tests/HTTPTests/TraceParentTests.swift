import Core
import HTTP
import Testing

@Suite("TraceParent")
struct TraceParentTests {
  static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
  static let span = "00f067aa0ba902b7"

  static func parse(_ text: String) -> TraceParent? {
    let bytes = Array(text.utf8)
    return TraceParent(parsing: RawSpan(bytes))
  }

  @Test(
    "What the standard says must be ignored is ignored",
    arguments: [
      "", "00", "00-\(trace)-\(span)", "00-\(trace)-\(span)-0", "00-\(trace)-\(span)-01-", "00-\(trace)-\(span)-01-x",
      "ff-\(trace)-\(span)-01", "0g-\(trace)-\(span)-01", "00-\(trace.uppercased())-\(span)-01",
      "00-00000000000000000000000000000000-\(span)-01", "00-\(trace)-0000000000000000-01", "00_\(trace)-\(span)-01",
      "00-\(trace)-\(span)-0x", "cc-\(trace)-\(span)-01.more", " 00-\(trace)-\(span)-01",
    ])
  func refusal(text: String) { #expect(Self.parse(text) == nil) }

  @Test("A parent is read and written as it was")
  func roundTrip() throws {
    let text = "00-\(Self.trace)-\(Self.span)-01"
    let parent = try #require(Self.parse(text))
    #expect(parent.traceHigh == 0x4bf9_2f35_77b3_4da6)
    #expect(parent.traceLow == 0xa3ce_929d_0e0e_4736)
    #expect(parent.span == 0x00f0_67aa_0ba9_02b7)
    #expect(parent.isSampled)
    let buffer = ByteBuffer()
    parent.append(to: buffer)
    #expect(buffer.bytes.text == text)
  }

  @Test("A later version is read as far as it is known")
  func laterVersion() throws {
    let parent = try #require(Self.parse("cc-\(Self.trace)-\(Self.span)-ff-what-the-future-brings"))
    #expect(parent.flags == 1)
    #expect(Self.parse("01-\(Self.trace)-\(Self.span)-00")?.isSampled == false)
  }
}
