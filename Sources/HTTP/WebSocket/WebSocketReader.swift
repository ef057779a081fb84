import Core

/// Why a WebSocket connection must end.
public enum WebSocketFault: Error, Equatable, Sendable {
  /// Bytes that no frame may consist of (RFC 6455 sections 5.1 to 5.5).
  case malformed
  /// A message is longer than it may be.
  case tooBig
}

/// Follows one direction of a WebSocket connection (RFC 6455) on its way through: reads the headers of frames, leaves
/// everything as it is, and knows where a frame of one's own may be put in. Payloads are not looked at.
///
/// A header stays in the buffer until all of it is there: so whatever is wrong with a frame, nothing of it has been passed on.
public struct WebSocketReader: BitwiseCopyable, Sendable {
  /// Who sends.
  public enum Sender: Sendable {
    /// Who must mask what it sends (section 5.3).
    case client
    /// Who must not.
    case server
  }

  /// The longest header, in bytes: two, a length of eight, a mask.
  public static let headerLimit = 14

  private let isMasked: Bool
  private let allowsExtensions: Bool
  private let messageLimit: Int64
  private var payloadLeft: UInt64 = 0
  private var messageBytes: Int64 = 0
  private var isInMessage = false
  /// Bytes at the end of the buffer that begin a header and must not be passed on yet.
  public private(set) var heldCount = 0
  /// Whether a Close frame has begun: nothing may follow it (section 5.5.1).
  public private(set) var hasClosed = false

  /// A direction in which nothing has been sent yet. A message of more than `messageLimit` payload bytes, as sent, is refused.
  /// With extensions the reserved bits may be anything (section 9).
  public init(from sender: Sender, messageLimit: Int64 = .max, allowsExtensions: Bool = false) {
    isMasked = sender == .client
    self.allowsExtensions = allowsExtensions
    self.messageLimit = messageLimit
  }

  /// Whether a frame of one's own may follow what was passed on: all frames are whole, and none of them was a Close.
  public var takesFrames: Bool { payloadLeft == 0 && !hasClosed }

  /// Forgets what is held, which has been cut off.
  public mutating func dropHeld() { heldCount = 0 }

  /// Looks at the bytes that lie in `buffer` from `offset` on, which follow all those seen before; what was held counts as
  /// seen. All but ``heldCount`` bytes at the end may be passed on then. A frame at fault is cut off, with all behind it.
  public mutating func read(_ buffer: ByteBuffer, from offset: Int) -> WebSocketFault? {
    var index = offset - heldCount
    heldCount = 0
    while index < buffer.count {
      if payloadLeft > 0 {
        let count = min(payloadLeft, UInt64(buffer.count - index))
        payloadLeft -= count
        index += Int(count)
        continue
      }
      guard let length = headerLength(buffer.bytes, at: index) else {
        heldCount = buffer.count - index
        return nil
      }
      if let fault = take(buffer.bytes.extracting(index..<index + length)) {
        buffer.truncate(to: index)
        return fault
      }
      index += length
    }
    return nil
  }

  /// How long the header at `index` is; nil where that or the rest of it is not there yet.
  private func headerLength(_ bytes: RawSpan, at index: Int) -> Int? {
    guard bytes.byteCount - index >= 2 else { return nil }
    let second = bytes[byte: index + 1]
    let length = 2 + (second & 127 == 126 ? 2 : second & 127 == 127 ? 8 : 0) + (second & 128 != 0 ? 4 : 0)
    return bytes.byteCount - index >= length ? length : nil
  }

  private mutating func take(_ header: RawSpan) -> WebSocketFault? {
    let (first, second) = (header[byte: 0], header[byte: 1])
    let (isLast, opcode) = (first & 128 != 0, first & 15)
    if hasClosed || (second & 128 != 0) != isMasked || first & 0x70 != 0 && !allowsExtensions { return .malformed }
    guard let length = payloadLength(header) else { return .malformed }
    switch opcode {
    case 0, 1, 2:
      // The first frame of a message says what it is, the others continue it (section 5.4).
      if (opcode == 0) != isInMessage { return .malformed }
      if !isInMessage { messageBytes = 0 }
      let (sum, overflow) = messageBytes.addingReportingOverflow(length)
      if overflow || sum > messageLimit { return .tooBig }
      messageBytes = sum
      isInMessage = !isLast
    case 8, 9, 10:
      // A Close frame is empty or has a code of two bytes.
      if !isLast || length > 125 || opcode == 8 && length == 1 { return .malformed }
      hasClosed = opcode == 8
    default: return .malformed
    }
    payloadLeft = UInt64(length)
    return nil
  }

  /// The length that a header tells; nil where it has more bytes than it needs, or the highest bit set (section 5.2).
  private func payloadLength(_ header: RawSpan) -> Int64? {
    let short = header[byte: 1] & 127
    if short < 126 { return Int64(short) }
    let count = short == 126 ? 2 : 8
    var length: UInt64 = 0
    for offset in 2..<2 + count { length = length << 8 | UInt64(header[byte: offset]) }
    if length < (count == 2 ? 126 : 65_536) { return nil }
    return Int64(exactly: length)
  }
}

/// Close frames of the gateway's own (RFC 6455 section 7.4.1).
public enum WebSocketClose: UInt16, Sendable {
  /// The node goes away.
  case goingAway = 1001
  /// The peer broke the protocol.
  case protocolError = 1002
  /// It is not wanted any more.
  case policyViolation = 1008
  /// A message was too big.
  case messageTooBig = 1009

  /// Appends a Close frame with this code; masked where it goes to a server.
  public func write(to buffer: ByteBuffer, mask: UInt32?) {
    var payload = [UInt8(rawValue >> 8), UInt8(rawValue & 255)]
    buffer.append(0x88)
    guard let mask else {
      buffer.append(2)
      return buffer.append(payload)
    }
    let bytes = (0..<4).map { UInt8(truncatingIfNeeded: mask >> (24 - 8 * $0)) }
    for index in payload.indices { payload[index] ^= bytes[index] }
    buffer.append(0x82)
    buffer.append(bytes)
    buffer.append(payload)
  }
}
