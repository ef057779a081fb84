import Core

/// Follows the messages of a call of gRPC: a byte that says whether it is compressed, four of its length, and so many. Collects
/// their contents where the call wants one answer.
struct EchoCall: BitwiseCopyable, Sendable {
  /// The most bytes that are collected: what libraries take as one message.
  static let collectedLimit = 4 << 20
  private static let prefixBytes = 5

  private var prefixCount = 0
  private var length: UInt32 = 0
  private var left: UInt32 = 0
  private var hasCompressed = false
  private var isTooLarge = false

  /// How a call ends: a status of gRPC. What is cut off is the client's fault, for which there is none: INTERNAL is what
  /// libraries take.
  enum Outcome: Int64 {
    case whole = 0
    case tooLarge = 8
    case compressed = 12
    case cutOff = 13

    var message: StaticString {
      switch self {
      case .whole: ""
      case .tooLarge: "the messages have more than 4 MiB together"
      case .compressed: "a message to collect is compressed"
      case .cutOff: "a message is cut off"
      }
    }
  }

  /// Looks at the bytes that come next.
  mutating func read(_ bytes: RawSpan, collecting collected: ByteBuffer?) {
    var index = 0
    while index < bytes.byteCount {
      if left > 0 {
        let count = Int(min(left, UInt32(clamping: bytes.byteCount - index)))
        if let collected {
          isTooLarge = isTooLarge || collected.count + count > Self.collectedLimit
          if !isTooLarge { collected.append(bytes.extracting(index..<index + count)) }
        }
        left -= UInt32(count)
        index += count
        continue
      }
      let byte = bytes.byte(index)
      if prefixCount == 0, byte != 0 { hasCompressed = true }
      // The first byte is shifted out by those of the length.
      length = length << 8 | UInt32(byte)
      index += 1
      prefixCount += 1
      if prefixCount == Self.prefixBytes { (left, prefixCount) = (length, 0) }
    }
  }

  /// How the call ends once all has come.
  func outcome(isCollected: Bool) -> Outcome {
    if prefixCount > 0 || left > 0 { return .cutOff }
    if isTooLarge { return .tooLarge }
    return isCollected && hasCompressed ? .compressed : .whole
  }
}
