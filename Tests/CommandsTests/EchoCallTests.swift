import Core
import Testing

@testable import Commands

@Suite("EchoCall")
struct EchoCallTests {
  private static let messages: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 1, 4]

  @Test("Messages are followed however they come in pieces, and collected without their prefixes", arguments: 1...19)
  func pieces(size: Int) {
    var call = EchoCall()
    let collected = ByteBuffer()
    for start in stride(from: 0, to: Self.messages.count, by: size) {
      let piece = Array(Self.messages[start..<min(start + size, Self.messages.count)])
      call.read(RawSpan(piece), collecting: collected)
    }
    #expect(call.outcome(isCollected: true) == .whole && collected.bytes.array == [1, 2, 3, 4])
  }

  @Test("A message that is cut off is not taken for a whole one")
  func cutOff() {
    for count in 1..<Self.messages.count where ![5, 13].contains(count) {
      var call = EchoCall()
      let part = Array(Self.messages[..<count])
      call.read(RawSpan(part), collecting: nil)
      #expect(call.outcome(isCollected: false) == .cutOff, "\(count)")
    }
  }

  @Test("What is compressed passes but is not collected, and no more is collected than there is room for")
  func refusals() {
    var call = EchoCall()
    let compressed: [UInt8] = [1, 0, 0, 0, 1, 7]
    call.read(RawSpan(compressed), collecting: nil)
    #expect(call.outcome(isCollected: false) == .whole && call.outcome(isCollected: true) == .compressed)
    let collected = ByteBuffer()
    var large = EchoCall()
    let prefix: [UInt8] = [0, 0, 64, 0, 1]
    large.read(RawSpan(prefix), collecting: collected)
    let content = [UInt8](repeating: 1, count: 1 << 20)
    for _ in 0..<4 { large.read(RawSpan(content), collecting: collected) }
    #expect(large.outcome(isCollected: true) == .cutOff && collected.count == EchoCall.collectedLimit)
    let last: [UInt8] = [1]
    large.read(RawSpan(last), collecting: collected)
    #expect(large.outcome(isCollected: true) == .tooLarge && collected.count == EchoCall.collectedLimit)
  }
}
