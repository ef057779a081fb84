import Core
import HTTP

/// A buffer that holds `text`, one byte a scalar: "\u{ff}" is the byte 0xff.
func buffer(_ text: String) -> ByteBuffer {
  let buffer = ByteBuffer(capacity: text.unicodeScalars.count)
  for scalar in text.unicodeScalars { buffer.append(UInt8(scalar.value)) }
  return buffer
}

extension RawSpan {
  /// The bytes as text.
  var text: String { unsafe withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) } }
}

/// What `parse` says when `text` arrives byte by byte.
func trickle(_ text: String, _ parse: (ByteBuffer, Int) -> HeadResult) -> HeadResult {
  let received = ByteBuffer()
  for (index, scalar) in text.unicodeScalars.enumerated() {
    received.append(UInt8(scalar.value))
    let result = parse(received, index)
    if result != .incomplete { return result }
  }
  return .incomplete
}
