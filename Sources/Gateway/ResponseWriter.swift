// Response heads as the client gets them.

import Core
import HTTP
import Pipeline

enum ResponseWriter {
  /// Writes the head of an upstream's final response.
  static func write(_ response: ResponseHead, _ slot: inout ExchangeSlot, closes: Bool, into buffer: ByteBuffer) {
    response.dropAll(.xRequestId)
    writeFields(response, into: buffer)
    if slot.responseFraming == .chunked { buffer.append("Transfer-Encoding: chunked\r\n") }
    writeTail(&slot, closes: closes, into: buffer)
  }

  /// Passes an informational response on (RFC 9110 section 15.2).
  static func writeInformational(_ response: ResponseHead, into buffer: ByteBuffer) {
    writeFields(response, into: buffer)
    buffer.append("\r\n")
  }

  /// Writes the head of a 101 (RFC 9110 section 7.8).
  static func writeUpgrade(_ response: ResponseHead, _ slot: inout ExchangeSlot, into buffer: ByteBuffer) {
    response.dropAll(.xRequestId)
    writeFields(response, into: buffer)
    buffer.append("Connection: upgrade\r\n")
    if let upgrade = response.upgrade { buffer.appendField("Upgrade: ", response.bytes(upgrade)) }
    slot.appendRequestID(to: buffer)
    buffer.append("\r\n")
  }

  /// Writes the head of an answer of the gateway's own.
  static func writeOwn(
    status: UInt16, bodyCount: Int, _ slot: inout ExchangeSlot, date: ByteBuffer, closes: Bool, into buffer: ByteBuffer
  ) {
    buffer.append("HTTP/1.1 ")
    buffer.append(decimal: UInt64(status))
    buffer.append(UInt8(ascii: " "))
    buffer.append(StatusReason.of(status))
    buffer.append("\r\nDate: ")
    buffer.append(date.bytes)
    buffer.append("\r\n")
    // RFC 9110 section 8.6: neither with 1xx nor with 204.
    if status != 204 {
      buffer.append("Content-Length: ")
      buffer.append(decimal: UInt64(bodyCount))
      buffer.append("\r\n")
    }
    writeTail(&slot, closes: closes, into: buffer)
  }

  /// The status line and the upstream's fields.
  @inline(__always)
  private static func writeFields(_ response: ResponseHead, into buffer: ByteBuffer) {
    if !response.isHTTP10, !response.reason.isEmpty {
      return response.appendFields(behind: ByteRange(start: 0, count: UInt32(response.reason.end + 2)), to: buffer)
    }
    buffer.append("HTTP/1.1 ")
    buffer.append(decimal: UInt64(response.status))
    buffer.append(UInt8(ascii: " "))
    // HTTP/2 has no reasons, and some clients of HTTP/1.1 do not take a status without one.
    if response.reason.isEmpty {
      buffer.append(StatusReason.of(UInt16(response.status)))
    } else {
      buffer.append(response.bytes(response.reason))
    }
    buffer.append("\r\n")
    response.appendFields(to: buffer)
  }

  private static func writeTail(_ slot: inout ExchangeSlot, closes: Bool, into buffer: ByteBuffer) {
    slot.exchange.copyResponseFields(to: buffer)
    slot.appendRequestID(to: buffer)
    if closes {
      buffer.append("Connection: close\r\n\r\n")
    } else if slot.clientIsHTTP10 {
      buffer.append("Connection: keep-alive\r\n\r\n")
    } else {
      buffer.append("\r\n")
    }
  }
}

/// The usual reason phrases (RFC 9110 section 15).
enum StatusReason {
  static func of(_ status: UInt16) -> StaticString {
    switch status {
    case 200: "OK"
    case 201: "Created"
    case 202: "Accepted"
    case 204: "No Content"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 303: "See Other"
    case 304: "Not Modified"
    case 307: "Temporary Redirect"
    case 308: "Permanent Redirect"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 410: "Gone"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 417: "Expectation Failed"
    case 421: "Misdirected Request"
    case 425: "Too Early"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    default: ""
    }
  }
}
