import Core
import Testing

@Suite struct DecimalDigitsTests {
  private func text(_ value: UInt64) -> String {
    let (digits, count) = DecimalDigits.significant(value)
    return String(decoding: (0..<count).map { UInt8(truncatingIfNeeded: digits >> UInt64($0 * 8)) }, as: UTF8.self)
  }

  @Test("all numbers of up to five digits are written as they are")
  func small() {
    for value in UInt64(0)..<20_000 where text(value) != String(value) { Issue.record("\(value)") }
  }

  @Test(
    "so are larger ones, at their edges and between",
    arguments: [99_999, 100_000, 999_999, 1_000_000, 9_999_999, 10_000_000, 12_345_678, 90_000_009, 99_999_999]
      as [UInt64])
  func large(value: UInt64) {
    #expect(text(value) == String(value))
  }

  @Test(
    "a buffer takes numbers of any size",
    arguments: [0, 9, 99_999_999, 100_000_000, 100_000_001, 9_999_999_999_999_999, 10_000_000_000_000_000, .max]
      as [UInt64])
  func anySize(value: UInt64) {
    let buffer = ByteBuffer()
    buffer.append(decimal: value)
    #expect(buffer.text == String(value))
  }
}
