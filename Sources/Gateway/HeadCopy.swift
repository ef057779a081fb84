import Core
import HTTP

/// A head whose field lines can be copied: requests and responses alike.
protocol CopyableHead: AnyObject {
  var fieldCount: Int { get }
  func field(_ index: Int) -> HeadField
  @_lifetime(borrow self) func bytes(_ range: ByteRange) -> RawSpan
}

extension RequestHead: CopyableHead {}
extension ResponseHead: CopyableHead {}

extension ByteBuffer {
  /// Appends the field lines that are not dropped. Neighbouring lines go in one copy: the grammar has been checked, so
  /// a line is passed on as it came.
  func appendFields<Head: CopyableHead>(of head: Head) {
    let count = head.fieldCount
    var index = 0
    while index < count {
      let first = head.field(index)
      index &+= 1
      if first.isDropped { continue }
      var last = first
      while index < count {
        let next = head.field(index)
        if next.isDropped { break }
        last = next
        index &+= 1
      }
      let end = last.valueStart &+ last.valueCount
      append(head.bytes(ByteRange(start: first.nameStart, count: end &- first.nameStart)))
      append("\r\n")
    }
  }

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
