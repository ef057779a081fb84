import Core
import Crypto

/// Sends WebSocket frames back (RFC 6455): data as it came, a ping as a pong, a close as a close. Frames of any length
/// pass piece by piece.
struct EchoFrames: BitwiseCopyable, Sendable {
  enum Outcome: Equatable {
    /// More bytes are needed.
    case incomplete(consumed: Int)
    /// The connection ends once what was written is sent.
    case end(consumed: Int)
  }

  private var payloadLeft: UInt64 = 0
  private var mask: UInt32 = 0
  private var position = 0
  private var isDropped = false
  private var isLast = false

  /// Reads frames from `bytes` and appends the answers to `output`, until about `limit` bytes were read.
  mutating func next(_ bytes: RawSpan, into output: ByteBuffer, limit: Int) -> Outcome {
    var index = 0
    while index < min(bytes.byteCount, limit) {
      if payloadLeft == 0 {
        if isLast { return .end(consumed: index) }
        guard let length = readHeader(bytes.extracting(index..<bytes.byteCount), into: output) else {
          return .end(consumed: bytes.byteCount)
        }
        if length == 0 { return .incomplete(consumed: index) }
        index += length
      }
      let count = Int(min(payloadLeft, UInt64(bytes.byteCount - index)))
      if !isDropped {
        for offset in 0..<count {
          let shift = UInt32((position + offset) & 3) * 8
          output.append(bytes.byte(index + offset) ^ UInt8(truncatingIfNeeded: mask >> shift))
        }
      }
      position += count
      index += count
      payloadLeft -= UInt64(count)
    }
    return isLast && payloadLeft == 0 ? .end(consumed: index) : .incomplete(consumed: index)
  }

  /// The length of the header at the front; 0 where it is not all there, nil where it breaks the protocol.
  private mutating func readHeader(_ bytes: RawSpan, into output: ByteBuffer) -> Int? {
    guard bytes.byteCount >= 2 else { return 0 }
    let first = bytes.byte(0)
    let second = bytes.byte(1)
    let opcode = first & 15
    let short = second & 127
    let lengthBytes = short == 126 ? 2 : short == 127 ? 8 : 0
    guard bytes.byteCount >= 2 + lengthBytes + 4 || second & 128 == 0 else { return 0 }
    let isControl = opcode >= 8
    // No extension is agreed on, clients must mask, and a control frame is short and whole (sections 5.1, 5.2, 5.5).
    guard first & 0x70 == 0, second & 128 != 0, opcode <= 2 || (8...10).contains(opcode),
      !isControl || (short < 126 && first & 128 != 0)
    else {
      output.append([0x88, 2, 0x03, 0xea])
      return nil
    }
    var length = lengthBytes == 0 ? UInt64(short) : 0
    for offset in 0..<lengthBytes { length = length << 8 | UInt64(bytes.byte(2 + offset)) }
    mask = 0
    for offset in 0..<4 { mask |= UInt32(bytes.byte(2 + lengthBytes + offset)) << UInt32(offset * 8) }
    payloadLeft = length
    position = 0
    isDropped = opcode == 10
    isLast = opcode == 8
    if !isDropped {
      output.append(opcode == 9 ? first & 0xf0 | 10 : first)
      output.append(short)
      for offset in 0..<lengthBytes { output.append(bytes.byte(2 + offset)) }
    }
    return 2 + lengthBytes + 4
  }

  /// The value of Sec-WebSocket-Accept for a client's key (section 4.2.2).
  static func accept(_ key: RawSpan) -> String {
    let buffer = ByteBuffer(capacity: 64)
    buffer.append(key)
    buffer.append("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
    return Base64.encode(SHA1.digest(of: buffer.bytes))
  }
}
