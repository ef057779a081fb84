import Core

/// Whole lines, and how many they are.
///
/// `@unchecked`: its memory belongs to one thread at a time. A loop fills it; a sink takes it whole, in exchange for
/// another one that nobody else holds.
public struct LogBlock: @unchecked Sendable {
  /// The lines, each with its newline.
  public let buffer: ByteBuffer
  /// How many lines there are.
  public internal(set) var lineCount = 0

  /// An empty block. Allocates when it is first written to.
  public init() { buffer = ByteBuffer() }

  /// A copy that takes no more memory than its lines need.
  init(compact other: LogBlock) {
    buffer = ByteBuffer(capacity: other.buffer.count)
    buffer.append(other.buffer.bytes)
    lineCount = other.lineCount
  }

  /// Whether most of its memory is unused: handing it on would make a full queue much larger than what it counts.
  var isSparse: Bool { buffer.count < buffer.capacity / 4 }

  /// Forgets the lines, and the memory too where it is larger than `capacity`.
  public mutating func removeAll(keeping capacity: Int = .max) {
    buffer.removeAll(keeping: capacity)
    lineCount = 0
  }
}
