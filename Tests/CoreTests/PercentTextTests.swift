import Core
import Testing

@Suite("Percent-encoded text")
struct PercentTextTests {
  @Test("What is no escape, or no text, is not read", arguments: ["%", "%4", "%4g", "%+1", "a%", "%ff", "%C3"])
  func malformed(text: String) { #expect(PercentText.decoded(text) == nil) }

  @Test(
    "Text is written with everything special escaped, and read again",
    arguments: [("a-b_c.9Z", "a-b_c.9Z"), ("a/b?c d&ü\n", "a%2Fb%3Fc%20d%26%C3%BC%0A"), ("+%~", "%2B%25%7E"), ("", "")])
  func text(plain: String, encoded: String) {
    #expect(PercentText.encoded(plain) == encoded)
    #expect(PercentText.decoded(encoded) == plain && PercentText.decoded(encoded.lowercased()) == plain.lowercased())
  }
}
