import Core

/// The head that a field block became, for the next block that is the same: what calls one method again and again (gRPC,
/// polling) sends one block of references over and over. As long as the dynamic table has not changed, equal blocks are
/// equal heads, and one is copied instead of being put together.
final class HTTP2HeadMemo {
  /// Bytes of blocks and heads that are kept; together with what an idle connection has, they stay below 2 KiB.
  static let blockBytes = 64
  static let headBytes = 512

  /// The block, and behind it the head.
  private let text: ByteBuffer
  private let blockCount: Int
  private let changes: UInt32
  private let endsStream: Bool
  let shape: HTTP2HeadWriter.Shape
  let urgency: UInt8
  let isIncremental: Bool

  init(
    _ block: RawSpan, _ head: RawSpan, _ fields: borrowing HTTP2FieldSink, _ shape: HTTP2HeadWriter.Shape,
    changes: UInt32, endsStream: Bool
  ) {
    text = ByteBuffer(capacity: block.byteCount + head.byteCount)
    text.append(block)
    text.append(head)
    blockCount = block.byteCount
    self.changes = changes
    self.endsStream = endsStream
    self.shape = shape
    urgency = fields.urgency
    isIncremental = fields.isIncremental
  }

  var footprint: Int { text.capacity + ByteBuffer.slack + 128 }

  /// Whether the head of `block` is this one.
  @inline(__always)
  func isHead(of block: RawSpan, changes: UInt32, endsStream: Bool) -> Bool {
    if changes != self.changes || endsStream != self.endsStream || block.byteCount != blockCount { return false }
    let text = text
    return HPACKHash.isEqual(text.bytes, at: 0, block)
  }

  @inline(__always)
  func append(to target: ByteBuffer) {
    let text = text
    target.append(text.bytes.extracting(blockCount..<text.count))
  }
}
