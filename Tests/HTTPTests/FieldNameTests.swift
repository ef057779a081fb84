import Core
import HTTP
import Testing

@Suite("FieldName")
struct FieldNameTests {
  @Test("A name that differs in one byte, or is longer or shorter, is another", arguments: FieldName.allCases)
  func strangers(name: FieldName) {
    guard name != .other else { return }
    let text = Array("\(name.canonical)".utf8)
    for index in text.indices {
      for bit in 0..<8 {
        var changed = text
        changed[index] ^= 1 << bit
        let isSameLetter = bit == 5 && (text[index] | 0x20) >= 97 && (text[index] | 0x20) <= 122
        let found = FieldName.of(RawSpan(changed))
        #expect(isSameLetter ? found == name : found != name)
      }
    }
    #expect(FieldName.of(RawSpan(text + [45])) != name)
    #expect(FieldName.of(RawSpan(Array(text.dropLast()))) != name)
    #expect(FieldName.of(RawSpan(Array(text.dropFirst()))) != name)
  }

  @Test("A name is found in any case, alone and in a head", arguments: FieldName.allCases)
  func known(name: FieldName) {
    guard name != .other else { return }
    for text in ["\(name.canonical)", "\(name.canonical)".lowercased(), "\(name.canonical)".uppercased()] {
      let bytes = Array(text.utf8)
      #expect(FieldName.of(RawSpan(bytes)) == name)
      let head = RequestHead()
      let result = head.parse(buffer("GET / HTTP/1.0\r\nX-First: 1\r\n\(text): a\r\n\r\n"), limits: HeadLimits())
      if case .complete = result { #expect(head.field(1).name == name) }
    }
  }

  @Test("Names fit a mask of 64 bits and are spelled differently")
  func mask() {
    #expect(FieldName.allCases.allSatisfy { $0.rawValue < 64 })
    #expect(Set(FieldName.allCases.map { "\($0.canonical)" }).count == FieldName.allCases.count)
    #expect(FieldName.allCases.filter { "\($0.canonical)".isEmpty } == [.other])
  }

  @Test("The empty name and a very long one are others")
  func others() {
    #expect(FieldName.of(RawSpan([UInt8]())) == .other)
    #expect(FieldName.of(RawSpan([UInt8](repeating: 97, count: 100))) == .other)
  }
}
