import Core
import Crypto
import Testing

private func decoded(_ text: [UInt8]) -> [UInt8]? { Base64URL.decode(RawSpan(text)) }

@Suite("Base64URL")
struct Base64URLTests {
  @Test(
    "Padding, blanks, the other alphabet and impossible lengths are refused",
    arguments: [
      "A", "AAAAA", "AA=", "AA==", "AAA=", "AA ", " AA", "A A", "AA\n", "AA\r\n", "+w", "AA/A", "AAA+", "A.AA", "é",
      "A\u{0}",
      "AAAAAA==", "AAAA\t",
    ])
  func refused(text: String) {
    #expect(Base64URL.decode(text) == nil)
    let buffer = ByteBuffer(capacity: 16)
    let isDecoded = Base64URL.decode(RawSpan(Array(text.utf8)), into: buffer)
    #expect(!isDecoded && buffer.isEmpty)
  }

  @Test("One of all bytes stands for a value at every place, and no other", arguments: 0..<8)
  func alphabet(place: Int) {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
    var text = [UInt8](repeating: UInt8(ascii: "A"), count: 8)
    for byte in UInt8.min...UInt8.max {
      text[place] = byte
      #expect((decoded(text) != nil) == alphabet.contains(byte))
    }
  }

  @Test("Of the texts that differ in the bits behind the last byte only one is read", arguments: ["", "AAAA"])
  func canonical(before: String) {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    #expect(alphabet.filter { Base64URL.decode("\(before)A\($0)") != nil } == "AQgw")
    #expect(alphabet.filter { Base64URL.decode("\(before)AA\($0)") != nil } == "AEIMQUYcgkosw048")
  }

  @Test(
    "The published examples (RFC 4648 section 10, RFC 7515 appendix C)",
    arguments: [
      ([], ""), (Array("f".utf8), "Zg"), (Array("fo".utf8), "Zm8"), (Array("foo".utf8), "Zm9v"),
      (Array("foob".utf8), "Zm9vYg"), (Array("fooba".utf8), "Zm9vYmE"), (Array("foobar".utf8), "Zm9vYmFy"),
      ([3, 236, 255, 224, 193], "A-z_4ME"),
    ])
  func published(bytes: [UInt8], text: String) {
    #expect(Base64URL.encode(bytes) == text)
    #expect(Base64URL.decode(text) == bytes)
  }

  @Test("Bytes of every length come back, behind what the buffer held")
  func roundTrip() {
    for count in 0..<200 {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 151 &+ count) }
      let text = Base64URL.encode(bytes)
      #expect(Base64URL.decode(text) == bytes)
      #expect(Base64URL.decodedCount(text.utf8.count) == count)
      let buffer = ByteBuffer(capacity: 4)
      buffer.append(UInt8(7))
      let isDecoded = Base64URL.decode(RawSpan(Array(text.utf8)), into: buffer)
      #expect(isDecoded && buffer.array == [7] + bytes)
    }
  }
}
