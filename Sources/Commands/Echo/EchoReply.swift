import Core
import Crypto
import HTTP

/// Writes response heads and the description of a request.
enum EchoReply {
  /// A head up to and with its empty line. `length` nil means chunks, or until the end of the connection for a client
  /// that knows no chunks.
  static func writeHead(
    _ status: Int, type: StaticString, length: Int64?, for slot: EchoSlot, into buffer: ByteBuffer
  ) {
    buffer.append(slot.isHTTP10 ? "HTTP/1.0 " : "HTTP/1.1 ")
    buffer.append(decimal: Int64(status))
    buffer.append(" ")
    buffer.append(reason(status))
    buffer.append("\r\n")
    let hasBody = status != 204 && status != 304
    if hasBody {
      buffer.append("Content-Type: ")
      buffer.append(type)
      buffer.append("\r\n")
      if let length {
        buffer.append("Content-Length: ")
        buffer.append(decimal: length)
        buffer.append("\r\n")
      } else if !slot.isHTTP10 {
        buffer.append("Transfer-Encoding: chunked\r\n")
      }
    }
    if !slot.keepsAlive {
      buffer.append("Connection: close\r\n")
    } else if slot.isHTTP10 {
      buffer.append("Connection: keep-alive\r\n")
    }
    buffer.append("\r\n")
  }

  /// Ends the answer to a call of gRPC: with what was collected as one message, and the trailers that say how it went.
  static func endCall(_ call: EchoCall, collected: ByteBuffer?, into buffer: ByteBuffer) {
    let outcome = call.outcome(isCollected: collected != nil)
    if let collected, outcome == .whole {
      buffer.append(hexadecimal: UInt64(collected.count + 5))
      buffer.append("\r\n\0")
      for shift in [24, 16, 8, 0] { buffer.append(UInt8(truncatingIfNeeded: collected.count >> shift)) }
      buffer.append(collected.bytes)
      buffer.append("\r\n")
    }
    buffer.append("0\r\ngrpc-status: ")
    buffer.append(decimal: outcome.rawValue)
    if outcome != .whole {
      buffer.append("\r\ngrpc-message: ")
      buffer.append(outcome.message)
    }
    buffer.append("\r\n\r\n")
  }

  static func reason(_ status: Int) -> StaticString {
    switch status {
    case 200: "OK"
    case 201: "Created"
    case 204: "No Content"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 304: "Not Modified"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 429: "Too Many Requests"
    case 500: "Internal Server Error"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    default: ""
    }
  }

  /// The description of a request up to the length of its body, which is known only when all of it has come. Field
  /// names are in lower case; values of repeated fields are joined as RFC 9110 section 5.3 allows.
  static func describe(
    _ head: RequestHead, isStream: Bool, tls: TLSFacts?, server: String, into buffer: ByteBuffer
  ) {
    var json = JSONWriter(buffer)
    json.beginObject()
    json.key("server")
    json.string(server)
    json.key("method")
    json.string(head.bytes(head.methodText))
    json.key("target")
    json.string(head.bytes(head.target))
    json.key("path")
    json.string(head.bytes(head.path))
    json.key("query")
    json.string(head.bytes(head.query))
    json.key("version")
    json.literal(isStream ? "2" : head.isHTTP10 ? "1.0" : "1.1")
    if let tls {
      json.key("tls")
      json.beginObject()
      json.key("version")
      json.literal(tls.version == .tls13 ? "1.3" : "1.2")
      json.key("resumed")
      json.bool(tls.isResumed)
      json.key("serverName")
      if let name = tls.serverName { json.string(name) } else { json.null() }
      json.endObject()
    }
    var names: [String] = []
    var values: [String: String] = [:]
    for index in 0..<head.fieldCount {
      let name = text(head.name(of: index)).lowercased()
      let value = text(head.value(of: index))
      if let known = values[name] {
        values[name] = "\(known), \(value)"
      } else {
        names.append(name)
        values[name] = value
      }
    }
    json.key("fields")
    json.beginObject()
    for name in names {
      json.key(name)
      json.string(values[name] ?? "")
    }
    json.endObject()
    json.key("bodyBytes")
  }

  /// Completes what ``describe(_:isStream:tls:server:into:)`` began.
  static func endDescription(bodyBytes: Int64, into buffer: ByteBuffer) {
    buffer.append(decimal: bodyBytes)
    buffer.append("}\n")
  }

  private static func text(_ bytes: RawSpan) -> String {
    unsafe bytes.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
  }
}
