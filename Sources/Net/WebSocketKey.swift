import Core
import Crypto

/// The handshake of WebSocket (RFC 6455 section 4.2.2).
enum WebSocketKey {
  /// Appends what `Sec-WebSocket-Accept` must say to `key`.
  static func appendAccept(_ key: RawSpan, to target: ByteBuffer) {
    let text = ByteBuffer(capacity: 64)
    text.append(key)
    text.append("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
    target.append(utf8: Base64.encode(SHA1.digest(of: text.bytes)))
  }
}
