import Core
import Testing

@testable import HTTP

@Suite("WebSocket frames")
struct WebSocketReaderTests {
  /// A frame as a client sends it, masked, or as a server does.
  private func frame(
    _ opcode: UInt8, _ count: Int, isLast: Bool = true, masked: Bool = true, reserved: UInt8 = 0, form: Int? = nil
  ) -> [UInt8] {
    let width = form ?? (count < 126 ? 0 : count < 65_536 ? 2 : 8)
    var bytes = [(isLast ? 0x80 : 0) | reserved << 4 | opcode]
    bytes.append((masked ? 0x80 : 0) | UInt8(width == 0 ? count : width == 2 ? 126 : 127))
    for index in (0..<width).reversed() { bytes.append(UInt8(truncatingIfNeeded: count >> (8 * index))) }
    if masked { bytes += [1, 2, 3, 4] }
    return bytes + [UInt8](repeating: 7, count: count)
  }

  private func read(_ bytes: [UInt8], _ reader: inout WebSocketReader) -> (fault: WebSocketFault?, passed: Int) {
    let buffer = ByteBuffer()
    buffer.append(bytes)
    let fault = reader.read(buffer, from: 0)
    return (fault, buffer.count - reader.heldCount)
  }

  @Test("Frames of every length pass whole, however they are split", arguments: [0, 1, 125, 126, 65_535, 65_536])
  func lengths(count: Int) {
    let bytes = frame(2, count) + frame(9, 3) + frame(1, 5, isLast: false) + frame(10, 0) + frame(0, 2)
    for piece in [1, 2, 3, 7, 1000, bytes.count] {
      var reader = WebSocketReader(from: .client)
      let buffer = ByteBuffer()
      var passed = 0
      for start in stride(from: 0, to: bytes.count, by: piece) {
        let before = buffer.count
        buffer.append(Array(bytes[start..<min(start + piece, bytes.count)]))
        #expect(reader.read(buffer, from: before) == nil)
        passed += buffer.count - reader.heldCount
        buffer.consume(buffer.count - reader.heldCount)
        #expect(reader.heldCount < WebSocketReader.headerLimit)
      }
      #expect(passed == bytes.count && reader.takesFrames && reader.heldCount == 0)
    }
  }

  @Test("What no frame may be is cut off, and nothing of it passes")
  func malformed() {
    let wrong: [(String, [UInt8])] = [
      ("unmasked", frame(1, 3, masked: false)), ("reserved bits", frame(1, 3, reserved: 4)),
      ("unknown opcode", frame(3, 0)), ("unknown control", frame(11, 0)),
      ("long ping", frame(9, 126)), ("split close", frame(8, 0, isLast: false)), ("close of one byte", frame(8, 1)),
      ("length in too many bytes", frame(1, 3, form: 2)), ("in far too many", frame(1, 200, form: 8)),
      ("continues nothing", frame(0, 1)), ("a message in a message", frame(1, 1, isLast: false) + frame(1, 1)),
      ("after Close", frame(8, 2) + frame(1, 1)),
      ("highest bit", [0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
    ]
    for (name, bytes) in wrong {
      var reader = WebSocketReader(from: .client)
      let good = frame(2, 10)
      let (fault, passed) = read(good + bytes, &reader)
      #expect(fault == .malformed, "\(name)")
      let whole = name.hasPrefix("a message") ? frame(1, 1).count : name == "after Close" ? frame(8, 2).count : 0
      #expect(passed == good.count + whole, "\(name)")
    }
  }

  @Test("A server must not mask, and with extensions the reserved bits are free")
  func directions() {
    var server = WebSocketReader(from: .server)
    #expect(read(frame(1, 3, masked: true), &server).fault == .malformed)
    server = WebSocketReader(from: .server, allowsExtensions: true)
    #expect(read(frame(1, 3, masked: false, reserved: 4), &server).fault == nil)
  }

  @Test("The limit counts a message's bytes over all its frames, and control frames not")
  func tooBig() {
    var reader = WebSocketReader(from: .client, messageLimit: 100)
    #expect(read(frame(2, 100) + frame(1, 60, isLast: false) + frame(9, 50) + frame(0, 40), &reader).fault == nil)
    let first = frame(1, 60, isLast: false)
    let (fault, passed) = read(first + frame(0, 41), &reader)
    #expect(fault == .tooBig && passed == first.count)
    reader = WebSocketReader(from: .client, messageLimit: 100)
    #expect(read(Array(frame(2, 101).prefix(6)), &reader).fault == .tooBig)
  }

  @Test("Close frames of the gateway's own say their code, and are masked towards servers")
  func ownFrames() {
    let buffer = ByteBuffer()
    WebSocketClose.goingAway.write(to: buffer, mask: nil)
    #expect(buffer.array == [0x88, 2, 0x03, 0xe9])
    buffer.removeAll()
    WebSocketClose.messageTooBig.write(to: buffer, mask: 0x01020304)
    #expect(buffer.array == [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xf1 ^ 2])
    var reader = WebSocketReader(from: .client)
    #expect(reader.read(buffer, from: 0) == nil && !reader.takesFrames && reader.hasClosed)
  }
}
