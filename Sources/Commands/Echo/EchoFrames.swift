import Core
import Crypto

/// Sends WebSocket frames back (RFC 6455): data as it came, a ping as a pong, a close as a close. Frames of any length
/// pass piece by piece; what breaks the protocol ends the connection with a Close frame that says so.
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
  /// Whether a message has begun whose last frame is still to come.
  private var isInMessage = false

  /// Reads frames from `bytes` and appends the answers to `output`, until about `limit` bytes were read.
  mutating func next(_ bytes: RawSpan, into output: ByteBuffer, limit: Int) -> Outcome {
    var index = 0
    while index < min(bytes.byteCount, limit) {
      if payloadLeft == 0 {
        if isLast { return .end(consumed: index) }
        guard let length = readHeader(bytes.extracting(index..<bytes.byteCount), into: output) else {
          // Status 1002: the protocol is broken (section 7.4.1).
          output.append([0x88, 2, 0x03, 0xea])
          return .end(consumed: bytes.byteCount)
        }
        if length == 0 { return .incomplete(consumed: index) }
        index += length
      }
      let count = Int(min(payloadLeft, UInt64(bytes.byteCount - index)))
      if !isDropped {
        for offset in 0..<count { output.append(bytes.byte(index + offset) ^ key(position + offset)) }
      }
      position += count
      index += count
      payloadLeft -= UInt64(count)
    }
    return isLast && payloadLeft == 0 ? .end(consumed: index) : .incomplete(consumed: index)
  }

  /// The byte of the mask for that place of the payload (section 5.3).
  private func key(_ position: Int) -> UInt8 { UInt8(truncatingIfNeeded: mask >> (UInt32(position & 3) * 8)) }

  /// The length of the header at the front; 0 where it is not all there, nil where it breaks the protocol.
  private mutating func readHeader(_ bytes: RawSpan, into output: ByteBuffer) -> Int? {
    guard bytes.byteCount >= 2 else { return 0 }
    let first = bytes.byte(0)
    let second = bytes.byte(1)
    let opcode = first & 15
    let short = second & 127
    let lengthBytes = short == 126 ? 2 : short == 127 ? 8 : 0
    let headerBytes = 2 + lengthBytes + 4
    let (isControl, isWhole) = (opcode >= 8, first & 128 != 0)
    // No extension is agreed on, clients must mask, and a control frame is short and whole (sections 5.1, 5.2, 5.5). The
    // first frame of a message says what it is, the others continue it (section 5.4).
    guard first & 0x70 == 0, second & 128 != 0, opcode <= 2 || (8...10).contains(opcode),
      isControl ? short < 126 && isWhole : (opcode == 0) == isInMessage
    else { return nil }
    guard bytes.byteCount >= headerBytes else { return 0 }
    var length = lengthBytes == 0 ? UInt64(short) : 0
    for offset in 0..<lengthBytes { length = length << 8 | UInt64(bytes.byte(2 + offset)) }
    // Told in no more bytes than it takes, and never with the highest bit (section 5.2).
    guard lengthBytes == 0 || length >= (lengthBytes == 2 ? 126 : 65_536), length <= UInt64(Int64.max) else {
      return nil
    }
    mask = 0
    for offset in 0..<4 { mask |= UInt32(bytes.byte(2 + lengthBytes + offset)) << UInt32(offset * 8) }
    if opcode == 8 {
      // Looked at whole, for what it says is sent back only where it may be said.
      guard bytes.byteCount >= headerBytes + Int(length) else { return 0 }
      guard isClose(bytes.extracting(headerBytes..<headerBytes + Int(length))) else { return nil }
    }
    payloadLeft = length
    position = 0
    isDropped = opcode == 10
    isLast = opcode == 8
    if !isControl { isInMessage = !isWhole }
    if !isDropped {
      output.append(opcode == 9 ? first & 0xf0 | 10 : first)
      output.append(short)
      for offset in 0..<lengthBytes { output.append(bytes.byte(2 + offset)) }
    }
    return headerBytes
  }

  /// Whether the payload of a Close frame is empty, or begins with a status that may be sent (sections 5.5.1, 7.4).
  private func isClose(_ payload: RawSpan) -> Bool {
    if payload.isEmpty { return true }
    guard payload.byteCount >= 2 else { return false }
    let status = UInt16(payload.byte(0) ^ key(0)) << 8 | UInt16(payload.byte(1) ^ key(1))
    switch status {
    case 1000...1003, 1007...1014, 3000...4999: return true
    default: return false
    }
  }

  /// The value of Sec-WebSocket-Accept for a client's key (section 4.2.2).
  static func accept(_ key: RawSpan) -> String {
    let buffer = ByteBuffer(capacity: 64)
    buffer.append(key)
    buffer.append("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
    return Base64.encode(SHA1.digest(of: buffer.bytes))
  }
}
