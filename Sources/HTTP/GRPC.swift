import Core

/// What a gateway has to know of gRPC over HTTP/2: how calls are recognised, how long they may take, and how they are refused.
public enum GRPC {
  /// Whether a request with this Content-Type is a call: `application/grpc`, alone or with a format.
  public static func isCall(contentType: RawSpan) -> Bool {
    let name: StaticString = "application/grpc"
    let size = name.utf8CodeUnitCount
    guard contentType.byteCount >= size, contentType.extracting(first: size).equalsIgnoringCase(name) else {
      return false
    }
    if contentType.byteCount == size { return true }
    let next = contentType[byte: size]
    return next == UInt8(ascii: "+") || next == UInt8(ascii: ";")
  }

  /// The time that a call has by its `grpc-timeout`, in nanoseconds: at most eight digits and a unit. Nil for what is none.
  public static func timeout(_ text: RawSpan) -> Int64? {
    guard (2...9).contains(text.byteCount) else { return nil }
    let unit: Int64
    switch text[byte: text.byteCount - 1] {
    case UInt8(ascii: "H"): unit = 3_600_000_000_000
    case UInt8(ascii: "M"): unit = 60_000_000_000
    case UInt8(ascii: "S"): unit = 1_000_000_000
    case UInt8(ascii: "m"): unit = 1_000_000
    case UInt8(ascii: "u"): unit = 1_000
    case UInt8(ascii: "n"): unit = 1
    default: return nil
    }
    var number: Int64 = 0
    for index in 0..<text.byteCount - 1 {
      let digit = text[byte: index] &- UInt8(ascii: "0")
      guard digit < 10 else { return nil }
      number = number * 10 + Int64(digit)
    }
    // 99,999,999 hours are more than fits.
    let (product, overflows) = number.multipliedReportingOverflow(by: unit)
    return overflows ? .max : product
  }

  /// The status of a call (0 to 16) for an answer of HTTP that is none of gRPC ("HTTP to gRPC Status Code Mapping").
  public static func status(ofHTTP status: UInt16) -> UInt8 {
    switch status {
    case 400: 13
    case 401: 16
    case 403: 7
    case 404: 12
    case 429, 502, 503, 504: 14
    default: 2
    }
  }

  /// The status of a call whose time is over.
  public static let deadlineExceeded: UInt8 = 4

  /// Appends the fields by which a call learns that it was refused, a line each.
  public static func appendRefusal(status: UInt8, code: StaticString, detail: StaticString, to buffer: ByteBuffer) {
    buffer.append("grpc-status: ")
    buffer.append(decimal: UInt64(status))
    buffer.append("\r\ngrpc-message: ")
    let message = ByteBuffer()
    message.append(code)
    message.append(": ")
    message.append(detail)
    appendMessage(message.bytes, to: buffer)
    buffer.append("\r\n")
  }

  /// Appends `text` as `grpc-message` has it: printable ASCII without the percent sign, all else escaped.
  public static func appendMessage(_ text: RawSpan, to buffer: ByteBuffer) {
    for index in 0..<text.byteCount {
      let byte = text[byte: index]
      if (0x20...0x7e).contains(byte), byte != UInt8(ascii: "%") {
        buffer.append(byte)
      } else {
        buffer.append(UInt8(ascii: "%"))
        for nibble in [byte >> 4, byte & 15] { buffer.append(nibble < 10 ? nibble + 48 : nibble + 55) }
      }
    }
  }
}
