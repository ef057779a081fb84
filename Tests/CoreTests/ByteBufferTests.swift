import Core
import Testing

@Suite struct ByteBufferTests {
  static func text(_ buffer: ByteBuffer) -> String {
    String(decoding: (0..<buffer.count).map { buffer[$0] }, as: UTF8.self)
  }

  @Test(
    "decimal numbers come out as Swift writes them",
    arguments: [
      0, 9, 10, 99, 100, 12_345, 999_999_999_999_999_999, 1_000_000_000_000_000_000, 9_999_999_999_999_999_999,
    ]
      + [10_000_000_000_000_000_000, UInt64.max])
  func decimal(_ value: UInt64) {
    let buffer = ByteBuffer()
    buffer.append(decimal: value)
    #expect(Self.text(buffer) == String(value))
  }

  @Test("negative decimal numbers carry their sign", arguments: [-1, Int64.min])
  func negativeDecimal(_ value: Int64) {
    let buffer = ByteBuffer()
    buffer.append(decimal: value)
    #expect(Self.text(buffer) == String(value))
  }

  @Test(
    "hexadecimal numbers are lower-case and padded",
    arguments: [0, 1, 0xf, 0x10, 0xabcdef, 0x1234_5678_9abc_def0, UInt64.max], [1, 8, 16])
  func hexadecimal(_ value: UInt64, _ digits: Int) {
    let buffer = ByteBuffer()
    buffer.append("xy")
    buffer.append(hexadecimal: value, minimumDigits: digits)
    let plain = String(value, radix: 16)
    #expect(Self.text(buffer) == "xy" + String(repeating: "0", count: max(0, digits - plain.count)) + plain)
  }

  @Test("what waits survives growth, and consuming all of it makes room at the front")
  func growth() {
    let buffer = ByteBuffer(capacity: 4)
    buffer.append([1, 2, 3, 4])
    buffer.consume(2)
    buffer.append([5, 6, 7, 8, 9])
    #expect((0..<buffer.count).map { buffer[$0] } == [3, 4, 5, 6, 7, 8, 9])
    buffer.consume(7)
    #expect(buffer.isEmpty)
    buffer.append([1])
    #expect(buffer.count == 1 && buffer[0] == 1)
  }
}
