import Core

extension ByteBuffer {
  /// Appends one chunk of a chunked body (RFC 9112 section 7.1); `bytes` must not be empty, since that would end it.
  func appendChunk(_ bytes: RawSpan) {
    append(hexadecimal: UInt64(bytes.byteCount))
    append("\r\n")
    append(bytes)
    append("\r\n")
  }

  /// Appends one field line.
  @inline(__always)
  func appendField(_ name: StaticString, _ value: RawSpan) {
    append(name)
    append(value)
    append("\r\n")
  }
}
