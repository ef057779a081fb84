import Core
import HTTP

/// What the translation of gRPC-Web promises, and whoever asks for the health of a service.
enum GRPCWebTargets {
  /// An answer is good or not; another message behind it makes none of it good.
  @Sendable
  static func health(_ bytes: RawSpan) {
    let text = bytes.array
    guard GRPCHealth.isServing(bytes) else { return }
    for more in [[0], text] {
      let both = text + more
      precondition(!GRPCHealth.isServing(RawSpan(both)))
    }
    // What is said last counts.
    guard text.count < 200 else { return }
    let changed = [0, 0, 0, 0, text[4] + 2] + text[5...] + [8, 2]
    precondition(!GRPCHealth.isServing(RawSpan(changed)))
  }

  /// The first byte says into how large parts the others are cut. Request: parts change nothing, neither what comes out nor
  /// whether it is refused. Response: what it is as text is Base64 of itself.
  @Sendable
  static func translation(_ bytes: RawSpan) {
    guard bytes.byteCount > 0 else { return }
    let size = Int(bytes[byte: 0]) + 1
    let body = bytes.extracting(1..<bytes.byteCount)
    let whole = decoded(body, partBytes: max(1, body.byteCount))
    let parts = decoded(body, partBytes: size)
    precondition(whole.isFine == parts.isFine)
    precondition(!whole.isFine || whole.target.bytes.array == parts.target.bytes.array)
    precondition(whole.target.count <= body.byteCount / 4 * 3 + 3)

    let (text, other) = (encoded(body, partBytes: size), encoded(body, partBytes: max(1, body.byteCount)))
    precondition(text.bytes.array == other.bytes.array)
    let back = decoded(text.bytes, partBytes: size)
    precondition(back.isFine && back.target.bytes.array == body.array + [0x80, 0, 0, 0, 6] + Array("a: b\r\n".utf8))
  }

  private static func call() -> GRPCWebCall {
    let type = Array("application/grpc-web-text".utf8)
    guard let call = GRPCWebCall(contentType: RawSpan(type), accept: RawSpan(type)) else {
      preconditionFailure("this is the type")
    }
    return call
  }

  private static func decoded(_ bytes: RawSpan, partBytes size: Int) -> (target: ByteBuffer, isFine: Bool) {
    let (call, target) = (call(), ByteBuffer())
    for start in stride(from: 0, to: bytes.byteCount, by: size) {
      let part = bytes.extracting(start..<min(start + size, bytes.byteCount))
      guard call.decode(part, to: target) else { return (target, false) }
    }
    return (target, call.isRequestWhole)
  }

  private static func encoded(_ bytes: RawSpan, partBytes size: Int) -> ByteBuffer {
    let (call, target) = (call(), ByteBuffer())
    for start in stride(from: 0, to: bytes.byteCount, by: size) {
      call.append(bytes.extracting(start..<min(start + size, bytes.byteCount)), to: target)
    }
    let text = Array("ab".utf8)
    let field = RawSpan(text)
    call.take(trailer: field.extracting(0..<1), value: field.extracting(1..<2))
    call.appendEnd(to: target)
    return target
  }
}
