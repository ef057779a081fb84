import Core
import HTTP

/// What the reader of WebSocket frames promises.
enum WebSocketTargets {
  /// The bytes at once and one by one end alike: the same fault, behind the same bytes.
  @Sendable
  static func frames(_ bytes: RawSpan) {
    for sender in [WebSocketReader.Sender.client, .server] {
      var whole = WebSocketReader(from: sender, messageLimit: 300)
      let buffer = ByteBuffer(copying: bytes)
      let fault = whole.read(buffer, from: 0)
      let passed = buffer.count - whole.heldCount
      precondition(passed >= 0 && whole.heldCount < WebSocketReader.headerLimit)

      var slow = WebSocketReader(from: sender, messageLimit: 300)
      let trickle = ByteBuffer()
      var slowFault: WebSocketFault?
      for offset in 0..<bytes.byteCount where slowFault == nil {
        let before = trickle.count
        trickle.append(bytes[byte: offset])
        slowFault = slow.read(trickle, from: before)
      }
      precondition(slowFault == fault && trickle.count - slow.heldCount == passed)
      precondition(slow.takesFrames == whole.takesFrames)
    }
  }
}
